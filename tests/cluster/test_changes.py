"""Random work on a few keys while a cluster changes under it: slots move, replicas take over, masters are killed.

The oracle: tokens of a key rise from one reply to the next request; where nothing is lost, no owner settles its claim
after a later grant; who waits is told. server/module/README.md promises that while clocks do not differ. $IDEM_SEED
chooses the work and the changes, not how they meet.
"""

import collections
import os
import random
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
from nodes import Cluster, RespError, eventually, slot_of  # noqa: E402

KEYS = [f"key:{number}" for number in range(10)]
WORKERS = 8
SECONDS = 8
JOIN_SECONDS = 60
# A client whose request has no answer for 10 s asks again (nodes.py), which nobody has to.
TOLD_SECONDS = 9
# A slot that comes back between two looks of a node, one a second, did not come: the documentation says so.
LOOK_SECONDS = 1.3

# Of a key: when its request was sent and answered; what the owner with this token told of its end.
Grant = collections.namedtuple("Grant", "sent answered token")
End = collections.namedtuple("End", "sent token")


class Worker(threading.Thread):
    """Claims a key and settles the claim, again and again."""

    def __init__(self, cluster, name, chooser):
        super().__init__(daemon=True)
        self.caller, self.label, self.chooser = cluster.caller(), name, chooser
        self.ended = threading.Event()
        self.grants, self.ends = collections.defaultdict(list), collections.defaultdict(list)
        self.bodies, self.replays, self.slowest, self.problem = set(), set(), 0, None

    def run(self):
        try:
            while not self.ended.is_set():
                self.claim(self.chooser.choice(KEYS), f"{self.label}:{time.monotonic()}")
        except BaseException as problem:  # the test tells it
            self.problem = problem
            raise

    def ask(self, *args, wait_ms=0):
        """(sent, answered, reply)."""
        sent = time.monotonic()
        reply = self.caller.call(*args)
        answered = time.monotonic()
        self.slowest = max(self.slowest, answered - sent - wait_ms / 1000)
        return sent, answered, reply

    def claim(self, key, owner):
        lease_ms, wait_ms = self.chooser.choice((150, 2000, 2000, 30_000)), self.chooser.choice((0, 100, 500, 2000))
        waits = ("WAIT", wait_ms) if wait_ms else ()
        sent, answered, reply = self.ask("IDEM.CLAIM", key, "OWNER", owner, "LEASE", lease_ms, *waits, wait_ms=wait_ms)
        assert isinstance(reply, list), reply
        if reply[0] == b"DONE":
            self.replays.add(reply[1].decode())
        if reply[0] == b"CLAIMED":
            self.grants[key].append(Grant(sent, answered, reply[1]))
        time.sleep(self.chooser.random() * 0.05)
        if reply[0] == b"CLAIMED":
            self.settle(key, reply[1], owner, lease_ms)

    def settle(self, key, token, body, lease_ms):
        ways = [("STORE", body, "TTL", self.chooser.choice((0, 20, 100, 300)))] * 3
        ways += [("RENEW",), ("RELEASE",), ("RELEASE", "UNSURE")]
        if lease_ms < 2000:
            ways.append(None)
        way = self.chooser.choice(ways)
        if way is None:
            return
        if way[0] == "RENEW":
            self.ask("IDEM.RENEW", key, token)
            way = ways[0]
        if way[0] == "STORE":
            self.bodies.add(body)
        sent, _, reply = self.ask("IDEM." + way[0], key, token, *way[1:])
        if isinstance(reply, int) and (way[0] == "STORE" or reply == 1):  # not STALE: it was the owner
            self.ends[key].append(End(sent, token))


