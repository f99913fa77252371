"""A Flask whose keyed requests run once: claim before the view, store after it, replay the rest.

Holds what the four examples share; each of them is a Policy plus its routes.  Knows Flask and
idem.py.  Keeps these rules:
  - the view runs only under a claim; no answer from the server means 503, never "just run it";
  - a claim ends exactly once: stored when there is a response, released when the view raised;
  - what is stored is the whole response as the client gets it, session cookie included.
"""
import hashlib
import json
from dataclasses import dataclass
from typing import Callable, Optional

from flask import Flask, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from idem import Busy, Claimed, Done, Idem, IdemError, Mismatch, Renewer, Stale, TooBig

RETRY_AFTER_S = 1


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


@dataclass(frozen=True)
class Policy:
    name: str  # prefix of the record keys, so that two applications can share a server
    find_key: Callable[[], Optional[str]]  # None: run this request unguarded; may raise Refused
    ttl_s: float
    lease_s: float
    wait_s: float = 0  # how long a duplicate waits for the first; 0: not at all
    when_busy: int = 409
    keeps: Callable[[int], bool] = lambda status: status < 500  # else: shared, but not cached
    fingerprint: bool = False  # 422 when the key comes back with another request
    renew: bool = False


class Claim:
    """What the running view has (as g.claim).  `token` is the fencing number of this attempt."""

    def __init__(self, idem, key, claimed):
        self.key, self.token, self.attempt = key, claimed.token, claimed.attempt
        self._idem = idem
        self._renewer = Renewer(idem, key, claimed)

    def keep_alive(self):
        self._renewer.start()

    @property
    def lost(self):
        """True when a renewal learned that somebody else has taken over."""
        return self._renewer.lost.is_set()

    def store(self, body, meta, ttl_ms):
        self._renewer.stop()
        self._idem.store(self.key, self.token, body, ttl_ms=ttl_ms, meta=meta)

    def release(self):
        self._renewer.stop()
        self._idem.release(self.key, self.token)


def fingerprint_of(request):
    """The raw bytes, not their meaning: a client that retries sends what it sent."""
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.full_path.encode(), request.get_data()):
        digest.update(b"%d:" % len(part) + part)
    return digest.digest()


def milliseconds(seconds):
    return int(round(seconds * 1000))


class IdempotentFlask(Flask):
    """Three of Flask's own hooks are overridden rather than before_request/after_request used:
    functions registered there run in an order that other extensions can upset, and the session
    cookie is written after the last of them, so it would be missing from what is stored."""

    def guard(self, policy):
        self.policy = policy
        self.idem = Idem(self.config["IDEM_URL"], longest_wait_ms=milliseconds(policy.wait_s))
        self.teardown_request(lambda _error: self._release())

    def preprocess_request(self):
        # The application's own before_request functions first: a replay must not go round a login.
        response = super().preprocess_request()
        if response is not None or request.routing_exception is not None:
            return response
        key = self.policy.find_key()
        return self._claim(f"{self.policy.name}:{key}") if key else None

    def process_response(self, response):
        if g.get("replayed"):
            return response
        response = super().process_response(response)
        claim = g.pop("claim", None)
        if claim is not None:
            self._store(claim, response)
        return response

    def handle_exception(self, error):
        self._release()
        return super().handle_exception(error)

    def _claim(self, key):
        """None when the view is to run, else the response that stands for it."""
        policy = self.policy
        try:
            outcome = self.idem.claim(
                key, fingerprint=fingerprint_of(request) if policy.fingerprint else None,
                lease_ms=milliseconds(policy.lease_s), wait_ms=milliseconds(policy.wait_s))
        except Mismatch:
            raise Refused(422, "This key was used for a different request.") from None
        except TooBig:
            raise Refused(400, "The idempotency key is too long.") from None
        except IdemError as error:
            self.logger.error("claim of %r: %s: the request is refused", key, error)
            raise Refused(503, "Cannot tell whether this request has run already.",
                          RETRY_AFTER_S) from None
        if isinstance(outcome, Claimed):
            g.claim = Claim(self.idem, key, outcome)
            if policy.renew:
                g.claim.keep_alive()
            return None
        if isinstance(outcome, Done):
            return self._replay(outcome)
        if isinstance(outcome, Busy):
            raise Refused(policy.when_busy, "The first request with this key is still running.",
                          RETRY_AFTER_S)
        raise Refused(409, "The first request with this key vanished; its outcome is unknown.")

    def _replay(self, done):
        status, headers = json.loads(done.meta)
        response = self.response_class(done.body, status=status)
        response.headers = Headers([(name, value) for name, value in headers])
        response.headers["Idempotent-Replayed"] = "true"
        g.replayed = True
        return response

    def _store(self, claim, response):
        response.direct_passthrough = False  # a file that is sent has to be read to be kept
        body = response.get_data()
        meta = json.dumps([response.status, list(response.headers)])
        # Not kept is STORE TTL 0, not RELEASE: those who wait get this very answer, while a
        # RELEASE would let each of them run the view in turn, fifty failures one after the other.
        keeps = self.policy.keeps(response.status_code)
        ttl_ms = milliseconds(self.policy.ttl_s) if keeps else 0
        try:
            try:
                claim.store(body, meta, ttl_ms)
            except TooBig:
                # The work is done; a record without its response still stops the second run.
                self.logger.error("response of %r is too big to be kept", claim.key)
                gone = [["Content-Type", "text/plain; charset=utf-8"]]
                claim.store("This request has run; its response was too big to be kept.\n",
                            json.dumps(["410 GONE", gone]), ttl_ms)
        except Stale:
            self.logger.error("STALE: the work of %r outran its lease and was given to another;"
                              " this response is NOT stored (token %d)", claim.key, claim.token)
        except IdemError as error:
            self.logger.error("response of %r is NOT stored: %s", claim.key, error)

    def _release(self):
        claim = g.pop("claim", None)
        if claim is None:
            return
        try:
            claim.release()
        except IdemError as error:
            self.logger.error("claim of %r is not released, its lease runs on: %s", claim.key,
                              error)


def answer_errors_in_json(app):
    @app.errorhandler(HTTPException)
    def as_problem(error):
        response = error.get_response()  # keeps the status and Retry-After
        response.data = json.dumps({"title": error.name, "status": error.code,
                                    "detail": error.description})
        response.content_type = "application/problem+json"
        return response
