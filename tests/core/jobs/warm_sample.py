"""Handlers for tests of the warm process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from core.errors import LabelError
from core.jobs.warm import Message


def _echo(message: Message) -> Message:
    return Message(
        {"pid": os.getpid(), **message.values}, {name: array * 2 for name, array in message.arrays.items()}
    )


def _refuse(message: Message) -> Message:
    raise LabelError("That label is taken.")


def _fail(message: Message) -> Message:
    raise RuntimeError("secret detail")


def _sleep(message: Message) -> Message:
    time.sleep(message.values["seconds"])
    return Message()


def _die_once(message: Message) -> Message:
    marker = Path(message.values["marker"])
    if not marker.exists():
        marker.touch()
        os._exit(9)
    return Message({"lived": True})


def _die(message: Message) -> Message:
    os._exit(9)


def _eat(message: Message) -> Message:
    kept = [np.ones(2**24) for _ in range(64)]
    time.sleep(30)
    return Message({"kept": len(kept)})


HANDLERS = {
    "echo": _echo, "refuse": _refuse, "fail": _fail, "sleep": _sleep, "die once": _die_once, "die": _die, "eat": _eat,
}  # fmt: skip
