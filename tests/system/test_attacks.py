"""Evidence that earlier work may have happened is not lost by accident.

Each test is an ordinary series of events after which a weaker contract would say attempt 1, drop
HOLD, or run work again that somebody marked as not to be repeated.
"""

import unittest

from harness import RespError, encode, eventually
from records import (HOUR_MS, LONG_MS, STAGE, Evidence, RecordCase, after_ms, evidence,
                     wall_ms)


class ReleaseAfterTakeover(RecordCase):
    """RELEASE says that this attempt did nothing. It says nothing of the attempts before it."""

    def take_over(self, *options):
        """A lapsed first attempt and the token of the second, which RELEASEs."""
        self.first = self.lapse("OWNER", "first", *options)
        token = self.grant(*(("TAKEOVER", self.first) if options else ()), attempt=2, stage=STAGE)
        self.assertEqual(self.call("RELEASE", "k", token), 1)
        return token

    def struck_out(self, *options, state="LAPSED"):
        """As take_over; returns the token of the second attempt and the one shown in its place."""
        second = self.take_over(*options)
        shown = self.shown()
        self.assertIsInstance(shown, Evidence, "what the first attempt did is remembered")
        self.assertEqual(shown, Evidence(state, shown.token, 1, None, STAGE))
        self.assertGreater(shown.token, second, "a token that was never granted")
        return second, shown.token

    def test_readers_see_the_first_attempt_and_the_next_claim_is_the_second(self):
        self.struck_out()
        self.grant(attempt=2, stage=STAGE)

    def test_a_next_claim_is_the_second_attempt_again_and_again(self):
        self.take_over()
        for _ in range(20):
            token = self.grant(attempt=2, stage=STAGE)
            self.assertEqual(self.call("RELEASE", "k", token), 1)
        self.assertEqual(self.shown()[2:], (1, None, STAGE))

    def test_each_lapse_counts_and_each_release_does_not(self):
        self.lapse()
        for attempt in range(2, 8):
            token = self.grant(attempt=attempt, stage=STAGE)
            self.assertEqual(self.call("RELEASE", "k", token), 1)
            token = self.grant("OWNER", attempt, attempt=attempt, stage=STAGE)
            self.end_lease(token)
            self.assertEqual(self.shown(),
                             Evidence("LAPSED", token, attempt, b"%d" % attempt, STAGE))

    def test_the_stage_is_that_of_the_last_attempt_that_noted_one(self):
        self.lapse()
        token = self.grant(attempt=2, stage=STAGE)
        self.assertEqual(self.call("RENEW", "k", token, "STAGE", "looked"), 60_000)
        self.assertEqual(self.call("RELEASE", "k", token), 1)
        self.grant(attempt=2, stage=b"looked")

    def test_the_same_release_again_does_nothing(self):
        second, shown = self.struck_out()
        self.assertEqual(self.call("RELEASE", "k", second), 0)
        self.assertEqual(self.call("RELEASE", "k", self.first), 0)
        self.assertEqual(self.shown().token, shown)

    def test_a_former_owner_is_stale(self):
        second, _ = self.struck_out()
        for token in (self.first, second):
            for command in (("STORE", "k", token, "late"), ("RENEW", "k", token)):
                self.assertRegex(str(self.call(*command)), "^STALE OVERTAKEN ")

    def test_nobody_owns_the_token_shown(self):
        _, token = self.struck_out()
        before = self.shown()
        self.assertEqual(self.call("RELEASE", "k", token), 0, "nobody can say that it did nothing")
        self.assertRegex(str(self.call("RENEW", "k", token)), "^STALE OVERTAKEN ")
        self.assertEqual(self.call("RELEASE", "k", token, "UNSURE"), 1)
        self.assertEqual(self.shown(), before)
        granted = self.grant(attempt=2, stage=STAGE)
        self.assertEqual(self.call("RENEW", "k", granted), 60_000, "somebody owns the next one")
        self.assertEqual(self.call("RELEASE", "k", token, "CLEAR"), 0)

    def test_store_and_clear_with_the_token_shown(self):
        for options, state in (((), "LAPSED"), (("HOLD",), "UNKNOWN")):
            with self.subTest(state):
                _, token = self.struck_out(*options, state=state)
                self.assertEqual(self.call("RELEASE", "k", token, "CLEAR"), 1)
                self.assertIsNone(self.shown())
                _, token = self.struck_out(*options, state=state)
                self.assertEqual(self.call("STORE", "k", token, "it was charged"), 0)
                self.assertEqual(self.shown()[1], b"it was charged")
                self.assertEqual(self.call("DEL", "k"), 1)

    def test_waiters_are_granted_the_second_attempt_one_after_another(self):
        self.lapse()
        token = self.grant(attempt=2, stage=STAGE)
        waiters = [self.queue_claim() for _ in range(3)]
        reader = self.queue("WAIT", "k", LONG_MS)
        for number, waiter in enumerate(waiters):
            self.assertEqual(self.call("RELEASE", "k", token), 1)
            token = self.assert_granted(waiter, 2, STAGE)
            self.server.await_blocked(3 - number, self.control)
            self.assertFalse(reader.readable(), "the reader waits on")
        self.assertEqual(self.call("RELEASE", "k", token), 1)
        seen = evidence(reader.read())
        self.assertEqual(seen, Evidence("LAPSED", seen[1], 1, None, STAGE))

    def test_with_hold_every_waiter_is_told_unknown(self):
        first = self.lapse("HOLD")
        second = self.grant("TAKEOVER", first, attempt=2, stage=STAGE)
        waiters = [self.queue_claim(), self.queue_claim("TAKEOVER", second),
                   self.queue("WAIT", "k", LONG_MS)]
        self.assertEqual(self.call("RELEASE", "k", second), 1)
        seen = [evidence(waiter.read()) for waiter in waiters]
        self.assertEqual(seen, [Evidence("UNKNOWN", self.shown().token, 1, None, STAGE)] * 3)
        self.assertGreater(seen[0].token, second)

    def test_with_hold_the_next_claim_needs_the_token_shown(self):
        second, token = self.struck_out("HOLD", state="UNKNOWN")
        for options in ((), ("TAKEOVER", self.first), ("TAKEOVER", second)):
            self.assertEqual(evidence(self.call("CLAIM", "k", *options)), self.shown())
        self.grant("TAKEOVER", token, attempt=2, stage=STAGE)

    def test_a_response_that_is_shared_only_ends_alike(self):
        self.lapse()
        token = self.grant(attempt=2, stage=STAGE)
        waiter = self.queue_claim()
        self.assertEqual(self.call("STORE", "k", token, "try later", "TTL", 0), 1)
        self.assertEqual(waiter.read()[:2], [b"DONE", b"try later"])
        self.assertEqual(self.shown(), Evidence("LAPSED", self.shown()[1], 1, None, STAGE))
        self.grant(attempt=2, stage=STAGE)


