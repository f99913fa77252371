"""A Flask whose keyed requests run once: claim before the view, store after it, replay the rest.

Holds what the four examples share; each of them is a Policy plus its routes.  Knows Flask, idem.py
and idem_http.py.  Keeps these rules:
  - the view runs only under a claim; no answer from the server means 503, never "just run it";
  - a response is sent after it is stored, so that no client has one that a retry would not get;
  - an error does not prove that nothing happened.  Only DidNothing says so; after any other
    exception, and after an answer of 500 and more, the claim ends as unsure: a later request runs
    as attempt 2, or with Policy.hold none runs before somebody has looked.  A handler that answers
    for the exception changes that only by an answer below 500;
  - those who wait get the answer that the first one gets, a failure too: none of them runs the view
    once more;
  - who asks, method and route are part of the record's key;
  - no claim is renewed after its request, however that ended: wsgi_app sees to it at one place.
"""
import io
import json
import time
from dataclasses import dataclass
from typing import Callable, FrozenSet, Optional

from flask import Flask, Request, current_app, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wsgi import ClosingIterator, get_input_stream

import idem_http
from idem import (
    Busy, Claimed, Done, Forgotten, Idem, IdemError, Mismatch, Renewer, Stale, TooBig)

RETRY_AFTER_S = 1
INPUT_BUFFER_BYTES = 64 * 1024
DEFAULT_CONFIG = {
    "IDEM_REQUEST_LIMIT": 16 * 1024 * 1024,  # bytes of a request with a key; over it: 413
    "IDEM_BODY_LIMIT": 16 * 1024 * 1024,  # bytes of a response; over it: sent, but not kept
    # Names the header with the time of the first try, for keys that are no UUIDv7.  Only if whoever
    # sets it (a gateway, clients with a clock that is right) repeats it in each retry.
    "IDEM_BORN_HEADER": None,
}
# Where the request's environment has the claim, the body, that the response is a replay, that the
# view has raised what is no HTTP answer, and that no handler has made an answer of its own from it.
CLAIM, BODY, REPLAYED = "idem.claim", "idem.body", "idem.replayed"
RAISED, FAILED = "idem.raised", "idem.failed"


class Refused(HTTPException):
    """An answer that was given instead of running the view.  Never stored."""

    def __init__(self, code, description, retry_after_s=None):
        super().__init__(description)
        self.code = code
        self.retry_after_s = retry_after_s

    def get_headers(self, *args, **kwargs):
        headers = super().get_headers(*args, **kwargs)
        if self.retry_after_s is not None:
            headers.append(("Retry-After", str(self.retry_after_s)))
        return headers


class DidNothing(Refused):
    """Raised by a view that knows that nothing has happened (its transaction is rolled back, the
    other side refused the connection): the next one may run at once.  A time-out is no such proof.
    """

    def __init__(self, description, code=503, retry_after_s=RETRY_AFTER_S):
        super().__init__(code, description, retry_after_s)


def remote_user():
    """Whom the WSGI server has authenticated.  An application with a login of its own has another:
    Policy(find_caller=lambda: g.user_id).  Never a token that is renewed while somebody retries."""
    return request.remote_user or ""


def find_born(key):
    """When the request was first tried, in unix ms; None: unknown.  What lies in the future comes
    from a clock that is wrong.  Whose clients have wrong clocks takes another: lambda key: None."""
    born = idem_http.born_of(key)
    header = current_app.config["IDEM_BORN_HEADER"]
    if born is None and header and header in request.headers:
        born = accepted(idem_http.born_from_header, header, request.headers[header])
    return born if born is None or born <= time.time() * 1000 else None


