"""Blind reading: what other people saw in a case is shown only to who has read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pages.shared.state import user_name, workspace

if TYPE_CHECKING:
    from core.workspace.records import Project


def sees_others(project: Project, case_id: int) -> bool:
    """Tell whether the person at the screen may see other people's readings of a case."""
    return not project.blind or workspace().latest_reading(case_id, user_name()) is not None
