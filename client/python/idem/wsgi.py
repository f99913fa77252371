"""The middleware for WSGI: `app = Idempotency(app)`, around any application.

Its parts serve Flask too, where the claim is made inside of the application and the response is held here. The environ that
the application gets is a copy: servers look at their own afterwards (gunicorn for its file wrapper).
"""
from __future__ import annotations

import contextlib
import io
import operator
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from .claims import Claim, DidNothing
from .guard import Guard, Held, Refused, content_type_of
from .report import log, tail
from .request import Consumed, Incomplete, TooLarge, View
from .response import Answer, Headers, phrase
from .settings import Settings

Environ = Dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

CLAIM = "idem.claim"  # in the environ: the Claim, None when it is unguarded
INPUT_BUFFER_BYTES = 64 * 1024


class Idempotency:
    """Around a WSGI application. The claim is `environ["idem.claim"]`. Settings as keywords; raises SettingsError."""

    def __init__(self, app: App, **settings: Any) -> None:
        self._app = app
        self.guard = Guard(Settings.of(settings))

    def close(self) -> None:
        self.guard.close()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get(CLAIM) is not None:  # of a middleware outside of this one
            return self._app(environ, start_response)
        try:
            begun = self._begin(environ)
        except Refused as refused:
            begun = (refused.answer, environ)
        first, environ = begun
        if isinstance(first, Answer):
            return send(first, start_response)
        environ[CLAIM] = first
        if first is None:
            return self._app(environ, start_response)
        return conduct(Run(self.guard, first), self._app, environ, start_response)

    def _begin(self, environ: Environ) -> Tuple[Any, Environ]:
        view = view_of(environ, environ)
        key = self.guard.key_of(view)
        if key is None:
            return None, environ
        recorded = RecordedInput(environ, self.guard.settings.request_limit)
        body = read_whole(self.guard, view, recorded)
        plan = self.guard.plan(view, key, body)
        return self.guard.begin(plan, self.guard.ask(plan)), copy_with(environ, recorded)


# ---- the request ----

def variable(header: str) -> str:
    """Under which the environ has a header."""
    return "HTTP_" + header.upper().replace("-", "_")


def view_of(environ: Environ, native: Any) -> View:
    headers = [(name[5:].replace("_", "-").lower(), value) for name, value in environ.items()
               if name.startswith("HTTP_")]
    if environ.get("CONTENT_TYPE"):
        headers.append(("content-type", environ["CONTENT_TYPE"]))
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return View(environ["REQUEST_METHOD"], path.encode("latin-1"), environ.get("QUERY_STRING", "").encode("latin-1"),
                headers, native, lambda: environ.get("REMOTE_USER") or None)


class RecordedInput(io.RawIOBase):
    """A wsgi.input whose bytes are kept as they are read: all of them can be digested whatever the application has read
    before, and it can read on afterwards. Over the limit nothing is kept."""

    def __init__(self, environ: Environ, limit: int) -> None:
        kept = _kept_by_werkzeug(environ)
        self._source = kept or environ["wsgi.input"]
        self._left = _length(environ)  # None: until its end
        self._fresh: Optional[bool] = True if kept else _is_fresh(environ)
        self._limit = limit
        self._kept, self._given = bytearray(), 0  # bytes; how many of them the application has read
        self._over = self._left is not None and self._left > limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._given == len(self._kept):
            self._pull(len(buffer))
        piece = self._kept[self._given:self._given + len(buffer)]
        buffer[:len(piece)] = piece
        self._given += len(piece)
        return len(piece)

    def whole(self) -> bytes:
        """All bytes. Raises TooLarge, Incomplete, Consumed."""
        while not self._over and self._pull(INPUT_BUFFER_BYTES):
            continue
        if self._over:
            raise TooLarge
        if self._left:
            raise Incomplete if self._kept else Consumed
        if self._fresh is False or (self._fresh is None and not self._kept):
            raise Consumed
        return bytes(self._kept)

    def _pull(self, size: int) -> bool:
        piece = self._source.read(size if self._left is None else min(size, self._left))
        if self._left is not None:
            self._left -= len(piece)
        self._over = self._over or len(self._kept) + len(piece) > self._limit
        if self._over:
            del self._kept[:self._given]
            self._given = 0
        self._kept += piece
        return bool(piece)