@dataclass(frozen=True)
class Policy:
    name: str  # prefix of the record keys, so that two applications can share a server
    find_key: Callable[[], Optional[str]]  # None: run this request unguarded; may raise Refused
    ttl_s: float
    lease_s: float
    wait_s: float = 0  # how long a duplicate waits for the first; 0: not at all
    when_busy: int = 409
    keeps: Callable[[int], bool] = lambda status: status < 500  # else: shared, but not kept,
    retryable: FrozenSet[int] = idem_http.RETRYABLE  # as these are, whatever `keeps` says
    never_stored: FrozenSet[str] = idem_http.NEVER_STORED  # names of headers, in lower case
    fingerprint: bool = True  # 422 when the key comes back with another request
    key_field: Optional[str] = None  # of a form or query: where the key is, no part of the request
    renew: bool = False
    hold: bool = False  # what may have run is not run again before somebody has looked
    find_caller: Callable[[], str] = remote_user  # the same in every retry; each has keys of its own
    find_born: Callable[[str], Optional[int]] = find_born  # of the caller's key


class Claim:
    """What the running view has (as g.claim).  `token` is the fencing number of this attempt."""

    def __init__(self, idem, key, claimed):
        self.key, self.token, self.attempt = key, claimed.token, claimed.attempt
        self.ended = False
        self.response = None  # the one that ends it, now or when it is read to its end
        self._idem = idem
        self._renewer = Renewer(idem, key, claimed)

    def keep_alive(self):
        self._renewer.start()

    @property
    def lost(self):
        """True when a renewal learned that another owner has taken over."""
        return self._renewer.lost.is_set()

    def store(self, body, meta, ttl_ms, unsure=False):
        self._end()
        self._idem.store(self.key, self.token, body, ttl_ms=ttl_ms, meta=meta, unsure=unsure)

    def release(self):
        """Only when the view is known to have done nothing."""
        self._end()
        self._idem.release(self.key, self.token)

    def leave(self):
        """It may have happened, and there is no response to tell those who wait: the first of them
        runs at once, and is told that it is not the first attempt."""
        self._end()
        self._idem.release(self.key, self.token, unsure=True)

    def _end(self):
        self.ended = True
        self._renewer.stop()

    def __del__(self):
        # For a WSGI server that neither reads a response to its end nor closes it.
        self._renewer.stop()


def key_in_header(name):
    """None when the request has no such header."""
    value = request.headers.get(name)
    return None if value is None else accepted(idem_http.key_from_header, name, value)


