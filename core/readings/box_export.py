"""Readings as objects in files: COCO, VOC, YOLO, a table of boxes, instance label maps.

Boxes are written as they are, with masks where they have some. Of a mask each connected part of a label is one object
(parts that touch at a corner are one). Formats for single images get a stack plane by plane, as images of their own
called "ct1_z0012". What a format cannot hold is left out: VOC knows neither scores nor masks nor crowds, YOLO no
crowds, a table no masks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.readings.box_table import table_text
from core.readings.export import ExportItem, with_file_names, write_text
from core.readings.instances import TABLE_NAME, instance_map, instance_rows, instance_table_text
from core.readings.masks import write_mask_nifti, write_mask_tiff, write_masks_png
from core.readings.match import file_stem
from core.readings.objects import FileImage, FileObject, plane_name
from core.readings.outlines import edge_outlines
from core.readings.reading import Boxes, Mask
from core.readings.rle import as_rle
from core.readings.voc import voc_text
from core.readings.yolo import names_text, yolo_line
from core.types import Array, Label

COCO_FILE = "annotations.json"
BOX_TABLE_FILE = "boxes.csv"
CORNER_TOUCH = np.ones((3, 3))


def export_coco(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write ``annotations.json``: boxes, and masks as polygons, or as run lengths where they have holes.

    Returns:
        The file written.

    Raises:
        StorageError: when the folder cannot be written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, item in with_file_names(items):
        for plane in range(item.info.slices):
            images.append(_coco_image(name, item, plane, len(images) + 1))
            for boxes, number in _objects_on(item, plane):
                row = {"id": len(annotations) + 1, "image_id": images[-1]["id"]}
                annotations.append(row | _coco_annotation(boxes, number, item))
    data = {
        "info": {"description": "Exported by Sightline"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": label.value, "name": label.name} for label in labels],
    }
    path = out / COCO_FILE
    write_text(path, json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")
    return [path]


def _coco_image(name: str, item: ExportItem, plane: int, number: int) -> dict[str, Any]:
    rows, columns = item.info.spatial_shape[-2:]
    row: dict[str, Any] = {
        "id": number,
        "file_name": image_file(name, item),
        "width": columns,
        "height": rows,
    }
    if item.info.slices > 1:
        row |= {"file_name": plane_name(name, plane), "case": row["file_name"], "plane": plane}
    return row


def _coco_annotation(boxes: Boxes, number: int, item: ExportItem) -> dict[str, Any]:
    left, top, right, bottom = boxes.box_xyxy[number].astype(np.float64).tolist()
    crowd = boxes.crowds is not None and bool(boxes.crowds[number])
    area: float = (right - left) * (bottom - top)
    shape: Any = []
    if boxes.crops is not None:
        area = int(boxes.crops[number].sum())
        shape = _coco_mask(boxes, number, item, crowd)
    row = {
        "category_id": int(boxes.labels[number]),
        "bbox": [_plain(value) for value in (left, top, right - left, bottom - top)],
        "area": _plain(area),
        "segmentation": shape,
        "iscrowd": int(crowd),
    }
    return row if boxes.scores is None else row | {"score": float(boxes.scores[number])}


def _coco_mask(boxes: Boxes, number: int, item: ExportItem, crowd: bool) -> Any:
    """Return polygons where the object has no hole; else run lengths, which can hold everything."""
    crop, corner = (
        boxes.crops[number] if boxes.crops is not None else np.zeros((0, 0)),
        corner_of(boxes, number),
    )
    parts, holes = edge_outlines(crop)
    if parts and not holes and not crowd:
        return [(part + corner).ravel().tolist() for part in parts]
    rows, columns = item.info.spatial_shape[-2:]
    return as_rle(crop, corner, (rows, columns))


def export_voc(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write one VOC XML per image, counted from 1 with the last pixel included.

    Raises:
        StorageError: when the folder cannot be written.
    """
    files = []
    for name, image in _single_images(items, labels, with_masks=False):
        files.append(out / f"{name}.xml")
        write_text(files[-1], voc_text(image))
    return files


