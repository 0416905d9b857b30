"""A form made from a settings model: one widget per field, so that a new setting needs no page."""

from __future__ import annotations

from types import NoneType
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

AUTO = "auto"
ON_OFF = {AUTO: None, "on": True, "off": False}


def groups_of(settings_type: type[BaseModel]) -> dict[str, list[str]]:
    """Return group title -> field names, in the model's own order."""
    groups: dict[str, list[str]] = {}
    for name, field in settings_type.model_fields.items():
        groups.setdefault(str(_extra(field).get("group", "Settings")), []).append(name)
    return groups


def setting(settings_type: type[BaseModel], name: str, start: Any, key: str) -> Any:
    """Show the widget of one setting and return its value.

    Args:
        settings_type: the task's settings model.
        name: the field.
        start: value shown first.
        key: the widget's key; another key (another preset) starts anew.
    """
    field = settings_type.model_fields[name]
    title = name.replace("_", " ").capitalize()
    kinds = _kinds(field)
    if Literal in kinds:
        choices = [choice for kind in get_args_of(field) for choice in get_args(kind)]
        return st.selectbox(title, choices, choices.index(start), key=key, help=field.description)
    if bool in kinds and NoneType in kinds:
        shown = next(word for word, value in ON_OFF.items() if value is start)
        return ON_OFF[
            st.selectbox(title, list(ON_OFF), list(ON_OFF).index(shown), key=key, help=field.description)
        ]
    if bool in kinds:
        return st.toggle(title, start, key=key, help=field.description)
    if str in kinds:
        return _text(field, title, str(start), key)
    return _number(field, title, start, key)


def _text(field: FieldInfo, title: str, start: str, key: str) -> str:
    suggestions = [str(one) for one in _extra(field).get("suggestions") or []]
    if not suggestions:
        return st.text_input(title, start, key=key, help=field.description)
    options = suggestions if start in suggestions else [start, *suggestions]
    chosen = st.selectbox(
        title, options, options.index(start), key=key, help=field.description, accept_new_options=True
    )
    return str(chosen or start)


def _number(field: FieldInfo, title: str, start: float | None, key: str) -> float | int | None:
    low, high = _limits(field)
    if int in _kinds(field):
        whole_high = None if high is None else int(high)
        whole = None if start is None and NoneType in _kinds(field) else int(start or 0)
        return st.number_input(
            title,
            int(low or 0),
            whole_high,
            whole,
            1,
            "%d",
            key=key,
            placeholder=AUTO,
            help=field.description,
        )
    small = high is None or high <= 1
    begin: Any = None if start is None else float(start)  # None shows the placeholder
    return st.number_input(
        title,
        min_value=low,
        max_value=high,
        value=begin,
        step=0.0001 if small else 0.5,
        format="%.4g" if small else "%.3g",
        placeholder=AUTO,
        key=key,
        help=field.description,
    )


def _limits(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the least and greatest value; an open end moves in by a little."""
    low = high = None
    for limit in field.metadata:
        low = _as_float(getattr(limit, "ge", low))
        high = _as_float(getattr(limit, "le", high))
        if getattr(limit, "gt", None) is not None:
            low = limit.gt + 1e-8
        if getattr(limit, "lt", None) is not None:
            high = limit.lt - 1e-6
    return low, high


def _as_float(limit: Any) -> float | None:
    return None if limit is None else float(limit)


def _kinds(field: FieldInfo) -> set[Any]:
    """Return the plain types a field takes; ``Literal`` stands for a list of choices."""
    return {get_origin(kind) or kind for kind in get_args_of(field)}


def get_args_of(field: FieldInfo) -> tuple[Any, ...]:
    """Return the members of a field's union, or its one type."""
    if get_origin(field.annotation) is Literal:
        return (field.annotation,)
    return get_args(field.annotation) or (field.annotation,)


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
