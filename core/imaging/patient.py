"""Who a file is about: identifiers written in many ways lead to one key, and nobody can be named from it."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from typing import Any


def patient_key(raw: str, salt: str, issuer: str = "") -> str:
    """Hash a patient identifier so that equal patients match and nobody can be named without the salt.

    Blanks around and repeated inside, upper or lower case and NULs do not count. An identifier in the form of HL7
    (``123^^^HOSPITAL``) is the number and its issuer. Numbers of two issuers are two patients; a number without
    an issuer is a third, because nothing says whose it is.

    Args:
        raw: the identifier as the file or table has it.
        salt: this workspace's secret.
        issuer: who gave the number out (DICOM IssuerOfPatientID), when known.

    Source: DICOM PS3.3, C.7.1.1 (a Patient ID is unique within its issuer); HL7 v2.5, 2.A.14 (CX).
    """
    number, parts = raw.strip("^ "), raw.split("^")
    if len(parts) > 3 and plain(parts[0]):
        number, issuer = parts[0], issuer if plain(issuer) else parts[3]
    text = plain(number) + (f"|{plain(issuer)}" if plain(issuer) else "")
    return f"patient-{hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]}"


def name_key(raw: str, salt: str) -> str:
    """Hash a person's name (DICOM PN): carets, commas and blanks only part it, empty components do not count.

    Args:
        raw: such as ``DOE^JANE^^^``; of several writings (parted by ``=``) the first that is there.
        salt: this workspace's secret.
    """
    writing = next((part for part in raw.split("=") if plain(part)), "")
    return patient_key(plain(writing.replace("^", " ").replace(",", " ")), salt)


def dataset_key(dataset: Any, salt: str) -> str | None:
    """Return the key of a DICOM data set's patient, from the number or else the name; None without both."""
    number = str(dataset.get("PatientID") or "")
    if plain(number):
        return patient_key(number, salt, str(dataset.get("IssuerOfPatientID") or ""))
    name = str(dataset.get("PatientName") or "")
    return name_key(name, salt) if plain(name.replace("^", " ").replace("=", " ")) else None


def plain(text: str) -> str:
    """Return text as it is compared: composed, upper case, single blanks, no NULs."""
    return " ".join(unicodedata.normalize("NFKC", text).replace("\0", " ").upper().split())
