"""For work without HTTP: jobs, Celery tasks, scripts. A decorator and a context manager, for functions and coroutines.

    jobs = Jobs(lease_ms=60_000, hold=True)

    @jobs.once("charge", key=lambda order: order)
    def charge(order): ...

Name and key together are the record; the package for Node makes the same one of them. Results are JSON. The claim is renewed while the work runs. An exception is not "it did not happen": the next one is told attempt
2, or with hold nobody runs it before somebody has looked; work that *knows* that it did nothing raises DidNothing.
"""
from __future__ import annotations

import asyncio
import functools
import inspect
import json
import threading
from types import TracebackType
from typing import Any, Callable, Optional, Type, Union

from . import protocol
from .aio import AsyncIdem
from .claims import AsyncClaim, Claim, DidNothing
from .client import Idem
from .protocol import Busy, Claimed, Done, IdemError, Mismatch, Stale, TooBig, Unavailable, Unknown
from .renewer import GiveBack, LateStore
from .report import log, tail
from .settings import DAY_MS, SettingsError, check_range

META = b'[1,"job"]'  # of a result of a job
META_NOT_KEPT = b'[1,"job",null]'
NAME_LIMIT = 256  # characters
RECORD_LIMIT = 1024  # bytes, the server's default for a key


def _escaped(what: str, text: Any) -> str:
    """Without the colon that ends it. Raises SettingsError."""
    if not isinstance(text, str) or not 1 <= len(text) <= NAME_LIMIT:
        raise SettingsError(f"{what} has to be a text of 1 to {NAME_LIMIT} characters, not {text!r}")
    return text.replace("%", "%25").replace(":", "%3A")


def record_of(prefix: str, name: str, key: Union[str, int]) -> str:
    """No two triples share a record. Raises SettingsError, TypeError, ValueError."""
    if isinstance(key, bool) or not isinstance(key, (str, int)) or key == "":
        raise TypeError(f"the key of a job has to be a text or a whole number, not {type(key).__name__} {key!r}")
    record = f"{_escaped('prefix', prefix)}:{_escaped('name', name)}:{key}"
    try:
        size = len(record.encode())
    except UnicodeEncodeError as error:
        raise TypeError(f"the key of a job: {error.reason}") from None
    if size > RECORD_LIMIT:
        raise ValueError(f"prefix, name and key of a job have at most {RECORD_LIMIT} bytes, not {size}")
    return record


class InProgress(IdemError):
    """Another one runs it. `lease_left_ms`: after so long it is replaced, if it is silent."""

    def __init__(self, busy: Busy) -> None:
        super().__init__("another one runs it")
        self.lease_left_ms = busy.lease_left_ms


