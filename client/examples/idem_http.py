"""What a replay needs to know of HTTP: the caller's key, the digest of a request, and what is kept
of a response.

Knows no framework and no server.  Keeps these rules:
  - one request has one key: several, an empty or a malformed one is an error, never "no key";
  - the birth of a request is that of its first try: what a retry cannot repeat tells none;
  - two requests that differ in method, path, query or body have different fingerprints, whatever
    was read of the body before;
  - what belongs to one caller or one connection is not kept: see NEVER_STORED.
"""
import hashlib
import io
import json
import re
import urllib.parse
from datetime import timezone
from email.message import Message
from email.parser import HeaderParser
from email.utils import parsedate_to_datetime

KEY_LIMIT = 255  # characters of a caller's key; as Stripe has it

# Answers that say nothing about the work: the same request may succeed later, or with credentials.
# Callers that wait get them too; the next request runs.
RETRYABLE = frozenset({401, 403, 408, 409, 423, 425, 429})

# Names in lower case.  A denylist: Location, ETag, Link and what else the application says must come
# back.  In addition goes whatever the response's Connection header names.
NEVER_STORED = frozenset({
    # They would log in a stranger that has the key, and undo the logout of a caller that retries late.
    "set-cookie", "set-cookie2", "clear-site-data",
    # What authenticates belongs to one exchange: a challenge and its nonce, a proof, credentials.
    "www-authenticate", "proxy-authenticate", "authentication-info", "proxy-authentication-info",
    "authorization", "proxy-authorization",
    # Said of one message at one time.
    "date", "age", "via", "server", "alt-svc",
    # Hop by hop.
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})


class BadKey(ValueError):
    """To be answered with 400: its sender wanted protection."""


# The Idempotency-Key of the IETF draft is an Item of RFC 8941 that is a String; parameters after it
# are checked and ignored.
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_NUMBER = r"-?(?:\d{1,12}\.\d{1,3}|\d{1,15})"
_TOKEN = r"[A-Za-z*][\w!#$%&'*+.^`|~:/-]*"
_ITEM = rf"(?:{_STRING}|{_NUMBER}|{_TOKEN}|\?[01]|:[A-Za-z0-9+/=]*:)"
_QUOTED = re.compile(rf"({_STRING})(?:; *[a-z*][a-z0-9_.*-]*(?:={_ITEM})?)*", re.ASCII)
# What clients send that do not follow the draft: visible ASCII, but no quote, and no comma, with which
# servers and proxies join several headers to one.
_BARE = re.compile(r"[!#-+\--~]+")


def key_from_header(value):
    """`"k"` and `k` are the same key.  Raises BadKey."""
    value = value.strip(" \t")
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        return checked_key(re.sub(r"\\(.)", r"\1", quoted[1][1:-1]))
    if value and not _BARE.fullmatch(value):
        raise BadKey("it has to be one quoted string, or visible ASCII without quotes and commas")
    return checked_key(value)


def checked_key(key):
    """The key as it came in a form or a query.  Raises BadKey."""
    if not key.strip(" "):
        raise BadKey("the key is empty")
    if len(key) > KEY_LIMIT:
        raise BadKey(f"the key is longer than {KEY_LIMIT} characters")
    if not all(" " <= character <= "~" for character in key):
        raise BadKey("the key has characters that are not visible ASCII")
    return key


def record_key(name, caller, method, route, key):
    """The key of the record.  With the caller in it nobody is shown the response of another who has
    the same key; a caller with a colon in its name is no other one's prefix."""
    return ":".join((name, urllib.parse.quote(caller, safe=""), f"{method} {route}", key))


# With its hyphens only: of other strings of 32 hexadecimal digits one in 64 would look like it.
_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                    re.I)


def born_of(key):
    """Unix ms at which a UUIDv7 was made, by its maker's clock; None for any other key."""
    found = _UUID7.fullmatch(key)
    return int(found[1] + found[2], 16) if found else None


