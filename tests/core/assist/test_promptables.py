"""Promptable networks: files in and out, what is refused, what foreign decoders may look like, and training one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from core.assist.levels import Levels, to_rgb_bytes
from core.assist.marks import Clicks
from core.assist.prompt_network import IMAGE_PX, PromptModel, to_onnx
from core.assist.prompt_samples import (
    Plane,
    correction,
    cut_sample,
    first_prompt,
    planes_of,
    vary,
)
from core.assist.prompt_training import MEAN, STD, PromptTraining, card_of, train_promptable
from core.assist.promptables import (
    DECODER,
    PromptCard,
    check_new,
    checked_files,
    export_promptable,
    folder_of,
    free_name,
    list_promptables,
    possible_name,
    read_promptable,
    remove_promptable,
)
from core.assist.prompting import (
    Encoding,
    PromptNetwork,
    add_promptable,
    keep_promptable,
    propose_prompted,
    window_of,
)
from core.assist.tiles import Region
from core.errors import Conflict, JobStopped, NotFound, TrainingError, WeightsError
from core.readings.reading import Mask
from tests.core.assist.pictures import dice, disc, image_of, noisy

SIDE = 64  # of the foreign network below


def one_click(y: int, x: int) -> Clicks:
    return Clicks(np.array([[y, x]], np.int32), np.array([True]))


def foreign(
    names: tuple[str, ...] = ("point_coords", "point_labels"), embedding: str = "image_embeddings"
) -> tuple[bytes, bytes]:
    """A network of somebody else: embeddings are the picture's mean of channels; the mask is what is bright."""
    value = helper.make_tensor_value_info
    picture = value("picture", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    kept = value("image_embeddings", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    mean = helper.make_node("ReduceMean", ["picture"], ["image_embeddings"], axes=[1], keepdims=1)
    encoder = helper.make_graph([mean], "encoder", [picture], [kept])
    shapes: dict[str, list[int | str]] = {
        "point_coords": [1, "n", 2], "point_labels": [1, "n"], "mask_input": [1, 1, 16, 16],
        "has_mask_input": [1], "orig_im_size": [2], "mystery": [1],
    }  # fmt: skip
    inputs = [value(embedding, TensorProto.FLOAT, [1, 1, SIDE, SIDE])]
    inputs += [value(name, TensorProto.FLOAT, shapes[name]) for name in names]
    # Prompts are read but change nothing, as the sum of them times zero shows.
    nodes = [helper.make_node("ReduceSum", [name], [f"{name}_sum"], keepdims=0) for name in names]
    nodes += [helper.make_node("Sum", [f"{name}_sum" for name in names], ["all"])]
    nodes += [helper.make_node("Mul", ["all", "zero"], ["nothing"])]
    nodes += [helper.make_node("Add", [embedding, "nothing"], ["low_res_masks"])]
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    out = value("low_res_masks", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    decoder = helper.make_graph(nodes, "decoder", inputs, [out], [zero])
    opset = [helper.make_opsetid("", 13)]
    return tuple(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
        for graph in (encoder, decoder)
    )  # type: ignore[return-value]


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def two(encoder: bytes, decoder: bytes) -> dict[str, bytes]:
    return {"sam/vit_encoder.onnx": encoder, "sam/vit_decoder.onnx": decoder}


@pytest.mark.parametrize(
    "names",
    [
        ("point_coords", "point_labels"),
        ("point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"),
    ],
)
@pytest.mark.parametrize("embedding", ["image_embeddings", "embeddings"])
def test_a_foreign_network_comes_in_and_answers(
    tmp_path: Path, names: tuple[str, ...], embedding: str
) -> None:
    card = add_promptable(
        zipped(tmp_path / "sam.zip", two(*foreign(names, embedding))), tmp_path, "SAM small"
    )
    assert card.image_px == SIDE  # the encoder's own, whatever the card leaves out
    network = PromptNetwork(*checked_files(tmp_path, "SAM small"))
    mask = disc((100, 130), (50, 70), 20)
    picture = noisy(mask)

    def encode(region: Region) -> Encoding:
        return network.encode(to_rgb_bytes(picture[region.slices], Levels(0, 255)))

    found = propose_prompted(mask.shape, one_click(50, 70), network, encode)
    assert found.labels.shape == mask.shape and dice(found.labels > 0, mask) > 0.95
    assert [one.name for one in list_promptables(tmp_path)] == ["SAM small"]
    assert [free_name(tmp_path, text) for text in ("SAM: small", "other")] == ["SAM small 2", "other"]


def test_out_and_in_again(tmp_path: Path) -> None:
    add_promptable(zipped(tmp_path / "a.zip", two(*foreign())), tmp_path, "a")
    out = export_promptable(tmp_path, "a", tmp_path / "out" / "a.zip")
    assert add_promptable(out, tmp_path, "b").encoder_sha256 == read_promptable(tmp_path, "a").encoder_sha256
    with pytest.raises(Conflict, match="another name"):
        add_promptable(out, tmp_path, "b")
    remove_promptable(tmp_path, "a")
    with pytest.raises(NotFound, match="there are: b"):
        read_promptable(tmp_path, "a")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "encoder"),
        ({"encoder.onnx": b"no", "decoder.onnx": b"no"}, "no ONNX network"),
        ({"a_encoder.onnx": b"", "b_encoder.onnx": b"", "decoder.onnx": b""}, "holds 2"),
        (two(*foreign(("point_coords",))), "takes no point_labels"),
        (two(*foreign(("point_coords", "point_labels", "mystery"))), "takes mystery"),
        (two(foreign()[1], foreign()[1]), "must take one picture"),
        ({**two(*foreign()), "card.json": b"[]"}, "card"),
        ({**two(*foreign()), "card.json": b'{"mean": [1, 2, 3], "std": [0, 0, 0]}'}, "positive"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        add_promptable(zipped(tmp_path / "n.zip", members), tmp_path, "n")
    assert list_promptables(tmp_path) == [] and not list(tmp_path.glob("promptable/*"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 61, "ends."])
def test_names_never_become_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises((WeightsError, NotFound)):
        add_promptable(zipped(tmp_path / "n.zip", two(*foreign())), tmp_path, name)
    with pytest.raises(NotFound):
        folder_of(tmp_path, "../" + name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Demo: blood cells (synthetic) clicks", "Demo blood cells (synthetic) clicks"),
        ("../../.ssh", "ssh"),
        ("肝 / Leber?", "肝  Leber"),
        ("***", "network"),
        ("x" * 59 + ". y", "x" * 59),
    ],
)
def test_any_text_becomes_a_possible_name(tmp_path: Path, text: str, name: str) -> None:
    assert possible_name(text) == name
    check_new(tmp_path, name)


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    add_promptable(zipped(tmp_path / "n.zip", two(*foreign())), tmp_path, "n")
    path = folder_of(tmp_path, "n") / DECODER
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="damaged"):
        checked_files(tmp_path, "n")
    with pytest.raises(WeightsError, match="no zip"):
        add_promptable(path, tmp_path, "m")


def test_large_planes_are_looked_at_in_windows_that_clicks_share() -> None:
    shape = (3000, 5000)
    assert window_of((500, 512), one_click(3, 3), 256) == Region(0, 0, 500, 512)
    rng = np.random.default_rng(0)
    seen = set()
    for y, x in rng.integers((0, 0), shape, (200, 2)):
        window = window_of(shape, one_click(int(y), int(x)), 256)
        assert window.shape == (512, 512)
        assert min(y - window.top, window.bottom - y) >= min(128, y, shape[0] - y - 1)
        assert min(x - window.left, window.right - x) >= min(128, x, shape[1] - x - 1)
        seen.add(window)
    assert len(seen) < 200
    boxed = Clicks(np.zeros((0, 2), np.int32), np.zeros(0, bool), (100, 100, 1900, 2000))
    window = window_of(shape, boxed, 256)
    assert window.top <= 100 and window.bottom >= 1900 and window.left <= 100 and window.right >= 2000


def test_onnx_gives_what_torch_gives() -> None:
    torch.manual_seed(0)
    model = PromptModel().eval()
    encoder, decoder = to_onnx(model)
    network = PromptNetwork(PromptCard("n", IMAGE_PX, MEAN, STD), encoder, decoder)
    picture = np.random.default_rng(0).integers(0, 255, (200, 256, 3), np.uint8)
    clicks = Clicks(np.array([[40, 60], [9, 9]], np.int32), np.array([True, False]), (20, 30, 90, 120))
    found = network.decode(network.encode(picture), clicks)
    square = np.zeros((1, 3, IMAGE_PX, IMAGE_PX), np.float32)
    square[0, :, :200] = ((picture.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)).transpose(
        2, 0, 1
    )
    points = torch.tensor([[[60.5, 40.5], [9.5, 9.5], [30.0, 20.0], [120.0, 90.0]]])
    with torch.inference_mode():
        features = model.encoder(torch.from_numpy(square))
        wanted = model.decoder(*features, points, torch.tensor([[1.0, 0.0, 2.0, 3.0]])).numpy()[0, 0, :200]
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def blobs(seed: int, count: int = 6, side: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A picture of bright discs of several sizes, and their mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side), bool)
    for _ in range(count):
        mask |= disc(mask.shape, tuple(rng.uniform(15, side - 15, 2)), rng.uniform(7, 14))
    return noisy(mask, seed=seed), mask


