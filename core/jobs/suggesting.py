"""The next case, in the warm process: what readings and images say of the cases a reader has not read."""

from __future__ import annotations

import random
import time
from functools import lru_cache
from typing import Any

from core.assist.levels import FloatArray
from core.assist.suggest import Candidate, disagreement, rank_cases, sign_image, unsureness
from core.errors import SightlineError
from core.jobs.assisting import open_store
from core.jobs.warm import Message
from core.readings.reading import Reading
from core.workspace.records import Case, ReadingVersion

MOST_CANDIDATES = 300  # cases looked at for one suggestion
LOOK_SECONDS = (
    8.0  # after that, the cases looked at so far are ordered; what was found out is kept for the next time
)
TOLD = 5


def suggest(message: Message) -> Message:
    """Return the cases that teach most: ``project``, ``reader``, ``current`` (a case to pass over), ``seed``,
    ``blind`` (True leaves out what other people saw).

    Cases that were not looked at in time take part the next time: the order they are looked at in is by chance.
    """
    asked = message.values
    store = open_store()
    project_id, reader = int(asked["project"]), str(asked["reader"])
    read = store.readings_of(project_id, reader)
    cases = store.list_cases(project_id)
    chance = random.Random(int(asked.get("seed", 0)))
    unread = [case for case in cases if case.id not in read and case.id != asked.get("current")]
    chance.shuffle(unread)
    known = [case for case in cases if case.id in read]
    chance.shuffle(known)
    others = _readings_by_case(project_id, reader, bool(asked.get("blind")))
    until = time.monotonic() + LOOK_SECONDS
    signatures = [found for case in known[:MOST_CANDIDATES] if (found := _signature(case, until)) is not None]
    candidates = []
    for case in unread[:MOST_CANDIDATES]:
        signature = _signature(case, until + LOOK_SECONDS / 2)
        if signature is not None:
            candidates.append(_candidate(case, signature, others.get(case.id, []), until + LOOK_SECONDS))
    order = rank_cases(candidates, signatures)[:TOLD]
    rows = [{"case": one.case_id, "reason": one.reason, "score": one.score} for one in order]
    return Message({"suggestions": rows, "left": len(unread)})


def _readings_by_case(project_id: int, reader: str, blind: bool) -> dict[int, list[ReadingVersion]]:
    store = open_store()
    found: dict[int, list[ReadingVersion]] = {}
    for other in store.list_readers(project_id):
        if other.name == reader or (blind and other.kind == "person"):
            continue
        for case_id, version in store.readings_of(project_id, other.name).items():
            found.setdefault(case_id, []).append(version)
    return found


def _candidate(case: Case, signature: FloatArray, versions: list[ReadingVersion], until: float) -> Candidate:
    if time.monotonic() > until:
        return Candidate(case.id, signature)
    doubts = [
        value for one in versions if one.has_probabilities and (value := _unsureness(one.id)) is not None
    ]
    split = _disagreement(tuple(sorted(one.id for one in versions))) if len(versions) > 1 else None
    return Candidate(case.id, signature, max(doubts) if doubts else None, split)


def _signature(case: Case, until: float) -> FloatArray | None:
    return _signature_of(case.image_id) if time.monotonic() < until else _known_signatures.get(case.image_id)


_known_signatures: dict[int, FloatArray] = {}


def _signature_of(image_id: int) -> FloatArray:
    if image_id not in _known_signatures:
        _known_signatures[image_id] = sign_image(open_store().load_image_by_id(image_id))
    return _known_signatures[image_id]


def _load(version_id: int, with_probabilities: bool) -> Reading | None:
    store = open_store()
    try:
        return store.load_reading(store.get_version(version_id), with_probabilities)
    except SightlineError:  # deleted or damaged meanwhile: it has no say
        return None


@lru_cache(maxsize=20_000)
def _unsureness(version_id: int) -> float | None:
    reading = _load(version_id, True)
    return None if reading is None else unsureness(reading)


@lru_cache(maxsize=20_000)
def _disagreement(version_ids: tuple[int, ...]) -> float | None:
    readings: list[Any] = [one for version in version_ids if (one := _load(version, False)) is not None]
    return disagreement(readings)
