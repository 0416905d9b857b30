"""Super-resolution x4 of chest radiographs against bicubic and a plain net at equal wall time: from scratch, a CPU.

Images of `cls_cxr_projection`, train -> val, made coarse by antialiased bicubic reduction; PSNR over 255 without a
border of 4 pixels, the mean over images (volumes: ours over volumes in each one's own range, the plain net's over
planes; compare gains). The plain net: 8 residual blocks of 48 features on a bicubic skip, L1, patches
of 32 coarse pixels, 16 a step, mirrored and turned, bf16, Adam 5e-4, its last weights. Both clocks run from the call of
the training to its return, with the images in memory. ``--data mr`` and ``--data us`` take volumes and ultrasound.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.imaging.found import Found
from core.imaging.resample import enlarge, reduce
from core.imaging.scan import scan
from core.imaging.stored import hash_array, read_image, write_array
from core.learning.snapshot import Snapshot, SnapshotItem
from core.settings import load_settings
from core.types import Array, Image, Split
from tests.conftest import SHARED_DATA

SCALE, BORDER = 4, 4
PLAIN_BLOCKS, PLAIN_FEATURES, PLAIN_PATCH, PLAIN_BATCH, PLAIN_RATE = 8, 48, 32, 16, 5e-4
CURVE_SECONDS = 60.0
GOALS = {30.0: 0.9}
Restore = Callable[[Array], Array]  # coarse plane (h, w) of 0 to 255 to the fine one


@dataclass(frozen=True)
class Options:
    """What to run: minutes of each training, threads of torch, the preset of ours, whom, on what."""

    minutes: tuple[float, ...] = (5.0,)
    threads: int = 2
    preset: str = "best"
    runs: tuple[str, ...] = ("ours", "plain")
    settings: tuple[str, ...] = ()
    keep: Path | None = None
    data: str = "cxr"


def rows() -> list[dict[str, Any]]:
    """Return the rows of ``make bench``: 5 minutes each. For the curve, run this module."""
    return run(Options())


def run(options: Options) -> list[dict[str, Any]]:
    """Train for each budget; return a row for each with the gains over bicubic in dB."""
    if not SHARED_DATA.is_dir():
        return []
    import torch

    torch.set_num_threads(options.threads)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        snapshot = SETS[options.data](Path(folder) / "files")
        for minutes in options.minutes:
            gains = {
                name: _measure(name, snapshot, minutes, options, Path(folder) / f"{minutes}-{name}")
                for name in options.runs
            }
            ours, peer = gains.get("ours"), gains.get("plain")
            results.append(
                {
                    "name": f"quality_sr_{options.data}_{minutes:g}min_gain",
                    "ours": ours,
                    "peer": peer,
                    "peer_name": "plain net of 8 blocks",
                    "ratio": round(ours / peer, 3) if ours and peer else None,
                    "goal": GOALS.get(minutes) if options.data == "cxr" else None,
                    "unit": "dB over bicubic",
                    "device": f"cpu x{options.threads}",
                }
            )
    return results


def _measure(name: str, snapshot: Snapshot, minutes: float, options: Options, folder: Path) -> float:
    folder.mkdir(parents=True)
    begun = time.perf_counter()
    if name == "ours":
        scores = train_ours(snapshot, minutes, options, folder)
    else:
        truths = [_planes(item) for item in snapshot.of_split("val")]
        restore = train_plain(snapshot, minutes * 60, truths)
        scores = [
            (psnr(restore(coarse), fine), psnr(enlarge(coarse, (SCALE, SCALE)), fine))
            for fine, coarse in _pairs(truths)
        ]
    seconds = time.perf_counter() - begun
    found, bicubic = (float(value) for value in np.mean(scores, axis=0))
    print(f"{name} {minutes:g} min: {seconds:.0f} s, {found:.3f} dB, bicubic {bicubic:.3f}", flush=True)
    return round(found - bicubic, 3)


def train_ours(
    snapshot: Snapshot, minutes: float, options: Options, folder: Path
) -> list[tuple[float, float]]:
    """Train through the public task API; return PSNR and bicubic's of each validation case, as any user gets them."""
    from core.tasks.super_resolution import SUPER_RESOLUTION
    from core.tasks.task import ImageCase, PredictOptions, TrainingRequest

    chosen = [f"minutes={minutes}", f"scale={SCALE}", f"border={BORDER}", *options.settings]
    settings = SUPER_RESOLUTION.settings_from_text(options.preset, chosen)
    request = TrainingRequest(snapshot, settings, folder, (options.keep or folder) / "model")
    SUPER_RESOLUTION.train(request, _tell, lambda: False)
    cases = [
        ImageCase(item.case_name, item.case_id, item.patient_key, item.split, item.image_sha256, item.info,
                  lambda item=item: read_image(item.image_path, item.info))
        for item in snapshot.of_split("val")
    ]  # fmt: skip
    trials = SUPER_RESOLUTION.image_truth.try_on(request.out_dir, cases, PredictOptions())
    return [(trial.scores["psnr"], trial.scores["psnr_bicubic"]) for _, trial in trials]


