"""Three ready-made recipes, as values laid over the settings' defaults. Chosen by measurement."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {
        "epochs": 0,
        "minutes": 5.0,
        "features": 96,
        "input_size": 256,
        "ema_decay": 0.99,
        "progressive_size": True,
    },
    "balanced": {
        "epochs": 0,
        "minutes": 15.0,
        "scale": 0.3,
        "mosaic": 0.3,
        "calm_end": 0.35,
        "ema_decay": 0.998,
        "progressive_size": True,
    },
    "best": {
        "epochs": 0,
        "minutes": 90.0,
        "encoder": "resnet34",
        "features": 192,
        "head_convs": 3,
        "augmentation": "medium",
        "mosaic": 0.3,
        "calm_end": 0.2,
        "ema_decay": 0.9995,
        "early_stopping_patience": 40,
    },
}
