"""Values that stand in for others: another UID, a moved date, a dummy. Each is the same on a second pass."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import date, timedelta
from typing import Any
from uuid import UUID

DICOM_ROOT = "1.2.840.10008."  # SOP classes, transfer syntaxes, coding schemes: the same for everybody
OWN_ROOT = "2.25."  # a UUID as one number (PS3.5, B.2)
CHECK_BYTES = 4
DUMMY_TEXT = "REMOVED"
DUMMY_DATE = "19000101"
FIRST_SHIFT_DAYS, LAST_SHIFT_DAYS = 366, 3652  # one to ten years back

DUMMIES: dict[str, Any] = {
    "AE": DUMMY_TEXT, "AS": "000Y", "CS": DUMMY_TEXT, "DA": DUMMY_DATE, "DS": "0", "DT": f"{DUMMY_DATE}000000",
    "IS": "0", "LO": DUMMY_TEXT, "LT": DUMMY_TEXT, "PN": DUMMY_TEXT, "SH": DUMMY_TEXT, "ST": DUMMY_TEXT,
    "TM": "000000", "UC": DUMMY_TEXT, "UR": "urn:removed", "UT": DUMMY_TEXT, "AT": 0, "FD": 0.0, "FL": 0.0,
    "SL": 0, "SS": 0, "SV": 0, "UL": 0, "US": 0, "UV": 0, "OB": b"\0\0", "OD": b"\0" * 8, "OF": b"\0" * 4,
    "OL": b"\0" * 4, "OV": b"\0" * 8, "OW": b"\0\0", "UN": b"\0\0",
}  # fmt: skip

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?")
_DATETIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?(\d{0,6}(?:\.\d{1,6})?)([+-]\d{4})?")


def secret_digest(salt: str, purpose: str, text: str) -> bytes:
    """Return a keyed hash; purposes are kept apart, so that one use tells nothing about another."""
    return hmac.new(salt.encode(), f"{purpose}|{text}".encode(), hashlib.sha256).digest()


def replace_uid(uid: str, salt: str) -> str:
    """Return the UID that stands for another one in this installation, always the same.

    Well-known UIDs stay. A UID made here is recognised by its last bytes and stays as well.

    Source: DICOM PS3.5, B.2 (UUID-derived UIDs); RFC 9562, version 8 (free content).
    """
    if not uid or uid.startswith(DICOM_ROOT) or _is_own(uid, salt):
        return uid
    body = bytearray(secret_digest(salt, "uid", uid)[: 16 - CHECK_BYTES])
    body[6] = 0x80 | (body[6] & 0x0F)
    body[8] = 0x80 | (body[8] & 0x3F)
    return OWN_ROOT + str(UUID(bytes=bytes(body) + _check(bytes(body), salt)).int)


def _is_own(uid: str, salt: str) -> bool:
    digits = uid.removeprefix(OWN_ROOT)
    if digits == uid or not digits.isascii() or not digits.isdigit() or len(digits) > 39:
        return False
    number = int(digits)
    if number >= 2**128:
        return False
    content = number.to_bytes(16, "big")
    return hmac.compare_digest(content[-CHECK_BYTES:], _check(content[:-CHECK_BYTES], salt))


def _check(body: bytes, salt: str) -> bytes:
    return secret_digest(salt, "uid check", body.hex())[:CHECK_BYTES]


def shift_days(patient: str, salt: str) -> int:
    """Return by how many days one patient's dates are moved: one to ten years back.

    Args:
        patient: the patient's key, or whatever else names one patient.
        salt: the workspace's secret.
    """
    number = int.from_bytes(secret_digest(salt, "days", patient)[:8], "big")
    return -(FIRST_SHIFT_DAYS + number % (LAST_SHIFT_DAYS - FIRST_SHIFT_DAYS + 1))


def shift_date(text: str, days: int) -> str:
    """Move a DA value; what is no date becomes empty.

    Args:
        text: YYYYMMDD, or YYYY.MM.DD as early files have it.
        days: how far.
    """
    match = _DATE.fullmatch(text.strip())
    moved = _moved(match.group(1), match.group(2), match.group(3), days) if match else None
    return "" if moved is None else moved.strftime("%Y%m%d").rjust(8, "0")


def shift_datetime(text: str, days: int) -> str:
    """Move a DT value and keep its precision, time and zone; what is no date becomes empty."""
    match = _DATETIME.fullmatch(text.strip())
    if match is None:
        return ""
    year, month, day, rest, zone = match.groups()
    moved = _moved(year, month or "01", day or "01", days)
    if moved is None:
        return ""
    precision = 8 if day else 6 if month else 4
    return moved.strftime("%Y%m%d").rjust(8, "0")[:precision] + (rest or "") + (zone or "")


def keep_time(text: str) -> str:
    """Return a TM value as it is; what is no time becomes empty."""
    return str(text) if _TIME.fullmatch(str(text).strip()) else ""


def _moved(year: str, month: str, day: str, days: int) -> date | None:
    try:
        return date(int(year), int(month), int(day)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
