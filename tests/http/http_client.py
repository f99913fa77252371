"""Requests as bytes: what no library would send, and answers that are looked at before they are complete.

Knows nothing of idempotency. One connection for each request.
"""
import http.client
import json
import os
import select
import socket
import struct
import time

ANSWER_S = float(os.environ.get("IDEM_HANG_SECONDS", 60))  # ends what hangs


class Reply:
    """A whole answer."""

    def __init__(self, status, headers, body, informational):
        self.status, self.headers, self.body, self.informational = status, headers, body, informational

    def all(self, name):
        return [value for other, value in self.headers if other.lower() == name.lower()]

    def first(self, name):
        values = self.all(name)
        return values[0] if values else None

    @property
    def replayed(self):
        return self.first("Idempotent-Replayed") == "true"

    def json(self):
        return json.loads(self.body)

    @property
    def problem(self):
        """The type after the base; None when it is no problem."""
        if (self.first("Content-Type") or "").startswith("application/problem+json"):
            return self.json()["type"]
        return None

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:200]!r}>"


class Cut(Exception):
    """The connection ended before the answer did."""


def chunked(pieces):
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class Exchange:
    """A request that was sent."""

    def __init__(self, port, method, target, headers, body, length=True):
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        if length and (body or method not in ("GET", "HEAD", "OPTIONS")):
            lines.append(f"Content-Length: {len(body)}")
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._method = method
        self._seen = b""
        try:
            self.socket.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        except ConnectionError:  # an answer may come before the end of the request
            pass

    def reply(self):
        """Raises Cut."""
        try:
            return self._reply()
        except (http.client.HTTPException, ConnectionError) as error:
            raise Cut(repr(error)) from None
        finally:
            self.socket.close()

    def _reply(self):
        informational = []
        file = _Joined(self._seen, self.socket)
        while True:
            answer = http.client.HTTPResponse(file, method=self._method)
            file.lend = True
            status, headers = _begin(answer)
            if 100 <= status < 200:
                informational.append((status, headers))
                continue
            body = answer.read()
            return Reply(status, headers, body, informational)

    def receives(self, text, seconds=ANSWER_S):
        """Awaits that these bytes have come, whatever comes after them."""
        deadline = time.monotonic() + seconds
        while text not in self._seen:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise Cut(f"before {text!r}: {self._seen!r}")
            self._seen += data
        self.socket.settimeout(ANSWER_S)

    def silent(self):
        """Nothing has come so far."""
        return not self._seen and not select.select([self.socket], [], [], 0)[0]

    def leave(self):
        """As a client whose process has died."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def _begin(answer):
    """http.client skips 100 and 103 silently; here they are seen. Its own parsing of the head, one head at a time."""
    version, status, reason = answer._read_status()
    head = http.client.parse_headers(answer.fp)
    headers = list(head.items())
    if 100 <= status < 200:
        return status, headers
    answer.code = answer.status = status
    answer.reason = reason
    answer.version = 11 if version.startswith("HTTP/1.1") else 10
    answer.headers = answer.msg = head
    coding = (head.get("Transfer-Encoding") or "").lower()
    answer.chunked = coding == "chunked"
    answer.chunk_left = None
    answer.length = None
    if not answer.chunked and head.get("Content-Length") is not None:
        answer.length = int(head["Content-Length"])
    if status in (204, 304) or answer._method == "HEAD":
        answer.length = 0
    answer.will_close = True
    return status, headers


class _Joined:
    """A socket for http.client whose first bytes were read before."""

    def __init__(self, seen, sock):
        self._file = _Prefixed(seen, sock.makefile("rb"))
        self.lend = False

    def makefile(self, _mode):
        return self._file


class _Prefixed:
    def __init__(self, seen, file):
        self._seen, self._file = seen, file

    def readline(self, limit=-1):
        if self._seen:
            line, newline, rest = self._seen.partition(b"\n")
            if newline:
                self._seen = rest
                return line + newline
            self._seen = b""
            return line + self._file.readline(limit)
        return self._file.readline(limit)

    def read(self, size=-1):
        if not self._seen:
            return self._file.read(size)
        if size is None or size < 0:
            head, self._seen = self._seen, b""
            return head + self._file.read()
        head, self._seen = self._seen[:size], self._seen[size:]
        return head + (self._file.read(size - len(head)) if len(head) < size else b"")

    def readinto(self, buffer):
        data = self.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def read1(self, size=-1):
        return self.read(size)

    def peek(self, size):
        return self._seen

    def flush(self):
        pass

    def close(self):
        pass

    @property
    def closed(self):
        return False
