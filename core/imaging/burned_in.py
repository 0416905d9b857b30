"""What pixels may still tell of a patient: text burned into the picture, and faces. Warnings, no changes.

The header says which kinds of picture often carry text; the pixels are searched for a row of bright letters on even
ground. Of 890 development images the search named eight, and all of these do show printed words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.types import Array, Image

# Screens, cameras, scanners and fluoroscopy, whose pictures show what was on the screen or the film.
TEXT_MODALITIES = {
    "US": "Ultrasound pictures", "IVUS": "Ultrasound pictures", "XA": "Angiography pictures",
    "RF": "Fluoroscopy pictures", "ES": "Endoscopy pictures", "DOC": "Scanned documents", "SC": "Screen pictures",
    "OT": "Pictures of other origin", "BI": "Biomagnetic pictures", "LP": "Laparoscopy pictures",
}  # fmt: skip
TEXT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.6.1": "Ultrasound pictures",
    "1.2.840.10008.5.1.4.1.1.6.2": "Ultrasound pictures",
    "1.2.840.10008.5.1.4.1.1.3.1": "Ultrasound pictures",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary captures",
    "1.2.840.10008.5.1.4.1.1.7.1": "Secondary captures",
    "1.2.840.10008.5.1.4.1.1.7.2": "Secondary captures",
    "1.2.840.10008.5.1.4.1.1.7.3": "Secondary captures",
    "1.2.840.10008.5.1.4.1.1.7.4": "Secondary captures",
}
CONVERSIONS = {
    "DV": "Pictures from video", "DI": "Pictures taken from a screen", "DF": "Digitised films",
    "SD": "Scanned documents", "SI": "Scanned pictures", "DRW": "Drawings",
}  # fmt: skip
SCREEN_WORDS = ("SCREEN SAVE", "SCREENSHOT", "SCREEN", "DOSE_INFO", "REPORT", "CAPTURE")
HEAD_WORDS = ("HEAD", "FACE", "SKULL", "BRAIN", "ORBIT", "JAW", "MAXILLA", "MANDIBLE", "SINUS", "WHOLEBODY")
FACE_MODALITIES = ("CT", "MR", "PT")
FACE_SLICES = 20  # fewer do not make a surface

MAX_SIDE = 2048
TOP_HAT, BRIGHT = 0.3, 0.55  # of the picture's range: letters stand out that far, and are that bright
MIN_LETTERS, MIN_MARKS = 6, 4
MAX_MARKS = 1500  # more bright spots are a texture, no print
LETTER_PIXELS = 5  # smallest letter height
EVEN_GROUND, EVEN_LETTERS = 0.09, 0.2  # standard deviations within the row, of the picture's range


def header_warnings(dataset: Any, slices: int) -> tuple[str, ...]:
    """Say what a DICOM header lets one expect in the pixels.

    Args:
        dataset: the header.
        slices: of the volume it belongs to; 1 for a single picture, and for frames in time.
    """
    return tuple(said for said in (text_warning(dataset), face_warning(dataset, slices)) if said)


def text_warning(dataset: Any) -> str:
    """Say that a header lets one expect text in the pixels; empty when it does not.

    Source: DICOM PS3.3, C.7.6.1 (Burned In Annotation); C.8.6.1 (Conversion Type).
    """
    said = str(dataset.get("BurnedInAnnotation") or "").upper()
    if said == "YES":
        return "The file says that text is burned into its pixels; look for names before sharing it."
    if said == "NO":
        return ""
    kind = _kind(dataset)
    if not kind:
        return ""
    return f"{kind} often show text such as names in their pixels, and this file does not say; look before sharing."


def _kind(dataset: Any) -> str:
    """Name the kind of picture when it is one that often shows text."""
    image_type = " ".join(str(part).upper() for part in dataset.get("ImageType") or ())
    if any(word in image_type for word in SCREEN_WORDS):
        return "Screen pictures"
    for table, keyword in (
        (TEXT_CLASSES, "SOPClassUID"),
        (CONVERSIONS, "ConversionType"),
        (TEXT_MODALITIES, "Modality"),
    ):
        kind = table.get(str(dataset.get(keyword) or ""))
        if kind:
            return kind
    return ""


def face_warning(dataset: Any, slices: int) -> str:
    """Say that a face can be made visible from a volume of the head; empty when not.

    Only what the header says of the body part counts: sizes do not tell a head from a knee.

    Args:
        dataset: the header of a slice.
        slices: how many the volume has.

    Source: DICOM PS3.3, C.7.6.1 (Recognizable Visual Features).
    """
    said = str(dataset.get("RecognizableVisualFeatures") or "").upper()
    part = str(dataset.get("BodyPartExamined") or "").upper().replace(" ", "")
    is_head = any(word in part for word in HEAD_WORDS) and dataset.get("Modality") in FACE_MODALITIES
    if said == "YES" or (said != "NO" and is_head and slices >= FACE_SLICES):
        return "A face can be made visible from this volume of the head; remove it before sharing."
    return ""


def pixel_warnings(image: Image) -> tuple[str, ...]:
    """Say when the first plane of an image shows a row of letters.

    Args:
        image: any image; of a volume or clip the first plane is looked at.
    """
    plane = image.plane(0)
    grey = plane if plane.ndim == 2 else plane[..., :3].mean(axis=-1)
    if count_letters(np.asarray(grey)) < MIN_LETTERS:
        return ()
    return ("The picture seems to show printed text; look for names before sharing it.",)


@dataclass(frozen=True)
class Mark:
    """A bright spot that may be a letter, or a few that touch. In pixels."""

    left: int
    right: int
    top: int
    bottom: int

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top

    def stands_beside(self, other: Mark) -> bool:
        """True when the other mark has about the same height and base line."""
        overlap = min(self.bottom, other.bottom) - max(self.top, other.top)
        alike = 0.55 <= other.height / self.height <= 1.8
        return (
            alike
            and overlap >= 0.7 * min(self.height, other.height)
            and abs(self.bottom - other.bottom) <= 0.35 * self.height
        )


def count_letters(plane: Array) -> int:
    """Count the letters of the longest row of bright print in a grey plane ``yx``; 0 where there is none.

    A letter stands out from what is around it (white top-hat), letters have one height and base line, and both the
    print and the ground behind it are even, which tissue and noise are not.
    """
    step = max(1, -(-max(plane.shape) // MAX_SIDE))
    values = plane[::step, ::step].astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return 0
    low, high = float(np.percentile(values[finite], 0.1)), float(values[finite].max())
    if high <= low:
        return 0
    scaled = np.where(finite, (values - low) / (high - low), 0)
    marks, ink = _marks(scaled)
    rows = (_row_from(marks, start) for start in range(len(marks)))
    return max((_letters_in(row, scaled, ink) for row in rows if len(row) >= MIN_MARKS), default=0)


def _marks(scaled: Array) -> tuple[list[Mark], Array]:
    """Find what may be letters, from left to right, and the pixels that print is made of."""
    from scipy import ndimage

    ink = (scaled - ndimage.grey_opening(scaled, size=(9, 9)) > TOP_HAT) & (scaled > BRIGHT)
    if ink.mean() > 0.2:
        return [], ink
    numbered, _ = ndimage.label(ink, np.ones((3, 3)))
    areas = np.bincount(numbered.ravel())[1:]
    tallest = max(40, scaled.shape[0] // 15)
    found = []
    for (rows, columns), area in zip(ndimage.find_objects(numbered), areas, strict=True):
        mark = Mark(columns.start, columns.stop, rows.start, rows.stop)
        width = mark.right - mark.left
        is_letter = LETTER_PIXELS <= mark.height <= tallest and width <= 5 * mark.height
        if is_letter and area >= max(5, 0.15 * width * mark.height):
            found.append(mark)
    if len(found) > MAX_MARKS:
        return [], ink
    return sorted(found, key=lambda mark: (mark.left, mark.right)), ink


def _row_from(marks: list[Mark], start: int) -> list[Mark]:
    """Return the marks that continue a row to the right of one, without large gaps."""
    row = [marks[start]]
    for mark in marks[start + 1 :]:
        if mark.left - row[-1].right > 1.5 * row[0].height:
            break
        if row[0].stands_beside(mark):
            row.append(mark)
    return row


def _letters_in(row: list[Mark], scaled: Array, ink: Array) -> int:
    """Count letters (touching ones by their width), or 0 when the row is too short or uneven to be print."""
    from scipy import ndimage

    height = row[0].height
    left, right = row[0].left, max(mark.right for mark in row)
    if right - left < 4 * height:
        return 0
    box = np.s_[min(mark.top for mark in row) : max(mark.bottom for mark in row), left:right]
    print_, ground = scaled[box][ink[box]], scaled[box][~ndimage.binary_dilation(ink[box])]
    if ground.size < 10 or ground.std() >= EVEN_GROUND or print_.std() >= EVEN_LETTERS:
        return 0
    return sum(max(1, round((mark.right - mark.left) / (0.7 * height))) for mark in row)
