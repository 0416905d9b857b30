"""Blind reading: in a project that says so, what other people saw in a case is shown only to who has read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.workspace.records import Project, ReadingVersion
    from core.workspace.workspace import Workspace


def sees_others(workspace: Workspace, project: Project, case_id: int, person: str) -> bool:
    """Tell whether a person may see other people's readings of a case."""
    return not project.blind or workspace.latest_reading(case_id, person) is not None


def sees_reading(workspace: Workspace, version: ReadingVersion, person: str) -> bool:
    """Tell whether a person may see a reading: a model's and one's own (also under "name (2)") always."""
    name = version.reader_name
    if version.kind == "model" or name == person or (name.startswith(f"{person} (") and name.endswith(")")):
        return True
    project = workspace.get_project(workspace.get_case(version.case_id).project_id)
    return sees_others(workspace, project, version.case_id, person)
