"""The tasks Sightline can do. ``TASKS`` is the one literal list; everything else asks it by name."""

from core.tasks.detection import DETECTION
from core.tasks.segmentation import SEGMENTATION
from core.tasks.super_resolution import SUPER_RESOLUTION
from core.tasks.task import TaskTable

TASKS = TaskTable((SEGMENTATION, DETECTION, SUPER_RESOLUTION))
