"""Detection against the protocol in ``core.tasks.task``. Imports nothing heavy; its functions do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from core.errors import TrainingError
from core.learning.snapshot import Snapshot
from core.readings.export import Exporter
from core.readings.reading import Boxes, Reading, ReadingKind
from core.tasks.detection.presets import PRESETS
from core.tasks.detection.settings import DetectionSettings, settings_from_text
from core.tasks.task import (
    Curve,
    MetricInfo,
    OnEvent,
    Predictor,
    ReadPair,
    ShouldStop,
    TrainingRequest,
    TrainingResult,
)
from core.types import Image, Label