def _tell(event: dict[str, Any]) -> None:
    if event["kind"] == "note":
        print(f"  {event['message']}", flush=True)
    if "val_psnr" in event:
        gain = event["val_psnr"] - event["val_psnr_bicubic"]
        print(
            f"  ours {event['seconds'] / 60:.2f} min loss {event.get('train_loss', float('nan')):.5f} gain {gain:.3f}",
            flush=True,
        )


def train_plain(snapshot: Snapshot, seconds: float, truths: list[list[Array]]) -> Restore:
    """Train the plain net until the time is over; print its gain every minute."""
    import torch
    from torch import nn
    from torch.nn import functional

    from core.learning.devices import autocast_for

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    begun = time.perf_counter()
    pairs = list(_pairs([_planes(item) for item in snapshot.of_split("train")]))
    areas = np.array([coarse.size for _, coarse in pairs], float)
    side = min(PLAIN_PATCH, *(min(coarse.shape) for _, coarse in pairs))
    network = _plain_network().to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), PLAIN_RATE)

    def sample() -> tuple[Array, Array]:
        fine, coarse = pairs[random.choice(len(pairs), p=areas / areas.sum())]
        top, left = (int(random.integers(length - side + 1)) for length in coarse.shape)
        turns, flip = int(random.integers(4)), bool(random.integers(2))
        cut = [
            coarse[top : top + side, left : left + side],
            fine[top * SCALE : (top + side) * SCALE, left * SCALE : (left + side) * SCALE],
        ]
        turned = [np.rot90(np.asarray(part, np.float32) / 255, turns) for part in cut]
        given, wanted = (np.flip(part, 1) if flip else part for part in turned)
        return given.copy(), wanted.copy()

    def forward(given: Any) -> Any:
        with autocast_for("cpu"):
            made = network(given.contiguous(memory_format=torch.channels_last))
        skip = functional.interpolate(given, scale_factor=SCALE, mode="bicubic", align_corners=False)
        return made.float() + skip

    def restore(coarse: Array) -> Array:
        network.eval()
        with torch.inference_mode():
            given = torch.from_numpy(np.asarray(coarse, np.float32) / 255)[None, None]
            made = forward(given)[0, 0].numpy() * 255
        network.train()
        return np.asarray(made)

    steps, told, paused = 0, 0.0, 0.0
    while (passed := time.perf_counter() - begun - paused) < seconds:
        given, wanted = (torch.from_numpy(np.stack(part))[:, None] for part in zip(*(sample() for _ in range(PLAIN_BATCH)), strict=True))  # fmt: skip  # noqa: E501
        loss = functional.l1_loss(forward(given), wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        steps += 1
        if passed - told >= CURVE_SECONDS:  # looking costs the plain net no time
            looked, told = time.perf_counter(), passed
            gains = [
                psnr(restore(coarse), fine) - psnr(enlarge(coarse, (SCALE, SCALE)), fine)
                for fine, coarse in _pairs(truths)
            ]
            print(f"  plain {passed / 60:.2f} min step {steps} gain {np.mean(gains):.3f}", flush=True)
            paused += time.perf_counter() - looked
    assert isinstance(network, nn.Module)
    return restore


def _plain_network() -> Any:
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(PLAIN_FEATURES, PLAIN_FEATURES, 3, padding=1)
            self.second = nn.Conv2d(PLAIN_FEATURES, PLAIN_FEATURES, 3, padding=1)

        def forward(self, given: Any) -> Any:
            return given + self.second(self.first(given).relu())

    return nn.Sequential(
        nn.Conv2d(1, PLAIN_FEATURES, 3, padding=1),
        *(Block() for _ in range(PLAIN_BLOCKS)),
        nn.Conv2d(PLAIN_FEATURES, SCALE * SCALE, 3, padding=1),
        nn.PixelShuffle(SCALE),
    )


def psnr(found: Array, truth: Array) -> float:
    """Return the PSNR in dB over 255 without the border."""
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    difference = np.asarray(found, np.float64)[inner] - np.asarray(truth, np.float64)[inner]
    return float(20 * np.log10(255 / np.sqrt(np.square(difference).mean())))


def _planes(item: SnapshotItem) -> list[Array]:
    """Return an item's planes as grey values of 0 to 255, cut to whole coarse pixels."""
    array = np.asarray(read_image(item.image_path, item.info).array)
    if array.dtype != np.uint8:
        array = np.clip(array * (255 / max(float(np.percentile(array, 99.5)), 1e-6)), 0, None)
    planes = array if item.info.is_volume else array[None]
    rows, columns = (length // SCALE * SCALE for length in planes.shape[1:3])
    return [plane[:rows, :columns] for plane in planes]


def _pairs(cases: list[list[Array]]) -> Iterator[tuple[Array, Array]]:
    """Yield (fine, coarse) of every plane."""
    for planes in cases:
        for fine in planes:
            yield fine, reduce(np.asarray(fine, np.float32), (SCALE, SCALE), "bicubic")


def radiographs(folder: Path) -> Snapshot:
    """Store the chest radiographs of train and val as a snapshot."""
    root = SHARED_DATA / "cls_cxr_projection"
    with open(root / "labels.csv", encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if row["split"] in ("train", "val")]
    found = [(root / row["file"], row["patient_id"], row["split"]) for row in table]
    return _stored(folder, found)


def ultrasound(folder: Path) -> Snapshot:
    """Store nerve ultrasound; every fifth image validates."""
    files = sorted((SHARED_DATA / "seg_us_nerve").rglob("images/*.png"))
    return _stored(folder, [(path, path.stem, "val" if number % 5 == 4 else "train")
                            for number, path in enumerate(files)])  # fmt: skip


def hippocampi(folder: Path) -> Snapshot:
    """Store MR volumes of the hippocampus; every fifth validates."""
    files = sorted((SHARED_DATA / "vol_mr_hippocampus").rglob("imagesTr/*.nii.gz"))
    return _stored(folder, [(path, path.stem, "val" if number % 5 == 4 else "train")
                            for number, path in enumerate(files)])  # fmt: skip


def spines(folder: Path) -> Snapshot:
    """Store three MR volumes of the one spine there is: T2 and T2* train, T1 validates."""
    chosen = {"t2/t2": "train", "t2s/t2s_uncropped": "train", "t1/t1w": "val"}
    root = SHARED_DATA / "vol_mr_spine"
    return _stored(folder, [(root / f"{name}.nii.gz", name, split) for name, split in chosen.items()])


SETS: dict[str, Callable[[Path], Snapshot]] = {
    "cxr": radiographs, "us": ultrasound, "mr": hippocampi, "spine": spines,
}  # fmt: skip


def _stored(folder: Path, files: list[tuple[Path, str, Any]]) -> Snapshot:
    folder.mkdir(parents=True)
    items = []
    for number, (path, patient, split) in enumerate(files):
        one = next(
            one for one in scan([path], folder / "scan", "", load_settings()) if isinstance(one, Found)
        )
        image = _grey(one.image)
        array = np.asarray(image.array)
        write_array(array, folder / f"{number}.npy")
        chosen: Split = split
        items.append(SnapshotItem(number, path.stem, patient, chosen, folder / f"{number}.npy", hash_array(array), image.info))  # fmt: skip  # noqa: E501
    return Snapshot("super_resolution", (), tuple(items))


def _grey(image: Image) -> Image:
    """Take one channel of images that hold grey in three."""
    from dataclasses import replace

    if image.info.channels == 1:
        return image
    array = np.ascontiguousarray(np.asarray(image.array)[..., 0])
    return Image(array, replace(image.info, layout=image.info.layout.rstrip("c"), shape=array.shape))


def main() -> None:
    """Run with options from the command line; print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--preset", default="best")
    parser.add_argument("--runs", nargs="+", default=["ours", "plain"])
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE over the preset")
    parser.add_argument("--keep", type=Path, help="folder for the model of ours")
    parser.add_argument("--data", choices=tuple(SETS), default="cxr")
    given = parser.parse_args()
    options = Options(
        tuple(given.minutes),
        given.threads,
        given.preset,
        tuple(given.runs),
        tuple(given.set),
        given.keep,
        given.data,
    )
    for row in run(options):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
