"""The interface of Flask-Idempotent 0.1, on idem.

    from flask_idempotent import Idempotent
    Idempotent(app)                        {{ idempotent_input() }} in each form

A request has a key in the field or argument `__idempotent_key` or in the header X-Idempotent-Key, whatever its method. Later
requests with the key wait for the first, and get its response; nobody runs twice, no wake-up is lost, nothing is pickled. The same
key with another request is a 422. After IDEMPOTENT_TIMEOUT it is a 408, as there.

    REDIS_URL             an idem server; IDEM_URL and redis://127.0.0.1:4336 if it is not set
    IDEMPOTENT_TIMEOUT    60   seconds for which a later request waits for the first, at most 60
    IDEMPOTENT_EXPIRE    240   seconds for which the response is kept
    IDEMPOTENT_BUSY      408   the status then; 409 is the one of the IETF draft
    IDEMPOTENCY                a mapping with other settings of the middleware
"""
from __future__ import annotations

import io
import threading
import uuid
from typing import Any, Callable, List, Optional
from urllib.parse import unquote_plus

import flask
from flask import Request, request
from markupsafe import Markup

from . import wsgi
from .flask import RECORDED, Idempotency
from .guard import Guard
from .protocol import Text
from .request import View
from .settings import Settings

FIELD = "__idempotent_key"
HEADER = "X-Idempotent-Key"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Of HEAD and OPTIONS the empty answers must not be a GET's replay.
UNGUARDED = frozenset({"HEAD", "OPTIONS", "TRACE"})
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

Finder = Callable[[Any], Optional[str]]


class Idempotent(Idempotency):
    """See the module. Safe to be made before app.config is complete: that is read at the first request."""

    def __init__(self, app: Optional[flask.Flask] = None) -> None:
        self._finders: List[Finder] = []
        self._configuring = threading.Lock()
        super().__init__(app)

    def init_app(self, app: flask.Flask) -> None:
        app.config.setdefault("IDEMPOTENT_TIMEOUT", 60)
        app.config.setdefault("IDEMPOTENT_EXPIRE", 240)
        app.config.setdefault("IDEMPOTENT_BUSY", 408)
        app.add_template_global(idempotent_key)
        app.add_template_global(idempotent_input)
        self._install(app, self._configured(app))
        self._configured_late = False

    def key_finder(self, finder: Finder) -> Finder:
        """Another place where a key may be: a function of the request. May be used as a decorator."""
        self._finders.append(finder)
        return finder

    def _configured(self, app: flask.Flask) -> Guard:
        config = app.config
        settings = {"url": config.get("REDIS_URL"), "header": HEADER, "methods": METHODS, "prefix": "form",
                    "wait_ms": milliseconds(config["IDEMPOTENT_TIMEOUT"]),
                    "ttl_ms": milliseconds(config["IDEMPOTENT_EXPIRE"]), "busy_status": config["IDEMPOTENT_BUSY"]}
        return Guard(Settings.of({**settings, **config.get("IDEMPOTENCY", {})}), key_field=FIELD, unguarded=UNGUARDED)

    def _wsgi_app(self, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Any:
        # Its documentation makes the extension before it sets the configuration.
        if not self._configured_late:
            with self._configuring:
                if not self._configured_late:
                    self.guard = self._configured(self._app)
                    self._configured_late = True  # last: after an error the next request says it too
        return super()._wsgi_app(environ, start_response)

    def _may_have_key(self, environ: wsgi.Environ) -> bool:
        return environ["REQUEST_METHOD"] in METHODS and (
            bool(self._finders) or FIELD in unquote_plus(environ.get("QUERY_STRING", "")) or wsgi.variable(HEADER) in environ
            or environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() in FORMS)

    def _find_key(self, guard: Guard, view: View) -> Optional[str]:
        if guard.passes(view):
            return None
        in_header = guard.key_in_header(view)
        fields = {guard.key_in_field(view, value) for value in [*request.args.getlist(FIELD), *in_form(guard, view)]}
        fields |= set() if in_header is None else {in_header}
        if len(fields) > 1:
            raise guard.several_keys(view)
        if fields:
            return fields.pop()
        for find in self._finders:
            found = find(request)
            if found:
                return guard.key_in_field(view, found)
        return guard.demand(view, None)


def in_form(guard: Guard, view: View) -> List[str]:
    """The values of the field, also when something has read the body before without parsing it: then request.form is empty,
    and a form with a key would run as if it had none."""
    if request.mimetype not in FORMS:
        return []
    body = wsgi.read_whole(guard, view, request.environ[RECORDED])
    environ = {**request.environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    with Request(environ, populate_request=False) as again:
        return list(again.form.getlist(FIELD))


def milliseconds(seconds: Any) -> int:
    return int(round(float(seconds) * 1000))


def idempotent_key() -> str:
    return uuid.uuid4().hex


def idempotent_input() -> Text:
    return Markup('<input type="hidden" name="%s" value="%s">') % (FIELD, idempotent_key())
