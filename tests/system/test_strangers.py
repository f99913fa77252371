"""Strangers are clients that have not authenticated: they have little time, few errors, and there are
few of them at a time. What a wrong password costs, and which sessions end when the password changes."""

import re
import time
import unittest

from harness import HANG_SECONDS, Client, Closed, ServerCase, encode, eventually

PASSWORD = "s3cret"
STRANGERS = 256
SECONDS = 5
ERRORS = 64
FAILURES_OF_ADDRESS = 10
WRONG = "WRONGPASS"


def is_closed(client):
    return client.readable() and client.ended(0.1)


class Strangers(ServerCase):
    def setUp(self):
        self.server = self.start(config=f"requirepass {PASSWORD}\n")
        self.known = self.connect(self.server)
        self.assertEqual(self.known.call("AUTH", PASSWORD), "OK")

    def stat(self, name):
        return int(self.server.info("stats", self.known)[name])

    def test_the_oldest_stranger_makes_room(self):
        strangers = [self.connect(self.server) for _ in range(40)]
        eventually(lambda: self.server.info("clients", self.known)["connected_clients"] == "41",
                   "all loops have taken theirs")
        strangers += [self.connect(self.server) for _ in range(STRANGERS - 10)]
        eventually(lambda: self.stat("before_auth_disconnections") == 30, "30 closed strangers")
        self.assertEqual(self.server.info("clients", self.known)["clients_before_auth"],
                         str(STRANGERS))
        closed = [n for n, one in enumerate(strangers) if is_closed(one)]
        self.assertEqual(len(closed), 30)
        self.assertLess(max(closed), 40)
        self.assertEqual(strangers[-1].call("AUTH", PASSWORD), "OK")
        self.assertEqual(strangers[40].call("AUTH", PASSWORD), "OK")
        self.assertEqual(self.known.call("PING"), "PONG")

    def test_known_connections_are_not_counted(self):
        known = []
        for _ in range(STRANGERS + 30):
            known.append(self.connect(self.server))
            self.assertEqual(known[-1].call("AUTH", PASSWORD), "OK")
        self.assertEqual({one.call("PING") for one in known}, {"PONG"})

    def test_time_is_short_however_busy_they_are(self):
        started = time.monotonic()
        silent, trickling, asking = (self.connect(self.server) for _ in range(3))
        for byte in encode("AUTH", PASSWORD)[:-1]:
            trickling.send_raw(bytes([byte]))
        self.assert_error(asking.call("PING"), "NOAUTH")
        for one in (silent, trickling, asking):
            self.assertTrue(one.ended())
        self.assertGreater(time.monotonic() - started, SECONDS - 0.5)
        self.assertEqual(self.known.call("PING"), "PONG")

    def test_a_stopped_server_accepts_a_password_that_came_meanwhile(self):
        client = self.connect(self.server)
        with self.server.stopped():
            client.send("AUTH", PASSWORD)
            time.sleep(SECONDS + 0.5)  # the time itself is the subject
        self.assertEqual(client.read(), "OK")

    def test_errors_are_few(self):
        client = self.connect(self.server)
        client.send_raw(encode("PING") * (10 * ERRORS))
        for _ in range(ERRORS):
            self.assert_error(client.read(), "NOAUTH")
        self.assertTrue(client.ended())

    def test_the_last_error_may_be_a_delayed_one(self):
        client = self.connect(self.server)
        client.send_raw(encode("PING") * (ERRORS - 1) + encode("AUTH", "wrong"))
        for _ in range(ERRORS - 1):
            self.assert_error(client.read(), "NOAUTH")
        self.assert_error(client.read(), WRONG)
        self.assertTrue(client.ended())

    def test_unread_replies_are_few(self):
        strangers = [self.connect(self.server) for _ in range(100)]
        for one in strangers:
            one.send_raw(encode("ECHO", "x" * 1024) * (ERRORS - 1))
        eventually(lambda: "omem=0" in self.known.call("CLIENT", "LIST").decode(), "all is sent")
        listed = self.known.call("CLIENT", "LIST").decode()
        held = [int(part[5:]) for part in listed.split() if part.startswith("omem=")]
        self.assertLessEqual(max(held), 2048)

    def test_arguments_are_few_and_short(self):
        for data in (b"*11\r\n", b"*2\r\n$4\r\nAUTH\r\n$1025\r\n", b"AUTH " + b"x" * 10240):
            with self.subTest(data[:30]):
                client = self.connect(self.server)
                client.send_raw(data)
                self.assert_error(client.read(), "ERR")
                self.assertTrue(client.ended())
        client = self.connect(self.server)
        reply = client.call("HELLO", 3, "AUTH", "default", PASSWORD, "SETNAME", "n" * 1000)
        self.assertEqual(reply[b"proto"], 3)

    def test_after_reset_a_client_is_a_stranger_again(self):
        self.assertEqual(self.known.call("RESET"), "RESET")
        self.assert_error(self.known.call("PING"), "NOAUTH")
        self.assertTrue(self.known.ended())

    def test_a_unix_socket_has_no_such_limits(self):
        path = self.server.directory + "/socket"
        server = self.start("--unixsocket", path, config=f"requirepass {PASSWORD}\n")
        other = self.connect(server)
        local = Client(path)
        self.addCleanup(local.close)
        for _ in range(2 * ERRORS):
            self.assert_error(local.call("PING"), "NOAUTH")
        self.assertTrue(other.ended())
        self.assertEqual(local.call("AUTH", PASSWORD), "OK")

    def test_a_server_without_a_password_has_no_strangers(self):
        server = self.start()
        clients = [self.connect(server) for _ in range(STRANGERS + 30)]
        time.sleep(SECONDS + 0.5)  # the time itself is the subject
        self.assertEqual({one.call("PING") for one in clients}, {"PONG"})


