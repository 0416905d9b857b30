"""The menu in one place: which pages exist, what they are called, and how to link to them."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One page of the menu; ``path`` is relative to ``pages/main.py``."""

    path: str
    title: str
    url: str
    icon: str
    help: str


START = Entry(
    "start.py", "Start", "start", ":material/home:", "Where this project stands, and the next step."
)
PROJECTS = Entry(
    "data/projects.py",
    "Projects",
    "projects",
    ":material/folder_open:",
    "Create a project, choose one, name its labels, split its cases, choose the reference reader.",
)
IMPORT = Entry(
    "data/import_images.py",
    "Import",
    "import",
    ":material/upload_file:",
    "Bring in images (DICOM, NIfTI, PNG, JPEG, TIFF, zip) and masks that exist already.",
)
CASES = Entry(
    "data/cases.py",
    "Cases",
    "cases",
    ":material/grid_view:",
    "Browse the cases: slices, window and level, readings, facts, split.",
)
ANNOTATE = Entry(
    "annotate/annotate.py", "Annotate", "annotate", ":material/draw:", "Mark what you see; saved in versions."
)
TRAIN = Entry(
    "models/train.py",
    "Train",
    "train",
    ":material/model_training:",
    "Train a network on the reference readings.",
)
INFER = Entry("models/infer.py", "Infer", "infer", ":material/visibility:", "Let a model read cases.")
COMPARE = Entry(
    "review/compare.py",
    "Compare",
    "compare",
    ":material/compare:",
    "Two readers on the same cases: numbers with intervals, a table per case, pictures.",
)
JOBS = Entry(
    "system/jobs.py", "Jobs", "jobs", ":material/schedule:", "Long work: progress, logs, stop, resume."
)

MENU: dict[str, tuple[Entry, ...]] = {
    "": (START,),
    "Data": (PROJECTS, IMPORT, CASES),
    "Annotate": (ANNOTATE,),
    "Models": (TRAIN, INFER),
    "Review": (COMPARE,),
    "System": (JOBS,),
}
