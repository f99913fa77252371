"""The module in one server: what only this host has, beside the transcripts that both hosts pass."""

import os
import re
import socket
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
from nodes import MODULE, REDIS, Node, RespError, encode, eventually, free_port, launcher  # noqa: E402

LONG_MS = 60_000
HERD = 1000
# More than the allocator moves by itself, less than a byte of each waiter of all rounds.
LEAK_BYTES = 200_000
SPARE_BYTES = 30  # a record may take so much more than a plain string of its texts


class Case(unittest.TestCase):
    OPTIONS = ()
    ARGUMENTS = ()

    def setUp(self):
        self.node = Node(*self.OPTIONS, module=self.ARGUMENTS)
        self.addCleanup(self.node.remove)
        self.client = self.connect()

    def connect(self):
        client = self.node.client()
        self.addCleanup(client.close)
        return client

    def call(self, *args):
        return self.client.call(*args)

    def grant(self, key, *options, attempt=1):
        reply = self.call("IDEM.CLAIM", key, *options)
        self.assertIsInstance(reply, list, reply)
        self.assertEqual((reply[0], reply[3]), (b"CLAIMED", attempt), reply)
        return reply[1]

    def queue(self, *args):
        client = self.connect()
        before = int(self.figure("waiters"))
        client.send(*args)
        eventually(lambda: int(self.figure("waiters")) == before + 1, "a waiter")
        return client

    def figure(self, name):
        text = self.call("INFO", "idem").decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)["idem_" + name]

    def assert_code(self, reply, code):
        self.assertIsInstance(reply, RespError, f"{code} expected, got {reply!r}")
        self.assertEqual(reply.code, code, str(reply))


