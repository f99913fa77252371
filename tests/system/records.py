"""What tests of one record's life share: a server, a lapse, a queue, and evidence without its age.

It must not know how the server is built inside. Four loops: IDEM_SERVER=tests/threads-server.
"""

import collections
import time

from harness import ServerCase, eventually

LONG_MS = 60_000  # a wait that must not end by its time in a test
HOUR_MS = 3_600_000
STAGE = b"charging the card"

# LAPSED or UNKNOWN, as readers see it, without the age.
Evidence = collections.namedtuple("Evidence", "state token attempt owner stage")


def evidence(reply):
    """The reply as Evidence; any other reply as it is."""
    if isinstance(reply, list) and reply[0] in (b"LAPSED", b"UNKNOWN") and len(reply) == 6:
        return Evidence(reply[0].decode(), reply[1], *reply[3:])
    return reply


def wall_ms():
    return time.time_ns() // 1_000_000


def after_ms(moment_ms):
    """Awaits that the wall clock is past the moment, and returns its time."""
    eventually(lambda: wall_ms() > moment_ms, "a later millisecond")
    return wall_ms()


class RecordCase(ServerCase):
    """Each test has a server, started with OPTIONS, and a connection to it. The key is k."""

    OPTIONS = ()

    def setUp(self):
        self.server = self.start(*self.OPTIONS)
        self.control = self.connect(self.server)

    def call(self, *command):
        return self.control.call(*command)

    def shown(self, key="k"):
        return evidence(self.call("FETCH", key))

    def grant(self, *options, attempt=1, stage=None, client=None, key="k"):
        """CLAIM that must be granted with this attempt and stage; returns the token."""
        token, _, *granted = self.claim(client or self.control, key, *options)
        self.assertEqual(granted, [attempt, stage], "attempt and stage of the grant")
        return token

    def assert_granted(self, waiter, attempt, stage=None):
        """The waiter is granted with this attempt and stage; returns the token."""
        reply = waiter.read()
        self.assert_status(reply, "CLAIMED")
        self.assertEqual(reply[3:], [attempt, stage], "attempt and stage of the grant")
        return reply[1]

    def end_lease(self, token, *stage, key="k"):
        """Lets the lease of this grant end and awaits it."""
        self.assertEqual(self.call("RENEW", key, token, "LEASE", 1, *stage), 1)
        self.call("WAIT", key, LONG_MS)

    def lapse(self, *options, key="k"):
        """A first grant that ends by its lease and has noted STAGE; returns the token."""
        token = self.grant(*options, key=key)
        self.end_lease(token, "STAGE", STAGE, key=key)
        return token

    def stored(self, *options, key="k", body="body"):
        """A first grant that has stored; returns the token."""
        token = self.grant(key=key)
        self.assertEqual(self.call("STORE", key, token, body, *options), 0)
        return token

    def blocked(self):
        return int(self.server.info("clients", self.control)["blocked_clients"])

    def queue(self, *command):
        """A connection that waits with this command."""
        count, client = self.blocked(), self.connect(self.server)
        client.send(*command)
        self.server.await_blocked(count + 1, self.control)
        return client

    def queue_claim(self, *options):
        return self.queue("CLAIM", "k", "WAIT", LONG_MS, *options)

    def close(self, client):
        """Closes the connection and awaits that the server has noticed."""
        number = b"id=%d " % client.call("CLIENT", "ID")
        client.close()
        eventually(lambda: number not in self.call("CLIENT", "LIST"), "a closed connection")
