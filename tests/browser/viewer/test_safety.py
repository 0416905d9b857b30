"""No work is lost: tabs die, servers die, lines are cut, two people mark at once, cases are deleted while open."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from core.readings.reading import Mask
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import Case, NewCase
from core.workspace.workspace import Workspace
from tests.browser.conftest import Server, start_server, stop_server
from tests.browser.viewer.conftest import Room
from tests.browser.viewer.test_tools import agree, stored

pytestmark = pytest.mark.browser
SHAPE = (6, 70, 90)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may kill."""
    running = start_server(tmp_path / "home")
    yield running
    stop_server(running)


@pytest.fixture
def case(own: Server, request: pytest.FixtureRequest) -> Case:
    array = np.random.default_rng(0).integers(-500, 500, SHAPE, dtype=np.int16)
    info = ImageInfo("zyx", SHAPE, "int16", (3.0, 1.0, 1.0))
    with Workspace.open(own.home) as store:
        project = store.create_project("Safe", "segmentation", make_labels(["a", "b"]))
        return store.add_case(project.id, NewCase("case", Image(array, info), "case"))


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """A browser profile: its tabs share what the browser keeps."""
    context = chromium.new_context(viewport={"width": 1300, "height": 900}, color_scheme="dark")
    yield context
    context.close()


def renderers() -> set[int]:
    """Return the processes of this test's browser that draw pages."""
    family = psutil.Process().children(recursive=True)
    return {one.pid for one in family if "--type=renderer" in " ".join(_line(one))}


def _line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


class Tab(Room):
    """A tab that can be killed."""

    def __init__(self, browser: Any, own: Server, case: Case) -> None:
        before = renderers()
        page = browser.new_page()
        page.set_default_timeout(60_000)
        super().__init__(page, own)
        self.open("annotate", case.project_id, case.id)
        self.processes = renderers() - before

    def crash(self) -> None:
        """End the tab's process as a crash does: not a line of its program runs any more."""
        ours = max(self.processes & renderers(), key=lambda pid: psutil.Process(pid).memory_info().rss)
        os.kill(ours, signal.SIGKILL)  # others among them wait for tabs to come
        psutil.wait_procs([psutil.Process(ours)] if psutil.pid_exists(ours) else [], timeout=5)
        time.sleep(0.5)


def tab(browser: Any, own: Server, case: Case) -> Tab:
    return Tab(browser, own, case)


def kill(server: Server) -> None:
    """End the server without a word."""
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(10)


def restart(server: Server) -> None:
    """Start it again at the same address."""
    again = start_server(server.home, port=int(server.url.rsplit(":", 1)[1]))
    server.process = again.process


def spot(rng: np.random.Generator) -> tuple[float, float]:
    x, y = rng.uniform((5, 5), (70, 55))
    return float(x), float(y)


def act(room: Room, number: int, rng: np.random.Generator) -> None:
    """Do the next of six kinds of steps somewhere."""
    x, y = spot(rng)
    room.press("1" if number % 2 else "2")
    if number % 6 == 0:
        room.press("b")
        room.drag((x, y), spot(rng))
    elif number % 6 == 1:
        room.press("b")
        room.click((x, y))
        room.press("u", "e")
        room.drag((x, y), spot(rng), spot(rng), spot(rng))
    elif number % 6 == 2:
        room.press("p")
        room.click((x, y), (x + 14.3, y), (x + 3.2, y + 11.7))
        room.press("Enter")
    elif number % 6 == 3:
        room.press("x")
        room.drag((x, y), (x + 9.4, y + 7.6))
    elif number % 6 == 4:
        room.press("ArrowDown" if number > 15 else "ArrowUp", "b")
        room.drag((x, y), spot(rng), spot(rng))
    else:
        room.press("Shift+L")
        room.drag((x, y), spot(rng))