def export_yolo(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write ``labels/NAME.txt`` per image and ``data.yaml``; objects with masks as outlines, others as boxes.

    Raises:
        StorageError: when the folder cannot be written.
    """
    number_of = {label.name: number for number, label in enumerate(labels)}
    files = [out / "data.yaml"]
    write_text(files[0], names_text([label.name for label in labels]))
    for name, image in _single_images(items, labels, with_masks=True):
        size = image.size or (1, 1)
        lines = [yolo_line(number_of[one.label], one, size) for one in image.objects if not one.crowd]
        files.append(out / "labels" / f"{name}.txt")
        write_text(files[-1], "".join(f"{line}\n" for line in lines))
    return files


def export_box_table(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write ``boxes.csv``: one row per box, and one for an image without any.

    Raises:
        StorageError: when the folder cannot be written.
    """
    path = out / BOX_TABLE_FILE
    write_text(path, table_text(_table_images(items, labels)))
    return [path]


def export_instances(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write one instance label map per case (PNG, TIFF for frames, NIfTI for volumes) and ``instances.csv``.

    Raises:
        LabelError: when objects have boxes only.
        StorageError: when the folder cannot be written.
    """
    return _write_maps(items, labels, out, as_nifti=False)


def export_instances_nifti(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write one instance label map per case as NIfTI, and ``instances.csv``.

    Raises:
        LabelError: when objects have boxes only.
        StorageError: when the folder cannot be written.
    """
    return _write_maps(items, labels, out, as_nifti=True)


def _write_maps(
    items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path, as_nifti: bool
) -> list[Path]:
    files: list[Path] = []
    rows: list[list[str]] = []
    for name, item in with_file_names(items):
        boxes = _boxes_of(item)
        array, numbers = instance_map(boxes, item.info)
        mask = Mask(array)
        if as_nifti or item.info.layout[0] == "z":
            files.append(out / f"{name}.nii.gz")
            write_mask_nifti(mask, item.info, files[-1])
        elif item.info.layout[0] == "t":
            files.append(out / f"{name}.tif")
            write_mask_tiff(mask, files[-1])
        else:
            files.append(out / f"{name}.png")
            write_masks_png(mask, files[-1])
        rows += instance_rows(files[-1].name, boxes, numbers, labels)
    write_text(out / TABLE_NAME, instance_table_text(rows))
    return [*files, out / TABLE_NAME]


def image_file(name: str, item: ExportItem) -> str:
    """Return what to call the image's file: a name of its own, with the ending that the file came with."""
    last = item.source.replace("\\", "/").rpartition("/")[2]
    return name + last[len(item.case) :] if file_stem(last) == item.case else name


def corner_of(boxes: Boxes, number: int) -> tuple[int, int]:
    """Return (left, top) of the pixels that an object's mask begins at."""
    left, top = np.floor(boxes.box_xyxy[number, :2]).astype(int).tolist()
    return left, top


def objects_of_mask(array: Array) -> Boxes:
    """Return the connected parts of each label of one plane, with their masks."""
    from scipy import ndimage  # slow to import, and pages only name the formats

    rows: list[tuple[int, int, int, int, int]] = []
    crops = []
    for value in np.unique(array[array > 0]).tolist():
        parts, _ = ndimage.label(array == value, CORNER_TOUCH)
        for number, (y, x) in enumerate(ndimage.find_objects(parts), start=1):
            rows.append((value, x.start, y.start, x.stop, y.stop))
            crops.append(parts[y, x] == number)
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Boxes(
        table[:, 1:].astype(np.float32), table[:, 0].astype(np.uint16), np.zeros(len(rows), np.int32), None,
        tuple(crops),
    )  # fmt: skip


def _boxes_of(item: ExportItem) -> Boxes:
    if isinstance(item.reading, Boxes):
        return item.reading
    raise ValueError(f"{item.case} holds {item.reading.kind}, boxes are needed.")


def _objects_on(item: ExportItem, plane: int) -> Iterator[tuple[Boxes, int]]:
    """Yield the objects of one plane: (boxes, number in them)."""
    if isinstance(item.reading, Mask):
        array = item.reading.array if item.reading.array.ndim == 2 else item.reading.array[plane]
        here = objects_of_mask(array)
    else:
        boxes = _boxes_of(item)
        here = boxes.only(boxes.planes == plane)
    yield from ((here, number) for number in range(len(here)))


def _single_images(
    items: Iterable[ExportItem], labels: tuple[Label, ...], with_masks: bool
) -> Iterator[tuple[str, FileImage]]:
    """Yield (file name without ending, what to write) per image, and per plane of a stack that holds something.

    A stack without any object is told by its last plane.
    """
    for name, item in with_file_names(items):
        written = 0
        for plane in range(item.info.slices):
            objects = _file_objects(item, plane, labels, with_masks)
            last = plane == item.info.slices - 1
            if objects or item.info.slices == 1 or (last and not written):
                written += 1
                rows, columns = item.info.spatial_shape[-2:]
                stem = name if item.info.slices == 1 else plane_name(name, plane)
                shown = image_file(name, item) if item.info.slices == 1 else stem
                yield stem, FileImage(shown, "", objects, (columns, rows))


def _table_images(items: Iterable[ExportItem], labels: tuple[Label, ...]) -> Iterator[FileImage]:
    for name, item in with_file_names(items):
        stack = item.info.slices > 1
        found = [(plane, _file_objects(item, plane, labels, False)) for plane in range(item.info.slices)]
        kept = [(plane, objects) for plane, objects in found if objects] or found[:1]
        for plane, objects in kept:
            yield FileImage(image_file(name, item), "", objects, plane=plane if stack else None)


def _file_objects(
    item: ExportItem, plane: int, labels: tuple[Label, ...], with_masks: bool
) -> tuple[FileObject, ...]:
    names = {label.value: label.name for label in labels}
    result = []
    for boxes, number in _objects_on(item, plane):
        left, top, right, bottom = boxes.box_xyxy[number].astype(np.float64).tolist()
        outlines: tuple[Array, ...] = ()
        if with_masks and boxes.crops is not None:
            parts, holes = edge_outlines(boxes.crops[number])
            outlines = tuple(part + corner_of(boxes, number) for part in (*parts, *holes))
        score = None if boxes.scores is None else float(boxes.scores[number])
        crowd = boxes.crowds is not None and bool(boxes.crowds[number])
        label = names.get(int(boxes.labels[number]))
        if label is not None:
            result.append(
                FileObject(label, "", None, (left, top, right, bottom), outlines, None, score, crowd)
            )
    return tuple(result)


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value
