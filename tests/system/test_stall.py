"""A server that stands still: stopped, or told to pause. Its owners keep their claims."""

import time

from harness import ServerCase, encode

CLAIMS = 100
LEASE_MS = 1000
STALL_SECONDS = 1.5
LONG_MS = 60_000
LOOPS = ("1", "4")


def pass_time(seconds):
    """So much time is what the test is about."""
    time.sleep(seconds)


class Stall(ServerCase):
    def begin(self, loops):
        """A server, CLAIMS leases that were renewed just now, and a waiter for each."""
        self.server = self.start("--threads", loops)
        self.owner = self.connect(self.server)
        self.keys = [f"k{i}" for i in range(CLAIMS)]
        tokens = [self.claim(self.owner, key, "LEASE", LONG_MS)[0] for key in self.keys]
        self.tokens = dict(zip(self.keys, tokens))
        self.waiters = {key: self.connect(self.server) for key in self.keys}
        for key, waiter in self.waiters.items():
            waiter.send("CLAIM", key, "WAIT", LONG_MS)
        self.server.await_blocked(CLAIMS, self.owner)
        self.owner.send_raw(b"".join(encode("RENEW", key, token, "LEASE", LEASE_MS)
                                     for key, token in self.tokens.items()))
        self.assertEqual([self.owner.read() for _ in self.keys], [LEASE_MS] * CLAIMS)

    def store_all(self):
        self.owner.send_raw(b"".join(encode("STORE", key, token, "body " + key)
                                     for key, token in self.tokens.items()))

    def assert_owners_won(self):
        answers = [self.owner.read() for _ in self.keys]
        self.assertEqual(answers, [1] * CLAIMS, "each STORE answers its waiter")
        for key, waiter in self.waiters.items():
            reply = waiter.read()
            self.assert_status(reply, "DONE")
            self.assertEqual(reply[1].decode(), "body " + key)
        figures = self.server.info("idem", self.owner)
        self.assertEqual(figures["claims_handed_over"], "0", "no second owner")
        self.assertEqual(figures["leases_over"], "0")

    def each(self, check):
        for loops in LOOPS:
            with self.subTest(loops=loops):
                self.begin(loops)
                check()

    def test_a_stopped_server_takes_no_claim_from_its_owners(self):
        def check():
            with self.server.stopped():
                pass_time(STALL_SECONDS)
            self.store_all()
            self.assert_owners_won()
        self.each(check)

    def test_what_owners_sent_meanwhile_counts(self):
        def check():
            with self.server.stopped():
                self.store_all()
                pass_time(STALL_SECONDS)
            self.assert_owners_won()
        self.each(check)

    def test_a_pause_takes_no_claim_from_its_owners(self):
        def check():
            pause_ms = int(STALL_SECONDS * 1000)
            self.assertEqual(self.owner.call("CLIENT", "PAUSE", pause_ms, "WRITE"), "OK")
            self.store_all()  # are run when it ends
            self.assert_owners_won()
        self.each(check)

    def test_after_a_stall_leases_end_as_ever(self):
        def check():
            with self.server.stopped():
                pass_time(STALL_SECONDS)
            for waiter in self.waiters.values():
                self.assert_status(waiter.read(), "CLAIMED")
            self.assertEqual(self.server.info("idem", self.owner)["leases_over"], str(CLAIMS))
        self.each(check)


class UnixTimes(ServerCase):
    def test_a_key_ends_later_by_the_wall_clock_when_the_server_was_stopped(self):
        for loops in LOOPS:
            with self.subTest(loops=loops):
                server = self.start("--threads", loops)
                client = self.connect(server)
                client.call("SET", "k", "v", "PX", LONG_MS)
                before_ms = client.call("PEXPIRETIME", "k")
                with server.stopped():
                    pass_time(STALL_SECONDS)
                later_ms = client.call("PEXPIRETIME", "k") - before_ms
                self.assertGreaterEqual(later_ms, STALL_SECONDS * 1000 - 300)
                client.call("PEXPIREAT", "k", before_ms)
                self.assertEqual(client.call("PEXPIRETIME", "k"), before_ms)