def planes(seeds: range) -> list[Plane]:
    read = [(image_of(picture), Mask(mask.astype(np.uint8))) for picture, mask in map(blobs, seeds)]
    return planes_of(read, np.random.default_rng(0))


def test_samples_and_prompts_fit_their_objects() -> None:
    rng = np.random.default_rng(0)
    plane = planes(range(1))[0]
    assert len(plane.numbers) == plane.objects.max() > 1
    for _ in range(30):
        sample = cut_sample(plane, 128, 4, rng)
        if sample is None:
            continue
        sample = vary(sample, rng)
        assert sample.picture.shape == (128, 128, 3) and sample.targets.any(axis=(1, 2)).all()
        target = sample.targets[0]
        prompt = first_prompt(target, rng, box=False)
        x, y = prompt.coords[prompt.labels == 1][0]
        assert target[int(y), int(x)]
        more = correction(prompt, np.zeros_like(target), target)
        assert (more.labels == 1).sum() == 2
        less = correction(prompt, np.ones_like(target), target)
        ((x, y),) = less.coords[less.labels == 0]
        assert not target[int(y), int(x)]
        assert correction(prompt, target, target) is prompt


def test_a_small_network_learns_and_is_kept(tmp_path: Path) -> None:
    events: list[dict[str, object]] = []
    request = PromptTraining(planes(range(6)), planes(range(50, 52)), minutes=0.02)
    model, metrics = train_promptable(request, events.append, lambda: False)
    assert 0 <= metrics["dice_1_click"] <= 1 and metrics["steps"] >= 1
    card = keep_promptable(tmp_path, card_of("cells", {"metrics": metrics}), *to_onnx(model))
    assert read_promptable(tmp_path, "cells") == card
    assert PromptNetwork(*checked_files(tmp_path, "cells")).card.image_px == IMAGE_PX
    with pytest.raises(JobStopped):
        train_promptable(request, events.append, lambda: True)
    with pytest.raises(TrainingError, match="masks"):
        train_promptable(PromptTraining([], [], 1), events.append, lambda: False)


@pytest.mark.slow
def test_a_minute_of_training_beats_guessing() -> None:
    """After a minute a click finds its disc on pictures never seen."""
    request = PromptTraining(planes(range(20)), planes(range(50, 60)), minutes=1.0)
    _, metrics = train_promptable(request, lambda event: None, lambda: False)
    assert metrics["dice_1_click"] > 0.7 and metrics["dice_3_clicks"] > 0.8
