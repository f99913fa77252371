"""The synchronous client: one server, safe to share between threads.

Connections are opened at first use, and again after a fork (redis-py's pool compares the pid). Every call may be
sent again after a lost connection without changing what happens: a CLAIM because it carries an OWNER, the
others because they carry the token of one grant. So each is tried twice.
"""
from __future__ import annotations

import os
from typing import Any, Callable, Iterable, List, Optional, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import protocol
from .protocol import IdemError, Outcome, Record, Text, Unavailable, Words

DEFAULT_URL = "redis://127.0.0.1:4336"
# A server that is up answers within milliseconds; one that is silent for so long will not help a caller who waits
# for an HTTP response.
TIMEOUT_MS = 2_000
TRIES = 2


def default_url() -> str:
    return os.environ.get("IDEM_URL", DEFAULT_URL)


def connection_options(timeout_ms: int) -> Any:
    """redis-py's own retries are off: since 6.0 it has some, and theirs know no deadline."""
    seconds = timeout_ms / 1000
    return {"decode_responses": False, "socket_timeout": seconds, "socket_connect_timeout": seconds,
            "socket_keepalive": True}


class Idem:
    """One server.

    url: `redis://[[user]:password@]host:port`, `rediss://...` or `unix://...`; None: the environment's IDEM_URL, else
    redis://127.0.0.1:4336. timeout_ms: for each answer, beyond a wait; a call takes at most twice that.
    Raises Unavailable when there is no answer, another IdemError when the server refuses.
    """

    def __init__(self, url: Optional[str] = None, *, timeout_ms: int = TIMEOUT_MS) -> None:
        self.url = url or default_url()
        self.timeout_ms = timeout_ms
        self._redis = redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), **connection_options(timeout_ms))

    def close(self) -> None:
        self._redis.connection_pool.disconnect()

    # -- commands --

    def claim(self, key: Text, *, fingerprint: Optional[bytes] = None, owner: Optional[Text] = None,
              lease_ms: Optional[int] = None, wait_ms: int = 0, born_ms: Optional[int] = None, hold: bool = False,
              takeover: Optional[int] = None) -> Outcome:
        """Claimed: run it. Done: replay it. Busy: another one runs it (after wait_ms). Unknown: somebody has to look.
        Raises Mismatch, Forgotten.

        fingerprint: a digest of what was asked. wait_ms: 0 does not wait; the first CLAIM never does, so only a real
        duplicate costs a connection of its own. born_ms: unix time of the request's *first* try. hold: what may
        have run is not run again before somebody has looked. takeover: the token of an Unknown."""
        words = protocol.claim(key, owner=owner or protocol.new_owner(), fingerprint=fingerprint, lease_ms=lease_ms,
                               born_ms=born_ms, hold=hold, takeover=takeover)
        outcome = protocol.record(self.send(words))
        if wait_ms and isinstance(outcome, protocol.Busy):
            outcome = self.wait_to_claim(words, wait_ms)
        return cast(Outcome, outcome)

    def wait_to_claim(self, words: Words, wait_ms: int) -> Outcome:
        """The same CLAIM, queued, on a connection of its own: it blocks whatever is sent after it."""
        deadline = protocol.Deadline(wait_ms)
        return cast(Outcome, protocol.record(self._tried(lambda: self._send_apart(words, deadline))))

    def store(self, key: Text, token: int, body: Text, *, ttl_ms: Optional[int] = None, meta: Optional[Text] = None,
              unsure: bool = False) -> int:
        """How many waiting callers this answered. ttl_ms 0: answer them, keep nothing; then the record ends as by
        release(), with the same `unsure`. Raises Stale, TooBig, Conflict."""
        return cast(int, self.send(protocol.store(key, token, body, ttl_ms=ttl_ms, meta=meta, unsure=unsure)))

    def renew(self, key: Text, token: int, *, lease_ms: Optional[int] = None, stage: Optional[Text] = None) -> int:
        """The lease that now runs, in ms. Raises Stale."""
        return cast(int, self.send(protocol.renew(key, token, lease_ms=lease_ms, stage=stage)))

    def release(self, key: Text, token: int, *, unsure: bool = False, clear: bool = False) -> bool:
        """This attempt did nothing: the next one has the same number. unsure: it may have acted. clear: somebody has
        looked, and no attempt did anything. False: it was not (or no longer) yours to release."""
        return bool(self.send(protocol.release(key, token, unsure=unsure, clear=clear)) == 1)

    def fetch(self, key: Text, *, fingerprint: Optional[bytes] = None) -> Record:
        """What is there, without claiming it. None: nothing."""
        return cast(Record, protocol.record(self.send(protocol.fetch(key, fingerprint=fingerprint))))

    # -- how they are sent --

    def send(self, words: Words) -> Any:
        return self._tried(lambda: self._send(words))

    def _send(self, words: Words) -> Any:
        """Not by execute_command: that puts a connection back whose call was ended between the command and its answer (by the
        exception of a signal or of a time limit), and the next call gets the answer to that one: another user's response."""
        pool = self._redis.connection_pool
        connection = pool.get_connection(str(words[0]))
        try:
            connection.send_command(*words)
            return connection.read_response()
        except redis.ResponseError:
            raise
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def send_all(self, commands: Iterable[Words]) -> List[Any]:
        """In one round trip, once. One reply for each: an exception stands for itself and is not raised."""
        pipeline = self._redis.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        try:
            replies = pipeline.execute(raise_on_error=False)
        except redis.RedisError as error:
            raise Unavailable(str(error)) from error
        return [_as_ours(reply) if isinstance(reply, redis.RedisError) else reply for reply in replies]

    @staticmethod
    def _tried(call: Callable[[], Any]) -> Any:
        for tries_left in reversed(range(TRIES)):
            try:
                return call()
            except redis.RedisError as error:
                ours = _as_ours(error)
                if tries_left == 0 or not isinstance(ours, Unavailable):
                    raise ours from None

    def _send_apart(self, words: Words, deadline: protocol.Deadline) -> Any:
        pool = self._redis.connection_pool
        patience_ms = deadline.left_ms() + self.timeout_ms
        connection = pool.connection_class(**{**pool.connection_kwargs, "socket_timeout": patience_ms / 1000})
        try:
            connection.send_command(*words, *deadline.words())
            return connection.read_response()
        finally:
            connection.disconnect()


def _as_ours(error: redis.RedisError) -> IdemError:
    if isinstance(error, redis.ResponseError):
        return protocol.refusal(str(error))
    return Unavailable(str(error) or type(error).__name__)
