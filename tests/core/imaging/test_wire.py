"""Values through JSON and back: equal, and nothing but what the annotations name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.imaging.found import Found, Skipped
from core.imaging.wire import argument_types, from_plain, pack, result_type, to_plain, unpack
from core.settings import Settings
from core.types import Array, Image, ImageInfo, Window


@dataclass(frozen=True)
class Leaf:
    """Every kind of plain value."""

    text: str
    number: float
    count: int
    flag: bool
    path: Path
    kind: Literal["a", "b"] = "a"
    maybe: float | None = None


@dataclass(frozen=True)
class Tree:
    """Every kind of container."""

    leaves: tuple[Leaf, ...]
    pair: tuple[int, str]
    names: dict[str, list[Leaf]] = field(default_factory=dict)
    anything: Any = None
    either: Leaf | int | None = None


def through(hint: Any, value: Any) -> Any:
    """Send a value as it is sent between processes."""
    arrays: dict[str, Array] = {}

    def store(array: Array) -> str:
        arrays[str(len(arrays))] = array
        return str(len(arrays) - 1)

    message = pack({"value": to_plain(value, store)})
    return from_plain(hint, unpack(message[4:])["value"], arrays.__getitem__)


texts = st.text(st.characters(exclude_categories=["Cs"]))
floats = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.builds(
    Leaf,
    texts,
    floats,
    st.integers(),
    st.booleans(),
    st.text("ab/.é", min_size=1).map(lambda text: Path("/" + text)),
    st.sampled_from(["a", "b"]),
    st.none() | floats,
)
trees = st.builds(
    Tree,
    st.lists(leaves, max_size=3).map(tuple),
    st.tuples(st.integers(), texts),
    st.dictionaries(texts, st.lists(leaves, max_size=2), max_size=2),
    st.recursive(st.none() | st.booleans() | texts | floats, st.lists, max_leaves=3),
    st.none() | leaves | st.integers(),
)


@given(trees)
def test_round_trip(tree: Tree) -> None:
    assert through(Tree, tree) == tree


def test_an_image_with_all_its_facts() -> None:
    info = ImageInfo(
        "zyx", (2, 3, 4), "int16", (1.5, 1, 1), ((1.0, 0.0, 0.0, 0.0),) * 4, "CT", Window(40, 400), True,
        {"a": "b"}, ("c.",),
    )  # fmt: skip
    found = Found(Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), info), "name", "source", None)
    back = through(Found | Skipped, found)
    assert back.image.info == info and np.array_equal(back.image.array, found.image.array)
    assert through(Found | Skipped, Skipped("a", "b")) == Skipped("a", "b")


def test_numpy_and_pydantic_values() -> None:
    assert through(tuple[int, float, bool], (np.int64(3), np.float32(0.5), np.bool_(True))) == (3, 0.5, True)
    settings = Settings(max_image_bytes=5, database_url="postgresql://secret")
    back = through(Settings, settings)
    assert back.max_image_bytes == 5 and back.database_url is None


def test_halves_of_characters_stay_in_paths_and_leave_texts() -> None:
    assert through(Path, Path("/a\udcff")) == Path("/a\udcff")
    assert through(str, "a\udcff") == "a?"
    assert through(dict[str, str], {"\udcff": "\udcff"}) == {"?": "?"}


@pytest.mark.parametrize(
    ("hint", "data"),
    [
        (int, True), (int, 1.5), (int, "1"), (float, "1"), (float, float("inf")), (float, True), (bool, 1),
        (str, 1), (str, None), (Path, 1), (Path, "a\0b"), (Literal["a"], "b"), (int | None, "x"),
        (tuple[int, ...], "ab"), (tuple[int, int], [1]), (list[int], {"a": 1}), (dict[str, int], [1]),
        (Array, "x"), (Array, {"array": 1}), (Settings, {"max_image_bytes": 1}), (Settings, '{"max_image_bytes": -1}'),
        (Window, {"center": 1, "width": 1}), (Window, {"is": "Window", "fields": {"center": 1.0, "width": -1.0}}),
        (Window, {"is": "Window", "fields": {"center": 1.0}}), (Window, {"is": "Leaf", "fields": {}}),
        (Window, {"is": "Window", "fields": {"center": 1.0, "width": 1.0, "more": 1}}), (Window, {"is": "Window"}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(hint: Any, data: Any) -> None:
    with pytest.raises(ValueError):
        from_plain(hint, data, lambda name: np.zeros(1))


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"{", b"[" * 10**5, b"\xff\xfe"])
def test_broken_messages_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        unpack(body)


def test_unknown_types_are_mistakes_of_ours() -> None:
    with pytest.raises(TypeError):
        to_plain(object(), lambda array: "")
    with pytest.raises(TypeError):
        from_plain(complex, 1, lambda name: np.zeros(1))
    with pytest.raises(ValueError):
        pack({"a": float("nan")})


def test_annotations_of_functions() -> None:
    def one(a: int, b: Path) -> Leaf: ...

    def many(a: int) -> Iterator[Leaf]: ...

    assert result_type(one) == (Leaf, False) and result_type(many) == (Leaf, True)
    assert argument_types(one) == [int, Path]
    assert json.loads(pack({"a": 1})[4:]) == {"a": 1}
