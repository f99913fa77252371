"""What a running handler has: its claim. None of it needs to be used."""
from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Dict, Optional, Tuple, Union

from . import protocol
from .client import Idem
from .protocol import Claimed, TooBig
from .renewer import Renewal
from .settings import check_range

STAGE_LIMIT = 1024  # bytes, the server's default


class DidNothing(Exception):
    """Raised by work that *knows* that nothing has happened (its transaction is rolled back, the other side refused the
    connection): the next one is as if there had been no try. A time-out is no such proof.

    status: what the middleware answers.
    """

    def __init__(self, detail: str = "The work did nothing.", *, status: int = 503) -> None:
        super().__init__(detail)
        self.status = status


class Claim:
    """One grant. Safe to be used from any thread."""

    def __init__(self, client: Idem, key: str, claimed: Claimed, renew_for_ms: int,
                 about: Tuple[str, str] = ("", ""), events: Any = None) -> None:
        self.key = key
        self.token: int = claimed.token  # give it to what you write to; let that refuse a lower one
        self.attempt: int = claimed.attempt  # above 1: an earlier one may have acted
        self.stage: Optional[str] = None if claimed.stage is None else claimed.stage.decode("utf-8", "replace")
        self.client = client
        self.nothing = False
        self.kept: Union[bool, int] = True
        self.ended = False
        self._about, self._events, self._began, self._pid = about, events, time.monotonic(), os.getpid()
        self.renewal = Renewal(client, key, claimed.token, claimed.lease_ms, renew_for_ms, self.tell)
        self.renewal.start()

    @property
    def lost(self) -> bool:
        """A renewal has learned that another one has taken over: stop, if you can."""
        return self.renewal.lost

    def set_stage(self, text: str) -> None:
        """Leaves a note of how far the work got for the next attempt, at most 1 KiB. Renews the lease too. Raises Stale
        when another one has taken over, TooBig, Unavailable."""
        self._set_stage(self.client.renew(self.key, self.token, stage=self._stage_bytes(text)), text)

    def did_nothing(self) -> None:
        """This attempt is known to have done nothing: whatever it answers is not stored, and the next one runs."""
        self.nothing = True

    def keep(self, value: Union[bool, int]) -> None:
        """False: the response is shared with those who wait, and not kept. A number: for so many ms, if the
        settings keep a response of its status. True: as they say. Raises ValueError."""
        if value is not True and value is not False:
            check_range("ttl_ms", value)
        self.kept = value

    # -- for the middleware --

    def is_of_parent(self) -> bool:
        """In a child that the work has forked: that it fails (or exits) says nothing of the work, which may go on."""
        return self._pid != os.getpid()

    def tell(self, event: str, status: Optional[int] = None) -> None:
        if self._events is not None:
            self._events.tell(event, self.fields(status))

    def fields(self, status: Optional[int] = None) -> Dict[str, Any]:
        method, path = self._about
        return {"method": method, "path": path, "status": status, "attempt": self.attempt,
                "ms": int((time.monotonic() - self._began) * 1000)}

    def end(self) -> bool:
        """False: it had ended. A renewal in flight is harmless, it names the token of its own grant."""
        first, self.ended = not self.ended, True
        self.renewal.done = True
        return first

    @staticmethod
    def _stage_bytes(text: str) -> bytes:
        stage = text.encode()
        if len(stage) > STAGE_LIMIT:
            raise TooBig(f"a stage has at most {STAGE_LIMIT} bytes")
        return stage

    def _set_stage(self, _lease_ms: int, text: str) -> None:
        self.stage = text


class AsyncClaim(Claim):
    """The same for a handler in an event loop."""

    sender: Any = None  # sends words without blocking the loop

    def set_stage(self, text: str) -> Any:
        """To be awaited in an event loop. A handler that the framework runs in a thread (with FastAPI a plain `def`) has none
        there, and just calls it: what nobody awaits would leave no note, and the next attempt would begin anew."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return super().set_stage(text)
        return self._set_in_loop(text)

    async def _set_in_loop(self, text: str) -> None:
        words = protocol.renew(self.key, self.token, stage=self._stage_bytes(text))
        self._set_stage(await self.sender(words), text)
