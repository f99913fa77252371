"""What blocks, asked from an event loop: for the middleware of ASGI and of Django.

Commands go over the one synchronous client, in threads of their own; a CLAIM that waits has a connection of the loop, so that a
crowd of waiting duplicates takes no thread from the one that they wait for.
"""
from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Awaitable, Callable, Optional, Set, Tuple

from .aio import AsyncIdem
from .claims import Claim
from .guard import Asked, Guard, Plan
from .protocol import Busy, Claimed, IdemError, Unavailable
from .renewer import GiveBack

# Threads for commands, made when they are needed. A command takes a few hundred microseconds, but a server that hangs holds
# each for twice timeout_ms, and who comes after them waits too.
THREADS = 64


class ClientLeft(Exception):
    """The client has left before anything ran."""


class Threads:
    """A pool of threads, and another one after a fork."""

    def __init__(self) -> None:
        self._pid, self._pool = 0, None  # type: Tuple[int, Optional[ThreadPoolExecutor]]

    def _now(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pid != os.getpid():
            self._pid, self._pool = os.getpid(), ThreadPoolExecutor(THREADS, "idem")
        return self._pool

    def run(self, call: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().run_in_executor(self._now(), call, *args)

    async def finish(self, call: Callable[..., Any], *args: Any) -> Any:
        """What ends a claim is not interrupted by a cancellation."""
        return await asyncio.shield(self.run(call, *args))

    def submit(self, call: Callable[..., Any], *args: Any) -> None:
        self._now().submit(call, *args)


class Asker:
    """Sends CLAIMs."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._running: Set["asyncio.Future[Any]"] = set()

    async def ask(self, guard: Guard, plan: Plan, left: Optional[Callable[[], Awaitable[None]]] = None) -> Asked:
        """left: awaits the client's leaving. Raises ClientLeft."""
        # A CLAIM that was sent is heard out, even if the caller is cancelled: else its grant would be nobody's.
        asking = asyncio.ensure_future(self._threads.run(guard.ask_now, plan))
        try:
            asked = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda asked: self._give_back(guard, plan, asked))
            raise
        if isinstance(asked, Busy) and guard.may_wait():
            try:
                return await self._wait(guard, plan, left)
            finally:
                guard.engine.leave()
        return asked

    async def _wait(self, guard: Guard, plan: Plan, left: Optional[Callable[[], Awaitable[None]]]) -> Asked:
        """Queued in the server, until the claim is answered or the client leaves: then the connection is closed, and it is
        never granted."""
        waiting = self._start(_queued(guard, plan))
        tasks = {waiting} if left is None else {waiting, self._start(left())}
        heard = False
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ClientLeft
            heard = True
            return waiting.result()
        finally:  # nothing is awaited here: who cancels may do so again and again, as anyio does
            for task in tasks:
                task.cancel()
            if not heard:  # its answer may have come at that very moment
                waiting.add_done_callback(lambda asked: self._give_back(guard, plan, asked))

    def _start(self, work: Awaitable[Any]) -> "asyncio.Future[Any]":
        task = asyncio.ensure_future(work)
        self._running.add(task)  # a loop keeps only weak references
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Future[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever awaits it hears it; one that is only left is not to be told of in the log

    def _give_back(self, guard: Guard, plan: Plan, asked: "asyncio.Future[Any]") -> None:
        """Nobody awaits it any more. Where no answer came the server may have granted it all the same."""
        if asked.cancelled() or asked.exception() is not None or isinstance(asked.result(), Unavailable):
            GiveBack(guard.engine.client, plan.record, plan.words, guard.settings.lease_ms).start()
        elif isinstance(asked.result(), Claimed):
            claim = guard.begin(plan, asked.result())
            assert isinstance(claim, Claim)
            claim.did_nothing()
            self._threads.submit(guard.raised, claim, None)


async def _queued(guard: Guard, plan: Plan) -> Asked:
    client = AsyncIdem(guard.engine.client.url, timeout_ms=guard.settings.timeout_ms)
    try:
        return await client.wait_to_claim(plan.words, guard.settings.wait_ms)
    except IdemError as error:
        return error
    finally:
        await client.close()
