"""What a key's readers, owners and operators are told about work that may have happened."""

import unittest

from harness import eventually
from records import HOUR_MS, LONG_MS, STAGE, Evidence, RecordCase, evidence


class Readers(RecordCase):
    def test_lapsed_is_told_with_its_token_and_stage(self):
        for options, state in (((), "LAPSED"), (("HOLD",), "UNKNOWN")):
            with self.subTest(state):
                self.call("FLUSHALL")
                token = self.lapse("OWNER", "me", "FP", "f", *options)
                expected = Evidence(state, token, 1, b"me", STAGE)
                for command in (("FETCH", "k"), ("FETCH", "k", "FP", "f"), ("WAIT", "k", LONG_MS),
                                ("AWAIT", "k", LONG_MS, "FP", "f")):
                    self.assertEqual(evidence(self.call(*command)), expected, command)
                self.assert_error(self.call("FETCH", "k", "FP", "other"), "MISMATCH")

    def test_a_reader_that_waits_is_told_when_the_lease_ends(self):
        token = self.grant("OWNER", "me", "LEASE", 300)
        readers = [self.queue("WAIT", "k", LONG_MS) for _ in range(3)]
        expected = Evidence("LAPSED", token, 1, b"me", None)
        self.assertEqual([evidence(reader.read()) for reader in readers], [expected] * 3)

    def test_the_age_counts_from_the_grant(self):
        token = self.grant("LEASE", 60)
        self.call("WAIT", "k", LONG_MS)
        reply = self.call("FETCH", "k")
        self.assertEqual(evidence(reply), Evidence("LAPSED", token, 1, None, None))
        self.assertGreaterEqual(reply[2], 60)

    def test_busy_shows_the_stage(self):
        token = self.grant("OWNER", "me")
        commands = (("FETCH", "k"), ("CLAIM", "k"), ("CLAIM", "k", "WAIT", 1), ("WAIT", "k", 1))
        for stage in (None, b"half", b"", b"\x00\r\n"):
            if stage is not None:
                self.assertEqual(self.call("RENEW", "k", token, "STAGE", stage), 60_000)
            for command in commands:
                reply = self.call(*command)
                self.assertEqual((reply[0], reply[3:]), (b"BUSY", [b"me", stage]), command)

    def test_busy_shows_the_stage_of_an_earlier_attempt(self):
        self.lapse()
        self.grant(attempt=2, stage=STAGE)
        self.assertEqual(self.call("FETCH", "k")[3:], [None, STAGE])


class Operators(RecordCase):
    """Who may read a key's token may settle it."""

    def settle(self, *options):
        """A lapsed record, seen by somebody who did not own it; returns the token shown."""
        self.call("FLUSHALL")
        self.lapse("OWNER", "me", *options)
        shown = self.shown()
        self.assertIsInstance(shown, Evidence)
        return shown.token

    def test_store_with_the_token_shown(self):
        for hold in ((), ("HOLD",)):
            token = self.settle(*hold)
            self.assertEqual(self.call("STORE", "k", token, "it was charged"), 0)
            self.assertEqual(self.call("CLAIM", "k")[:2], [b"DONE", b"it was charged"])

    def test_clear_with_the_token_shown(self):
        for hold in ((), ("HOLD",)):
            token = self.settle(*hold)
            self.assertEqual(self.call("RELEASE", "k", token, "CLEAR"), 1)
            self.assertIsNone(self.shown())
            self.assertEqual(self.call("RELEASE", "k", token, "CLEAR"), 0)
            self.grant()

    def test_a_shared_response_ends_the_record_by_its_word(self):
        for hold, state in (((), "LAPSED"), (("HOLD",), "UNKNOWN")):
            for word in ("", "UNSURE", "CLEAR"):
                with self.subTest(f"{state} {word}"):
                    token = self.settle(*hold)
                    self.assertEqual(self.call("STORE", "k", token, "", "TTL", 0, *word.split()), 0)
                    expected = Evidence(state, token, 1, b"me", STAGE)
                    self.assertEqual(self.shown(), expected if word == "UNSURE" else None)

    def test_the_owner_that_comes_back_renews(self):
        token = self.settle()
        self.assertEqual(self.call("RENEW", "k", token, "LEASE", HOUR_MS), HOUR_MS)
        self.assert_status(self.call("FETCH", "k"), "BUSY")


