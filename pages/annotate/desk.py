"""The annotator's desk: what was drawn becomes versions of a reading. Calls no Streamlit, so that no rerun cuts it off.

Streamlit may stop a script at any of its own calls. Everything between "a stroke came in" and "it is a version" runs
here, in plain Python; a stroke counts as done only when its version is on disk, and until then the browser keeps it.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING

import numpy as np

from core.errors import Conflict, LabelError, SightlineError
from core.readings.reading import Boxes, Mask, Reading, ReadingKind, no_boxes
from core.tasks import TASKS
from core.types import Array, ImageInfo
from pages.annotate.objects import Edit, apply_marks, inside, own_boxes, with_plane_copied
from pages.annotate.painting import Region, paint, whole, zoom_to_box
from pages.shared.canvas import Batch, Mark, View, read_mark

if TYPE_CHECKING:
    from core.workspace.records import Case, ReadingVersion
    from core.workspace.workspace import Workspace

MAX_PLACES = 200
ATTEMPTS = 5
KEPT_MASKS = 6
KEPT_BYTES = 512 * 2**20
_COPY_OF = re.compile(r"^(?:undo|restored): version (\d+)$")

Change = Callable[[Reading], Reading]


@dataclass(frozen=True)
class Place:
    """What a view on the canvas shows: whose reading of which case, which slice, which part."""

    case_id: int
    reader: str
    index: int
    view: View


@dataclass
class Desk:
    """What one browser session knows between reruns: numbers and names, no pixels.

    Attributes:
        token: makes the names of views unlike those of other sessions.
        places: name of a view to what it shows.
        done: name of a view to the number of marks merged from it.
        seen: (case, reader) to the version this session saw last.
        regions: case to the part of the plane that is shown.
        chosen: (case, reader) to the number of the object in hand, in projects of boxes.
        message: a sentence to show once, with its kind ("info" or "error").
    """

    token: str = field(default_factory=lambda: token_hex(4))
    places: OrderedDict[str, Place] = field(default_factory=OrderedDict)
    done: dict[str, int] = field(default_factory=dict)
    seen: dict[tuple[int, str], int] = field(default_factory=dict)
    regions: dict[int, Region] = field(default_factory=dict)
    chosen: dict[tuple[int, str], int | None] = field(default_factory=dict)
    message: tuple[str, str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def name_place(self, place: Place) -> str:
        """Return the name of a view; the same view has the same name."""
        view = place.view
        where = f"{place.case_id}.{place.index}.{view.left}.{view.top}.{view.columns}.{view.rows}"
        name = f"{self.token}.{where}.{place.reader}"
        self.places[name] = place
        self.places.move_to_end(name)
        while len(self.places) > MAX_PLACES:
            self.done.pop(self.places.popitem(last=False)[0], None)
        return name

    def region(self, case: Case) -> Region:
        """Return the part of the plane that is shown of a case."""
        return self.regions.get(case.id) or whole(case.info)


# --- masks in memory: by version, shared by all sessions, never written to ---------------------------------

_masks: OrderedDict[tuple[int, str], Array] = OrderedDict()
_masks_lock = threading.Lock()


def _keep(version: ReadingVersion, array: Array) -> Array:
    array.flags.writeable = False
    with _masks_lock:
        _masks[version.id, version.sha256] = array
        _masks.move_to_end((version.id, version.sha256))
        while len(_masks) > KEPT_MASKS or (
            len(_masks) > 1 and sum(mask.nbytes for mask in _masks.values()) > KEPT_BYTES
        ):
            _masks.popitem(last=False)
    return array


def mask_of(workspace: Workspace, version: ReadingVersion | None, info: ImageInfo) -> Array:
    """Return a version's label map (read-only), or an empty one where there is none."""
    if version is None:
        return np.zeros(info.spatial_shape, dtype=np.uint8)
    with _masks_lock:
        known = _masks.get((version.id, version.sha256))
    if known is not None:
        return known
    reading = workspace.load_reading(version, with_probabilities=False)
    if not isinstance(reading, Mask):
        raise LabelError(f"This reading holds {reading.kind}; it cannot be painted on.")
    return _keep(version, reading.array)


def kind_of(workspace: Workspace, case: Case) -> ReadingKind:
    """Return what kind of reading the case's project makes."""
    return TASKS[workspace.get_project(case.project_id).task].reading_kind


def content_of(workspace: Workspace, version: ReadingVersion | None, case: Case) -> Reading:
    """Return what a version holds, or an empty reading where there is none; of boxes, those that count."""
    if kind_of(workspace, case) != "boxes":
        return Mask(mask_of(workspace, version, case.info))
    if version is None:
        return no_boxes()
    reading = workspace.load_reading(version, with_probabilities=False)
    if not isinstance(reading, Boxes):
        raise LabelError(f"This reading holds a {reading.kind}, and this project marks boxes.")
    return own_boxes(reading)


