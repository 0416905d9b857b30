"""Settings of detection: presets are valid, mistakes become one sentence, a page can build its form."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.errors import TrainingError
from core.learning.knobs import GROUPS
from core.tasks import TASKS
from core.tasks.detection import DETECTION
from core.tasks.detection.presets import PRESETS
from core.tasks.detection.settings import DetectionSettings, make_settings, settings_from_text


def test_presets_are_valid_and_what_is_stored_comes_back() -> None:
    assert list(PRESETS) == ["fast", "balanced", "best"]
    for values in PRESETS.values():
        settings = make_settings(values)
        assert DetectionSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("learning_rat=1", "did you mean learning_rate?"),
        ("architecture=faster", "faster_rcnn"),
        ("encoder=resnet81", "resnet18"),
        ("mosaic=2", "mosaic should be less than or equal to 1"),
        ("features=100", "features should be a multiple of 32"),
        ("epochs=0", "set epochs or minutes"),
    ],
)
def test_mistakes_become_one_sentence(pair: str, sentence: str) -> None:
    with pytest.raises(TrainingError) as refused:
        settings_from_text(None, [pair])
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_page_can_build_its_form() -> None:
    for name, field in DetectionSettings.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict)
        assert field.json_schema_extra["group"] in GROUPS, name
    assert set(DETECTION.basic_settings) <= set(DetectionSettings.model_fields)


def test_the_task_is_registered_and_light() -> None:
    assert TASKS["detection"] is DETECTION
    code = (
        "import sys; import core.tasks; print({'torch', 'albumentations', 'cv2', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
