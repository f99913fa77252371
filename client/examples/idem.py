"""idem over python3-redis: the commands as functions, the replies as named tuples.

Knows redis-py and nothing of any web framework.  Every function may be sent again after a lost
connection without changing what happens: a CLAIM because it carries an OWNER of its own, the
others because they carry the token of one grant.
"""
import logging
import threading
import time
import uuid
from typing import NamedTuple, Optional, Union

import redis

log = logging.getLogger("idem")

# A server that is up answers within milliseconds; one that is silent for this long will not help
# the caller who is waiting for an HTTP response.
ANSWER_TIMEOUT_S = 2.0
# Pauses before the second and the third try: long enough for a server that restarts its listener,
# short enough to fail closed while the user still looks at the page.
RETRY_PAUSES_S = (0.05, 0.2)
# Work that hangs must not keep its key taken for ever: after this long it is no longer renewed.
RENEW_FOR_S = 600.0


class Claimed(NamedTuple):
    """You run it.  Hand `token` to what the work writes to, so that it can refuse a lower one."""
    token: int
    lease_ms: int
    attempt: int
    stage: Optional[bytes]


class Done(NamedTuple):
    """It ran; replay this."""
    body: bytes
    meta: Optional[bytes]
    age_ms: int
    ttl_left_ms: int


class Busy(NamedTuple):
    """Another one runs it; `stage` is how far it got, if it tells."""
    lease_left_ms: int
    age_ms: int
    owner: Optional[bytes]
    stage: Optional[bytes]


class Unknown(NamedTuple):
    """It may have run: its owner vanished, or was unsure, and had asked (HOLD) that nobody run it
    again before somebody has looked.  Who has looked ends it with the token: store() if it ran,
    release(clear=True) if it did nothing, claim(takeover=token) to run it."""
    token: int
    age_ms: int
    attempt: int
    owner: Optional[bytes]
    stage: Optional[bytes]


class Lapsed(NamedTuple):
    """It may have run, and nobody runs it: the next claim does, as a later attempt."""
    token: int
    age_ms: int
    attempt: int
    owner: Optional[bytes]
    stage: Optional[bytes]


Outcome = Union[Claimed, Done, Busy, Unknown]
_SHAPES = {b"CLAIMED": Claimed, b"DONE": Done, b"BUSY": Busy, b"UNKNOWN": Unknown,
           b"LAPSED": Lapsed}


class IdemError(Exception):
    """The server refused the command; the subclasses are the refusals that a caller tells apart."""


class Unavailable(IdemError):
    """No answer.  Whether the work may run is unknown, so it must not."""


class Mismatch(IdemError):
    """The key belongs to another request (its fingerprint differs)."""


class Forgotten(IdemError):
    """The request may have run already: what is older than `horizon_ms` (unix time) the server may
    have forgotten.  Who knows better claims without born_ms."""

    def __init__(self, horizon_ms):
        super().__init__(f"requests born up to {horizon_ms} may be forgotten")
        self.horizon_ms = horizon_ms


class Stale(IdemError):
    """The token is not the current owner's.  The second word of the text says what became of the
    key: OVERTAKEN (another one has it), STORED (it has a response), ABSENT."""


class Conflict(IdemError):
    """This grant has already stored other bytes."""


class TooBig(IdemError):
    """The key, the body or another argument is over the server's limit for it."""


class Draining(IdemError):
    """The server is about to leave and grants nothing: try again later, or ask its successor."""


_REFUSALS = {"MISMATCH": Mismatch, "STALE": Stale, "CONFLICT": Conflict, "TOOBIG": TooBig,
             "DRAINING": Draining}


def _refusal(error):
    code = str(error).partition(" ")[0]
    return _REFUSALS.get(code, IdemError)(str(error))


def _outcome(reply):
    if reply is None:
        return None
    if isinstance(reply, list) and reply[:1] == [b"FORGOTTEN"]:
        raise Forgotten(reply[1])
    shape = _SHAPES.get(reply[0]) if isinstance(reply, list) and reply else None
    if shape is None:
        raise IdemError("not a reply of idem: is this another server?")
    return shape._make(reply[1:1 + len(shape._fields)])


def _options(given):
    """The words of those that are not None."""
    return [word for pair in given.items() if pair[1] is not None for word in pair]