def _kept_by_werkzeug(environ: Environ) -> Optional[io.BytesIO]:
    """What a Request outside of this one has read and kept (`get_data()`)."""
    data = getattr(environ.get("werkzeug.request"), "_cached_data", None)
    return io.BytesIO(data) if data else None


def _length(environ: Environ) -> Optional[int]:
    given = environ.get("CONTENT_LENGTH")
    if given and given.isdigit() and "HTTP_TRANSFER_ENCODING" not in environ:
        return int(given)
    return None if environ.get("wsgi.input_terminated") else 0


# What the streams of werkzeug's server and of gunicorn know of themselves, and whether they still have all.
_SIGNS: Tuple[Tuple[str, Callable[[Any], bool]], ...] = (
    ("_done", lambda done: not done), ("reader.parser", lambda parser: parser is not None))


def _is_fresh(environ: Environ) -> Optional[bool]:
    """Whether nobody has read of a body without a length; None: it does not show. Then what gives nothing may be one that was
    consumed, and is not taken for an empty one."""
    if "HTTP_TRANSFER_ENCODING" not in environ and (environ.get("CONTENT_LENGTH") or not _may_be_without(environ)):
        return True  # its length tells
    if not environ.get("wsgi.input_terminated"):
        return False  # chunked, and the server does not decode it
    source = environ["wsgi.input"]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return bool(source.tell() == 0)
    for name, is_fresh in _SIGNS:
        with contextlib.suppress(AttributeError):
            return is_fresh(operator.attrgetter(name)(source))
    return None


def _may_be_without(environ: Environ) -> bool:
    """Since HTTP/2 a body needs neither Content-Length nor Transfer-Encoding."""
    return not str(environ.get("SERVER_PROTOCOL", "HTTP/1.1")).startswith("HTTP/1")


def read_whole(guard: Guard, view: View, recorded: RecordedInput) -> bytes:
    """Raises Refused."""
    try:
        body = recorded.whole()
    except TooLarge:
        raise guard.too_large(view) from None
    except Consumed:
        raise guard.consumed(view) from None
    except (Incomplete, OSError):
        raise guard.incomplete(view) from None
    return checked_size(guard, view, body)


def checked_size(guard: Guard, view: View, body: bytes) -> bytes:
    """Raises Refused."""
    if len(body) > guard.settings.request_limit:
        raise guard.too_large(view)
    return body


def copy_with(environ: Environ, recorded: RecordedInput) -> Environ:
    """The environ with the recorded body, and without a file wrapper: what is sent by the kernel cannot be held."""
    copy = {**environ, "wsgi.input": io.BufferedReader(recorded, INPUT_BUFFER_BYTES), "wsgi.input_terminated": True}
    copy.pop("wsgi.file_wrapper", None)
    return copy


# ---- the response ----

