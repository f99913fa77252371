"""The middleware for Django, last in the list so that what refuses a caller runs first:

    MIDDLEWARE += ["idem.django.Idempotency"]
    IDEMPOTENCY = {"wait_ms": 10_000}

The body is read in the request phase, before a CSRF check parses it; the claim is made just before the view, where the login and
the view's own settings are known. The claim is `request.idempotency`, None when unguarded.
"""
from __future__ import annotations

import hashlib
import io
from typing import Any, Callable, Iterator, Optional

from django.conf import settings as django_settings
from django.http import HttpResponse

from .claims import Claim, DidNothing
from .guard import Guard, Held, Refused, content_type_of
from .request import Body, Parsed, View, scope_text
from .response import Answer, Headers
from .settings import Settings, idempotent, route_of
from .wsgi import Capture, Flow, RecordedInput, checked_size, read_whole

__all__ = ["Idempotency", "idempotent"]

FILE_CHUNK_BYTES = 64 * 1024


class Idempotency:
    """Django makes one of it. Settings are the mapping IDEMPOTENCY in Django's; raises SettingsError."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self.guard = Guard(Settings.of(getattr(django_settings, "IDEMPOTENCY", {})))

    def close(self) -> None:
        self.guard.close()

    def __call__(self, request: Any) -> Any:
        request.idempotency = None
        if self.guard.may_concern(request.method, request.headers.__contains__):
            _record(request, self.guard.record_limit())
        try:
            response = self._get_response(request)
        except BaseException as error:
            if request.idempotency is not None:
                self._guard_of(request).raised(request.idempotency, error)
            raise
        claim: Optional[Claim] = request.idempotency
        return response if claim is None else self._settle(request, claim, response)

    def process_view(self, request: Any, view_func: Any, _args: Any, _kwargs: Any) -> Any:
        guard = request._idem_guard = self.guard.for_route(route_of(view_func))
        try:
            begun = self._begin(guard, request)
        except Refused as refused:
            begun = refused.answer
        if isinstance(begun, Claim):
            request.idempotency = begun
            return None
        return None if begun is None else as_response(begun)

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

    def _begin(self, guard: Guard, request: Any) -> Any:
        view = view_of(request)
        key = guard.key_of(view)
        if key is None:
            return None
        plan = guard.plan(view, key, _body(guard, view, request))
        return guard.begin(plan, guard.ask(plan))

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
        if getattr(response, "is_async", False):  # this middleware has no loop in which it could be held
            guard.answered(claim, response.status_code, _headers(response), None)
            return response
        return self._settle_stream(guard, claim, response)

    def _settle_stream(self, guard: Guard, claim: Claim, response: Any) -> Any:
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
            response.streaming_content = _Flowing(guard, claim, response, held.bytes(), pieces)
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
    """The answer with the first response's cookies, which belong to this client."""
    own = as_response(answer)
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

    def close(self) -> None:
        self._flow.close()
