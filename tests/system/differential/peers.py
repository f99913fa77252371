"""The two servers that are compared, and a client that parses their replies.

It must not know which commands are sent. A reply is parsed into nested tuples of its type byte and
its content, so that two replies are equal exactly when their bytes are.
"""

import os
import shutil
import subprocess
import tempfile

from harness import Client, Closed, Server, eventually

REDIS = os.environ.get("REDIS_SERVER", "redis-server")


def redis_version():
    """(7, 0, 15), or None when there is no redis-server."""
    if shutil.which(REDIS) is None:
        return None
    text = subprocess.run([REDIS, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in text.split("v=")[1].split()[0].split("."))


class Redis:
    """A redis-server on a unix socket in its own directory; one database, nothing saved."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="idem-redis-")
        self.address = os.path.join(self.directory, "socket")
        self.log = open(os.path.join(self.directory, "log"), "wb")
        self.process = subprocess.Popen(
            [REDIS, "--port", "0", "--unixsocket", self.address, "--save", "", "--appendonly", "no",
             "--databases", "1", "--dir", self.directory], stdout=self.log, stderr=self.log,
            stdin=subprocess.DEVNULL)
        eventually(lambda: os.path.exists(self.address) and self._answers(), "redis-server")

    def _answers(self):
        try:
            with Client(self.address) as client:
                return client.call("PING") == "PONG"
        except (ConnectionError, FileNotFoundError, Closed):
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(15)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Peer(Client):
    def read_reply(self):
        """(type, content): bytes, None for null, or a list of replies for an aggregate."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind in b"+-:#,(":
            return kind, rest
        if kind == b"_":
            return kind, None
        if kind in b"$=!":
            return kind, None if rest == b"-1" else self._take(int(rest) + 2)[:-2]
        if kind in b"*~>%":
            if rest == b"-1":
                return kind, None
            return kind, [self.read_reply() for _ in range(int(rest) * (2 if kind == b"%" else 1))]
        raise AssertionError(f"not a RESP reply: {line!r}")

    def ask(self, *args):
        self.send(*args)
        return self.read_reply()

    def read_to_end(self):
        """Everything until the server closes."""
        while True:
            try:
                self._more()
            except Closed:
                return bytes(self.buffer)


class Pair:
    """Redis and idem, side by side."""

    def __init__(self, *idem_options):
        self.redis = Redis()
        try:
            self.idem = Server(*idem_options)
        except BaseException:
            self.redis.stop()
            raise

    def stop(self):
        try:
            self.idem.stop()
        finally:
            self.redis.stop()

    def connect(self, version=2):
        """A connection to each, in this version of the protocol."""
        peers = Peer(self.redis.address), Peer(self.idem.address)
        if version != 2:
            for peer in peers:
                peer.ask("HELLO", version)
        return peers
