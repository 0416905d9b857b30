"""DICOM pixels: decoded frame by frame, then made physical (rescale, palette, colour space)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from core.errors import FileRefused
from core.imaging.dicom_header import NATIVE, Header, PixelLayout, read_dataset, transfer_syntax
from core.imaging.values import Rescale, rescale_into, working_type
from core.types import Array, Window

DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))


@dataclass(frozen=True)
class ValuePlan:
    """How one file's stored numbers become values: one rescale per frame, or a table."""

    rescales: tuple[Rescale, ...]
    stored: np.dtype
    has_table: bool


def plan_values(header: Header) -> ValuePlan:
    """Read the modality transformation of every frame.

    Source: DICOM PS3.3 C.11.1 (Modality LUT), C.7.6.16.2.9 (Pixel Value Transformation), C.8.8.3 (RT Dose).
    """
    dataset, layout = header.dataset, header.layout
    sign = dataset.get("PixelRepresentation")
    if layout.bits == 64 or (layout.bits == 32 and sign is None):  # float pixels have no PixelRepresentation
        stored: np.dtype = np.dtype(np.float64)
    else:
        stored = np.dtype(f"{'i' if sign == 1 else 'u'}{layout.itemsize}")
    if dataset.get("ModalityLUTSequence"):
        return ValuePlan((Rescale(),) * layout.frames, np.dtype(np.uint16), has_table=True)
    return ValuePlan(
        tuple(_rescale(dataset, frame) for frame in range(layout.frames)), stored, has_table=False
    )


