"""The module in a cluster of three masters and three replicas: failover, migration, partition, restarts.

What is promised there, and what is not, stands in server/module/README.md; each scenario is a row of it. The oracle:
tokens of a key rise; of two grants of one attempt, only what the document allows; who waits is told.
"""

import os
import re
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
from nodes import Closed, Cluster, Node, RespError, eventually, slot_of  # noqa: E402

LONG_MS = 60_000
SHORT_MS = 300
# TOKENS_LEAD_MS, and some.
LEAD_SECONDS = 65
# Nodes that let their clocks be set so much ahead, and go on.
PATIENT = ("--cluster-node-timeout", 600_000, "--repl-timeout", 600)


class Case(unittest.TestCase):
    def cluster(self, *options, **settings):
        cluster = Cluster(*options, **settings)
        self.addCleanup(cluster.remove)
        return cluster

    def node(self, *options, **settings):
        node = Node(*options, **settings)
        self.addCleanup(node.remove)
        return node

    def connect(self, node):
        client = node.client()
        self.addCleanup(client.close)
        return client

    def granted(self, reply, attempt=1):
        """The token of a CLAIMED reply."""
        self.assertIsInstance(reply, list, reply)
        self.assertEqual((reply[0], reply[3]), (b"CLAIMED", attempt), reply)
        return reply[1]

    def assert_code(self, reply, code):
        self.assertIsInstance(reply, RespError, f"{code} expected, got {reply!r}")
        self.assertEqual(reply.code, code, str(reply))

    def queue(self, node, *args):
        """A connection that waits with this command."""
        client = self.connect(node)
        before = int(node.info("idem")["idem_waiters"])
        client.send(*args)
        eventually(lambda: int(node.info("idem")["idem_waiters"]) == before + 1, "a waiter")
        return client


