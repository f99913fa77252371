"""The end of a server that is told to: owners finish, then what was sent is answered, then it leaves."""

import os
import signal
import subprocess
import time
import unittest

from harness import Client, Closed, ServerCase, encode, eventually, measured

HOUR_MS = 3_600_000
LONG_MS = 60_000


class DrainCase(ServerCase):
    def begin(self, *options):
        """A server that stays long for owners, and an owner of k."""
        self.server = self.start(*(options or ("--drain-timeout", "1h")))
        self.owner = self.connect(self.server)
        self.token = self.claim(self.owner, "k", "OWNER", "me", "LEASE", HOUR_MS)[0]

    def waiting(self, *command):
        client = self.connect(self.server)
        client.send(*command)
        return client

    def await_log(self, text):
        eventually(lambda: text in self.server.log(), f"a log line with '{text}'")

    def await_drain(self):
        self.await_log("no new claims")

    def leaves(self):
        self.assertEqual(self.server.leave(), 0)
        self.assertIn("stopped", self.server.log())


class Owners(DrainCase):
    """Owners finish; everything but grants goes on."""

    def finish(self, drain):
        self.begin()
        claimers = [self.waiting("CLAIM", "k", "WAIT", LONG_MS) for _ in range(25)]
        readers = [self.waiting("WAIT", "k", LONG_MS) for _ in range(25)]
        self.server.await_blocked(50, self.owner)
        drain()
        for claimer in claimers:
            reply = claimer.read()
            self.assert_status(reply, "BUSY")
            self.assertEqual(reply[3], b"me")
        late = self.connect(self.server)
        self.assert_error(late.call("CLAIM", "other"), "DRAINING")
        self.assert_status(late.call("CLAIM", "k", "WAIT", LONG_MS), "BUSY")
        self.assertEqual(self.claim(late, "k", "OWNER", "me", "LEASE", HOUR_MS)[0], self.token)
        self.assertEqual(late.call("SET", "string", "v"), "OK")
        self.assertEqual(self.server.info("server", late)["draining"], "1")
        self.assertEqual(self.owner.call("RENEW", "k", self.token), HOUR_MS)
        self.assertFalse(any(reader.readable() for reader in readers), "readers wait on")
        started = time.monotonic()
        self.assertEqual(late.call("STORE", "k", self.token, "body"), 25)
        for reader in readers:
            reply = reader.read()
            self.assert_status(reply, "DONE")
            self.assertEqual(reply[1], b"body")
        self.leaves()
        measured(f"left {time.monotonic() - started:.2f} s after the last STORE")

    def by_signal(self, number, name):
        self.finish(lambda: self.server.signal(number))
        self.assertIn(f"{name}: no new claims; 1 are held; leaving when they have ended, at the latest "
                      "in 3600 s", self.server.log())
        self.assertIn("with it go 0 LAPSED and 0 UNKNOWN records, and 0 that were HELD",
                      self.server.log())

    def test_sigterm(self):
        self.by_signal(signal.SIGTERM, "SIGTERM")

    def test_sigint(self):
        self.by_signal(signal.SIGINT, "SIGINT")

    def test_shutdown_is_a_drain_too(self):
        self.finish(lambda: self.owner.send("SHUTDOWN"))

    def test_a_lease_that_ends_is_for_nobody(self):
        """The claims that were left are counted in the log."""
        self.begin()
        self.assertEqual(self.owner.call("RENEW", "k", self.token, "LEASE", 500), 500)
        self.claim(self.owner, "held back", "HOLD", "LEASE", 500)
        reader = self.waiting("WAIT", "k", LONG_MS)
        claimer = self.waiting("CLAIM", "k", "WAIT", LONG_MS)
        self.server.signal(signal.SIGTERM)
        claimer.read()
        self.assert_status(reader.read(), "LAPSED")
        self.leaves()
        self.assertIn("with it go 1 LAPSED and 1 UNKNOWN records, and 0 that were HELD",
                      self.server.log())

    def test_claims_that_were_flushed_do_not_count(self):
        self.begin()
        self.server.signal(signal.SIGTERM)
        self.await_drain()
        self.owner.send("FLUSHALL")
        self.leaves()

    def test_they_have_until_drain_timeout(self):
        self.begin("--drain-timeout", "300ms")
        reader = self.waiting("WAIT", "k", LONG_MS)
        self.server.await_blocked(1, self.owner)
        self.server.signal(signal.SIGTERM)
        self.assert_status(reader.read(), "BUSY")
        self.assertTrue(reader.ended())
        self.leaves()
        self.assertIn("leaving while 1 claims are held", self.server.log())
        self.assertIn("and 1 that were HELD", self.server.log())

    def test_a_second_signal_waits_for_nobody(self):
        self.begin()
        self.server.signal(signal.SIGTERM)
        self.await_drain()
        self.assertEqual(self.owner.call("PING"), "PONG")
        self.server.signal(signal.SIGTERM)
        self.leaves()

    def test_shutdown_now_waits_for_no_owner(self):
        self.begin()
        reader = self.waiting("WAIT", "k", LONG_MS)
        self.server.await_blocked(1, self.owner)
        self.assert_error(self.owner.call("SHUTDOWN", "ABORT"), "ERR")
        self.owner.send("SHUTDOWN")
        self.await_drain()
        self.assertIn("cannot be aborted", str(self.owner.call("SHUTDOWN", "ABORT")))
        self.owner.send("SHUTDOWN", "NOW")
        self.assert_status(reader.read(), "BUSY")
        self.leaves()

    def test_a_pause_does_not_delay_it(self):
        self.begin()
        self.assertEqual(self.owner.call("CLIENT", "PAUSE", HOUR_MS), "OK")
        self.owner.send("STORE", "k", self.token, "body")
        self.server.signal(signal.SIGTERM)
        self.assertEqual(self.owner.read(), 0)
        self.leaves()