def _rescale(dataset: Dataset, frame: int) -> Rescale:
    if dataset.get("Modality") == "RTDOSE" and dataset.get("DoseGridScaling") is not None:
        return Rescale(float(dataset.DoseGridScaling), 0.0)
    source = functional_group(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = source.get("RescaleSlope"), source.get("RescaleIntercept")
    return Rescale(
        1.0 if slope in (None, "") else float(slope), 0.0 if intercept in (None, "") else float(intercept)
    )


def functional_group(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """Return the item of a functional group for one frame: its own first, else the shared one.

    Source: DICOM PS3.3 C.7.6.16.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (per_frame[frame : frame + 1], shared[:1]):
        for group in groups:
            items = group.get(keyword)
            if items:
                return items[0]
    return None


def window_of(dataset: Dataset) -> Window | None:
    """Return the first display window that the file offers, None when it offers none that makes sense."""
    source = functional_group(dataset, 0, "FrameVOILUTSequence") or dataset
    center, width = (_first(source.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or not np.isfinite([center, width]).all() or width <= 0:
        return None
    return Window(center, width)


def _first(value: object) -> float | None:
    """Return the first of one or many numbers, None when there is none or it is not a number."""
    try:
        return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, IndexError):
        return None


def color_or_value_type(plans: list[ValuePlan], layout: PixelLayout) -> np.dtype:
    """Return the type of the array that all frames are decoded into."""
    if layout.is_color:
        return np.dtype(np.uint8)
    return np.result_type(*{working_type(plan.stored, set(plan.rescales)) for plan in plans})


def decode_into(out: Array, places: list[int], header: Header, plan: ValuePlan) -> None:
    """Decode a file's frames and write their values into planes of ``out``.

    Args:
        out: (planes, rows, columns) or (planes, rows, columns, 3), of ``color_or_value_type``.
        places: the plane of each frame.
        header: the checked header.
        plan: its value plan.

    Raises:
        FileRefused: when the encoding is not known here or lies about its size.
    """
    dataset = read_dataset(header)
    drop_bits = _overlay_bits(dataset)
    count = 0
    for frame, photometric in _raw_frames(dataset, header):
        if count == len(places):
            break
        if header.layout.is_color:
            out[places[count]] = _to_rgb(frame, photometric, dataset)
        elif plan.has_table:
            out[places[count]] = apply_modality_lut(frame, dataset)
        else:
            stored = frame if not drop_bits else (frame << drop_bits) >> drop_bits
            rescale_into(out[places[count]], stored, plan.rescales[count])
        count += 1
    if count < len(places):
        raise FileRefused(f"{header.path.name} is cut short: it has {count} of {len(places)} frames.")


def _raw_frames(dataset: Dataset, header: Header) -> Iterator[tuple[Array, str]]:
    """Decode without pydicom's colour conversion, which is very slow on long clips."""
    syntax, name = transfer_syntax(dataset), header.path.name
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise FileRefused(f"{name} is compressed in a way that cannot be read here ({syntax}).") from error
    if not decoder.is_available:
        raise FileRefused(f"{name} is compressed in a way that no installed codec reads ({syntax}).")
    if syntax not in (*NATIVE, DEFLATED):
        for data in generate_frames(dataset.PixelData, number_of_frames=header.layout.frames):
            _check_codestream(data, header)
    if syntax == JPEG_EXTENDED and header.layout.bits == 16 and not header.layout.is_color:
        yield from _twelve_bit_frames(dataset, header.layout.frames)
        return
    if "file_meta" not in dataset.__dict__ or not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.setdefault("SamplesPerPixel", 1)
    if header.layout.frames == 1 or syntax in JPEG_2000:
        # Frame by frame, pydicom 3.0 fails on JPEG 2000 whose signedness differs from the header's.
        array, properties = decoder.as_array(dataset, raw=True)
        frames = array if header.layout.frames > 1 else array[np.newaxis]
        yield from ((frame, str(properties["photometric_interpretation"])) for frame in frames)
        return
    for frame, properties in decoder.iter_array(dataset, raw=True):
        yield frame, str(properties["photometric_interpretation"])


def _twelve_bit_frames(dataset: Dataset, frames: int) -> Iterator[tuple[Array, str]]:
    """Decode 12-bit lossy JPEG, which pydicom's permissively licensed plug-ins do not read."""
    import imagecodecs

    for data in generate_frames(dataset.PixelData, number_of_frames=frames):
        yield imagecodecs.jpeg8_decode(data), str(dataset.PhotometricInterpretation)


def _check_codestream(data: bytes, header: Header) -> None:
    """Refuse a JPEG or JPEG 2000 stream that is larger than the header says: codecs obey the stream."""
    size = codestream_size(data)
    if size is not None and size[0] * size[1] > 2 * header.layout.rows * header.layout.columns + 65536:
        raise FileRefused(
            f"{header.path.name} hides a picture of {size[0]} x {size[1]} pixels behind a header of "
            f"{header.layout.rows} x {header.layout.columns}; it was not decoded."
        )


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) written in a JPEG, JPEG-LS or JPEG 2000 stream, None for other data.

    Source: ITU-T T.81 B.2.2 (SOFn), T.87 C.2.2 (SOF55), T.800 A.5.1 (SIZ).
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0 and len(data) >= start + 24:
        x_end, y_end, x_start, y_start = struct.unpack(">4L", data[start + 8 : start + 24])
        return y_end - y_start, x_end - x_start
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return struct.unpack(">HH", data[at + 5 : at + 9])
        at += 1 if marker == 0xFF else 2 + length
    return None


def _overlay_bits(dataset: Dataset) -> int:
    """Return how many high bits hold an old-style overlay in place of the value (PS3.3 C.9.2, retired)."""
    positions = [tag for tag in dataset.keys() if tag & 0xFF01FFFF == 0x60000102]  # noqa: SIM118 - tags, unparsed
    embedded = any(int(dataset[tag].value or 0) > 0 for tag in positions)
    spare = int(dataset.BitsAllocated) - int(dataset.get("BitsStored") or dataset.BitsAllocated)
    return spare if embedded else 0


def _to_rgb(frame: Array, photometric: str, dataset: Dataset) -> Array:
    """Return one colour frame as RGB bytes."""
    if photometric == "PALETTE COLOR":
        colors = apply_color_lut(frame, dataset)[..., :3]
        return _to_bytes(colors, 8 if _palette_is_bytes(dataset) else 16)
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        if frame.dtype != np.uint8:
            raise FileRefused("Colour in YBR with more than 8 bits cannot be read; export the image as RGB.")
        import cv2

        # OpenCV wants Y, Cr, Cb; full-range BT.601 as in PS3.3 C.7.6.3.1.2, at most 1 off exact rounding.
        return cv2.cvtColor(np.ascontiguousarray(frame[..., (0, 2, 1)]), cv2.COLOR_YCrCb2RGB)
    if photometric not in ("RGB", "YBR_ICT", "YBR_RCT"):
        raise FileRefused(f"Colour written as {photometric} cannot be read; export the image as RGB.")
    return _to_bytes(frame, bits)


def _palette_is_bytes(dataset: Dataset) -> bool:
    """True when a palette of 16-bit entries was filled with bytes, as some devices do."""
    tables = [dataset.get(f"{color}PaletteColorLookupTableData") or b"" for color in ("Red", "Green", "Blue")]
    return all(len(table) % 2 == 0 and np.frombuffer(table, "<u2").max(initial=0) < 256 for table in tables)


def _to_bytes(frame: Array, bits: int) -> Array:
    """Bring colour of more than 8 bits down to bytes."""
    return frame if frame.dtype == np.uint8 else (frame >> max(0, bits - 8)).astype(np.uint8)