def on_array(change: Callable[[Array], None]) -> Change:
    """Turn what changes a label map in place into a change of a reading."""

    def changed(reading: Reading) -> Reading:
        array = np.array(reading.array) if isinstance(reading, Mask) else np.zeros(0, np.uint8)
        change(array)
        return Mask(array)

    return changed


def on_boxes(change: Callable[[Boxes], Boxes], info: ImageInfo) -> Change:
    """Turn what makes other boxes of boxes into a change of a reading; they stay inside the image."""

    def changed(reading: Reading) -> Reading:
        return inside(change(reading), info) if isinstance(reading, Boxes) else reading

    return changed


def busiest_plane(reading: Reading, info: ImageInfo) -> int:
    """Return the plane where a reading has most; the middle one when it is empty."""
    if isinstance(reading, Boxes):
        return int(np.bincount(reading.planes).argmax()) if len(reading) else info.slices // 2
    if reading.array.ndim == 2 or not reading.array.any():
        return info.slices // 2
    return int(np.count_nonzero(reading.array, axis=(1, 2)).argmax())


def plane_in(array: Array, index: int) -> Array:
    """Return one plane of a label map as a view of it."""
    return array if array.ndim == 2 else array[index]


# --- versions ----------------------------------------------------------------------------------------------


def save_change(desk: Desk, workspace: Workspace, place: Place, change: Change, note: str) -> ReadingVersion:
    """Apply a change to the reader's latest version and save the result as the next one.

    When somebody else saved in between, the change is applied to what they saved: nothing of either is lost.

    Args:
        desk: notes which version was seen, and leaves a sentence when somebody else saved meanwhile.
        workspace: the store.
        place: whose reading of which case.
        change: makes the new reading of the one it is given.
        note: a word about the new version.

    Raises:
        SightlineError: when it cannot be stored.
    """
    case = workspace.get_case(place.case_id)
    key = (place.case_id, place.reader)
    for attempt in range(ATTEMPTS):
        latest = workspace.latest_reading(place.case_id, place.reader)
        reading = change(content_of(workspace, latest, case))
        try:
            saved = workspace.save_reading(
                place.case_id, place.reader, reading, note=note, based_on=latest.version if latest else 0
            )
        except Conflict:
            now = workspace.latest_reading(place.case_id, place.reader)
            if attempt == ATTEMPTS - 1 or (now and now.id) == (latest and latest.id):
                raise
            continue
        if isinstance(reading, Mask):
            _keep(saved, reading.array)
        seen = desk.seen.get(key)
        if seen is not None and latest is not None and latest.version > seen:
            desk.message = (
                "info",
                f"This reading was also changed elsewhere (version {latest.version}); "
                f"your change was added on top of it as version {saved.version}.",
            )
        desk.seen[key] = saved.version
        return saved
    raise Conflict("This reading is being changed elsewhere; try again in a moment.")


def merge(desk: Desk, workspace: Workspace, batches: list[Batch]) -> None:
    """Merge what was drawn and not merged before; safe to call any number of times with the same batches."""
    with desk.lock:
        for batch in batches:
            place = desk.places.get(batch.context)
            seen = desk.done.get(batch.context, 0)
            fresh = batch.raw[max(0, seen - batch.first) :]
            if batch.end <= seen:
                continue
            if place is not None:
                marks = [mark for mark in map(read_mark, fresh) if mark is not None]
                try:
                    _merge_marks(desk, workspace, place, marks)
                except SightlineError as error:
                    # Not marked as done: the browser keeps the strokes and the next change tries again.
                    desk.message = ("error", f"Not saved: {error} Your strokes are kept on the canvas.")
                    return
            desk.done[batch.context] = batch.end


def _merge_marks(desk: Desk, workspace: Workspace, place: Place, marks: list[Mark]) -> None:
    case = workspace.get_case(place.case_id)
    for mark in marks:
        if mark.tool == "zoom":
            desk.regions[case.id] = zoom_to_box(case.info, mark, place.view)
    known = {label.value for label in workspace.get_project(case.project_id).labels} | {0}
    painted = [mark for mark in marks if mark.tool != "zoom" and mark.label in known]
    if not painted:
        return
    if kind_of(workspace, case) == "boxes":
        _merge_objects(desk, workspace, place, painted)
        return
    what = "erased" if all(mark.label == 0 for mark in painted) else "drawn"
    where = f" on slice {place.index + 1}" if case.info.slices > 1 else ""
    save_change(
        desk,
        workspace,
        place,
        on_array(lambda array: paint(plane_in(array, place.index), painted, place.view)),
        f"{what}{where}",
    )