class OtherHands(Case):
    """Records are strings: everybody may delete, overwrite and expire them."""

    def test_del_and_flushall_hand_over(self):
        for command in (("DEL", "k"), ("UNLINK", "k"), ("FLUSHALL",), ("FLUSHDB", "ASYNC"), ("PEXPIRE", "k", 1)):
            with self.subTest(command[0]):
                token = self.grant("k", "FP", "f")
                waiter = self.queue("IDEM.CLAIM", "k", "FP", "f", "WAIT", LONG_MS)
                self.call(*command)
                reply = waiter.read()
                self.assertEqual((reply[0], reply[3]), (b"CLAIMED", 1))
                self.assertGreater(reply[1], token)
                self.assert_code(self.call("IDEM.FETCH", "k", "FP", "other"), "MISMATCH")
                self.assertEqual(self.call("IDEM.FETCH", "k", "FP", "f")[0], b"BUSY")
                self.call("DEL", "k")

    def test_an_overwritten_record_tells_its_waiters(self):
        self.grant("k")
        waiters = [self.queue("IDEM.WAIT", "k", LONG_MS), self.queue("IDEM.CLAIM", "k", "WAIT", LONG_MS)]
        self.call("SET", "k", "plain")
        for waiter in waiters:
            self.assert_code(waiter.read(), "WRONGTYPE")
        for command in (("IDEM.CLAIM", "k"), ("IDEM.STORE", "k", 1, "b"), ("IDEM.INSPECT", "k"), ("IDEM.FETCH", "k")):
            self.assert_code(self.call(*command), "WRONGTYPE")

    def test_databases_that_are_swapped_hand_over(self):
        self.grant("k", "FP", "f")
        claimer = self.queue("IDEM.CLAIM", "k", "FP", "f", "WAIT", LONG_MS)
        self.assertEqual(self.call("SWAPDB", 0, 1), "OK")
        self.assertEqual(claimer.read()[0], b"CLAIMED")
        self.call("SELECT", 1)
        self.assertEqual(self.call("IDEM.FETCH", "k")[0], b"BUSY")

    def test_the_record_of_another_request_is_no_answer(self):
        """Renamed to the key that they wait for, HELD or DONE."""
        for done in (False, True):
            with self.subTest(done=done):
                self.grant("k", "FP", "f")
                token = self.grant("other", "FP", "g")
                if done:
                    self.call("IDEM.STORE", "other", token, "secret")
                waiters = [self.queue("IDEM.CLAIM", "k", "FP", "f", "WAIT", LONG_MS),
                           self.queue("IDEM.WAIT", "k", LONG_MS, "FP", "f")]
                self.call("RENAME", "other", "k")
                for waiter in waiters:
                    self.assert_code(waiter.read(), "MISMATCH")
                self.call("DEL", "k")

    def test_who_reads_without_a_fingerprint_is_told_any_record(self):
        """HELD: as if its wait were over. DONE. A lease that was over before it was renamed."""
        for phase, reply in (("HELD", b"BUSY"), ("DONE", b"DONE"), ("LAPSED", b"LAPSED")):
            with self.subTest(phase):
                self.grant("k", "FP", "f")
                token = self.grant("other", "FP", "g", "OWNER", "another", "LEASE", 1 if phase == "LAPSED" else LONG_MS)
                if phase == "DONE":
                    self.call("IDEM.STORE", "other", token, "body")
                if phase == "LAPSED":
                    eventually(lambda: self.call("IDEM.FETCH", "other")[0] == b"LAPSED", "a lease that is over")
                reads = [self.queue("IDEM.WAIT", "k", LONG_MS) for _ in range(2)]
                checks = [self.queue("IDEM.WAIT", "k", LONG_MS, "FP", "f"), self.queue("IDEM.CLAIM", "k", "FP", "f", "WAIT", LONG_MS)]
                reads.append(self.queue("IDEM.WAIT", "k", LONG_MS))
                self.call("RENAME", "other", "k")
                for waiter in checks:
                    self.assert_code(waiter.read(), "MISMATCH")
                for waiter in reads:
                    told = waiter.read()
                    self.assertIsInstance(told, list, told)
                    self.assertEqual(told[0], reply)
                self.assertEqual(self.figure("waiters"), "0")
                self.call("DEL", "k")

    def test_what_is_bound_is_forgotten_with_its_key(self):
        owner = self.connect()
        for command in (("DEL", "k"), ("PEXPIRE", "k", 1), ("RENAME", "k", "l"), ("MOVE", "k", 1), ("FLUSHDB",), ("FLUSHALL",)):
            with self.subTest(command[0]):
                self.assertEqual(owner.call("IDEM.CLAIM", "k", "BIND")[0], b"CLAIMED")
                self.assertEqual(self.figure("bound"), "1")
                self.call(*command)
                eventually(lambda: self.call("EXISTS", "k") == 0 and self.figure("bound") == "0", "no binding")
        owner.call("SELECT", 1)
        self.call("SELECT", 2)
        self.assertEqual(owner.call("IDEM.CLAIM", "k", "BIND")[0], b"CLAIMED")
        self.call("FLUSHDB")
        self.assertEqual(self.figure("bound"), "1")

    def test_a_renamed_record_is_the_same(self):
        token = self.grant("k", "OWNER", "me")
        waiter = self.queue("IDEM.WAIT", "k", LONG_MS)
        self.call("RENAME", "k", "other")
        self.assertIsNone(waiter.read())
        self.assertEqual(self.call("IDEM.STORE", "other", token, "body"), 0)

    def test_databases_are_apart(self):
        self.grant("k")
        waiter = self.queue("IDEM.WAIT", "k", LONG_MS)
        self.call("SELECT", 1)
        self.grant("k")
        self.call("DEL", "k")
        self.assertFalse(waiter.readable(0.05))
        self.call("SELECT", 0)
        self.call("DEL", "k")
        self.assertIsNone(waiter.read())


