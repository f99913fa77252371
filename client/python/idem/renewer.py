"""A daemon thread for each server renews all claims there, and tries again to store what could not be stored.

A thread, so that a blocked event loop does not lose them; a daemon, so that they end with the process; one a server, so that one
that hangs delays nobody else's renewals. It ends when it has had nothing to do. Renewals that are due at the same time go in one round
trip, so a thousand claims cost no more patience than one; responses go after them, some at a time. A fork leaves the jobs
to the parent.
"""
from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from . import protocol
from .client import Idem
from .protocol import Claimed, Stale, Words
from .report import log, tail

# A third of the lease: two renewals in a row may fail before anybody else gets in.
RENEWALS_IN_A_LEASE = 3
RETRY_S = 0.5  # after a renewal or a STORE that failed
BATCH = 1_000  # commands in one round trip
TRIP_BYTES = 4 * 1024 * 1024  # of responses in one round trip; renewals do not wait longer for them
IDLE_S = 60.0  # without work the thread ends
LATE_BYTES = 64 * 1024 * 1024  # of responses that wait to be stored, in all; over it they are given up


class Job:
    """Something to send again and again. `done` is set by its owner, from any thread."""

    urgent = False  # a lease hangs on it
    size = 0  # bytes, of a large one

    def __init__(self, client: Idem) -> None:
        self.client, self.done = client, False

    def words(self) -> Optional[Words]:
        """None: it is over."""
        raise NotImplementedError

    def heard(self, reply: Any) -> Optional[float]:
        """reply: a value or an exception. Seconds until it is due again; None: it is over."""
        raise NotImplementedError

    def heard_late(self, reply: Any) -> None:
        """It was done while the command was on its way."""


class Renewer:
    """Of one server."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: List[Tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._thread: Optional[threading.Thread] = None
        self._wakes_at = 0.0  # the thread sleeps until then; most claims end before, and wake nobody

    def add(self, job: Job, seconds: float) -> None:
        due = time.monotonic() + seconds
        with self._changed:
            heapq.heappush(self._due, (due, next(self._order), job))
            if self._thread is None:
                self._start()
            elif due < self._wakes_at:
                self._changed.notify()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="idem-renewer", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: whoever comes next tries again
            log.error("claims are not renewed: %s", error)
        else:
            self._thread = thread

    def _run(self) -> None:
        while True:
            jobs = self._take()
            if not jobs:
                return
            try:
                self._turn(jobs)
            except Exception:  # a job's fault must not end the others' renewals
                log.exception("renewing failed")

    def _take(self) -> List[Job]:
        """Awaits what is due next, and takes all that is due by then. Nothing: there has been nothing to do, and the thread is no
        longer this renewer's."""
        with self._changed:
            idle_since = time.monotonic()
            while True:
                now = time.monotonic()
                jobs: List[Job] = []
                self._wakes_at = 0.0
                while self._due and len(jobs) < BATCH and self._due[0][0] <= now:
                    job = heapq.heappop(self._due)[2]
                    if not job.done:
                        jobs.append(job)
                if jobs:
                    return jobs
                if not self._due and now - idle_since >= IDLE_S:
                    self._thread = None
                    return []
                self._wakes_at = self._due[0][0] if self._due else idle_since + IDLE_S
                self._changed.wait(self._wakes_at - now)

    def _turn(self, jobs: List[Job]) -> None:
        urgent = [job for job in jobs if job.urgent]
        if urgent:
            self._send(urgent)
        trip: List[Job] = []
        size = 0
        for job in jobs:
            if job.urgent:
                continue
            if trip and size + job.size > TRIP_BYTES:
                self.add(job, 0)  # after the renewals that are due by then
                continue
            trip.append(job)
            size += job.size
        if trip:
            self._send(trip)

    def _send(self, jobs: List[Job]) -> None:
        """Of all clients of the server: they may differ in their patience."""
        by_client: Dict[Idem, List[Tuple[Job, Words]]] = {}
        for job in jobs:
            words = job.words()
            if words is not None:
                by_client.setdefault(job.client, []).append((job, words))
        for client, pairs in by_client.items():
            try:
                replies = client.send_all(words for _, words in pairs)
            except Exception as error:  # whatever it is: the jobs of all clients go on
                replies = [error] * len(pairs)
            for (job, _), reply in zip(pairs, replies):
                if job.done:
                    job.heard_late(reply)
                    continue
                again = job.heard(reply)
                if again is not None:
                    self.add(job, again)


