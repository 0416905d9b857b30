"""How far a project has come along import, annotate, train, infer, compare. No Streamlit in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from core.tasks import TASKS

if TYPE_CHECKING:
    from core.workspace.records import Project
    from core.workspace.workspace import Workspace


class Step(NamedTuple):
    """One step of the loop."""

    key: str
    title: str
    sentence: str


STEPS = (
    Step("import", "Import", "Bring in images, and masks that exist already."),
    Step("annotate", "Annotate", "Mark what you see, label by label."),
    Step("train", "Train", "A network learns from the marked cases."),
    Step("infer", "Infer", "The model reads the other cases."),
    Step("compare", "Compare", "Put two readers side by side, with numbers."),
)


@dataclass(frozen=True)
class Standing:
    """Counts of a project, a few words per step, and the next step."""

    n_cases: int
    words: dict[str, str]
    next_step: str
    sentence: str


def count_words(number: int, one: str, many: str) -> str:
    """Say "1 case", "5 cases"."""
    return f"{number} {one if number == 1 else many}"


def short_patient(key: str) -> str:
    """Return the first characters of a patient key; a dash for a case whose patient is not known."""
    if key.startswith("case:"):
        return "–"
    return key.removeprefix("patient-")[:8]


def standing_of(workspace: Workspace, project: Project | None) -> Standing:
    """Return where a project stands; for no project, what there is to do."""
    if project is None:
        return Standing(0, {step.key: "nothing yet" for step in STEPS}, "import", "")
    cases = workspace.count_cases(project.id)
    images_are_truth = TASKS[project.task].image_truth is not None
    marked = cases if images_are_truth else len(workspace.reference_of(project.id))
    models = len(workspace.list_models(project_id=project.id))
    readers = workspace.list_readers(project.id)
    read = sum(reader.n_cases for reader in readers if reader.kind == "model")
    people = sum(1 for reader in readers if reader.kind == "person")
    words = {
        "import": count_words(cases, "case", "cases"),
        "annotate": f"{marked} of {cases} with a reference",
        "train": count_words(models, "model", "models"),
        "infer": count_words(read, "reading by a model", "readings by models"),
        "compare": f"{count_words(people, 'person', 'people')} and {count_words(models, 'model', 'models')}",
    }
    following = _next_step(cases, marked, models, read)
    sentence = f"{marked} of {cases} cases have a reference; next: {following}."
    if images_are_truth:
        words["annotate"] = "not needed: the images are the truth"
        sentence = (
            f"{count_words(cases, 'image', 'images')}, which are the truth themselves; next: {following}."
        )
    return Standing(cases, words, following, sentence)


def _next_step(cases: int, marked: int, models: int, read: int) -> str:
    if cases == 0:
        return "import"
    if models == 0:
        # Two marked cases are the least that can be split into training and validation.
        return "train" if marked >= max(2, cases // 10) else "annotate"
    return "compare" if read else "infer"
