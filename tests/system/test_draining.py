"""A server that leaves lets owners finish: no new grants, all else as ever."""

import re
import signal
import unittest

from harness import eventually
from records import HOUR_MS, LONG_MS, STAGE, Evidence, RecordCase, evidence


class Draining(RecordCase):
    """k is HELD by OWNER me when SIGTERM comes. A waiter that is told BUSY shows that it has."""

    OPTIONS = ("--drain-timeout", "60s")

    def drain(self, lease_ms=HOUR_MS):
        """Returns the token of k."""
        self.token = self.grant("OWNER", "me", "LEASE", lease_ms, "FP", "f")
        waiter = self.queue_claim("FP", "f")
        self.server.signal(signal.SIGTERM)
        self.assert_status(waiter.read(), "BUSY")
        return self.token

    def finish(self):
        """The owner stores, and the server leaves."""
        self.assertEqual(self.call("STORE", "k", self.token, "body"), 0)
        self.assertEqual(self.server.leave(), 0)

    def refused(self, *options, key="k"):
        before = self.shown(key)
        self.assert_error(self.call("CLAIM", key, *options), "DRAINING")
        self.assertEqual(self.shown(key), before, "nothing changed")

    def test_a_claim_that_would_be_granted_is_refused(self):
        self.lapse(key="lapsed")
        unknown = self.lapse("HOLD", key="unknown")
        self.drain()
        for options in ((), ("WAIT", LONG_MS), ("OWNER", "me", "BIND", "HOLD", "LEASE", 1)):
            self.refused(*options, key="absent")
            self.refused(*options, key="lapsed")
        self.refused("TAKEOVER", unknown, key="unknown")
        self.assertEqual(self.call("EXISTS", "absent"), 0)
        self.finish()

    def test_a_claim_that_would_not_is_answered_as_ever(self):
        unknown = self.lapse("HOLD", key="unknown")
        self.stored(key="done")
        token = self.drain()
        self.assert_error(self.call("CLAIM", "k", "FP", "other"), "MISMATCH")
        self.assert_status(self.call("CLAIM", "k", "FP", "f"), "BUSY")
        self.assert_status(self.call("CLAIM", "done"), "DONE")
        for takeover in ((), ("TAKEOVER", unknown + 1)):
            self.assertEqual(evidence(self.call("CLAIM", "unknown", *takeover)),
                             Evidence("UNKNOWN", unknown, 1, None, STAGE))
        self.assert_status(self.call("CLAIM", "absent", "BORN", 1), "FORGOTTEN")
        self.assertEqual(self.grant("FP", "f", "OWNER", "me"), token, "it owns it already")
        self.finish()

    def test_a_claim_does_not_wait(self):
        self.drain()
        for client in (self.control, self.connect(self.server)):
            self.assert_status(client.call("CLAIM", "k", "FP", "f", "WAIT", LONG_MS), "BUSY")
        self.finish()

    def test_readers_wait_on(self):
        first = self.connect(self.server)
        self.drain()
        second = self.connect(self.server)
        for number, reader in enumerate((first, second)):
            reader.send("WAIT", "k", LONG_MS)
            self.server.await_blocked(number + 1, self.control)
        self.assertEqual(self.call("STORE", "k", self.token, "body"), 2)
        for reader in (first, second):
            self.assertEqual(reader.read()[:2], [b"DONE", b"body"])
        self.assertEqual(self.server.leave(), 0)

    def test_owners_go_on(self):
        others = {key: self.grant(key=key) for key in ("released", "unsure", "renewed")}
        self.drain()
        self.assertEqual(self.call("RELEASE", "released", others["released"]), 1)
        self.assertIsNone(self.shown("released"))
        self.assertEqual(self.call("RELEASE", "unsure", others["unsure"], "UNSURE"), 1)
        self.assertEqual(self.shown("unsure"),
                         Evidence("LAPSED", others["unsure"], 1, None, None))
        self.assertEqual(self.call("RENEW", "renewed", others["renewed"], "STAGE", STAGE), 60_000)
        self.assertEqual(self.call("FETCH", "renewed")[4], STAGE)
        self.assertEqual(self.call("STORE", "renewed", others["renewed"], "body"), 0)
        self.assertEqual([self.call("SET", "s", "v"), self.call("GET", "s")], ["OK", b"v"])
        self.finish()

    def test_it_stays_for_the_last_claim_and_no_longer(self):
        other = self.grant(key="other")
        self.drain()
        self.assertEqual(self.call("STORE", "other", other, "body"), 0)
        with self.connect(self.server) as late:
            self.assertEqual(late.call("PING"), "PONG")
        self.finish()

    def test_it_leaves_when_the_lease_is_over(self):
        self.token = self.grant("LEASE", 300)
        reader = self.queue("WAIT", "k", LONG_MS)
        self.server.signal(signal.SIGTERM)
        self.assertEqual(evidence(reader.read()), Evidence("LAPSED", self.token, 1, None, None))
        self.assertEqual(self.server.leave(), 0)

    def test_it_leaves_when_the_bound_connection_closes(self):
        owner = self.connect(self.server)
        self.grant("BIND", "LEASE", HOUR_MS, client=owner)
        waiter = self.queue_claim()
        self.server.signal(signal.SIGTERM)
        self.assert_status(waiter.read(), "BUSY")
        owner.close()
        self.assertEqual(self.server.leave(), 0)

    def test_without_a_claim_it_leaves_at_once(self):
        self.lapse(key="lapsed")
        self.lapse("HOLD", key="unknown")
        self.server.signal(signal.SIGTERM)
        self.assertEqual(self.server.leave(), 0)

    def test_the_log_says_what_evidence_goes_with_it(self):
        for number in range(3):
            self.lapse(key=f"lapsed{number}")
        for number in range(2):
            self.lapse("HOLD", key=f"unknown{number}")
        self.stored(key="done")
        self.drain()
        self.finish()
        log = self.server.log()
        counts = dict(map(reversed, re.findall(r"\b(\d+) (LAPSED|UNKNOWN)\b", log)))
        self.assertEqual(counts, {"LAPSED": "3", "UNKNOWN": "2"}, log)

    def test_the_time_runs_out(self):
        self.server = self.start("--drain-timeout", "300ms")
        self.control = self.connect(self.server)
        self.drain()
        self.assertEqual(self.server.leave(), 0)

    def test_a_second_signal_leaves_at_once(self):
        self.drain()
        self.server.signal(signal.SIGTERM)
        self.assertEqual(self.server.leave(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