class BindClose(RecordCase):
    """The connection of a claim with BIND closes: as if the lease were over."""

    def bound(self, *options):
        """A connection with a claim of an hour that is bound to it; returns it with the token."""
        owner = self.connect(self.server)
        token = self.grant("BIND", "OWNER", "me", *options, "LEASE", HOUR_MS, client=owner)
        self.assertEqual(owner.call("RENEW", "k", token, "STAGE", STAGE), HOUR_MS)
        return owner, token

    def test_it_lapses_and_the_next_claim_is_the_second_attempt(self):
        owner, token = self.bound()
        reader = self.queue("WAIT", "k", LONG_MS)
        owner.close()
        expected = Evidence("LAPSED", token, 1, b"me", STAGE)
        self.assertEqual(evidence(reader.read()), expected)
        self.assertEqual(self.shown(), expected)
        self.grant(attempt=2, stage=STAGE)

    def test_with_hold_it_is_unknown_to_all(self):
        owner, token = self.bound("HOLD")
        waiters = [self.queue_claim(), self.queue_claim("TAKEOVER", token),
                   self.queue("WAIT", "k", LONG_MS)]
        owner.close()
        expected = Evidence("UNKNOWN", token, 1, b"me", STAGE)
        self.assertEqual([evidence(waiter.read()) for waiter in waiters], [expected] * 3)
        self.assertEqual(evidence(self.call("CLAIM", "k")), expected)
        self.grant("TAKEOVER", token, attempt=2, stage=STAGE)

    def test_a_waiter_gets_the_second_attempt(self):
        owner, _ = self.bound()
        waiter = self.queue_claim()
        owner.close()
        self.assert_granted(waiter, 2, STAGE)

    def test_bind_outlives_the_lease(self):
        for leave in ("close", "reset"):
            with self.subTest(leave):
                self.call("FLUSHALL")
                owner, token = self.bound()
                self.end_lease(token)
                self.assertEqual(self.call("RENEW", "k", token, "LEASE", HOUR_MS), HOUR_MS)
                reader = self.queue("WAIT", "k", LONG_MS)
                getattr(owner, leave)()
                self.assertEqual(evidence(reader.read()),
                                 Evidence("LAPSED", token, 1, b"me", STAGE))

    def test_bind_is_gone_with_its_connection(self):
        """Whether the connection ended the grant, or the lease had ended it before."""
        for lapsed in (False, True):
            with self.subTest(lapsed_before=lapsed):
                self.call("FLUSHALL")
                owner, token = self.bound()
                if lapsed:
                    self.end_lease(token)
                self.close(owner)
                self.assertEqual(self.shown(), Evidence("LAPSED", token, 1, b"me", STAGE))
                other = self.connect(self.server)
                self.assertEqual(other.call("RENEW", "k", token, "LEASE", HOUR_MS), HOUR_MS)
                self.close(other)
                self.assert_status(self.call("FETCH", "k"), "BUSY")
                record = self.call("INSPECT", "k")
                self.assertIsInstance(record, list, record)
                self.assertEqual(record[record.index(b"bind") + 1], 0)


