"""CLAIMS on real sockets: pages over several loops while claims come and go, room for others between
the slices, and what it costs beside many responses. Nothing is timed."""

import contextlib
import itertools
import threading
import unittest

from harness import HANG_SECONDS, INSTRUMENTED, Client, ServerCase, encode, eventually

LOOPS = 4
FEWER = 5 if INSTRUMENTED else 1
AT_ONCE = 500
LONG_MS = 3_600_000


def as_map(flat):
    return dict(zip(flat[::2], flat[1::2]))


class ClaimsCase(ServerCase):
    def pipeline(self, client, commands):
        """The replies to all of them, of which some hundred are under way at a time."""
        replies = []
        for start in range(0, len(commands), AT_ONCE):
            part = commands[start:start + AT_ONCE]
            client.send_raw(b"".join(encode(*command) for command in part))
            replies += [client.read() for _ in part]
        return replies

    def claim_all(self, client, keys, *options):
        """A dict from each key to its token."""
        replies = self.pipeline(client, [("CLAIM", key, *options) for key in keys])
        for reply in replies:
            self.assert_status(reply, "CLAIMED")
        return {key.encode(): reply[1] for key, reply in zip(keys, replies)}

    def store_all(self, client, tokens):
        for reply in self.pipeline(client, [("STORE", key, token, "body")
                                            for key, token in tokens.items()]):
            self.assertEqual(reply, 0)

    def pages(self, client, count, *options):
        """All claims, from pages of so many; the first page that is not full is the last."""
        seen, after = [], 0
        while True:
            page = client.call("CLAIMS", "AFTER", after, "COUNT", count, *options)
            self.assertIsInstance(page, list, page)
            self.assertLessEqual(len(page), count)
            seen += map(as_map, page)
            if len(page) < count:
                return seen
            after = seen[-1][b"token"]

    def pings_before(self, greedy, other, server, *command):
        """How many PINGs of another client were answered before the reply, which is returned too."""
        with server.stopped():
            greedy.send(*command)
            other.send("PING")
        answered = 0
        while not greedy.readable():
            self.assertEqual(other.read(), "PONG")
            other.send("PING")
            answered += 1
        reply = greedy.read()
        self.assertEqual(other.read(), "PONG")
        return answered, reply


