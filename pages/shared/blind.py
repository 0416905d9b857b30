"""Blind reading, for the person at the screen; see ``core.workspace.blind``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.workspace import blind
from pages.shared.state import user_name, workspace

if TYPE_CHECKING:
    from core.workspace.records import Project, ReadingVersion

BLIND = "Readers of this project are blind to each other: read this case to see what others saw."


def sees_others(project: Project, case_id: int) -> bool:
    """Tell whether the person at the screen may see other people's readings of a case."""
    return blind.sees_others(workspace(), project, case_id, user_name())


def sees_reading(version: ReadingVersion) -> bool:
    """Tell whether the person at the screen may see a reading."""
    return blind.sees_reading(workspace(), version, user_name())