class Changes:
    """One change of the cluster at a time. Each is over when it returns."""

    def __init__(self, cluster, chooser):
        self.cluster, self.chooser = cluster, chooser
        self.homes, self.moved = {}, {}
        self.count = collections.Counter()

    def replica_of(self, shard):
        """The number of the node that follows, once it does."""
        def follows(number):
            state = self.cluster.nodes[number].info("replication")
            return state["role"] == "slave" and state.get("master_link_status") == "up"
        return eventually(lambda: [n for n in (shard, shard + 3) if follows(n)], "a replica")[0]

    def master_of(self, shard):
        return shard + 3 if self.replica_of(shard) == shard else shard

    def fail_over(self):
        """Of each shard in turn: of one that has just had one, the masters refuse it for a while."""
        self.cluster.fail_over(self.replica_of(self.count["failovers"] % 3))
        self.count["failovers"] += 1

    def kill(self):
        shard = self.chooser.randrange(3)
        master, replica = self.master_of(shard), self.replica_of(shard)
        self.cluster.nodes[master].kill()
        self.cluster.await_master(replica)
        self.cluster.nodes[master].start()
        self.count["kills"] += 1

    def move(self):
        """A slot, with the keys that it has by then, to another master."""
        key = self.chooser.choice(KEYS)
        slot = slot_of(key)
        if time.monotonic() < self.moved.get(slot, 0) + LOOK_SECONDS:
            return
        source = self.homes.get(slot, self.cluster.master_of(key))
        target = self.chooser.choice([shard for shard in range(3) if shard != source])
        masters = [self.master_of(shard) for shard in range(3)]
        eventually(lambda: all(self.knows(one, masters) for one in masters), "masters that know each other")
        self.move_slot(slot, masters[source], masters[target], masters)
        self.await_known(key, masters[target])
        # So that its keys are not there again when this master is killed, and the slot comes back.
        self.cluster.await_in_step(self.replica_of(source), masters[source])
        self.homes[slot], self.moved[slot] = target, time.monotonic()
        self.count["moves"] += 1

    def knows(self, number, masters):
        lines = [line.split() for line in self.cluster.table(self.cluster.nodes[number])]
        serving = {line[0] for line in lines if "master" in line[2] and "fail" not in line[2] and len(line) > 8}
        return serving == {self.cluster.ids[master] for master in masters}

    def move_slot(self, slot, source, target, masters):
        nodes, ids = self.cluster.nodes, self.cluster.ids
        assert nodes[target].call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source]) == "OK"
        assert nodes[source].call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target]) == "OK"
        self.pause()
        while keys := nodes[source].call("CLUSTER", "GETKEYSINSLOT", slot, 10):
            for key in keys:
                assert nodes[source].call("MIGRATE", "127.0.0.1", nodes[target].port, key, 0, 5000) in ("OK", "NOKEY")
            self.pause()
        for number in (target, source, *({*masters} - {source, target})):
            assert nodes[number].call("CLUSTER", "SETSLOT", slot, "NODE", ids[target]) == "OK"

    def await_known(self, key, master):
        """All nodes know who has the slot: a replica that does not, and takes over, serves it no more."""
        def sends_there(node):
            reply = node.call("GET", key)
            moved = isinstance(reply, RespError) and reply.code == "MOVED" and str(reply).endswith(f":{home.port}")
            return moved or (node is home and not isinstance(reply, RespError))
        home = self.cluster.nodes[master]
        eventually(lambda: all(sends_there(node) for node in self.cluster.nodes), "nodes that know where a slot is")

    def pause(self):
        time.sleep(self.chooser.random() * 0.05)


class RandomWork(unittest.TestCase):
    def setUp(self):
        self.seed = int(os.environ.get("IDEM_SEED", time.time()))
        self.cluster = Cluster("--cluster-require-full-coverage", "no")
        self.addCleanup(self.cluster.remove)
        self.changes = Changes(self.cluster, random.Random(self.seed))

    def work_while(self, *changes):
        """The workers, once they have ended."""
        workers = [Worker(self.cluster, f"w{number}", random.Random(self.seed + number)) for number in range(1, 1 + WORKERS)]
        for worker in workers:
            worker.start()
        try:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                self.changes.chooser.choice(changes)()
                self.changes.pause()
        finally:
            for worker in workers:
                worker.ended.set()
            for worker in workers:
                worker.join(JOIN_SECONDS)
        self.assertEqual([(worker.label, worker.problem) for worker in workers if worker.is_alive() or worker.problem], [])
        print(f"    measured: seed {self.seed}, {dict(self.changes.count)}, "
              f"{sum(len(worker.grants[key]) for worker in workers for key in KEYS)} grants", flush=True)
        return workers

    def check_tokens(self, workers):
        """Each token is given once for its key, and is above all whose grants were answered before it was asked for."""
        for key in KEYS:
            grants = [grant for worker in workers for grant in worker.grants[key]]
            self.assertEqual(len({grant.token for grant in grants}), len(grants), f"{key}: tokens that were given twice")
            fallen = [(one, other) for one in grants for other in grants
                      if one.answered < other.sent and one.token > other.token]
            self.assertEqual(fallen, [], key)

    def check_owners(self, workers):
        """Who has settled a claim was its owner then."""
        for key in KEYS:
            grants = [grant for worker in workers for grant in worker.grants[key]]
            ends = [end for worker in workers for end in worker.ends[key]]
            overtaken = [(end, grant) for end in ends for grant in grants
                         if grant.token > end.token and grant.answered < end.sent]
            self.assertEqual(overtaken, [], key)

    def check_replays(self, workers):
        stored = set().union(*(worker.bodies for worker in workers))
        self.assertEqual(set().union(*(worker.replays for worker in workers)) - stored, set())

    def test_slots_that_move(self):
        workers = self.work_while(self.changes.move)
        self.check_tokens(workers)
        self.check_owners(workers)
        self.check_replays(workers)
        self.assertLess(max(worker.slowest for worker in workers), TOLD_SECONDS)

    def test_replicas_that_take_over_by_hand(self):
        workers = self.work_while(self.changes.fail_over)
        self.check_tokens(workers)
        self.check_owners(workers)
        self.check_replays(workers)

    def test_masters_that_are_killed_while_slots_move_and_replicas_take_over(self):
        """Grants are lost, so that there may be two owners: the later one has the higher token."""
        workers = self.work_while(self.changes.kill, self.changes.move, self.changes.move, self.changes.fail_over)
        self.check_tokens(workers)
        self.check_replays(workers)


if __name__ == "__main__":
    unittest.main()
