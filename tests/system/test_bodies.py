"""Large bodies: received directly into the memory that keeps them, however the stream is cut, and
whatever happens to the command.

A body of 64 KiB or more that does not arrive whole takes a different path through the server
(server/net/input.h). A client must not notice that.
"""

import contextlib
import random
import re
import time
import unittest

from harness import INSTRUMENTED, Client, ServerCase, encode, eventually, measured

KIB, MIB = 2**10, 2**20
# Sizes around one read, around the least body that the engine adopts, and after several doublings.
SIZES = (64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 100 * KIB, 300 * KIB, 3 * MIB)
CUTS = 40


def body_of(size, seed):
    return random.Random(seed).randbytes(size)


def head_of(key, token, size, arguments=4):
    return b"*%d\r\n$5\r\nSTORE\r\n$%d\r\n%s\r\n$%d\r\n%d\r\n$%d\r\n" % (
        arguments, len(key), key.encode(), len(str(token)), token, size)


class Bodies(ServerCase):
    def setUp(self):
        self.server = self.start()
        self.control = self.connect(self.server)

    def same(self, reply, body, meta=None):
        """assertEqual, without printing a megabyte of random bytes on failure."""
        self.assertTrue(isinstance(reply, list) and reply[:3] == [b"DONE", body, meta],
                        f"another body or meta: {str(reply)[:200]}")

    @staticmethod
    def fed(client, pieces):
        """Sends the pieces so that the server reads most of them before the next one is sent."""
        for piece in pieces:
            client.send_raw(piece)
            time.sleep(0.0005)  # a hint to the scheduler; nothing depends on it

    def store_cut(self, client, stream, rng, cuts):
        ends = sorted({rng.randrange(1, len(stream)) for _ in range(cuts)} | {len(stream)})
        self.fed(client, [stream[start:end] for start, end in zip([0, *ends], ends)])

    def half(self, key, size=300 * KIB):
        """A connection that has sent half of a STORE, the other half, and the token."""
        token = self.claim(self.control, key)[0]
        client = self.connect(self.server)
        stream = encode("STORE", key, token, body_of(size, 1))
        client.send_raw(stream[:len(stream) // 2])
        eventually(lambda: re.search(rb" qbuf=[1-9]", self.control.call("CLIENT", "LIST")),
                   "some of it is read")
        return client, stream[len(stream) // 2:], token

    def test_any_cut_keeps_the_body_and_what_follows_it(self):
        rng = random.Random(20)
        for size in SIZES:
            for round_number in range(3 if size < MIB else 1):
                key = f"{size}-{round_number}"
                body = body_of(size, key)
                token = self.claim(self.control, key)[0]
                meta = b"m" * rng.choice((1, 60 * KIB))
                stream = (encode("PING") + encode("STORE", key, token, body, "META", meta, "TTL",
                                                  60000)
                          + encode("FETCH", key) + encode("STORE", key, token, body)
                          + encode("STORE", key, token, body[::-1], "META", meta)
                          + encode("ECHO", "after"))
                with self.subTest(size=size, round=round_number), Client(self.server) as client:
                    self.store_cut(client, stream, rng, rng.randrange(1, CUTS))
                    self.assertEqual(client.read(), "PONG")
                    self.assertEqual(client.read(), 0)
                    self.same(client.read(), body, meta)
                    self.assert_error(client.read(), "CONFLICT")  # the meta is missing
                    self.assert_error(client.read(), "CONFLICT")
                    self.assertEqual(client.read(), b"after")
                    self.same(self.control.call("FETCH", key), body, meta)

    def test_cuts_around_its_beginning_and_end(self):
        size = 150 * KIB
        body = body_of(size, 3)
        head = len(head_of("kk00", 10**15, size))
        for offset in range(-4, 5):
            for end, place in enumerate((head, head + size)):
                key = f"k{end}{offset % 100:02}"
                token = self.claim(self.control, key)[0]
                stream = encode("STORE", key, token, body) + encode("PING")
                cut = place + offset - len(str(10**15)) + len(str(token))
                with Client(self.server) as client:
                    self.fed(client, [stream[:cut], stream[cut:]])
                    self.assertEqual(client.read(), 0, (place, offset))
                    self.assertEqual(client.read(), "PONG")
                self.same(self.control.call("FETCH", key), body)

    def test_a_refused_body_leaves_nothing(self):
        base = int(self.server.info("memory", self.control)["used_memory"])
        size = 2 * MIB
        body = body_of(size, 4)
        token = self.claim(self.control, "k")[0]
        streams = {
            "STALE": encode("STORE", "k", token + 1, body),
            "ERR": encode("STORE", "k", token, body, "NOSUCH", 1),
            "TOOBIG": encode("STORE", "k", token, body, "META", b"m" * (65 * KIB)),
            "EXECABORT": (encode("MULTI") + encode("STORE", "k", token, body, "TTL")
                          + encode("NOSUCH") + encode("EXEC")),
        }
        rng = random.Random(4)
        for code, stream in streams.items():
            with self.subTest(code), Client(self.server) as client:
                self.store_cut(client, stream + encode("PING"), rng, 20)
                replies = [client.read()]
                while replies[-1] != "PONG":
                    replies.append(client.read())
                self.assert_error(replies[-2], code)
        self.assertEqual(self.control.call("STORE", "k", token, "small", "TTL", 0), 0)
        eventually(lambda: int(self.server.info("memory", self.control)["used_memory"])
                   < base + 64 * KIB, "the memory of what was refused")

    def test_in_a_transaction(self):
        token = self.claim(self.control, "k")[0]
        body = body_of(300 * KIB, 5)
        with Client(self.server) as client:
            stream = encode("MULTI") + encode("STORE", "k", token, body) + encode("EXEC")
            self.store_cut(client, stream, random.Random(5), 10)
            self.assertEqual([client.read() for _ in range(3)], ["OK", "QUEUED", [0]])
        self.same(self.control.call("FETCH", "k"), body)

    def test_a_line_end_that_is_missing(self):
        body = body_of(200 * KIB, 6)
        for ending in (b"\r?", b"??"):
            client = self.connect(self.server)
            self.fed(client, [head_of("k", 1, len(body)) + body[:KIB], body[KIB:], ending])
            self.assertIn("Protocol error", str(client.read()))
            self.assertTrue(client.ended())

    def test_a_connection_that_ends_in_the_middle(self):
        for number, end in enumerate(("kill", "reset", "close", "half_close")):
            with self.subTest(end):
                client, rest, token = self.half(f"k{number}")
                if end == "kill":
                    name = "%s:%d" % client.sock.getsockname()
                    self.assertEqual(self.control.call("CLIENT", "KILL", "ADDR", name), 1)
                    self.assertTrue(client.ended())
                else:
                    getattr(client, end)()
                eventually(lambda: self.server.info("clients", self.control)["connected_clients"]
                           == "1", "one connection left")
                self.assert_status(self.control.call("FETCH", f"k{number}"), "BUSY")
                self.assertEqual(self.control.call("STORE", f"k{number}", token, "b"), 0)

    def test_while_others_are_answered_and_clients_paused(self):
        client, rest, _ = self.half("k")
        started = time.monotonic()
        self.assertEqual(self.control.call("CLIENT", "PAUSE", 500, "WRITE"), "OK")
        client.send_raw(rest + encode("PING"))
        self.assertEqual(self.control.call("PING"), "PONG")
        self.assertEqual(client.read(), 0)
        self.assertGreaterEqual(time.monotonic() - started, 0.5)
        self.assertEqual(client.read(), "PONG")
        self.same(self.control.call("FETCH", "k"), body_of(300 * KIB, 1))

    def test_after_a_command_that_waits(self):
        token = self.claim(self.control, "first")[0]
        second = self.claim(self.control, "second")[0]
        body = body_of(400 * KIB, 7)
        stream = encode("STORE", "second", second, body) + encode("PING")
        client = self.connect(self.server)
        client.send("WAIT", "first", 60000)
        self.server.await_blocked(1, self.control)
        client.send_raw(stream[:200 * KIB])
        self.assertEqual(self.control.call("STORE", "first", token, "b"), 1)
        self.assert_status(client.read(), "DONE")
        client.send_raw(stream[200 * KIB:])
        self.assertEqual(client.read(), 0)
        self.assertEqual(client.read(), "PONG")
        self.same(self.control.call("FETCH", "second"), body)

    def test_every_waiter_gets_it(self):
        for ttl in (60000, 0):
            token = self.claim(self.control, f"k{ttl}")[0]
            body = body_of(700 * KIB, 8)
            waiters = [self.connect(self.server) for _ in range(20)]
            for waiter in waiters:
                waiter.send("CLAIM", f"k{ttl}", "WAIT", 60000)
            self.server.await_blocked(20, self.control)
            with Client(self.server) as owner:
                self.store_cut(owner, encode("STORE", f"k{ttl}", token, body, "TTL", ttl),
                               random.Random(8), 9)
                self.assertEqual(owner.read(), 20)
            for waiter in waiters:
                self.same(waiter.read(), body)

    def test_slowlog_and_monitor_show_a_body_that_is_gone(self):
        self.assertEqual(self.control.call("CONFIG", "SET", "slowlog-log-slower-than", 0), "OK")
        watcher = self.connect(self.server)
        self.assertEqual(watcher.call("MONITOR"), "OK")
        token = self.claim(self.control, "k")[0]
        with Client(self.server) as client:
            stream = encode("STORE", "k", token, b"x" * (300 * KIB), "TTL", 0)
            self.fed(client, [stream[:KIB], stream[KIB:-9], stream[-9:]])
            self.assertEqual(client.read(), 0)
        entries = self.control.call("SLOWLOG", "GET", 10)
        shown = [entry[3] for entry in entries if entry[3][0] == b"STORE"]
        self.assertTrue(shown and shown[0][3].startswith(b"xxxx"), shown)
        line = watcher.read()
        while "STORE" not in line:
            line = watcher.read()
        self.assertIn('"xxxx', line)


class Room(ServerCase):
    def test_a_connection_closed_for_lack_of_room_gets_its_earlier_replies(self):
        server = self.start("--client-input-total", "1mb")
        clients = [self.connect(server) for _ in range(60)]
        for number, client in enumerate(clients):
            length = (60 if number % 2 else 200) * KIB
            client.send_raw(encode("CLAIM", f"k{number}") + head_of("l", 1, length)
                            + b"x" * (50 * KIB))
            self.assert_status(client.read(), "CLAIMED")
        closed = server.info("all")["client_query_buffer_limit_disconnections"]
        self.assertGreater(int(closed), 20)

    @unittest.skipIf(INSTRUMENTED, "the sanitizer's allocator keeps freed memory")
    def test_half_received_bodies_cost_what_has_arrived(self):
        """An announced length costs nothing. Received bytes cost at most twice their size. All
        connections share client-input-total, and all of it is free again when they are gone."""
        server = self.start("--client-input-total", "64mb", "--body-limit", "16mb")
        control = self.connect(server)
        base = server.rss_bytes()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(server)) for _ in range(200)]
            for client in clients:
                client.send_raw(head_of("k", 1, 16 * MIB) + b"x" * (100 * KIB))
            eventually(lambda: control.call("CLIENT", "LIST").count(b"qbuf=0") == 1, "all is read")
            self.assertEqual(server.info("clients", control)["connected_clients"], "201")
            arrived = 200 * 100 * KIB
            grown = server.peak_rss_bytes() - base
            measured(f"200 halves of 100 KiB: {grown / arrived:.2f} of what has arrived")
            self.assertLess(grown, 2.5 * arrived)
        eventually(lambda: server.info("clients", control)["connected_clients"] == "1",
                   "one connection left")
        # All of client-input-total is free again: a body of 16 MiB fits, three times at once.
        clients = [self.connect(server) for _ in range(3)]
        tokens = [self.claim(control, f"k{n}")[0] for n in range(3)]
        body = b"y" * (16 * MIB)
        for n, client in enumerate(clients):
            client.send_raw(head_of(f"k{n}", tokens[n], len(body)) + body[:-10])
        for client in clients:
            client.send_raw(body[-10:] + b"\r\n")
            self.assertEqual(client.read(), 0)

    def test_input_over_the_total_closes_its_connection(self):
        server = self.start("--client-input-total", "4mb")
        control = self.connect(server)
        token = self.claim(control, "k")[0]
        greedy = self.connect(server)
        with contextlib.suppress(OSError):
            greedy.send_raw(head_of("k", token, 10 * MIB) + b"x" * (10 * MIB))
        self.assertTrue(greedy.ended())
        self.assertIn("client-input-total", server.log())
        greedy = self.connect(server)  # the same for an argument that is not the body of a record
        with contextlib.suppress(OSError):
            greedy.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nv\r\n$10000000\r\n" + b"x" * 10000000)
        self.assertTrue(greedy.ended())
        closed = server.info("stats", control)["client_query_buffer_limit_disconnections"]
        self.assertEqual(closed, "2")
        self.assertEqual(server.log().count("reach client-input-total"), 1)  # at most one line a minute
        self.assertEqual(control.call("STORE", "k", token, b"z" * MIB), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
