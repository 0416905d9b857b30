"""A model at rest: a folder with ``weights.safetensors`` and ``card.json``, checked whenever it is opened.

The card is read without torch, so that pages can show it. Weights are never a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, TYPE_CHECKING, Any

from core.errors import StorageError, WeightsError

if TYPE_CHECKING:
    import torch

FORMAT = "sightline-model/1"
WEIGHTS_NAME = "weights.safetensors"
CARD_NAME = "card.json"
MEMBERS = (WEIGHTS_NAME, CARD_NAME)
MAX_CARD_BYTES = 16 * 2**20
MAX_WEIGHTS_BYTES = 8 * 2**30
_REQUIRED = {"task": str, "labels": list, "spec": dict, "preprocessing": dict, "weights_sha256": str}
_CHUNK = 2**20


def write_package(
    folder: Path, state_dict: Mapping[str, torch.Tensor], card: Mapping[str, Any]
) -> dict[str, Any]:
    """Write weights and card to a folder that appears whole or not at all.

    Args:
        folder: where the package shall lie; an empty folder or an older package there is replaced.
        state_dict: the network's weights, on any device.
        card: everything but ``format`` and ``weights_sha256``, which are added; plain JSON values.

    Returns:
        the card as written.

    Raises:
        StorageError: when the disk cannot take it, or something else lies in ``folder``.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    _check_replaceable(folder)
    # safetensors refuses tensors that share memory (tied weights), so each gets its own.
    tensors = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in state_dict.items()}
    temporary = _temporary_beside(folder)
    try:
        save_file(tensors, str(temporary / WEIGHTS_NAME), metadata={"format": "pt"})
        full_card = {**card, "format": FORMAT, "weights_sha256": _hash_file(temporary / WEIGHTS_NAME)}
        (temporary / CARD_NAME).write_text(json.dumps(full_card, indent=2, allow_nan=False) + "\n", "utf-8")
        _move_into_place(temporary, folder)
    except OSError as error:
        raise _storage_error("The model could not be stored", error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return full_card


def read_card(folder: Path, task: str | None = None) -> dict[str, Any]:
    """Read and check a model's card; needs no torch.

    Args:
        folder: the package.
        task: name of the task the model is wanted for; None takes any.

    Raises:
        WeightsError: when there is no package, or it is damaged, foreign or for another task.
    """
    path, name = Path(folder) / CARD_NAME, Path(folder).name
    if not path.is_file() or not (Path(folder) / WEIGHTS_NAME).is_file():
        raise WeightsError(f"{name!r} is no model package: it needs {WEIGHTS_NAME} and {CARD_NAME}.")
    if path.stat().st_size > MAX_CARD_BYTES:
        raise WeightsError(f"The card of model {name!r} is too large to be one; export the model again.")
    try:
        card = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"The card of model {name!r} is damaged; export or train the model again."
        ) from error
    _check_card(card, name)
    if task is not None and card["task"] != task:
        raise WeightsError(f"This model is for {card['task']}, not for {task}; choose a {task} model.")
    return dict(card)


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the package's state dict (on the CPU) after comparing its SHA-256 with the card's.

    Raises:
        WeightsError: when the package is damaged or foreign.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_weights(folder)
    try:
        return dict(load_file(str(Path(folder) / WEIGHTS_NAME)))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"The weights of model {Path(folder).name!r} cannot be read; export or train the model again."
        ) from error


def check_weights(folder: Path) -> dict[str, Any]:
    """Compare the weights file with the SHA-256 on the card; return the card.

    Raises:
        WeightsError: when they differ, or the card is not right.
    """
    card = read_card(folder)
    if _hash_file(Path(folder) / WEIGHTS_NAME) != card["weights_sha256"]:
        raise WeightsError(
            f"The weights of model {Path(folder).name!r} are damaged: their SHA-256 differs from the card's; "
            "export or train the model again."
        )
    return card


