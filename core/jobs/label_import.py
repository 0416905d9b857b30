"""Labels of an import, whatever their format: each file, or entry of a file, finds its case and becomes a reading.

A project of masks takes masks, and outlines and run lengths of COCO and YOLO. A project of boxes takes boxes, with
their masks where there are any, and makes objects of masks: one per number of an instance label map, or one per
connected part of a label. A project of finer images takes those. What is made of what is said in a remark.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from core.errors import LabelError, SightlineError
from core.readings.class_table import to_classes
from core.readings.instances import (
    TABLE_NAME,
    InstanceNames,
    holds_instances,
    instances_to_boxes,
    parts_to_boxes,
    read_instance_table,
)
from core.readings.label_formats import (
    TEXT_FORMATS,
    TITLES,
    LabelFormat,
    Labels,
    read_label_file,
    sort_labels,
    yolo_names,
)
from core.readings.label_values import LabelMap
from core.readings.masks import read_mask_noting, read_values
from core.readings.match import file_stem, match_by_stem
from core.readings.match_names import RULE, NameIndex, label_stem
from core.readings.notes import Note
from core.readings.object_readings import Laid, to_boxes, to_mask
from core.readings.objects import FileImage, LabelFile, Problem, split_plane_name
from core.readings.reading import Reading, ReadingKind
from core.readings.restored_files import read_restored
from core.types import ImageInfo, Label

TOGETHER = 200  # text files whose content is in memory at a time


@dataclass(frozen=True)
class LabelRequest:
    """What labels to read, and onto which images.

    Attributes:
        root: file or folder the labels were given as.
        shown: label file -> the name its sender knows it by.
        images: name of an image as given (path or file name) -> what is known of it.
        labels: the project's label set.
        kind: what the project's readings are.
        format: how to read the files; "auto" goes by their content.
        label_map: number, or "any", to the name of a label.
        work_dir: where values of masks pass through on disk.
        case_names: what else an image may be called in a table: the name of its case -> what is known of it.
    """

    root: Path
    shown: Mapping[Path, str]
    images: Mapping[str, ImageInfo]
    labels: tuple[Label, ...]
    kind: ReadingKind
    format: LabelFormat = "auto"
    label_map: LabelMap | None = None
    work_dir: Path | None = None
    case_names: Mapping[str, ImageInfo] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelItem:
    """One step of reading labels: a reading of an image, its classes, or a problem; notes may come with all.

    Attributes:
        image: name of the image, as in the request.
        reading: what was read.
        classes: the classes of the image, of a table that tells nothing else.
        problems: what did not come in.
        notes: sentences about what was assumed.
        share: how much of the work is done, 0 to 1.
    """

    image: str | None = None
    reading: Reading | None = None
    classes: Mapping[str, Note] | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    share: float = 0.0


def read_labels(request: LabelRequest) -> Iterator[LabelItem]:
    """Read all labels, one image after the other; what cannot be used is a problem and the rest goes on.

    Raises:
        LabelError: when no file is of the format asked for.
    """
    if request.kind == "restored" and request.format == "classes":
        raise LabelError(
            "A project of finer images holds no classes; import them into one of masks or boxes."
        )
    if request.kind == "restored":
        yield from _read_finer_images(request)
        return
    labels = sort_labels(request.shown, request.format)
    if not labels.files:
        raise LabelError(
            f"No label files ({TITLES[labels.format]}) were found at {request.root.name}; check the path."
        )
    notes = [_passed_over(labels)] if labels.passed_over and request.format == "auto" else []
    if labels.format in TEXT_FORMATS:
        notes.insert(0, f"Labels were read as {TITLES[labels.format]}: {RULE}.")
    yield LabelItem(notes=tuple(notes))
    read = _read_text_labels if labels.format in TEXT_FORMATS else _read_pictures
    yield from read(request, labels)


def _passed_over(labels: Labels) -> str:
    names = ", ".join(file.name for file in labels.passed_over[:3])
    more = f" and {len(labels.passed_over) - 3} more" if len(labels.passed_over) > 3 else ""
    return f"Read as {TITLES[labels.format]}; other files lay among them and were passed over: {names}{more}."


# --- finer images ---------------------------------------------------------------------------------------


def _read_finer_images(request: LabelRequest) -> Iterator[LabelItem]:
    """Read acquired finer images of the cases: the truth of real pairs."""
    by_shown = {Path(shown): file for file, shown in request.shown.items()}
    match = match_by_stem(list(request.images), list(by_shown))
    yield LabelItem(problems=tuple(Problem(one.name, one.reason) for one in match.unmatched_labels))
    for number, (image, shown) in enumerate(match.pairs.items(), start=1):
        share = number / len(match.pairs)
        try:
            yield LabelItem(image, read_restored(by_shown[shown], request.images[image]), share=share)
        except SightlineError as error:
            sentence = str(error).replace(by_shown[shown].name, shown.name)
            yield LabelItem(problems=(Problem(shown.name, sentence),), share=share)


# --- masks and label maps -----------------------------------------------------------------------------------


def _read_pictures(request: LabelRequest, labels: Labels) -> Iterator[LabelItem]:
    by_shown = {Path(request.shown[file]): file for file in labels.files}
    match = match_by_stem(list(request.images), list(by_shown))
    yield LabelItem(problems=tuple(Problem(one.name, one.reason, True) for one in match.unmatched_labels))
    table, problems = _instance_table(request)
    yield LabelItem(problems=problems)
    for number, (image, shown) in enumerate(match.pairs.items(), start=1):
        share = number / len(match.pairs)
        try:
            named = table.get(file_stem(shown)) if table else None
            reading, notes = _picture_reading(request, labels.format, (by_shown[shown], image), named)
            yield LabelItem(image, reading, notes=notes, share=share)
        except SightlineError as error:
            sentence = str(error).replace(by_shown[shown].name, shown.name)
            yield LabelItem(problems=(Problem(shown.name, sentence),), share=share)


def _instance_table(request: LabelRequest) -> tuple[InstanceNames, tuple[Problem, ...]]:
    path = next(
        (file for file, shown in request.shown.items() if Path(shown).name.lower() == TABLE_NAME), None
    )
    if path is None:
        return {}, ()
    try:
        return read_instance_table(path, TABLE_NAME), ()
    except SightlineError as error:
        return {}, (Problem(TABLE_NAME, str(error)),)


def _picture_reading(
    request: LabelRequest,
    kind: LabelFormat,
    pair: tuple[Path, str],
    named: dict[int, tuple[str, float | None]] | None,
) -> tuple[Reading, tuple[str, ...]]:
    file, image = pair
    info, labels, label_map = request.images[image], request.labels, request.label_map
    if request.kind == "mask":
        return read_mask_noting(file, info, labels, label_map, request.work_dir)
    stored = read_values(file, info, request.work_dir)
    counts = named is not None or holds_instances(stored, labels, label_map)
    if kind == "instances" or (counts and request.format != "masks"):
        made = instances_to_boxes(stored, labels, label_map, (file.name, named))
    else:
        made = parts_to_boxes(stored, info, labels, label_map, file.name)
    return made.boxes, made.notes


# --- COCO, VOC, YOLO, tables --------------------------------------------------------------------------------


def _read_text_labels(request: LabelRequest, labels: Labels) -> Iterator[LabelItem]:
    """Read text labels in pieces; entries of one case within a piece belong together (planes of a stack)."""
    names: dict[int, str] = {}
    if labels.format == "yolo":
        names, problems = yolo_names(request.root, labels.name_files)
        yield LabelItem(problems=tuple(problems))
    if labels.format == "yolo" and not names and request.label_map is None:
        names = {number: label.name for number, label in enumerate(request.labels)}
        told = ", ".join(f"{number} {name}" for number, name in names.items())
        yield LabelItem(
            notes=(f"No data.yaml or classes.txt names the classes; they were taken for {told}.",)
        )
    index = NameIndex(request.images)
    said: set[str] = set()
    files = sorted(labels.files, key=lambda file: request.shown[file])
    for done, piece in _pieces(request, files):
        found = [_read_file(request, file, labels.format, names) for file in piece]
        problems = [problem for one in found for problem in one.problems]
        notes = tuple(note for one in found for note in one.notes if note not in said)
        said |= set(notes)
        yield LabelItem(problems=tuple(problems), notes=tuple(dict.fromkeys(notes)))
        images = [image for one in found for image in one.images]
        lay_out = _lay_out_classes if labels.format == "classes" else _lay_out
        yield from lay_out(request, index, images, done)


def _pieces(request: LabelRequest, files: Sequence[Path]) -> Iterator[tuple[float, Sequence[Path]]]:
    """Cut the files into pieces, with the share done; planes of one stack stay together."""
    groups = groupby(files, key=lambda file: _stack_of(request.shown[file]))
    piece: list[Path] = []
    done = 0
    for _, group in groups:
        piece += group
        if len(piece) >= TOGETHER:
            done += len(piece)
            yield done / len(files), piece
            piece = []
    if piece:
        yield 1.0, piece


def _stack_of(name: str) -> str:
    split = split_plane_name(label_stem(name))
    return label_stem(name) if split is None else split[0]


def _read_file(request: LabelRequest, file: Path, kind: LabelFormat, names: dict[int, str]) -> LabelFile:
    shown = request.shown[file]
    try:
        return read_label_file(file, shown, kind, names)
    except SightlineError as error:
        return LabelFile(problems=[Problem(shown, str(error))])


def _lay_out(
    request: LabelRequest, index: NameIndex, images: Iterable[FileImage], share: float
) -> Iterator[LabelItem]:
    """Find the image of each entry, put planes of a stack together, and make readings."""
    by_case, problems = _by_case(request, index, images)
    yield LabelItem(problems=problems, share=share)
    lay: Callable[..., Laid] = to_boxes if request.kind == "boxes" else to_mask
    for case, entries in by_case.items():
        try:
            laid = lay(entries, _info_of(request, case), request.labels, request.label_map)
        except LabelError as error:
            yield LabelItem(problems=(Problem(entries[0].source, str(error)),), share=share)
            continue
        yield LabelItem(case, laid.reading, None, laid.problems, laid.notes, share)


def _lay_out_classes(
    request: LabelRequest, index: NameIndex, images: Iterable[FileImage], share: float
) -> Iterator[LabelItem]:
    """Find the image of each entry and make notes; an image with an unknown class is left out as a whole."""
    by_case, problems = _by_case(request, index, images)
    yield LabelItem(problems=problems, share=share)
    unknown: dict[str, None] = {}
    left_out: list[str] = []
    for case, entries in by_case.items():
        try:
            classes = to_classes(entries, _info_of(request, case), request.labels, request.label_map)
        except LabelError as error:
            yield LabelItem(problems=(Problem(entries[0].source, str(error)),), share=share)
            continue
        if classes.unknown:
            unknown |= dict.fromkeys(classes.unknown)
            left_out.append(entries[0].source)
        else:
            yield LabelItem(case, classes=classes.notes, share=share)
    if unknown:
        names = ", ".join([*unknown][:6]) + (f" and {len(unknown) - 6} more" if len(unknown) > 6 else "")
        reason = (
            f"The project has no label called {names}, so {len(left_out)} of its images were left out; add the "
            "labels, or say what they mean with a label map."
        )
        yield LabelItem(problems=(Problem(left_out[0], reason),), share=share)


def _by_case(
    request: LabelRequest, index: NameIndex, images: Iterable[FileImage]
) -> tuple[dict[str, list[FileImage]], tuple[Problem, ...]]:
    """Find the image of each entry; return what there is of each, and what is said of images that are not there."""
    by_case: dict[str, list[FileImage]] = defaultdict(list)
    missing: dict[str, list[FileImage]] = defaultdict(list)
    for entry in images:
        case, entry = _find(index, entry, request)
        (missing[entry.source] if case is None else by_case[case]).append(entry)
    return by_case, tuple(_no_image(index, entries) for entries in missing.values())


def _info_of(request: LabelRequest, case: str) -> ImageInfo:
    return request.images[case] if case in request.images else request.case_names[case]


def _no_image(index: NameIndex, entries: list[FileImage]) -> Problem:
    """Say which images of a label file are not there; one sentence for all of a file that tells many."""
    source, first = entries[0].source, entries[0].name
    if len(entries) == 1:
        return Problem(source if source == first else f"{source}, {first}", index.why_not(first), True)
    return Problem(
        source, f"{len(entries)} of its images are not in this import, such as {first} ({RULE}).", True
    )


def _find(index: NameIndex, entry: FileImage, request: LabelRequest) -> tuple[str | None, FileImage]:
    """Return the image an entry speaks of; "ct1_z0012" is plane 12 of the stack ct1."""
    found = index.find(entry.name)
    if found is not None:
        return found, entry
    if entry.name in request.case_names:
        return entry.name, entry
    split = split_plane_name(label_stem(entry.name))
    if split is None or entry.plane is not None:
        return None, entry
    stack = index.find(split[0])
    if stack is None or request.images[stack].slices == 1:
        return None, entry
    return stack, FileImage(entry.name, entry.source, entry.objects, entry.size, split[1])
