"""What an import or a copy leaves of a patient's identity in DICOM headers. Light: pages and payloads name these."""

from __future__ import annotations

from typing import Literal, get_args

Profile = Literal["keep", "basic", "basic_dates"]
Retained = Literal["patient", "device", "uids"]

DEFAULT_PROFILE: Profile = "basic"
PROFILES: dict[Profile, str] = {
    "basic": "Names, numbers, dates and free text are removed; their files and folders lose their names.",
    "basic_dates": "As basic, but dates stay, moved by a secret number of days that is the same for one patient.",
    "keep": "Everything stays as it is: names, patient numbers, dates, names of files.",
}
RETAINED: dict[Retained, str] = {
    "patient": "age, sex, size, weight and other characteristics",
    "device": "serial numbers and names of devices",
    "uids": "all UIDs",
}


def as_profile(text: str) -> Profile:
    """Return a profile given as text.

    Raises:
        ValueError: when there is none of that name.
    """
    for known in PROFILES:
        if known == text:
            return known
    raise ValueError(f"The profile must be one of {', '.join(get_args(Profile))}, got {text!r}.")


def as_retained(text: str | None) -> frozenset[Retained]:
    """Return what is to be retained, from words separated by commas.

    Raises:
        ValueError: when a word is none of ``RETAINED``.
    """
    words = {part.strip() for part in (text or "").split(",") if part.strip()}
    found = frozenset(known for known in RETAINED if known in words)
    if len(found) < len(words):
        wrong = sorted(words - found)[0]
        raise ValueError(f"What is retained must be among {', '.join(RETAINED)}, got {wrong!r}.")
    return found
