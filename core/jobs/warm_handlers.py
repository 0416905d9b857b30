"""What a warm process can be asked for. Heavy libraries are imported when something is first asked."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from core.jobs.warm import Message

WarmHandler = Callable[[Message], Message]


def _late(module: str, function: str) -> WarmHandler:
    """Return a handler whose module is imported when it is first called."""

    def handle(message: Message) -> Message:
        result: Message = getattr(import_module(module), function)(message)
        return result

    return handle


WARM_HANDLERS: dict[str, WarmHandler] = {
    "assist": _late("core.jobs.assisting", "assist"),
    "add_promptable": _late("core.jobs.prompting", "take_in"),
    "suggest": _late("core.jobs.suggesting", "suggest"),
}
