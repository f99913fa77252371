"""The middleware for ASGI: Starlette, FastAPI and any other.

    app.add_middleware(Idempotency, ...)      Starlette, FastAPI: before (so inside of) the one that authenticates
    app = Idempotency(app, ...)               any other

A guarded request runs in a task of its own, which no client can end: the application never sees http.disconnect. Runs on asyncio.
"""
from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Awaitable, Callable, Dict, List, MutableMapping, Optional, Set, Tuple, Union

from .asgi_routes import Found, WatchedScope, find_route
from .claims import AsyncClaim, Claim, DidNothing
from .guard import Guard, Held, Refused, content_type_of
from .loop import Asker, ClientLeft, Threads
from .report import log, tail
from .request import View, scope_text
from .response import BODILESS, Answer, Headers
from .settings import Route, Settings, idempotent

__all__ = ["Idempotency", "idempotent"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Of a user, the first that is there. Not a display name: two users may have the same.
IDENTITIES = ("identity", "pk", "id", "username")
STATE = "idempotency"  # scope["state"]["idempotency"]: the claim, None when it is unguarded
CLAIMED = "idem.claimed"  # in the scope of a request that has a claim
# By which the kernel sends a file, past whoever holds the response.
FILE_EXTENSIONS = ("http.response.pathsend", "http.response.zerocopysend")


class Idempotency:
    """Around an ASGI application. The claim is `request.state.idempotency`. Settings as keywords; raises SettingsError."""

    def __init__(self, app: App, **settings: Any) -> None:
        self._app = app
        self.guard = Guard(Settings.of(settings), claim_class=AsyncClaim)
        self._threads = Threads()
        self._asker = Asker(self._threads)
        self._running: Set["asyncio.Task[None]"] = set()

    def close(self) -> None:
        self.guard.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or CLAIMED in scope:
            await self._app(scope, receive, send)
            return
        state = _state(scope)
        state[STATE] = None
        if not any(guard.concerns(scope["method"]) for guard in self.guard.any_route()):
            await self._app(scope, receive, send)
            return
        found = find_route(scope, self._app) if Route.declared else Found()
        guard = self.guard.for_route(found.route)
        scope = WatchedScope(scope, found.seen, lambda: _nothing_ran(state))
        try:
            begun = await self._begin(guard, scope, receive)
        except Refused as refused:
            begun = refused.answer
        except ClientLeft:
            return
        if isinstance(begun, Answer):
            await send_answer(begun, send)
        elif isinstance(begun, bytes):  # unguarded, its body was read
            await self._app(scope, _Given(begun, receive).receive, send)
        elif begun is None:
            await self._app(scope, receive, send)
        else:
            await self._guarded(guard, scope, begun, send)

    async def _begin(self, guard: Guard, scope: WatchedScope, receive: Receive
                     ) -> Union[Answer, bytes, None, Tuple[Claim, bytes]]:
        view = view_of(scope)
        key = guard.key_of(view)
        if key is None:
            return None
        body = await _read(guard, view, receive)
        plan = guard.plan(view, key, body)
        asked = await self._asker.ask(guard, plan, lambda: _left(receive))
        begun = guard.begin(plan, asked)
        if begun is None:
            return body
        return begun if isinstance(begun, Answer) else (begun, body)

    async def _guarded(self, guard: Guard, scope: WatchedScope, begun: Tuple[Claim, bytes], send: Send) -> None:
        claim, body = begun
        scope.own({"extensions": _plain_files(scope), CLAIMED: True})
        scope["state"][STATE] = claim
        if isinstance(claim, AsyncClaim):
            claim.sender = lambda words: self._threads.run(guard.engine.client.send, words)
        work = _Work(self._threads, guard, claim, send)
        task = asyncio.ensure_future(work.run(self._app, scope, body))
        self._running.add(task)  # a loop keeps only weak references
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():  # the server has given up on this request; the work goes on
                work.client_has_left()
                task.add_done_callback(_hear)
            raise


def _hear(task: "asyncio.Task[None]") -> None:
    """What nobody awaits any more is said nevertheless."""
    if not task.cancelled() and task.exception() is not None:
        log.error("work whose client had left failed: %r", task.exception())


def _state(scope: Scope) -> Dict[str, Any]:
    """Of this request alone: servers copy that of the lifespan. Shared with what is outside."""
    if scope.get("state") is None:
        scope["state"] = {}
    state: Dict[str, Any] = scope["state"]
    return state


def _nothing_ran(state: Dict[str, Any]) -> None:
    if state[STATE] is not None:
        state[STATE].did_nothing()


def _plain_files(scope: Scope) -> Dict[str, Any]:
    return {name: value for name, value in (scope.get("extensions") or {}).items() if name not in FILE_EXTENSIONS}


# ---- the request ----

def view_of(scope: Scope) -> View:
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    path = scope["path"]
    mount = scope.get("root_path", "")
    if mount and not path.startswith(mount + "/"):  # servers and frameworks differ in whether it is in the path
        path = mount + path
    return View(scope["method"], path.encode("utf-8", "surrogateescape"), scope.get("query_string", b""), headers,
                _native(scope), lambda: _user(scope))


def _native(scope: Scope) -> Any:
    try:
        from starlette.requests import HTTPConnection
    except ImportError:
        return scope
    return HTTPConnection(scope)


def _user(scope: Scope) -> Optional[str]:
    """Whom an authentication has put into the scope. Raises TypeError when it cannot be told from others."""
    user = scope.get("user")
    if user is None or not getattr(user, "is_authenticated", True):
        return None
    if isinstance(user, (str, int)):
        return scope_text(user, "scope['user']")
    for name in IDENTITIES:
        with contextlib.suppress(AttributeError, NotImplementedError):  # Starlette's SimpleUser has no identity
            value = getattr(user, name)
            if value is not None and value != "":
                return scope_text(value, f"scope['user'].{name}")
    raise TypeError(f"scope['user'] has none of {', '.join(IDENTITIES)}: set scope")


async def _read(guard: Guard, view: View, receive: Receive) -> bytes:
    """The whole body. Raises Refused, ClientLeft."""
    pieces: List[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > guard.settings.request_limit:
            raise guard.too_large(view)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


class _Given:
    """A receive that gives the body that was read, once, and then what the server says."""

    def __init__(self, body: bytes, after: Receive) -> None:
        self._body: Optional[bytes] = body
        self._after = after

    async def receive(self) -> Message:
        if self._body is None:
            return await self._after()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


# ---- the response ----

async def send_answer(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.with_length()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


class _Work:
    """One guarded run: holds the response until it is stored. `_state` is what the client has of it."""

    HELD, FLOWS, SENT = range(3)

    def __init__(self, threads: Threads, guard: Guard, claim: Claim, send: Send) -> None:
        self._threads, self._guard, self._claim, self._send_on = threads, guard, claim, send
        self._state = self.HELD
        self._start: Dict[str, Any] = {}
        self._held: Optional[Held] = None
        self._whole = False  # a 5xx is complete, and waits for an exception after it
        self._over = asyncio.Event()
        self._gone = False
        self._give_up = time.monotonic() + guard.settings.renew_for_ms / 1000

    def client_has_left(self) -> None:
        self._gone = True

    async def run(self, app: App, scope: Scope, body: bytes) -> None:
        try:
            await app(scope, _Given(body, self._silent).receive, self._send)
        except BaseException as error:
            await self._failed(error)
            return
        if self._whole:
            await self._settle()
        if not self._claim.ended:
            # It returned without a whole response: what it did is unknown, and a server would make a 500 of it.
            await self._threads.finish(self._guard.raised, self._claim, None)
            if self._state == self.HELD and self._start:
                await self._forward(self._start)
                await self._forward({"type": "http.response.body", "body": self._held_bytes(), "more_body": True})

    async def _silent(self) -> Message:
        """The client's leaving is not told; only after the response, when it means its end."""
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _failed(self, error: BaseException) -> None:
        if isinstance(error, DidNothing) and self._state == self.HELD:
            answer = await self._threads.finish(self._guard.did_nothing, self._claim, error)
            await self._deliver(answer)
            return
        if not isinstance(error, Exception):  # cancelled, or the end of the process: no time to await
            self._threads.submit(self._guard.raised, self._claim, error)
            raise error
        await self._threads.finish(self._guard.raised, self._claim, error)
        if self._whole:  # an error handler inside has made a 500 of it, and tells the server too
            await self._deliver(Answer(self._start["status"], self._headers(), self._held_bytes()))
        raise error

    # -- messages of the application --

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._start = dict(message)
            self._held = Held(self._guard.settings.body_limit, content_type_of(self._headers()))
        elif kind == "http.response.body":
            await self._body(message)
        else:  # 1xx, pushes, trailers: not stored
            if self._whole:  # trailers come after what is held
                await self._settle()
            await self._forward(message)

    async def _body(self, message: Message) -> None:
        if self._state == self.FLOWS:
            await self._flow(message)
        elif self._state == self.HELD and self._held is not None:
            self._held.add(message.get("body", b""))
            if self._held.over:
                await self._begin_to_flow(message)
            elif not message.get("more_body", False):
                self._whole = True
                if self._start["status"] < 500:
                    await self._settle()

    async def _begin_to_flow(self, message: Message) -> None:
        self._state = self.FLOWS
        held = self._held_bytes()
        self._held = None
        await self._forward(self._start)
        await self._flow({**message, "body": held})

    async def _flow(self, message: Message) -> None:
        if not message.get("more_body", False):
            self._state = self.SENT
            await self._threads.finish(self._guard.answered, self._claim, self._start["status"], self._headers(), None)
            await self._forward(message)
            self._over.set()
        elif self._gone and time.monotonic() >= self._give_up:
            raise _Endless(tail(self._claim.key))
        else:
            await self._forward(message)

    async def _settle(self) -> None:
        """The whole response is here: store it, then send it."""
        own = Answer(self._start["status"], self._headers(), self._held_bytes())
        self._whole = False
        other = await self._threads.finish(self._guard.answered, self._claim, own.status, own.headers, own.body)
        await self._deliver(other or own)

    # -- messages to the client --

    async def _deliver(self, answer: Answer) -> None:
        self._state = self.SENT
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.with_length()]
        start = self._start if answer.status not in BODILESS else {}
        await self._forward({**start, "type": "http.response.start", "status": answer.status, "headers": headers})
        await self._forward({"type": "http.response.body", "body": answer.body, "more_body": False})
        self._over.set()

    async def _forward(self, message: Message) -> None:
        """A client that has left ends nothing."""
        if self._gone:
            return
        try:
            await self._send_on(message)
        except (OSError, RuntimeError) as error:
            log.debug("record %s: its client has left: %r", tail(self._claim.key), error)
            self._gone = True

    def _headers(self) -> Headers:
        return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
                for name, value in self._start.get("headers", [])]

    def _held_bytes(self) -> bytes:
        return b"" if self._held is None else self._held.bytes()


class _Endless(Exception):
    """A stream whose client has left did not end in renew_for_ms."""
