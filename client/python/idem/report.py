"""What is said: the logger `idem`, and events for metrics.

Never a client's key, a fingerprint, a body or a header; a record is named by the last characters of its key.
"""
from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Dict, Optional

log = logging.getLogger("idem")
NAME_CHARACTERS = 8


def tail(record: str) -> str:
    return record[-NAME_CHARACTERS:]


class Seldom:
    """An ERROR that would come with every request: at most one a second, with a count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next, self._count = 0.0, 0

    def error(self, text: str, *args: Any) -> None:
        with self._lock:
            self._count += 1
            if time.monotonic() < self._next:
                return
            self._next, count, self._count = time.monotonic() + 1, self._count, 0
        log.error(text + " (%d since the last such line)", *args, count)


class Once:
    """A WARNING that is said once a process."""

    def __init__(self) -> None:
        self._said = False

    def warning(self, text: str) -> None:
        if not self._said:
            self._said = True
            log.warning(text)


class Events:
    """Calls on_event; what it raises is logged and ignored."""

    def __init__(self, on_event: Optional[Callable[[str, Dict[str, Any]], None]]) -> None:
        self._on_event = on_event

    def tell(self, name: str, fields: Dict[str, Any]) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(name, fields)
        except Exception:
            log.exception("on_event raised")
