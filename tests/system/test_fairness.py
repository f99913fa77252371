"""A client that asks for much is served in parts, and short commands of other clients run in between.
Nothing is timed: the tests count how many commands of the greedy clients ran before the short one."""

import os
import unittest

from harness import HANG_SECONDS, Client, ServerCase, encode, eventually, raise_nofile

MIB = 2**20


def calls_of(fields, command):
    row = fields.get(f"cmdstat_{command}", "calls=0,")
    return int(row.split("calls=")[1].split(",")[0])


class Shares(ServerCase):
    """A stopped server finds the greedy commands and another client's short one in its sockets, the
    greedy ones first, all on one loop. After the short one, the other client asks how many have run."""

    def fill(self, server, count):
        client = self.connect(server)
        for start in range(0, count, 500):
            client.send_raw(b"".join(encode("SET", f"key:{n}", "v")
                                     for n in range(start, start + 500)))
            for _ in range(500):
                self.assertEqual(client.read(), "OK")

    def calls_before_a_ping(self, server, command, data, connections=1):
        greedy = [self.connect(server) for _ in range(connections)]
        other = self.connect(server)
        self.assertEqual(other.call("CONFIG", "RESETSTAT"), "OK")
        with server.stopped():
            for one in greedy:
                one.send_raw(data)
            other.send_raw(encode("PING") + encode("INFO", "commandstats"))
        self.assertEqual(other.read(), "PONG")
        fields = dict(line.split(":", 1) for line in other.read().decode().split("\r\n")
                      if ":" in line)
        return calls_of(fields, command)

    def test_keys(self):
        server = self.start("--threads", "1")
        self.fill(server, 200_000)
        ran = self.calls_before_a_ping(server, "keys", encode("KEYS", "nosuch") * 50)
        self.assertLess(ran, 10)

    def test_keys_of_many(self):
        server = self.start("--threads", "1")
        self.fill(server, 200_000)
        ran = self.calls_before_a_ping(server, "keys", encode("KEYS", "nosuch") * 20, 20)
        self.assertLess(ran, 60)

    def slices_of(self, server, command, reply):
        """The most PINGs of another client that were answered while the command ran."""
        greedy, other = self.connect(server), self.connect(server)
        most = 0
        for _ in range(20):  # this process may be late, but not every time
            with server.stopped():
                greedy.send(*command)
                other.send("PING")
            answered = 0
            while not greedy.readable():
                self.assertEqual(other.read(), "PONG")
                other.send("PING")
                answered += 1
            self.assertEqual((greedy.read(), other.read()), (reply, "PONG"))
            most = max(most, answered)
        return most

    def test_one_keys_leaves_room_between_its_slices(self):
        server = self.start("--threads", "1")
        self.fill(server, 100_000)
        self.assertGreater(self.slices_of(server, ("KEYS", "nosuch"), []), 2)

    def test_one_mget_leaves_room_between_its_slices(self):
        """Its command takes long to arrive, so the first slices are over before another client is heard."""
        server = self.start("--threads", "1")
        client = self.connect(server)
        client.call("SET", "k", b"x" * 10_000)
        command = ("MGET", *["k"] * 6000)
        self.assertGreater(self.slices_of(server, command, [b"x" * 10_000] * 6000), 2)

    def test_scan_that_asks_for_everything(self):
        server = self.start("--threads", "1")
        self.fill(server, 20_000)
        ran = self.calls_before_a_ping(server, "scan", encode("SCAN", 0, "COUNT", 10**6) * 500)
        self.assertLess(ran, 10)

    def test_client_list(self):
        raise_nofile()
        server = self.start("--threads", "1")
        crowd = [self.connect(server) for _ in range(1000)]
        ran = self.calls_before_a_ping(server, "client|list", encode("CLIENT", "LIST") * 500)
        self.assertLess(ran, 20)
        for one in crowd:
            one.close()

    def test_info_of_many(self):
        """Each greedy client counts its INFOs in a key; another client reads ten of these keys in one batch."""
        server = self.start("--threads", "1")
        greedy = [self.connect(server) for _ in range(100)]
        other = self.connect(server)
        with server.stopped():
            for number, one in enumerate(greedy):
                one.send_raw(b"".join(encode("INFO", "all") + encode("SET", f"n{number}", n)
                                      for n in range(1, 1001)))
            other.send_raw(b"".join(encode("GET", f"n{number}") for number in range(10)))
        ran = sum(int(other.read() or 0) for _ in range(10))
        self.assertLess(ran, 1000)  # it was 2,560 when a turn ran 512 commands of each connection

    def test_large_replies(self):
        server = self.start("--threads", "1")
        client = self.connect(server)
        self.assertEqual(client.call("SET", "k", os.urandom(MIB)), "OK")
        ran = self.calls_before_a_ping(server, "get", encode("GET", "k") * 500)
        self.assertLess(ran, 20)

    def test_messages_to_many(self):
        raise_nofile()
        server = self.start("--threads", "1")
        crowd = [self.connect(server) for _ in range(2000)]
        for one in crowd:
            one.send("SUBSCRIBE", "c")
            one.read()
        ran = self.calls_before_a_ping(server, "publish", encode("PUBLISH", "c", "m") * 1000)
        self.assertLess(ran, 200)


