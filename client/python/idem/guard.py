"""The middleware without a framework: what a request's key leads to, and what becomes of its claim.

An adapter (wsgi, flask, django, asgi) asks in this order, and decides itself how it waits for each step:

    key = guard.key_of(view)                 None: pass it on unguarded
    plan = guard.plan(view, key, body)       after the body was read
    outcome = guard.ask(plan)                the CLAIM; blocks
    begun = guard.begin(plan, outcome)       a Claim: run the handler; an Answer: send it; None: run unguarded
    other = guard.answered(claim, ...)       after the handler; blocks. An Answer: send it in place of the handler's
    or guard.raised(claim), guard.left(claim)

Refused is raised with the answer to give. Keeps these rules: no answer of the server means 503, never "just run it" (but with
fail_open); a response is stored, then sent; an error does not prove that nothing happened.
"""
from __future__ import annotations

import inspect
import os
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, Union

from . import protocol
from .claims import Claim, DidNothing
from .client import Idem
from .protocol import (BornAhead, Busy, BusyKey, Claimed, Done, Forgotten, IdemError, Mismatch, Stale, TooBig,
                       Unavailable, Unknown, Words)
from .renewer import GiveBack, LateStore
from .report import Events, Once, Seldom, log, tail
from .request import (BadKey, Body, View, born_of_header, born_of_key, checked_key, fingerprint, key_from_header,
                      record_key, scope_of_authorization, scope_text)
from .response import RETRYABLE, Answer, Headers, NotKept, OtherVersion, Problems, pack_meta, replayable, storable, unpack
from .settings import SAFE, Route, Settings

Asked = Union[Claimed, Done, Busy, Unknown, IdemError]


