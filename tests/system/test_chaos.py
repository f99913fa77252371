"""Random callers that claim, wait, store, give up and die in the middle, on few keys.

Whatever happens: no token is granted twice, every command is answered, and in the end no caller is
stuck and nothing is left. The seed is printed; IDEM_SEED repeats it (not the timing).
"""

import os
import random
import select
import time
import unittest

from harness import HANG_SECONDS, Client, Closed, RespError, ServerCase, eventually, measured

CALLERS = 80
KEYS = 6
SECONDS, GRANTS = 5, 200  # run for at least so long, and until there were so many grants
WAIT_MS = 400


class Caller:
    def __init__(self, server, rng, tokens):
        self.server, self.rng, self.tokens = server, rng, tokens
        self.client, self.asked_at, self.question = Client(server), None, None
        self.grants, self.counts, self.shown = {}, {}, {}

    def act(self):
        if self.asked_at is not None:
            if self.rng.random() < 0.1:
                self.die()
            return
        key = f"k{self.rng.randrange(KEYS)}"
        token = self.grants.pop(key, None)
        if token is None:
            question = self.ask(key)
        else:
            word = self.rng.choice([(), ("UNSURE",), ("CLEAR",)])
            question = self.rng.choice([("STORE", key, token, "body", "TTL", 0, *word),
                                        ("STORE", key, token, "b" * 5000, "TTL", 20),
                                        ("RELEASE", key, token, *word), ("RENEW", key, token),
                                        ("RENEW", key, token, "STAGE", "s")])
            if question[0] == "RENEW":
                self.grants[key] = token
        self.question, self.asked_at = question, time.monotonic()
        self.client.send(*question)

    def ask(self, key):
        rng = self.rng
        if rng.random() < 0.2:
            return ("WAIT", key, rng.randrange(1, WAIT_MS))
        if rng.random() < 0.03:
            return ("DEL", key)
        options = ["LEASE", rng.randrange(1, 60), "WAIT", rng.randrange(1, WAIT_MS)]
        options += [word for word, often in (("BIND", 0.3), ("HOLD", 0.1)) if rng.random() < often]
        if rng.random() < 0.3:
            options += ["TAKEOVER", self.shown.pop(key, 1)]
        if rng.random() < 0.1:
            options += ["BORN", rng.choice((1, time.time_ns() // 1_000_000))]
        return ("CLAIM", key, *options)

    def die(self):
        """Ends the connection in one of the ways in which clients die, and opens a new one."""
        leave = self.rng.choice((Client.close, Client.reset, Client.half_close))
        leave(self.client)
        self.client.close()
        self.client, self.asked_at = Client(self.server), None
        self.grants.clear()

    def hear(self):
        reply = self.client.read()
        status = str(reply[0] if isinstance(reply, list) else getattr(reply, "code", "other"))
        self.counts[status] = self.counts.get(status, 0) + 1
        if isinstance(reply, RespError) and reply.code != "STALE":
            raise AssertionError(f"{self.question}: {reply}")
        if isinstance(reply, list) and reply[0] == b"CLAIMED":
            if reply[1] in self.tokens:
                raise AssertionError(f"token {reply[1]} was granted twice: {self.question}")
            self.tokens.add(reply[1])
            self.grants[self.question[1]] = reply[1]
        if isinstance(reply, list) and reply[0] == b"UNKNOWN":
            self.shown[self.question[1]] = reply[1]
        self.asked_at = None


class Chaos(ServerCase):
    def test_no_caller_is_stuck(self):
        seed = int(os.environ.get("IDEM_SEED", time.time()))
        rng, tokens = random.Random(seed), set()
        print(f"    seed {seed}", flush=True)
        server = self.start("--retention", "30ms", "--unknown-retention", "60ms",
                            "--born-skew", "1ms")
        control = self.connect(server)
        self.assertEqual(control.call("PING"), "PONG")
        descriptors = server.descriptors()
        used = int(server.info("memory", control)["used_memory"])
        callers = [Caller(server, rng, tokens) for _ in range(CALLERS)]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or len(tokens) < GRANTS:
            self.assertLess(time.monotonic(), end + HANG_SECONDS, f"only {len(tokens)} grants")
            for caller in rng.sample(callers, 10):
                caller.act()
            self.hear(callers, 0.001)
        while any(caller.asked_at is not None for caller in callers):
            self.hear(callers, 0.05)
        server.await_blocked(0, control)
        for caller in callers:
            caller.client.close()
        server.await_descriptors(descriptors)
        eventually(lambda: control.call("DBSIZE") == 0, "an empty keyspace")
        eventually(lambda: int(server.info("memory", control)["used_memory"]) < used + 2**20,
                   "an empty memory")
        total = {}
        for caller in callers:
            for status, count in caller.counts.items():
                total[status] = total.get(status, 0) + count
        measured(f"{len(tokens)} grants; answers {total}")

    def hear(self, callers, seconds):
        waiting = {caller.client.sock: caller for caller in callers if caller.asked_at is not None}
        for sock in select.select(list(waiting), [], [], seconds)[0]:
            try:
                waiting[sock].hear()
            except Closed:
                self.fail(f"closed instead of an answer to {waiting[sock].question}")
        for caller in waiting.values():
            late = caller.asked_at and time.monotonic() - caller.asked_at > HANG_SECONDS
            self.assertFalse(late, f"never answered: {caller.question}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