class Failover(Case):
    def test_a_master_that_is_killed_leaves_its_records_to_its_replica(self):
        cluster = self.cluster()
        caller, key, other = cluster.caller(), cluster.key_of(0), cluster.key_of(0, "done")
        token = self.granted(caller.call("IDEM.CLAIM", key, "FP", "f", "OWNER", "me", "LEASE", LONG_MS))
        done = self.granted(caller.call("IDEM.CLAIM", other))
        self.assertEqual(caller.call("IDEM.STORE", other, done, "body", "META", "m"), 0)
        cluster.await_in_step(3, 0)
        cluster.nodes[0].kill()
        cluster.await_master(3)
        busy = caller.call("IDEM.CLAIM", key, "FP", "f", "OWNER", "another")
        self.assertEqual((busy[0], busy[3]), (b"BUSY", b"me"))
        self.assertEqual(caller.call("IDEM.CLAIM", other)[:3], [b"DONE", b"body", b"m"])
        self.assertEqual(caller.call("IDEM.STORE", key, token, "late"), 0)
        self.assertGreater(self.granted(caller.call("IDEM.CLAIM", cluster.key_of(0, "new"))), token)

    def test_who_waits_at_a_master_that_is_killed_asks_again_and_is_told(self):
        cluster = self.cluster()
        caller, key = cluster.caller(), cluster.key_of(1)
        token = self.granted(caller.call("IDEM.CLAIM", key, "LEASE", LONG_MS))
        waiter = self.queue(cluster.nodes[1], "IDEM.WAIT", key, LONG_MS)
        cluster.await_in_step(4, 1)
        cluster.nodes[1].kill()
        with self.assertRaises((Closed, OSError)):
            waiter.read()
        cluster.await_master(4)
        again = self.queue(cluster.nodes[4], "IDEM.WAIT", key, LONG_MS)
        self.assertEqual(caller.call("IDEM.STORE", key, token, "body"), 1)
        self.assertEqual(again.read()[:2], [b"DONE", b"body"])

    def test_a_lease_that_ends_during_the_failover_has_lapsed_after_it(self):
        cluster = self.cluster()
        caller, plain, held = cluster.caller(), cluster.key_of(0), cluster.key_of(0, "held")
        first = self.granted(caller.call("IDEM.CLAIM", plain, "LEASE", SHORT_MS, "OWNER", "me"))
        kept = self.granted(caller.call("IDEM.CLAIM", held, "LEASE", SHORT_MS, "HOLD"))
        cluster.await_in_step(3, 0)
        cluster.nodes[0].kill()
        cluster.await_master(3)
        self.assertEqual(caller.call("IDEM.FETCH", plain)[:2], [b"LAPSED", first])
        self.assertGreater(self.granted(caller.call("IDEM.CLAIM", plain), attempt=2), first)
        self.assertEqual(caller.call("IDEM.CLAIM", held)[:2], [b"UNKNOWN", kept])

    def test_a_manual_failover_loses_nothing(self):
        """Grants go on while it happens; each key has one owner, whose STORE counts."""
        cluster = self.cluster()
        caller, tokens = cluster.caller(), {}
        for number in range(40):
            if number == 10:
                self.assertEqual(cluster.nodes[3].call("CLUSTER", "FAILOVER"), "OK")
            key = cluster.key_of(0, f"n{number}")
            tokens[key] = self.granted(caller.call("IDEM.CLAIM", key, "LEASE", LONG_MS))
        cluster.fail_over(3)
        self.assertEqual(len(set(tokens.values())), len(tokens))
        for key, token in tokens.items():
            self.assertEqual(caller.call("IDEM.STORE", key, token, key), 0, key)
            self.assertEqual(caller.call("IDEM.CLAIM", key)[:2], [b"DONE", key.encode()])

    def test_who_waits_is_told_of_a_manual_failover(self):
        cluster = self.cluster()
        caller, key = cluster.caller(), cluster.key_of(0)
        self.granted(caller.call("IDEM.CLAIM", key, "LEASE", LONG_MS))
        waiter = self.queue(cluster.nodes[0], "IDEM.CLAIM", key, "WAIT", LONG_MS)
        cluster.fail_over(3)
        self.assertIn(waiter.read().code, ("UNBLOCKED", "MOVED"))

    def test_bind_ends_with_the_role(self):
        """Documented: the new master knows nothing of the connection; the former one is done with it."""
        cluster = self.cluster()
        caller, key = cluster.caller(), cluster.key_of(0)
        owner = cluster.nodes[0].client()
        token = self.granted(owner.call("IDEM.CLAIM", key, "BIND", "LEASE", LONG_MS))
        self.assertEqual(cluster.nodes[0].info("idem")["idem_bound"], "1")
        cluster.fail_over(3)
        eventually(lambda: cluster.nodes[0].info("replication")["role"] == "slave", "a former master")
        self.assertEqual(cluster.nodes[0].info("idem")["idem_bound"], "0")
        owner.close()
        self.assertEqual(caller.call("IDEM.CLAIM", key)[0], b"BUSY")
        self.assertEqual(caller.call("IDEM.STORE", key, token, "body"), 0)

    def test_a_request_born_before_the_promotion_is_forgotten(self):
        cluster = self.cluster(arguments=("born-skew", "0"))
        caller, key = cluster.caller(), cluster.key_of(0)
        born = time.time_ns() // 1_000_000
        cluster.fail_over(3)
        self.assertEqual(caller.call("IDEM.CLAIM", key, "BORN", born)[0], b"FORGOTTEN")
        self.granted(caller.call("IDEM.CLAIM", key))

    def test_a_stale_master_confirms_what_is_lost_and_wait_tells(self):
        """Documented: it grants until it learns that it is none any more. `WAIT 1` says so to who asks."""
        cluster = self.cluster()
        caller, key = cluster.caller(), cluster.key_of(0)
        stale = self.connect(cluster.nodes[0])
        self.granted(stale.call("IDEM.CLAIM", cluster.key_of(0, "before")))
        self.assertEqual(stale.call("WAIT", 1, 5000), 1)
        cluster.nodes[0].signal(signal.SIGSTOP)
        try:
            cluster.await_master(3)
            later = self.granted(caller.call("IDEM.CLAIM", key, "LEASE", LONG_MS))
            stale.send("IDEM.CLAIM", key, "LEASE", LONG_MS)
            stale.send("WAIT", 1, 200)
        finally:
            cluster.nodes[0].signal(signal.SIGCONT)
        reply = stale.read()
        if isinstance(reply, list):  # it had not heard yet: two owners, of which the later has the higher token
            self.assertLess(self.granted(reply), later)
            told = stale.read()
            self.assertTrue(told == 0 or told.code == "UNBLOCKED", told)
        else:
            self.assertIn(reply.code, ("MOVED", "CLUSTERDOWN"))
        self.assertEqual(caller.call("IDEM.STORE", key, later, "body"), 0)

    def test_a_replica_without_the_module_has_all_but_the_commands(self):
        cluster = self.cluster(without=(3,))
        caller, key = cluster.caller(), cluster.key_of(0)
        token = self.granted(caller.call("IDEM.CLAIM", key, "FP", "f"))
        self.assertEqual(caller.call("IDEM.STORE", key, token, "body"), 0)
        value = cluster.nodes[0].call("GET", key)
        cluster.await_in_step(3, 0)
        replica = self.connect(cluster.nodes[3])
        replica.call("READONLY")
        self.assertEqual(replica.call("GET", key), value)
        self.assertTrue(value.endswith(b"fbody"), value)
        self.assert_code(replica.call("IDEM.FETCH", key), "ERR")


