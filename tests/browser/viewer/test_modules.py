"""Windows, runs, steps, shapes, parts, distances and measurements: JavaScript against Python and scipy."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from core.imaging.geometry import side_marks
from core.imaging.windows import BYTE_WINDOW, CT_PRESETS, to_display
from core.readings.notes import Note, measure, note_to_json
from core.readings.outlines import rasterise_polygons, rasterise_stroke
from core.readings.runs import decode_runs, encode_runs
from core.readings.steps import ItemPatch, MaskPatch, Step, pack_steps, unpack_steps
from core.types import ImageInfo, Window
from tests.browser.viewer.conftest import Run

pytestmark = pytest.mark.browser

PAINT = """(() => {
    const out = new Uint32Array(count);
    new window.Painter(facts).paint(values, view, inverted, out);
    return new Uint8Array(out.buffer);
})()"""


def facts_of(info: ImageInfo) -> dict[str, Any]:
    rows, columns = info.spatial_shape[-2:]
    return {
        "rows": rows, "columns": columns, "slices": info.slices, "channels": info.channels, "volume": info.is_volume,
        "color": info.layout[-1] == "c", "stored": info.dtype, "wire": info.dtype, "unit": "", "levels": [],
        "spacing": None if info.spacing_mm is None else list(info.spacing_mm),
        "affine": None if info.affine_lps is None else [list(row) for row in info.affine_lps],
    }  # fmt: skip


def paint(run: Run, plane: np.ndarray, window: Window, inverted: bool) -> np.ndarray:
    layout = "yx" if plane.ndim == 2 else "yxc"
    facts = facts_of(ImageInfo(layout, plane.shape, plane.dtype.name))  # type: ignore[arg-type]
    view = {"center": window.center, "width": window.width}
    count = plane.shape[0] * plane.shape[1]
    found = run(["window"], PAINT, values=plane, facts=facts, view=view, inverted=inverted, count=count)
    return found.reshape(*plane.shape[:2], 4)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
def test_windows_are_python_to_the_bit(run: Run, dtype: str) -> None:
    rng = np.random.default_rng(1)
    spread = {
        "uint8": (0, 256),
        "int16": (-32768, 32768),
        "uint16": (0, 65536),
        "int32": (-90000, 90000),
        "float32": (-9, 9),
    }
    plane = rng.uniform(*spread[dtype], (60, 70)).astype(dtype)
    near = rng.integers(-300, 300, plane.shape)
    if dtype != "uint8":
        plane[::2] = np.clip(near[::2], *(0, 60000) if dtype == "uint16" else (-300, 300)).astype(dtype)
    if dtype == "float32":
        plane[0, :4] = (np.nan, np.inf, -np.inf, 0)
    windows = [
        *CT_PRESETS.values(),
        BYTE_WINDOW,
        Window(0.5, 1),
        Window(40.5, 7.3),
        Window(0, 2),
        Window(-3.25, 300.5),
    ]
    for window, inverted in itertools.product(windows, (False, True)):
        shown = paint(run, plane, window, inverted)
        expected = to_display(plane, window, inverted)
        np.testing.assert_array_equal(shown[..., 0], expected, err_msg=f"{dtype} {window}")
        assert (shown[..., 1] == shown[..., 0]).all() and (shown[..., 3] == 255).all()


@pytest.mark.parametrize(
    ("dtype", "channels"), itertools.product(["uint8", "uint16", "int16", "float32"], [1, 2, 3, 4])
)
def test_colour_is_python_to_the_bit(run: Run, dtype: str, channels: int) -> None:
    plane = (
        np.random.default_rng(2)
        .uniform(0, 250 if dtype == "uint8" else 9000, (20, 30, channels))
        .astype(dtype)
    )
    for window in (BYTE_WINDOW, Window(4000, 8000)):
        np.testing.assert_array_equal(paint(run, plane, window, False)[..., :3], to_display(plane, window))


def test_runs_and_steps_speak_one_language(run: Run) -> None:
    rng = np.random.default_rng(3)
    values = np.repeat(rng.integers(0, 400, 200), rng.integers(1, 30, 200)).astype(np.uint16)
    runs = run(["runs"], "runs.encodeRuns(values)", values=values)
    np.testing.assert_array_equal(runs.reshape(-1, 2), encode_runs(values))
    back = run(
        ["runs"],
        "(() => { const out = new Uint16Array(n); runs.decodeRuns(given_, out); return out; })()",
        given_=runs,
        n=values.size,
    )
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(decode_runs(runs, values.shape, np.uint16), values)

    patch = MaskPatch(3, 4, 5, 1, values.size, encode_runs(values), encode_runs(values[::-1]))
    step = Step(
        "tab",
        7,
        "undo",
        "bürste",
        (patch, ItemPatch("n1", None, {"kind": "length", "points": [[1, 2, 3.5]]})),
    )
    packed = base64.b64encode(pack_steps([step, step])).decode()
    code = """(async () => {
        const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
        return btoa(String.fromCharCode(...await steps.packSteps(await steps.unpackSteps(bytes))));
    })()"""
    [found, again] = unpack_steps(base64.b64decode(run(["steps"], f"await {code}", packed=packed)))
    assert (found.client, found.number, found.kind, found.name) == ("tab", 7, "undo", "bürste")
    np.testing.assert_array_equal(found.patches[0].after, patch.after)
    np.testing.assert_array_equal(again.patches[0].before, patch.before)
    assert found.patches[1] == step.patches[1]


FILL = """(() => {
    const out = new Uint8Array(columns * rows);
    const span = (row, left, right) => out.fill(1, row * columns + left, row * columns + right);
    raster.fillPolygons(outlines, columns, rows, span);
    return out;
})()"""
STROKE = """(() => {
    const out = new Uint8Array(columns * rows);
    const span = (row, left, right) => out.fill(1, row * columns + left, row * columns + right);
    for (let i = 0; i < Math.max(1, line.length - 1); i++)
        raster.strokeSegment(line[i], line[Math.min(i + 1, line.length - 1)], radius, columns, rows, span);
    return out;
})()"""


def test_shapes_are_python_to_the_bit(run: Run) -> None:
    rng = np.random.default_rng(4)
    for case in range(25):
        rows, columns = (int(n) for n in rng.integers(1, 70, 2))
        outlines = [
            rng.uniform(-10, 80, (int(rng.integers(3, 12)), 2)).tolist()
            for _ in range(int(rng.integers(1, 4)))
        ]
        if case % 3 == 0:
            outlines = [np.round(np.array(points)).tolist() for points in outlines]
        found = run(["raster"], FILL, outlines=outlines, columns=columns, rows=rows)
        np.testing.assert_array_equal(
            found.reshape(rows, columns), rasterise_polygons(outlines, (rows, columns))
        )
        line = rng.uniform(-5, 75, (int(rng.integers(1, 8)), 2)).tolist()
        width = float(rng.choice([0.4, 1.0, 1.7, 5.0, 12.5, 40.0]))
        radius = {"u": width / 2, "v": width / 2}
        found = run(["raster"], STROKE, line=line, radius=radius, columns=columns, rows=rows)
        np.testing.assert_array_equal(
            found.reshape(rows, columns), rasterise_stroke(line, width, (rows, columns))
        )


def test_a_brush_is_round_in_millimetres(run: Run) -> None:
    rows, columns, radius = 60, 80, {"u": 20.0, "v": 5.0}  # rows are four times as high as columns are wide
    found = run(["raster"], STROKE, line=[[40.2, 30.1]], radius=radius, columns=columns, rows=rows)
    y, x = np.mgrid[:rows, :columns] + 0.5
    expected = (x - 40.2) ** 2 + ((y - 30.1) * 4) ** 2 <= 400
    np.testing.assert_array_equal(found.reshape(rows, columns), expected)


def test_distances_and_shapes_between_equal_scipy(run: Run) -> None:
    rng = np.random.default_rng(5)
    for size in ({"u": 1.0, "v": 1.0}, {"u": 0.7, "v": 2.5}):
        mask = (ndimage.gaussian_filter(rng.normal(size=(40, 50)), 4) > 0.02).astype(np.uint8)
        other = np.roll(mask, 5, 1) & (np.arange(50) < 40).astype(np.uint8)
        found = run(["between"], "between.squaredDistance(mask, 50, 40, size)", mask=mask, size=size)
        expected = ndimage.distance_transform_edt(1 - mask, sampling=(size["v"], size["u"]))
        np.testing.assert_allclose(np.sqrt(found).reshape(40, 50), expected, atol=1e-9)

        def signed(m: np.ndarray, size: dict[str, float] = size) -> np.ndarray:
            sampling = (size["v"], size["u"])
            return ndimage.distance_transform_edt(m, sampling=sampling) - ndimage.distance_transform_edt(
                1 - m, sampling=sampling
            )

        grid = {"columns": 50, "rows": 40, "size": size}
        shapes = run(["between"], "between.shapesBetween(a, b, 3, grid)", a=mask, b=other, grid=grid)
        for number, shape in enumerate(shapes, start=1):
            mixed = (1 - number / 4) * signed(mask) + number / 4 * signed(other)
            sure = np.abs(mixed) > 1e-9
            np.testing.assert_array_equal(shape.reshape(40, 50)[sure], (mixed > 0)[sure])


PARTS = """(() => {
    const inside = (value) => value === label;
    const {runs, part, sizes, open} = parts.connectedParts(columns, rows, stack.length, (z) => stack[z], inside);
    const out = stack.map(() => new Int32Array(columns * rows));
    part.forEach((number, i) => {
        const [z, row, left, right] = runs.subarray(4 * i, 4 * i + 4);
        out[z].fill(number + 1, row * columns + left, row * columns + right);
    });
    return {out, sizes, open};
})()"""


@pytest.mark.parametrize("planes", [1, 6])
def test_connected_parts_equal_scipy(run: Run, planes: int) -> None:
    rng = np.random.default_rng(6)
    stack = (rng.random((planes, 23, 31)) > 0.55).astype(np.uint8) * 2
    stack[0, 3] = 1
    found = run(["parts"], PARTS, stack=list(stack), columns=31, rows=23, label=2)
    ours = np.array(found["out"]).reshape(stack.shape)
    theirs, count = ndimage.label(stack == 2)
    assert len(found["sizes"]) == count
    for number in range(1, count + 1):
        where = theirs == number
        [name] = np.unique(ours[where])
        assert (ours == name).sum() == where.sum() == found["sizes"][name - 1]
        border = np.zeros(stack.shape, bool)
        border[:, [0, -1]] = border[:, :, [0, -1]] = True
        if planes > 1:
            border[[0, -1]] = True
        assert found["open"][name - 1] == bool((where & border).any())


def test_flood_fill_equals_scipy(run: Run) -> None:
    plane = (np.random.default_rng(7).random((30, 40)) > 0.42).astype(np.uint8)
    for seed in (0, 333, 777):
        found = run(["parts"], "parts.floodPart(plane, 40, 30, seed)", plane=plane, seed=seed)
        labels, _ = ndimage.label(plane == plane.ravel()[seed])
        assert set(found["pixels"].tolist()) == set(np.flatnonzero(labels == labels.ravel()[seed]).tolist())


def oriented(order: tuple[int, ...], signs: tuple[int, ...]) -> ImageInfo:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[list(order)].T * np.array(signs) * (0.8, 1.1, 2.5)
    return ImageInfo("zyx", (5, 7, 9), "int16", (2.5, 1.1, 0.8), tuple(tuple(row) for row in affine.tolist()))


def test_all_orientations_hang_as_radiologists_do(run: Run) -> None:
    expected = {
        "axial": {"left": "R", "right": "L", "top": "A", "bottom": "P"},
        "coronal": {"left": "R", "right": "L", "top": "H", "bottom": "F"},
        "sagittal": {"left": "A", "right": "P", "top": "H", "bottom": "F"},
    }
    code = """['z', 'y', 'x'].map((axis) => ({
        name: geometry.planeName(facts, axis), hung: geometry.sideMarks(facts, axis, geometry.hangingTurn(facts, axis)),
        stored: geometry.sideMarks(facts, axis, geometry.UPRIGHT)}))"""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            info = oriented(order, signs)
            planes = run(["geometry"], code, facts=facts_of(info))
            assert sorted(plane["name"] for plane in planes) == ["axial", "coronal", "sagittal"]
            for plane in planes:
                assert plane["hung"] == expected[plane["name"]], (order, signs)
            letters = planes[0]["stored"]
            assert (letters["left"], letters["right"], letters["top"], letters["bottom"]) == side_marks(info)


def test_all_eight_turns_keep_letters_and_lengths(run: Run) -> None:
    """Turned and mirrored, a letter stays at the edge its side is at, and places come back."""
    code = """(() => {
        const view = new camera.Camera(facts, 'z');
        view.resize(640, 480);
        const found = [];
        for (const mirrored of [false, true]) {
            for (let turn = 0; turn < 4; turn++) {
                const marks = geometry.sideMarks(facts, 'z', view.turn);
                const middle = view.toCanvas(4.5, 3.5);
                const towards = view.toCanvas(6.5, 3.5);  // along +x
                const back = view.toPlane(...view.toCanvas(1.25, 6.5));
                const length = Math.hypot(towards[0] - middle[0], towards[1] - middle[1]) / view.scale;
                found.push({marks, step: [towards[0] - middle[0], towards[1] - middle[1]], back, length});
                view.rotate();
            }
            view.flip(true);
        }
        return found;
    })()"""
    info = oriented((0, 1, 2), (1, 1, 1))
    found = run(["camera", "geometry"], code, facts=facts_of(info))
    seen = set()
    for one in found:
        seen.add(tuple(one["marks"].values()))
        x, y = one["step"]
        edge = ("right" if x > 0 else "left") if abs(x) > abs(y) else ("bottom" if y > 0 else "top")
        assert one["marks"][edge] == "L"  # +x is the patient's left
        np.testing.assert_allclose(one["back"], [1.25, 6.5], atol=1e-9)
        assert one["length"] == pytest.approx(2 * 0.8)
    assert len(seen) == 8


def test_measurements_equal_python(run: Run) -> None:
    rng = np.random.default_rng(8)
    direction = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = direction * (0.7, 0.9, 2.5)
    tilted = affine.copy()
    tilted[:3, 2] += 0.4 * affine[:3, 1]
    infos = [
        ImageInfo("zyx", (9, 40, 60), "int16", (2.5, 0.9, 0.7), tuple(map(tuple, affine.tolist()))),
        ImageInfo("zyx", (9, 40, 60), "int16", (2.5, 0.9, 0.7), tuple(map(tuple, tilted.tolist()))),
        ImageInfo("yx", (40, 60), "int16", (0.5, 0.25)),
        ImageInfo("yx", (40, 60), "int16"),
    ]
    plane = rng.integers(-1000, 1000, (40, 60)).astype(np.int16)
    for info in infos:
        for kind, count in (
            ("length", 2),
            ("angle", 3),
            ("bidirectional", 4),
            ("ellipse", 2),
            ("rectangle", 2),
        ):
            points = tuple((float(x), float(y), 0.5) for x, y in rng.uniform(1, 39, (count, 2)))
            note = Note(kind, points)  # type: ignore[arg-type]
            expected = measure(note, info, plane)
            sheet = {"values": plane, "columns": 60, "rows": 40}
            found = run(
                ["measure"],
                "measure.measure(note, facts, sheet)",
                note=note_to_json(note),
                facts=facts_of(info),
                sheet=sheet,
            )
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                assert found[key] == pytest.approx(value, rel=1e-9, nan_ok=True), (kind, key)


def test_small_lengths_are_said_in_micrometres(run: Run) -> None:
    fine, coarse = (
        {"spacing": [size, size], "columns": 90, "rows": 90, "slices": 1} for size in (0.0005, 0.7)
    )
    line = {"kind": "length", "points": [[0, 0, 0.5], [30, 40, 0.5]], "axis": "z", "plane": 0}
    box = {"kind": "rectangle", "points": [[0, 0, 0.5], [40, 40, 0.5]], "axis": "z", "plane": 0}
    code = "[measure.measureWords(line, facts), measure.measureWords(box, facts)].flat()"
    assert run(["measure"], code, facts=fine, line=line, box=box) == ["25.0 µm", "0.0004 mm²"]
    assert run(["measure"], code, facts=coarse, line=line, box=box) == ["35.0 mm", "784 mm²"]


def test_an_old_browser_gets_a_sentence(run: Run) -> None:
    assert run(["index"], "index.missingSentence()") is None
    sentence = run(["index"], "index.missingSentence({ResizeObserver: 1, AbortController: 1})")
    assert "too old" in sentence and "pointer events, compression streams" in sentence
