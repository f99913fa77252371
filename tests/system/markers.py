"""Bytes that nobody but their owner may see, and the forms in which a server could show them.

Each marker begins and ends with bytes that no other data of the test has, so that one that is cut at either end is found
too. Looked for: the bytes in either case, as hexadecimal, as base64 in each of its three alignments; and the beginning of
common digests of a whole marker.
"""

import base64
import hashlib
import random

LETTERS = "abcdefghijklmnopqrstuvwxyz"
END_BYTES = 9  # two thirds of it fill base64's groups in every alignment
DIGEST_DIGITS = 12


def _word(length):
    return "".join(random.choice(LETTERS) for _ in range(length)).encode()


def _base64(data):
    """What of the text is the same whatever stands before and after the bytes."""
    found = []
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data)
        first = (before * 8 + 5) // 6
        found.append(text[first:(before + len(data)) * 8 // 6])
    return found


class Markers:
    """The secrets of one run."""

    def __init__(self):
        self.head, self.tail = _word(END_BYTES), _word(END_BYTES)
        self.all = {}
        self.plain, self.exact = set(), set()
        for end in (self.head, self.tail):
            self.plain |= {end, end.hex().encode()}
            self.exact |= set(_base64(end))

    def make(self, name):
        """A new secret, by name."""
        secret = self.head + _word(6) + self.tail
        self.keep(name, secret)
        return secret

    def keep(self, name, secret, itself=False):
        """One that was made elsewhere, or holds another. `itself`: it is looked for as it is, too."""
        self.all[name] = secret
        if itself:
            self.plain |= {secret.lower(), secret.hex().encode()}
        for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            self.plain.add(digest(secret).hexdigest()[:DIGEST_DIGITS].encode())

    def seen_in(self, data, but=()):
        """What of the secrets, except those named or given in `but`, the data shows; None: nothing."""
        for secret in but:
            data = data.replace(self.all.get(secret, secret), b"")
        lower = data.lower()
        for needle in self.plain:
            if needle in lower:
                return self._around(data, lower.find(needle))
        for needle in self.exact:
            if needle in data:
                return self._around(data, data.find(needle))
        return None

    def _around(self, data, at):
        near = data[max(0, at - 100):at + 100]
        names = [name for name, secret in self.all.items() if secret in near]
        return f"{', '.join(names) or 'a part of a secret'} in {near!r}"
