"""Every volume format behind one door: what a file is by its content, its images, its one mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from core.errors import FileRefused
from core.imaging.formats import kind_by_name
from core.imaging.found import Found
from core.imaging.limits import refusing
from core.imaging.metaimage import is_metaimage, open_metaimage
from core.imaging.minc import is_minc, open_minc
from core.imaging.nifti import is_nifti, open_nifti
from core.imaging.nrrd import is_nrrd, open_nrrd
from core.imaging.parrec import is_parrec, open_parrec
from core.imaging.volume_file import VolumeFile, images_of, only_image_of
from core.settings import Settings

VolumeKind = Literal["nifti", "nrrd", "metaimage", "minc", "parrec"]
VOLUMES: dict[VolumeKind, Callable[[Path, Settings], VolumeFile]] = {
    "nifti": open_nifti,
    "nrrd": open_nrrd,
    "metaimage": open_metaimage,
    "minc": open_minc,
    "parrec": open_parrec,
}
START_BYTES = 64


def volume_kind(path: Path) -> VolumeKind | None:
    """Tell which volume format a file has by its content; None when it has none."""
    with open(path, "rb") as file:
        start = file.read(START_BYTES)
    if is_nrrd(start):
        return "nrrd"
    if is_parrec(start):
        return "parrec"
    if is_minc(start, path.name):
        return "minc"
    if is_metaimage(start):
        return "metaimage"
    return "nifti" if is_nifti(path) else None


def read_volumes(path: Path, kind: VolumeKind, settings: Settings) -> Iterator[Found]:
    """Yield the images of a volume file: one, or one per volume (see ``volume_file.images_of``).

    Raises:
        FileRefused: when the file is damaged, lies about its size, or holds no image.
    """
    with refusing(path.name):
        yield from images_of(VOLUMES[kind](path, settings))


def read_volume(path: Path, settings: Settings) -> Found:
    """Read the one image of a volume file of any format, such as a mask.

    Raises:
        FileRefused: when the file is no volume, damaged, or holds several images.
    """
    with refusing(path.name):
        named = kind_by_name(path.name)
        kind = volume_kind(path) or next((known for known in VOLUMES if known == named), None)
        if kind is None:
            raise FileRefused(f"{path.name} is no volume of a kind that Sightline reads.")
        return only_image_of(VOLUMES[kind](path, settings))