class WrongPasswords(ServerCase):
    def setUp(self):
        self.server = self.start(config=f"requirepass {PASSWORD}\n")

    def test_the_error_is_delayed_and_in_order(self):
        for attempt in (("AUTH", "wrong"), ("AUTH", "default", "wrong"), ("AUTH", "no-such-user", PASSWORD),
                        ("HELLO", 3, "AUTH", "default", "wrong")):
            with self.subTest(attempt):
                client = self.connect(self.server)
                started = time.monotonic()
                client.send_raw(encode(*attempt) + encode("PING") + encode("AUTH", PASSWORD)
                                + encode("PING"))
                self.assert_error(client.read(), WRONG)
                self.assertGreaterEqual(time.monotonic() - started, 0.95)
                self.assert_error(client.read(), "NOAUTH")
                self.assertEqual([client.read(), client.read()], ["OK", "PONG"])

    def test_the_third_wrong_password_closes(self):
        client = self.connect(self.server)
        client.send_raw(encode("AUTH", "wrong") * 3 + encode("AUTH", PASSWORD) + encode("PING"))
        for _ in range(3):
            self.assert_error(client.read(), WRONG)
        self.assertTrue(client.ended())

    def test_an_address_that_fails_too_often_is_not_answered(self):
        clients = [self.connect(self.server) for _ in range(60)]
        right = self.connect(self.server)
        with self.server.stopped():  # so that all are checked within two seconds
            for one in clients:
                one.send("AUTH", "wrong")
            right.send("AUTH", PASSWORD)
        answered = 0
        self.assertEqual(right.read(), "OK")
        for one in clients:
            try:
                self.assert_error(one.read(), WRONG)
                answered += 1
            except Closed:
                pass
        self.assertIn(answered, range(1, 2 * FAILURES_OF_ADDRESS + 1))
        self.assertEqual(int(self.server.info("stats", right)["acl_access_denied_auth"]), 60)
        lines = re.findall(r"wrong password(?: from 127\.0\.0\.1:\d+ \(client \d+\)| \(\d+ more\))",
                           self.server.log())
        self.assertIn(len(lines), range(1, 5), lines)
        elsewhere = Client(self.server, source="127.0.0.9")
        self.addCleanup(elsewhere.close)
        self.assert_error(elsewhere.call("AUTH", "wrong"), WRONG)

    def test_client_reply_covers_the_delayed_error(self):
        client = self.connect(self.server)
        self.assertEqual(client.call("AUTH", PASSWORD), "OK")
        client.send_raw(encode("CLIENT", "REPLY", "SKIP") + encode("AUTH", "wrong")
                        + encode("PING"))
        self.assertEqual(client.read(), "PONG")
        self.assertFalse(client.readable(0.1))

    def test_clients_that_hang_up_before_the_error_are_forgotten(self):
        known = self.connect(self.server)
        self.assertEqual(known.call("AUTH", PASSWORD), "OK")
        descriptors = self.server.descriptors()
        for _ in range(20):
            client = self.connect(self.server)
            client.send("AUTH", "wrong")
            client.reset()
        self.server.await_descriptors(descriptors)
        self.assertEqual(known.call("PING"), "PONG")

    def test_delayed_errors_while_others_come_and_go(self):
        for _ in range(3):
            failing = [self.connect(self.server) for _ in range(5)]
            for one in failing:
                one.send("AUTH", "wrong")
            end = time.monotonic() + 1.3
            while time.monotonic() < end:
                crowd = [Client(self.server) for _ in range(50)]
                for one in crowd:
                    one.close()
            for one in failing:
                try:
                    self.assert_error(one.read(), WRONG)
                except Closed:
                    pass  # on a slow machine the crowd may be too many strangers
        self.assertEqual(self.connect(self.server).call("AUTH", PASSWORD), "OK")

    def test_a_drain_does_not_wait_for_it(self):
        client = self.connect(self.server)
        client.send("AUTH", "wrong")
        time.sleep(0.2)  # until it has been read; if it has not, the test proves less but does not fail
        started = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - started, HANG_SECONDS)