class Unsure(RecordCase):
    """RELEASE ... UNSURE: it may have acted, I am gone."""

    def test_it_lapses_at_once(self):
        for options, state in (((), "LAPSED"), (("HOLD",), "UNKNOWN")):
            with self.subTest(state):
                self.call("FLUSHALL")
                token = self.grant("OWNER", "me", "LEASE", HOUR_MS, *options)
                reader = self.queue("WAIT", "k", LONG_MS)
                self.assertEqual(self.call("RELEASE", "k", token, "UNSURE"), 1)
                expected = Evidence(state, token, 1, b"me", None)
                self.assertEqual(evidence(reader.read()), expected)
                self.assertEqual(self.call("RELEASE", "k", token, "UNSURE"), 1)
                self.assertEqual(self.shown(), expected)

    def test_a_waiter_gets_the_next_attempt(self):
        token = self.grant()
        waiter = self.queue_claim()
        self.assertEqual(self.call("RELEASE", "k", token, "UNSURE"), 1)
        self.assert_granted(waiter, 2)
        self.assertEqual(self.call("RELEASE", "k", token, "UNSURE"), 0, "overtaken")

    def test_the_retention_does_not_begin_anew(self):
        self.server = self.start("--retention", "100ms")
        self.control = self.connect(self.server)
        token = self.lapse()
        eventually(lambda: self.call("RELEASE", "k", token, "UNSURE") == 0, "the end of it")
        self.assertIsNone(self.shown())

    def test_clear_hands_over_as_if_nothing_had_been(self):
        self.lapse()
        token = self.grant(attempt=2, stage=STAGE)
        waiter = self.queue_claim()
        self.assertEqual(self.call("RELEASE", "k", token, "CLEAR"), 1)
        self.assert_granted(waiter, 1)

    def test_one_word_at_most(self):
        token = self.grant()
        for words in (("UNSURE", "CLEAR"), ("UNSURE", "UNSURE"), ("SURE",)):
            self.assert_error(self.call("RELEASE", "k", token, *words), "ERR")
        for words in (("UNSURE",), ("TTL", 1, "CLEAR"), ("TTL", 0, "CLEAR", "UNSURE")):
            self.assert_error(self.call("STORE", "k", token, "", *words), "ERR")
        self.assert_status(self.call("FETCH", "k"), "BUSY")


class Stale(RecordCase):
    """The second word of -STALE names the state of the record."""

    def assert_stale(self, word, token, *commands):
        for command in commands or ("STORE", "RENEW"):
            body = ("late",) if command == "STORE" else ()
            self.assertRegex(str(self.call(command, "k", token, *body)), f"^STALE {word} ", command)

    def test_absent(self):
        self.assert_stale("ABSENT", 1)
        token = self.grant()
        self.assertEqual(self.call("RELEASE", "k", token), 1)
        self.assert_stale("ABSENT", token)

    def test_stored(self):
        token = self.stored()
        self.assert_stale("STORED", token, "RENEW")
        self.assert_stale("STORED", token + 1)
        self.assert_error(self.call("STORE", "k", token, "other bytes"), "CONFLICT")

    def test_overtaken(self):
        former = self.lapse()
        self.assert_stale("OVERTAKEN", former + 1)
        token = self.grant(attempt=2, stage=STAGE)
        self.assert_stale("OVERTAKEN", former)
        self.end_lease(token)
        self.assert_stale("OVERTAKEN", former)

    def test_overtaken_when_unknown(self):
        former = self.lapse("HOLD")
        self.assert_stale("OVERTAKEN", former + 1)
        token = self.grant("TAKEOVER", former, attempt=2, stage=STAGE)
        self.assert_stale("OVERTAKEN", former)
        self.end_lease(token)
        self.assert_stale("OVERTAKEN", former)


if __name__ == "__main__":
    unittest.main(verbosity=2)
