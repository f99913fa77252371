"""Answers: what of a response is stored, how it comes back, and the problems that are answered instead.

Knows no framework. A denylist of headers: Location, ETag, Link and what the application has of its own come back.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Collection, Dict, List, Optional, Tuple

Headers = List[Tuple[str, str]]  # values latin-1

# They say nothing about the work: the same request may succeed later, or with credentials.
RETRYABLE = frozenset({401, 408, 409, 423, 425, 429})

# Names in lower case. What the response's Connection header names goes too, and access-control-*.
NEVER_STORED = frozenset({
    # They would log another client in, and undo the logout of one that retries late.
    "set-cookie", "set-cookie2", "clear-site-data",
    # What authenticates belongs to one exchange.
    "www-authenticate", "proxy-authenticate", "authentication-info", "proxy-authentication-info", "authorization",
    "proxy-authorization",
    # Said of one message at one time.
    "date", "age", "via", "server", "alt-svc", "x-request-id", "x-correlation-id", "server-timing",
    # Hop by hop.
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    # Made anew from the bytes.
    "content-length",
    # Says of the replay what it is.
    "idempotent-replayed",
})
BODILESS = frozenset({204, 205, 304})
VERSION = 1


@dataclass
class Answer:
    """A whole response. `replayed` and problems are never stored."""
    status: int
    headers: Headers
    body: bytes
    replayed: bool = False

    def __post_init__(self) -> None:
        if self.status in BODILESS:
            self.body = b""

    def with_length(self) -> Headers:
        """Its headers, Content-Length made anew."""
        headers = [(name, value) for name, value in self.headers if name.lower() != "content-length"]
        if self.status not in BODILESS:
            headers.append(("content-length", str(len(self.body))))
        return headers


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


# ---- what is stored ----

def storable(headers: Headers, drop: Collection[str]) -> Headers:
    hop_by_hop = {named.strip().lower() for name, value in headers if name.lower() == "connection"
                  for named in value.split(",")}
    return [(name.lower(), value) for name, value in headers
            if name.lower() not in NEVER_STORED and name.lower() not in hop_by_hop
            and name.lower() not in drop and not name.lower().startswith("access-control-")]


def of_this_exchange(headers: Headers, drop: Collection[str]) -> Headers:
    """What of a replay's headers is no record's: those that are not stored, but what is made anew."""
    stored = {name for name, _ in storable(headers, drop)} | {"content-length", "idempotent-replayed"}
    return [(name, value) for name, value in headers if name.lower() not in stored]


def replayable(status: int) -> bool:
    """Every framework, also those of the package for Node, can send it. One beyond is only known as "not kept"."""
    return 200 <= status <= 599


def pack_meta(status: int, headers: Optional[Headers]) -> bytes:
    """headers None: the response is not kept."""
    return json.dumps([VERSION, status, headers], separators=(",", ":")).encode()


class NotKept(Exception):
    """It ran, but its response was not kept."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class OtherVersion(Exception):
    """What lies under the key was not made by this version of the middleware."""


def unpack(body: bytes, meta: Optional[bytes]) -> Answer:
    """The answer that replays a record. Raises NotKept, OtherVersion."""
    try:
        version, status, headers = json.loads(meta or b"")
        whole = headers is None or all(isinstance(text, str) and not set(text) & set("\r\n\0")
                                       for name, value in headers for text in (name, value))
    except (TypeError, ValueError, RecursionError):
        raise OtherVersion from None
    if version != VERSION or type(status) is not int or not 100 <= status <= 999 or not whole:
        raise OtherVersion
    if headers is None:
        raise NotKept(status)
    if not replayable(status):
        raise OtherVersion
    pairs = [(name, value) for name, value in headers]
    return Answer(status, [*pairs, ("idempotent-replayed", "true")], body, replayed=True)


# ---- problems ----

TITLES = {
    "in-progress": "The first request with this key is still running",
    "key-reused": "This key was used for a different request",
    "outcome-unknown": "An earlier request with this key may have run",
    "forgotten": "The response may have been forgotten",
    "unavailable": "It cannot be told whether this request has run",
    "response-not-kept": "This request has run, its response was not kept",
    "key-malformed": "The idempotency key is malformed",
    "key-missing": "An idempotency key is required",
    "request-too-large": "The request is too large for one with an idempotency key",
    "body-incomplete": "The body of the request is incomplete",
    "did-nothing": "Nothing was done",
    "body-consumed": "The body was read before the idempotency middleware",
}
RETRY_AFTER_S = 1


class Problems:
    """Makes answers of RFC 9457. base: what stands before the type."""

    def __init__(self, base: str, docs_url: Optional[str]) -> None:
        self._base, self._docs_url = base, docs_url

    def answer(self, kind: str, status: int, detail: str, *, retry: bool = False, **members: Any) -> Answer:
        value: Dict[str, Any] = {"type": self._base + kind, "title": TITLES[kind], "status": status,
                                 "detail": detail, **members}
        headers = [("content-type", "application/problem+json")]
        if retry:
            headers.append(("retry-after", str(RETRY_AFTER_S)))
        if self._docs_url:
            headers.append(("link", f'<{self._docs_url}>; rel="describedby"'))
        return Answer(status, headers, json.dumps(value).encode())
