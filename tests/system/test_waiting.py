"""Waiters, grants and answers: interleavings on real sockets, written from the contract."""

import os
import re
import select
import signal
import subprocess
import sys
import time
import unittest

from harness import (HANG_SECONDS, INSTRUMENTED, Client, Closed, ServerCase, encode, eventually,
                     measured, patience, percentile)

HERE = os.path.dirname(os.path.abspath(__file__))
LONG_MS = 60_000  # a wait that must not end by its time in a test
HOUR_MS = 3_600_000

# An owner as a separate process that can be killed: it claims and then does nothing.
OWNER = """
import sys
sys.path.insert(0, sys.argv[1])
from harness import Client
client = Client((sys.argv[2], int(sys.argv[3])))
reply = client.call("CLAIM", *sys.argv[4:])
print(reply[1], flush=True)
sys.stdin.read()
"""


def readable(clients):
    """Awaits that some of the clients have something to read, and returns these."""
    poll = select.poll()
    by_descriptor = {client.sock.fileno(): client for client in clients}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(HANG_SECONDS * 1000)]


class Herd(ServerCase):
    def test_300_claims_one_runs_299_replay(self):
        server = self.start()
        control = self.connect(server)
        clients = [self.connect(server) for _ in range(300)]
        for client in clients:
            client.send("CLAIM", "k", "WAIT", LONG_MS)
        server.await_blocked(299, control)
        granted = readable(clients)
        self.assertEqual(len(granted), 1, "exactly one is told to run it")
        reply = granted[0].read()
        self.assert_status(reply, "CLAIMED")
        self.assertEqual(reply[3], 1)
        body = os.urandom(5000)
        started = time.monotonic()
        self.assertEqual(control.call("STORE", "k", reply[1], body), 299)
        replays = {client.read_raw() for client in clients if client is not granted[0]}
        measured(f"299 replays within {(time.monotonic() - started) * 1000:.1f} ms of the STORE")
        self.assertEqual(len(replays), 1, "all bytes identical")
        self.assertIn(body, replays.pop())
        server.await_blocked(0, control)

    def test_release_grants_exactly_the_oldest(self):
        server = self.start()
        owner, control = self.connect(server), self.connect(server)
        token = self.claim(owner, "k")[0]
        waiters = [self.connect(server) for _ in range(100)]
        for number, waiter in enumerate(waiters):
            waiter.send("CLAIM", "k", "WAIT", LONG_MS, "OWNER", f"w{number}")
            if number == 0:
                server.await_blocked(1, control)
        server.await_blocked(100, control)
        reader = self.connect(server)
        reader.send("WAIT", "k", LONG_MS)
        server.await_blocked(101, control)
        self.assertEqual(owner.call("RELEASE", "k", token), 1)
        self.assert_status(waiters[0].read(), "CLAIMED")
        self.assert_status(control.call("FETCH", "k"), "BUSY")
        server.await_blocked(100, control)
        self.assertEqual([w for w in waiters[1:] + [reader] if w.readable()], [])

    def test_release_chain_is_in_order_of_arrival(self):
        server = self.start()
        control = self.connect(server)
        token = self.claim(control, "k")[0]
        waiters = []
        for number in range(30):
            waiter = self.connect(server)
            waiter.send("CLAIM", "k", "WAIT", LONG_MS)
            waiters.append(waiter)
            server.await_blocked(number + 1, control)
        for waiter in waiters:
            self.assertEqual(control.call("RELEASE", "k", token), 1)
            reply = waiter.read()
            self.assert_status(reply, "CLAIMED")
            self.assertGreater(reply[1], token)
            self.assertEqual(reply[3], 1)
            token = reply[1]


