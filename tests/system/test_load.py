"""Large numbers: of waiters, of keys that expire in one turn, of connections. Used memory is given back."""

import contextlib
import os
import re
import select
import tempfile
import time
import unittest

from harness import (HANG_SECONDS, INSTRUMENTED, Client, RespError, ServerCase, encode, eventually,
                     measured, percentile, raise_nofile)

WAITERS = 10_000
BODY_BYTES = 64 * 1024
ENDING_KEYS = 100_000 if INSTRUMENTED else 1_000_000
CONNECTIONS = 10_000 if INSTRUMENTED else 100_000
IDLE_CONNECTIONS = 5000
# Resident memory per connection, including the loop's table of descriptors and the allocator's rounding.
IDLE_BYTES = 450
# Commands that lie in the socket when the keys become due: 32 KiB, which fit into the socket buffer of a
# stopped server.
QUEUED = 4096
MIB = 2**20


def exchange(sock, data, expected_end):
    """Sends data and reads until expected_end(buffer) at the same time: neither side can stall."""
    sock.setblocking(False)
    view, received = memoryview(data), bytearray()
    try:
        while view or not expected_end(received):
            readable, writable, _ = select.select([sock], [sock] if view else [], [],
                                                  HANG_SECONDS)
            if not readable and not writable:
                raise AssertionError("the server neither reads nor answers")
            if writable:
                view = view[sock.send(view):]
            if readable:
                data = sock.recv(1 << 20)
                if not data:
                    raise AssertionError("the server closed the connection")
                received += data
    finally:
        sock.setblocking(True)
    return bytes(received)


