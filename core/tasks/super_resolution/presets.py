"""Ready-made recipes, as values laid over the settings' defaults. Chosen by measurement."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"epochs": 0, "minutes": 3.0, "blocks": 4, "ema_decay": 0.99},
    "balanced": {"epochs": 0, "minutes": 10.0, "ema_decay": 0.999},
    "best": {"epochs": 0, "minutes": 60.0, "ema_decay": 0.999},
    "sharp": {"epochs": 0, "minutes": 30.0, "ema_decay": 0.999, "adversarial": True},
}