class Imports(Case):
    """Records that another server wrote."""

    def forged(self, ahead):
        """The bytes of a claim whose token is so far ahead, and the token."""
        token = self.grant("fresh") + ahead
        value = self.call("GET", "fresh")
        self.call("DEL", "fresh")
        return value[:6] + token.to_bytes(7, "little") + value[13:], token

    def replica(self):
        replica = Node("--replicaof", f"127.0.0.1 {self.node.port}")
        self.addCleanup(replica.remove)
        eventually(lambda: replica.info("replication").get("master_link_status") == "up", "a replica")
        return replica

    def test_tokens_go_on_above_that_of_an_imported_record(self):
        value, token = self.forged(100 << 22)
        with Node(module=None) as other:
            other.call("SET", "k", value)
            self.assertEqual(self.call("RESTORE", "k", 0, other.call("DUMP", "k")), "OK")
        self.assertEqual(self.call("IDEM.RELEASE", "k", token), 1)
        self.assertGreater(self.grant("k"), token)

    def test_a_forged_record_does_not_use_up_the_tokens(self):
        """Who may write strings may write this one."""
        last = (1 << 53) - 1
        value, _ = self.forged(0)
        replica = self.replica()
        self.call("SET", "k", value[:6] + (last - 1).to_bytes(7, "little") + value[13:])
        self.call("IDEM.RELEASE", "k", last - 1, "UNSURE")
        self.assertEqual(self.grant("k", attempt=2), last)
        self.assertEqual(self.call("WAIT", 1, 10_000), 1)
        replica.call("REPLICAOF", "NO", "ONE")
        for node in (self.node, replica):
            token = node.call("IDEM.CLAIM", "other")[1]
            self.assertLess(token, last >> 1)
            self.assertEqual(node.call("IDEM.STORE", "other", token, "body"), 0)

    def test_claims_shows_all_that_have_one_token(self):
        for key in ("a", "c"):
            self.grant(key)
        for name in ("a1", "a2", "c1"):
            self.call("COPY", name[0], name)
        all_of = [b"a", b"a1", b"a2", b"c", b"c1"]
        self.assertEqual(sorted(claim[1] for claim in self.call("IDEM.CLAIMS")), all_of)
        for count in (1, 2, 3, 4):
            with self.subTest(count=count):
                seen, after = [], 0
                while page := self.call("IDEM.CLAIMS", "AFTER", after, "COUNT", count):
                    seen += [claim[1] for claim in page]
                    after = page[-1][7]
                self.assertEqual(sorted(seen), all_of)

    def test_a_replica_that_may_be_written_to_grants_nothing(self):
        replica = self.replica()
        token = self.grant("k")
        self.assertEqual(self.call("WAIT", 1, 10_000), 1)
        self.assertEqual(replica.call("CONFIG", "SET", "replica-read-only", "no"), "OK")
        for command in (("CLAIM", "new"), ("STORE", "k", token, "b"), ("RENEW", "k", token), ("RELEASE", "k", token), ("WAIT", "k", 1)):
            self.assert_code(replica.call("IDEM." + command[0], *command[1:]), "READONLY")
        self.assertEqual(replica.call("IDEM.FETCH", "k")[0], b"BUSY")

    def test_a_plain_number_stays_as_small_as_it_is(self):
        self.call("SET", "n", 123)
        for command in ("IDEM.FETCH", "IDEM.CLAIM", "IDEM.INSPECT"):
            self.assert_code(self.call(command, "n"), "WRONGTYPE")
            self.assertEqual(self.call("OBJECT", "ENCODING", "n"), b"int")
        replica = self.replica()
        self.call("SET", "m", 123)
        self.assertEqual(self.call("WAIT", 1, 10_000), 1)
        self.assertEqual([replica.call("OBJECT", "ENCODING", key) for key in "nm"], [b"int", b"int"])


