"""BORN and FORGOTTEN: what the server may have forgotten it admits.

A client says when its request was born, and is never told to run it as attempt 1 when a record of
it may have expired or been lost in a restart. Both sides read the wall clock of this machine.
"""

import unittest

from harness import Closed, eventually, measured
from records import LONG_MS, STAGE, RecordCase, after_ms, wall_ms

EXACT = ("--born-skew", "0")
CLOCKS_MS = 50  # by how much the server's reading of the wall clock may differ from ours


class BornCase(RecordCase):
    OPTIONS = EXACT

    def birth(self):
        """The birth of a request that this server has not forgotten yet."""
        return after_ms(wall_ms())

    def assert_forgotten(self, reply, born_ms):
        """FORGOTTEN, with a horizon that is not before born_ms; returns the horizon."""
        self.assert_status(reply, "FORGOTTEN")
        self.assertEqual(len(reply), 2)
        self.assertGreaterEqual(reply[1], born_ms)
        return reply[1]

    def forgotten(self, born_ms, key="k"):
        horizon = self.assert_forgotten(self.call("CLAIM", key, "BORN", born_ms), born_ms)
        self.assertEqual(self.call("EXISTS", key), 0, "nothing changed")
        return horizon

    def horizon_start(self):
        return int(self.server.info("idem", self.control)["horizon_start_unix_ms"])

    def unless_it_stood_still(self, check):
        """A server that stood still meanwhile has moved all its past times: then, once more."""
        while True:
            start = self.horizon_start()
            try:
                return check()
            except AssertionError:
                if self.horizon_start() == start:
                    raise

    def served_ms(self):
        """Since its memory began, as far as it did not stand still; at most."""
        return wall_ms() - self.horizon_start() + CLOCKS_MS

    def await_empty(self):
        eventually(lambda: self.call("DBSIZE") == 0, "an empty keyspace")


class Restart(BornCase):
    """kill -9 while 150 works run. Their clients try again."""

    WORKS = 150
    SKEW_MS = 200
    OPTIONS = ("--born-skew", SKEW_MS)

    def crash(self, *born):
        """Starts the works, kills the server under them, starts it again on the same port."""
        self.runs = {f"work{number}": 0 for number in range(self.WORKS)}
        works = {key: self.connect(self.server) for key in self.runs}
        for key, work in works.items():
            work.send("CLAIM", key, "OWNER", key, *born)
        tokens = {key: self.run_if_granted(key, work.read()) for key, work in works.items()}
        self.server.kill()
        for key, work in works.items():
            with self.assertRaises((Closed, OSError)):
                work.call("STORE", key, tokens[key], "body")
        self.server = self.start("--port", self.server.address[1], *self.OPTIONS)
        self.control = self.connect(self.server)

    def run_if_granted(self, key, reply):
        """What a client does: it runs the work when it is told to. Returns the token."""
        if isinstance(reply, list) and reply[0] == b"CLAIMED":
            self.runs[key] += 1
            return reply[1]
        return None

    def try_again(self, *born):
        works = {key: self.connect(self.server) for key in self.runs}
        for key, work in works.items():
            work.send("CLAIM", key, "OWNER", key, *born)
        replies = [work.read() for work in works.values()]
        for key, reply in zip(works, replies):
            self.run_if_granted(key, reply)
        return replies

    def test_with_born_none_runs_twice(self):
        born_ms = after_ms(self.horizon_start() + self.SKEW_MS)
        self.crash("BORN", born_ms)
        self.assertEqual(set(self.runs.values()), {1})
        for _ in range(2):
            for reply in self.try_again("BORN", born_ms):
                self.assert_forgotten(reply, born_ms)
        self.assertEqual(set(self.runs.values()), {1}, "0 run twice")
        self.assertEqual(self.server.info("idem", self.control)["forgotten_answers"],
                         str(2 * self.WORKS))
        self.assertEqual(self.call("DBSIZE"), 0)

    def test_of_requests_born_after_it_none_is_refused(self):
        self.crash()
        start = self.horizon_start()
        self.assertEqual(self.forgotten(start), start + self.SKEW_MS)
        born_ms = after_ms(start + self.SKEW_MS)
        for number in range(1000):
            self.grant("BORN", born_ms, key=f"new{number}")

    def test_without_born_they_run_again(self):
        self.crash()
        for reply in self.try_again():
            self.assert_status(reply, "CLAIMED")
            self.assertEqual(reply[3], 1)
        self.assertEqual(set(self.runs.values()), {2})

    def test_who_has_looked_claims_without_it(self):
        born_ms = self.birth()
        self.crash()
        self.forgotten(born_ms, "work0")
        self.grant(key="work0")


