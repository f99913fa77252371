"""What the middleware needs to know of a request: its key, whose it is, what it asks, when it was born.

Knows no framework: an adapter fills a View. Keeps these rules:
  - one request has one key: several, an empty or a malformed one is an error, never "no key";
  - the caller's key is a secret (who has it gets the response), so it only appears inside a digest;
  - two requests that differ in method, path, query or body have different fingerprints, whatever was read before;
  - the birth of a request is that of its first try: what a retry cannot repeat tells none.
"""
from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any, Callable, Iterable, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import unquote_to_bytes
from uuid import UUID

KEY_LIMIT = 255  # characters of a caller's key, as Stripe has it


class BadKey(ValueError):
    """To be answered with 400: who sent it wanted protection."""


class TooLarge(Exception):
    """The body is over request_limit: 413."""


class Consumed(Exception):
    """Something outside has read the body and kept nothing: 500. All such requests would be equal."""


class Incomplete(Exception):
    """The client left before the end of the body: there is nothing to compare."""


@dataclass
class View:
    """A request as the adapter sees it. Bytes are as received; path is decoded and has its mount point."""
    method: str
    path: bytes
    query: bytes
    headers: List[Tuple[str, str]]  # names in lower case, values latin-1
    native: Any  # for the functions of the settings
    user: Callable[[], Optional[str]] = field(default=lambda: None)  # whom the framework has authenticated

    def all(self, name: str) -> List[str]:
        name = name.lower()
        return [value for other, value in self.headers if other == name]

    def first(self, name: str) -> Optional[str]:
        values = self.all(name)
        return values[0] if values else None


# ---- the key ----

# The header is an Item of RFC 8941 that is a String; parameters after it are checked and ignored.
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_NUMBER = r"-?(?:\d{1,12}\.\d{1,3}|\d{1,15})"
_TOKEN = r"[A-Za-z*][\w!#$%&'*+.^`|~:/-]*"
_ITEM = rf"(?:{_STRING}|{_NUMBER}|{_TOKEN}|\?[01]|:[A-Za-z0-9+/=]*:)"
_QUOTED = re.compile(rf"({_STRING})(?:; *[a-z*][a-z0-9_.*-]*(?:={_ITEM})?)*", re.ASCII)
# What clients send that do not follow the draft: visible ASCII, but no quote, and no comma, with which servers and
# proxies join several lines to one.
_BARE = re.compile(r"[!#-+\--~]+")


def key_from_header(values: Sequence[str]) -> Optional[str]:
    """`"k"` and `k` are the same key. None: no such header. Raises BadKey."""
    if not values:
        return None
    if len(values) > 1:
        raise BadKey("There is more than one such header.")
    value = values[0].strip(" \t")
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        return checked_key(re.sub(r"\\(.)", r"\1", quoted[1][1:-1]))
    if value and not _BARE.fullmatch(value):
        raise BadKey("It has to be one quoted string, or visible ASCII without quotes and commas.")
    return checked_key(value)


def checked_key(key: str) -> str:
    """The key as it is. Raises BadKey."""
    if not key.strip(" "):
        raise BadKey("It is empty.")
    if len(key) > KEY_LIMIT:
        raise BadKey(f"It is longer than {KEY_LIMIT} characters.")
    if not all(" " <= character <= "~" for character in key):
        raise BadKey("It has characters that are not visible ASCII.")
    return key


def record_key(prefix: str, scope: Optional[str], method: str, path: bytes, key: str) -> str:
    """Parts as libidem joins them: no two lists of parts share a key."""
    parts = [None if scope is None else scope.encode("utf-8", "surrogateescape"), method.encode(), path, key.encode()]
    joined = b"".join(b"-" if part is None else b"%d:%b" % (len(part), part) for part in parts)
    digest = base64.urlsafe_b64encode(hashlib.sha256(joined).digest()).rstrip(b"=")
    return f"{prefix}:{digest.decode()}"


def scope_text(value: Any, whose: str) -> str:
    """Whose key it is. Raises TypeError for other objects: their text may differ at each try, or be the same for all."""
    if isinstance(value, str) or (isinstance(value, (int, UUID)) and not isinstance(value, bool)):
        return str(value)
    raise TypeError(f"scope: {whose} has to be a text, a whole number or a UUID, not {type(value).__name__}")


