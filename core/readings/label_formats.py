"""Which label format a file has, told by its content, and the one door to all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from core.errors import FileRefused, LabelError
from core.readings.box_table import is_box_table, read_box_table
from core.readings.class_table import is_class_table, read_class_table
from core.readings.coco import coco_from_text, is_coco
from core.readings.instances import TABLE_NAME
from core.readings.objects import MAX_TEXT_BYTES, LabelFile, Problem, read_label_text
from core.readings.voc import is_voc, read_voc
from core.readings.yolo import is_names_file, is_yolo, read_names, read_yolo

LabelFormat = Literal["auto", "masks", "nifti", "instances", "coco", "voc", "yolo", "csv", "classes"]
LABEL_FORMATS: tuple[LabelFormat, ...] = (
    "auto", "masks", "nifti", "instances", "coco", "voc", "yolo", "csv", "classes",
)  # fmt: skip
ENDINGS: dict[LabelFormat, str] = {
    "coco": ".json",
    "voc": ".xml",
    "yolo": ".txt",
    "csv": ".csv",
    "classes": ".csv",
}
TEXT_FORMATS = tuple(ENDINGS)  # in the order they are preferred
TITLES: dict[LabelFormat, str] = {
    "auto": "recognise by content",
    "masks": "mask pictures",
    "nifti": "NIfTI masks",
    "instances": "instance label maps (one number per object)",
    "coco": "COCO JSON",
    "voc": "Pascal VOC XML",
    "yolo": "YOLO text files",
    "csv": "table of boxes (CSV)",
    "classes": "table of classes (CSV)",
}
START_BYTES = 2**16
PARENTS = 2  # folders above the labels that may hold the names of YOLO's classes


@dataclass(frozen=True)
class Labels:
    """Label files of one import, by what they hold.

    Attributes:
        format: what they were taken for.
        files: files to read, in order.
        name_files: files with names of classes.
        passed_over: files of another kind that lay among them.
    """

    format: LabelFormat
    files: tuple[Path, ...]
    name_files: tuple[Path, ...] = ()
    passed_over: tuple[Path, ...] = field(default=())


def as_format(text: str) -> LabelFormat:
    """Check a format given as text.

    Raises:
        LabelError: when there is none of that name.
    """
    if text not in LABEL_FORMATS:
        raise LabelError(f"The format must be one of {', '.join(LABEL_FORMATS)}, got {text!r}.")
    return cast("LabelFormat", text)


def sort_labels(files: Mapping[Path, str], wanted: LabelFormat) -> Labels:
    """Tell what label files hold.

    With "auto" text labels come before masks (images may lie beside them), and of several text formats the first
    of COCO, VOC, YOLO, CSV is taken; a table of classes only where no picture lies beside it, as it may tell of masks.

    Args:
        files: all files found, and the names their sender knows them by.
        wanted: a format, or "auto".
    """
    names = tuple(file for file, shown in files.items() if is_names_file(Path(shown)))
    tables = [file for file, shown in files.items() if Path(shown).name.lower() == TABLE_NAME]
    rest = [file for file in files if file not in names and file not in tables]
    kinds = {file: recognise(file) for file in rest if file.suffix.lower() in ENDINGS.values()}
    if wanted == "auto":
        wanted = _best_kind(rest, kinds)
    if wanted in TEXT_FORMATS:
        chosen = [file for file in rest if _belongs(file, wanted, kinds.get(file))]
        passed = tuple(file for file in files if file not in chosen and file not in names)
        return Labels(wanted, tuple(chosen), names, passed)
    pictures = [file for file in rest if file not in kinds]
    return Labels(wanted, tuple(pictures), (), (*names, *kinds))


def _best_kind(files: Sequence[Path], kinds: dict[Path, LabelFormat | None]) -> LabelFormat:
    """Choose the format; where nothing is recognised and there are no pictures, the ending tells what was meant."""
    if len(kinds) == len(files) and not any(kinds.values()):
        kinds = {file: next(kind for kind in TEXT_FORMATS if _has_ending(file, kind)) for file in files}
    told = [kind for kind in TEXT_FORMATS if kind in kinds.values()]
    return told[0] if told and (told[0] != "classes" or len(kinds) == len(files)) else "masks"


def _belongs(file: Path, wanted: LabelFormat, kind: LabelFormat | None) -> bool:
    """A file of the right ending belongs to its format even when it is damaged, so that it is named."""
    return kind == wanted or (kind is None and _has_ending(file, wanted))


def _has_ending(file: Path, kind: LabelFormat) -> bool:
    return file.suffix.lower() == ENDINGS[kind]


def recognise(path: Path) -> LabelFormat | None:
    """Return the text format of a file by its first bytes, or None."""
    try:
        with open(path, "rb") as file:
            start = file.read(START_BYTES).decode("utf-8-sig", "ignore")
        if start.lstrip()[:1] == "{":
            return "coco" if _whole_is_coco(path, start) else None
    except OSError:
        return None
    if is_voc(start):
        return "voc"
    if is_box_table(start):
        return "csv"
    if is_class_table(start):
        return "classes"
    return "yolo" if path.suffix.lower() == ".txt" and is_yolo(start) else None


def _whole_is_coco(path: Path, start: str) -> bool:
    """Look past the first bytes only when they do not tell: the parts of a COCO file come in any order."""
    return is_coco(start) or is_coco(read_label_text(path, path.name, MAX_TEXT_BYTES))


def read_label_file(path: Path, name: str, kind: LabelFormat, names: dict[int, str]) -> LabelFile:
    """Read one text label file.

    Args:
        path: the file.
        name: what to call it in sentences.
        kind: one of ``TEXT_FORMATS``.
        names: of YOLO's classes.

    Raises:
        FileRefused: when it is not of that format.
    """
    if kind == "coco":
        return coco_from_text(read_label_text(path, name), name)
    if kind == "voc":
        return read_voc(path, name)
    if kind == "csv":
        return read_box_table(path, name)
    if kind == "classes":
        return read_class_table(path, name)
    return read_yolo(path, name, names)


def yolo_names(root: Path, name_files: Sequence[Path]) -> tuple[dict[int, str], list[Problem]]:
    """Find the names of YOLO's classes: among the label files, else in the folders above them.

    A YAML file wins over a text file.
    """
    candidates = sorted(name_files, key=_yaml_first)
    for folder in root.parents[:PARENTS]:
        candidates += sorted((file for file in folder.iterdir() if is_names_file(file)), key=_yaml_first)
    problems: list[Problem] = []
    for file in candidates:
        try:
            return read_names(file, file.name), problems
        except FileRefused as refused:
            problems.append(Problem(file.name, str(refused)))
    return {}, problems


def _yaml_first(file: Path) -> tuple[bool, str]:
    return file.suffix.lower() not in (".yaml", ".yml"), file.name
