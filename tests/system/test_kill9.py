"""kill -9 under load, and a start on the same directory: nothing that was answered is lost.

IDEM_KILL9_ROUNDS kills (5) with one loop and as many with four; each start may have another number of loops and another
appendfsync. IDEM_SEED repeats the choices (not the timing), which are printed.
"""

import collections
import os
import random
import shutil
import tempfile
import time
import unittest

import killing
from harness import Server, ServerCase, eventually, measured

ROUNDS = int(os.environ.get("IDEM_KILL9_ROUNDS", 5))
OWNERS, RIVALS = 4, 3
QUIET = 8  # the last owner works in each so many rounds only: its keys are older than most segments
LOAD_S = (0.03, 0.3)


class Kill9(ServerCase):
    def setUp(self):
        self.seed = int(os.environ.get("IDEM_SEED", time.time()))
        print(f"    seed {self.seed}", flush=True)
        self.rng = random.Random(self.seed)
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.dir = os.path.join(self.directory, "journal")
        self.clock, self.rivalry = killing.Clock(), killing.Rivalry()
        self.down_at = None
        self.owners = [killing.Owner(f"own{n}", self.seed + n, self.clock) for n in range(OWNERS)]
        self.rivals = [killing.Rival(self.seed + 100 + n, self.clock, self.rivalry) for n in range(RIVALS)]
        self.forgetter = killing.Forgetter(self.seed + 200, self.clock)
        self.floor, self.counts = 0, collections.Counter()
        self.first_start_ms = None

    def tearDown(self):
        failed = self._outcome.result.failures + self._outcome.result.errors
        if not any(test is self for test, _ in failed):
            shutil.rmtree(self.directory)
        else:
            print(f"    the journal is kept in {self.dir}", flush=True)

    # A start

    def options(self):
        loops = self.loops if self.rng.random() < 0.7 else self.rng.choice((1, 2, 3, 4))
        sync = self.rng.choice(("always", "always", "always", "everysec", "no"))
        segment = "1mb" if self.is_big() else self.rng.choice(("1mb", "2mb", "64mb"))
        return ("--dir", self.dir, "--threads", loops, "--appendfsync", sync, "--segment-size", segment,
                "--born-skew", "0")

    def is_big(self):
        """A round that fills segments, so that old ones are read and let go of."""
        return self.number % 5 == 2

    def start_server(self):
        up_at, self.up_ms = time.monotonic(), time.time_ns() // 1_000_000
        if self.down_at is not None:
            self.clock.down += up_at - self.down_at
        server = Server(*self.options())
        self.addCleanup(lambda: (server.kill(), server.forget()))
        return server

    def start_killed(self):
        """A start that is killed before it has ended, perhaps."""
        server = Server(*self.options(), wait_ready=False)
        time.sleep(self.rng.random() * 0.04)
        server.kill()
        server.forget()
        self.counts["killed starts"] += 1

    def kill(self, server):
        server.kill()
        self.down_at = time.monotonic()

    # What must be there

    def check(self, client):
        for owner in self.owners:
            took, sent = owner.check(client, self.floor)
            self.counts["unanswered"] += sent
            self.counts["of them done"] += took
            if owner.flushed:
                self.forget_all(owner)
        self.rivalry.check()
        self.forgetter.check(client)
        self.check_keys(client)
        self.check_memory_of_requests(client)
        self.raise_floor(client)

    def forget_all(self, flusher):
        """Of the keys that the first owner's FLUSHALL has deleted, but for its own; it ran alone."""
        flusher.flushed = False
        for owner in self.owners[1:]:
            owner.keys = {}
        self.rivalry.forget()
        self.forgetter.ended = []

    def check_keys(self, client):
        """SCAN, DBSIZE and CLAIMS agree with what each owner found."""
        mine = {name: key for owner in self.owners for name, key in owner.keys.items() if key is not None}

        def scanned():
            names, cursor = set(), b"0"
            while True:
                cursor, some = client.call("SCAN", cursor, "COUNT", 1000)
                names.update(name.decode() for name in some)
                if cursor == b"0":
                    return [names] if len(names) == client.call("DBSIZE") else None
        names, = eventually(scanned, "SCAN and DBSIZE that agree")
        self.assertEqual({name for name in names if name.startswith("own")}, set(mine))
        claims = {fields[1].decode(): fields[fields.index(b"token") + 1]
                  for fields in client.call("CLAIMS", "COUNT", 10000, "PREFIX", "own")}
        self.assertEqual(claims, {name: key.token for name, key in mine.items()
                                  if key.state in ("HELD", "LAPSED", "UNKNOWN")})

    def check_memory_of_requests(self, client):
        """It began with the first start: a little later where the machine stood still, but before this start."""
        before = client.call("CLAIM", f"before {self.rng.random()}", "BORN", self.first_start_ms - 60_000)
        self.assert_status(before, "FORGOTTEN")
        if self.down_at is None:
            return
        self.assertLess(before[1], self.up_ms, "what was before this start is known")
        after = [client.call("CLAIM", f"after {self.rng.random()}", "LEASE", 1, "BORN", self.up_ms)[0]
                 for _ in range(5)]
        self.assertIn(b"CLAIMED", after)

    def raise_floor(self, client):
        """Tokens above all that were seen."""
        token = self.claim(client, "floor", "LEASE", 1)[0]
        seen = [token for owner in self.owners for token in owner.tokens()] + [self.rivalry.highest, self.floor]
        self.assertGreater(token, max(seen), "tokens rise")
        self.floor = token

    # The rounds

    def load(self, server, flushes):
        callers = [*self.owners, *self.rivals, self.forgetter]
        if flushes:
            callers = self.owners[:1]
        elif self.number % QUIET:
            callers.remove(self.owners[-1])
        big = self.is_big()
        for owner in self.owners:
            owner.big, owner.flushes = big, flushes
        for caller in callers:
            caller.start(server)
        time.sleep(self.rng.uniform(*LOAD_S) + (1.2 if big else 0))
        if big:
            figures = server.info("persistence")
            self.counts["segments let go"] += int(figures["journal_removed_segments"])
            self.counts["kB written again"] += int(figures["journal_again_bytes"]) // 1000
        self.kill(server)
        for caller in callers:
            caller.join()

    def one_round(self, number):
        self.number = number
        if number and self.rng.random() < 0.15:
            self.start_killed()
        server = self.start_server()
        if self.first_start_ms is None:
            self.first_start_ms = time.time_ns() // 1_000_000
        with server.client() as client:
            self.check(client)
        self.load(server, flushes=self.rng.random() < 0.1)
        server.forget()

    def kill_often(self, loops):
        self.loops, started = loops, time.monotonic()
        for number in range(ROUNDS):
            self.one_round(number)
        with self.start_server() as server, server.client() as client:
            self.check(client)
        answers = sum(caller.answers for caller in [*self.owners, *self.rivals, self.forgetter])
        measured(f"{ROUNDS} kills in {time.monotonic() - started:.1f} s; {answers} answers, "
                 f"{self.rivalry.count()} contended grants, {dict(self.counts)}")
        self.assertGreater(answers, ROUNDS * 20, "there was load")

    def test_one_loop(self):
        self.kill_often(1)

    def test_four_loops(self):
        self.kill_often(4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
