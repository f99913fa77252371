"""The list of cases: each is a function that takes a world, with the rows of the specification that it proves."""
import base64
import hashlib

CASES = []


class Case:
    def __init__(self, function, row, needs):
        self.name, self.row, self.needs, self.function = function.__name__, row, frozenset(needs), function

    def missing(self, features):
        """The features that it needs and the application does not have."""
        return sorted(self.needs - set(features))


def case(row, *needs, peers=False):
    """row: of the specification. peers: it asks for nothing that only idem's middleware has, so it is asked of others too."""
    def add(function):
        CASES.append(Case(function, row, needs if peers else (*needs, "idem")))
        return function
    return add


# ---- what several cases look at ----

def expect(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r}, expected {expected!r}")


def expect_problem(reply, status, kind, retry=False):
    expect((reply.status, reply.problem), (status, "urn:idem:" + kind), "the answer")
    told = reply.json()
    for member in ("title", "status", "detail"):
        if not told.get(member):
            raise AssertionError(f"the problem has no {member}: {told}")
    expect(told["status"], status, "the problem's status")
    expect(reply.first("Retry-After"), "1" if retry else None, "Retry-After")
    expect(reply.replayed, False, "marked as a replay")


def expect_replay(reply, first):
    expect((reply.status, reply.body), (first.status, first.body), "the replay")
    if not reply.replayed:
        raise AssertionError("it is not marked as a replay")


def joined(parts):
    return b"".join(b"-" if part is None else b"%d:%b" % (len(part), part) for part in parts)


def record_key(key, scope=None, method="POST", path="/work", prefix="http"):
    parts = (None if scope is None else scope.encode(), method.encode(), path.encode(), key.encode())
    digest = base64.urlsafe_b64encode(hashlib.sha256(joined(parts)).digest()).rstrip(b"=")
    return f"{prefix}:{digest.decode()}"


def fingerprint(method, path, query, pieces):
    def part(data):
        return len(data).to_bytes(8, "little") + data
    target = (path + ("?" + query if query else "")).encode()
    return hashlib.sha256(b"idem1" + part(method.encode()) + part(target) + bytes(8)
                          + b"".join(map(part, pieces))).digest()


def multipart(boundary, fields, files=()):
    """(content type, body)"""
    body = b""
    for name, value in fields:
        body += b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name, value)
    for name, filename, content in files:
        body += (b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
                 b'Content-Type: application/octet-stream\r\n\r\n%b\r\n' % (boundary, name, filename, content))
    return "multipart/form-data; boundary=" + boundary.decode(), body + b"--%b--\r\n" % boundary


FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
TEXT = ("Content-Type", "text/plain")