class Renewers:
    """Of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: Dict[str, Renewer] = {}
        self._late_bytes = 0

    def add(self, job: Job, seconds: float) -> None:
        with self._lock:
            renewer = self._of.setdefault(job.client.url, Renewer())
        renewer.add(job, seconds)

    def hold(self, size: int) -> bool:
        """Room for a response that waits to be stored. False: there is none."""
        with self._lock:
            if self._late_bytes + size > LATE_BYTES:
                return False
            self._late_bytes += size
            return True

    def drop(self, size: int) -> None:
        with self._lock:
            self._late_bytes -= size


RENEWERS = Renewers()


def _after_fork() -> None:
    global RENEWERS
    RENEWERS = Renewers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Renewal(Job):
    """Keeps one claim until it is done, lost, or has run for renew_for_ms."""

    urgent = True

    def __init__(self, client: Idem, key: str, token: int, lease_ms: int, renew_for_ms: int,
                 tell: Any = lambda event: None) -> None:
        super().__init__(client)
        self.lost = self._unsure = self._renewed_late = False
        self.ends_at = 0.0  # monotonic: when the lease that was last granted ends
        self._key, self._token, self._lease_s, self._tell = key, token, lease_ms / 1000, tell
        self._give_up = time.monotonic() + renew_for_ms / 1000
        self._granted()

    def start(self) -> None:
        RENEWERS.add(self, self._lease_s / RENEWALS_IN_A_LEASE)

    def _granted(self) -> None:
        self.ends_at = time.monotonic() + self._lease_s

    def words(self) -> Optional[Words]:
        if time.monotonic() < self._give_up:
            return ["IDEM.RENEW", self._key, self._token]
        log.warning("record %s: its work still runs, and is no longer renewed", tail(self._key))
        self._tell("renewal_failed")
        return None

    def ended_unsure(self) -> None:
        """The claim has ended, and may have acted. A RENEW that was on its way would have made it HELD again."""
        self._unsure = True
        if self._renewed_late:
            self._release_again()

    def heard_late(self, reply: Any) -> None:
        self._renewed_late = not isinstance(reply, Exception)
        if self._renewed_late and self._unsure:
            self._release_again()

    def _release_again(self) -> None:
        RENEWERS.add(Repeat(self.client, protocol.release(self._key, self._token, unsure=True)), 0)

    def heard(self, reply: Any) -> Optional[float]:
        if isinstance(reply, Stale):
            self.lost = True
            log.error("record %s: another caller has taken over while its work runs: %s", tail(self._key), reply)
            self._tell("lost")
            return None
        if isinstance(reply, Exception):
            log.warning("record %s: could not be renewed, will be tried again: %s", tail(self._key), reply)
            self._tell("renewal_failed")
            return min(RETRY_S, self._lease_s / RENEWALS_IN_A_LEASE)
        self._granted()
        return self._lease_s / RENEWALS_IN_A_LEASE


class Repeat(Job):
    """A command that is sent once more, with the next round."""

    def __init__(self, client: Idem, words: Words) -> None:
        super().__init__(client)
        self._words = words

    def words(self) -> Optional[Words]:
        return self._words

    def heard(self, reply: Any) -> Optional[float]:
        return None


class GiveBack(Job):
    """A CLAIM whose answer was lost, or which nobody awaits any more: its grant, if there is one, is asked for again by its
    OWNER and released. Until its lease would have ended."""

    def __init__(self, client: Idem, key: str, words: Words, lease_ms: int) -> None:
        super().__init__(client)
        self._key, self._words = key, words
        self._ends_at = time.monotonic() + lease_ms / 1000
        self.size = sum(len(word) for word in words if isinstance(word, (str, bytes)))

    def start(self) -> None:
        if RENEWERS.hold(self.size):
            RENEWERS.add(self, RETRY_S)

    def words(self) -> Optional[Words]:
        if time.monotonic() < self._ends_at:
            return self._words
        RENEWERS.drop(self.size)
        return None

    def heard(self, reply: Any) -> Optional[float]:
        if isinstance(reply, protocol.Unavailable):
            return RETRY_S
        if isinstance(reply, list) and reply and reply[0] == b"CLAIMED":
            self._words = protocol.release(self._key, Claimed._make(reply[1:5]).token)
            return 0
        RENEWERS.drop(self.size)
        return None


class LateStore(Job):
    """A STORE that failed, tried again until the lease would have ended."""

    def __init__(self, client: Idem, key: str, words: Words, ends_at: float, tell: Any) -> None:
        super().__init__(client)
        self._key, self._words, self._ends_at, self._tell = key, words, ends_at, tell
        self.size = sum(len(word) for word in words if isinstance(word, (str, bytes)))

    def start(self) -> bool:
        if not RENEWERS.hold(self.size):
            return False
        RENEWERS.add(self, RETRY_S)
        return True

    def words(self) -> Optional[Words]:
        if time.monotonic() < self._ends_at:
            return self._words
        RENEWERS.drop(self.size)
        return None

    def heard(self, reply: Any) -> Optional[float]:
        if isinstance(reply, Exception) and not isinstance(reply, Stale):
            return RETRY_S
        if isinstance(reply, Stale):
            log.error("record %s: its response is NOT stored: %s", tail(self._key), reply)
        else:
            log.warning("record %s: its response is stored now", tail(self._key))
            self._tell("stored")
        RENEWERS.drop(self.size)
        return None