class Host(Case):
    OPTIONS = ("--enable-module-command", "yes")

    def test_watch_sees_a_claim(self):
        other = self.connect()
        self.call("WATCH", "k")
        other.call("IDEM.CLAIM", "k")
        self.call("MULTI")
        self.call("PING")
        self.assertIsNone(self.call("EXEC"))

    def test_reading_breaks_no_watch(self):
        other = self.connect()
        token = self.grant("k", "LEASE", 1)
        eventually(lambda: self.call("IDEM.FETCH", "k")[0] == b"LAPSED", "a lease that is over")
        self.call("WATCH", "k")
        other.call("IDEM.FETCH", "k")
        other.call("IDEM.INSPECT", "k")
        other.call("IDEM.RELEASE", "k", 1)
        self.call("MULTI")
        self.call("IDEM.STORE", "k", token, "body")
        self.assertEqual(self.call("EXEC"), [0])

    def test_nothing_waits_in_a_transaction_or_a_script(self):
        self.grant("k", "OWNER", "me")
        self.call("MULTI")
        self.call("IDEM.CLAIM", "k", "WAIT", LONG_MS)
        self.call("IDEM.WAIT", "k", LONG_MS)
        self.call("IDEM.CLAIMS")
        replies = self.call("EXEC")
        self.assertEqual([replies[0][0], replies[1][0], len(replies[2])], [b"BUSY", b"BUSY", 1])
        script = "return redis.call('IDEM.CLAIM', KEYS[1], 'WAIT', 60000)"
        self.assertEqual(self.call("EVAL", script, 1, "k")[0], b"BUSY")

    def test_client_unblock_ends_a_wait(self):
        self.grant("k", "OWNER", "me")
        for how, expected in (("TIMEOUT", b"BUSY"), ("ERROR", "UNBLOCKED")):
            waiter = self.connect()
            number = waiter.call("CLIENT", "ID")
            waiter.send("IDEM.CLAIM", "k", "WAIT", LONG_MS)
            eventually(lambda: self.figure("waiters") == "1", "a waiter")
            self.assertEqual(self.call("CLIENT", "UNBLOCK", number, how), 1)
            reply = waiter.read()
            self.assertEqual(reply.code if isinstance(reply, RespError) else reply[0], expected)
            self.assertEqual(self.figure("waiters"), "0")

    def test_who_is_unblocked_is_not_granted_in_the_same_turn(self):
        token = self.grant("k")
        waiter = self.connect()
        number = waiter.call("CLIENT", "ID")
        waiter.send("IDEM.CLAIM", "k", "WAIT", LONG_MS)
        eventually(lambda: self.figure("waiters") == "1", "a waiter")
        self.client.send_raw(encode("CLIENT", "UNBLOCK", number) + encode("IDEM.RELEASE", "k", token))
        self.assertEqual([self.client.read(), self.client.read()], [1, 1])
        self.assertEqual(waiter.read()[0], b"BUSY")
        self.assertIsNone(self.call("IDEM.FETCH", "k"))

    def test_a_user_needs_the_commands_by_name(self):
        """Redis 7.0 puts a module's commands into no category."""
        self.call("ACL", "SETUSER", "app", "on", ">secret", "~order:*", "+@read", "+@write")
        user = self.connect()
        self.assertEqual(user.call("AUTH", "app", "secret"), "OK")
        self.assert_code(user.call("IDEM.CLAIM", "order:1"), "NOPERM")
        self.call("ACL", "SETUSER", "app", "+idem.claim", "+idem.store")
        self.assertEqual(user.call("IDEM.CLAIM", "order:1")[0], b"CLAIMED")
        self.assert_code(user.call("IDEM.CLAIM", "other"), "NOPERM")

    def test_it_stays_loaded(self):
        self.assert_code(self.call("MODULE", "UNLOAD", "idem"), "ERR")
        self.assertIn("the module stays", self.node.log())
        self.grant("k")

    def test_settings_are_shown_and_changed(self):
        self.assertEqual(self.call("CONFIG", "GET", "idem.lease"), [b"idem.lease", b"60000"])
        self.assertEqual(self.call("CONFIG", "SET", "idem.lease", "1000"), "OK")
        self.assertEqual(self.call("IDEM.CLAIM", "k")[2], 1000)
        self.assert_code(self.call("CONFIG", "SET", "idem.lease", "3600001"), "ERR")