class Idem:
    """One server.  Safe to share between threads; connects on first use, so also across fork."""

    def __init__(self, url="redis://127.0.0.1:4336", longest_wait_ms=60_000):
        # Two pools, because redis-py times a connection, not a call: a CLAIM may rightly be silent
        # for the whole WAIT, and a STORE must not hang that long on a server that hangs.
        longest_s = longest_wait_ms / 1000
        self._quick = self._client(url, ANSWER_TIMEOUT_S)
        self._patient = self._client(url, longest_s + ANSWER_TIMEOUT_S)
        self._longest_wait_ms = longest_wait_ms

    @staticmethod
    def _client(url, timeout_s):
        return redis.Redis.from_url(url, decode_responses=False, socket_timeout=timeout_s,
                                    socket_connect_timeout=ANSWER_TIMEOUT_S)

    def claim(self, key, *, fingerprint=None, owner=None, lease_ms=None, wait_ms=0, born_ms=None,
              hold=False, takeover=None) -> Outcome:
        """wait_ms 0 means: do not wait (on the wire that is an absent WAIT; WAIT 0 is the maximum).
        born_ms: the unix time of the request's first try.  hold: if this attempt ends without a
        response it may have run, and nobody is to run it again by himself.  takeover: the token of
        an Unknown, from a caller that has looked.

        The OWNER names this one call.  When the reply is lost the CLAIM is sent again with it and
        gets the same grant, instead of finding itself BUSY until its own lease expires.
        """
        if wait_ms > self._longest_wait_ms:
            raise ValueError("wait_ms is over the longest_wait_ms that this Idem was made for")
        args = ["IDEM.CLAIM", key, "OWNER", owner or uuid.uuid4().hex]
        given = {"FP": fingerprint, "LEASE": lease_ms, "BORN": born_ms, "TAKEOVER": takeover}
        args += _options(given) + ["HOLD"] * hold
        if not wait_ms:
            return _outcome(self._send(self._quick, lambda: args))
        until = time.monotonic() + wait_ms / 1000

        def with_the_wait_that_is_left():
            return args + ["WAIT", max(1, int((until - time.monotonic()) * 1000))]

        return _outcome(self._send(self._patient, with_the_wait_that_is_left, wait_ms / 1000))

    def store(self, key, token, body, *, ttl_ms=None, meta=None, unsure=False) -> int:
        """Returns how many waiting callers this answered.  ttl_ms 0: answer them, keep nothing; the
        record then ends as by release(), with the same `unsure`."""
        args = ["IDEM.STORE", key, token, body, *_options({"TTL": ttl_ms, "META": meta})]
        args += ["UNSURE"] * unsure
        return self._send(self._quick, lambda: args)

    def renew(self, key, token, *, lease_ms=None, stage=None) -> int:
        """Returns the lease that now runs, in ms."""
        args = ["IDEM.RENEW", key, token, *_options({"LEASE": lease_ms, "STAGE": stage})]
        return self._send(self._quick, lambda: args)

    def release(self, key, token, *, unsure=False, clear=False) -> bool:
        """This attempt is known to have done nothing: the next caller has the same attempt number.
        After an exception that is rarely known; then it is unsure: the next one is a later attempt,
        or with hold it is Unknown.  One that waits is that next one, at once: where there is an answer
        to give, store(ttl_ms=0, unsure=True) gives it to all who wait.  clear: somebody has looked,
        and no attempt did anything.

        False: it was not (or, after a lost reply, no longer) yours to release.
        """
        args = ["IDEM.RELEASE", key, token] + ["UNSURE"] * unsure + ["CLEAR"] * clear
        return self._send(self._quick, lambda: args) == 1

    def fetch(self, key, *, fingerprint=None) -> Union[Done, Busy, Unknown, Lapsed, None]:
        args = ["IDEM.FETCH", key, *_options({"FP": fingerprint})]
        return _outcome(self._send(self._quick, lambda: args))

    @staticmethod
    def _send(client, command, patience_s=0.0):
        give_up = time.monotonic() + patience_s + ANSWER_TIMEOUT_S
        for pause_s in (*RETRY_PAUSES_S, None):
            try:
                return client.execute_command(*command())
            except redis.ResponseError as error:
                raise _refusal(error) from None
            except redis.RedisError as error:
                if pause_s is None or time.monotonic() + pause_s >= give_up:
                    raise Unavailable(str(error)) from error
                time.sleep(pause_s)


class Renewer(threading.Thread):
    """Keeps a claim alive while the work runs; `lost` is set when another one has taken it over.

    A third of the lease: two renewals in a row may fail before anybody else gets in.
    """

    def __init__(self, idem, key, claimed, renew_for_s=RENEW_FOR_S):
        super().__init__(name="idem-renewer", daemon=True)
        self.lost = threading.Event()
        self._idem, self._key, self._claimed = idem, key, claimed
        self._renew_for_s = renew_for_s
        self._stopped = threading.Event()

    def stop(self):
        """Does not join: a renewal in flight is harmless, it names the token of its own grant."""
        self._stopped.set()

    def run(self):
        give_up = time.monotonic() + self._renew_for_s
        while not self._stopped.wait(self._claimed.lease_ms / 3000):
            if time.monotonic() > give_up:
                log.error("the work of %r still runs after %d s: no longer renewed", self._key,
                          self._renew_for_s)
                return
            if not self._renew():
                return

    def _renew(self):
        """False: the claim is lost."""
        try:
            self._idem.renew(self._key, self._claimed.token)
        except Stale:
            if not self._stopped.is_set():
                self.lost.set()
                log.error("lost the claim of %r while its work runs", self._key)
            return False
        except IdemError as error:
            log.warning("could not renew the claim of %r, will try again: %s", self._key, error)
        return True