def send(answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{answer.status} {phrase(answer.status)}", answer.with_length())
    return [answer.body]


class Capture:
    """A start_response that holds what it is told."""

    def __init__(self) -> None:
        self.status, self.headers = "500 Internal Server Error", []  # type: Tuple[str, Headers]
        self.written: List[bytes] = []

    def __call__(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        self.status, self.headers = status, list(headers)
        return self.written.append

    @property
    def code(self) -> int:
        return int(self.status.split(" ", 1)[0])


@dataclass
class Run:
    """What is learned of one request inside of the application. An object, which stays the same in a copy of the environ."""
    guard: Guard  # with the settings of the route, once it is known
    claim: Optional[Claim] = None
    raised: Optional[BaseException] = None  # the application has made a 500 of it
    replay: Optional[Answer] = None


def conduct(run: Run, app: App, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Runs the application, holds its response, ends the claim, sends. The claim may be made while it runs."""
    capture = Capture()
    response: Any = ()
    try:
        response = app(environ, capture)
        claim = run.claim
        if claim is None:
            return _pass_on(capture, response, start_response)
        pieces = iter(response)
        # The status is only known when the first piece is.
        first = next(pieces, None)
        held = Held(run.guard.settings.body_limit, content_type_of(capture.headers))
        for piece in [*capture.written, *([] if first is None else [first])]:
            held.add(piece)
        while not held.over:
            piece = next(pieces, None)
            if piece is None:
                break
            held.add(piece)
        code = capture.code  # raises for what is no status
        if held.over:
            start_response(capture.status, capture.headers)
    except BaseException as error:
        try:
            close(response)
        finally:
            if run.claim is not None:
                run.guard.raised(run.claim, error)
        if isinstance(error, DidNothing):
            return send(run.guard.did_nothing(None, error), start_response)
        raise
    if held.over:
        return Flow(run.guard, claim, capture, held.bytes(), pieces, response)
    return _send_held(run, claim, capture.status, Answer(code, capture.headers, held.bytes()), response, start_response)


def close(response: Any) -> None:
    if hasattr(response, "close"):
        response.close()


def _pass_on(capture: Capture, response: Any, start_response: StartResponse) -> Iterable[bytes]:
    """Of an application that has made no claim. It may only start its response with the first piece."""
    pieces = iter(response)
    first = next(pieces, None)
    write = start_response(capture.status, capture.headers)
    for piece in capture.written:
        write(piece)
    return _Rest(first, pieces, response)


class _Rest:
    def __init__(self, first: Optional[bytes], pieces: Iterator[bytes], response: Any) -> None:
        self._first, self._pieces, self._response = first, pieces, response

    def __iter__(self) -> Iterator[bytes]:
        if self._first is not None:
            yield self._first
        yield from self._pieces

    def close(self) -> None:
        close(self._response)


def _send_held(run: Run, claim: Claim, status: str, own: Answer, response: Any,
               start_response: StartResponse) -> Iterable[bytes]:
    other = None
    try:
        # Closing is a part of producing it: what it raises comes before anything is stored.
        close(response)
        if run.raised is not None:
            run.guard.raised(claim, run.raised)
        else:
            other = run.guard.answered(claim, own.status, own.headers, own.body)
    except BaseException as error:
        run.guard.raised(claim, error)
        raise
    if other is not None:
        return send(other, start_response)
    start_response(status, own.with_length())
    return [own.body]


class Flow:
    """A response that is not kept: what was held, then the rest as it comes. At its end a record says that it ran. A client
    that leaves does not end the work: the rest is produced all the same, for renew_for_ms at most."""

    def __init__(self, guard: Guard, claim: Claim, capture: Capture, held: bytes, pieces: Iterator[bytes],
                 response: Any) -> None:
        self._guard, self._claim, self._capture = guard, claim, capture
        self._response = response
        self._pieces = self._all(held, pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def _all(self, held: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield held
            del held
            yield from _watched(pieces)
        except GeneratorExit:  # the client has left
            if not self._drained(pieces):
                self._guard.raised(self._claim, None)
            return
        except BaseException as error:
            self._guard.raised(self._claim, error)
            raise
        self._guard.answered(self._claim, self._capture.code, self._capture.headers, None)

    def _drained(self, pieces: Iterator[bytes]) -> bool:
        give_up = time.monotonic() + self._guard.settings.renew_for_ms / 1000
        try:
            for _ in pieces:
                if time.monotonic() >= give_up:
                    return False
        except Exception as error:
            log.error("record %s: its response failed after the client had left: %r", tail(self._claim.key), error)
            return False
        self._guard.answered(self._claim, self._capture.code, self._capture.headers, None)
        return True

    def close(self) -> None:
        try:
            self._pieces.close()  # type: ignore[attr-defined]
            if not self._claim.ended:  # it was never begun
                self._guard.raised(self._claim, sys.exc_info()[1])
        finally:
            close(self._response)


def _watched(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Not `yield from pieces`: that would close them when the client leaves."""
    for piece in pieces:
        yield piece
