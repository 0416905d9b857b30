"""Who has a reading open right now: told by the browsers every few seconds, forgotten soon after they stop."""

from __future__ import annotations

import threading
import time

FORGET_SECONDS = 25.0


class Presence:
    """Browser tabs by reading. In memory only: after a restart they tell again."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], dict[str, float]] = {}
        self._lock = threading.Lock()

    def beat(self, case_id: int, reader: str, client: str, now: float | None = None) -> int:
        """Note that a tab has a reading open; returns how many others have."""
        moment = time.monotonic() if now is None else now
        with self._lock:
            tabs = self._seen.setdefault((case_id, reader), {})
            if client:
                tabs[client] = moment
            for gone in [name for name, last in tabs.items() if moment - last > FORGET_SECONDS]:
                del tabs[gone]
            others = len(tabs.keys() - {client})
            if not tabs:
                del self._seen[case_id, reader]
            return others

    def leave(self, case_id: int, reader: str, client: str) -> None:
        """Note that a tab has closed a reading."""
        with self._lock:
            self._seen.get((case_id, reader), {}).pop(client, None)


PRESENCE = Presence()