class ChangedPasswords(ServerCase):
    def setUp(self):
        self.server = self.start(config=f"requirepass {PASSWORD}\n")

    def sign_in(self, password):
        client = self.connect(self.server)
        self.assertEqual(client.call("AUTH", password), "OK")
        return client

    def test_sessions_of_the_former_password_end(self):
        admin, other, waiter = (self.sign_in(PASSWORD) for _ in range(3))
        self.claim(other, "k")
        waiter.send("CLAIM", "k", "WAIT", 60_000)
        self.server.await_blocked(1, admin)
        self.assertEqual(admin.call("CONFIG", "SET", "requirepass", "new"), "OK")
        self.assertTrue(other.ended())
        self.assertTrue(waiter.ended())
        self.assertEqual(admin.call("PING"), "PONG")
        self.assertEqual(self.sign_in("new").call("PING"), "PONG")

    def test_setting_the_same_password_changes_nothing(self):
        admin, other = self.sign_in(PASSWORD), self.sign_in(PASSWORD)
        self.assertEqual(admin.call("CONFIG", "SET", "requirepass", PASSWORD), "OK")
        self.assertEqual(other.call("PING"), "PONG")

    def test_a_first_password_ends_sessions_without_one(self):
        server = self.start()
        admin, other = self.connect(server), self.connect(server)
        self.assertEqual(other.call("PING"), "PONG")
        self.assertEqual(admin.call("CONFIG", "SET", "requirepass", "new"), "OK")
        self.assertTrue(other.ended())

    def test_without_a_password_every_client_may_enter(self):
        admin, stranger = self.sign_in(PASSWORD), self.connect(self.server)
        self.assert_error(stranger.call("PING"), "NOAUTH")
        self.assertEqual(admin.call("CONFIG", "SET", "requirepass", ""), "OK")
        self.assertEqual(stranger.call("PING"), "PONG")
        time.sleep(SECONDS + 0.5)  # the time itself is the subject
        self.assertEqual(stranger.call("PING"), "PONG")


if __name__ == "__main__":
    unittest.main()