class Pages(ClaimsCase):
    STAYING = 3000 // FEWER
    DONE = 20_000 // FEWER

    @contextlib.contextmanager
    def coming_and_going(self, server, threads=3):
        """While the body runs, other claims are granted, renewed, released, stored, deleted."""
        stop, failures, turns = threading.Event(), [], [0] * threads

        def run(number):
            try:
                with Client(server) as client:
                    while not stop.is_set():
                        self.come_and_go(client, number, turns[number])
                        turns[number] += 1
            except BaseException as error:  # pylint: disable=broad-except
                failures.append(error)

        workers = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(threads)]
        for worker in workers:
            worker.start()
        try:
            eventually(lambda: failures or min(turns) > 0, "all threads at work")
            yield turns
        finally:
            stop.set()
            for worker in workers:
                worker.join(HANG_SECONDS)
        if failures:
            raise failures[0]

    def come_and_go(self, client, number, turn):
        keys = [f"goes:{number}:{turn}:{n}" for n in range(40)]
        tokens = list(self.claim_all(client, keys, "LEASE", LONG_MS).items())
        commands = [("STORE", *each, "x", "TTL", 0) for each in tokens[:10]]
        commands += [("RELEASE", *each) for each in tokens[10:20]]
        commands += [("DEL", each[0]) for each in tokens[20:30]]
        commands += [("STORE", *each, "x", "TTL", 50) for each in tokens[30:]]
        for reply in self.pipeline(client, commands):
            self.assertIsInstance(reply, int, reply)

    def assert_complete(self, seen, staying):
        tokens = [claim[b"token"] for claim in seen]
        self.assertEqual(tokens, sorted(set(tokens)), "in the order of tokens, each once")
        found = {claim[b"key"]: claim[b"token"] for claim in seen
                 if claim[b"key"].startswith(b"stays:")}
        self.assertEqual(found, staying)

    def test_each_claim_that_stays_is_seen_once_and_in_order(self):
        server = self.start("--threads", LOOPS)
        client = self.connect(server)
        done = self.claim_all(client, [f"done:{n}" for n in range(self.DONE)])
        half = self.STAYING // 2
        staying = self.claim_all(client, [f"stays:{n}" for n in range(half)], "LEASE", LONG_MS)
        self.store_all(client, done)
        with self.coming_and_going(server) as turns:
            staying |= self.claim_all(client, [f"stays:{n}" for n in range(half, self.STAYING)],
                                      "LEASE", LONG_MS)
            for count in (100, 97, 1000, 10_000, 31):
                begun = sum(turns)
                self.assert_complete(self.pages(client, count), staying)
                self.assert_complete(self.pages(client, count, "PREFIX", "stays:"), staying)
                eventually(lambda: sum(turns) > begun, "others at work")
        seen = self.pages(client, 1000)
        self.assert_complete(seen, staying)
        self.assertEqual(len(seen), len(staying))

    def test_clients_may_leave_in_the_middle(self):
        server = self.start("--threads", LOOPS)
        client = self.connect(server)
        staying = self.claim_all(client, [f"stays:{n}" for n in range(self.STAYING)], "LEASE",
                                 LONG_MS)
        for number in range(100):
            leaving = Client(server)
            leaving.send_raw(encode("CLAIMS", "COUNT", 10_000) * 3)
            (leaving.reset if number % 2 else leaving.close)()
        eventually(lambda: server.info("clients", client)["connected_clients"] == "1",
                   "the others have gone")
        self.assert_complete(self.pages(client, 10_000), staying)

    def test_the_oldest_of_all_shards_is_told(self):
        server = self.start("--threads", LOOPS)
        client = self.connect(server)
        self.assertEqual(server.info("idem", client)["oldest_held_ms"], "0")
        self.claim_all(client, ["first"], "LEASE", LONG_MS)
        oldest = eventually(lambda: int(server.info("idem", client)["oldest_held_ms"]))
        self.claim_all(client, [f"later:{n}" for n in range(100)], "LEASE", LONG_MS)
        self.assertGreaterEqual(int(server.info("idem", client)["oldest_held_ms"]), oldest)
        self.claim_all(client, ["vanishes"], "HOLD", "LEASE", 1)
        eventually(lambda: int(server.info("idem", client)["oldest_unknown_ms"]))
        self.assertEqual(client.call("DEL", "vanishes"), 1)
        self.assertEqual(server.info("idem", client)["oldest_unknown_ms"], "0")


class Slices(ClaimsCase):
    OPEN = 100_000 // FEWER
    DONE = 100_000 // FEWER

    def test_a_call_leaves_room_between_its_slices(self):
        server = self.start("--threads", 1)
        greedy, other = self.connect(server), self.connect(server)
        batches = itertools.count()

        def makes_room():  # the faster the machine, the more it takes to make a call long
            batch = next(batches)
            self.claim_all(greedy, [f"key:{batch}:{n}" for n in range(self.OPEN)], "LEASE", LONG_MS)
            answered, reply = self.pings_before(greedy, other, server, "CLAIMS", "PREFIX", "nosuch")
            self.assertEqual(reply, [])
            return answered > 2
        eventually(makes_room, "several PINGs answered between the slices of a CLAIMS")

    def test_responses_cost_nothing(self):
        server = self.start("--threads", 1)
        greedy, other = self.connect(server), self.connect(server)
        self.store_all(greedy, self.claim_all(greedy, [f"key:{n}" for n in range(self.DONE)]))
        self.claim_all(greedy, [f"open:{n}" for n in range(50)], "LEASE", LONG_MS)
        eventually(lambda: self.pings_before(greedy, other, server, "KEYS", "nosuch")[0] > 2,
                   "several PINGs answered between the slices of a KEYS")

        def is_one_slice():
            answered, reply = self.pings_before(greedy, other, server, "CLAIMS")
            self.assertEqual(len(reply), 50)
            return answered <= 1
        eventually(is_one_slice, "a CLAIMS that passes over the responses")


if __name__ == "__main__":
    unittest.main()