class Start(BornCase):
    def test_a_memory_begins_with_the_process(self):
        before = wall_ms()
        self.server = self.start(*EXACT)
        self.control = self.connect(self.server)

        def check():
            start = self.horizon_start()
            self.assertLessEqual(before, start)
            self.assertLessEqual(start, wall_ms())
            self.assertEqual(self.forgotten(before), start)
            self.assertEqual(self.forgotten(start), start, "at the horizon")
            after_ms(start)
            self.grant("BORN", start + 1)
        self.unless_it_stood_still(check)

    def test_the_default_skew_is_five_seconds(self):
        self.server = self.start()
        self.control = self.connect(self.server)

        def check():
            start = self.horizon_start()
            self.assertEqual(self.forgotten(start), start + 5000)
            self.assertEqual(self.forgotten(start + 5000), start + 5000)
            self.grant("BORN", start + 5001)
        self.unless_it_stood_still(check)

    def test_answers_are_counted(self):
        self.assertEqual(self.server.info("idem", self.control)["forgotten_answers"], "0")
        for count in range(1, 4):
            self.forgotten(1)
            self.assertEqual(self.server.info("idem", self.control)["forgotten_answers"],
                             str(count))


class Future(BornCase):
    def test_a_birth_after_now_and_the_skew_is_refused(self):
        self.assert_error(self.call("CLAIM", "k", "BORN", wall_ms() + LONG_MS), "ERR")
        self.assert_error(self.call("CLAIM", "k", "BORN", 2**63 - 1), "ERR")
        self.assertEqual(self.call("EXISTS", "k"), 0)

    def test_a_birth_just_now_is_not_after_now(self):
        for number in range(2000):
            key = f"k{number}"
            self.assert_status(self.call("CLAIM", key, "BORN", self.birth()), "CLAIMED")

    def test_within_the_skew_it_is_granted(self):
        self.server = self.start("--born-skew", "60s")
        self.control = self.connect(self.server)

        def check():
            start = self.horizon_start()
            self.assertEqual(self.forgotten(wall_ms()), start + 60_000)
            self.grant("BORN", start + 60_001)
        self.unless_it_stood_still(check)
        self.assert_error(self.call("CLAIM", "other", "BORN", wall_ms() + 120_000), "ERR")

    def test_syntax(self):
        for words in (("BORN",), ("BORN", "-1"), ("BORN", "x"), ("BORN", "1.5"), ("BORN", ""),
                      ("BORN", "1", "BORN", "1"), ("BORN", 2**64)):
            self.assert_error(self.call("CLAIM", "k", *words), "ERR")


class ExpiredRecords(BornCase):
    """A record that ends by its time moves the horizon of its key."""

    OPTIONS = (*EXACT, "--retention", "30ms")

    def assert_horizon(self, earliest_ms, served_ms, key="k"):
        """The key's horizon lies in these limits, and BORN counts to the millisecond."""
        def check():
            horizon = self.forgotten(earliest_ms, key)
            self.assertLessEqual(horizon, self.horizon_start() + served_ms)
            self.assertEqual(self.forgotten(horizon, key), horizon, "at the horizon")
            self.grant("BORN", horizon + 1, key=key)
        self.unless_it_stood_still(check)

    def test_the_store_counts(self):
        token = self.grant()
        before = after_ms(wall_ms())
        self.assertEqual(self.call("STORE", "k", token, "body", "TTL", 200), 0)
        served_ms = self.served_ms()
        self.await_empty()
        self.assert_horizon(before, served_ms)

    def test_it_counts_when_a_command_finds_it_expired(self):
        for number in range(50):
            key = f"k{number}"
            born_ms = self.birth()
            self.stored("TTL", 5, key=key)
            reply = self.call("CLAIM", key, "BORN", born_ms)
            while reply[0] == b"DONE":
                reply = self.call("CLAIM", key, "BORN", born_ms)
            self.assert_forgotten(reply, born_ms)

    def test_a_lapsed_record_counts_from_its_grant(self):
        before = self.birth()
        self.grant("OWNER", "me", "LEASE", 200)
        served_ms = self.served_ms()
        self.call("WAIT", "k", LONG_MS)
        self.await_empty()
        self.assert_horizon(before, served_ms)

    def test_the_latest_of_several_counts(self):
        births = []
        for _ in range(5):
            births.append(self.birth())
            self.stored("TTL", 1)
            self.await_empty()
        for born_ms in births:
            self.assertGreaterEqual(self.forgotten(born_ms), births[-1])

    def test_the_skew_is_added(self):
        skew_ms = 300
        self.server = self.start("--born-skew", skew_ms)
        self.control = self.connect(self.server)
        born_ms = after_ms(self.horizon_start() + skew_ms)
        self.stored("TTL", 1)
        self.await_empty()
        horizon = self.forgotten(born_ms)
        self.assertLessEqual(born_ms + skew_ms, horizon)
        self.assertLessEqual(horizon, wall_ms() + CLOCKS_MS + skew_ms)

    def refused_others(self, *slots):
        """How many of 1000 other keys are told FORGOTTEN after one record has ended."""
        self.server = self.start(*EXACT, *slots)
        self.control = self.connect(self.server)
        born_ms = self.birth()
        self.grant("BORN", born_ms, key="before")
        self.stored("TTL", 1)
        eventually(lambda: self.call("EXISTS", "k") == 0, "the end of its TTL")
        replies = [self.call("CLAIM", f"other{n}", "BORN", born_ms) for n in range(1000)]
        return sum(reply[0] == b"FORGOTTEN" for reply in replies)

    def test_keys_that_share_a_slot_share_its_horizon(self):
        many, few = self.refused_others(), self.refused_others("--horizon-slots", "1")
        measured(f"one record has ended: of 1000 other keys {many} are told FORGOTTEN with 65,536 "
                 f"slots, {few} with the fewest")
        self.assertLess(many, 10)  # 0.015 are expected
        self.assertGreater(few, many)  # all, or the part of one shard

    def test_slots_count_as_used_memory(self):
        used = []
        for slots in (1, 1 << 20):
            self.server = self.start(*EXACT, "--horizon-slots", slots)
            self.control = self.connect(self.server)
            for number in range(2000):
                self.stored("TTL", 1, key=f"k{number}")
            self.await_empty()
            used.append(int(self.server.info("memory", self.control)["used_memory"]))
        measured(f"2000 records have ended; used_memory with few and many slots: {used}")
        self.assertGreater(used[1] - used[0], 2**20)