@pytest.mark.long
def test_thirty_mixed_steps_undone_and_redone_over_reloads_and_kills(
    browser: Any, own: Server, case: Case
) -> None:
    room = tab(browser, own, case)
    rng = np.random.default_rng(1)
    states = [room.volume()]
    for number in range(30):
        act(room, number, rng)
        while (
            room.ask("bench.marks.undoable.length") < number + 1
        ):  # it changed nothing, such as erasing nothing
            room.press("b")
            room.click(spot(rng))
        room.saved()
        states.append(room.volume())
        if number in (9, 24):
            if number == 24:
                kill(own)
                restart(own)
            room.page.reload()
            room.ready()
        if number == 19:
            room.crash()
            room = tab(browser, own, case)
        if number in (9, 19, 24):
            np.testing.assert_array_equal(room.volume(), states[-1])
            assert room.ask("bench.marks.undoable.length") == number + 1
    items = room.ask("[...bench.marks.items.keys()].sort()")
    assert len(items) == 5
    agree(room, own, case)
    for expected in states[-2::-1]:
        room.press("u")
        np.testing.assert_array_equal(room.volume(), expected)
    assert room.ask("bench.marks.items.size") == 0
    agree(room, own, case)
    room.page.reload()
    room.ready()
    for expected in states[1:]:
        room.press("Shift+U")
        np.testing.assert_array_equal(room.volume(), expected)
    assert room.ask("[...bench.marks.items.keys()].sort()") == items
    np.testing.assert_array_equal(agree(room, own, case), states[-1])


def test_a_server_that_dies_and_comes_back(browser: Any, own: Server, case: Case) -> None:
    room = tab(browser, own, case)
    room.drag((10.5, 10.5), (60.5, 10.5))
    agree(room, own, case)
    kill(own)
    room.drag((10.5, 30.5), (60.5, 30.5))
    room.page.locator('.state[data-state="offline"]').wait_for()
    assert "kept in this browser" in room.page.locator(".status").inner_text()
    room.drag((10.5, 50.5), (60.5, 50.5))
    room.press("u", "Shift+U")
    here = room.volume()
    restart(own)
    room.page.locator('.state[data-state="saved"]').wait_for(timeout=60_000)
    np.testing.assert_array_equal(room.volume(), here)
    np.testing.assert_array_equal(stored(own, case), here)
    assert here.any(axis=2)[here.any(axis=(1, 2))][0][[10, 30, 50]].all()


def test_a_tab_that_dies_while_the_server_is_away(browser: Any, own: Server, case: Case) -> None:
    """The steps lie in the browser only; the next tab finds and sends them."""
    room = tab(browser, own, case)
    room.drag((10.5, 10.5), (60.5, 10.5))
    agree(room, own, case)
    kill(own)
    room.drag((10.5, 30.5), (60.5, 30.5))
    room.press("2")
    room.drag((10.5, 50.5), (60.5, 50.5))
    room.page.locator('.state[data-state="offline"]').wait_for()
    here = room.volume()
    room.crash()
    restart(own)
    room = tab(browser, own, case)
    room.page.get_by_text("Marks that had not been saved came back.").wait_for()
    np.testing.assert_array_equal(agree(room, own, case), here)
    room.press("u")
    assert not (agree(room, own, case) == 2).any()
    assert room.ask("(await bench.journal.unsent(bench.spec.case, 'annotator')).length") == 0


def test_marks_of_a_dead_tab_never_overwrite_newer_ones(browser: Any, own: Server, case: Case) -> None:
    room = tab(browser, own, case)
    room.drag((10.5, 10.5), (60.5, 10.5))
    agree(room, own, case)
    kill(own)
    room.drag((10.5, 30.5), (60.5, 30.5))
    room.page.locator('.state[data-state="offline"]').wait_for()
    late = room.volume()
    room.crash()
    newer = np.zeros(SHAPE, np.uint8)
    newer[2, 5:9, 5:9] = 2
    with Workspace.open(own.home) as store:
        latest = store.latest_reading(case.id, "annotator")
        store.save_reading(case.id, "annotator", Mask(newer), based_on=latest.version)
    restart(own)
    room = tab(browser, own, case)
    room.page.get_by_text("are kept as annotator (2)").wait_for()
    np.testing.assert_array_equal(agree(room, own, case), newer)
    np.testing.assert_array_equal(stored(own, case, "annotator (2)"), late)
    room.press("b")
    room.drag((30.5, 60.5), (60.5, 60.5))
    assert agree(room, own, case).sum() > newer.sum()  # one goes on with the newer one


def test_a_line_that_is_cut_for_a_while(browser: Any, own: Server, case: Case) -> None:
    room = tab(browser, own, case)
    browser.set_offline(True)
    room.drag((10.5, 10.5), (60.5, 10.5))
    room.page.locator('.state[data-state="offline"]').wait_for()
    room.drag((10.5, 30.5), (60.5, 30.5))
    browser.set_offline(False)
    room.page.locator('.state[data-state="saved"]').wait_for(timeout=60_000)
    agree(room, own, case)


