"""Settings: from text, with one sentence for what does not go; the degradation they add up to."""

from __future__ import annotations

import pytest

from core.errors import TrainingError
from core.tasks.super_resolution.presets import PRESETS
from core.tasks.super_resolution.settings import (
    SIZES,
    DegradationName,
    SuperResolutionSettings,
    degradation_of,
    make_settings,
    settings_from_text,
)
from core.tasks.super_resolution.spec import ARCHITECTURES, DEGRADATIONS


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_presets_are_valid(preset: str | None) -> None:
    assert settings_from_text(preset, ["scale=3"]).scale == 3


def test_every_name_is_known_everywhere() -> None:
    assert set(SIZES) == set(ARCHITECTURES)
    assert set(DegradationName.__args__) == set(DEGRADATIONS)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (["scale=5"], "scale"),
        (["scal=4"], "did you mean scale"),
        (["degradation=foggy"], "degradation"),
        (["noise=gaussian"], "noise_level"),
        (["reduction=kspace", "blur=1"], "k-space"),
        (["architecture=bicubic", "adversarial=true"], "learns nothing"),
        (["epochs=1", "adversarial=true"], "2 epochs"),
        (["epochs=0"], "needs an end"),
        (["scale"], "key=value"),
    ],
)
def test_what_is_wrong_is_one_sentence(pairs: list[str], says: str) -> None:
    with pytest.raises(TrainingError) as refused:
        settings_from_text(None, pairs)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_knobs_are_laid_over_the_named_degradation() -> None:
    made = degradation_of(
        settings_from_text("fast", ["degradation=mr", "noise=gaussian", "noise_level=0.3", "jpeg_quality=50"])
    )
    assert (made.reduction, made.noise, made.noise_level, made.jpeg_quality) == (
        "kspace", "gaussian", (0.0, 0.3), (50, 95),
    )  # fmt: skip
    assert degradation_of(settings_from_text("fast", ["degradation=mr", "noise=none"])).noise_level == (0, 0)
    assert degradation_of(settings_from_text("fast", ["blur=1.5"])).blur == (0.0, 1.5)
    assert (
        degradation_of(settings_from_text("fast", ["degradation=camera", "jpeg_quality=100"])).jpeg_quality
        is None
    )


def test_factors_follow_the_axes() -> None:
    assert make_settings({"scale": 3}).factors == (3, 3)
    assert make_settings({"scale": 3, "axes": "through_plane"}).factors == (3, 1)


def test_settings_come_back_from_json() -> None:
    settings = settings_from_text("sharp", ["scale=2", "degradation=ultrasound"])
    assert SuperResolutionSettings.model_validate(settings.model_dump(mode="json")) == settings
