"""Segmentation: which pixels belong to which label."""

from core.tasks.segmentation.task import SegmentationTask

SEGMENTATION = SegmentationTask()