def test_a_tab_closed_in_the_middle_of_a_stroke(browser: Any, own: Server, case: Case) -> None:
    room = tab(browser, own, case)
    room.drag((10.5, 10.5), (60.5, 10.5))
    (x0, y0), (x1, y1) = room.places([(10.5, 40.5), (60.5, 40.5)])
    room.page.mouse.move(x0, y0)
    room.page.mouse.down()
    room.page.mouse.move(x1, y1, steps=5)
    room.page.goto("about:blank")  # the page goes away with the button held
    until = time.monotonic() + 30
    while not stored(own, case)[:, 40, 30].any() and time.monotonic() < until:
        room.page.wait_for_timeout(200)
    again = Room(room.page, own).open("annotate", case.project_id, case.id)
    found = agree(again, own, case)
    plane = found[found.any(axis=(1, 2))][0]
    assert plane[10, 30] == 1 and plane[40, 30] == 1


def test_two_people_on_one_reading(browser: Any, own: Server, case: Case) -> None:
    first, second = tab(browser, own, case), tab(browser, own, case)
    first.ask("bench.presence.look()")
    second.ask("bench.presence.look()")
    assert "also open in another window" in second.page.locator(".status").inner_text()
    first.drag((10.5, 10.5), (60.5, 10.5))
    mine = agree(first, own, case)
    # The second has not heard of it yet and marks, too.
    second.drag((10.5, 50.5), (60.5, 50.5))
    second.page.get_by_text("Your marks are kept as annotator (2)").wait_for()
    second.saved()
    second.drag((30.5, 20.5), (30.5, 60.5))
    second.saved()
    second.page.get_by_text("as annotator (2)").first.wait_for()
    np.testing.assert_array_equal(stored(own, case), mine)
    np.testing.assert_array_equal(stored(own, case, "annotator (2)"), second.volume())
    plane = second.volume()[second.volume().any(axis=(1, 2))][0]
    assert plane[50, 40] == 1 and plane[40, 30] == 1 and plane[10, 40] == 0
    # Both readings can be chosen on the page from now on.
    second.page.get_by_role("radio", name="annotator", exact=True).wait_for()
    second.page.close()
    first.drag((10.5, 30.5), (60.5, 30.5))
    agree(first, own, case)


def test_who_only_looks_sees_what_the_other_marks(browser: Any, own: Server, case: Case) -> None:
    first, second = tab(browser, own, case), tab(browser, own, case)
    first.drag((10.5, 10.5), (60.5, 10.5))
    agree(first, own, case)
    second.ask("bench.presence.look()")
    second.page.wait_for_timeout(300)
    second.ready()
    np.testing.assert_array_equal(second.volume(), first.volume())
    second.drag((10.5, 30.5), (60.5, 30.5))  # on top of what is seen: one reading goes on
    agree(second, own, case)
    assert second.ask("bench.reader") == "annotator"


def test_a_case_deleted_while_it_is_open(browser: Any, own: Server, case: Case) -> None:
    room = tab(browser, own, case)
    with Workspace.open(own.home) as store:
        store.delete_cases([case.id])
    room.drag((10.5, 10.5), (60.5, 10.5))
    room.page.locator('.state[data-state="gone"]').wait_for()
    assert "There is no case number" in room.page.locator(".status").inner_text()
    before = room.volume()
    room.drag((10.5, 40.5), (60.5, 40.5))
    np.testing.assert_array_equal(room.volume(), before)


def test_a_permission_that_has_ended_is_renewed(browser: Any, own: Server, case: Case) -> None:
    room = tab(browser, own, case)
    room.ask("[bench.api, viewer.api].forEach((api) => (api.token = 'ended.' + api.token))")
    room.drag((10.5, 10.5), (60.5, 10.5))
    agree(room, own, case)
    room.press("ArrowDown", "ArrowDown")
    room.page.locator(".pane[data-ready]").first.wait_for()


def test_a_label_that_is_gone_refuses_the_marks_in_a_sentence(browser: Any, own: Server, case: Case) -> None:
    room = tab(browser, own, case)
    room.drag((10.5, 10.5), (60.5, 10.5))
    kept = agree(room, own, case)
    room.ask("bench.label = 77")  # as if somebody had removed it from the project meanwhile
    room.ask("viewer.look.hidden.clear()")
    room.drag((10.5, 40.5), (60.5, 40.5))
    room.page.locator('.state[data-state="refused"]').wait_for()
    assert "does not have (any more)" in room.page.locator(".status").inner_text()
    room.page.get_by_role("button", name="Discard the marks that were not saved").click()
    room.page.locator('.state[data-state="saved"]').wait_for()
    np.testing.assert_array_equal(agree(room, own, case), kept)