def _merge_objects(desk: Desk, workspace: Workspace, place: Place, marks: list[Mark]) -> None:
    """Draw, move, resize or choose objects; only what changes something becomes a version."""
    key = (place.case_id, place.reader)
    case = workspace.get_case(place.case_id)
    now = content_of(workspace, workspace.latest_reading(*key), case)
    if not isinstance(now, Boxes):
        return
    before = desk.chosen.get(key)
    edit = apply_marks(now, marks, place.view, place.index, before)
    desk.chosen[key] = edit.chosen
    if edit.word is not None:
        change = _applied(marks, place, before)
        save_change(desk, workspace, place, on_boxes(change, case.info), f"{edit.word}{_where(place, case)}")


def _applied(marks: list[Mark], place: Place, chosen: int | None) -> Callable[[Boxes], Boxes]:
    return lambda boxes: apply_marks(boxes, marks, place.view, place.index, chosen).boxes


def _where(place: Place, case: Case) -> str:
    return f" on slice {place.index + 1}" if case.info.slices > 1 else ""


def edit_object(
    desk: Desk, workspace: Workspace, place: Place, change: Callable[[Boxes, int], Edit]
) -> ReadingVersion | None:
    """Change the object in hand and save; None when there is none."""
    key = (place.case_id, place.reader)
    number = desk.chosen.get(key)
    case = workspace.get_case(place.case_id)
    now = content_of(workspace, workspace.latest_reading(*key), case)
    if number is None or not isinstance(now, Boxes) or number >= len(now):
        return None
    edit = change(now, number)
    desk.chosen[key] = edit.chosen
    return save_change(
        desk, workspace, place, on_boxes(lambda boxes: change(boxes, number).boxes, case.info),
        f"{edit.word or 'changed'} object {number + 1}",
    )  # fmt: skip


def _put(content: Reading) -> Change:
    return lambda _: content


def undo(desk: Desk, workspace: Workspace, place: Place) -> ReadingVersion | None:
    """Go back one step, as a new version; pressed again it goes back further. None when nothing is left."""
    versions = {found.version: found for found in workspace.list_versions(place.case_id, place.reader)}
    if not versions:
        return None
    current = versions[max(versions)]
    while (copied := _COPY_OF.match(current.note)) and int(copied.group(1)) < current.version:
        number = int(copied.group(1))
        if number not in versions:
            return None  # back to before the first version
        current = versions[number]
    previous = current.version - 1
    content = content_of(workspace, versions.get(previous), workspace.get_case(place.case_id))
    desk.chosen.pop((place.case_id, place.reader), None)
    return save_change(desk, workspace, place, _put(content), f"undo: version {previous}")


def restore(desk: Desk, workspace: Workspace, place: Place, version: ReadingVersion) -> ReadingVersion:
    """Make an earlier version the newest one again."""
    content = content_of(workspace, version, workspace.get_case(place.case_id))
    return save_change(desk, workspace, place, _put(content), f"restored: version {version.version}")


def take_over(
    desk: Desk, workspace: Workspace, place: Place, version: ReadingVersion, word: str
) -> ReadingVersion:
    """Make another reader's reading this reader's own (``word``: "started from" or "accepted")."""
    content = content_of(workspace, version, workspace.get_case(place.case_id))
    note = f"{word} {version.reader_name}, version {version.version}"
    return save_change(desk, workspace, place, _put(content), note)


def clear_plane(desk: Desk, workspace: Workspace, place: Place) -> ReadingVersion:
    """Remove all marks from the plane that is shown."""

    def change(array: Array) -> None:
        plane_in(array, place.index)[...] = 0

    case = workspace.get_case(place.case_id)
    desk.chosen.pop((place.case_id, place.reader), None)
    changes = {
        "mask": on_array(change),
        "boxes": on_boxes(lambda boxes: boxes.only(boxes.planes != place.index), case.info),
    }
    note = f"cleared slice {place.index + 1}"
    return save_change(desk, workspace, place, changes[kind_of(workspace, case)], note)


def copy_plane(desk: Desk, workspace: Workspace, place: Place, source: int) -> ReadingVersion:
    """Replace the marks of the plane that is shown by those of another plane."""

    def change(array: Array) -> None:
        plane_in(array, place.index)[...] = plane_in(array, source)

    case = workspace.get_case(place.case_id)
    changes = {
        "mask": on_array(change),
        "boxes": on_boxes(lambda boxes: with_plane_copied(boxes, source, place.index), case.info),
    }
    note = f"copied slice {source + 1} to {place.index + 1}"
    return save_change(desk, workspace, place, changes[kind_of(workspace, case)], note)


def next_case(case_ids: list[int], current: int, step: int, without: set[int] | None = None) -> int | None:
    """Return the case before (-1) or after (+1) the current one, going round.

    Args:
        case_ids: all cases in order.
        current: the case that is shown.
        step: +1 or -1.
        without: cases to pass over (those that have been read); None passes over none.
    """
    if not case_ids:
        return None
    start = case_ids.index(current) if current in case_ids else -1
    for distance in range(1, len(case_ids) + 1):
        candidate = case_ids[(start + step * distance) % len(case_ids)]
        if candidate != current and (without is None or candidate not in without):
            return candidate
    return None