class UnknownAfterRetention(RecordCase):
    OPTIONS = ("--retention", "30ms", "--born-skew", "0")

    def test_it_stays_until_somebody_decides(self):
        token = self.lapse("HOLD", "OWNER", "me")
        self.lapse(key="lapsed later")
        eventually(lambda: self.call("EXISTS", "lapsed later") == 0, "the end of the retention")
        expected = Evidence("UNKNOWN", token, 1, b"me", STAGE)
        self.assertEqual(self.shown(), expected)
        self.assertEqual(evidence(self.call("CLAIM", "k", "HOLD")), expected)
        self.assertEqual(self.call("RELEASE", "k", token, "UNSURE"), 1)
        self.assertEqual(self.shown(), expected)

    def test_it_ends_when_an_operator_wants_that_and_the_horizon_tells(self):
        self.server = self.start("--unknown-retention", "30ms", "--born-skew", "0")
        self.control = self.connect(self.server)
        born_ms = after_ms(wall_ms())
        self.lapse("HOLD")
        eventually(lambda: self.call("DBSIZE") == 0, "the end of unknown-retention")
        reply = self.call("CLAIM", "k", "BORN", born_ms)
        self.assert_status(reply, "FORGOTTEN")
        self.assertGreaterEqual(reply[1], born_ms)
        self.assertIsNone(self.shown(), "nothing changed")
        self.grant()