class Slices(ServerCase):
    """A command that runs in slices gives the same answer as one that runs at once."""

    KEYS = 30_000

    def setUp(self):
        self.server = self.start()
        self.client = self.connect(self.server)
        for start in range(0, self.KEYS, 500):
            self.client.send_raw(b"".join(encode("SET", f"key:{n}", "v")
                                          for n in range(start, start + 500)))
            for _ in range(500):
                self.client.read()
        self.names = sorted(b"key:%d" % n for n in range(self.KEYS))

    def test_keys_lists_all_of_them(self):
        for pattern in ("*", "key:*"):
            self.assertEqual(sorted(self.client.call("KEYS", pattern)), self.names)
        self.assertEqual(len(self.client.call("KEYS", "key:1*")),
                         sum(name.startswith(b"key:1") for name in self.names))

    def test_scan_in_one_call(self):
        cursor, found = self.client.call("SCAN", 0, "COUNT", 10**6)
        self.assertEqual((cursor, sorted(found)), (b"0", self.names))

    def test_inside_exec_no_other_command_runs(self):
        self.client.send_raw(encode("MULTI") + encode("SET", "key:new", "v") + encode("KEYS", "*")
                             + encode("DEL", "key:new") + encode("EXEC"))
        for _ in range(4):
            self.client.read()
        self.assertEqual(sorted(self.client.read()[1]), sorted(self.names + [b"key:new"]))

    def test_replies_stay_in_order(self):
        self.client.send_raw(encode("ECHO", "a") + encode("KEYS", "nosuch") + encode("ECHO", "b")
                             + encode("KEYS", "key:7") + encode("ECHO", "c"))
        self.assertEqual([self.client.read() for _ in range(5)],
                         [b"a", [], b"b", [b"key:7"], b"c"])

    def test_client_reply_covers_it(self):
        self.client.send_raw(encode("CLIENT", "REPLY", "SKIP") + encode("KEYS", "*")
                             + encode("PING"))
        self.assertEqual(self.client.read(), "PONG")

    def test_clients_that_hang_up_in_the_middle_are_forgotten(self):
        descriptors = self.server.descriptors()
        for _ in range(20):
            with Client(self.server) as client:
                client.send_raw(encode("KEYS", "*") * 50)
                client.reset()
        self.server.await_descriptors(descriptors)
        self.assertEqual(self.client.call("PING"), "PONG")

    def test_keys_that_come_and_go_between_slices(self):
        """Keys that stay are listed, whatever happens to others between two slices."""
        other = self.connect(self.server)
        reader = self.connect(self.server)
        for _ in range(10):
            reader.send("KEYS", "key:*")
            other.send_raw(b"".join(encode("SET", f"other:{n}", "v") for n in range(5000)))
            other.send_raw(b"".join(encode("DEL", f"other:{n}") for n in range(5000)))
            for _ in range(10_000):
                other.read()
            self.assertEqual(sorted(set(reader.read())), self.names)

    def test_mget(self):
        """In their order; absent, short and pinned ones (more than 16 KiB)."""
        large = os.urandom(20_000)
        self.client.call("SET", "large", large)
        self.assertTrue(self.client.call("MGET", *self.names) == [b"v"] * self.KEYS)
        some = ("large", "nosuch", "key:1") * 700
        self.assertTrue(self.client.call("MGET", *some) == [large, None, b"v"] * 700)

    def test_mget_that_exceeds_the_output_limit(self):
        self.client.call("CONFIG", "SET", "client-output-limit", "1mb")
        self.client.call("SET", "large", b"x" * MIB)
        self.client.call("SET", "more", b"x" * (MIB + 1))
        self.assertEqual(self.client.call("MGET", "more"), [b"x" * (MIB + 1)])
        self.assert_error(self.client.call("MGET", "key:1", "large"), "ERR")
        self.assert_error(self.client.call("MGET", *["large"] * 5000), "ERR")
        self.assertEqual(self.client.call("MGET", "key:1", "key:2"), [b"v", b"v"])

    def test_mget_shows_values_as_they_were_however_late_they_are_taken(self):
        """They are pinned: neither DEL nor another value in their memory changes a reply that is on its way."""
        former = os.urandom(MIB)
        self.client.call("SET", "key:0", former)
        reader = self.connect(self.server)
        reader.send("MGET", *["key:0", "nosuch"] * 20)
        self.assertTrue(reader.readable(HANG_SECONDS))
        self.client.call("DEL", "key:0")
        for _ in range(40):
            self.client.call("SET", "key:0", os.urandom(MIB))
        self.assertTrue(reader.read() == [former, None] * 20, "other bytes than before DEL")

    def test_mget_of_a_client_that_goes_lets_go_what_it_pinned(self):
        """Between two slices, or with its reply half sent. A value that stayed pinned would be used memory after DEL."""
        def used():
            return int(self.server.info("memory", self.client)["used_memory"])

        def half_sent(client):
            client.send("MGET", *["pinned"] * 50)
            self.assertTrue(client.readable(HANG_SECONDS))
            client.reset()

        def between_slices(client):
            """Both lie in the server's sockets when it goes on; it hears the second after the first slice."""
            number = client.call("CLIENT", "ID")
            with self.server.stopped():
                client.send("MGET", *["pinned"] * 2, *["copied"] * 6000)
                self.client.send("CLIENT", "KILL", "ID", number)
            self.assertEqual(self.client.read(), 1)

        self.client.call("DEL", "key:0", "key:1")
        before, descriptors = used(), self.server.descriptors()
        for _ in range(10):  # this process may be late, but not every time
            self.client.call("SET", "pinned", os.urandom(MIB))
            self.client.call("SET", "copied", b"x" * 8000)
            for leave in (half_sent, between_slices):
                with Client(self.server) as client:
                    leave(client)
            self.server.await_descriptors(descriptors)
            self.assertEqual(self.client.call("DEL", "pinned", "copied"), 2)
            eventually(lambda: used() <= before, "memory that is used as before")

    def test_a_draining_server_answers_it(self):
        self.client.send("KEYS", "*")
        self.server.signal(15)
        self.assertEqual(sorted(self.client.read()), self.names)
        self.assertEqual(self.server.leave(), 0)


