"""libidem in a cluster: seeds, failover, a slot that moves, in both halves of idem.h; and idem-once.

tests/client/errand.c calls the library as it is told. $IDEM_BUILD has it and idem-once (build/release).
"""

import os
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
from nodes import FAILOVER_SECONDS, ROOT, Cluster, Node, eventually, free_port, slot_of  # noqa: E402

BUILD = os.path.abspath(os.environ.get("IDEM_BUILD", os.path.join(ROOT, "build/release")))
HALVES = "sync", "async"
LONG_MS = 60_000
SHORT_MS = 600
PATIENCE_MS = FAILOVER_SECONDS * 1000


def url_of(*ports, user=""):
    return "redis://" + user + ",".join(f"127.0.0.1:{port}" for port in ports)


# One that may not ask for the table.
USER = "app:secret@"
NEW_USER = "ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-cluster"


class Errand:
    def __init__(self, half, url):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests/client/errand"), half, url], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1)

    def send(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def read(self):
        line = self.process.stdout.readline()
        assert line, f"errand ended with {self.process.wait()}"
        return line.strip()

    def call(self, *words):
        self.send(*words)
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(PATIENCE_MS) == 0


class Case(unittest.TestCase):
    def cluster(self, *options):
        cluster = Cluster(*options)
        self.addCleanup(cluster.remove)
        return cluster

    def errand(self, half, cluster, *more):
        """It is told of a server that is gone, and then of the nodes."""
        errand = Errand(half, url_of(free_port(), *(node.port for node in cluster.nodes[:3])))
        self.addCleanup(errand.close)
        return errand

    def begun(self, errand, key, lease_ms=LONG_MS):
        self.assertEqual(errand.call("begin", key, lease_ms), "RUN")


class Everyday(Case):
    def test_each_key_is_asked_of_its_node(self):
        cluster = self.cluster()
        for half in HALVES:
            errand = self.errand(half, cluster)
            for number in range(30):
                key = f"{half}:{number}"
                self.begun(errand, key)
                self.assertEqual(errand.call("finish", number), "OK")
                self.assertEqual(errand.call("fetch", key), f"REPLAY {number}")
            for master in range(3):
                self.assertIn(b"keys=", cluster.nodes[master].call("INFO", "keyspace"))

    def test_a_single_seed_is_enough(self):
        cluster = self.cluster()
        for half in HALVES:
            errand = Errand(half, url_of(cluster.nodes[2].port))
            self.addCleanup(errand.close)
            self.begun(errand, cluster.key_of(0, half))
            self.assertEqual(errand.call("finish", "b"), "OK")

    def test_idem_once_takes_several_servers(self):
        cluster = self.cluster()
        server = url_of(free_port(), cluster.nodes[1].port, cluster.nodes[2].port)
        for master in range(3):
            command = [os.path.join(BUILD, "idem-once"), "--server", server, "--key", cluster.key_of(master), "--",
                       "sh", "-c", "echo $$"]
            said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
            self.assertEqual(said[0], said[1])


class Tables(Case):
    def single_servers(self):
        nodes = [Node(), Node()]
        for node in nodes:
            self.addCleanup(node.remove)
            node.call(*NEW_USER)
        return nodes

    def test_single_servers_of_one_url_are_refused_whoever_asks(self):
        nodes = self.single_servers()
        for half in HALVES:
            for user in ("", USER):
                errand = Errand(half, url_of(*(node.port for node in nodes), user=user))
                self.addCleanup(errand.close)
                said = errand.call("begin", "key", LONG_MS)
                self.assertTrue(said.startswith("REFUSED several servers in the URL"), said)
        self.assertEqual([node.call("DBSIZE") for node in nodes], [0, 0])

    def test_idem_once_runs_nothing_then(self):
        server = url_of(*(node.port for node in self.single_servers()))
        command = [os.path.join(BUILD, "idem-once"), "--server", server, "--key", "key", "--", "echo", "ran"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual((ended.returncode, ended.stdout), (os.EX_CONFIG, ""))
        self.assertIn("is no cluster", ended.stderr)

    def test_a_user_that_may_not_ask_for_the_table_gives_one_node(self):
        cluster = self.cluster()
        for node in cluster.nodes:
            node.call(*NEW_USER)
        for half in HALVES:
            several = Errand(half, url_of(*(node.port for node in cluster.nodes[:3]), user=USER))
            self.addCleanup(several.close)
            self.assertIn("may not be asked for its table", several.call("begin", "key", LONG_MS))
            errand = Errand(half, url_of(cluster.nodes[0].port, user=USER))
            self.addCleanup(errand.close)
            for master in range(3):
                key = cluster.key_of(master, half)
                self.begun(errand, key)
                self.assertEqual(errand.call("finish", master), "OK")
                self.assertEqual(errand.call("fetch", key), f"REPLAY {master}")


class Changes(Case):
    def test_an_owner_finishes_at_the_replica_that_took_over(self):
        cluster = self.cluster()
        key = cluster.key_of(0)
        errands = {half: self.errand(half, cluster) for half in HALVES}
        for half, errand in errands.items():
            self.begun(errand, f"{{{key}}}{half}", SHORT_MS)
        cluster.await_in_step(3, 0)
        cluster.nodes[0].kill()
        cluster.await_master(3)
        for half, errand in errands.items():
            eventually(lambda: errand.call("state") == "held", "a lease that is renewed again", FAILOVER_SECONDS)
            self.assertEqual(errand.call("finish", "late"), "OK")
            self.assertEqual(errand.call("fetch", f"{{{key}}}{half}"), "REPLAY late")

    def test_a_master_that_hangs_costs_no_lease_of_another(self):
        # With full coverage all masters answer CLUSTERDOWN until a replica has taken over.
        cluster = self.cluster("--cluster-require-full-coverage", "no")
        errands = {half: self.errand(half, cluster) for half in HALVES}
        for half, errand in errands.items():
            # A renewal of this one may take a third of its lease, and has no answer.
            self.begun(errand, cluster.key_of(0, half), 20 * SHORT_MS)
            self.assertEqual(errand.call("keep"), "held")
            self.begun(errand, cluster.key_of(1, half), SHORT_MS)
        cluster.await_in_step(3, 0)
        cluster.nodes[0].signal(signal.SIGSTOP)
        until = time.monotonic() + 15 * SHORT_MS / 1000
        while time.monotonic() < until:
            for errand in errands.values():
                self.assertEqual(errand.call("state"), "held")
        cluster.nodes[0].signal(signal.SIGCONT)
        for errand in errands.values():
            eventually(lambda: errand.call("kept") == "held", "the other lease, at one of the two", FAILOVER_SECONDS)
            self.assertEqual(errand.call("finish", "b"), "OK")

    def test_a_wait_goes_on_after_a_manual_failover(self):
        cluster = self.cluster()
        key = cluster.key_of(0)
        caller = cluster.caller()
        token = caller.call("IDEM.CLAIM", key, "LEASE", LONG_MS)[1]
        errands = [self.errand(half, cluster) for half in HALVES]
        for errand in errands:
            errand.send("wait", key, LONG_MS)
        waiting = lambda node, count: int(cluster.nodes[node].info("idem")["idem_waiters"]) == count
        eventually(lambda: waiting(0, 2), "two waiters")
        cluster.fail_over(3)
        eventually(lambda: waiting(3, 2), "the same two at the new master", FAILOVER_SECONDS)
        self.assertEqual(caller.call("IDEM.STORE", key, token, "b"), 2)
        for errand in errands:
            self.assertEqual(errand.read(), "REPLAY b")

    def test_a_claim_is_renewed_and_finished_while_its_slot_moves(self):
        cluster = self.cluster()
        key = cluster.key_of(0)
        slot, source, target = slot_of(key), cluster.nodes[0], cluster.nodes[1]
        errands = {f"{{{key}}}{half}": self.errand(half, cluster) for half in HALVES}
        for name, errand in errands.items():
            self.begun(errand, name, SHORT_MS)
        self.assertEqual(target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.ids[0]), "OK")
        self.assertEqual(source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.ids[1]), "OK")
        for name, errand in errands.items():
            self.assertEqual(source.call("MIGRATE", "127.0.0.1", target.port, name, 0, 5000), "OK")
        # Longer than the lease: only renewals that ask the other node keep it.
        until = time.monotonic() + 3 * SHORT_MS / 1000
        eventually(lambda: time.monotonic() > until, "three leases")
        for name, errand in errands.items():
            self.assertEqual(errand.call("state"), "held")
            self.assertEqual(errand.call("finish", "b"), "OK")
            self.assertEqual(errand.call("fetch", name), "REPLAY b")
        for node in (target, source, cluster.nodes[2]):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", cluster.ids[1])
        for name, errand in errands.items():
            self.assertEqual(errand.call("fetch", name), "REPLAY b")


if __name__ == "__main__":
    unittest.main()
