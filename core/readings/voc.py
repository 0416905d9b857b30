"""Pascal VOC XML: one file per image with boxes; from and to files.

Two ways of counting are about. VOC itself counts pixels from 1 and includes the last: a box over the whole image of
640 columns is xmin 1, xmax 640, which is 0 to 640 here. LabelImg and most tools after it write the corners as they lie
between pixels: xmin 0, xmax 640. A file is read in VOC's way when its <source> names VOC, in LabelImg's otherwise; ours
name VOC and are written in its way. Whole numbers come back exactly; others are written with decimals, as VOC 2011 has
them, and come back exactly, too.

Document types and entities are refused: label files need none, and they can be made to do harm.

Source: The PASCAL Visual Object Classes Challenge 2012 Development Kit, 10.1; LabelImg ``pascal_voc_io.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, indent, tostring
from xml.parsers import expat

from core.errors import FileRefused
from core.readings.objects import (
    MAX_OBJECTS,
    BoxXyxy,
    FileImage,
    FileObject,
    LabelFile,
    Problem,
    as_number,
    read_label_text,
)

MAX_DEPTH = 40
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def is_voc(text: str) -> bool:
    """Tell by its tags whether a text is a VOC annotation."""
    return "<annotation" in text[:4096]


def read_voc(path: Path, name: str) -> LabelFile:
    """Read one VOC file. What cannot be used is named, the rest comes in.

    Args:
        path: the file.
        name: what to call it in sentences; its stem is the image's name.

    Raises:
        FileRefused: when it is no VOC file at all.
    """
    root = parse_xml(read_label_text(path, name), name)
    if root.tag != "annotation":
        raise FileRefused(f"{name} is no VOC file: its outermost tag is <{root.tag[:40]}>, not <annotation>.")
    found = LabelFile()
    shift = 1.0 if _counts_from_one(root) else 0.0
    objects = []
    for place, row in enumerate(root.findall("object"), start=1):
        where = f"object {place}"
        box = _box(row, shift)
        label = (row.findtext("name") or "").strip()
        if not label or box is None:
            reason = "It needs a name and a bndbox of 4 numbers."
            found.problems.append(Problem(f"{name}, {where}", reason))
        else:
            objects.append(FileObject(label, where, box_xyxy=box))
    found.images.append(FileImage(name, name, tuple(objects), _size(root)))
    way = "in VOC's way (from 1, the last pixel included)" if shift else "as corners (LabelImg's way, from 0)"
    found.notes.append(f"Boxes of VOC files were read {way}.")
    return found


def parse_xml(text: str, name: str) -> Element:
    """Parse XML without document types, entities, or depth beyond reason.

    Raises:
        FileRefused: when it has any of these, or is no whole XML.
    """
    parser, builder, depth = expat.ParserCreate(), TreeBuilder(), [0, 0]

    def refuse(*_: object) -> NoReturn:
        raise FileRefused(
            f"{name} has a document type or entities, which label files need not; take them out."
        )

    def start(tag: str, attributes: dict[str, str]) -> None:
        depth[0] += 1
        depth[1] += 1
        if depth[0] > MAX_DEPTH or depth[1] > 12 * MAX_OBJECTS:
            raise FileRefused(f"{name} is nested too deeply or too long for a label file.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        depth[0] -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text.encode(), True)
        return builder.close()
    except (expat.ExpatError, AssertionError) as error:
        raise FileRefused(f"{name} is no whole XML file; export it again.") from error


def voc_text(image: FileImage) -> str:
    """Write the boxes of one image as VOC XML, counted from 1 with the last pixel included.

    Scores, crowds and masks have no place in VOC.
    """
    root = Element("annotation")
    SubElement(root, "filename").text = image.name
    source = SubElement(root, "source")
    SubElement(source, "database").text = "Sightline"
    SubElement(source, "annotation").text = "PASCAL VOC"
    if image.size is not None:
        size = SubElement(root, "size")
        for tag, number in (("width", image.size[0]), ("height", image.size[1])):
            SubElement(size, tag).text = str(number)
    SubElement(root, "segmented").text = "0"
    for one in image.objects:
        row = SubElement(root, "object")
        for tag, text in (
            ("name", one.label),
            ("pose", "Unspecified"),
            ("truncated", "0"),
            ("difficult", "0"),
        ):
            SubElement(row, tag).text = text
        box = SubElement(row, "bndbox")
        for tag, value, shift in zip(CORNERS, one.box_xyxy or (), (1, 1, 0, 0), strict=True):
            SubElement(box, tag).text = _exact_text(value + shift)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _exact_text(value: float) -> str:
    """Write all digits: one is taken away again on reading, and what is left must be the same float32."""
    return str(int(value)) if value.is_integer() else repr(value)


def _counts_from_one(root: Element) -> bool:
    words = " ".join((root.findtext(f"source/{tag}") or "") for tag in ("database", "annotation"))
    return "VOC" in words.upper()


def _box(row: Element, shift: float) -> BoxXyxy | None:
    numbers = [as_number(row.findtext(f"bndbox/{corner}") or "") for corner in CORNERS]
    left, top, right, bottom = numbers
    if left is None or top is None or right is None or bottom is None:
        return None
    return left - shift, top - shift, right, bottom


def _size(root: Element) -> tuple[int, int] | None:
    sides = [as_number(root.findtext(f"size/{side}") or "") for side in ("width", "height")]
    if any(side is None or side < 1 for side in sides):
        return None
    return int(sides[0] or 0), int(sides[1] or 0)