class RenamedCommand(Case):
    OPTIONS = ("--cluster-enabled", "yes", "--rename-command", "CLUSTER", "HIDDEN")
    ARGUMENTS = ("born-skew", "0")

    def test_slots_that_cannot_be_asked_for_are_known(self):
        self.assertEqual(self.call("HIDDEN", "ADDSLOTSRANGE", 0, 16383), "OK")
        eventually(lambda: b"cluster_state:ok" in self.call("HIDDEN", "INFO"), "a cluster that is ok")
        eventually(lambda: self.call("IDEM.CLAIM", "k", "BORN", time.time_ns() // 1_000_000)[0] == b"CLAIMED", "a grant", 5)
        self.assertIn("slots that come are not noticed", self.node.log())


class Arguments(unittest.TestCase):
    def test_a_wrong_argument_refuses_the_module(self):
        for arguments, reason in ((("leas", "1s"), "unknown argument 'leas'"),
                                  (("lease", "2h"), "bad value '2h' for lease: expected 1ms to 1h")):
            done = subprocess.run([*launcher(), REDIS, "--port", str(free_port()), "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp",
                                   "--loadmodule", MODULE, *arguments], capture_output=True, text=True, timeout=60,
                                  check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(reason, done.stdout + done.stderr)


class Memory(Case):
    def fill(self, limit_bytes):
        """Leaves no room below maxmemory."""
        used = int(self.node.info("memory")["used_memory"])
        self.call("SET", "filler", "x" * limit_bytes)
        self.call("CONFIG", "SET", "maxmemory", used + limit_bytes // 2)

    def test_at_the_limit_owners_go_on_and_nobody_new_is_granted(self):
        held, lapsed, done = self.grant("held"), self.grant("lapsed"), self.grant("done")
        self.call("IDEM.STORE", "done", done, "body")
        self.call("IDEM.RELEASE", "lapsed", lapsed, "UNSURE")
        self.fill(4 << 20)
        for command in (("IDEM.CLAIM", "new"), ("IDEM.CLAIM", "lapsed"), ("IDEM.STORE", "lapsed", lapsed, "body"),
                        ("IDEM.RENEW", "lapsed", lapsed)):
            self.assert_code(self.call(*command), "OOM")
        self.assertEqual(self.call("IDEM.CLAIM", "done")[:2], [b"DONE", b"body"])
        self.assertEqual(self.call("IDEM.RENEW", "held", held), LONG_MS)
        self.assertEqual(self.call("IDEM.STORE", "held", held, "body"), 0)
        self.assertEqual(self.figure("refused_memory"), "4")

    def test_a_policy_that_evicts_is_refused(self):
        done = self.grant("done")
        self.call("IDEM.STORE", "done", done, "body")
        self.call("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")
        self.assert_code(self.call("IDEM.CLAIM", "new"), "MISCONF")
        self.assertEqual(self.call("IDEM.CLAIM", "done")[0], b"DONE")
        self.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        self.grant("new")

    def test_a_record_takes_little_more_than_its_texts(self):
        allocator = self.node.info("memory")["mem_allocator"]
        if not allocator.startswith("jemalloc"):
            self.skipTest(f"the layout is made for jemalloc's size classes, and this host has {allocator}")
        fingerprint, body = "f" * 32, "b" * 100
        token = self.grant("held:0001", "FP", fingerprint)
        self.call("SET", "text:0001", fingerprint, "PX", LONG_MS)
        held, plain = (self.call("MEMORY", "USAGE", key) for key in ("held:0001", "text:0001"))
        print(f"    measured: HELD {held} bytes, its texts {plain}", flush=True)
        self.assertLessEqual(held - plain, SPARE_BYTES)
        self.call("IDEM.STORE", "held:0001", token, body)
        self.call("SET", "text:0001", fingerprint + body, "PX", LONG_MS)
        done, plain = (self.call("MEMORY", "USAGE", key) for key in ("held:0001", "text:0001"))
        print(f"    measured: DONE {done} bytes, its texts {plain}", flush=True)
        self.assertLessEqual(done - plain, SPARE_BYTES)


class Herd(Case):
    ARGUMENTS = ("waiters-per-key", HERD, "waiters-total", HERD)

    def wake(self, waiters):
        token = self.grant("k")
        for number, waiter in enumerate(waiters):
            waiter.send(*(("IDEM.CLAIM", "k", "OWNER", f"o{number}", "WAIT", LONG_MS) if number % 2
                          else ("IDEM.WAIT", "k", LONG_MS)))
        eventually(lambda: self.figure("waiters") == str(HERD), "all that wait")
        self.assertEqual(self.call("IDEM.STORE", "k", token, "body"), HERD)
        for waiter in waiters:
            self.assertEqual(waiter.read()[:2], [b"DONE", b"body"])
        self.call("DEL", "k")

    def used(self):
        self.call("MEMORY", "PURGE")
        return int(self.node.info("memory")["used_memory"])

    def test_a_thousand_waiters_are_woken_without_a_leak(self):
        waiters = [self.connect() for _ in range(HERD)]
        self.wake(waiters)
        before = self.used()
        for _ in range(3):
            self.wake(waiters)
        grown = self.used() - before
        print(f"    measured: {grown} bytes more after {3 * HERD} waiters", flush=True)
        self.assertLess(grown, LEAK_BYTES)

    def hang_up(self):
        waiters = [self.connect() for _ in range(HERD)]
        for waiter in waiters:
            waiter.send("IDEM.CLAIM", "k", "WAIT", LONG_MS)
        eventually(lambda: self.figure("waiters") == str(HERD), "all that wait")
        for waiter in waiters:
            waiter.close()
        eventually(lambda: self.figure("waiters") == "0", "nobody that waits")
        eventually(lambda: int(self.node.info("clients")["connected_clients"]) < 5, "closed connections")

    def test_granted_clients_that_read_nothing_cost_little(self):
        """Whether their grants were written is asked of the host again and again."""
        clients, reads = 30, 16
        self.call("SET", "body", "b" * 400_000)
        waiters = [self.connect() for _ in range(clients)]
        for number, waiter in enumerate(waiters):
            waiter.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.grant(f"k{number}")
            waiter.send_raw(encode("GET", "body") * reads + encode("IDEM.CLAIM", f"k{number}", "WAIT", LONG_MS))
        eventually(lambda: self.figure("waiters") == str(clients), "all that wait")
        for number in range(clients):
            self.call("DEL", f"k{number}")
        eventually(lambda: self.figure("waiters") == "0", "all that are granted")
        before, began = self.asked(), time.monotonic()
        eventually(lambda: time.monotonic() - began > 0.5, "half a second")
        each_second = (self.asked() - before) / (time.monotonic() - began)
        print(f"    measured: the host is asked {each_second:.0f} times a second", flush=True)
        self.assertGreater(each_second, 0)
        self.assertLess(each_second, 1000)

    def asked(self):
        found = re.search(rb"cmdstat_client\|list:calls=(\d+)", self.call("INFO", "commandstats"))
        return int(found[1]) if found else 0

    def test_a_thousand_that_hang_up_leave_nothing(self):
        self.grant("k")
        self.hang_up()
        before = self.used()
        self.hang_up()
        eventually(lambda: self.used() - before < LEAK_BYTES, "as much memory as before")


if __name__ == "__main__":
    unittest.main()
