"""Heavy libraries stay out of the web process, and the screen stays out of the core."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = (
    "torch", "torchvision", "monai", "albumentations",
    "segmentation_models_pytorch", "timm", "pydicom", "nibabel", "highdicom",
)  # fmt: skip
# What a page, the runner and the terminal load to show things; workers may load more.
LIGHT = (
    "core.learning.encoders",
    "core.learning.knobs",
    "core.learning.preprocessing",
    "core.tasks",
    "core.tasks.detection",
    "core.tasks.detection.settings",
    "core.tasks.detection.spec",
    "core.tasks.segmentation",
    "core.tasks.segmentation.settings",
)
LIGHT_PACKAGES = ("core.workspace", "core.evaluation")
LIGHT_JOBS = (
    "core.jobs.handlers",
    "core.jobs.payloads",
    "core.jobs.queue",
    "core.jobs.runner",
    "core.jobs.submit",
)

IMPORT_ALL = """
import importlib, json, pkgutil, sys
names = json.loads(sys.argv[1])
for package in json.loads(sys.argv[2]):
    module = importlib.import_module(package)
    names += [package] + [found.name for found in pkgutil.walk_packages(module.__path__, package + ".")]
for name in names:
    if not name.endswith("migrations.env") and "migrations.versions" not in name:  # run by Alembic only
        importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""

OPEN_EVERY_PAGE = """
import json, sys
from streamlit.testing.v1 import AppTest
from pages.shared.menu import MENU
app = AppTest.from_file("pages/main.py", default_timeout=120).run()
broken = {"main": [error.message for error in app.exception]}
for entries in MENU.values():
    for entry in entries:
        app.switch_page(entry.path).run()
        broken[entry.path] = [error.message for error in app.exception]
print(json.dumps([sorted(sys.modules), {page: errors for page, errors in broken.items() if errors}]))
"""


def run_python(code: str, *arguments: str) -> str:
    """Run code in a Python of its own, from the checkout; return its last line on stdout."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


def heavy_among(modules: list[str]) -> list[str]:
    """The heavy libraries that are loaded."""
    return [name for name in HEAVY if name in modules]


@pytest.mark.parametrize(
    ("modules", "packages"),
    [(LIGHT, LIGHT_PACKAGES), (LIGHT_JOBS, ())],
    ids=["tasks-workspace-evaluation", "jobs"],
)
def test_light_modules_load_nothing_heavy(modules, packages, home: Path) -> None:
    loaded = json.loads(run_python(IMPORT_ALL, json.dumps(modules), json.dumps(packages)))
    assert heavy_among(loaded) == []
    assert "streamlit" not in loaded


def test_opening_every_page_loads_nothing_heavy(home: Path) -> None:
    loaded, broken = json.loads(run_python(OPEN_EVERY_PAGE))
    assert broken == {}
    assert heavy_among(loaded) == []


def imported_names(path: Path) -> set[str]:
    """The top-level packages a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    ("files", "forbidden"),
    [
        ("core/**/*.py", {"streamlit", "pages", "app"}),
        ("pages/**/*.py", {*HEAVY, "app"}),
        ("app.py", set(HEAVY)),
    ],
)
def test_no_file_imports_what_its_floor_forbids(files: str, forbidden: set[str]) -> None:
    """Also in functions and under TYPE_CHECKING; import-linter (make lint) holds the order of the floors."""
    paths = sorted(ROOT.glob(files))
    assert paths
    guilty = {str(path.relative_to(ROOT)): sorted(imported_names(path) & forbidden) for path in paths}
    assert {path: names for path, names in guilty.items() if names} == {}
