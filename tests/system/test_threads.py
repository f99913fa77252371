"""Several loops over one keyspace: every connection gets the answers of one server.

Connections that are opened one after another belong to different loops, since each goes to the loop
that has the fewest. Speed is not tested here; the machine may have one core.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import tempfile
import threading
import time
import unittest

from harness import (HANG_SECONDS, INSTRUMENTED, Client, Closed, Server, ServerCase, encode,
                     eventually, measured)

LOOPS = 4
FEWER = 5 if INSTRUMENTED else 1
HOUR_MS = 3600 * 1000


class ThreadsCase(ServerCase):
    def start_loops(self, *options, **settings):
        return self.start("--threads", LOOPS, *options, **settings)

    def open(self, server, count):
        """Opens so many connections, spread over the loops, and awaits that the server has them."""
        clients = [self.connect(server) for _ in range(count)]
        for client in clients:
            self.assertEqual(client.call("PING"), "PONG")
        return clients

    def loops(self, server, client):
        """What INFO says of each loop: a list of dicts."""
        fields = server.info("threads", client)
        return [dict((name, int(value)) for name, value in
                     (pair.split("=") for pair in fields[f"loop_{number}"].split(",")))
                for number in range(int(fields["threads"]))]

    @contextlib.contextmanager
    def at_work(self, server, count, work):
        """While the body runs, so many threads repeat work(client, number, turn). A failure in one of
        them is raised here."""
        stop, failures, turns = threading.Event(), [], [0] * count

        def run(number):
            try:
                with Client(server) as client:
                    while not stop.is_set():
                        work(client, number, turns[number])
                        turns[number] += 1
            except BaseException as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: failures or min(turns) > 0, "all threads at work")
            yield turns
        finally:
            stop.set()
            for thread in threads:
                thread.join(HANG_SECONDS)
        for thread in threads:
            self.assertFalse(thread.is_alive(), "a connection hangs")
        if failures:
            raise failures[0]

    def all_at_once(self, jobs):
        """Runs each function in a thread of its own and returns their results."""
        results, failures = [None] * len(jobs), []
        barrier = threading.Barrier(len(jobs))

        def run(number):
            try:
                barrier.wait(HANG_SECONDS)
                results[number] = jobs[number]()
            except BaseException as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(jobs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG_SECONDS * 10)
            self.assertFalse(thread.is_alive(), "a connection hangs")
        if failures:
            raise failures[0]
        return results

    def once(self, client, number, turn):
        """Claims a new key, is told BUSY by a second claim, stores, and fetches the response."""
        key, body = f"own:{number}:{turn}", f"body of {number}:{turn}".encode()
        token = self.claim(client, key)[0]
        self.assert_status(client.call("CLAIM", key), "BUSY")
        self.assertEqual(client.call("STORE", key, token, body), 0)
        reply = client.call("FETCH", key)
        self.assert_status(reply, "DONE")
        self.assertEqual(reply[1], body)

    def expect_all_stored(self, client, turns):
        """Every response that once() stored is there."""
        for number, count in enumerate(turns):
            for turn in range(count):
                client.send("FETCH", f"own:{number}:{turn}")
            for turn in range(count):
                self.assertEqual(client.read()[1], f"body of {number}:{turn}".encode())


class Starting(ThreadsCase):
    def test_refused_numbers_of_threads(self):
        for value in ("0", "65", "abc", "-1"):
            with self.subTest(value):
                server = Server("--threads", value, wait_ready=False)
                self.addCleanup(server.forget)
                self.assertEqual(server.leave(), 1)
                self.assertRegex(server.log(), rf"bad value '{value}' for threads")

    def test_numbers_of_threads(self):
        for count in (1, 2, 3, 64):
            with self.subTest(count):
                server = self.start("--threads", count)
                clients = self.open(server, 6)
                self.assertEqual(len(self.loops(server, clients[0])), count)
                self.assertEqual(clients[0].call("CONFIG", "GET", "threads"),
                                 [b"threads", str(count).encode()])
                for number, client in enumerate(clients):
                    self.once(client, number, 0)
                self.expect_all_stored(clients[0], [1] * 6)
                for client in clients:
                    client.close()
                server.stop()

    def test_connections_are_spread_evenly(self):
        server = self.start_loops()
        clients = self.open(server, 40)
        self.assertEqual([loop["clients"] for loop in self.loops(server, clients[0])], [10] * LOOPS)
        for client in clients[1::2]:
            client.close()
        eventually(lambda: sum(loop["clients"] for loop in self.loops(server, clients[0])) == 20,
                   "the end of half of them")
        self.open(server, 20)
        self.assertEqual([loop["clients"] for loop in self.loops(server, clients[0])], [10] * LOOPS)

    def test_every_loop_runs_commands(self):
        server = self.start_loops()
        clients = self.open(server, 8)
        before = self.loops(server, clients[0])
        for client in clients:
            for _ in range(10):
                client.call("PING")
        for was, loop in zip(before, self.loops(server, clients[0])):
            self.assertGreaterEqual(loop["commands"] - was["commands"], 20)

    def test_unix_socket(self):
        directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "idem.sock")
        server = self.start_loops("--unixsocket", path)
        control = self.connect(server)
        clients = self.open(path, 11)
        self.assertEqual([loop["clients"] for loop in self.loops(server, control)], [3] * LOOPS)
        for number, client in enumerate(clients):
            self.once(client, number, 0)
        self.claim(clients[0], "k", "BIND", "LEASE", HOUR_MS)
        clients[1].send("CLAIM", "k", "WAIT", 60000)
        server.await_blocked(1, control)
        clients[0].close()
        self.assert_status(clients[1].read(), "CLAIMED")

    def test_maxclients_counts_over_all_loops(self):
        server = self.start_loops("--maxclients", 10)
        clients = self.open(server, 10)
        for _ in range(5):
            with Client(server) as client:
                self.assertEqual(str(client.read()), "ERR max number of clients reached")
                self.assertTrue(client.ended())
        self.assertEqual(server.info("stats", clients[0])["rejected_connections"], "5")
        clients.pop().close()
        eventually(lambda: server.info("clients", clients[0])["connected_clients"] == "9",
                   "room for one")
        self.open(server, 1)


class Waiting(ThreadsCase):
    def herd(self, body):
        server = self.start_loops()
        control, *clients = self.open(server, 41)
        readers, claimers = clients[:8], clients[8:]
        token = self.claim(control, "k", "LEASE", HOUR_MS)[0]
        for client in claimers:
            client.send("CLAIM", "k", "WAIT", 60000)
        for client in readers:
            client.send("WAIT", "k", 60000)
        server.await_blocked(40, control)
        self.assertEqual([loop["waiting"] for loop in self.loops(server, control)], [10] * LOOPS)
        self.assertEqual(control.call("STORE", "k", token, body), 40)
        replies = {client.read_raw() for client in clients}
        self.assertEqual(len(replies), 1, "all bytes identical")
        self.assertIn(body, replies.pop())
        server.await_blocked(0, control)

    def test_one_store_answers_all_loops(self):
        self.herd(b"short")

    def test_one_store_of_100_kb_answers_all_loops(self):
        self.herd(os.urandom(100 * 1024))

    def test_one_store_of_4_mb_answers_all_loops(self):
        self.herd(os.urandom(4 * 1024 * 1024))

    def test_the_end_of_an_owner_grants_a_waiter_of_another_loop(self):
        server = self.start_loops()
        control, worst_ms = self.connect(server), 0.0
        for number in range(24):
            owner, waiter = self.open(server, 2)
            key = f"k{number}"
            self.claim(owner, key, "BIND", "LEASE", HOUR_MS)
            waiter.send("CLAIM", key, "WAIT", 60000)
            server.await_blocked(1, control)
            started = time.monotonic()
            (Client.close, Client.reset, Client.half_close)[number % 3](owner)
            reply = waiter.read()
            worst_ms = max(worst_ms, (time.monotonic() - started) * 1000)
            self.assert_status(reply, "CLAIMED")
            self.assertEqual(reply[3], 2, "the second attempt")
        measured(f"granted on another loop at most {worst_ms:.1f} ms after the owner's end")

    def test_an_owner_of_keys_in_all_shards(self):
        server = self.start_loops()
        control, owner = self.open(server, 2)
        for number in range(1000):
            owner.send("CLAIM", f"k{number}", "BIND", "LEASE", HOUR_MS)
        for number in range(1000):
            self.assert_status(owner.read(), "CLAIMED")
        self.assertEqual(control.call("DBSIZE"), 1000)
        owner.close()
        eventually(lambda: server.info("idem", control)["lapsed"] == "1000",
                   "the end of 1000 bound claims")
        for number in range(1000):
            self.assert_status(control.call("FETCH", f"k{number}"), "LAPSED")

    def test_release_chain_is_in_order_of_arrival(self):
        server = self.start_loops()
        control, *waiters = self.open(server, 31)
        token = self.claim(control, "k")[0]
        for number, waiter in enumerate(waiters):
            waiter.send("CLAIM", "k", "WAIT", 60000)
            server.await_blocked(number + 1, control)
        owner = control
        for waiter in waiters:
            self.assertEqual(owner.call("RELEASE", "k", token), 1)
            reply = waiter.read()
            self.assert_status(reply, "CLAIMED")
            self.assertGreater(reply[1], token)
            self.assertEqual(reply[3], 1)
            owner, token = waiter, reply[1]

    def test_a_dead_waiter_is_passed_over(self):
        server = self.start_loops()
        control, *waiters = self.open(server, 9)
        token = self.claim(control, "k")[0]
        for number, waiter in enumerate(waiters):
            waiter.send("CLAIM", "k", "WAIT", 60000)
            server.await_blocked(number + 1, control)
        for waiter in waiters[:7]:
            waiter.close()
        server.await_blocked(1, control)
        self.assertEqual(control.call("RELEASE", "k", token), 1)
        self.assert_status(waiters[7].read(), "CLAIMED")

    def test_deadlines_of_shards_whose_loops_have_no_connection(self):
        """There is one connection, and it only asks for figures."""
        server = self.start_loops()
        control = self.connect(server)
        for number in range(400):
            control.send("CLAIM", f"lease{number}", "LEASE", 20)
            control.send("SET", f"value{number}", "x", "PX", 20)
        for number in range(400):
            self.assert_status(control.read(), "CLAIMED")
            self.assertEqual(control.read(), "OK")
        eventually(lambda: server.info("idem", control)["leases_over"] == "400",
                   "the end of 400 leases")
        eventually(lambda: server.info("idem", control)["values"] == "0", "the end of 400 values")
        self.assertEqual(server.info("idem", control)["lapsed"], "400")

    def test_the_end_of_a_lease_grants_waiters_of_any_loop(self):
        server = self.start_loops()
        control, *waiters = self.open(server, 25)
        for number in range(len(waiters)):
            self.claim(control, f"k{number}", "LEASE", 100)
        for number, waiter in enumerate(waiters):
            waiter.send("CLAIM", f"k{number}", "WAIT", 60000)
        for waiter in waiters:
            reply = waiter.read()
            self.assert_status(reply, "CLAIMED")
            self.assertEqual(reply[3], 2)

    def test_waits_end_by_themselves(self):
        server = self.start_loops()
        control, *waiters = self.open(server, 25)
        for number in range(len(waiters)):
            self.claim(control, f"k{number}", "LEASE", HOUR_MS)
        for number, waiter in enumerate(waiters):
            waiter.send("CLAIM", f"k{number}", "WAIT", 50)
        for waiter in waiters:
            self.assert_status(waiter.read(), "BUSY")


class Rare(ThreadsCase):
    """Commands that look at what belongs to all loops."""

    def test_while_all_loops_are_busy(self):
        server = self.start_loops()
        control, *others = self.open(server, 5)
        with self.at_work(server, 8, self.once) as turns:
            self.all_at_once([lambda client=client: self.look_around(server, client, 120 // FEWER)
                              for client in others])
        self.expect_all_stored(control, turns)
        self.assertEqual(control.call("DBSIZE"), sum(turns))
        server.await_blocked(0, control)

    def look_around(self, server, client, rounds):
        own_id = client.call("CLIENT", "ID")
        for number in range(rounds):
            listed = client.call("CLIENT", "LIST").decode()
            self.assertIn(f"id={own_id} ", listed)
            self.assertGreaterEqual(listed.count("\n"), 13)
            self.assertGreaterEqual(int(server.info("all", client)["connected_clients"]), 13)
            self.assertEqual(client.call("CONFIG", "SET", "lease", 60000 + number), "OK")
            self.assertEqual(client.call("CONFIG", "RESETSTAT"), "OK")
            self.assertEqual(client.call("CLIENT", "PAUSE", 5, "WRITE"), "OK")
            self.assertEqual(client.call("CLIENT", "UNPAUSE"), "OK")
            self.assertIsInstance(client.call("PUBSUB", "NUMPAT"), int)
            self.assertIsInstance(client.call("SLOWLOG", "LEN"), int)
            with Client(server) as victim:
                victim_id = victim.call("CLIENT", "ID")
                token = self.claim(client, f"held:{victim_id}")[0]
                victim.send("WAIT", f"held:{victim_id}", 60000)
                if number % 2 == 0:
                    eventually(lambda: client.call("CLIENT", "UNBLOCK", victim_id) == 1,
                               "a waiter to unblock")
                    self.assert_status(victim.read(), "BUSY")
                self.assertEqual(client.call("CLIENT", "KILL", "ID", victim_id), 1)
                self.assertTrue(victim.ended())
                self.assertEqual(client.call("RELEASE", f"held:{victim_id}", token), 1)

    def test_kill_reaches_every_loop(self):
        server = self.start_loops()
        control, *victims = self.open(server, 17)
        for victim in victims:
            self.assertEqual(control.call("CLIENT", "KILL", "ID", victim.call("CLIENT", "ID")), 1)
            self.assertTrue(victim.ended())
        eventually(lambda: server.info("clients", control)["connected_clients"] == "1",
                   "no other client")
        others = self.open(server, 16)
        self.assertEqual(control.call("CLIENT", "KILL", "TYPE", "normal"), 16)
        for victim in others:
            self.assertTrue(victim.ended())
        self.assertEqual(control.call("PING"), "PONG")

    def test_unblock_reaches_every_loop(self):
        server = self.start_loops()
        control, *waiters = self.open(server, 9)
        ids = [waiter.call("CLIENT", "ID") for waiter in waiters]
        self.claim(control, "k", "LEASE", HOUR_MS)
        for waiter in waiters:
            waiter.send("CLAIM", "k", "WAIT", 60000)
        server.await_blocked(8, control)
        for number, (client_id, waiter) in enumerate(zip(ids, waiters)):
            self.assertEqual(control.call("CLIENT", "UNBLOCK", client_id), 1)
            self.assert_status(waiter.read(), "BUSY")
            self.assertEqual(control.call("CLIENT", "UNBLOCK", client_id), 0)
            server.await_blocked(7 - number, control)

    def test_pause_and_unpause_are_for_every_loop(self):
        server = self.start_loops()
        control, *clients = self.open(server, 9)
        self.assertEqual(control.call("CLIENT", "PAUSE", HOUR_MS, "WRITE"), "OK")
        for number, client in enumerate(clients):
            client.send("CLAIM", f"k{number}")
            self.assertFalse(client.readable())
        # Meanwhile, reads are answered, except those pipelined after a delayed write.
        self.assertEqual(control.call("DBSIZE"), 0)
        for client in clients:
            client.send("DBSIZE")
        self.assertEqual(control.call("EXISTS", *(f"k{n}" for n in range(8))), 0)
        self.assertEqual([c for c in clients if c.readable()], [])
        self.assertEqual(control.call("CLIENT", "UNPAUSE"), "OK")
        for client in clients:
            self.assert_status(client.read(), "CLAIMED")
            self.assertIn(client.read(), range(1, 9))

    def test_config_set_reaches_every_loop_and_shard(self):
        server = self.start_loops()
        control, *clients = self.open(server, 9)
        self.assertEqual(control.call("CONFIG", "SET", "lease", "5s"), "OK")
        for number, client in enumerate(clients):
            self.assertEqual(self.claim(client, f"k{number}")[1], 5000)
        self.assertEqual(control.call("CONFIG", "SET", "maxmemory", 1), "OK")
        for number in range(200):
            self.assert_error(clients[number % 8].call("CLAIM", f"l{number}"), "OOM")
        self.assertEqual(server.info("idem", control)["refused_memory"], "200")
        self.assertEqual(control.call("CONFIG", "SET", "maxmemory", 0), "OK")
        for number in range(200):
            self.claim(clients[number % 8], f"l{number}")

    def test_resetstat_and_counters_are_of_all_loops(self):
        server = self.start_loops()
        control, *clients = self.open(server, 9)
        for number, client in enumerate(clients):
            self.once(client, number, 0)
        self.assertEqual(server.info("idem", control)["claims_granted"], "8")
        self.assertEqual(server.info("idem", control)["busy"], "8")
        self.assertRegex(server.info("commandstats", control)["cmdstat_store"], "^calls=8,")
        self.assertEqual(control.call("CONFIG", "RESETSTAT"), "OK")
        fields = server.info("all", control)
        self.assertEqual(fields["claims_granted"], "0")
        self.assertNotIn("cmdstat_store", fields)
        self.assertEqual(fields["done"], "8")

    def test_client_list_has_each_client_once(self):
        server = self.start_loops()
        clients = self.open(server, 33)
        ids = sorted(client.call("CLIENT", "ID") for client in clients)
        for client in clients[:5]:
            listed = re.findall(r"^id=(\d+) ", client.call("CLIENT", "LIST").decode(), re.M)
            self.assertEqual(sorted(map(int, listed)), ids)


class AllShards(ThreadsCase):
    def test_transactions_are_atomic(self):
        server = self.start_loops()
        pairs = [(f"a{n}", f"b{n}") for n in range(8)]

        def work(client, number, turn):
            left, right = pairs[turn % len(pairs)]
            client.send("MULTI")
            if number < 4:
                value = f"{number}:{turn}"
                client.send("SET", left, value)
                client.send("SET", right, value)
            else:
                client.send("GET", left)
                client.send("GET", right)
            client.send("EXEC")
            *queued, reply = [client.read() for _ in range(4)]
            self.assertEqual(queued, ["OK", "QUEUED", "QUEUED"])
            self.assertEqual(reply[0], reply[1], "between the two")

        with self.at_work(server, 8, work) as turns:
            eventually(lambda: min(turns) >= 500 // FEWER, "500 transactions of each")

    def test_commands_of_several_keys_are_atomic(self):
        server = self.start_loops()
        count = 32  # so many locks are taken one after another that another loop gets between them

        def work(client, number, turn):
            keys = [f"k{turn % 5}-{n}" for n in range(count)]
            if number == 0:
                self.assertIn(client.call("DEL", *keys), (0, count))
            elif number == 1:
                client.send_raw(encode("MULTI") + b"".join(encode("SET", k, 1) for k in keys)
                                + encode("EXEC"))
                for _ in range(count + 1):
                    client.read()
                self.assertEqual(client.read(), ["OK"] * count)
            else:
                self.assertIn(client.call("EXISTS", *keys), (0, count))
                self.assertIn(client.call("MGET", *keys), ([b"1"] * count, [None] * count))

        with self.at_work(server, 4, work) as turns:
            eventually(lambda: min(turns) >= 500 // FEWER, "500 commands of each")

    def come_and_go(self, client, number, turn):
        """Adds and deletes keys, so that the tables grow and shrink. Others may or may not see the keys."""
        keys = [f"passing:{number}:{n}" for n in range(50)]
        for key in keys:
            client.send("SET", key, turn)
        client.send("DEL", *keys)
        for _ in keys:
            self.assertEqual(client.read(), "OK")
        self.assertLessEqual(client.read(), 50)

    def fill(self, client, prefix, count):
        for number in range(count):
            client.send("SET", f"{prefix}{number}", "x")
        for number in range(count):
            self.assertEqual(client.read(), "OK")
        return {f"{prefix}{number}".encode() for number in range(count)}

    def test_scan_keys_dbsize_randomkey_while_others_write(self):
        server = self.start_loops()
        control, *others = self.open(server, 4)
        stays = self.fill(control, "stays:", 2000)

        def look(client):
            for count in (1, 10, 1000):
                seen, cursor = [], b"0"
                while True:
                    cursor, keys = client.call("SCAN", cursor, "COUNT", count)
                    self.assertLess(int(cursor), 2**53)
                    seen += keys
                    if cursor == b"0":
                        break
                self.assertLessEqual(stays, set(seen))
                self.assertTrue(all(key.startswith((b"stays:", b"passing:")) for key in seen))
            self.assertEqual(sorted(client.call("KEYS", "stays:*")), sorted(stays))
            self.assertIn(client.call("DBSIZE"), range(2000, 2201))
            self.assertRegex(client.call("RANDOMKEY"), b"^(stays|passing):")

        with self.at_work(server, 4, self.come_and_go):
            self.all_at_once([lambda client=client: look(client) for client in others])
        self.assertEqual(control.call("DBSIZE"), 2000)
        keys, cursor = [], b"0"
        while True:
            cursor, some = control.call("SCAN", cursor, "MATCH", "stays:*", "TYPE", "string")
            keys += some
            if cursor == b"0":
                break
        self.assertEqual(sorted(keys), sorted(stays), "undisturbed, each once")

    def test_randomkey_finds_keys_of_many_shards(self):
        server = self.start_loops()
        control = self.connect(server)
        keys = self.fill(control, "k", 200)
        seen = set()

        def many_seen():
            seen.add(control.call("RANDOMKEY"))
            return len(seen) >= 100
        eventually(many_seen, "half of the keys by RANDOMKEY")
        self.assertLessEqual(seen, keys)

    def test_flushall_takes_all_that_was_there(self):
        server = self.start_loops()
        control, waiter = self.open(server, 2)
        with self.at_work(server, 4, self.come_and_go):
            for number in range(20):
                self.fill(control, f"old{number}:", 500)
                self.claim(control, f"held{number}", "LEASE", HOUR_MS)
                waiter.send("CLAIM", f"held{number}", "WAIT", 60000)
                server.await_blocked(1, control)
                self.assertEqual(control.call("FLUSHALL"), "OK")
                self.assertEqual(control.call("KEYS", "old*"), [])
                self.assertLessEqual(control.call("DBSIZE"), 4 * 50 + 1)
                self.assert_status(waiter.read(), "CLAIMED")
        self.assertEqual(control.call("FLUSHALL"), "OK")
        self.assertEqual(control.call("DBSIZE"), 0)
        self.assertIsNone(control.call("RANDOMKEY"))


class Messages(ThreadsCase):
    def test_messages_of_several_publishers_come_in_the_order_of_their_replies(self):
        server = self.start_loops()
        subscriber, *publishers = self.open(server, 9)
        subscriber.call("SUBSCRIBE", "c")
        rounds = 2000 // FEWER
        for number in range(rounds):
            publisher = publishers[number % len(publishers)]
            self.assertEqual(publisher.call("PUBLISH", "c", number), 1)
        got = [int(subscriber.read()[2]) for _ in range(rounds)]
        self.assertEqual(got, list(range(rounds)))

    def test_effects_of_a_key_come_in_their_order(self):
        server = self.start_loops()
        subscriber, owner, other = self.open(server, 3)
        subscriber.call("PSUBSCRIBE", "__idem__:*")
        for number in range(50 // FEWER):
            token = self.claim(owner, f"k{number}")[0]
            owner.send_raw(encode("STORE", f"k{number}", token, "body") + encode("PING") * 200)
            eventually(lambda: other.call("GET", f"k{number}") == b"body", "the response")
            self.assertEqual(other.call("DEL", f"k{number}"), 1)
            self.assertEqual([subscriber.read()[3] for _ in range(2)], [b"done", b"free"])
            self.assertEqual(owner.read(), 0)
            self.assertEqual([owner.read() for _ in range(200)], ["PONG"] * 200)

    def test_messages_keep_the_order_of_each_publisher(self):
        server = self.start_loops()
        control, *subscribers = self.open(server, 10)
        for number, subscriber in enumerate(subscribers):
            if number % 3 == 0:
                subscriber.call("PSUBSCRIBE", "news*")
            else:
                subscriber.call("SUBSCRIBE", "news")
        count = 1000 // FEWER

        def publish(name):
            with Client(server) as client:
                for number in range(count):
                    client.send("PUBLISH", "news", f"{name} {number}")
                return [client.read() for _ in range(count)]

        def receive(subscriber):
            last = {}
            for _ in range(4 * count):
                name, number = subscriber.read()[-1].split()
                self.assertEqual(int(number), last.get(name, -1) + 1)
                last[name] = int(number)
            return last

        results = self.all_at_once(
            [lambda name=name: publish(name) for name in ("p", "q", "r", "s")] +
            [lambda subscriber=subscriber: receive(subscriber) for subscriber in subscribers])
        for receivers in results[:4]:
            self.assertEqual(set(receivers), {9})
        self.assertEqual(control.call("PUBSUB", "NUMSUB", "news"), [b"news", 6])
        self.assertEqual(control.call("PUBSUB", "NUMPAT"), 1)

    def test_a_later_subscriber_gets_no_older_message(self):
        server = self.start_loops()
        publisher, *subscribers = self.open(server, 25)
        for number, subscriber in enumerate(subscribers):
            publisher.call("PUBLISH", "c", number)
            subscriber.call("SUBSCRIBE", "c")
        for number, subscriber in enumerate(subscribers):
            for expected in range(number + 1, len(subscribers)):
                self.assertEqual(subscriber.read()[2], str(expected).encode())

    def test_effects_reach_subscribers_of_every_loop(self):
        server = self.start_loops()
        control, owner, *subscribers = self.open(server, 10)
        for number, subscriber in enumerate(subscribers):
            subscriber.call("PSUBSCRIBE", "__idem__:*")
        for number in range(100):
            token = self.claim(owner, f"k{number}")[0]
            (owner if number % 2 else control).call("STORE", f"k{number}", token, "x")
        for subscriber in subscribers:
            told = [subscriber.read()[2:] for _ in range(100)]
            self.assertEqual(sorted(told), sorted([f"__idem__:k{n}".encode(), b"done"]
                                                  for n in range(100)))

    def test_monitor_sees_every_loop_in_order(self):
        server = self.start_loops()
        watchers = self.open(server, 4)
        for watcher in watchers:
            self.assertEqual(watcher.call("MONITOR"), "OK")
        count = 200 // FEWER

        def talk(name):
            with Client(server) as client:
                for number in range(count):
                    client.send("ECHO", f"{name}-{number}")
                for number in range(count):
                    client.read()

        def watch(watcher):
            last = {}
            while sum(last.values()) < 4 * (count - 1) or len(last) < 4:
                found = re.search(r'"ECHO" "(\w)-(\d+)"$', watcher.read())
                if found:
                    name, number = found.group(1), int(found.group(2))
                    self.assertEqual(number, last.get(name, -1) + 1)
                    last[name] = number

        self.all_at_once([lambda name=name: talk(name) for name in "pqrs"] +
                         [lambda watcher=watcher: watch(watcher) for watcher in watchers])


class Fencing(ThreadsCase):
    def test_each_of_10000_keys_is_granted_once(self):
        server = self.start_loops()
        keys = [f"key:{number}" for number in range(10000 // FEWER)]

        def grab(seed):
            order = list(keys)
            random.Random(seed).shuffle(order)
            tokens = {}
            with Client(server) as client:
                for first in range(0, len(order), 500):
                    batch = order[first:first + 500]
                    client.send_raw(b"".join(encode("CLAIM", key, "LEASE", HOUR_MS)
                                             for key in batch))
                    for key in batch:
                        reply = client.read()
                        if reply[0] == b"CLAIMED":
                            tokens[key] = reply[1]
                        else:
                            self.assert_status(reply, "BUSY")
            return tokens

        results = self.all_at_once([lambda seed=seed: grab(seed) for seed in range(16)])
        self.assertEqual(sum(map(len, results)), len(keys), "a key was granted twice, or never")
        tokens = {}
        for result in results:
            tokens.update(result)
        self.assertEqual(len(tokens), len(keys))
        self.assertEqual(len(set(tokens.values())), len(keys), "a token was given twice")

    def test_a_hundred_owners_of_one_key_run_one_after_another(self):
        server = self.start_loops()
        running, order = [], []

        def run():
            with Client(server) as client:
                for _ in range(5):
                    token = self.claim(client, "k", "WAIT", 60000, "LEASE", HOUR_MS)[0]
                    running.append(token)
                    self.assertEqual(running, [token], "two at once")
                    order.append(token)
                    running.remove(token)
                    self.assertEqual(client.call("RELEASE", "k", token), 1)

        self.all_at_once([run] * 20)
        self.assertEqual(len(order), 100)
        self.assertEqual(order, sorted(set(order)), "tokens rise")


class Leaving(ThreadsCase):
    def drain(self, leave):
        """Commands sent before the drain are answered, waiters get BUSY, nobody is granted a claim any
        more, and when none is held the exit status is 0."""
        server = self.start_loops("--drain-timeout", "1h")
        control, *clients = self.open(server, 25)
        waiters, talkers = clients[:8], clients[8:]
        self.claim(control, "held", "LEASE", HOUR_MS)
        for waiter in waiters:
            waiter.send("CLAIM", "held", "WAIT", 60000)
        server.await_blocked(8, control)
        for number, talker in enumerate(talkers):
            talker.send_raw(b"".join(encode("CLAIM", f"k{number}:{n}") for n in range(1000)))
        leave(server, control)
        for waiter in waiters:
            self.assert_status(waiter.read(), "BUSY")
        granted = 0
        for talker in talkers:
            replies = [talker.read() for _ in range(1000)]
            claimed = [isinstance(reply, list) and reply[0] == b"CLAIMED" for reply in replies]
            self.assertEqual(claimed, sorted(claimed, reverse=True), "none after a refusal")
            for reply in replies[sum(claimed):]:
                self.assert_error(reply, "DRAINING")
            granted += sum(claimed)
        self.assertEqual(int(server.info("idem", control)["held"]), granted + 1)
        self.assertEqual(control.call("FLUSHALL"), "OK")
        for client in [*waiters, *talkers, control]:
            self.assertTrue(client.ended())
            client.close()
        self.assertEqual(server.leave(), 0)
        self.assertIn("stopped", server.log())

    def test_sigterm_answers_all_loops(self):
        self.drain(lambda server, control: server.signal(signal.SIGTERM))

    def test_shutdown_answers_all_loops(self):
        self.drain(lambda server, control: control.send("SHUTDOWN"))

    def test_shutdown_on_any_loop(self):
        for number in range(LOOPS):
            with self.subTest(number):
                server = self.start_loops()
                clients = self.open(server, LOOPS)
                clients[number].send("SHUTDOWN")
                for client in clients:
                    self.assertTrue(client.ended())
                    client.close()
                self.assertEqual(server.leave(), 0)

    def test_sigterm_while_all_clients_work(self):
        """All connections end, no client hangs, and the exit status is 0."""
        server = self.start_loops()
        ended = []

        def work(client, number, turn):
            try:
                self.once(client, number, turn)
            except (Closed, BrokenPipeError, ConnectionResetError):
                ended.append(number)
                raise
            except AssertionError as error:
                if "DRAINING" not in str(error):  # it lets others finish
                    raise

        with self.assertRaises((Closed, OSError)):
            with self.at_work(server, 12, work) as turns:
                eventually(lambda: sum(turns) > 100, "some work")
                server.signal(signal.SIGTERM)
                self.assertEqual(server.leave(), 0)
                eventually(lambda: len(ended) == 12, "the end of all connections")

    def test_sigterm_twice_does_not_wait(self):
        server = self.start_loops("--drain-timeout", "1h")
        clients = self.open(server, 8)
        token = self.claim(clients[0], "k")[0]
        self.assertEqual(clients[0].call("STORE", "k", token, b"x" * 2**22), 0)
        for client in clients:
            client.send_raw(encode("FETCH", "k") * 50)
        eventually(lambda: all(client.readable() for client in clients), "replies that are ready")
        server.signal(signal.SIGTERM)
        eventually(lambda: "SIGTERM" in server.log(), "the drain")
        self.assertIsNone(server.process.poll())
        server.signal(signal.SIGTERM)
        self.assertEqual(server.leave(), 0)

    def test_a_second_sigterm_counts_when_the_first_loop_has_no_connection_left(self):
        server = self.start_loops("--drain-timeout", "1h")
        clients = self.open(server, 8)
        token = self.claim(clients[0], "k")[0]
        self.assertEqual(clients[0].call("STORE", "k", token, b"x" * 2**22), 0)
        stuck = clients[1]  # connections go to the loops in turn: this one is not the first loop's
        stuck.send_raw(encode("FETCH", "k") * 50)
        eventually(stuck.readable, "replies that are ready")
        server.signal(signal.SIGTERM)
        for client in clients[:1] + clients[2:]:
            self.assertTrue(client.ended(), "drained")
            client.close()
        server.signal(signal.SIGTERM)
        self.assertEqual(server.leave(), 0)

    def test_the_drain_timeout_is_for_every_loop(self):
        server = self.start_loops("--drain-timeout", "300ms")
        clients = self.open(server, 8)
        token = self.claim(clients[0], "k")[0]
        self.assertEqual(clients[0].call("STORE", "k", token, b"x" * 2**22), 0)
        for client in clients:
            client.send_raw(encode("FETCH", "k") * 50)
        eventually(lambda: all(client.readable() for client in clients), "replies that are ready")
        server.signal(signal.SIGTERM)
        self.assertEqual(server.leave(), 0)

    def test_connections_that_come_with_the_signal(self):
        """Each connection is answered or refused, none hangs, and the exit status is 0."""
        for _ in range(10 // FEWER):
            server = self.start_loops()
            leaving = threading.Event()

            def knock():
                answered = 0
                while True:
                    try:
                        with Client(server) as client:
                            self.assertEqual(client.call("PING"), "PONG")
                            answered += 1
                    except (Closed, OSError):
                        self.assertTrue(leaving.is_set(), "refused while nothing ends")
                        return answered

            def leave():
                eventually(lambda: int(server.info("stats")["total_connections_received"]) > 30,
                           "some new connections")
                leaving.set()
                server.signal(signal.SIGTERM)
                return server.leave()

            *answered, status = self.all_at_once([knock] * 6 + [leave])
            self.assertEqual(status, 0)
            self.assertGreater(sum(answered), 0)


if __name__ == "__main__":
    unittest.main()