def scope_of_authorization(value: str) -> str:
    """A digest: the scope may appear in the application's own logs, a password may not."""
    return hashlib.sha256(value.encode("latin-1", "replace")).hexdigest()


# ---- the fingerprint ----

class Parsed:
    """A body of which only the parsed form is left: fields by name, and of each file name and digest."""

    def __init__(self, fields: Mapping[str, Sequence[str]], files: Mapping[str, Sequence[Tuple[str, str]]]) -> None:
        self.fields, self.files = fields, files

    def canonical(self) -> bytes:
        value = {"fields": {name: list(values) for name, values in self.fields.items()},
                 "files": {name: [list(file) for file in files] for name, files in self.files.items()}}
        return b"parsed:" + json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


Body = Union[bytes, Parsed]


def _part(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def fingerprint(method: str, path: bytes, query: bytes, body: Body, content_type: str,
                key_field: Optional[str] = None) -> bytes:
    """SHA-256 over libidem's layout. Raw bytes, not their meaning: a retry sends what it sent. One exception: the boundary of
    a multipart body is new at each try in browsers. key_field: the field of a form or query that carries the key, which
    is no part of the request; it may come in any of three places."""
    digest = hashlib.sha256(b"idem1" + _part(method.encode()))
    query = _without(query, key_field)
    digest.update(_part(path + b"?" + query if query else path))
    digest.update(bytes(8))  # no headers
    for piece in _pieces(body, content_type, key_field):
        digest.update(_part(piece))
    return digest.digest()


def _pieces(body: Body, content_type: str, key_field: Optional[str]) -> Iterable[bytes]:
    if isinstance(body, Parsed):
        return [body.canonical()]
    kind = content_type.partition(";")[0].strip().lower()
    boundary = _boundary(content_type) if kind == "multipart/form-data" else None
    if boundary:
        delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        return [piece for piece in (b"\r\n" + body).split(delimiter) if not _is_field(piece, key_field)]
    if kind == "application/x-www-form-urlencoded":
        return [_without(body, key_field)]
    return [body]


# As in the package for Node, whose requests have the same fingerprint. The parser for mail knows more ways to write it, and some
# that a client may send are an error to it.
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', re.I)


def _boundary(content_type: str) -> Optional[str]:
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None
    return found[2] if found[1] is None else re.sub(r"\\(.)", r"\1", found[1])


def _without(fields: bytes, name: Optional[str]) -> bytes:
    if name is None:
        return fields
    return b"&".join(pair for pair in fields.split(b"&")
                     if unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" ")) != name.encode())


def _is_field(piece: bytes, name: Optional[str]) -> bool:
    """Whether what follows a delimiter is that field and nothing but that. In doubt it is not: what is left out may differ
    unseen, what is left in can only be refused."""
    rest_of_delimiter, _, part = piece.partition(b"\r\n")
    if name is None or rest_of_delimiter.strip(b" \t"):
        return False
    head = part.partition(b"\r\n\r\n")[0].decode("latin-1")
    return head.lower().replace(" ", "") == f'content-disposition:form-data;name="{name}"'.lower()


# ---- the birth ----

# With its hyphens only: of other strings of 32 hexadecimal digits one in 64 would look like it.
_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.I)


def born_of_key(key: str) -> Optional[int]:
    """Unix ms at which a UUIDv7 was made, by its maker's clock. None for any other key."""
    found = _UUID7.fullmatch(key)
    return int(found[1] + found[2], 16) if found else None


def born_of_header(value: str) -> int:
    """Milliseconds, or a date as in Repeatability-First-Sent (OASIS Repeatable Requests). Raises BadKey."""
    value = value.strip(" \t")
    if re.fullmatch(r"\d{1,15}", value, re.ASCII):
        return int(value)
    try:
        date = parsedate_to_datetime(value)
        return int(date.replace(tzinfo=date.tzinfo or timezone.utc).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        raise BadKey("The time of the first try has to be an HTTP date, or milliseconds since 1970.") from None
