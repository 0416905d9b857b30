"""The super-resolution task: which finer image would have given this one."""

from core.tasks.super_resolution.task import SUPER_RESOLUTION

__all__ = ["SUPER_RESOLUTION"]
