"""Detection: where objects are, of which label, and how sure the model is."""

from core.tasks.detection.task import DetectionTask

DETECTION = DetectionTask()
