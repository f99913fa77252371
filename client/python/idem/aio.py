"""The asynchronous client: the same calls as Idem, to be awaited.

Belongs to one event loop. A call that is cancelled while it waits in the server closes its connection, so that it is
never granted.
"""
from __future__ import annotations

from typing import Any, Awaitable, Callable, Optional, cast

import redis
import redis.asyncio
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from . import protocol
from .client import TIMEOUT_MS, TRIES, _as_ours, connection_options, default_url
from .protocol import Outcome, Record, Text, Unavailable, Words


class AsyncIdem:
    """One server, from one event loop. Arguments and errors are those of Idem."""

    def __init__(self, url: Optional[str] = None, *, timeout_ms: int = TIMEOUT_MS) -> None:
        self.url = url or default_url()
        self.timeout_ms = timeout_ms
        self._redis = redis.asyncio.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0),
                                                   **connection_options(timeout_ms))

    async def close(self) -> None:
        await self._redis.connection_pool.disconnect()

    async def claim(self, key: Text, *, fingerprint: Optional[bytes] = None, owner: Optional[Text] = None,
                    lease_ms: Optional[int] = None, wait_ms: int = 0, born_ms: Optional[int] = None,
                    hold: bool = False, takeover: Optional[int] = None) -> Outcome:
        words = protocol.claim(key, owner=owner or protocol.new_owner(), fingerprint=fingerprint, lease_ms=lease_ms,
                               born_ms=born_ms, hold=hold, takeover=takeover)
        outcome = protocol.record(await self.send(words))
        if wait_ms and isinstance(outcome, protocol.Busy):
            outcome = await self.wait_to_claim(words, wait_ms)
        return cast(Outcome, outcome)

    async def wait_to_claim(self, words: Words, wait_ms: int) -> Outcome:
        deadline = protocol.Deadline(wait_ms)
        return cast(Outcome, protocol.record(await self._tried(lambda: self._send_apart(words, deadline))))

    async def store(self, key: Text, token: int, body: Text, *, ttl_ms: Optional[int] = None,
                    meta: Optional[Text] = None, unsure: bool = False) -> int:
        return cast(int, await self.send(
            protocol.store(key, token, body, ttl_ms=ttl_ms, meta=meta, unsure=unsure)))

    async def renew(self, key: Text, token: int, *, lease_ms: Optional[int] = None,
                    stage: Optional[Text] = None) -> int:
        return cast(int, await self.send(protocol.renew(key, token, lease_ms=lease_ms, stage=stage)))

    async def release(self, key: Text, token: int, *, unsure: bool = False, clear: bool = False) -> bool:
        return bool(await self.send(protocol.release(key, token, unsure=unsure, clear=clear)) == 1)

    async def fetch(self, key: Text, *, fingerprint: Optional[bytes] = None) -> Record:
        return cast(Record, protocol.record(await self.send(protocol.fetch(key, fingerprint=fingerprint))))

    async def send(self, words: Words) -> Any:
        return await self._tried(lambda: self._send(words))

    @staticmethod
    async def _tried(call: Callable[[], Awaitable[Any]]) -> Any:
        for tries_left in reversed(range(TRIES)):
            try:
                return await call()
            except redis.RedisError as error:
                ours = _as_ours(error)
                if tries_left == 0 or not isinstance(ours, Unavailable):
                    raise ours from None

    async def _send(self, words: Words) -> Any:
        """Not by execute_command: some versions of redis-py (before 4.5.3) put the connection of a call that was cancelled back, and
        the next call gets the answer to that one."""
        pool = self._redis.connection_pool
        connection = await pool.get_connection(str(words[0]))
        try:
            await connection.send_command(*words)
            return await connection.read_response()
        except redis.ResponseError:
            raise
        except BaseException:
            await connection.disconnect()
            raise
        finally:
            await pool.release(connection)

    async def _send_apart(self, words: Words, deadline: protocol.Deadline) -> Any:
        pool = self._redis.connection_pool
        patience_ms = deadline.left_ms() + self.timeout_ms
        connection: Connection = pool.connection_class(
            **{**pool.connection_kwargs, "socket_timeout": patience_ms / 1000})
        try:
            await connection.connect()
            await connection.send_command(*words, *deadline.words())
            return await connection.read_response()
        finally:
            await connection.disconnect()
