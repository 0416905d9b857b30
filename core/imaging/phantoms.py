"""Synthetic images with exact truth, for the demo project and for tests. No patient was ever near them."""

from __future__ import annotations

from collections.abc import Callable

from core.imaging.phantom_base import InstanceBox, Phantom
from core.imaging.phantom_blood import blood_smear
from core.imaging.phantom_chest import ct_chest
from core.imaging.phantom_skin import dermoscopy
from core.imaging.phantom_ultrasound import ultrasound

__all__ = ["PHANTOMS", "InstanceBox", "Phantom", "blood_smear", "ct_chest", "dermoscopy", "ultrasound"]

PHANTOMS: dict[str, Callable[[int], Phantom]] = {
    "ct_chest": ct_chest,
    "ultrasound": ultrasound,
    "dermoscopy": dermoscopy,
    "blood_smear": blood_smear,
}