class Replicas(Case):
    def test_fetch_reads_at_a_replica_and_the_rest_is_redirected(self):
        cluster = self.cluster()
        caller, key = cluster.caller(), cluster.key_of(0)
        token = self.granted(caller.call("IDEM.CLAIM", key, "LEASE", SHORT_MS, "OWNER", "me"))
        cluster.await_in_step(3, 0)
        replica = self.connect(cluster.nodes[3])
        replica.call("READONLY")
        eventually(lambda: replica.call("IDEM.FETCH", key)[0] == b"LAPSED", "a lease that is over at the replica")
        self.assertEqual(replica.call("IDEM.FETCH", key)[1], token)
        for command in (("IDEM.WAIT", key, 10), ("IDEM.CLAIM", key), ("IDEM.STORE", key, token, "x")):
            self.assert_code(replica.call(*command), "MOVED")

    def test_an_isolated_master_stops_serving(self):
        """A minority: the two other masters stand still, so that it hears of nobody."""
        cluster = self.cluster()
        key = cluster.key_of(0)
        client = self.connect(cluster.nodes[0])
        self.granted(client.call("IDEM.CLAIM", key, "LEASE", LONG_MS))
        waiter = self.queue(cluster.nodes[0], "IDEM.WAIT", key, LONG_MS)
        stopped = [node for node in cluster.nodes if node is not cluster.nodes[0]]
        for node in stopped:
            node.signal(signal.SIGSTOP)
        try:
            eventually(lambda: isinstance(client.call("IDEM.CLAIM", key), RespError), "a minority that says so")
            self.assert_code(client.call("IDEM.CLAIM", key), "CLUSTERDOWN")
            self.assert_code(waiter.read(), "CLUSTERDOWN")
        finally:
            for node in stopped:
                node.signal(signal.SIGCONT)