def born_from_header(value):
    """Unix milliseconds from a header with the time of the first try: milliseconds, or a date as in
    Repeatability-First-Sent of OASIS' repeatable requests.  Raises BadKey."""
    value = value.strip(" \t")
    if re.fullmatch(r"\d{1,15}", value, re.ASCII):
        return int(value)
    try:
        date = parsedate_to_datetime(value)
        return int(date.replace(tzinfo=date.tzinfo or timezone.utc).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        raise BadKey("it has to be an HTTP date, or milliseconds since 1970") from None


class TooLong(Exception):
    """The body of the request is over the limit: to be answered with 413."""


class RecordedInput(io.RawIOBase):
    """A wsgi.input whose bytes are kept as they are read, so that all of them can be digested
    whatever the application has read before, and the application can read on afterwards.

    Over the limit nothing is kept: what streams past without a key is not held in memory.
    """

    def __init__(self, source, limit):
        self._source, self._limit = source, limit
        self._kept, self._given = bytearray(), 0  # bytes; how many the application has read of them
        self._over = False

    def readable(self):
        return True

    def readinto(self, buffer):
        if self._given == len(self._kept):
            self._pull(len(buffer))
        piece = self._kept[self._given:self._given + len(buffer)]
        buffer[:len(piece)] = piece
        self._given += len(piece)
        return len(piece)

    def whole(self):
        """All bytes.  Raises TooLong."""
        while not self._over and self._pull(io.DEFAULT_BUFFER_SIZE):
            continue
        if self._over:
            raise TooLong
        return bytes(self._kept)

    def _pull(self, size):
        piece = self._source.read(size)
        self._over |= len(self._kept) + len(piece) > self._limit
        if self._over:
            del self._kept[:self._given]
            self._given = 0
        self._kept += piece
        return bool(piece)


_FORM = "application/x-www-form-urlencoded"


def fingerprint(method, path, query, body, content_type="", key_field=None):
    """All as bytes but the content type and the name of the field that carries the key.

    The raw bytes, not their meaning: a client that retries sends what it sent.  Two exceptions: the
    boundary of a multipart body is new whenever a browser sends the form again, so it does not
    count; and neither does the key, which may stand in the form, the query or a header.
    """
    kind = Message()
    kind["Content-Type"] = content_type
    boundary = kind.get_boundary() if kind.get_content_maintype() == "multipart" else None
    if boundary:
        delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        is_form = kind.get_content_type() == "multipart/form-data"
        parts = [piece for piece in (b"\r\n" + body).split(delimiter)
                 if not (is_form and _is_field(piece, key_field))]
    elif kind.get_content_type() == _FORM:
        parts = [_without(body, key_field)]
    else:
        parts = [body]
    digest = hashlib.sha256()
    for part in (method, path, _without(query, key_field), *parts):
        digest.update(b"%d:" % len(part) + part)
    return digest.digest()


def _is_field(piece, name):
    """Whether what follows a delimiter is that field and nothing but that.  In doubt it is not: what
    is left out of a fingerprint may differ unseen, what is left in can only be refused."""
    rest_of_delimiter, _, part = piece.partition(b"\r\n")
    if name is None or rest_of_delimiter.strip(b" \t"):
        return False
    head = HeaderParser().parsestr(part.partition(b"\r\n\r\n")[0].decode("latin-1"))
    dispositions = head.get_all("Content-Disposition", [])
    # With a filename it is a file: its content is no key.
    return (len(dispositions) == 1 and
            head.get_params(header="Content-Disposition") == [("form-data", ""), ("name", name)])


def _without(fields, name):
    if name is None:
        return fields
    return b"&".join(field for field in fields.split(b"&")
                     if field.partition(b"=")[0] != name.encode())


def storable(headers, never_stored=NEVER_STORED):
    """headers: pairs of strings."""
    headers = [(name, value) for name, value in headers]
    hop_by_hop = {named.strip().lower() for name, value in headers if name.lower() == "connection"
                  for named in value.split(",")}
    return [(name, value) for name, value in headers
            if name.lower() not in never_stored and name.lower() not in hop_by_hop]


def pack_head(status, headers):
    """Status and headers as what is stored beside a body.  status: "201 CREATED"."""
    return json.dumps([status, headers])


def unpack_head(meta):
    """(status, headers), or None for what pack_head has not made (another program's record)."""
    try:
        status, headers = json.loads(meta)
        if not re.fullmatch(r"[2-5]\d\d(?: [ -~]*)?", status):
            return None
        headers = [(str(name), str(value)) for name, value in headers]
    except (TypeError, ValueError, RecursionError):
        return None
    if any(re.search(r"[\r\n\0]", name + value) for name, value in headers):
        return None
    return status, headers
