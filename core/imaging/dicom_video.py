"""Video inside DICOM files (MPEG-2, MPEG-4 AVC, HEVC), decoded by the FFmpeg that comes with OpenCV."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from core.errors import FileRefused
from core.types import Array

VIDEO_NUMBERS = ("100", "100.1", "101", "101.1", "102", "102.1", "103", "103.1", "104", "104.1", "105", "105.1",
                 "106", "106.1", "107", "108")  # fmt: skip
VIDEO = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in VIDEO_NUMBERS)  # PS3.5 A.4.5 to A.4.9
# First bytes of what may stand there. FFmpeg would also follow playlists, which name other files and addresses.
STREAM_STARTS = {
    b"\0\0\1\xba": ".mpg",  # MPEG program stream
    b"\0\0\1\xb3": ".m2v",  # MPEG-2 elementary stream
    b"\0\0\0\1": ".264",  # AVC or HEVC byte stream
    b"\0\0\1": ".264",
}
TS_PACKET = 188


def video_frames(dataset: Dataset, rows: int, columns: int, name: str) -> Iterator[Array]:
    """Decode the frames of a video one after the other.

    Args:
        dataset: the whole file.
        rows, columns: size that the header gives.
        name: what to call the file.

    Returns:
        Frames as (rows, columns, 3) RGB bytes.

    Raises:
        FileRefused: when the stream is no known video, or has another size.
    """
    stream = next(iter(generate_frames(dataset.PixelData, number_of_frames=1)), b"")
    ending = _ending(stream)
    if ending is None:
        raise FileRefused(f"{name} says that it holds a video, but what it holds is none.")
    with tempfile.TemporaryDirectory(prefix="sightline-video-") as folder:
        path = Path(folder) / f"stream{ending}"
        path.write_bytes(stream)
        yield from _decoded(path, rows, columns, name)


def _ending(stream: bytes) -> str | None:
    """Return the usual ending for a stream, None when it is no video that is known here."""
    if stream[4:8] == b"ftyp":
        return ".mp4"
    if stream[:1] == b"G" and stream[TS_PACKET : TS_PACKET + 1] == b"G":
        return ".ts"
    return next((ending for start, ending in STREAM_STARTS.items() if stream.startswith(start)), None)


def _decoded(path: Path, rows: int, columns: int, name: str) -> Iterator[Array]:
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise FileRefused(
                f"{name} holds a video that cannot be decoded here; export it as single pictures."
            )
        while True:
            there, frame = capture.read()
            if not there:
                return
            if frame.shape != (rows, columns, 3):
                raise FileRefused(
                    f"{name} holds a video of {frame.shape[0]} x {frame.shape[1]} pixels, its header says "
                    f"{rows} x {columns}."
                )
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
