"""What a file is, by its content first and its name second, and which files are but a part of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from core.errors import FileRefused

Kind = Literal["dicom", "nifti", "nrrd", "metaimage", "minc", "parrec", "raster", "slide", "arrays"]
KINDS: tuple[Kind, ...] = (
    "dicom", "nifti", "nrrd", "metaimage", "minc", "parrec", "raster", "slide", "arrays",
)  # fmt: skip

# Endings that say what a file means to be, so that a damaged one is named. Content comes first, where it is clear.
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "dicom": (".dcm", ".dicom", ".ima"),
    "nifti": (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".mgz", ".mgh", ".mgh.gz"),
    "nrrd": (".nrrd", ".nhdr"),
    "metaimage": (".mha", ".mhd"),
    "minc": (".mnc",),
    "parrec": (".par",),
    "raster": (
        ".png", ".jpg", ".jpeg", ".jpe", ".jls", ".jp2", ".j2k", ".j2c", ".jpf", ".bmp", ".tif", ".tiff", ".pgm",
        ".ppm", ".pbm", ".pnm", ".gif", ".webp",
    ),
    "slide": (".svs", ".ndpi", ".scn", ".bif", ".mrxs", ".svslide", ".czi"),
    "arrays": (".npz", ".npy"),
}  # fmt: skip
VOLUME_KINDS: tuple[Kind, ...] = ("nifti", "nrrd", "metaimage", "minc", "parrec")
ARCHIVE_SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".gz", ".bz2", ".xz",
)  # fmt: skip
# The second file of a pair, and the endings of the first, by which it is read.
COMPANIONS: dict[str, tuple[str, ...]] = {
    ".img": (".hdr", ".hdr.gz"),
    ".img.gz": (".hdr", ".hdr.gz"),
    ".rec": (".par",),
    ".raw": (".mhd", ".nhdr"),
    ".raw.gz": (".nhdr", ".mhd"),
    ".raw.bz2": (".nhdr",),
    ".zraw": (".mhd",),
}
# Slides whose data lie in a folder of the slide's own name.
SLIDES_WITH_FOLDER = (".mrxs",)

RASTER_STARTS = (
    b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF8", b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51", b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n",
)  # fmt: skip
ARRAY_START = b"\x93NUMPY"
UNKNOWN = (
    "This is no image of a known kind (DICOM, NIfTI, NRRD, MetaImage, MGH, MINC, PAR/REC, PNG, JPEG, TIFF, BMP, "
    "WebP, whole slides, NPY/NPZ)."
)
# Files that are something else, with what to do.
FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", "7z archives are not opened; pack the files as zip or tar."),
    (b"Rar!\x1a\x07", "RAR archives are not opened; pack the files as zip or tar."),
    (b"\x28\xb5\x2f\xfd", "Zstandard archives are not opened; pack the files as zip or tar."),
    (b"%PDF", "This is a PDF document; export its pictures as PNG or TIFF."),
    (b"\xd0\xcf\x11\xe0", "This is an Office document; export its pictures as PNG or TIFF."),
    (b"\x89HDF", "This is an HDF5 file of no known image kind; save its arrays as NPZ or NIfTI."),
)
OFFICE_SUFFIXES = (".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".jar", ".apk", ".epub")
OFFICE = "This is a document, no archive of images; export its pictures as PNG or TIFF."
START_BYTES = 64


def recognise(path: Path) -> Kind | None:
    """Tell the kind of a file by its content, else by its ending, so that damaged files are named as well.

    Raises:
        FileRefused: when it is a known kind of file that Sightline does not open; the sentence says what to do.
    """
    from core.imaging.dicom import is_dicom
    from core.imaging.slides import is_slide
    from core.imaging.volumes import volume_kind

    start = _start_of(path)
    if path.name.lower().endswith(SLIDES_WITH_FOLDER):  # itself a JPEG, of the label
        return "slide"
    if start.startswith(RASTER_STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        # TIFF files may carry a DICOM preamble and be both; DICM at 128 decides.
        if start[:2] in (b"II", b"MM"):
            return "dicom" if is_dicom(path) else "slide" if is_slide(path) else "raster"
        return "raster"
    if start.startswith(ARRAY_START):
        return "arrays"
    volume = volume_kind(path)
    if volume is not None:
        return volume
    if is_dicom(path):
        return "dicom"
    refuse_foreign(path, start)
    return kind_by_name(path.name)


def kind_by_name(name: str) -> Kind | None:
    """Tell what a file means to be by the ending of its name."""
    lowered = name.lower()
    return next((kind for kind, endings in SUFFIXES.items() if lowered.endswith(endings)), None)


def is_volume_name(name: str) -> bool:
    """Tell by its name whether a file is a volume of any format but DICOM."""
    return kind_by_name(name) in VOLUME_KINDS


def refuse_foreign(path: Path, start: bytes | None = None) -> None:
    """Refuse files that are known to be no images, in a sentence of their own.

    Raises:
        FileRefused: for documents and archives that are not opened.
    """
    if path.name.lower().endswith(OFFICE_SUFFIXES):
        raise FileRefused(OFFICE)
    start = _start_of(path) if start is None else start
    sentence = next((sentence for magic, sentence in FOREIGN if start.startswith(magic)), None)
    if sentence is not None:
        raise FileRefused(sentence)


def is_companion(path: Path) -> bool:
    """Tell whether a file is read by way of another one: the .img of a .hdr, the data of a slide's folder."""
    name = path.name.lower()
    for suffix, firsts in COMPANIONS.items():
        if name.endswith(suffix) and _has_first(path, len(suffix), firsts):
            return True
    folder = path.parent
    return folder.name != "" and any(
        folder.with_name(f"{folder.name}{ending}").is_file() for ending in SLIDES_WITH_FOLDER
    )


def companions_of(path: Path) -> tuple[Path, ...]:
    """Return the files that are read by way of a file: the .img of a .hdr, the data of a slide's folder."""
    name = path.name.lower()
    folder = next((path.with_suffix("") for ending in SLIDES_WITH_FOLDER if name.endswith(ending)), None)
    if folder is not None:
        return tuple(sorted(folder.iterdir())) if folder.is_dir() else ()
    stems = {
        path.name[: -len(ending)]
        for endings in COMPANIONS.values()
        for ending in endings
        if name.endswith(ending)
    }
    forms = [form for suffix in COMPANIONS for form in (suffix, suffix.upper())]
    candidates = (path.with_name(stem + form) for stem in sorted(stems) for form in forms)
    return tuple(found for found in candidates if found.is_file() and is_companion(found))


def _has_first(path: Path, length: int, endings: tuple[str, ...]) -> bool:
    stem = path.name[:-length]
    return any(
        path.with_name(stem + form).is_file() for ending in endings for form in (ending, ending.upper())
    )


def _start_of(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(START_BYTES)
