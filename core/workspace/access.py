"""Short-lived, signed permission to look at one case, or to mark it, handed to the browser by the page.

A token is ``<claims>.<signature>``: JSON in base64, and HMAC-SHA256 with the home's secret. It names the case, its
image, the reader and the browser session it was made for, and ends within the hour.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass

from core.errors import AccessDenied

LIFE_SECONDS = 40 * 60
STEP_SECONDS = 10 * 60  # tokens of one such span are alike, so that a page that reruns changes nothing
REFUSED = "The permission to see this image has ended or does not fit; load the page again."


@dataclass(frozen=True)
class Access:
    """What a token permits.

    Attributes:
        case_id, image_id: the one case, its image and its readings may be seen.
        reader: name under which marks are stored.
        session: the browser session it was made for.
        can_mark: whether marks are taken.
        expires: seconds since 1970.
        person: who looks; in a project of blind readers not all readings are shown to everybody.
    """

    case_id: int
    image_id: int
    reader: str
    session: str
    can_mark: bool
    expires: int
    person: str = ""


def expiry(now: float | None = None) -> int:
    """Return when a token that is made now ends: in 30 to 40 minutes."""
    moment = time.time() if now is None else now
    return int(moment // STEP_SECONDS * STEP_SECONDS + LIFE_SECONDS)


def sign(secret: str, access: Access) -> str:
    """Return the token for an access."""
    claims = json.dumps(asdict(access), separators=(",", ":"), sort_keys=True).encode()
    return f"{_to_text(claims)}.{_to_text(_signature(secret, claims))}"


def check(secret: str, token: str, now: float | None = None) -> Access:
    """Return what a token permits.

    Raises:
        AccessDenied: when it is forged, damaged or has ended.
    """
    claims_text, _, signature_text = token.partition(".")
    try:
        claims, signature = (_from_text(text) for text in (claims_text, signature_text))
    except (binascii.Error, ValueError) as error:
        raise AccessDenied(REFUSED) from error
    if not hmac.compare_digest(signature, _signature(secret, claims)):
        raise AccessDenied(REFUSED)
    access = Access(**json.loads(claims))
    if access.expires <= (time.time() if now is None else now):
        raise AccessDenied(REFUSED)
    return access


def _signature(secret: str, claims: bytes) -> bytes:
    return hmac.digest(secret.encode(), claims, hashlib.sha256)


def _to_text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