class DyingOwners(ServerCase):
    def spawn_owner(self, server, *arguments):
        host, port = server.address
        process = subprocess.Popen([sys.executable, "-c", OWNER, HERE, host, str(port),
                                    *map(str, arguments)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)

        def end():
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        self.addCleanup(end)
        return process

    def test_killed_owner_of_a_one_second_lease(self):
        server = self.start()
        control = self.connect(server)
        # Both are queued before the lease begins to run.
        first = self.claim(control, "k")[0]
        process = self.spawn_owner(server, "k", "LEASE", 1000, "WAIT", LONG_MS)
        server.await_blocked(1, control)
        waiter = self.connect(server)
        waiter.send("CLAIM", "k", "WAIT", LONG_MS)
        server.await_blocked(2, control)
        before = time.monotonic()
        self.assertEqual(control.call("RELEASE", "k", first), 1)
        token = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        reply = waiter.read()
        elapsed = time.monotonic() - before
        measured(f"granted {elapsed:.3f} s after the killed owner's grant")
        self.assert_status(reply, "CLAIMED")
        self.assertEqual(reply[3], 2, "the second attempt")
        self.assertGreater(reply[1], token)
        self.assertGreaterEqual(elapsed, 1.0)
        self.assert_error(control.call("STORE", "k", token, "late"), "STALE")

    def test_killed_owner_with_bind_hands_over_before_its_lease_ends(self):
        server = self.start()
        control = self.connect(server)
        process = self.spawn_owner(server, "k", "BIND", "LEASE", HOUR_MS)
        process.stdout.readline()
        waiter = self.connect(server)
        waiter.send("CLAIM", "k", "WAIT", LONG_MS)
        server.await_blocked(1, control)
        started = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        reply = waiter.read()
        elapsed_ms = (time.monotonic() - started) * 1000
        measured(f"BIND handed over {elapsed_ms:.1f} ms after the kill")
        self.assert_status(reply, "CLAIMED")
        self.assertEqual(reply[3], 2)
        self.assertEqual(server.info("idem", control)["waits_timed_out"], "0")

    def test_bind_ends_by_close_reset_and_half_close(self):
        server = self.start()
        control = self.connect(server)
        for leave in (Client.close, Client.reset, Client.half_close):
            with self.subTest(leave.__name__):
                owner, waiter = self.connect(server), self.connect(server)
                key = "k-" + leave.__name__
                self.claim(owner, key, "BIND", "LEASE", HOUR_MS)
                waiter.send("CLAIM", key, "WAIT", LONG_MS)
                server.await_blocked(1, control)
                leave(owner)
                self.assert_status(waiter.read(), "CLAIMED")

    def test_bind_ends_when_the_server_closes_the_connection(self):
        """Even if no other event wakes the server."""
        server = self.start()
        control = self.connect(server)
        worst_ms = 0.0
        for number in range(5):
            owner, waiter = self.connect(server), self.connect(server)
            self.claim(owner, f"k{number}", "BIND", "LEASE", HOUR_MS)
            owner_id = owner.call("CLIENT", "ID")
            waiter.send("CLAIM", f"k{number}", "WAIT", LONG_MS)
            server.await_blocked(1, control)
            started = time.monotonic()
            self.assertEqual(control.call("CLIENT", "KILL", "ID", owner_id), 1)
            self.assert_status(waiter.read(), "CLAIMED")
            worst_ms = max(worst_ms, (time.monotonic() - started) * 1000)
        measured(f"BIND handed over at most {worst_ms:.1f} ms after CLIENT KILL")

    def test_bind_of_many_claims_ends_them_all(self):
        server = self.start()
        control, owner = self.connect(server), self.connect(server)
        owner.send_raw(b"".join(encode("CLAIM", f"k{n}", "BIND", "LEASE", HOUR_MS)
                                for n in range(2000)))
        for _ in range(2000):
            self.assert_status(owner.read(), "CLAIMED")
        owner.close()
        eventually(lambda: server.info("idem", control)["lapsed"] == "2000",
                   "the end of 2000 bound claims")
        self.assertEqual(self.claim(control, "k0")[2], 2)
        for n in range(1, 2000):
            self.assert_status(control.call("FETCH", f"k{n}"), "LAPSED")


class DyingWaiters(ServerCase):
    def setUp(self):
        self.server = self.start()
        self.control = self.connect(self.server)

    def waiter(self, key="k", waiting=None):
        client = self.connect(self.server)
        client.send("CLAIM", key, "WAIT", LONG_MS)
        if waiting is not None:
            self.server.await_blocked(waiting, self.control)
        return client

    def test_are_never_granted_and_are_noticed_before_their_wait_ends(self):
        token = self.claim(self.control, "k")[0]
        before = self.server.descriptors()
        dying = [self.waiter(waiting=number) for number in (1, 2, 3)]
        living = self.waiter(waiting=4)
        started = time.monotonic()
        for leave, client in zip((Client.close, Client.reset, Client.half_close), dying):
            leave(client)
        self.server.await_blocked(1, self.control)
        elapsed_ms = (time.monotonic() - started) * 1000
        measured(f"three hang-ups noticed within {elapsed_ms:.1f} ms")
        self.assertEqual(self.server.info("idem", self.control)["waits_timed_out"], "0")
        self.server.await_descriptors(before + 1)
        self.assertTrue(dying[2].ended(), "the half-closed one is closed without an answer")
        self.assertFalse(living.readable())
        self.assertEqual(self.control.call("RELEASE", "k", token), 1)
        reply = living.read()
        self.assert_status(reply, "CLAIMED")
        self.assertEqual(reply[3], 1)

    def test_a_grant_whose_connection_died_in_the_same_turn_is_taken_back(self):
        """The owner's RELEASE and the first waiter's hang-up are both there when the stopped server goes on."""
        for leave in (Client.reset, Client.close, Client.half_close):
            for release_first in (True, False):
                with self.subTest(leave=leave.__name__, release_first=release_first):
                    self.setUp()
                    self.same_turn("k", leave, release_first)

    def same_turn(self, key, leave, release_first):
        owner = self.connect(self.server)
        token = self.claim(owner, key)[0]
        head = self.waiter(key, 1)
        second = self.waiter(key, 2)
        third = self.waiter(key, 3)
        with self.server.stopped():
            if release_first:
                owner.send("RELEASE", key, token)
                leave(head)
            else:
                leave(head)
                owner.send("RELEASE", key, token)
        self.assertEqual(owner.read(), 1)
        if leave is Client.half_close:
            # It can still read: a grant is as correct as a close without an answer.
            try:
                token = head.read()[1]
                self.assertEqual(self.control.call("RELEASE", key, token), 1)
            except Closed:
                pass
        reply = second.read()
        self.assert_status(reply, "CLAIMED")
        self.assertEqual(reply[3], 1, "the attempt of the dead waiter does not count")
        self.assertGreater(reply[1], token)
        self.assertFalse(third.readable(0.05), "one grant, one owner")
        self.assertEqual(self.control.call("STORE", key, reply[1], "body"), 1)
        self.assert_status(third.read(), "DONE")
        self.server.await_blocked(0, self.control)

    def test_no_grant_to_a_waiter_that_hung_up_while_the_server_was_busy(self):
        """The hang-up has reached the socket, but not yet the loop, which is about to answer."""
        server = self.server = self.start("--enable-debug-command", "yes")
        self.control, owner = self.connect(server), self.connect(server)
        for leave in (Client.reset, Client.close):
            key = leave.__name__
            token = self.claim(owner, key)[0]
            head, second = self.waiter(key, 1), self.waiter(key, 2)
            owner.send_raw(encode("DEBUG", "SLEEP", "0.8") + encode("RELEASE", key, token))
            self.control.send("PING")
            self.control.readable(0.2)  # until it sleeps; if it does not yet, the test proves less
            leave(head)
            self.assertEqual([owner.read(), owner.read()], ["OK", 1])
            self.assertEqual(self.control.read(), "PONG")
            reply = second.read()
            self.assert_status(reply, "CLAIMED")
            self.assertEqual(reply[3], 1)
            server.await_blocked(0, self.control)

    def test_all_of_a_queue_die_in_the_turn_of_the_release(self):
        token = self.claim(self.control, "k")[0]
        dying = [self.waiter(waiting=number + 1) for number in range(20)]
        last = self.waiter(waiting=21)
        with self.server.stopped():
            self.control.send("RELEASE", "k", token)
            for client in dying:
                client.reset()
        self.assertEqual(self.control.read(), 1)
        reply = last.read()
        self.assert_status(reply, "CLAIMED")
        self.assertEqual(reply[3], 1)

    def test_release_with_only_dying_waiters_leaves_the_key_free(self):
        token = self.claim(self.control, "k")[0]
        head = self.waiter(waiting=1)
        with self.server.stopped():
            self.control.send("RELEASE", "k", token)
            head.reset()
        self.assertEqual(self.control.read(), 1)
        eventually(lambda: self.control.call("EXISTS", "k") == 0, "a free key")
        self.assertEqual(self.claim(self.control, "k")[2], 1)

    def test_lease_over_and_dying_head_keep_attempt_and_stage(self):
        for lease_ms in patience(300):
            key = f"k{lease_ms}"
            token = self.claim(self.control, key)[0]
            head, second = self.waiter(key, 1), self.waiter(key, 2)
            before = time.monotonic()
            renewed = self.control.call("RENEW", key, token, "LEASE", lease_ms, "STAGE", "half")
            self.assertEqual(renewed, lease_ms)
            with self.server.stopped():
                head.reset()
                if in_time := time.monotonic() < before + lease_ms / 1000:
                    time.sleep(lease_ms / 1000)  # the lease expires while the server is stopped
            if in_time:
                break
            self.control.call("DEL", key)
            self.server.await_blocked(0, self.control)
        reply = second.read()
        self.assert_status(reply, "CLAIMED")
        self.assertEqual((reply[3], reply[4]), (2, b"half"))


class Deadlines(ServerCase):
    """A stopped server sees several deadlines at once: they take effect in their order. All are within
    the part of the stall that counts, 250 ms since the last turn that its clock knows of."""

    def setUp(self):
        self.server = self.start()
        self.control = self.connect(self.server)

    def stopped(self, seconds, meanwhile=lambda: None):
        with self.server.stopped():
            meanwhile()
            time.sleep(seconds)

    def held_and_awaited(self, lease_ms, *command):
        """Sends, in one packet, a claim on k and the command that waits for it, so that no time passes
        between them. Returns the connection and the token."""
        client = self.connect(self.server)
        client.send_raw(encode("CLAIM", "k", "LEASE", lease_ms) + encode(*command))
        reply = client.read()
        self.assert_status(reply, "CLAIMED")
        return client, reply[1]

    def test_lease_before_the_wait(self):
        waiter, _ = self.held_and_awaited(40, "CLAIM", "k", "WAIT", 80)
        self.stopped(1.0)
        self.assert_status(waiter.read(), "CLAIMED")

    def test_wait_before_the_lease(self):
        waiter, _ = self.held_and_awaited(80, "CLAIM", "k", "WAIT", 40)
        self.stopped(1.0)
        self.assert_status(waiter.read(), "BUSY")
        eventually(lambda: self.control.call("FETCH", "k")[0] == b"LAPSED", "the end of the lease")
        self.assertEqual(self.claim(self.control, "k")[2], 2)

    def test_head_of_the_queue_before_a_fresh_claim(self):
        head, _ = self.held_and_awaited(50, "CLAIM", "k", "WAIT", LONG_MS, "OWNER", "head")
        fresh = self.connect(self.server)
        self.stopped(0.5, lambda: fresh.send("CLAIM", "k"))
        self.assert_status(head.read(), "CLAIMED")
        reply = fresh.read()
        self.assert_status(reply, "BUSY")
        self.assertEqual(reply[3], b"head")

    def test_no_hand_over_after_a_slow_command_to_a_waiter_whose_time_has_passed(self):
        server = self.start("--enable-debug-command", "yes")
        owner, waiter, control = (self.connect(server) for _ in range(3))
        token = self.claim(owner, "k")[0]
        waiter.send("CLAIM", "k", "WAIT", 80)
        eventually(lambda: waiter.readable() or server.info("clients", control)["blocked_clients"] == "1",
                   "a waiter, or the end of its wait")
        owner.send_raw(encode("DEBUG", "SLEEP", "0.6") + encode("RELEASE", "k", token))
        self.assert_status(waiter.read(), "BUSY")
        self.assertEqual([owner.read(), owner.read()], ["OK", 1])

    def test_late_store_after_a_hand_over_that_was_due(self):
        head, token = self.held_and_awaited(50, "CLAIM", "k", "WAIT", LONG_MS)
        late = self.connect(self.server)

        def store_when_due():
            time.sleep(0.4)
            late.send("STORE", "k", token, "late")
        self.stopped(0, store_when_due)
        self.assert_status(head.read(), "CLAIMED")
        self.assert_error(late.read(), "STALE")

    def test_late_store_after_a_lapse_without_a_new_owner(self):
        reader, token = self.held_and_awaited(50, "WAIT", "k", LONG_MS)
        late = self.connect(self.server)
        self.stopped(0.4, lambda: late.send("STORE", "k", token, "late"))
        self.assert_status(reader.read(), "LAPSED")  # which came first
        self.assertEqual(late.read(), 0)
        self.assert_status(self.control.call("FETCH", "k"), "DONE")

    def test_grants_are_proactive(self):
        """Leases expire and waiters are granted without any command, and not before their time."""
        waiters = []
        for number in range(50):
            client, lease_ms = self.connect(self.server), 500 + 10 * number
            before = time.monotonic()
            client.send_raw(encode("CLAIM", f"k{number}", "LEASE", lease_ms)
                            + encode("CLAIM", f"k{number}", "WAIT", LONG_MS))
            self.assert_status(client.read(), "CLAIMED")
            lease = lease_ms / 1000
            waiters.append((client, before + lease, time.monotonic() + lease))
        commands = int(self.server.info("stats", self.control)["total_commands_processed"])
        worst = 0.0
        for client, not_before, due in waiters:
            reply, now = client.read(), time.monotonic()
            self.assert_status(reply, "CLAIMED")
            self.assertEqual(reply[3], 2)
            self.assertGreaterEqual(now, not_before)
            worst = max(worst, now - due)
        after = int(self.server.info("stats", self.control)["total_commands_processed"])
        self.assertEqual(after, commands + 1, "only this connection sent commands")
        measured(f"50 hand-overs, the latest {worst * 1000:.1f} ms after its deadline")

    def test_no_lease_and_no_wait_ends_early(self):
        """Not even a fraction of a millisecond early, since the time was promised. 60 of each."""
        client, leases, waits = self.connect(self.server), [], []
        self.claim(self.control, "held")
        for number in range(60):
            started = time.monotonic()
            self.claim(self.control, f"k{number}", "LEASE", 40)
            self.assert_status(client.call("CLAIM", f"k{number}", "WAIT", LONG_MS), "CLAIMED")
            leases.append((time.monotonic() - started) * 1000)
            started = time.monotonic()
            self.assert_status(client.call("CLAIM", "held", "WAIT", 20), "BUSY")
            waits.append((time.monotonic() - started) * 1000)
        measured(f"LEASE 40 handed over after {min(leases):.2f}..{max(leases):.2f} ms, mostly "
                 f"{percentile(leases, 0.5):.2f}, WAIT 20 answered after {min(waits):.2f}.."
                 f"{max(waits):.2f} ms, mostly {percentile(waits, 0.5):.2f}")
        self.assertGreaterEqual(min(leases), 40)
        self.assertGreaterEqual(min(waits), 20)

    def test_no_response_and_no_lapsed_claim_ends_early(self):
        server = self.start("--retention", "60ms")
        client, kept, remembered = self.connect(server), [], []
        for _ in range(20):
            token = self.claim(client, "stored")[0]
            started = time.monotonic()
            self.assertEqual(client.call("STORE", "stored", token, "body", "TTL", 40), 0)
            eventually(lambda: client.call("EXISTS", "stored") == 0, "the end of a response")
            kept.append((time.monotonic() - started) * 1000)
            started = time.monotonic()
            self.claim(client, "lapsed", "LEASE", 10)
            eventually(lambda: client.call("EXISTS", "lapsed") == 0, "the end of a lapsed claim")
            remembered.append((time.monotonic() - started) * 1000)
        measured(f"TTL 40 kept for {min(kept):.2f}..{max(kept):.2f} ms, LEASE 10 and retention 60 "
                 f"for {min(remembered):.2f}..{max(remembered):.2f} ms")
        self.assertGreaterEqual(min(kept), 40)
        self.assertGreaterEqual(min(remembered), 70)


class AfterAWait(ServerCase):
    def setUp(self):
        self.server = self.start()
        self.control = self.connect(self.server)
        self.token = self.claim(self.control, "k")[0]

    def after_wait(self, data, command=("CLAIM", "k", "WAIT", LONG_MS)):
        client = self.connect(self.server)
        client.send_raw(encode(*command) + data)
        self.server.await_blocked(1, self.control)
        return client

    def test_commands_wait_in_order(self):
        others = b"".join(encode("ECHO", n) for n in range(100)) + encode("CLAIM", "later")
        client = self.after_wait(others + b"PING inline\r\n")
        time.sleep(0.05)
        self.assertFalse(client.readable())
        self.assertEqual(self.control.call("EXISTS", "later"), 0, "it is not executed before")
        self.assertEqual(self.control.call("STORE", "k", self.token, "body"), 1)
        self.assert_status(client.read(), "DONE")
        self.assertEqual([client.read() for _ in range(100)], [b"%d" % n for n in range(100)])
        self.assert_status(client.read(), "CLAIMED")
        self.assertEqual(client.read(), b"inline")

    def test_a_wait_after_a_grant_that_is_not_written_yet(self):
        """The grant's reply follows a large reply that is not read. The next wait begins only once it is sent."""
        body = b"x" * 2**22
        other = self.claim(self.control, "k2")[0]
        self.assertEqual(self.control.call("STORE", "big", self.claim(self.control, "big")[0], body), 0)
        client = self.connect(self.server)
        client.send_raw(encode("FETCH", "big") * 3 + encode("CLAIM", "k", "WAIT", LONG_MS)
                        + encode("CLAIM", "k2", "WAIT", LONG_MS) + encode("PING"))
        self.server.await_blocked(1, self.control)
        self.assertEqual(self.control.call("RELEASE", "k", self.token), 1)
        self.server.await_blocked(0, self.control)
        self.assertEqual(self.control.call("STORE", "k2", other, "body"), 0, "it does not wait yet")
        for _ in range(3):
            self.assertEqual(client.read()[1], body)
        self.assert_status(client.read(), "CLAIMED")
        self.assert_status(client.read(), "DONE")
        self.assertEqual(client.read(), "PONG")

    def test_two_waits_in_a_row(self):
        other = self.claim(self.control, "k2")[0]
        client = self.after_wait(encode("CLAIM", "k2", "WAIT", LONG_MS) + encode("PING"))
        self.assertEqual(self.control.call("STORE", "k2", other, "two"), 0)
        self.assertEqual(self.control.call("STORE", "k", self.token, "one"), 1)
        self.assertEqual(client.read()[1], b"one")
        self.assertEqual(client.read()[1], b"two")
        self.assertEqual(client.read(), "PONG")

    def test_an_owner_that_waits_for_itself(self):
        """The RELEASE of the key is pipelined after the wait for it: the wait ends by its time, without a deadlock."""
        client = self.connect(self.server)
        client.send_raw(encode("CLAIM", "k", "WAIT", 300) + encode("RELEASE", "k", self.token))
        self.assert_status(client.read(), "BUSY")
        self.assertEqual(client.read(), 1)

    def test_protocol_errors_wait_too(self):
        client = self.after_wait(encode("PING") + b"*1\r\n$-1\r\n")
        time.sleep(0.05)
        self.assertFalse(client.readable())
        self.assertEqual(self.control.call("STORE", "k", self.token, "body"), 1)
        self.assert_status(client.read(), "DONE")
        self.assertEqual(client.read(), "PONG")
        self.assert_error(client.read(), "ERR")
        self.assertTrue(client.ended())

    def test_up_to_a_mebibyte_is_kept(self):
        count = 900_000 // len(encode("ECHO", "0" * 100))
        client = self.after_wait(encode("ECHO", "0" * 100) * count)
        self.assertEqual(self.control.call("STORE", "k", self.token, "body"), 1)
        self.assert_status(client.read(), "DONE")
        for _ in range(count):
            self.assertEqual(client.read(), b"0" * 100)

    def test_more_closes(self):
        client = self.connect(self.server)
        client.send("CLAIM", "k", "WAIT", LONG_MS)
        self.server.await_blocked(1, self.control)
        try:
            client.send_raw(encode("PING") * 100_000)
        except OSError:
            pass
        self.assertTrue(client.ended())
        self.server.await_blocked(0, self.control)
        self.assertEqual(self.control.call("RELEASE", "k", self.token), 1)
        self.assertEqual(self.control.call("EXISTS", "k"), 0)

    def test_a_hang_up_after_pipelined_commands_counts(self):
        client = self.after_wait(encode("PING") * 100)
        client.half_close()
        self.server.await_blocked(0, self.control)
        self.assertTrue(client.ended())
        self.assertEqual(self.server.info("idem", self.control)["waits_timed_out"], "0")

    def test_the_time_of_a_wait_is_not_idle_time(self):
        server = self.start()
        control, waiter, waited_ms = self.connect(server), self.connect(server), 3000
        waiter.call("CLIENT", "SETNAME", "waiter")
        self.claim(control, "k")
        began = time.monotonic()
        self.assert_status(waiter.call("CLAIM", "k", "WAIT", waited_ms), "BUSY")
        line = next(line for line in control.call("CLIENT", "LIST").splitlines()
                    if b"name=waiter" in line)
        idle_s = int(re.search(rb" idle=(\d+)", line).group(1))
        self.assertLess(idle_s, time.monotonic() - began - waited_ms / 1000 + 1)

    def test_the_time_of_a_wait_does_not_count_for_the_next_command(self):
        server = self.start()
        control, waiter, gone = (self.connect(server) for _ in range(3))
        self.claim(control, "k")
        waiter.send_raw(encode("CLAIM", "k", "WAIT", 3000) + encode("PING"))
        server.await_blocked(1, control)
        gone.close()
        self.assert_status(waiter.read(), "BUSY")
        self.assertEqual(waiter.read(), "PONG")
        stats = control.call("INFO", "commandstats").decode()
        usec = int(re.search(r"cmdstat_ping:calls=1,usec=(\d+)", stats).group(1))
        self.assertLess(usec, 1_500_000)

    def test_others_are_not_affected(self):
        client = self.after_wait(b"")
        for _ in range(200):
            self.assertEqual(self.control.call("PING"), "PONG")
        self.assertFalse(client.readable())

    def test_commands_that_were_read_ahead_are_put_back(self):
        """Several commands are read before the first of them has run; here an earlier one waits."""
        keys = [f"ahead-{n}" for n in range(5)]
        fetches = b"".join(encode("FETCH", key) for key in keys[:5])
        claims = b"".join(encode("CLAIM", key) for key in keys)
        tails = {
            "nothing": b"",
            "a cut command": encode("CLAIM", "cut")[:-6],
            "a cut argument over its limit": b"*2\r\n$5\r\nCLAIM\r\n$5000\r\n" + b"x" * 3000,
            "broken framing": b"*1\r\n$-1\r\n",
        }
        for what, tail in tails.items():
            with self.subTest(what):
                self.control.call("FLUSHALL")
                self.token = self.claim(self.control, "k")[0]
                client = self.connect(self.server)
                client.send_raw(fetches + encode("CLAIM", "k", "WAIT", 20000) + claims + tail)
                self.server.await_blocked(1, self.control)
                self.assertEqual(self.control.call("EXISTS", *keys), 0, "none has run")
                self.assertEqual(self.control.call("STORE", "k", self.token, "body"), 1)
                self.assertEqual([client.read() for _ in range(5)], [None] * 5)
                self.assert_status(client.read(), "DONE")
                for _ in keys:
                    self.assert_status(client.read(), "CLAIMED")
                if what == "a cut command":
                    client.send_raw(encode("CLAIM", "cut")[-6:])
                    self.assert_status(client.read(), "CLAIMED")
                elif what == "a cut argument over its limit":
                    client.send_raw(b"x" * 2000 + b"\r\n" + encode("PING"))
                    self.assert_error(client.read(), "TOOBIG")
                    self.assertEqual(client.read(), "PONG")
                elif what == "broken framing":
                    self.assert_error(client.read(), "ERR")
                    self.assertTrue(client.ended())

    def test_a_cut_command_after_a_wait_goes_on(self):
        data = encode("ECHO", "x" * 1000)
        client = self.after_wait(data[:500])
        self.assertEqual(self.control.call("STORE", "k", self.token, "body"), 1)
        self.assert_status(client.read(), "DONE")
        client.send_raw(data[500:])
        self.assertEqual(client.read(), b"x" * 1000)


class Sharing(ServerCase):
    def test_a_big_body_for_many_readers_some_of_whom_stall(self):
        server = self.start()
        control = self.connect(server)
        token = self.claim(control, "k")[0]
        body = os.urandom(12 << 20)  # more than the kernel buffers for one connection
        readers = [self.connect(server) for _ in range(16)]
        for reader in readers:
            reader.send("WAIT", "k", LONG_MS)
        server.await_blocked(16, control)
        before = server.rss_bytes()
        self.assertEqual(control.call("STORE", "k", token, body), 16)
        # The key is deleted before anything is read: the replies on their way stay whole.
        self.assertEqual(control.call("DEL", "k"), 1)
        self.assertEqual(control.call("PING"), "PONG")
        grown = (server.rss_bytes() - before) / 2**20
        measured(f"16 stalled readers of 12 MiB: the server grew by {grown:.1f} MiB")
        if not INSTRUMENTED:
            self.assertLess(grown, 40)
        for number, reader in enumerate(readers):
            if number % 4 == 3:
                reader.reset()
                continue
            reply = reader.read()
            self.assert_status(reply, "DONE")
            self.assertEqual(reply[1], body)
        self.assertEqual(control.call("PING"), "PONG")

    def test_a_half_sent_claim_of_a_dead_client_has_no_effect(self):
        server = self.start()
        control, client = self.connect(server), self.connect(server)
        client.send_raw(encode("CLAIM", "k")[:-3])
        client.close()
        self.assertEqual(control.call("EXISTS", "k"), 0)
        with self.assertRaises(Closed):
            other = self.connect(server)
            other.send_raw(encode("CLAIM", "k")[:-3])
            other.half_close()
            other.read()
        self.assertEqual(control.call("EXISTS", "k"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