class TakeoverOnOldEvidence(RecordCase):
    """Who takes over has read the evidence. If there is more of it since, he has to read again."""

    def test_a_token_that_is_shown_no_more(self):
        first = self.lapse("HOLD", "OWNER", "one")
        second = self.grant("TAKEOVER", first, "OWNER", "two", attempt=2, stage=STAGE)
        self.end_lease(second, "STAGE", "sent twice")
        expected = Evidence("UNKNOWN", second, 2, b"two", b"sent twice")
        for token in (first, second + 1, 0):
            self.assertEqual(evidence(self.call("CLAIM", "k", "TAKEOVER", token)), expected)
            self.assertEqual(
                evidence(self.call("CLAIM", "k", "TAKEOVER", token, "WAIT", LONG_MS)), expected)
        self.grant("TAKEOVER", second, attempt=3, stage=b"sent twice")

    def test_of_two_that_take_over_one_does(self):
        token = self.lapse("HOLD")
        clients = [self.connect(self.server) for _ in range(20)]
        for client in clients:
            client.send("CLAIM", "k", "TAKEOVER", token)
        replies = [client.read() for client in clients]
        self.assertEqual(sorted(reply[0] for reply in replies), [b"BUSY"] * 19 + [b"CLAIMED"])

    def test_it_counts_on_unknown_only(self):
        self.grant("TAKEOVER", 7, key="absent")
        self.assert_status(self.call("CLAIM", "absent", "TAKEOVER", 7), "BUSY")
        self.stored(key="done")
        self.assert_status(self.call("CLAIM", "done", "TAKEOVER", 7), "DONE")
        self.lapse()
        self.grant("TAKEOVER", 7, attempt=2, stage=STAGE)

    def test_a_waiter_cannot_take_over_what_it_has_not_seen(self):
        owner = self.connect(self.server)
        token = self.grant("HOLD", "BIND", client=owner)
        waiter = self.queue_claim("TAKEOVER", token)
        owner.close()
        self.assertEqual(evidence(waiter.read()), Evidence("UNKNOWN", token, 1, None, None))

    def test_it_needs_a_token(self):
        for words in (("TAKEOVER",), ("TAKEOVER", "HOLD"), ("TAKEOVER", "-1"),
                      ("TAKEOVER", "1", "TAKEOVER", "1")):
            self.assert_error(self.call("CLAIM", "k", *words), "ERR")


class HoldStays(RecordCase):
    def test_after_a_takeover_that_does_not_ask_for_it(self):
        token = self.lapse("HOLD")
        for attempt in range(2, 5):
            token = self.grant("TAKEOVER", token, attempt=attempt, stage=STAGE)
            self.end_lease(token)
            self.assertEqual(self.shown(), Evidence("UNKNOWN", token, attempt, None, STAGE))

    def test_after_the_owner_claims_again_without_it(self):
        token = self.grant("HOLD", "OWNER", "me")
        self.assertEqual(self.grant("OWNER", "me"), token)
        self.end_lease(token)
        self.assertEqual(self.shown(), Evidence("UNKNOWN", token, 1, b"me", None))

    def test_it_can_be_added(self):
        token = self.grant("OWNER", "me")
        self.assertEqual(self.grant("OWNER", "me", "HOLD"), token)
        self.end_lease(token)
        self.assertEqual(self.shown(), Evidence("UNKNOWN", token, 1, b"me", None))

    def test_after_a_renewal_of_unknown(self):
        token = self.lapse("HOLD")
        self.assertEqual(self.call("RENEW", "k", token, "LEASE", HOUR_MS), HOUR_MS)
        self.assertEqual(self.call("RELEASE", "k", token, "UNSURE"), 1)
        self.assertEqual(self.shown(), Evidence("UNKNOWN", token, 1, None, STAGE))

    def test_clear_ends_it(self):
        token = self.lapse("HOLD")
        self.assertEqual(self.call("RELEASE", "k", token, "CLEAR"), 1)
        token = self.grant("HOLD")
        waiter = self.queue_claim()
        self.assertEqual(self.call("RELEASE", "k", token, "CLEAR"), 1)
        token = self.assert_granted(waiter, 1)
        self.end_lease(token)
        self.assertEqual(self.shown(), Evidence("LAPSED", token, 1, None, None))