class ForgottenOnPurpose(BornCase):
    """What somebody ends deliberately moves no horizon."""

    OPTIONS = (*EXACT, "--horizon-slots", "1")

    def test_no_horizon_moves(self):
        born_ms, start = self.birth(), self.horizon_start()
        ways = {
            "DEL of DONE": lambda: (self.stored(), self.call("DEL", "k")),
            "DEL of LAPSED": lambda: (self.lapse(), self.call("DEL", "k")),
            "DEL of HELD": lambda: (self.grant(), self.call("DEL", "k")),
            "FLUSHALL": lambda: (self.stored(), self.call("FLUSHALL")),
            "STORE TTL 0": lambda: self.stored("TTL", 0),
            "STORE TTL 0 CLEAR": lambda: self.stored("TTL", 0, "CLEAR"),
            "RELEASE": lambda: self.call("RELEASE", "k", self.grant()),
            "RELEASE CLEAR": lambda: self.call("RELEASE", "k", self.lapse("HOLD"), "CLEAR"),
        }
        for way, end in ways.items():
            with self.subTest(way):
                end()
                self.assertEqual(self.call("EXISTS", "k"), 0)
                token = self.grant("BORN", born_ms)
                self.assertEqual(self.call("RELEASE", "k", token), 1)
        self.assertEqual(self.forgotten(start), start)


class Grants(BornCase):
    """BORN is judged when a grant would say attempt 1, and only then."""

    def test_any_other_answer_is_as_ever(self):
        self.grant("OWNER", "me", key="held")
        self.stored(key="done")
        token = self.lapse("HOLD", key="unknown")
        self.lapse(key="lapsed")
        self.assert_status(self.call("CLAIM", "held", "BORN", 1), "BUSY")
        self.assert_status(self.call("CLAIM", "done", "BORN", 1), "DONE")
        self.assert_status(self.call("CLAIM", "unknown", "BORN", 1), "UNKNOWN")
        self.assert_error(self.call("CLAIM", "held", "FP", "f", "BORN", 1), "MISMATCH")
        self.grant("OWNER", "me", "BORN", 1, key="held")
        self.grant("BORN", 1, key="lapsed", attempt=2, stage=STAGE)
        self.grant("BORN", 1, "TAKEOVER", token, key="unknown", attempt=2, stage=STAGE)

    def test_waiters_are_tried_in_their_order(self):
        token = self.grant()
        old = [self.queue_claim("BORN", 1) for _ in range(3)]
        young = self.queue_claim("BORN", self.birth())
        older = self.queue_claim("BORN", 1)
        self.assertEqual(self.call("RELEASE", "k", token), 1)
        for waiter in old:
            self.assert_forgotten(waiter.read(), 1)
        token = self.assert_granted(young, 1)
        self.assertFalse(older.readable())
        reader = self.queue("WAIT", "k", LONG_MS)
        self.assertEqual(self.call("RELEASE", "k", token), 1)
        self.assert_forgotten(older.read(), 1)
        self.assertIsNone(reader.read(), "with nobody left the key is ABSENT")

    def test_a_waiter_of_a_second_attempt_is_granted(self):
        token = self.grant()
        waiters = [self.queue_claim("BORN", 1) for _ in range(2)]
        self.assertEqual(self.call("RELEASE", "k", token, "UNSURE"), 1)
        token = self.assert_granted(waiters[0], 2)
        self.assertEqual(self.call("RELEASE", "k", token), 1)
        self.assert_granted(waiters[1], 2)

    def test_a_waiter_that_the_response_reaches_replays(self):
        token = self.grant()
        waiter = self.queue_claim("BORN", 1)
        self.assertEqual(self.call("STORE", "k", token, "body"), 1)
        self.assert_status(waiter.read(), "DONE")

    def test_del_of_a_held_claim_tries_them_too(self):
        self.grant()
        old, other = self.queue_claim("BORN", 1), self.queue_claim()
        self.assertEqual(self.call("DEL", "k"), 1)
        self.assert_forgotten(old.read(), 1)
        self.assert_granted(other, 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