class Listed(ServerCase):
    """CLIENT LIST and KILL while connections come and go between their slices."""

    def test_a_client_that_stays_is_listed_once(self):
        raise_nofile()
        server = self.start()
        control = self.connect(server)
        staying = [self.connect(server) for _ in range(1000)]
        ids = {one.call("CLIENT", "ID") for one in staying}
        going = [self.connect(server) for _ in range(500)]
        for round_ in range(5):
            control.send("CLIENT", "LIST")
            for one in going[round_ * 100:(round_ + 1) * 100]:
                one.close()
            lines = control.read().decode().splitlines()
            listed = [int(line.split()[0][3:]) for line in lines]
            self.assertEqual(len(listed), len(set(listed)))
            self.assertLessEqual(ids, set(listed))

    def test_a_client_that_kills_all_clients_gets_their_number(self):
        raise_nofile()
        server = self.start()
        crowd = [self.connect(server) for _ in range(3000)]
        for one in crowd:
            self.assertEqual(one.call("PING"), "PONG")
        killer = crowd[1500]
        self.assertEqual(killer.call("CLIENT", "KILL", "LADDR", "%s:%d" % killer.sock.getpeername(),
                                     "SKIPME", "no"), 3000)
        self.assertTrue(killer.ended())
        self.assertTrue(crowd[0].ended())

    def test_two_sigterms(self):
        raise_nofile()
        for _ in range(5):
            server = self.start("--threads", "3")
            crowd = [self.connect(server) for _ in range(1000)]
            for one in crowd[:9]:
                one.send_raw(encode("CLIENT", "LIST") * 50)
            server.signal(15)
            eventually(lambda: "no new claims" in server.log(), "a drain")  # or the two are one
            server.signal(15)
            self.assertEqual(server.leave(), 0)
            self.assertIn("leaving at once", server.log())
            self.assertNotRegex(server.log(), "Sanitizer")
            for one in crowd:
                one.close()

    def test_kill_by_an_address_without_a_client_and_with_one(self):
        raise_nofile()
        server = self.start()
        control = self.connect(server)
        crowd = [self.connect(server) for _ in range(500)]
        for one in crowd:
            self.assertEqual(one.call("PING"), "PONG")
        victim = crowd[250]
        address = "%s:%d" % victim.sock.getsockname()
        self.assertEqual(control.call("CLIENT", "KILL", "ADDR", "127.0.0.1:1"), 0)
        self.assertEqual(control.call("CLIENT", "KILL", "ADDR", address), 1)
        self.assertTrue(victim.ended())
        self.assert_error(control.call("CLIENT", "KILL", address), "ERR")
        self.assertEqual(crowd[251].call("PING"), "PONG")


if __name__ == "__main__":
    unittest.main()