class Refused(Exception):
    """Carries the answer that is given instead of running the handler."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Engine:
    """What all guards of one middleware share in a process: the server, and who waits."""

    def __init__(self, settings: Settings) -> None:
        self.client = Idem(settings.url, timeout_ms=settings.timeout_ms)
        self.max_waiting = settings.max_waiting
        self.refusals, self.no_scope = Seldom(), Once()
        self._pid, self._waiting, self._lock = os.getpid(), 0, threading.Lock()

    def enter(self) -> bool:
        """False: as many wait as may."""
        if self._pid != os.getpid():  # those of the parent do not wait here, and its lock may be held for ever
            self._pid, self._waiting, self._lock = os.getpid(), 0, threading.Lock()
        with self._lock:
            if self._waiting >= self.max_waiting:
                return False
            self._waiting += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._waiting -= 1


@dataclass
class Plan:
    """A CLAIM that is ready to be sent."""
    record: str
    words: Words
    about: Tuple[str, str]
    began: float


class Guard:
    """One set of settings in front of an engine. Safe to share between threads."""

    def __init__(self, settings: Settings, engine: Optional[Engine] = None, *, key_field: Optional[str] = None,
                 unguarded: Any = SAFE, claim_class: Type[Claim] = Claim) -> None:
        self.settings = settings
        self.engine = engine or Engine(settings)
        self.problems = Problems(settings.problem_base, settings.docs_url)
        self.events = Events(settings.on_event)
        self._header = settings.header.lower()
        self._key_field, self._unguarded, self._claim_class = key_field, unguarded, claim_class
        self._routes: Dict[Route, Guard] = {}
        self._all: Tuple[int, List[Guard]] = 0, [self]  # with the guards of so many declared routes

    def for_route(self, route: Optional[Route]) -> "Guard":
        """The guard with a route's own settings; they share the engine."""
        if route is None:
            return self
        if route not in self._routes:
            guard = Guard(self.settings.for_route(route.given), self.engine, key_field=self._key_field,
                          unguarded=self._unguarded, claim_class=self._claim_class)
            self._routes.setdefault(route, guard)  # another thread may have been faster
        return self._routes[route]

    def any_route(self) -> List["Guard"]:
        """This one and those of all routes with settings of their own: before a request has found its view."""
        declared, guards = self._all
        if declared != len(Route.declared):
            declared = len(Route.declared)
            guards = [self, *map(self.for_route, Route.declared[:declared])]
            self._all = declared, guards  # in one: other threads ask meanwhile
        return guards

    def may_concern(self, method: str, has_header: Callable[[str], bool]) -> bool:
        """Whether a request may have a key, by the settings of any route."""
        return any(guard.concerns(method) and has_header(guard.settings.header) for guard in self.any_route())

    def record_limit(self) -> int:
        return max(guard.settings.request_limit for guard in self.any_route())

    def close(self) -> None:
        """Closes the connections. Claims that are open end with their lease."""
        self.engine.client.close()

    # -- before the handler --

    def concerns(self, method: str) -> bool:
        return method in self.settings.methods and method not in self._unguarded

    def passes(self, view: View) -> bool:
        """Whether it is none of its requests."""
        return not self.concerns(view.method) or bool(self.settings.skip and _now("skip", self.settings.skip(view.native)))

    def key_of(self, view: View) -> Optional[str]:
        """None: it passes unguarded. Raises Refused."""
        return None if self.passes(view) else self.demand(view, self.key_in_header(view))

    def key_in_header(self, view: View) -> Optional[str]:
        """Raises Refused."""
        try:
            return key_from_header(view.all(self._header))
        except BadKey as error:
            raise self._refuse(view, "key-malformed", 400, f"{self.settings.header}: {error}") from None

    def several_keys(self, view: View) -> Refused:
        return self._refuse(view, "key-malformed", 400, "There is more than one idempotency key.")

    def key_in_field(self, view: View, value: str) -> str:
        """The key as it came in a form. Raises Refused."""
        try:
            return checked_key(value)
        except BadKey as error:
            raise self._refuse(view, "key-malformed", 400, f"{self._key_field}: {error}") from None

    def demand(self, view: View, key: Optional[str]) -> Optional[str]:
        if key is None and self.settings.required:
            raise self._refuse(view, "key-missing", 400, f"The header {self.settings.header} is required.")
        return key

    def too_large(self, view: View) -> Refused:
        limit = self.settings.request_limit
        return self._refuse(view, "request-too-large", 413, f"With a key it may have {limit} bytes.")

    def consumed(self, view: View) -> Refused:
        log.error("the body was read before the idempotency middleware: move it outside of the parser")
        return self._refuse(view, "body-consumed", 500, "The server is not configured to compare this request.")

    def incomplete(self, view: View) -> Refused:
        return self._refuse(view, "body-incomplete", 400, "Its end is missing.")

    def plan(self, view: View, key: str, body: Body) -> Plan:
        """Raises Refused."""
        settings = self.settings
        method, path = view.method, view.path
        if settings.operation is not None:
            method, named = _now("operation", settings.operation(view.native))
            path = named.encode("utf-8", "surrogateescape")
        record = record_key(settings.prefix, self._scope(view), method, path, key)
        digest = fingerprint(method, path, view.query, body, view.first("content-type") or "", self._key_field)
        words = protocol.claim(record, owner=protocol.new_owner(), fingerprint=digest, lease_ms=settings.lease_ms,
                               born_ms=self._born(view, key), hold=settings.hold)
        return Plan(record, words, (view.method, view.path.decode("utf-8", "replace")), time.monotonic())

    def _scope(self, view: View) -> Optional[str]:
        if self.settings.scope is not None:
            scope = _now("scope", self.settings.scope(view.native))
            return None if scope is None else scope_text(scope, "what the function scope returns")
        user = view.user()
        if user is not None:
            return user
        authorization = view.first("authorization")
        if authorization is not None:
            return scope_of_authorization(authorization)
        if view.first("cookie") is not None:
            self.engine.no_scope.warning("requests have cookies but no authenticated user, so all callers share their"
                                         " keys: set scope")
        return None

    def _born(self, view: View, key: str) -> Optional[int]:
        born = self.settings.born
        if born is None:
            return None
        if callable(born):
            at: Optional[int] = _now("born", born(view.native))
            return at
        if born == "uuid7":
            return born_of_key(key)
        value = view.first(born)
        try:
            return None if value is None else born_of_header(value)
        except BadKey as error:
            raise self._refuse(view, "key-malformed", 400, f"{born}: {error}") from None

    # -- the claim --

    def ask(self, plan: Plan) -> Asked:
        """Blocks, for wait_ms at most when another one runs it."""
        asked = self.ask_now(plan)
        if isinstance(asked, Busy) and self.may_wait():
            try:
                return self.engine.client.wait_to_claim(plan.words, self.settings.wait_ms)
            except IdemError as error:
                return error
            finally:
                self.engine.leave()
        return asked

    def ask_now(self, plan: Plan) -> Asked:
        try:
            return protocol.record(self.engine.client.send(plan.words))
        except IdemError as error:
            return error

    def may_wait(self) -> bool:
        """After True the engine is to be left."""
        return self.settings.wait_ms > 0 and self.engine.enter()

    def begin(self, plan: Plan, asked: Asked, claim_class: Optional[Type[Claim]] = None) -> Union[Claim, Answer, None]:
        if isinstance(asked, Claimed):
            kind = claim_class or self._claim_class
            claim = kind(self.engine.client, plan.record, asked, self.settings.renew_for_ms, plan.about, self.events)
            claim.tell("claimed")
            return claim
        if isinstance(asked, Done):
            return self._replay(plan, asked)
        if isinstance(asked, (Busy, BusyKey)):
            return self._problem(plan, "in_progress", "in-progress", self.settings.busy_status,
                                 "Try again when it has ended.", retry=True)
        if isinstance(asked, Unknown):
            return self._problem(plan, "unknown", "outcome-unknown", 409,
                                 "It is not run again before somebody has looked.")
        return self._refusal(plan, asked)

    def _refusal(self, plan: Plan, error: IdemError) -> Optional[Answer]:
        if isinstance(error, Mismatch):
            return self._problem(plan, "mismatch", "key-reused", 422, "Send another request with another key.")
        if isinstance(error, Forgotten):
            return self._problem(plan, "forgotten", "forgotten", 412, "It may have run already. Look before you send it"
                                 " with a new key.")
        if isinstance(error, BornAhead):
            return self._problem(plan, "refused", "key-malformed", 400, "The time of its first try is in the future.")
        if self.settings.fail_open:
            self.engine.refusals.error("record %s: %s: it runs unguarded", tail(plan.record), error)
            self._tell(plan, "fail_open", None)
            return None
        self.engine.refusals.error("record %s: %s: the request is refused", tail(plan.record), error)
        if isinstance(error, Unavailable):
            GiveBack(self.engine.client, plan.record, plan.words, self.settings.lease_ms).start()
        return self._problem(plan, "unavailable", "unavailable", 503, "So it does not run. Try again.", retry=True)

    def _replay(self, plan: Plan, done: Done) -> Optional[Answer]:
        try:
            answer = unpack(done.body, done.meta)
        except NotKept as error:
            return self._problem(plan, "replayed", "response-not-kept", 410, "It is not run again.",
                                 original_status=error.status)
        except OtherVersion:
            return self._refusal(plan, IdemError("what is stored is no response of this version"))
        self._tell(plan, "replayed", answer.status)
        return answer

    # -- after the handler --

    def answered(self, claim: Claim, status: int, headers: Headers, body: Optional[bytes]) -> Optional[Answer]:
        """body None: the response is not kept. Returns the answer to send in place of the handler's, if another caller has
        taken over and answered."""
        try:
            ttl_ms, unsure = self._fate(claim, status)
        except BaseException as error:
            self.raised(claim, error)
            raise
        if not claim.end():
            return None
        if claim.nothing:
            self._release(claim, unsure=False)
            return None
        if unsure and claim.is_of_parent():
            return None
        if body is None or not replayable(status):
            return self._store(claim, status, b"", None, ttl_ms, unsure)
        return self._store(claim, status, body, storable(headers, self.settings.drop_headers), ttl_ms, unsure)

    def raised(self, claim: Claim, error: Optional[BaseException]) -> None:
        """The handler raised, or what it produced did: it may have acted, unless the exception says otherwise."""
        if claim.end():
            self._release(claim, unsure=not (claim.nothing or isinstance(error, DidNothing)))

    def did_nothing(self, claim: Optional[Claim], error: DidNothing) -> Answer:
        """The answer for the exception."""
        if claim is not None:
            self.raised(claim, error)
        return self.problems.answer("did-nothing", error.status, str(error), retry=error.status == 503)

    def _fate(self, claim: Claim, status: int) -> Tuple[int, bool]:
        """(TTL, whether it is unsure)."""
        keep = self.settings.keep
        keeps = _now("keep", keep(status)) if keep is not None else status < 500 and status not in RETRYABLE
        ttl_ms = self.settings.ttl_ms if claim.kept is True else int(claim.kept)  # False is 0
        return (ttl_ms, False) if keeps and ttl_ms else (0, status >= 500)

    def _store(self, claim: Claim, status: int, body: bytes, kept: Optional[Headers], ttl_ms: int,
               unsure: bool) -> Optional[Answer]:
        unsure = unsure and ttl_ms == 0
        words = protocol.store(claim.key, claim.token, body, ttl_ms=ttl_ms, meta=pack_meta(status, kept), unsure=unsure)
        try:
            self.engine.client.send(words)
        except Stale as error:
            log.error("record %s: another caller took over (%s), this response is not stored", tail(claim.key), error)
            claim.tell("overtaken", status)
            return self._overtaken(claim)
        except TooBig as error:
            if kept is None:
                self._not_stored(claim, words, error, status)
                return None
            log.error("record %s: its response is not kept: %s", tail(claim.key), error)
            return self._store(claim, status, b"", None, ttl_ms, unsure)
        except IdemError as error:
            self._not_stored(claim, words, error, status)
            return None
        if unsure:
            claim.renewal.ended_unsure()
        claim.tell("not_kept" if kept is None else "stored" if ttl_ms else "shared", status)
        return None

    def _overtaken(self, claim: Claim) -> Optional[Answer]:
        """One key, one answer: theirs, if there is one."""
        plan = Plan(claim.key, [], claim._about, time.monotonic())
        try:
            found = self.engine.client.fetch(claim.key)
        except IdemError:
            return None
        if isinstance(found, Busy):
            return self.begin(plan, found)  # type: ignore[return-value]
        return self._replay(plan, found) if isinstance(found, Done) else None

    def _not_stored(self, claim: Claim, words: Words, error: IdemError, status: int) -> None:
        log.error("record %s: its response is NOT stored: %s", tail(claim.key), error)
        claim.tell("not_stored", status)
        late = LateStore(self.engine.client, claim.key, words, claim.renewal.ends_at, claim.tell)
        if not isinstance(error, TooBig) and not late.start():
            log.error("record %s: too many responses wait to be stored", tail(claim.key))

    def _release(self, claim: Claim, unsure: bool) -> None:
        if claim.is_of_parent():
            return
        claim.tell("unsure" if unsure else "released")
        try:
            self.engine.client.release(claim.key, claim.token, unsure=unsure)
            if unsure:
                claim.renewal.ended_unsure()
        except IdemError as error:
            log.error("record %s: it is not released, its lease runs on: %s", tail(claim.key), error)

    # -- what is told --

    def _refuse(self, view: View, kind: str, status: int, detail: str) -> Refused:
        self.events.tell("refused", {"method": view.method, "path": view.path.decode("utf-8", "replace"),
                                     "status": status, "attempt": None, "ms": 0})
        return Refused(self.problems.answer(kind, status, detail))

    def _problem(self, plan: Plan, event: str, kind: str, status: int, detail: str, *, retry: bool = False,
                 **members: Any) -> Answer:
        self._tell(plan, event, status)
        return self.problems.answer(kind, status, detail, retry=retry, **members)

    def _tell(self, plan: Plan, event: str, status: Optional[int]) -> None:
        method, path = plan.about
        self.events.tell(event, {"method": method, "path": path, "status": status, "attempt": None,
                                 "ms": int((time.monotonic() - plan.began) * 1000)})


def _now(setting: str, value: Any) -> Any:
    """What a function of the settings has returned. An awaitable would count as true, and is another one at each try."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError(f"{setting} has to return a value, not an awaitable")
    return value


class Held:
    """The bytes of a response, up to a limit. Whoever fills it sends them on when it is `over`."""

    def __init__(self, limit: int, content_type: str) -> None:
        self._limit = limit
        self._pieces: List[bytes] = []
        self._size = 0
        self.over = content_type.partition(";")[0].strip().lower() == "text/event-stream"  # each is waited for

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        self.over = self.over or self._size > self._limit

    def bytes(self) -> bytes:
        return b"".join(self._pieces)


def content_type_of(headers: Headers) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")