def in_form(name):
    """The values of a field, also when something has read the body before without parsing it: then
    request.form is empty, and a form with a key would run as if it had none."""
    if request.mimetype not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return []
    body = whole_body(request)
    environ = {**request.environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    with Request(environ, populate_request=False) as again:
        return again.form.getlist(name)


def accepted(check, where, value):
    try:
        return check(value)
    except idem_http.BadKey as error:
        raise Refused(400, f"{where}: {error}.") from None


def whole_body(request):
    try:
        return request.environ[BODY].whole()
    except idem_http.TooLong:
        raise Refused(413, "The body is over the limit for a request with a key.") from None


def fingerprint_of(request, key_field=None):
    path = request.environ.get("SCRIPT_NAME", "") + request.environ.get("PATH_INFO", "")
    return idem_http.fingerprint(
        request.method.encode(), path.encode("latin-1"),
        request.environ.get("QUERY_STRING", "").encode("latin-1"), whole_body(request),
        request.headers.get("Content-Type", ""), key_field)


def milliseconds(seconds):
    return int(round(seconds * 1000))


def hold(response, limit):
    """Produces the response: (its bytes, None), or when it is over the limit (the first of them, an
    iterator over the rest).  Events are not held: their reader waits for each."""
    pieces = response.iter_encoded()
    if response.mimetype == "text/event-stream":
        return b"", pieces
    held = bytearray()
    try:
        for piece in pieces:
            held += piece
            if len(held) > limit:
                return bytes(held), pieces
    except BaseException:
        response.close()
        raise
    return bytes(held), None


class IdempotentFlask(Flask):
    """Flask's own hooks are overridden rather than before_request/after_request used: functions
    registered there run in an order that other extensions can upset."""

    def guard(self, policy):
        self.policy = policy
        self.idem = Idem(self.config["IDEM_URL"], longest_wait_ms=milliseconds(policy.wait_s))
        for name, value in DEFAULT_CONFIG.items():
            self.config.setdefault(name, value)

    # -- around one request ----------------------------------------------------------------------

    def wsgi_app(self, environ, start_response):
        body = idem_http.RecordedInput(get_input_stream(environ), self._request_limit())
        # A copy: servers look at their own environ afterwards.
        environ = {**environ, "wsgi.input": io.BufferedReader(body, INPUT_BUFFER_BYTES),
                   "wsgi.input_terminated": True, BODY: body}
        try:
            response = super().wsgi_app(environ, start_response)
        except BaseException:
            self._fail(environ.get(CLAIM))
            raise
        claim = environ.get(CLAIM)
        if claim is None or claim.ended:
            return response
        return ClosingIterator(response, lambda: self._leave(claim))

    def preprocess_request(self):
        # The application's own before_request functions first: a replay must not go round a login.
        g.pop("claim", None)
        response = super().preprocess_request()
        if response is not None or request.routing_exception is not None:
            return response
        key = self.policy.find_key()
        return None if key is None else self._claim(key)

    def dispatch_request(self):
        # Not handle_user_exception: extensions replace that to answer errors in their own way.
        try:
            return super().dispatch_request()
        except DidNothing:
            self._release()
            raise
        except HTTPException:
            raise
        except Exception:
            request.environ[RAISED] = True
            raise

    def process_response(self, response):
        if REPLAYED in request.environ:
            return response
        # Before the functions after the request: they may change the status.
        if RAISED in request.environ and response.status_code >= 500:
            request.environ[FAILED] = True
        response = super().process_response(response)
        self._settle(response)
        return response

    def handle_exception(self, error):
        # Of the view, of a function after it, of the session, or of the response while it was made.
        request.environ[FAILED] = True
        response = super().handle_exception(error)
        self._settle(response)  # if a function after the request has failed with it, too
        return response

    def _request_limit(self):
        limit = self.config["IDEM_REQUEST_LIMIT"]
        return min(limit, self.config["MAX_CONTENT_LENGTH"] or limit)

    # -- the beginning of a claim ----------------------------------------------------------------

    def _claim(self, key):
        """None when the view is to run, else the response that stands for it."""
        policy = self.policy
        record = idem_http.record_key(policy.name, policy.find_caller(), request.method,
                                      request.url_rule.rule, key)
        outcome = self._ask(record, policy.find_born(key))
        if isinstance(outcome, Claimed):
            g.claim = request.environ[CLAIM] = Claim(self.idem, record, outcome)
            if policy.renew:
                g.claim.keep_alive()
            return None
        if isinstance(outcome, Done):
            return self._replay(outcome)
        if isinstance(outcome, Busy):
            raise Refused(policy.when_busy, "The first request with this key is still running.",
                          RETRY_AFTER_S)
        raise Refused(409, "An earlier request with this key may have run; its outcome is unknown."
                           " Somebody has to look before it is run again.")

    def _ask(self, record, born_ms):
        policy = self.policy
        digest = fingerprint_of(request, policy.key_field) if policy.fingerprint else None
        try:
            return self.idem.claim(record, fingerprint=digest, born_ms=born_ms, hold=policy.hold,
                                   lease_ms=milliseconds(policy.lease_s),
                                   wait_ms=milliseconds(policy.wait_s))
        except Forgotten:
            raise Refused(412, "This request may have run already: it is so old that its response"
                               " may be forgotten. Look before you send it with a new key."
                          ) from None
        except Mismatch:
            raise Refused(422, "This key was used for a different request.") from None
        except TooBig:
            raise Refused(400, "The idempotency key is too long.") from None
        except IdemError as error:
            self.logger.error("claim of %r: %s: the request is refused", record, error)
            raise Refused(503, "Cannot tell whether this request has run already.",
                          RETRY_AFTER_S) from None

    def _replay(self, done):
        head = idem_http.unpack_head(done.meta)
        if head is None:
            raise Refused(410, "This request has run, but its response is not kept in a form that"
                               " can be shown again.")
        status, headers = head
        response = self.response_class(done.body, status=status)
        response.headers = Headers(idem_http.storable(headers, self.policy.never_stored))
        response.headers["Idempotent-Replayed"] = "true"
        request.environ[REPLAYED] = True
        return response

    # -- its end ---------------------------------------------------------------------------------

    def _settle(self, response):
        claim = request.environ.get(CLAIM)
        if claim is None or claim.ended or claim.response is response:
            return
        failed = FAILED in request.environ
        held, rest = hold(response, self.config["IDEM_BODY_LIMIT"])
        if hasattr(response.response, "close"):
            response.call_on_close(response.response.close)
        response.direct_passthrough = False  # what was read of a file is sent from here
        claim.response = response
        if rest is None:
            response.response = [held]
            self._finish(claim, response, held, failed)
        else:
            response.response = self._flow(claim, held, rest, failed)

    def _flow(self, claim, held, rest, failed):
        """At its end the work is done, and a record without its response stops the second run.  When
        the client leaves before that (GeneratorExit), wsgi_app ends the claim."""
        response = claim.response
        yield held
        del held
        try:
            yield from rest
        except GeneratorExit:
            raise
        except BaseException:
            self._fail(claim)
            raise
        self._finish(claim, response, None, failed)

    def _finish(self, claim, response, body, failed):
        """body None: too big to be kept.  failed: whatever the status says, it may have happened."""
        # Not kept is STORE TTL 0, not RELEASE: callers that wait get this very answer, while a
        # RELEASE would let each of them run the view in turn, fifty failures one after the other.
        # Below 500 the view has decided not to do it.  With 500 and more it may have got half way.
        status = response.status_code
        keeps = (not failed and self.policy.keeps(status)
                 and status not in self.policy.retryable)
        ttl_ms = milliseconds(self.policy.ttl_s) if keeps else 0
        unsure = failed or (not keeps and status >= 500)
        try:
            try:
                if body is not None:
                    headers = idem_http.storable(response.headers, self.policy.never_stored)
                    claim.store(body, idem_http.pack_head(response.status, headers), ttl_ms, unsure)
                    return
            except TooBig:
                pass
            self.logger.error("response of %r is too big to be kept", claim.key)
            claim.store("This request has run; its response was too big to be kept.\n",
                        idem_http.pack_head("410 GONE" if keeps else response.status,
                                            [("Content-Type", "text/plain; charset=utf-8")]),
                        ttl_ms, unsure)
        except Stale as error:
            self.logger.error("the claim of %r is not this work's any more, its response is NOT"
                              " stored (token %d): %s", claim.key, claim.token, error)
        except IdemError as error:
            self.logger.error("response of %r is NOT stored: %s", claim.key, error)

    def _release(self):
        claim = request.environ.get(CLAIM)
        if claim is None or claim.ended:
            return
        try:
            claim.release()
        except IdemError as error:
            self.logger.error("claim of %r is not released, its lease runs on: %s", claim.key,
                              error)

    def _fail(self, claim):
        """What raised never came to a response.  Those who wait get what a server makes of that."""
        if claim is None or claim.ended:
            return
        self.logger.error("what the work of %r did is unknown (token %d)", claim.key, claim.token)
        response = self.response_class("This request may have run.\n", 500, mimetype="text/plain")
        self._finish(claim, response, response.get_data(), failed=True)

    def _leave(self, claim):
        """The client has left in the middle of the response, which so has no end to be told."""
        if claim.ended:
            return
        self.logger.error("what the work of %r did is unknown (token %d)", claim.key, claim.token)
        try:
            claim.leave()
        except IdemError as error:
            self.logger.error("claim of %r: %s: its key stays shut until the lease expires",
                              claim.key, error)


def answer_errors_in_json(app):
    @app.errorhandler(HTTPException)
    def as_problem(error):
        response = error.get_response()  # keeps the status and Retry-After
        response.data = json.dumps({"title": error.name, "status": error.code,
                                    "detail": error.description})
        response.content_type = "application/problem+json"
        return response
