"""The commands of idem as words, its replies as named tuples, its refusals as exceptions.

Knows no socket and no framework, so the synchronous and the asynchronous client say the same.
proto/PROTOCOL.md is the manual of what a command means. Durations are whole milliseconds. A server's
text (a body, a stage, an owner) is bytes.
"""
from __future__ import annotations

import time
import uuid
from typing import Any, Dict, List, NamedTuple, Optional, Union

Text = Union[str, bytes]
Words = List[Union[str, bytes, int]]


# ---- replies ----

class Claimed(NamedTuple):
    """Run it. `token` is the fencing number of this grant: what the work writes to can refuse a lower one."""
    token: int
    lease_ms: int
    attempt: int  # 1 + the number of earlier grants that may have acted
    stage: Optional[bytes]  # what a former owner left


class Done(NamedTuple):
    """It ran; replay this."""
    body: bytes
    meta: Optional[bytes]
    age_ms: int
    ttl_left_ms: int


class Busy(NamedTuple):
    """Another one runs it."""
    lease_left_ms: int
    age_ms: int
    owner: Optional[bytes]
    stage: Optional[bytes]


class Unknown(NamedTuple):
    """It may have run: its owner vanished, or was unsure, and had asked (hold) that nobody run it again before
    somebody has looked. Who has looked uses the token: store() if it ran, release(clear=True) if it did
    nothing, claim(takeover=token) to run it."""
    token: int
    age_ms: int
    attempt: int
    owner: Optional[bytes]
    stage: Optional[bytes]


class Lapsed(NamedTuple):
    """It may have run, and nobody runs it: the next claim does, as a later attempt."""
    token: int
    age_ms: int
    attempt: int
    owner: Optional[bytes]
    stage: Optional[bytes]


Outcome = Union[Claimed, Done, Busy, Unknown]
Record = Union[Done, Busy, Unknown, Lapsed, None]
_SHAPES: Dict[bytes, Any] = {b"CLAIMED": Claimed, b"DONE": Done, b"BUSY": Busy, b"UNKNOWN": Unknown,
                             b"LAPSED": Lapsed}


# ---- refusals ----

class IdemError(Exception):
    """The server refused the command. Subclasses are the refusals that a caller tells apart."""


class Unavailable(IdemError):
    """No answer. Whether the work may run is unknown, so it must not."""


class Mismatch(IdemError):
    """The key belongs to another request: its fingerprint differs."""


class Stale(IdemError):
    """The token is not the current owner's. The second word of the text says what became of the key: OVERTAKEN
    (another one has it), STORED (it has a response), ABSENT."""


class Conflict(IdemError):
    """This grant has already stored other bytes."""


class TooBig(IdemError):
    """An argument is over the server's limit for it."""


class BusyKey(IdemError):
    """Too many wait for this key already."""


class BornAhead(IdemError):
    """born_ms is later than the server's clock."""


class Forgotten(IdemError):
    """The request may have run already: what was born up to `horizon_ms` (unix time) the server may have forgotten.
    Who knows better claims without born_ms."""

    def __init__(self, horizon_ms: int) -> None:
        super().__init__(f"requests born up to {horizon_ms} may be forgotten")
        self.horizon_ms = horizon_ms


_REFUSALS: Dict[str, Any] = {"MISMATCH": Mismatch, "STALE": Stale, "CONFLICT": Conflict, "TOOBIG": TooBig,
                             "BUSYKEY": BusyKey}


def refusal(text: str) -> IdemError:
    """The exception for the text of an error reply. redis-py has cut the code ERR off."""
    if text.removeprefix("ERR ").startswith("BORN is later"):
        return BornAhead(text)
    kind = _REFUSALS.get(text.partition(" ")[0], IdemError)
    error: IdemError = kind(text)
    return error


def record(reply: Any) -> Any:
    """The named tuple of a reply of CLAIM, FETCH or WAIT; None: absent. Raises Forgotten."""
    if reply is None:
        return None
    status = reply[0] if isinstance(reply, list) and reply else None
    if status == b"FORGOTTEN":
        raise Forgotten(reply[1])
    shape = _SHAPES.get(status) if isinstance(status, bytes) else None
    if shape is None or len(reply) <= len(shape._fields):
        raise IdemError("not a reply of idem: is this another server?")
    return shape._make(reply[1:1 + len(shape._fields)])


# ---- commands ----

def new_owner() -> str:
    """The name of one call, made before its first try."""
    return uuid.uuid4().hex


def _options(given: Dict[str, Any]) -> Words:
    return [word for pair in given.items() if pair[1] is not None for word in pair]


def claim(key: Text, *, owner: Text, fingerprint: Optional[bytes] = None, lease_ms: Optional[int] = None,
          born_ms: Optional[int] = None, hold: bool = False, takeover: Optional[int] = None) -> Words:
    options = {"FP": fingerprint, "LEASE": lease_ms, "BORN": born_ms, "TAKEOVER": takeover}
    return ["IDEM.CLAIM", key, "OWNER", owner, *_options(options), *["HOLD"] * hold]


def store(key: Text, token: int, body: Text, *, ttl_ms: Optional[int] = None, meta: Optional[Text] = None,
          unsure: bool = False) -> Words:
    return ["IDEM.STORE", key, token, body, *_options({"TTL": ttl_ms, "META": meta}), *["UNSURE"] * unsure]


def renew(key: Text, token: int, *, lease_ms: Optional[int] = None, stage: Optional[Text] = None) -> Words:
    return ["IDEM.RENEW", key, token, *_options({"LEASE": lease_ms, "STAGE": stage})]


def release(key: Text, token: int, *, unsure: bool = False, clear: bool = False) -> Words:
    return ["IDEM.RELEASE", key, token, *["UNSURE"] * unsure, *["CLEAR"] * clear]


def fetch(key: Text, *, fingerprint: Optional[bytes] = None) -> Words:
    return ["IDEM.FETCH", key, *_options({"FP": fingerprint})]


# ---- time ----

class Deadline:
    """What is left of a wait. On the wire no WAIT means: do not wait; WAIT 0 would mean the longest."""

    def __init__(self, wait_ms: int) -> None:
        self._until = time.monotonic() + wait_ms / 1000

    def words(self) -> Words:
        return ["WAIT", self.left_ms()]

    def left_ms(self) -> int:
        return max(1, int((self._until - time.monotonic()) * 1000))