def export_package(folder: Path, zip_path: Path) -> Path:
    """Write a checked package as one zip file, under a temporary name first.

    Raises:
        WeightsError: when the package is damaged.
        StorageError: when the disk cannot take the file.
    """
    check_weights(folder)
    zip_path = Path(zip_path)
    temporary = zip_path.with_name(f".{zip_path.name}.{os.getpid()}.part")
    try:
        zip_path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in MEMBERS:
                archive.write(Path(folder) / name, name)
        os.replace(temporary, zip_path)
    except OSError as error:
        raise _storage_error("The model could not be exported", error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return zip_path


def import_package(zip_path: Path, folder: Path) -> dict[str, Any]:
    """Unpack a zip made by ``export_package``, check it and move it into place; return its card.

    Raises:
        WeightsError: when the zip holds anything but one whole, undamaged package.
        StorageError: when the disk cannot take it, or something else lies in ``folder``.
    """
    folder = Path(folder)
    _check_replaceable(folder)
    temporary = _temporary_beside(folder)
    try:
        _unpack(Path(zip_path), temporary)
        card = check_weights(temporary)
        _move_into_place(temporary, folder)
    except OSError as error:
        raise _storage_error("The model could not be imported", error) from error
    except WeightsError as error:
        # Messages of the checks above name the temporary folder.
        raise WeightsError(str(error).replace(temporary.name, Path(zip_path).name)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card


def _unpack(zip_path: Path, folder: Path) -> None:
    """Unpack exactly the two members, each within its size limit whatever the zip's directory claims."""
    limits = {WEIGHTS_NAME: MAX_WEIGHTS_BYTES, CARD_NAME: MAX_CARD_BYTES}
    try:
        with zipfile.ZipFile(zip_path) as archive:
            if sorted(archive.namelist()) != sorted(MEMBERS):
                raise WeightsError(
                    f"{zip_path.name!r} is no model package: it must hold exactly {' and '.join(MEMBERS)}."
                )
            for name, limit in limits.items():
                with archive.open(name) as source, open(folder / name, "wb") as target:
                    _copy_within(source, target, limit, f"{name} in {zip_path.name!r}")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise WeightsError(f"{zip_path.name!r} is damaged or no zip file; export the model again.") from error


def _copy_within(source: IO[bytes], target: IO[bytes], limit: int, name: str) -> None:
    copied = 0
    while chunk := source.read(_CHUNK):
        copied += len(chunk)
        if copied > limit:
            raise WeightsError(f"{name} is larger than {limit // 2**20} MiB; it is refused.")
        target.write(chunk)


def _check_card(card: Any, name: str) -> None:
    if not isinstance(card, dict) or not str(card.get("format", "")).startswith("sightline-model/"):
        raise WeightsError(f"{name!r} is no Sightline model; its card does not say so.")
    if card["format"] != FORMAT:
        raise WeightsError(
            f"Model {name!r} has the format {card['format']!r}, this version reads {FORMAT!r}; update it."
        )
    for key, kind in _REQUIRED.items():
        if not isinstance(card.get(key), kind):
            raise WeightsError(f"The card of model {name!r} lacks {key!r}; export or train the model again.")


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but an older package."""
    if not folder.exists():
        return
    others = [] if folder.is_dir() and not folder.is_symlink() else [folder.name]
    others = others or sorted(item.name for item in folder.iterdir() if item.name not in MEMBERS)
    if others:
        raise StorageError(
            f"The model cannot be stored in {folder.name!r}: {others[0]!r} lies there already."
        )


def _temporary_beside(folder: Path) -> Path:
    """Make an empty folder on the same disk, so that a rename is enough to publish it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise _storage_error("The model could not be stored", error) from error


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Flush the files to disk, then rename; an older package is moved aside first."""
    for name in MEMBERS:
        with open(temporary / name, "rb") as file:
            os.fsync(file.fileno())
    temporary.chmod(0o755)  # mkdtemp makes it private
    if folder.exists():
        aside = Path(mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
        os.replace(folder, aside)
        os.replace(temporary, folder)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.replace(temporary, folder)


def _hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _storage_error(what: str, error: OSError) -> StorageError:
    return StorageError(f"{what} ({error.strerror or error}). Free some disk space and try again.")
