"""Real files, damaged at random from a seed: flipped bits, cuts, edited lengths, doubled and exchanged parts.

``python -m tests.core.imaging.mutants COUNT`` tells what came of them.
"""

from __future__ import annotations

import gzip
import random
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.imaging.found import Found
from core.imaging.scan import scan
from core.settings import Settings
from tests.core.imaging.watching import Watching

FOLDERS = (
    "dicom_pydicom", "dicom_seg_dcmqi", "dicom_ct_series_torchio", "nifti_nibabel", "vol_ct_totalseg", "vol_mr_spine",
    "wsi_openslide", "seg_em_axon", "seg_nuclei_dsb2018", "seg_us_nerve", "cls_cxr_projection", "det_bccd",
)  # fmt: skip
NO_IMAGES = {".json", ".csv", ".txt", ".md", ".xml", ".rst", ".tsv", ".icc", ".dump", ""}
MAX_BYTES = 2**21
HEAD_BYTES = 4096
ODD_NUMBERS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFE,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
KILLED = ("took longer", "took too much time", "made its decoder break off", "than this computer has free")


def flip_bits(data: bytearray, _: bytes, rng: random.Random) -> None:
    """Flip 1 to 64 bits, half the time in the header."""
    end = min(len(data), HEAD_BYTES) if rng.random() < 0.5 else len(data)
    for _number in range(rng.choice((1, 2, 4, 16, 64))):
        data[rng.randrange(end)] ^= 1 << rng.randrange(8)


def cut(data: bytearray, _: bytes, rng: random.Random) -> None:
    """Cut the file off, anywhere or in the header."""
    del data[rng.randrange(len(data) if rng.random() < 0.6 else min(len(data), HEAD_BYTES)) :]


def edit_number(data: bytearray, _: bytes, rng: random.Random) -> None:
    """Write an extreme number over some bytes, as in a field of a length or a size."""
    for _number in range(rng.choice((1, 1, 2, 5))):
        size, order = rng.choice((2, 4, 4, 8)), rng.choice("<>")
        value = rng.choice(ODD_NUMBERS) & ((1 << 8 * size) - 1)
        at = rng.randrange(max(1, min(len(data), rng.choice((512, HEAD_BYTES, len(data)))) - size))
        data[at : at + size] = struct.pack(f"{order}{ {2: 'H', 4: 'L', 8: 'Q'}[size] }", value)


def double(data: bytearray, _: bytes, rng: random.Random) -> None:
    """Put a copy of a part somewhere else, once or often."""
    start = rng.randrange(len(data))
    part = data[start : start + rng.choice((8, 100, 5000))]
    at = rng.randrange(len(data))
    data[at:at] = part * rng.choice((1, 1, 3, 200))


def drop(data: bytearray, _: bytes, rng: random.Random) -> None:
    """Take a part out."""
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 30, 1000))]


def splice(data: bytearray, other: bytes, rng: random.Random) -> None:
    """Go on with the end of another file, or put a part of it in."""
    at, start = rng.randrange(len(data)), rng.randrange(max(1, len(other)))
    if rng.random() < 0.5:
        data[at:] = other[start:]
    else:
        part = other[start : start + rng.choice((16, 500, 20_000))]
        data[at : at + len(part)] = part


CHANGES: tuple[Callable[[bytearray, bytes, random.Random], None], ...] = (
    flip_bits, cut, edit_number, edit_number, double, drop, splice,
)  # fmt: skip


@dataclass
class Report:
    """What came of the mutants."""

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    largest_decoder_mb: float = 0.0
    growth_mb: float = 0.0


def samples(data: Path) -> list[list[Path]]:
    """Return the files that mutants are made of, sorted, by folder."""
    found = []
    for folder in FOLDERS:
        files = sorted(path for path in (data / folder).rglob("*") if path.is_file())
        found.append([path for path in files if _is_image(path) and 0 < path.stat().st_size <= MAX_BYTES])
    return [files for files in found if files]


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix not in NO_IMAGES or (suffix == "" and "dicom" in path.parent.as_posix())


def opened(path: Path) -> bytes:
    """Return what is inside a gzip file, so that damage gets past its checksum; other files as they are."""
    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def sealed(path: Path, content: bytearray) -> bytes:
    """Pack damaged content again, or give the parts of a PNG the checksums that fit them."""
    if path.suffix == ".gz" or path.suffix == ".mgz":
        return gzip.compress(content, 1, mtime=0)
    if path.suffix != ".png":
        return bytes(content)
    at = 8
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if end + 4 > len(content):
            break
        content[end : end + 4] = zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(content)


def make_mutants(data: Path, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of damaged files, the same for the same seed."""
    rng, folders = random.Random(seed), samples(data)
    for number in range(count):
        path, other = rng.choice(rng.choice(folders)), rng.choice(rng.choice(folders))
        seal = rng.random() < 0.5
        content = bytearray(opened(path) if seal else path.read_bytes())
        used = ["sealed"] if seal else []
        for change in rng.sample(CHANGES, rng.choice((1, 1, 1, 2, 3))):
            if content:
                change(content, other.read_bytes(), rng)
                used.append(change.__name__)
        yield f"{number:05}-{'-'.join(used)}-{path.name}", sealed(path, content) if seal else bytes(content)


def try_mutants(data: Path, count: int, seed: int, settings: Settings) -> Report:
    """Read damaged files one by one and note what came of each."""
    report = Report()
    with tempfile.TemporaryDirectory() as name, Watching() as watching:
        for mutant, content in make_mutants(data, count, seed):
            path = Path(name) / mutant
            path.write_bytes(content)
            _try_one(path, Path(name) / "work", settings, report)
            path.unlink()
        report.faults += [f"left behind: {path}" for path in Path(name).rglob("*.npy")]
    report.largest_decoder_mb, report.growth_mb = watching.cost.decoder_mb, watching.cost.growth_mb
    return report


def _try_one(path: Path, work: Path, settings: Settings, report: Report) -> None:
    with Watching() as watching:
        items = list(scan([path], work, "salt", settings))
    report.slowest = max(report.slowest, (watching.cost.seconds, path.name))
    if not items:
        report.faults.append(f"{path.name}: neither an image nor a sentence")
    outcome = "read" if any(isinstance(item, Found) for item in items) else "refused"
    for item in items:
        if isinstance(item, Found):
            report.faults += [] if item.image.array.size else [f"{path.name}: an empty image"]
        elif any(words in item.reason for words in KILLED):
            outcome = "killed"
            report.killed.append(item.reason)
        elif not item.reason.endswith(".") or "\n" in item.reason or "Traceback" in item.reason:
            report.faults.append(f"{path.name}: {item.reason!r}")
    report.counts[outcome] += 1
    report.kinds[f"{path.suffix.lower()} {outcome}"] += 1


def main() -> None:
    """Print the report of so many mutants."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    report = try_mutants(
        Path(sys.argv[2] if len(sys.argv) > 2 else "../shared/data"), count, 20261125, Settings()
    )
    print(dict(report.counts))
    print(dict(sorted(report.kinds.items())))
    print(f"slowest {report.slowest[0]:.1f} s: {report.slowest[1]}")
    print(f"largest decoder {report.largest_decoder_mb:.0f} MB, growth here {report.growth_mb:.0f} MB")
    print("\n".join(report.killed + report.faults))


if __name__ == "__main__":
    main()