class Migration(Case):
    """A slot moves from one master to another one, of which the numbers are told: the first two, if not."""

    def begin(self, cluster, key, of=0, to=1):
        slot, source, target = slot_of(key), cluster.nodes[of], cluster.nodes[to]
        self.assertEqual(target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[of]), "OK")
        self.assertEqual(source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[to]), "OK")
        return slot

    def move_key(self, cluster, key):
        self.assertEqual(cluster.nodes[0].call("MIGRATE", "127.0.0.1", cluster.nodes[1].port, key, 0, 5000), "OK")

    def finish(self, cluster, slot, to=1):
        for number in (to, *({0, 1, 2} - {to})):
            cluster.nodes[number].call("CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[to])

    def await_look(self, node):
        """The module has asked the host for its slots once more. (A CLAIM that would tell may lead.)"""
        def looks():
            return int(re.search(rb"cmdstat_cluster\|nodes:calls=(\d+)", node.call("INFO", "commandstats"))[1])
        before = looks()
        eventually(lambda: looks() > before, "a look at the slots")

    def granted_and_released(self, caller, key):
        """The token of a claim that leaves no record."""
        token = self.granted(caller.call("IDEM.CLAIM", key))
        self.assertEqual(caller.call("IDEM.RELEASE", key, token), 1)
        return token

    def test_a_claim_moves_with_its_waiters_told(self):
        cluster = self.cluster()
        caller, key = cluster.caller(), cluster.key_of(0)
        token = self.granted(caller.call("IDEM.CLAIM", key, "FP", "f", "OWNER", "me", "LEASE", LONG_MS))
        claimer = self.queue(cluster.nodes[0], "IDEM.CLAIM", key, "FP", "f", "WAIT", LONG_MS)
        reader = self.queue(cluster.nodes[0], "IDEM.WAIT", key, LONG_MS)
        slot = self.begin(cluster, key)
        self.move_key(cluster, key)
        for waiter in (claimer, reader):  # never granted: its owner is BUSY at the target
            self.assertIn(waiter.read().code, ("TRYAGAIN", "MOVED", "ASK"))
        self.assertEqual(caller.call("IDEM.CLAIM", key, "FP", "f")[0], b"BUSY")
        self.finish(cluster, slot)
        self.assertEqual(caller.call("IDEM.CLAIM", key, "FP", "f")[3], b"me")
        waiting = self.queue(cluster.nodes[1], "IDEM.WAIT", key, LONG_MS)
        self.assertEqual(caller.call("IDEM.STORE", key, token, "body"), 1)
        self.assertEqual(waiting.read()[:2], [b"DONE", b"body"])

    def test_tokens_rise_over_the_move(self):
        cluster = self.cluster()
        caller, key = cluster.caller(), cluster.key_of(0)
        tokens = [self.granted(caller.call("IDEM.CLAIM", key))]
        self.assertEqual(caller.call("IDEM.RELEASE", key, tokens[0]), 1)
        slot = self.begin(cluster, key)
        self.finish(cluster, slot)
        tokens.append(self.granted(caller.call("IDEM.CLAIM", key, "LEASE", 1)))
        eventually(lambda: caller.call("IDEM.FETCH", key)[0] == b"LAPSED", "a lease that is over")
        tokens.append(self.granted(caller.call("IDEM.CLAIM", key), attempt=2))
        self.assertEqual(tokens, sorted(set(tokens)))

    def moved_to_a_node_that_is_behind(self):
        """The cluster is older than a minute; a key whose slot moved, and the token that it had before."""
        ahead = (30, 0, 0, 30, 0, 0)
        cluster = self.cluster(*PATIENT, clocks=ahead)
        for number, node in enumerate(cluster.nodes):
            node.set_clock(ahead[number] + LEAD_SECONDS)
        key = cluster.key_of(0)
        token = self.granted_and_released(cluster.caller(), key)
        self.finish(cluster, self.begin(cluster, key))
        return cluster, key, token

    def test_tokens_rise_over_the_move_to_a_node_that_is_behind(self):
        cluster, key, token = self.moved_to_a_node_that_is_behind()
        self.assertGreater(self.granted(cluster.caller().call("IDEM.CLAIM", key)), token)

    def test_tokens_rise_when_the_node_that_is_behind_knows_its_slot(self):
        cluster, key, token = self.moved_to_a_node_that_is_behind()
        self.await_look(cluster.nodes[1])
        self.assertGreater(self.granted(cluster.caller().call("IDEM.CLAIM", key)), token)

    def test_tokens_rise_when_slots_move_on_from_a_node_that_one_came_to(self):
        """It is ahead of its clock for a minute; so is the next one."""
        cluster = self.cluster()
        caller, came, key = cluster.caller(), cluster.key_of(1), cluster.key_of(0)
        slot = self.begin(cluster, came, of=1, to=0)
        with cluster.nodes[0].client() as client:
            self.assertEqual(client.call("ASKING"), "OK")
            self.granted(client.call("IDEM.CLAIM", came))
        self.finish(cluster, slot, to=0)
        token = self.granted_and_released(caller, key)
        self.finish(cluster, self.begin(cluster, key, to=2), to=2)
        self.await_look(cluster.nodes[2])
        self.assertGreater(self.granted(caller.call("IDEM.CLAIM", key)), token)

    def test_a_request_born_before_its_slot_came_may_be_forgotten(self):
        """A record of it may have ended at the former master."""
        cluster = self.cluster(arguments=("born-skew", "0"))
        caller, key, other = cluster.caller(), cluster.key_of(0), cluster.key_of(1)
        eventually(lambda: caller.call("IDEM.CLAIM", cluster.key_of(1, "first"), "BORN", self.now_ms())[0] == b"CLAIMED",
                   "slots that are known")
        born = self.now_ms()
        token = self.granted(caller.call("IDEM.CLAIM", key))
        self.assertEqual(caller.call("IDEM.STORE", key, token, "body", "TTL", 1), 0)
        eventually(lambda: caller.call("IDEM.FETCH", key) is None, "the end of the record")
        slot = self.begin(cluster, key)
        with cluster.nodes[1].client() as client:
            self.assertEqual(client.call("ASKING"), "OK")
            self.assertEqual(client.call("IDEM.CLAIM", key, "BORN", born)[0], b"FORGOTTEN")
            self.await_look(cluster.nodes[1])  # a slot that is imported is not known by that
            self.assertEqual(client.call("ASKING"), "OK")
            self.assertEqual(client.call("IDEM.CLAIM", key, "BORN", self.now_ms())[0], b"FORGOTTEN")
        self.finish(cluster, slot)
        self.assertEqual(caller.call("IDEM.CLAIM", key, "BORN", born)[0], b"FORGOTTEN")
        self.assertEqual(caller.call("IDEM.CLAIM", other, "BORN", born)[0], b"CLAIMED")
        # Until the new master knows that it has the slot, nobody is told to run a first try.
        eventually(lambda: caller.call("IDEM.CLAIM", key, "BORN", self.now_ms())[0] == b"CLAIMED", "a slot that is known")

    @staticmethod
    def now_ms():
        return time.time_ns() // 1_000_000

    def test_bind_does_not_move(self):
        """Documented: the connection that it ended with is another process'."""
        cluster = self.cluster()
        caller, key = cluster.caller(), cluster.key_of(0)
        owner = cluster.nodes[0].client()
        token = self.granted(owner.call("IDEM.CLAIM", key, "BIND", "LEASE", LONG_MS))
        slot = self.begin(cluster, key)
        self.move_key(cluster, key)
        self.finish(cluster, slot)
        owner.close()
        self.assertEqual(caller.call("IDEM.CLAIM", key)[0], b"BUSY")
        self.assertEqual(caller.call("IDEM.STORE", key, token, "body"), 0)


class Clocks(Case):
    def test_tokens_rise_when_the_promoted_replica_is_behind(self):
        cluster = self.cluster(clocks=(0, 0, 0, -30, 0, 0))
        caller, key = cluster.caller(), cluster.key_of(0)
        token = self.granted(caller.call("IDEM.CLAIM", key))
        self.assertEqual(caller.call("IDEM.RELEASE", key, token), 1)
        cluster.await_in_step(3, 0)
        cluster.nodes[0].kill()
        cluster.await_master(3)
        self.assertGreater(self.granted(caller.call("IDEM.CLAIM", key)), token)


class Restarts(Case):
    """One server, with its files."""

    def records(self, node):
        """A HELD, a LAPSED, an UNKNOWN and a DONE record; their tokens."""
        calls = {"held": ("OWNER", "me", "LEASE", LONG_MS), "lapsed": ("FP", "f"), "unknown": ("HOLD",), "done": ()}
        tokens = {key: self.granted(node.call("IDEM.CLAIM", key, *options)) for key, options in calls.items()}
        node.call("IDEM.RELEASE", "lapsed", tokens["lapsed"], "UNSURE")
        node.call("IDEM.RELEASE", "unknown", tokens["unknown"], "UNSURE")
        node.call("IDEM.STORE", "done", tokens["done"], "body", "META", "m")
        return tokens

    def check(self, node, tokens):
        self.assertEqual(node.call("IDEM.FETCH", "held")[3], b"me")
        for key, state in (("lapsed", b"LAPSED"), ("unknown", b"UNKNOWN")):
            self.assertEqual(node.call("IDEM.FETCH", key)[:2], [state, tokens[key]])
        self.assertEqual(node.call("IDEM.FETCH", "done")[:3], [b"DONE", b"body", b"m"])
        self.assertEqual(node.call("IDEM.STORE", "held", tokens["held"], "late"), 0)
        self.assertGreater(self.granted(node.call("IDEM.CLAIM", "new")), max(tokens.values()))

    def test_an_append_only_file_keeps_the_records(self):
        node = self.node("--appendonly", "yes", "--appendfsync", "always")
        tokens = self.records(node)
        node.kill()
        node.start()
        self.check(node, tokens)

    def test_tokens_rise_when_a_replica_that_took_over_is_started_again(self):
        """It was ahead of its clock, and has no record of the token."""
        files = "--appendonly", "yes", "--appendfsync", "always"
        with Node(module=None) as master:
            node = self.node("--replicaof", f"127.0.0.1 {master.port}", *files)
            eventually(lambda: node.info("replication").get("master_link_status") == "up", "a replica")
            self.assertEqual(node.call("REPLICAOF", "NO", "ONE"), "OK")
        token = self.granted(node.call("IDEM.CLAIM", "k"))
        self.assertEqual(node.call("IDEM.RELEASE", "k", token), 1)
        node.kill()
        node.options = files
        node.start()
        self.assertGreater(self.granted(node.call("IDEM.CLAIM", "k")), token)

    def test_tokens_rise_when_the_clock_was_set_back_meanwhile(self):
        for options in (("--appendonly", "yes", "--appendfsync", "always"), ("--dbfilename", "dump.rdb")):
            with self.subTest(options[0]):
                node = self.node(*options)
                tokens = self.records(node)
                if options[0] == "--dbfilename":
                    node.call("SAVE")
                node.kill()
                node.clock = -30
                node.start()
                self.assertGreater(self.granted(node.call("IDEM.CLAIM", "new")), max(tokens.values()))

    def test_a_dump_keeps_the_records(self):
        node = self.node("--dbfilename", "dump.rdb")
        tokens = self.records(node)
        node.call("SAVE")
        node.kill()
        node.start()
        self.check(node, tokens)

    def test_the_records_survive_a_server_without_the_module(self):
        node = self.node("--appendonly", "yes", "--appendfsync", "always")
        tokens = self.records(node)
        node.shut_down()
        node.module = None
        node.start()
        self.assertTrue(node.call("GET", "done").endswith(b"mbody"))
        node.call("BGREWRITEAOF")
        eventually(lambda: node.info("persistence")["aof_rewrite_in_progress"] == "0", "a rewritten file")
        node.shut_down()
        node.module = ()
        node.start()
        self.check(node, tokens)

    def test_a_request_born_before_the_start_is_forgotten(self):
        node = self.node("--appendonly", "yes", "--appendfsync", "always", module=("born-skew", "0"))
        born = time.time_ns() // 1_000_000
        token = self.granted(node.call("IDEM.CLAIM", "kept"))
        node.kill()
        node.start()
        self.assertEqual(node.call("IDEM.CLAIM", "new", "BORN", born)[0], b"FORGOTTEN")
        self.assertEqual(node.call("IDEM.CLAIM", "kept", "BORN", born)[0], b"BUSY")
        self.assertEqual(node.call("IDEM.STORE", "kept", token, "body"), 0)


class Replication(Case):
    """Every change reaches the replica as SET and UNLINK."""

    def test_the_replica_has_the_same_bytes(self):
        master = self.node()
        replica = self.node("--replicaof", f"127.0.0.1 {master.port}")
        eventually(lambda: replica.info("replication").get("master_link_status") == "up", "a replica")
        client = self.connect(master)
        tokens = {}
        for number in range(50):
            key = f"k{number}"
            tokens[key] = self.granted(client.call("IDEM.CLAIM", key, "FP", "f" * number, "OWNER", "o"))
            (lambda n, k, t: [
                lambda: client.call("IDEM.STORE", k, t, "b" * n), lambda: client.call("IDEM.RELEASE", k, t),
                lambda: client.call("IDEM.RELEASE", k, t, "UNSURE"), lambda: client.call("IDEM.RENEW", k, t, "STAGE", "s"),
                lambda: client.call("IDEM.STORE", k, t, "b", "TTL", 0)][n % 5]())(number, key, tokens[key])
        self.assertEqual(client.call("WAIT", 1, 10_000), 1)
        for key in tokens:
            self.assertEqual(replica.call("GET", key), client.call("GET", key), key)
            self.assertEqual(replica.call("PEXPIRETIME", key), client.call("PEXPIRETIME", key), key)

    def test_a_promoted_replica_serves_and_its_tokens_rise(self):
        master = self.node()
        replica = self.node("--replicaof", f"127.0.0.1 {master.port}")
        eventually(lambda: replica.info("replication").get("master_link_status") == "up", "a replica")
        with master.client() as client:
            token = self.granted(client.call("IDEM.CLAIM", "k", "LEASE", 1))
            client.call("WAIT", 1, 10_000)
        self.assert_code(replica.call("IDEM.CLAIM", "k"), "READONLY")
        self.assertEqual(replica.call("REPLICAOF", "NO", "ONE"), "OK")
        eventually(lambda: replica.call("IDEM.FETCH", "k")[0] == b"LAPSED", "a lease that is over")
        self.assertGreater(self.granted(replica.call("IDEM.CLAIM", "k"), attempt=2), token + (50 << 22))

    def test_tokens_rise_when_a_replica_takes_over_that_saw_none_of_its_masters(self):
        """All that it saw is a claim of the master before that one. (Its tokens once were the same again.)"""
        master, tokens = self.node(), []
        for key in ("kept", "k", "k"):
            replica = self.node("--replicaof", f"127.0.0.1 {master.port}")
            eventually(lambda: replica.info("replication").get("master_link_status") == "up", "a replica")
            master.kill()
            self.assertEqual(replica.call("REPLICAOF", "NO", "ONE"), "OK")
            tokens.append(self.granted(replica.call("IDEM.CLAIM", key)))
            replica.call("IDEM.RELEASE", "k", tokens[-1])
            master = replica
        self.assertEqual(tokens, sorted(set(tokens)))


if __name__ == "__main__":
    unittest.main()
