"""The middleware for Django, last in the list so that what refuses a caller runs first:

    MIDDLEWARE += ["idem.django.Idempotency"]
    IDEMPOTENCY = {"wait_ms": 10_000}

The body is read in the request phase, before a CSRF check parses it; the claim is made just before the view, where the login and
the view's own settings are known. The claim is `request.idempotency`, None when unguarded. Under ASGI it runs in the event loop,
unless a middleware inside of it cannot.
"""
from __future__ import annotations

import asyncio
import hashlib
import io
import time
from typing import Any, AsyncIterator, Callable, Coroutine, Iterator, Optional, Set, Union

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings as django_settings
from django.http import HttpResponse

from .claims import AsyncClaim, Claim, DidNothing
from .guard import Guard, Held, Plan, Refused, content_type_of
from .loop import Asker, Threads
from .report import log, tail
from .request import Body, Parsed, View, scope_text
from .response import Answer, Headers
from .settings import Settings, idempotent, route_of
from .wsgi import Capture, Flow, RecordedInput, checked_size, read_whole

__all__ = ["Idempotency", "idempotent"]

FILE_CHUNK_BYTES = 64 * 1024
OF_A_STREAM = frozenset({"streaming", "is_async", "streaming_content", "file_to_stream", "block_size"})  # attributes of a response