class Waiters(ServerCase):
    def setUp(self):
        if raise_nofile() < WAITERS + 200:
            self.skipTest(f"needs ulimit -n {WAITERS + 200}")

    def test_10000_waiters_one_store(self):
        server = self.start("--maxclients", str(WAITERS + 100), "--wait-max", "300s",
                            "--lease", "1h")
        control = self.connect(server)
        self.assertEqual(control.call("PING"), "PONG")
        base, base_descriptors = server.rss_bytes(), server.descriptors()
        token = self.claim(control, "k")[0]
        started = time.monotonic()
        poll = select.epoll()
        waiting = {}
        for number in range(WAITERS):
            client = Client(server, source=f"127.0.2.{1 + number % 8}")
            client.send(*(("CLAIM", "k", "WAIT", 300_000) if number % 2
                          else ("WAIT", "k", 300_000)))
            client.sock.setblocking(False)
            waiting[client.sock.fileno()] = client
            poll.register(client.sock.fileno(), select.EPOLLIN)
        try:
            server.await_blocked(WAITERS, control)
            self.assert_error(control.call("CLAIM", "k", "WAIT", 1000), "BUSYKEY")
            parked = time.monotonic()
            body = bytes(range(256)) * (BODY_BYTES // 256)
            control.send("STORE", "k", token, body)
            self.gather(poll, dict(waiting), body)
            self.assertEqual(control.read(), WAITERS)
            answered = time.monotonic()
            grown = (server.peak_rss_bytes() - base) / MIB
            measured(f"{WAITERS} waiters parked in {parked - started:.1f} s, answered with 64 KiB "
                     f"in {answered - parked:.2f} s; the server's peak grew by {grown:.1f} MiB")
            if not INSTRUMENTED:
                self.assertLess(grown, 64)
        finally:
            poll.close()
            for client in waiting.values():
                client.close()
        server.await_descriptors(base_descriptors)

    def gather(self, poll, waiting, body):
        head = b"*5\r\n$4\r\nDONE\r\n$%d\r\n%s\r\n$-1\r\n:" % (len(body), body)
        tail = re.compile(rb"\d+\r\n:\d+\r\n")
        while waiting:
            ready = poll.poll(HANG_SECONDS)
            self.assertTrue(ready, f"{len(waiting)} were never answered")
            for descriptor, _ in ready:
                client = waiting[descriptor]
                data = client.sock.recv(1 << 18)
                self.assertTrue(data, "a waiter's connection was closed")
                client.buffer += data
                if len(client.buffer) > len(head) and tail.fullmatch(client.buffer, len(head)):
                    self.assertTrue(client.buffer.startswith(head))
                    client.buffer.clear()
                    poll.unregister(descriptor)
                    del waiting[descriptor]


class MassExpiry(ServerCase):
    """All keys are due in the same turn: the server is stopped until the last of them has expired."""

    def test_a_million_keys_expire_in_the_same_turn(self):
        server = self.start("--threads", "1")  # so that the bystander is on the loop that expires them
        client, bystander = self.connect(server), self.connect(server)
        self.assertEqual(bystander.call("PING"), "PONG")
        base = self.memory(server, client)
        with self.filled_and_stopped(server, client) as end:
            full = self.memory(server)
            time.sleep(max(0.0, end - time.monotonic()))
            bystander.send_raw(b"DBSIZE\r\n" * QUEUED)
        woken = time.monotonic()
        left = [bystander.read() for _ in range(QUEUED)]
        samples = self.watch(bystander, left)
        ended = time.monotonic()
        self.assertEqual(left, sorted(left, reverse=True), "the number of keys only falls")
        # One turn of the server expires a few thousand keys and runs some hundred commands.
        self.assertGreater(left[QUEUED - 1], ENDING_KEYS // 2,
                           f"the keys expired before {QUEUED} commands that had been sent already ran")
        given_back = self.await_memory(server, client, base, full)
        shown = " -> ".join(f"{used / MIB:.1f}" for used in (base[0], full[0], given_back[0]))
        shown_rss = " -> ".join(f"{rss / MIB:.1f}" for rss in (base[1], full[1], given_back[1]))
        measured(f"{ENDING_KEYS} keys ended in {ended - woken:.2f} s: used {shown} MiB, rss "
                 f"{shown_rss} MiB after {time.monotonic() - woken:.2f} s; {len(samples)} PINGs "
                 f"meanwhile, p50 {percentile(samples, 0.5):.2f} ms, p99.9 "
                 f"{percentile(samples, 0.999):.2f} ms, worst {max(samples):.2f} ms")

    def test_keys_that_stay_hold_little_memory_of_expired_ones(self):
        """Every fourth key stays; it lies between keys that expire."""
        server = self.start()
        client = self.connect(server)
        base = self.memory(server, client)
        self.fill(client, 4.0, lives_on=4)
        full = self.memory(server, client)
        eventually(lambda: client.call("DBSIZE") == ENDING_KEYS // 4, "the end of all others")
        ended = time.monotonic()

        def given_back():
            used, rss = self.memory(server, client)
            self.assertGreater(used - base[0], 0.15 * (full[0] - base[0]))
            kept = used - base[0] > 0.35 * (full[0] - base[0])
            if not INSTRUMENTED:
                kept = kept or rss - base[1] > 1.1 * (used - base[0]) + 16 * MIB
            return None if kept else (used, rss)
        used, rss = eventually(given_back, "the memory of those that ended")
        measured(f"{ENDING_KEYS // 4} keys lived on: used {full[0] / MIB:.1f} -> "
                 f"{used / MIB:.1f} MiB, rss {full[1] / MIB:.1f} -> {rss / MIB:.1f} MiB after "
                 f"{time.monotonic() - ended:.2f} s")

    def memory(self, server, client=None):
        """(used_memory, resident bytes). Without a client, used_memory as last asked."""
        if client is not None:
            self.used = int(server.info("memory", client)["used_memory"])
        return self.used, server.rss_bytes()

    @contextlib.contextmanager
    def filled_and_stopped(self, server, client):
        """Yields the moment at which all keys have expired. A machine that is too slow gets a later one."""
        ahead = 4.0
        while True:
            end = self.fill(client, ahead)
            count = client.call("DBSIZE")
            self.memory(server, client)
            with server.stopped():
                if time.monotonic() < end - 0.1:
                    self.assertEqual(count, ENDING_KEYS)
                    yield end
                    return
            ahead *= 3
            self.assertLess(ahead, 2000, "the keys end sooner than they can be stored")
            eventually(lambda: client.call("DBSIZE") == 0, "an empty keyspace")

    def fill(self, client, ahead, lives_on=0):
        """Claims all keys, then stores them with TTLs that all end at the moment that is returned:
        `ahead` seconds from now, plus twice as long as the claims took. One of every `lives_on` keys
        gets a TTL of a day."""
        started = time.monotonic()
        tokens, batch = [], 10_000
        claim = b"*4\r\n$5\r\nCLAIM\r\n$36\r\n%036d\r\n$5\r\nLEASE\r\n$7\r\n3600000\r\n"
        store = (b"*6\r\n$5\r\nSTORE\r\n$36\r\n%036d\r\n$%d\r\n%s\r\n$100\r\n%s\r\n"
                 b"$3\r\nTTL\r\n$%d\r\n%s\r\n")
        pattern = re.compile(rb"CLAIMED\r\n:(\d+)\r\n")
        for start in range(0, ENDING_KEYS, batch):
            data = b"".join(claim % n for n in range(start, start + batch))
            reply = exchange(client.sock, data, lambda got: got.count(b"$-1\r\n") >= batch)
            tokens += pattern.findall(reply)
        self.assertEqual(len(tokens), ENDING_KEYS, "a grant for every key")
        end = time.monotonic() + ahead + 2 * (time.monotonic() - started)
        body = b"x" * 100
        for start in range(0, ENDING_KEYS, batch):
            soon = b"%d" % max(1, int((end - time.monotonic()) * 1000))
            left = [b"86400000" if lives_on and n % lives_on == 0 else soon
                    for n in range(start, start + batch)]
            data = b"".join(store % (n, len(tokens[n]), tokens[n], body, len(ttl), ttl)
                            for n, ttl in zip(range(start, start + batch), left))
            reply = exchange(client.sock, data, lambda got: len(got) >= 4 * batch)
            self.assertEqual(reply, b":0\r\n" * batch)
        return end

    def watch(self, bystander, left):
        """PING and DBSIZE in a closed loop until all keys are gone; milliseconds of each PING."""
        samples, deadline = [], time.monotonic() + HANG_SECONDS
        while left[-1] > 0:
            self.assertLess(time.monotonic(), deadline, f"{left[-1]} keys never ended")
            before = time.monotonic()
            self.assertEqual(bystander.call("PING"), "PONG")
            samples.append((time.monotonic() - before) * 1000)
            left.append(bystander.call("DBSIZE"))
        return samples or [0.0]

    def await_memory(self, server, client, base, full):
        def given_back():
            used, rss = self.memory(server, client)
            kept = used - base[0] >= 0.02 * (full[0] - base[0]) + MIB
            if not INSTRUMENTED:
                kept = kept or rss - base[1] >= 0.1 * (full[1] - base[1]) + 4 * MIB
            return None if kept else (used, rss)
        try:
            return eventually(given_back)
        except AssertionError:
            now = self.memory(server, client)
            raise AssertionError(f"memory is not given back: used and resident bytes {base} empty, "
                                 f"{full} full, {now} after {HANG_SECONDS} s") from None


class Connections(ServerCase):
    def test_many_opened_and_closed(self):
        server = self.start()
        control = self.connect(server)
        self.assertEqual(control.call("PING"), "PONG")
        descriptors = server.descriptors()
        self.cycle(server, 2000)  # so that first-time costs of the allocator and the loop are not counted
        server.await_descriptors(descriptors)
        eventually(lambda: server.info("clients", control)["connected_clients"] == "1",
                   "one connection left")
        base = (descriptors, int(server.info("memory", control)["used_memory"]),
                server.rss_bytes())
        started = time.monotonic()
        self.cycle(server, CONNECTIONS)
        elapsed = time.monotonic() - started
        eventually(lambda: server.info("clients", control)["connected_clients"] == "1",
                   "one connection left")
        server.await_descriptors(base[0])

        def given_back():
            used = int(server.info("memory", control)["used_memory"])
            rss = server.rss_bytes()
            kept = used - base[1] >= 64 * 1024 or (not INSTRUMENTED and rss - base[2] >= 4 * MIB)
            return None if kept else (used, rss)
        used, rss = eventually(given_back, f"used and resident bytes as before: {base[1:]}")
        measured(f"{CONNECTIONS} connections in {elapsed:.1f} s; descriptors {base[0]} -> "
                 f"{server.descriptors()}, used {base[1]} -> {used} bytes, "
                 f"rss {base[2] / MIB:.1f} -> {rss / MIB:.1f} MiB")
        self.assertEqual(control.call("DBSIZE"), 0)

    @unittest.skipIf(INSTRUMENTED, "the sanitizer's allocator takes more")
    def test_idle_ones_are_cheap(self):
        directory = self.enterContext(tempfile.TemporaryDirectory())
        for unix in (False, True):
            path = os.path.join(directory, f"socket-{unix}")
            server = self.start("--unixsocket", path)
            target = path if unix else server
            with self.subTest(unix=unix), contextlib.ExitStack() as stack:
                for _ in range(100):  # the first connections allocate what all of them share
                    with Client(target) as client:
                        client.call("PING")
                server.info()
                base = server.rss_bytes()
                for _ in range(IDLE_CONNECTIONS):
                    client = stack.enter_context(Client(target))
                    self.assertEqual(client.call("PING"), "PONG")
                eventually(lambda: server.rss_bytes() - base <= IDLE_BYTES * IDLE_CONNECTIONS,
                           f"{IDLE_CONNECTIONS} idle connections in {IDLE_BYTES} bytes each")
                measured(f"{(server.rss_bytes() - base) / IDLE_CONNECTIONS:.0f} bytes for each of "
                         f"{IDLE_CONNECTIONS} idle connections")

    @staticmethod
    def cycle(server, count):
        """Of four connections one asks and closes, one sends RST, one half a command, one nothing."""
        half = encode("CLAIM", "half", "LEASE", 1000)[:-9]
        batch = 200
        for start in range(0, count, batch):
            # Several source addresses: a closed port cannot be used for a minute, and an address has 28,000.
            source = f"127.0.1.{1 + start // batch % 200}"
            clients = [Client(server, source=source) for _ in range(batch)]
            for client in clients[0::4]:
                client.send("PING")
            for client in clients[2::4]:
                client.send_raw(half)
            for client in clients[1::4]:
                client.reset()
            for client in clients[0::4]:
                client.read()
                client.close()
            for client in clients[2::4] + clients[3::4]:
                client.close()


class Memory(ServerCase):
    def test_granted_claims_can_be_stored_at_the_limit(self):
        server = self.start("--maxmemory", "64mb")
        control = self.connect(server)
        grants = 500
        control.send_raw(b"".join(encode("CLAIM", f"granted{n}") for n in range(grants)))
        tokens = [control.read()[1] for _ in range(grants)]
        refused = number = 0
        while not refused:
            control.send_raw(b"".join(encode("CLAIM", f"{n}" + "x" * 1000)
                                      for n in range(number, number + 1000)))
            refused = sum(isinstance(control.read(), RespError) for _ in range(1000))
            number += 1000
            self.assertLess(number, 1_000_000, "-OOM never came")
        self.assert_error(control.call("CLAIM", "one more" + "x" * 1000), "OOM")
        for n, token in enumerate(tokens):
            self.assertEqual(control.call("STORE", f"granted{n}", token, "b" * 1024), 0)
        for n in range(grants):
            self.assert_status(control.call("FETCH", f"granted{n}"), "DONE")
        used = int(server.info("memory", control)["used_memory"])
        measured(f"{number} claims fitted; used {used / MIB:.1f} of 64 MiB after {grants} STOREs")
        self.assertLess(used, 68 * MIB)
        # What was stored before the limit was reached is still there: nothing is evicted.
        self.assert_status(control.call("FETCH", "0" + "x" * 1000), "BUSY")

    def test_a_body_far_over_the_limit_is_not_buffered(self):
        server = self.start()
        control = self.connect(server)
        token = self.claim(control, "k")[0]
        base = server.rss_bytes()
        length = 200 * MIB
        control.send_raw(b"*4\r\n$5\r\nSTORE\r\n$1\r\nk\r\n$%d\r\n%d\r\n$%d\r\n"
                         % (len(str(token)), token, length))
        chunk = b"x" * MIB
        for _ in range(length // MIB):
            control.send_raw(chunk)
        control.send_raw(b"\r\n" + encode("PING"))
        self.assert_error(control.read(), "TOOBIG")
        self.assertEqual(control.read(), "PONG")
        grown = (server.peak_rss_bytes() - base) / MIB
        measured(f"a body of 200 MiB was skipped, the server's peak grew by {grown:.1f} MiB")
        if not INSTRUMENTED:
            self.assertLess(grown, 8)
        self.assertEqual(control.call("STORE", "k", token, "b"), 0)

    def test_half_sent_bodies_of_the_dead_come_back(self):
        server = self.start()
        control = self.connect(server)
        base = int(server.info("memory", control)["used_memory"])
        clients = [self.connect(server) for _ in range(8)]
        for client in clients:
            client.send_raw(b"*4\r\n$5\r\nSTORE\r\n$1\r\nk\r\n$1\r\n1\r\n$16000000\r\n"
                            + b"x" * (4 * MIB))
        for client in clients[::2]:
            client.reset()
        for client in clients[1::2]:
            client.close()
        eventually(lambda: server.info("clients", control)["connected_clients"] == "1",
                   "one connection left")
        eventually(lambda: int(server.info("memory", control)["used_memory"]) < base + 64 * 1024,
                   "the memory of half-sent bodies")


if __name__ == "__main__":
    unittest.main(verbosity=2)
