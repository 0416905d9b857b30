"""Settings from text: values arrive typed, mistakes become one sentence, presets and budgets combine."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from core.errors import TrainingError
from core.learning.knobs import GROUPS
from core.tasks.segmentation import SEGMENTATION
from core.tasks.segmentation.presets import PRESETS
from core.tasks.segmentation.settings import LossName, SegmentationSettings, make_settings, settings_from_text


def test_values_arrive_typed() -> None:
    settings = settings_from_text(None, ["learning_rate=0.002", "flips=false", "epochs=7", "rotation=auto"])
    assert settings.learning_rate == 0.002
    assert settings.flips is False
    assert settings.epochs == 7
    assert settings.rotation is None


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("learning_rat=1", "did you mean learning_rate?"),
        ("learning_rate", "key=value"),
        ("learning_rate=fast", "learning_rate should be a valid number"),
        ("learning_rate=-1", "learning_rate should be greater than 0, got '-1'."),
        ("encoder=resnet81", "resnet18"),
        ("architecture=Unett", "Unet"),
        ("loss=dicee", "loss should be"),
        ("epochs=0", "set epochs or minutes"),
    ],
)
def test_mistakes_become_one_sentence(pair: str, sentence: str) -> None:
    with pytest.raises(TrainingError) as refused:
        settings_from_text(None, [pair])
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_given_budget_replaces_the_presets() -> None:
    assert settings_from_text("balanced", []).minutes == PRESETS["balanced"]["minutes"]
    by_epochs = settings_from_text("balanced", ["epochs=3"])
    assert (by_epochs.epochs, by_epochs.minutes) == (3, 0)
    by_time = settings_from_text("balanced", ["minutes=4"])
    assert (by_time.epochs, by_time.minutes) == (0, 4)
    both = settings_from_text("balanced", ["minutes=4", "epochs=3"])
    assert (both.epochs, both.minutes) == (3, 4)
    with pytest.raises(TrainingError, match="fast, balanced, best"):
        settings_from_text("better", [])


def test_presets_are_valid_and_what_is_stored_comes_back() -> None:
    for values in SEGMENTATION.presets.values():
        settings = make_settings(values)
        assert SegmentationSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_a_page_can_build_its_form() -> None:
    for name, field in SegmentationSettings.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict)
        assert field.json_schema_extra["group"] in GROUPS, name


def test_losses_are_those_that_can_be_built() -> None:
    from core.tasks.segmentation.losses import LOSSES

    assert get_args(LossName) == LOSSES


def test_the_task_imports_no_heavy_library() -> None:
    code = (
        "import sys; import core.tasks; print({'torch', 'albumentations', 'cv2', 'timm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