class OutcomeUnknown(IdemError):
    """It may have run, and had asked that nobody run it again before somebody has looked. `token` settles it:
    Idem.store, Idem.release(clear=True), or Idem.claim(takeover=token)."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__("it may have run: somebody has to look")
        self.token = unknown.token


class ResultNotKept(IdemError):
    """It ran, and does not run again; its result was too big for the server."""


class Jobs:
    """Settings for a kind of work. Connections are opened at first use, and again after a fork.

    url: None: IDEM_URL, else redis://127.0.0.1:4336. prefix: first part of every key. lease_ms: after so long a dead process is
    replaced. renew_for_ms: work that hangs is no longer renewed then. ttl_ms: how long a result is kept. wait_ms: how long one
    that comes second waits for the first. hold: what may have run is not run again. Raises SettingsError.
    """

    def __init__(self, url: Optional[str] = None, *, prefix: str = "job", lease_ms: int = 15_000,
                 renew_for_ms: int = DAY_MS, ttl_ms: int = DAY_MS, wait_ms: int = 0, hold: bool = False,
                 timeout_ms: int = 2_000) -> None:
        for name, value in (("lease_ms", lease_ms), ("renew_for_ms", renew_for_ms), ("ttl_ms", ttl_ms),
                            ("wait_ms", wait_ms), ("timeout_ms", timeout_ms)):
            check_range(name, value)
        record_of(prefix, "name", 0)
        self.client = Idem(url, timeout_ms=timeout_ms)
        self.prefix, self.lease_ms, self.renew_for_ms = prefix, lease_ms, renew_for_ms
        self.ttl_ms, self.wait_ms, self.hold = ttl_ms, wait_ms, hold

    def close(self) -> None:
        self.client.close()

    def claim(self, name: str, key: Union[str, int], *, fingerprint: Optional[bytes] = None,
              born_ms: Optional[int] = None) -> "Work":
        """For `with` and `async with`. name: of the kind of work, key: which one of it; with the prefix at most 1,024 bytes.
        Raises InProgress, OutcomeUnknown, ResultNotKept, Mismatch, Forgotten, Unavailable."""
        return Work(self, record_of(self.prefix, name, key), fingerprint, born_ms)

    def once(self, name: str, key: Callable[..., Union[str, int]]) -> Callable[[Any], Any]:
        """Decorator. name: stays when the function gets another one, or what ran would run again. key: gets the arguments.
        The function returns what JSON can hold, and so do its repeats. Raises SettingsError."""
        record_of(self.prefix, name, 0)

        def decorate(function: Any) -> Any:
            if inspect.iscoroutinefunction(function):
                @functools.wraps(function)
                async def run_async(*args: Any, **kwargs: Any) -> Any:
                    async with self.claim(name, key(*args, **kwargs)) as work:
                        if not work.done:
                            work.result = await function(*args, **kwargs)
                    return work.result
                return run_async

            @functools.wraps(function)
            def run(*args: Any, **kwargs: Any) -> Any:
                with self.claim(name, key(*args, **kwargs)) as work:
                    if not work.done:
                        work.result = function(*args, **kwargs)
                return work.result
            return run
        return decorate


class Work:
    """One claim. `done`: it ran before, and `result` is what it gave; else set `result`, and use `claim` (its token, attempt,
    stage, lost, set_stage)."""

    def __init__(self, jobs: Jobs, key: str, fingerprint: Optional[bytes], born_ms: Optional[int]) -> None:
        self.done, self.result = False, None  # type: bool, Any
        self.claim: Optional[Claim] = None
        self._jobs, self._key = jobs, key
        self._words = protocol.claim(key, owner=protocol.new_owner(), fingerprint=fingerprint, lease_ms=jobs.lease_ms,
                                     born_ms=born_ms, hold=jobs.hold)

    def __enter__(self) -> "Work":
        client = self._jobs.client
        try:
            outcome = protocol.record(client.send(self._words))
            if isinstance(outcome, Busy) and self._jobs.wait_ms:
                outcome = client.wait_to_claim(self._words, self._jobs.wait_ms)
        except Unavailable:
            self._give_back()
            raise
        return self._begin(outcome, Claim)

    def _give_back(self) -> None:
        GiveBack(self._jobs.client, self._key, self._words, self._jobs.lease_ms).start()

    def __exit__(self, _kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 _trace: Optional[TracebackType]) -> None:
        self._end(error)

    async def __aenter__(self) -> "Work":
        cancelled = threading.Event()
        try:
            outcome = protocol.record(await asyncio.to_thread(self._ask, cancelled))
            if isinstance(outcome, Busy) and self._jobs.wait_ms:
                client = AsyncIdem(self._jobs.client.url, timeout_ms=self._jobs.client.timeout_ms)
                try:
                    outcome = await client.wait_to_claim(self._words, self._jobs.wait_ms)
                finally:
                    await client.close()
        except (asyncio.CancelledError, Unavailable):
            cancelled.set()  # before: who looks at it later gives back what came later
            self._give_back()
            raise
        return self._begin(outcome, AsyncClaim)

    def _ask(self, cancelled: threading.Event) -> Any:
        """In a thread, which no cancellation ends."""
        reply = self._jobs.client.send(self._words)
        if cancelled.is_set():
            self._give_back()
        return reply

    async def __aexit__(self, _kind: Optional[Type[BaseException]], error: Optional[BaseException],
                        _trace: Optional[TracebackType]) -> None:
        # A claim's end is not interrupted by a cancellation.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._end, error))

    def _begin(self, outcome: Any, kind: Type[Claim]) -> "Work":
        if isinstance(outcome, Busy):
            raise InProgress(outcome)
        if isinstance(outcome, Unknown):
            raise OutcomeUnknown(outcome)
        if isinstance(outcome, Done):
            self.done, self.result = True, self._result(outcome)
        elif isinstance(outcome, Claimed):
            self.claim = kind(self._jobs.client, self._key, outcome, self._jobs.renew_for_ms)
            if isinstance(self.claim, AsyncClaim):
                self.claim.sender = functools.partial(asyncio.to_thread, self._jobs.client.send)
        return self

    @staticmethod
    def _result(done: Done) -> Any:
        if done.meta == META_NOT_KEPT:
            raise ResultNotKept("it ran, but its result was too big to be kept")
        if done.meta != META:
            raise Mismatch("what is stored under this key is no result of a job")
        return json.loads(done.body) if done.body else None  # Node's undefined

    def _end(self, error: Optional[BaseException]) -> None:
        if self.claim is None or not self.claim.end():
            return
        if error is None and not self.claim.nothing:
            self._store(self.claim)
        else:
            self._release(self.claim, unsure=not (self.claim.nothing or isinstance(error, DidNothing)))

    def _store(self, claim: Claim) -> None:
        try:
            body = json.dumps(self.result).encode()
        except (TypeError, ValueError):
            self._release(claim, unsure=True)
            raise
        self._send_result(claim, body, META)

    def _send_result(self, claim: Claim, body: bytes, meta: bytes) -> None:
        kept = self._jobs.ttl_ms if claim.kept is True else 0 if claim.kept is False else claim.kept
        words = protocol.store(claim.key, claim.token, body, ttl_ms=kept, meta=meta)
        try:
            self._jobs.client.send(words)
        except Stale as error:
            log.error("record %s: another caller took over, this result is not stored: %s", tail(claim.key), error)
            self._take_theirs()
        except TooBig as error:
            if meta == META_NOT_KEPT:
                log.error("record %s: its result is NOT stored: %s", tail(claim.key), error)
                return
            log.error("record %s: its result is not kept: %s", tail(claim.key), error)
            self._send_result(claim, b"", META_NOT_KEPT)
        except IdemError as error:  # the work is done all the same
            log.error("record %s: its result is NOT stored: %s", tail(claim.key), error)
            LateStore(self._jobs.client, claim.key, words, claim.renewal.ends_at, claim.tell).start()

    def _take_theirs(self) -> None:
        """One key, one result."""
        try:
            found = self._jobs.client.fetch(self._key)
        except IdemError:
            return
        if isinstance(found, Done) and found.meta == META:
            self.result = self._result(found)

    def _release(self, claim: Claim, unsure: bool) -> None:
        if claim.is_of_parent():
            return
        try:
            self._jobs.client.release(claim.key, claim.token, unsure=unsure)
            if unsure:
                claim.renewal.ended_unsure()
        except IdemError as error:
            log.error("record %s: it is not released, its lease runs on: %s", tail(claim.key), error)