class Idempotency:
    """Django makes one of it. Settings are the mapping IDEMPOTENCY in Django's; raises SettingsError."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._in_loop = iscoroutinefunction(get_response)
        if self._in_loop:
            markcoroutinefunction(self)
            this: Any = self
            this.process_view = self._process_view_in_loop
            self._threads = Threads()
            self._asker = Asker(self._threads)
            self._running: Set["asyncio.Task[Any]"] = set()
        self.guard = Guard(Settings.of(getattr(django_settings, "IDEMPOTENCY", {})))

    def close(self) -> None:
        self.guard.close()

    def __call__(self, request: Any) -> Any:
        self._before(request)
        if self._in_loop:
            return self._call_in_loop(request)
        try:
            response = self._get_response(request)
            claim: Optional[Claim] = request.idempotency
            return response if claim is None else self._settle(request, claim, response)
        except BaseException as error:
            if request.idempotency is not None:
                self._guard_of(request).raised(request.idempotency, error)
            raise

    def _before(self, request: Any) -> None:
        request.idempotency = None
        if self.guard.may_concern(request.method, request.headers.__contains__):
            _record(request, self.guard.record_limit())

    def process_view(self, request: Any, view_func: Any, _args: Any, _kwargs: Any) -> Any:
        planned = self._plan(request, view_func)
        if not isinstance(planned, Plan):
            return planned
        guard = self._guard_of(request)
        return self._begun(request, guard.begin(planned, guard.ask(planned)))

    def _plan(self, request: Any, view_func: Any) -> Union[Plan, HttpResponse, None]:
        guard = request._idem_guard = self.guard.for_route(route_of(view_func))
        try:
            view = view_of(request)
            key = guard.key_of(view)
            return None if key is None else guard.plan(view, key, _body(guard, view, request))
        except Refused as refused:
            return as_response(refused.answer)

    @staticmethod
    def _begun(request: Any, begun: Union[Claim, Answer, None]) -> Optional[HttpResponse]:
        if isinstance(begun, Answer):
            return as_response(begun)
        request.idempotency = begun
        return None

    def process_exception(self, request: Any, exception: Exception) -> Any:
        if request.idempotency is None:
            return None
        if isinstance(exception, DidNothing):
            return as_response(self._guard_of(request).did_nothing(request.idempotency, exception))
        request._idem_raised = exception  # of Http404 and the like Django makes answers below 500: those are the view's
        return None

    def _guard_of(self, request: Any) -> Guard:
        guard: Guard = request._idem_guard
        return guard

    # -- in an event loop --

    async def _call_in_loop(self, request: Any) -> Any:
        """One that may have a key in a task of its own, which a client that leaves does not end."""
        if not hasattr(request, "_idem_recorded"):
            return await self._run_in_loop(request)
        task = self._start(self._run_in_loop(request))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda task: self._unsent(request, task))
            raise

    def _start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.ensure_future(work)
        self._running.add(task)  # a loop keeps only weak references
        task.add_done_callback(self._running.discard)
        return task

    def _unsent(self, request: Any, task: "asyncio.Task[Any]") -> None:
        """Nobody gets its response; a long one is produced all the same."""
        if task.cancelled() or task.exception() is not None:
            return
        claim: Optional[Claim] = request.idempotency
        if claim is not None and not claim.ended and hasattr(request, "_idem_flow"):
            self._start(self._read_out(request._idem_flow, task.result()))

    @staticmethod
    async def _read_out(flow: "Union[_Flowing, _AsyncFlow]", response: Any) -> None:
        try:
            if isinstance(flow, _AsyncFlow):
                await flow.drain()
            else:
                await sync_to_async(flow.drain, thread_sensitive=True)()
        finally:
            await sync_to_async(response.close, thread_sensitive=True)()

    async def _run_in_loop(self, request: Any) -> Any:
        try:
            response = await self._get_response(request)
            claim: Optional[Claim] = request.idempotency
            return response if claim is None else await self._settle_in_loop(request, claim, response)
        except BaseException as error:
            if request.idempotency is not None:
                self._threads.submit(self._guard_of(request).raised, request.idempotency, error)
            raise

    async def _settle_in_loop(self, request: Any, claim: Claim, response: Any) -> Any:
        if response.streaming and getattr(response, "is_async", False):
            return await self._settle_async_stream(request, claim, response)
        if response.streaming:  # the application's own code: where Django runs such
            return await sync_to_async(self._settle, thread_sensitive=True)(request, claim, response)
        return await self._threads.finish(self._settle, request, claim, response)

    async def _process_view_in_loop(self, request: Any, view_func: Any, _args: Any, _kwargs: Any) -> Any:
        # What it asks of the application (who the user is) may be in the database; Django has a thread for that.
        planned = await sync_to_async(self._plan, thread_sensitive=True)(request, view_func)
        if not isinstance(planned, Plan):
            return planned
        guard = self._guard_of(request)
        asked = await self._asker.ask(guard, planned)
        begun = guard.begin(planned, asked, AsyncClaim if iscoroutinefunction(view_func) else Claim)
        if isinstance(begun, AsyncClaim):
            begun.sender = lambda words: self._threads.run(guard.engine.client.send, words)
        return self._begun(request, begun)

    async def _settle_async_stream(self, request: Any, claim: Claim, response: Any) -> Any:
        guard = self._guard_of(request)
        pieces = response.streaming_content.__aiter__()
        held = Held(guard.settings.body_limit, content_type_of(_headers(response)))
        try:
            while not held.over:
                try:
                    held.add(await pieces.__anext__())
                except StopAsyncIteration:
                    break
        except BaseException as error:
            self._threads.submit(guard.raised, claim, error)
            await sync_to_async(response.close, thread_sensitive=True)()
            raise
        if held.over:
            request._idem_flow = _AsyncFlow(self._threads, guard, claim, response, held.bytes(), pieces)
            response.streaming_content = request._idem_flow
            return response
        own = Answer(response.status_code, _headers(response), held.bytes())
        other = await self._threads.finish(guard.answered, claim, own.status, own.headers, own.body)
        return _instead(response, other or own)

    # -- the response --

    def _settle(self, request: Any, claim: Claim, response: Any) -> Any:
        guard = self._guard_of(request)
        raised = getattr(request, "_idem_raised", None)
        if raised is not None and response.status_code >= 500:
            guard.raised(claim, raised)
            return response
        if not response.streaming:
            body = response.content if len(response.content) <= guard.settings.body_limit else None
            other = guard.answered(claim, response.status_code, _headers(response), body)
            return response if other is None else _instead(response, other)
        if getattr(response, "is_async", False):  # under WSGI, or a synchronous middleware inside: Django reads it whole then
            guard.answered(claim, response.status_code, _headers(response), None)
            return response
        return self._settle_stream(request, claim, response)

    def _settle_stream(self, request: Any, claim: Claim, response: Any) -> Any:
        guard = self._guard_of(request)
        pieces = iter(response.streaming_content)
        held = Held(guard.settings.body_limit, content_type_of(_headers(response)))
        try:
            while not held.over:
                piece = next(pieces, None)
                if piece is None:
                    break
                held.add(piece)
        except BaseException as error:
            guard.raised(claim, error)
            response.close()
            raise
        if held.over:
            request._idem_flow = response.streaming_content = _Flowing(guard, claim, response, held.bytes(), pieces)
            # Closed first: when the client has left, the rest is still produced.
            response._resource_closers.insert(0, response._resource_closers.pop())
            response.file_to_stream = None  # else the server would send the file itself
            return response
        other = guard.answered(claim, response.status_code, _headers(response), held.bytes())
        own = Answer(response.status_code, _headers(response), held.bytes())
        return _instead(response, other or own)


# ---- the request ----

def _record(request: Any, limit: int) -> None:
    """What parses the body from now on (a CSRF check) is recorded. Django's own `request.body` cannot be used for that: it
    refuses what is over DATA_UPLOAD_MAX_MEMORY_SIZE, files too."""
    request._idem_recorded = None
    if not request._read_started:
        environ = {"wsgi.input": request._stream, "CONTENT_LENGTH": request.META.get("CONTENT_LENGTH"),
                   "wsgi.input_terminated": True}
        request._idem_recorded = RecordedInput(environ, limit)
        request._stream = io.BufferedReader(request._idem_recorded)


def _body(guard: Guard, view: View, request: Any) -> Body:
    if not hasattr(request, "_idem_recorded"):  # a route with a header of its own was declared since
        _record(request, guard.settings.request_limit)
    if request._idem_recorded is not None:
        return read_whole(guard, view, request._idem_recorded)
    if hasattr(request, "_body"):
        return checked_size(guard, view, request._body)
    if not hasattr(request, "_post") or getattr(request, "_post_parse_error", False):
        raise guard.consumed(view)
    return Parsed(dict(request.POST.lists()),
                  {name: [(file.name, _digest(file)) for file in files] for name, files in request.FILES.lists()})


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks(FILE_CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def view_of(request: Any) -> View:
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    return View(request.method, request.path.encode("utf-8", "surrogateescape"),
                request.META.get("QUERY_STRING", "").encode("latin-1"), headers, request, lambda: _user(request))


def _user(request: Any) -> Optional[str]:
    user = getattr(request, "user", None)
    return scope_text(user.pk, "request.user.pk") if user is not None and user.is_authenticated else None


# ---- the response ----

def _headers(response: Any) -> Headers:
    return [(name, value) for name, value in response.items()]


def as_response(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.body, status=answer.status)
    del response["Content-Type"]
    for name, value in answer.with_length():
        response[name] = f"{response[name]}, {value}" if name in response else value  # Django has no repeated ones
    return response


def _instead(response: Any, answer: Answer) -> HttpResponse:
    """The answer with the first response's cookies, which belong to this client, and with what the view has told other middleware
    by attributes (xframe_options_exempt). A replay that no view made has none."""
    own = as_response(answer)
    for name, value in vars(response).items():
        if name not in OF_A_STREAM and not name.startswith("_") and name not in vars(own):
            setattr(own, name, value)
    if not answer.replayed:
        own.cookies.update(response.cookies)
    own._resource_closers.append(response.close)
    return own


class _Flowing:
    """A Flow as streaming content."""

    def __init__(self, guard: Guard, claim: Claim, response: Any, held: bytes, pieces: Iterator[bytes]) -> None:
        capture = Capture()
        capture.status, capture.headers = str(response.status_code), _headers(response)
        self._flow = Flow(guard, claim, capture, held, pieces, None)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._flow)

    def drain(self) -> None:
        """Of one that nobody has begun: what is left is produced as after a client that has left."""
        next(iter(self._flow), None)
        self._flow.close()

    def close(self) -> None:
        self._flow.close()


class _AsyncFlow:
    """As Flow of wsgi.py, of an asynchronous stream."""

    def __init__(self, threads: Threads, guard: Guard, claim: Claim, response: Any, held: bytes,
                 pieces: AsyncIterator[bytes]) -> None:
        self._threads, self._guard, self._claim = threads, guard, claim
        self._about = (response.status_code, _headers(response), None)
        self._held, self._pieces = held, pieces
        self._begun = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._begun = True
        try:
            held, self._held = self._held, b""
            yield held
            del held
            async for piece in self._pieces:
                yield piece
        except (GeneratorExit, asyncio.CancelledError):  # the client has left: nothing can be awaited here
            draining = asyncio.ensure_future(self.drain())
            _DRAINING.add(draining)
            draining.add_done_callback(_DRAINING.discard)
            raise
        except BaseException as error:
            await self._threads.finish(self._guard.raised, self._claim, error)
            raise
        await self._threads.finish(self._guard.answered, self._claim, *self._about)

    def close(self) -> None:
        if not self._begun and not self._claim.ended:
            self._guard.raised(self._claim, None)

    async def drain(self) -> None:
        """Produces what is left, for renew_for_ms at most."""
        self._begun = True
        give_up = time.monotonic() + self._guard.settings.renew_for_ms / 1000
        try:
            async for _ in self._pieces:
                if time.monotonic() >= give_up:
                    raise TimeoutError("it did not end in renew_for_ms")
        except BaseException as error:
            log.error("record %s: its response failed after the client had left: %r", tail(self._claim.key), error)
            self._threads.submit(self._guard.raised, self._claim, None)
            raise
        await self._threads.finish(self._guard.answered, self._claim, *self._about)


_DRAINING: Set["asyncio.Future[None]"] = set()  # a loop keeps only weak references
