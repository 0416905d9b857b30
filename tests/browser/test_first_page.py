"""The first page in a real browser: quick, quiet, nothing from outside, headers on every answer."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.browser.conftest import Seen, Server, picture, settle

pytestmark = pytest.mark.browser
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
# A deep link lets Streamlit look for its own address under the page's first; it answers 404 and goes on.
HARMLESS = ("404 (Not Found)",)


def real_errors(seen: Seen) -> list[str]:
    """Console errors without the harmless ones."""
    return [error for error in seen.errors if not any(known in error for known in HARMLESS)]


def test_the_first_page_is_quick_and_quiet(page: Any, server: Server, seen: Seen) -> None:
    begun = time.monotonic()
    page.goto(server.url)
    page.get_by_role("heading", name="Mark images, train a network").wait_for()
    painted = time.monotonic() - begun
    settle(page)
    picture(page, "first-page")
    assert painted < 10  # a coarse bound for a loaded machine; the bench has the fine one
    assert page.title().endswith("Sightline") or "Sightline" in page.title()
    assert seen.outside == []
    assert real_errors(seen) == []


def test_every_page_opens_by_its_address(page: Any, server: Server, seen: Seen) -> None:
    for url in ("projects", "import", "cases", "annotate", "train", "infer", "compare", "jobs"):
        page.goto(f"{server.url}/{url}")
        page.locator('[data-testid="stHeading"] h1').first.wait_for()
        settle(page)
        assert page.locator('[data-testid="stException"]').count() == 0, url
    assert seen.outside == []
    assert real_errors(seen) == []


def test_security_headers_on_every_answer(server: Server) -> None:
    for path in ("/", "/cases", "/api/health", "/_stcore/health", "/nothing/here.js", "/media/none.png"):
        try:
            answer = urllib.request.urlopen(server.url + path, timeout=10)  # noqa: S310
        except urllib.error.HTTPError as error:
            answer = error
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy, path
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert "frame-ancestors 'none'" in policy
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (path, name)


def test_health(server: Server) -> None:
    deadline = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(f"{server.url}/api/health", timeout=10) as answer:  # noqa: S310
            report = json.load(answer)
        if report["jobs"] or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert report["status"] == "ok"
    assert report["jobs"] is True
    assert report["version"]


def test_a_foreign_host_gets_no_websocket(server: Server) -> None:
    import http.client

    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request(
        "GET",
        "/_stcore/stream",
        headers={
            "Host": "evil.example",
            "Origin": "http://evil.example",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )
    assert connection.getresponse().status != 101
    connection.close()