class ManySignals(DrainCase):
    SERVERS = 30

    def has_ended(self, server):
        """Within a millisecond: without a pause between signals it would do nothing but hear them."""
        try:
            server.process.wait(timeout=0.001)
            return True
        except subprocess.TimeoutExpired:
            return False

    def test_signals_without_end_do_not_kill_it(self):
        for loops in ("1", "4"):
            for _ in range(self.SERVERS):
                server = self.start("--threads", loops)
                client = self.connect(server)
                self.claim(client, "k")
                while not self.has_ended(server):
                    server.signal(signal.SIGTERM)
                self.assertEqual(server.leave(), 0)


class Leaving(DrainCase):
    """Nobody owns anything, or nobody waits for owners."""

    def test_a_drain_that_waits_for_a_reader_uses_no_cpu(self):
        server = self.start("--drain-timeout", "1h", "--client-output-limit", "4mb")
        client = self.connect(server)
        body = os.urandom(500000)
        self.assertEqual(client.call("SET", "k", body), "OK")
        client.send_raw(encode("GET", "k") * 200)
        eventually(client.readable, "a reply")
        server.signal(signal.SIGTERM)
        eventually(lambda: "SIGTERM" in server.log(), "a log line about the signal")
        for _ in range(8):
            self.assertEqual(client.read(), body)
        before = server.cpu_seconds()
        time.sleep(1)  # there is nothing to do in this second
        self.assertLess(server.cpu_seconds() - before, 0.3)
        with self.assertRaises(Closed):
            while True:
                self.assertEqual(client.read(), body)
        self.assertEqual(server.leave(), 0)

    def test_commands_that_lie_in_the_sockets_are_answered(self):
        def claimed(reply):
            return str(reply).startswith("DRAINING") or reply[0] in (b"CLAIMED", b"BUSY")
        for command, good in ((("PING",), lambda reply: reply == "PONG"), (("CLAIM", "k"), claimed)):
            self.server = self.start("--drain-timeout", "1h")
            client = self.connect(self.server)
            with self.server.stopped():
                client.send_raw(encode(*command) * 10_000 + encode("DEL", "k"))
                self.server.signal(signal.SIGTERM)
            for _ in range(10_000):
                self.assertTrue(good(client.read()))
            self.assertIn(client.read(), (0, 1))
            self.assertTrue(client.ended())
            self.leaves()

    def test_no_wait_begins_when_it_leaves(self):
        """Commands sent before it are answered, even in a later turn. But they do not begin a wait, or
        the server would have to stay for it."""
        self.begin()
        claimer, reader = self.connect(self.server), self.connect(self.server)
        many = 4000  # commands of one connection; they take several turns
        with self.server.stopped():
            claimer.send_raw(encode("PING") * many + encode("CLAIM", "k", "WAIT", HOUR_MS))
            reader.send_raw(encode("PING") * many + encode("WAIT", "k", HOUR_MS))
            self.owner.send("SHUTDOWN", "NOW")
        for client in (claimer, reader):
            self.assertEqual([client.read() for _ in range(many)], ["PONG"] * many)
            reply = client.read()
            self.assert_status(reply, "BUSY")
            self.assertEqual(reply[3], b"me")
        self.leaves()

    def test_idle_connections_do_not_delay_a_drain(self):
        self.server = self.start("--drain-timeout", "1h")
        clients = [self.connect(self.server) for _ in range(20)]
        for client in clients:
            self.assertEqual(client.call("PING"), "PONG")
        self.server.signal(signal.SIGTERM)
        self.leaves()
        for client in clients:
            self.assertTrue(client.ended())

    def test_a_reader_that_does_not_read_cannot_delay_a_drain(self):
        server = self.start("--drain-timeout", "500ms")
        client = self.connect(server)
        token = self.claim(client, "k")[0]
        self.assertEqual(client.call("STORE", "k", token, b"x" * 2**22), 0)
        client.send_raw(encode("FETCH", "k") * 50)
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        self.assertEqual(server.leave(), 0)
        elapsed = time.monotonic() - started
        measured(f"left {elapsed:.2f} s after SIGTERM under a drain-timeout of 0.5 s")

    def test_no_new_connections_when_it_leaves(self):
        server = self.start("--drain-timeout", "1h")
        lazy = self.connect(server)
        token = self.claim(lazy, "k")[0]
        self.assertEqual(lazy.call("STORE", "k", token, b"x" * 2**22), 0)
        lazy.send_raw(encode("FETCH", "k") * 50)
        server.signal(signal.SIGTERM)

        def refused():
            try:
                with Client(server) as client:
                    return client.ended(0.2)
            except OSError:
                return True
        eventually(refused, "no new connection")
        self.assertIsNone(server.process.poll(), "it still waits for the lazy reader")
        lazy.close()
        self.assertEqual(server.leave(), 0)


if __name__ == "__main__":
    unittest.main()
