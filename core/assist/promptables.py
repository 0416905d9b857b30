"""Promptable networks that a site puts in as files: an encoder run once an image, a decoder once a click, both ONNX.

A network is a folder with ``encoder.onnx``, ``decoder.onnx`` and ``card.json``. What comes in is a zip of the two
ONNX files as the exporters of SAM, MobileSAM, EfficientSAM and their kin write them; the card may be left out.

Source: A. Kirillov et al., Segment Anything, ICCV 2023; names of the decoder's inputs as in its ONNX export.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from core.errors import Conflict, NotFound, StorageError, WeightsError

FORMAT = "sightline-promptable/1"
ENCODER, DECODER, CARD = "encoder.onnx", "decoder.onnx", "card.json"
FOLDER = "promptable"  # under the home
MAX_NETWORK_BYTES = 2 * 2**30  # what one ONNX file can hold
MAX_CARD_BYTES = 2**20
NAME = re.compile(r"[\w][\w .()+-]{0,59}")
SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, of values 0 to 255


@dataclass(frozen=True)
class PromptCard:
    """What must be known to use a network.

    Attributes:
        name: shown to people; also the folder's name.
        image_px: side of the square that the encoder takes; the longer side of an image is brought to it.
        mean, std: of each channel, of values from 0 to 255.
        encoder_sha256, decoder_sha256: of the files.
        facts: anything else worth telling, such as what it was trained on and its scores.
    """

    name: str
    image_px: int = 1024
    mean: tuple[float, ...] = SAM_MEAN
    std: tuple[float, ...] = SAM_STD
    encoder_sha256: str = ""
    decoder_sha256: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not 32 <= self.image_px <= 4096:
            raise WeightsError(f"image_px of {self.name} must lie between 32 and 4096, got {self.image_px}.")
        if len(self.mean) not in (1, 3) or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise WeightsError(
                f"mean and std of {self.name} must be 1 or 3 numbers each, and std must be positive."
            )


def list_promptables(home: Path) -> list[PromptCard]:
    """Return the networks of a home by name; folders that hold none are passed over."""
    found = []
    for folder in sorted((home / FOLDER).glob("*/")):
        try:
            found.append(read_promptable(home, folder.name))
        except (WeightsError, NotFound):
            continue
    return found


def read_promptable(home: Path, name: str) -> PromptCard:
    """Return a network's card.

    Raises:
        NotFound: when there is none of that name.
        WeightsError: when it is damaged.
    """
    folder = folder_of(home, name)
    if not (folder / CARD).is_file():
        known = ", ".join(path.name for path in sorted((home / FOLDER).glob("*/"))) or "none"
        raise NotFound(f"There is no promptable network {name!r}; there are: {known}.")
    card = _card_from_text((folder / CARD).read_text("utf-8"), name)
    return replace(card, name=name)


def check_new(home: Path, name: str) -> None:
    """Check that a network can get this name.

    Raises:
        WeightsError: when no network can have it.
        Conflict: when one has it.
    """
    _check_name(name)
    if folder_of(home, name).exists():
        raise Conflict(f"A promptable network named {name} is there already; choose another name.")


def possible_name(text: str) -> str:
    """Turn any text into a name that a network can have."""
    return re.sub(r"[^\w .()+-]+", "", text).lstrip(" .()+-")[:60].rstrip(" .") or "network"


def free_name(home: Path, text: str) -> str:
    """Turn any text into a name that no network has yet: with a number behind it where one has."""
    name = possible_name(text)[:55].rstrip(" .")
    numbered = (f"{name} {number}" for number in count(2))
    return next(one for one in chain([name], numbered) if not folder_of(home, one).exists())


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise WeightsError(
            "A network's name must be 1 to 60 letters, digits, spaces or . ( ) + - and begin with a letter or "
            f"digit, got {name!r}."
        )


def folder_of(home: Path, name: str) -> Path:
    """Return where a network lies.

    Raises:
        NotFound: for a name that no network can have.
    """
    if not NAME.fullmatch(name):
        raise NotFound(f"There is no promptable network {name!r}.")
    return home / FOLDER / name


def checked_files(home: Path, name: str) -> tuple[PromptCard, bytes, bytes]:
    """Return card, encoder and decoder after comparing both with the card's SHA-256.

    Raises:
        NotFound: when there is none of that name.
        WeightsError: when a file is damaged.
    """
    card, folder = read_promptable(home, name), folder_of(home, name)
    try:
        encoder, decoder = (folder / ENCODER).read_bytes(), (folder / DECODER).read_bytes()
    except OSError as error:
        raise WeightsError(f"A file of the network {name} is missing; put the network in again.") from error
    for content, wanted in ((encoder, card.encoder_sha256), (decoder, card.decoder_sha256)):
        if hashlib.sha256(content).hexdigest() != wanted:
            raise WeightsError(
                f"The network {name} is damaged: a file differs from its SHA-256 on the card; put it in again."
            )
    return card, encoder, decoder


def unpack_promptable(zip_path: Path, name: str) -> tuple[PromptCard, bytes, bytes]:
    """Return card, encoder and decoder of a zip file; nothing has been run of it yet.

    Args:
        zip_path: the file.
        name: what the network shall be called, whatever its card says.

    Raises:
        WeightsError: when it is no zip of a network.
    """
    try:
        with zipfile.ZipFile(zip_path) as archive:
            encoder, decoder = (_member(archive, kind, zip_path.name) for kind in ("encoder", "decoder"))
            cards = [one for one in archive.infolist() if Path(one.filename).name == CARD]
            text = _content(archive, cards[0], MAX_CARD_BYTES).decode("utf-8", "replace") if cards else "{}"
            card = replace(_card_from_text(text, name), name=name)
            contents = [_content(archive, member, MAX_NETWORK_BYTES) for member in (encoder, decoder)]
            return card, contents[0], contents[1]
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{zip_path.name} is damaged or no zip file; put encoder.onnx and decoder.onnx of the network into one."
        ) from error


def write_promptable(home: Path, card: PromptCard, encoder: bytes, decoder: bytes) -> PromptCard:
    """Keep a network that was tried out (see ``core.assist.prompting``); the folder appears whole or not at all.

    Raises:
        Conflict: when the name is taken.
        StorageError: when the disk cannot take it.
    """
    hashes = [hashlib.sha256(content).hexdigest() for content in (encoder, decoder)]
    card = replace(card, encoder_sha256=hashes[0], decoder_sha256=hashes[1])
    check_new(home, card.name)
    folder = folder_of(home, card.name)
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(mkdtemp(prefix=".part-", dir=folder.parent))
        (temporary / ENCODER).write_bytes(encoder)
        (temporary / DECODER).write_bytes(decoder)
        text = json.dumps({"format": FORMAT, **asdict(card)}, indent=2, allow_nan=False)
        (temporary / CARD).write_text(text + "\n", "utf-8")
        os.replace(temporary, folder)
    except OSError as error:
        raise StorageError(
            f"The network could not be stored ({error.strerror}). Free some disk space and try again."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return card


def remove_promptable(home: Path, name: str) -> None:
    """Delete a network.

    Raises:
        NotFound: when there is none of that name.
    """
    read_promptable(home, name)
    shutil.rmtree(folder_of(home, name), ignore_errors=True)


def export_promptable(home: Path, name: str, zip_path: Path) -> Path:
    """Write a network as one zip file, as ``add_promptable`` takes it.

    Raises:
        NotFound: when there is none of that name.
        StorageError: when the disk cannot take the file.
    """
    checked_files(home, name)
    temporary = zip_path.with_name(f".{zip_path.name}.{os.getpid()}.part")
    try:
        zip_path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in (ENCODER, DECODER, CARD):
                archive.write(folder_of(home, name) / member, member)
        os.replace(temporary, zip_path)
    except OSError as error:
        raise StorageError(f"The network could not be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)
    return zip_path


def _member(archive: zipfile.ZipFile, kind: str, name: str) -> zipfile.ZipInfo:
    found = [one for one in archive.infolist() if re.search(rf"{kind}[^/]*\.onnx$", one.filename.lower())]
    if len(found) != 1:
        raise WeightsError(
            f"{name} must hold one ONNX file with {kind} in its name, it holds {len(found)}; "
            "put encoder.onnx and decoder.onnx of the network into the zip."
        )
    return found[0]


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Return a member's bytes, whatever size the directory of the zip claims."""
    with archive.open(member) as source:
        content = source.read(limit + 1)
    if len(content) > limit:
        name = Path(member.filename).name
        raise WeightsError(f"{name} in the zip is larger than {limit // 2**20} MiB; it is refused.")
    return content


def _card_from_text(text: str, name: str) -> PromptCard:
    """Read a card; what it leaves out is taken as SAM has it.

    Raises:
        WeightsError: when it is no card.
    """
    try:
        given = json.loads(text)
        return PromptCard(
            name=name,
            image_px=int(given.get("image_px", 1024)),
            mean=tuple(float(value) for value in given.get("mean", SAM_MEAN)),
            std=tuple(float(value) for value in given.get("std", SAM_STD)),
            encoder_sha256=str(given.get("encoder_sha256", "")),
            decoder_sha256=str(given.get("decoder_sha256", "")),
            facts=dict(given.get("facts", {})),
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"The card of the network {name} is damaged; it must be JSON with image_px, mean and std."
        ) from error
