"""Slides written for tests, with labels, dates and names in them as scanners put them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

CANARY = "DOE^JANE"
LABEL_VALUE, MACRO_VALUE = 77, 99


def picture(height: int = 2003, width: int = 3001, seed: int = 5) -> np.ndarray:
    """A smooth colour picture."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 50, width // 50, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def halves(array: np.ndarray, smallest: int = 400) -> list[np.ndarray]:
    """The levels of a pyramid."""
    levels = [array]
    while max(levels[-1].shape[:2]) > smallest:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return levels


def write_svs(path: Path, base: np.ndarray) -> list[np.ndarray]:
    """Write an Aperio slide of two levels with thumbnail, label and overview; returns the levels before JPEG."""
    height, width = base.shape[:2]
    quarter = cv2.resize(base, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    facts = (
        f"Aperio Image Library v11.2.1 \r\n{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=30"
        f"|AppMag = 40|StripeWidth = 2040|ScanScope ID = {CANARY}|Filename = {CANARY}|Date = 12/29/09|User = {CANARY}"
        f"|MPP = 0.25|Left = 25.6|ImageID = {CANARY}|Title = {CANARY}"
    )
    options: dict[str, Any] = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
    software = [(315, 2, len(CANARY) + 1, CANARY, True)]  # Artist
    with tifffile.TiffWriter(path) as file:
        file.write(
            base,
            tile=(256, 256),
            description=facts,
            extratags=software,
            datetime="2009:12:29 09:59:15",
            **options,
        )
        file.write(quarter[::4, ::4], rowsperstrip=16, description=f"{facts}\nthumbnail", **options)
        file.write(quarter, tile=(256, 256), description=facts, **options)
        label = np.full((100, 120, 3), LABEL_VALUE, np.uint8)
        options["compression"] = None
        head = "Aperio Image Library v11.2.1 \r\n"
        file.write(label, description=f"{head}label 120x100", subfiletype=1, rowsperstrip=100, **options)
        macro = np.full((60, 200, 3), MACRO_VALUE, np.uint8)
        file.write(macro, description=f"{head}macro 200x60", subfiletype=9, rowsperstrip=60, **options)
    return [base, quarter]


def write_pyramid(path: Path, base: np.ndarray, in_page: bool = False, ome: bool = False) -> list[np.ndarray]:
    """Write a tiled pyramid without losses, its levels one after the other or inside the first page."""
    levels = halves(base)
    axes = "YXS" if base.ndim == 3 else "YX"
    facts = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Name": CANARY} if ome else None
    options: dict[str, Any] = {
        "tile": (256, 256), "compression": "zlib", "photometric": "rgb" if base.ndim == 3 else "minisblack",
    }  # fmt: skip
    with tifffile.TiffWriter(path, ome=ome, bigtiff=True) as file:
        file.write(
            base, subifds=len(levels) - 1 if in_page else 0, metadata=facts, resolution=(20000, 20000),
            resolutionunit="CENTIMETER", **options,
        )  # fmt: skip
        for level in levels[1:]:
            file.write(level, subfiletype=1, metadata=None, **options)
    return levels