class AbandonedClaims(RecordCase):
    """The memory that is kept for a response belongs to claims that are HELD."""

    BATCH = 500
    RESERVE = 32 << 10
    OPTIONS = ("--maxmemory", "64mb", "--store-reserve", RESERVE)

    def pipeline(self, commands):
        self.control.send_raw(b"".join(encode(*command) for command in commands))
        return [self.control.read() for _ in commands]

    def test_10000_abandoned_claims_leave_room(self):
        for start in range(0, 10_000, self.BATCH):
            keys = [f"k{number}" for number in range(start, start + self.BATCH)]
            replies = self.pipeline([("CLAIM", key, "LEASE", 1) for key in keys])
            refused = [str(reply) for reply in replies if isinstance(reply, RespError)]
            self.assertEqual(refused[:1], [], f"after {start} claims that are not HELD any more")
            self.pipeline([("WAIT", key, LONG_MS) for key in keys])
        self.assertEqual(self.call("DBSIZE"), 10_000)
        token = self.grant()
        self.assertEqual(self.call("STORE", "k", token, b"x" * self.RESERVE), 0)

    def test_a_late_store_at_the_limit_can_be_tried_again(self):
        late = self.lapse(key="late")
        held = {}
        while True:
            reply = self.call("CLAIM", f"k{len(held)}")
            if isinstance(reply, RespError):
                break
            held[f"k{len(held)}"] = reply[1]
        self.assert_error(reply, "OOM")
        before, large = self.shown("late"), b"x" * 2**20
        self.assert_error(self.call("STORE", "late", late, large), "OOM")
        self.assertEqual(self.shown("late"), before, "nothing changed")
        for key, token in held.items():
            self.assertEqual(self.call("STORE", key, token, b"x" * self.RESERVE), 0)
        self.call("DEL", *list(held)[:len(held) // 2])
        eventually(lambda: self.call("STORE", "late", late, large) == 0, "a late STORE")


class OwnerQueuedTwice(RecordCase):
    """Whoever claims again with its OWNER while it is queued keeps its place."""

    def setUp(self):
        super().setUp()
        self.token = self.grant()

    def supersede(self, waiter, *options):
        """A second queued CLAIM of OWNER a, which takes the waiter's place."""
        client = self.connect(self.server)
        client.send("CLAIM", "k", "OWNER", "a", *(options or ("WAIT", LONG_MS)))
        self.assert_status(waiter.read(), "BUSY")
        return client

    def test_it_takes_the_place_and_the_first_is_told_busy(self):
        first, other = self.queue_claim("OWNER", "a"), self.queue_claim("OWNER", "b")
        second = self.supersede(first)
        self.server.await_blocked(2, self.control)
        self.close(first)
        self.assertEqual(self.call("RELEASE", "k", self.token), 1)
        token = self.assert_granted(second, 1)
        self.assertFalse(other.readable())
        self.assertEqual(self.call("RELEASE", "k", token), 1)
        self.assert_granted(other, 1)

    def test_again_and_again(self):
        waiter, other = self.queue_claim("OWNER", "a"), self.queue_claim("OWNER", "b")
        for _ in range(100):
            waiter = self.supersede(waiter)
        self.server.await_blocked(2, self.control)
        self.assertEqual(self.call("STORE", "k", self.token, "body"), 2)
        for client in (waiter, other):
            self.assertEqual(client.read()[:2], [b"DONE", b"body"])

    def test_it_brings_its_own_options_and_its_own_wait(self):
        first = self.queue_claim("OWNER", "a", "LEASE", 1000)
        second = self.supersede(first, "WAIT", 20)
        self.assert_status(second.read(), "BUSY")
        first = self.queue("CLAIM", "k", "OWNER", "a", "LEASE", 1000, "WAIT", 1000)
        second = self.supersede(first, "WAIT", LONG_MS, "LEASE", 2000, "HOLD")
        self.assert_status(self.call("CLAIM", "k", "WAIT", 1100), "BUSY")
        self.assertFalse(second.readable(), "the time of the first has passed")
        self.assertEqual(self.call("RELEASE", "k", self.token), 1)
        reply = second.read()
        self.assertEqual(reply, [b"CLAIMED", reply[1], 2000, 1, None])
        self.end_lease(reply[1])
        self.assertEqual(self.shown(), Evidence("UNKNOWN", reply[1], 1, b"a", None))

    def test_limits_do_not_count_it_again(self):
        for option in ("--waiters-per-key", "--waiters-total"):
            with self.subTest(option):
                self.server = self.start(option, "1")
                self.control = self.connect(self.server)
                token = self.grant()
                waiter = self.queue_claim("OWNER", "a")
                for _ in range(3):
                    waiter = self.supersede(waiter)
                self.assert_error(self.call("CLAIM", "k", "OWNER", "b", "WAIT", LONG_MS), "BUSYKEY")
                self.assertEqual(self.call("RELEASE", "k", token), 1)
                self.assert_granted(waiter, 1)

    def test_callers_without_an_owner_are_not_one(self):
        waiters = [self.queue_claim() for _ in range(2)]
        self.server.await_blocked(2, self.control)
        self.assertEqual([waiter.readable() for waiter in waiters], [False, False])


if __name__ == "__main__":
    unittest.main(verbosity=2)
