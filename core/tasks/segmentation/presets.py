"""Three ready-made recipes, as values laid over the settings' defaults. Chosen by measurement, see FINDINGS."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {
        "epochs": 0,
        "minutes": 3.0,
        "input_size": 192,
        "learning_rate": 2e-3,
        "augmentation": "light",
        "ema_decay": 0.99,
        "decoder": "light",
        "progressive_size": True,
        "hard_case_sampling": 0.5,
    },
    "balanced": {
        "epochs": 0,
        "minutes": 10.0,
        "learning_rate": 2e-3,
        "augmentation": "light",
        "ema_decay": 0.99,
        "progressive_size": True,
        "hard_case_sampling": 0.5,
    },
    "best": {
        "epochs": 0,
        "minutes": 60.0,
        "encoder": "resnet34",
        "learning_rate": 1e-3,
        "augmentation": "medium",
        "ema_decay": 0.999,
        "hard_case_sampling": 0.5,
        "early_stopping_patience": 30,
    },
}
