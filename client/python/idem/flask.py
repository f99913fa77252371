"""The middleware for Flask: `Idempotency(app)`, or `Idempotency()` and `init_app(app)`.

The claim is made after the application's functions before the request (its login), just before the view; the response is held
outside, after the functions after the request and the session. So a failure in them is seen. A replay passes them too, and then
is made again what they had made of the first response; of what they add then stays what is never stored (the session's cookie).
Where Flask has no hook for that, methods of the application object are wrapped.
"""
from __future__ import annotations

from typing import Any, Callable, Collection, Iterable, Optional

import flask
from flask import current_app, g, request
from werkzeug.exceptions import HTTPException

from . import wsgi
from .claims import Claim, DidNothing
from .guard import Guard, Refused
from .request import View, scope_text
from .response import Answer, of_this_exchange
from .settings import Settings, idempotent, route_of

__all__ = ["Idempotency", "idempotent"]

RECORDED = "idem.recorded"  # in the environ: the input
RUN = "idem.run"  # in the environ: what conduct has to know
SEEN = "idem.seen"  # an exception for which a handler may have an answer
EXTENSION = "idempotency"


class Idempotency:
    """Around the views of a Flask application; the claim is `g.idempotency`, None when unguarded.

    Settings as keywords, or as the mapping app.config["IDEMPOTENCY"]. Raises SettingsError.
    """

    def __init__(self, app: Optional[flask.Flask] = None, **settings: Any) -> None:
        self._given = settings
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        self._install(app, Guard(Settings.of({**app.config.get("IDEMPOTENCY", {}), **self._given})))

    def close(self) -> None:
        self.guard.close()

    def _install(self, app: flask.Flask, guard: Guard) -> None:
        self.guard = guard
        self._app = app
        app.extensions[EXTENSION] = self
        self._inner: wsgi.App = app.wsgi_app
        self._dispatch: Callable[[], Any] = app.dispatch_request
        self._handle: Callable[[Exception], Any] = app.handle_exception
        self._process: Callable[[Any], Any] = app.process_response
        wrapped: Any = app
        wrapped.wsgi_app, wrapped.dispatch_request, wrapped.handle_exception = self._wsgi_app, self._view, self._failed
        wrapped.process_response = self._processed

    # -- around one request --

    def _wsgi_app(self, environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
        if not self._may_have_key(environ):
            return self._inner(environ, start_response)
        recorded = wsgi.RecordedInput(environ, self._record_limit())
        environ = wsgi.copy_with(environ, recorded)
        environ[RECORDED] = recorded
        environ[RUN] = run = wsgi.Run(self.guard)
        return wsgi.conduct(run, self._inner, environ, start_response)

    def _may_have_key(self, environ: wsgi.Environ) -> bool:
        return self.guard.may_concern(environ["REQUEST_METHOD"], lambda name: wsgi.variable(name) in environ)

    def _record_limit(self) -> int:
        limit = self.guard.record_limit()
        return min(limit, self._app.config["MAX_CONTENT_LENGTH"] or limit)

    def _view(self) -> Any:
        """In place of dispatch_request."""
        try:
            answer = self._begin()
        except Refused as refused:
            answer = refused.answer
        if answer is not None:
            return as_response(answer)
        try:
            return self._dispatch()
        except DidNothing as error:
            return as_response(self.guard.did_nothing(g.idempotency, error))
        except HTTPException:  # an answer
            raise
        except Exception as error:
            request.environ[SEEN] = error
            raise

    def _begin(self) -> Optional[Answer]:
        """None: the view is to run."""
        g.idempotency = None
        if request.routing_exception is not None:  # it has no view
            return None
        guard = self.guard.for_route(route_of(self._app.view_functions.get(str(request.endpoint))))
        view = self._request_view()
        key = self._find_key(guard, view)
        if key is None:
            return None
        recorded = request.environ.get(RECORDED)
        if recorded is None:  # it did not come through wsgi_app: nobody would end its claim
            raise guard.consumed(view)
        body = wsgi.read_whole(guard, view, recorded)
        plan = guard.plan(view, key, body)
        begun = guard.begin(plan, guard.ask(plan))
        run: wsgi.Run = request.environ[RUN]
        run.guard = guard
        if isinstance(begun, Claim):
            g.idempotency = request.environ[wsgi.CLAIM] = run.claim = begun
            return None
        if begun is not None and begun.replayed:
            run.replay = begun
        return begun

    def _find_key(self, guard: Guard, view: View) -> Optional[str]:
        return guard.key_of(view)

    def _request_view(self) -> View:
        view = wsgi.view_of(request.environ, request)
        view.user = user
        return view

    def _failed(self, error: Exception) -> Any:
        """In place of handle_exception: of the view, of a function after it, of the session."""
        request.environ[SEEN] = error
        return self._handle(error)

    def _processed(self, response: Any) -> Any:
        """In place of process_response. Below 500 a handler has decided what the exception means; the functions after the request,
        which may put anything into an envelope of 200, have not."""
        run: Optional[wsgi.Run] = request.environ.get(RUN)
        if run is not None and SEEN in request.environ and response.status_code >= 500:
            run.raised = request.environ[SEEN]
        response = self._process(response)
        if run is not None and run.replay is not None and SEEN not in request.environ:
            replay_again(response, run.replay, run.guard.settings.drop_headers)
        return response


def user() -> Optional[str]:
    """Whom flask-login or the WSGI server has authenticated."""
    if hasattr(current_app, "login_manager"):
        import flask_login
        if flask_login.current_user.is_authenticated:
            return scope_text(flask_login.current_user.get_id(), "the user's get_id()")
    remote: Optional[str] = request.remote_user
    return remote or None


def as_response(answer: Answer) -> flask.Response:
    response = current_app.response_class(answer.body, status=answer.status)
    response.headers.clear()
    for name, value in answer.with_length():
        response.headers.add(name, value)
    return response


def replay_again(response: Any, answer: Answer, drop: Collection[str]) -> None:
    """The record has what the functions after the request made of the first response: not once more."""
    headers = [*of_this_exchange(list(response.headers), drop), *answer.with_length()]
    response.set_data(answer.body)
    response.status_code = answer.status
    response.headers.clear()
    for name, value in headers:
        response.headers.add(name, value)
