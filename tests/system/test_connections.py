"""Connections that misbehave, are too many, too slow or too greedy: the server still serves the others."""

import ctypes
import multiprocessing
import os
import random
import re
import resource
import select
import signal
import socket
import time
import unittest

from harness import (HANG_SECONDS, INSTRUMENTED, Client, Closed, ServerCase, encode, eventually,
                     measured, percentile, raise_nofile)

MIB = 2**20
# Commands that lie in the socket when a stopped server goes on. Their 48 KiB fit into any socket buffer.
QUEUED = 8192


class EndOfInput(ServerCase):
    def test_complete_commands_are_answered_then_closed(self):
        server = self.start()
        server.info()
        descriptors = server.descriptors()
        client = self.connect(server)
        client.send_raw(encode("CLAIM", "k") + encode("PING") * 1000 + encode("PING")[:-2])
        client.half_close()
        self.assert_status(client.read(), "CLAIMED")
        for _ in range(1000):
            self.assertEqual(client.read(), "PONG")
        self.assertTrue(client.ended())
        server.await_descriptors(descriptors)

    def test_large_answers_reach_a_half_closed_client_whole(self):
        server = self.start()
        client = self.connect(server)
        token = self.claim(client, "k")[0]
        body = os.urandom(4 * MIB)
        self.assertEqual(client.call("STORE", "k", token, body), 0)
        client.send_raw(encode("FETCH", "k") * 5)
        client.half_close()
        for _ in range(5):
            self.assertEqual(client.read()[1], body)
        self.assertTrue(client.ended())

    def test_quit_answers_what_came_before(self):
        client = self.connect(self.start())
        client.send_raw(encode("PING") * 100 + encode("QUIT") + encode("PING"))
        for _ in range(100):
            self.assertEqual(client.read(), "PONG")
        self.assertEqual(client.read(), "OK")
        self.assertTrue(client.ended())

    def test_claims_with_bind_end_with_quit_before_the_client_closes(self):
        server = self.start()
        client, other = self.connect(server), self.connect(server)
        self.claim(client, "k", "BIND")
        self.assertEqual(client.call("QUIT"), "OK")
        self.assertTrue(client.ended())
        self.assert_status(other.call("CLAIM", "k"), "CLAIMED")


class CommandsThatRanAreAnswered(ServerCase):
    """Whatever ends a connection, the replies of the commands that ran before it are sent."""

    def granted_before(self, data, *options):
        server = self.start(*options)
        client = self.connect(server)
        client.send_raw(encode("CLAIM", "k") + data)
        self.assert_status(client.read(), "CLAIMED")
        return client

    def test_before_a_line_like_http(self):
        for line in (b"POST / HTTP/1.1\r\n", b"Host: x\r\n"):
            self.assertTrue(self.granted_before(line).ended())

    def test_before_a_broken_frame(self):
        client = self.granted_before(b"*1\r\n!\r\n")
        self.assert_error(client.read(), "ERR")
        self.assertTrue(client.ended())

    def test_before_input_over_its_total(self):
        data = encode("STORE", "k", 1, b"b" * 100_000)[:-3]
        self.assertTrue(self.granted_before(data, "--client-input-total", "64kb").ended())

    def test_before_the_end_of_input_during_a_wait(self):
        server = self.start()
        owner, client = self.connect(server), self.connect(server)
        self.claim(owner, "held")
        client.send_raw(encode("CLAIM", "k") + encode("CLAIM", "held", "WAIT", 60_000)
                        + encode("CLAIM", "never"))
        client.half_close()
        self.assert_status(client.read(), "CLAIMED")
        self.assertTrue(client.ended())
        self.assertIsNone(owner.call("FETCH", "never"))

    def test_a_late_error_before_the_end_of_input(self):
        server = self.start("--client-input-total", "64kb", config="requirepass s3cret\n")
        client = self.connect(server)
        self.assertEqual(client.call("AUTH", "s3cret"), "OK")
        client.send_raw(encode("AUTH", "wrong") + encode("SET", "k", "x" * 100_000))
        self.assert_error(client.read(), "WRONGPASS")
        self.assertTrue(client.ended())

    def test_before_too_much_input_after_a_wait(self):
        server = self.start()
        owner, client = self.connect(server), self.connect(server)
        self.claim(owner, "held")
        client.send_raw(encode("CLAIM", "k") + encode("CLAIM", "held", "WAIT", 60_000))
        try:
            client.send_raw(encode("PING") * 200_000)
        except OSError:
            pass  # it was closed in the middle
        self.assert_status(client.read(), "CLAIMED")
        self.assertTrue(client.ended())


class CoveredByClientReply(ServerCase):
    """CLIENT REPLY SKIP and OFF cover every reply of a command, also one that comes late."""

    def setUp(self):
        self.server = self.start()
        self.owner, self.client = self.connect(self.server), self.connect(self.server)
        self.token = self.claim(self.owner, "k")[0]

    def skip(self, *command):
        self.client.send_raw(encode("CLIENT", "REPLY", "SKIP") + encode(*command)
                             + encode("ECHO", "after"))

    def test_a_wait_whose_time_passes(self):
        for command in (("CLAIM", "k", "WAIT", 50), ("WAIT", "k", 50)):
            self.skip(*command)
            self.assertEqual(self.client.read(), b"after")

    def test_a_wait_that_ends_by_store(self):
        self.skip("CLAIM", "k", "WAIT", 60_000)
        self.server.await_blocked(1, self.owner)
        self.owner.call("STORE", "k", self.token, "body")
        self.assertEqual(self.client.read(), b"after")

    def test_a_wait_that_ends_by_a_grant(self):
        self.skip("CLAIM", "k", "WAIT", 60_000)
        self.server.await_blocked(1, self.owner)
        self.owner.call("RELEASE", "k", self.token)
        self.assertEqual(self.client.read(), b"after")
        self.assert_status(self.owner.call("FETCH", "k"), "BUSY")

    def test_a_wait_that_ends_by_unblock(self):
        identity = self.client.call("CLIENT", "ID")
        self.skip("WAIT", "k", 60_000)
        self.server.await_blocked(1, self.owner)
        self.assertEqual(self.owner.call("CLIENT", "UNBLOCK", identity), 1)
        self.assertEqual(self.client.read(), b"after")

    def test_a_wait_under_off(self):
        self.client.send_raw(encode("CLIENT", "REPLY", "OFF") + encode("WAIT", "k", 50)
                             + encode("CLIENT", "REPLY", "ON") + encode("ECHO", "after"))
        self.assertEqual([self.client.read(), self.client.read()], ["OK", b"after"])

    def test_errors_that_are_found_before_the_command_runs(self):
        for command in (("CLAIM", "k" * 2000), ("NOSUCH",), ("CLAIM",), ("ECHO", "x" * (17 * MIB)),
                        ("CONFIG", "nosuch")):
            with self.subTest(command=command[0]):
                self.skip(*command)
                self.assertEqual(self.client.read(), b"after")
                self.assertEqual(self.client.call("PING"), "PONG")

    def test_messages_are_not_replies(self):
        self.client.call("HELLO", 3)
        self.assertEqual(self.client.call("SUBSCRIBE", "c")[0], b"subscribe")
        for mode in ("SKIP", "OFF"):
            self.client.send_raw(encode("CLIENT", "REPLY", mode) + encode("PUBLISH", "c", mode)
                                 + encode("CLIENT", "REPLY", "ON"))
            self.assertEqual(self.client.read(), [b"message", b"c", mode.encode()])
            self.assertEqual(self.client.read(), "OK")
        self.assertEqual(self.client.call("PUBLISH", "no-subscriber", "m"), 0)

    def test_inside_multi_it_is_refused(self):
        for mode in ("ON", "OFF", "SKIP"):
            self.client.send_raw(encode("MULTI") + encode("CLIENT", "REPLY", mode)
                                 + encode("PING") + encode("EXEC") + encode("ECHO", "after"))
            replies = [self.client.read() for _ in range(5)]
            self.assert_error(replies[1], "ERR")
            self.assert_error(replies[3], "EXECABORT")
            self.assertEqual(replies[4], b"after")

    def test_a_broken_frame(self):
        self.client.send_raw(encode("CLIENT", "REPLY", "OFF") + b"*1\r\n!\r\n")
        self.assertTrue(self.client.ended())


class LateCommands(ServerCase):
    """A command has ten seconds from its first byte to its last; more only while a body keeps arriving."""

    def test_a_client_that_trickles_gets_an_error_and_is_closed(self):
        server = self.start()
        slow, body, pipelined, waits = (self.connect(server) for _ in range(4))
        owner, idle = self.connect(server), self.connect(server)
        token = self.claim(owner, "k")[0]
        started = time.monotonic()
        waits.send_raw(encode("CLAIM", "k", "WAIT", 60_000) + encode("PING")[:-1])
        data = encode("STORE", "k", token, b"b" * 200_000)
        sent = 0
        ended = False
        while time.monotonic() - started < 13 or not ended:
            self.assertLess(time.monotonic() - started, HANG_SECONDS)
            body.send_raw(data[sent:sent + 1000])
            sent += 1000
            pipelined.send_raw(encode("PING")[-3:] + encode("PING")[:-3] if sent > 1000
                               else encode("PING")[:-3])
            try:
                slow.send_raw(b"*" if sent == 1000 else b"0")
            except OSError:
                pass
            ended = ended or slow.readable()
            time.sleep(0.2)  # the slow sender is the subject
        self.assert_error(slow.read(), "ERR")
        self.assertTrue(slow.ended())
        self.assertGreater(time.monotonic() - started, 10)
        body.send_raw(data[sent:])
        self.assertEqual(body.read(), 1)
        self.assert_status(waits.read(), "DONE")
        waits.send_raw(encode("PING")[-1:])
        self.assertEqual(waits.read(), "PONG")
        pipelined.send_raw(encode("PING")[-3:])
        for _ in range(sent // 1000):
            self.assertEqual(pipelined.read(), "PONG")
        self.assertEqual(idle.call("PING"), "PONG")
        self.assertEqual(server.info("stats", idle)["request_timeout_disconnections"], "1")


class Busy(ServerCase):
    """A connection that is not idle: `timeout` must not close it."""

    def test_a_command_delayed_by_client_pause(self):
        server = self.start("--timeout", "1")
        control, client = self.connect(server), self.connect(server)
        self.assertEqual(control.call("CLIENT", "PAUSE", 2500), "OK")
        client.send("PING")
        self.assertEqual(client.read(), "PONG")

    def test_bytes_that_arrive(self):
        server = self.start("--timeout", "1")
        client = self.connect(server)
        token = self.claim(client, "k")[0]
        data = encode("STORE", "k", token, b"b" * 100_000)
        for start in range(0, len(data), 10_000):
            client.send_raw(data[start:start + 10_000])
            time.sleep(0.3)  # in total longer than the timeout
        self.assertEqual(client.read(), 0)

    def test_a_reader_whose_progress_the_kernel_buffers_hide(self):
        server = self.start("--client-output-timeout", "2s")
        client = self.connect(server)
        body = os.urandom(12 * MIB)
        self.assertEqual(client.call("SET", "k", body), "OK")
        client.send("GET", "k")
        end = time.monotonic() + 7
        while time.monotonic() < end:
            client.buffer += client.sock.recv(20_000)
            time.sleep(0.2)  # 100 KB a second; the kernel's buffers hold megabytes
        self.assertEqual(client.read(), body)

    def test_client_pause_does_not_use_up_the_time_before_auth(self):
        server = self.start(config="requirepass s3cret\n")
        control, client = self.connect(server), self.connect(server)
        self.assertEqual(control.call("AUTH", "s3cret"), "OK")
        self.assertEqual(control.call("CLIENT", "PAUSE", 6000), "OK")
        client.send("AUTH", "s3cret")
        self.assertEqual(client.read(), "OK")


class TimeOutsInTheKernel(ServerCase):
    """The kernel has copies of two options for each connection, which CONFIG SET has to reach."""

    def kernel_options(self, server, client):
        """(TCP_USER_TIMEOUT in ms, keepalive in s or 0) of the server's end of the connection."""
        descriptor = int(re.search(rb" fd=(\d+) ", client.call("CLIENT", "INFO"))[1])
        libc = ctypes.CDLL(None, use_errno=True)
        process = libc.syscall(434, server.process.pid, 0)  # pidfd_open
        own = libc.syscall(438, process, descriptor, 0)  # pidfd_getfd
        os.close(process)
        if own < 0:
            self.skipTest(f"pidfd_getfd is not allowed here: {os.strerror(ctypes.get_errno())}")
        with socket.socket(fileno=own) as end:
            kept = end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            return (end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                    end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) if kept else 0)

    def test_config_set_reaches_connections_that_are_there(self):
        for threads in ("1", "4"):
            server = self.start("--threads", threads, "--client-output-timeout", "20s", "--tcp-keepalive", "100")
            clients = [self.connect(server) for _ in range(8)]
            for client in clients:
                self.assertEqual(self.kernel_options(server, client), (30_000, 100))
            clients[0].call("CONFIG", "SET", "client-output-timeout", "1h", "tcp-keepalive", "0")
            for client in clients:
                self.assertEqual(self.kernel_options(server, client), (3_610_000, 0))
            clients[1].call("CONFIG", "SET", "tcp-keepalive", "50")
            for client in [*clients, self.connect(server)]:
                self.assertEqual(self.kernel_options(server, client), (3_610_000, 50))


class SharedByReaders(ServerCase):
    def test_a_large_message_is_held_once(self):
        server = self.start("--maxmemory", "128mb")
        control = self.connect(server)
        # The kernel keeps what they do not read; with several such tests it has no room for a hundred.
        subscribers = [self.connect(server) for _ in range(40)]
        for one in subscribers:
            one.send("SUBSCRIBE", "c")
            one.read()
        base, payload = server.rss_bytes(), os.urandom(4 * MIB)
        self.assertEqual(control.call("PUBLISH", "c", payload), 40)
        self.assertEqual(subscribers[7].read()[2], payload)
        self.assertEqual(control.call("PING"), "PONG")
        grown = (server.peak_rss_bytes() - base) / MIB
        measured(f"4 MiB to 40 subscribers: the server's peak grew by {grown:.1f} MiB")
        if not INSTRUMENTED:
            self.assertLess(grown, 64)

    def test_large_replies_wait_for_readers_that_do_not_read(self):
        server = self.start("--maxmemory", "256mb", "--client-output-timeout", "1h")
        control = self.connect(server)
        for start in range(0, 40_000, 500):
            control.send_raw(b"".join(encode("SET", f"{n:0500}", "v")
                                      for n in range(start, start + 500)))
            for _ in range(500):
                self.assertEqual(control.read(), "OK")
        base = server.rss_bytes()
        lazy = [self.connect(server) for _ in range(20)]
        for one in lazy:
            one.send("KEYS", "*")
        first = eventually(lambda: next((one for one in lazy if one.readable()), None),
                           "the first reply")
        self.assertEqual(control.call("PING"), "PONG")
        time.sleep(1)  # time for what must not happen
        grown = (server.peak_rss_bytes() - base) / MIB
        measured(f"20 KEYS of 20 MiB each, unread: the server's peak grew by {grown:.1f} MiB")
        if not INSTRUMENTED:
            self.assertLess(grown, 200)
        self.assertEqual(len(first.read()), 40_000)
        for one in lazy:
            one.close()


class Owners(ServerCase):
    def test_an_owner_with_bind_is_not_idle(self):
        server = self.start("--timeout", "1")
        owner, other = self.connect(server), self.connect(server)
        self.claim(owner, "k", "BIND")
        idle = self.connect(server)
        self.assertTrue(idle.ended())
        self.assertTrue(other.ended())
        time.sleep(1)  # the time itself is the subject
        self.assertEqual(owner.call("PING"), "PONG")

    def test_an_owner_whose_claim_ended_is_idle(self):
        server = self.start("--timeout", "1")
        owner = self.connect(server)
        token = self.claim(owner, "k", "BIND")[0]
        self.assertEqual(owner.call("STORE", "k", token, "body"), 0)
        self.assertTrue(owner.ended())
        lapsed = self.connect(server)
        self.claim(lapsed, "l", "BIND", "LEASE", 1)
        self.assertTrue(lapsed.ended())


class OverTheOutputLimit(ServerCase):
    """Replies over the limit that the kernel takes at once: no event comes later to go on with."""

    def all_of(self, server, count, body_bytes):
        client = self.connect(server)
        token = self.claim(client, "k")[0]
        body = os.urandom(body_bytes)
        self.assertEqual(client.call("STORE", "k", token, body), 0)
        client.send_raw(encode("FETCH", "k") * count + encode("CLAIM", "last"))
        for _ in range(count):
            self.assertEqual(client.read()[1], body)
        self.assert_status(client.read(), "CLAIMED")

    def test_later_commands_run_once_the_replies_are_sent(self):
        for limit, count, body_bytes in (("1kb", 3, 2048), ("1kb", 400, 10), ("64kb", 5, 70000),
                                         ("1mb", 30, MIB)):
            with self.subTest(limit=limit, count=count):
                self.all_of(self.start("--client-output-limit", limit), count, body_bytes)

    def test_also_when_other_readers_make_the_limit_small(self):
        server = self.start("--client-output-total", "4mb")
        greedy = self.connect(server)
        token = self.claim(greedy, "large")[0]
        self.assertEqual(greedy.call("STORE", "large", token, os.urandom(8 * MIB)), 0)
        greedy.send_raw(encode("FETCH", "large") * 2)
        self.assertTrue(greedy.readable(HANG_SECONDS))
        self.all_of(server, 5, 70000)

    def test_the_end_of_input_after_them(self):
        client = self.connect(self.start("--client-output-limit", "1kb"))
        body = b"b" * 2048
        self.assertEqual(client.call("SET", "k", body), "OK")
        client.send_raw(encode("GET", "k") * 5 + encode("CLAIM", "last"))
        client.half_close()
        for _ in range(5):
            self.assertEqual(client.read(), body)
        self.assert_status(client.read(), "CLAIMED")
        self.assertTrue(client.ended())


class Framing(ServerCase):
    def setUp(self):
        self.server = self.start()
        self.client = self.connect(self.server)

    def test_any_cut_gives_the_same_answers(self):
        token = self.claim(self.client, "k")[0]
        stream = (encode("PING") + encode("FETCH", "nosuch") + b"PING inline\r\n"
                  + encode("STORE", "k", token, b"\r\n$3\r\n\x00") + encode("ECHO", b"*1\r\n"))
        for cut in range(1, len(stream)):
            with self.connect(self.server) as client:
                client.send_raw(stream[:cut])
                client.send_raw(stream[cut:])
                replies = [client.read() for _ in range(5)]
                self.assertEqual(replies, ["PONG", None, b"inline", 0, b"*1\r\n"], f"cut at {cut}")

    def test_byte_by_byte(self):
        for byte in encode("CLAIM", "slow", "LEASE", 1000) + b"ping\r\n":
            self.client.send_raw(bytes([byte]))
        self.assert_status(self.client.read(), "CLAIMED")
        self.assertEqual(self.client.read(), "PONG")

    def test_65536_arguments_are_a_command(self):
        self.client.send_raw(encode(*["PING"] * 65536) + encode("PING"))
        self.assert_error(self.client.read(), "ERR")
        self.assertEqual(self.client.read(), "PONG")

    def test_many_keys_in_one_command(self):
        self.assertEqual(self.client.call("EXISTS", *(f"k{n}" for n in range(60000))), 0)

    def test_a_length_up_to_512_mib_is_not_a_protocol_error(self):
        self.client.send_raw(b"*2\r\n$5\r\nFETCH\r\n$536870912\r\n")
        self.assertFalse(self.client.readable(0.1))
        self.client.reset()

    def test_no_error_echoes_control_bytes(self):
        evil = b"x\r\n+OK\r\n\x00\x1b[2J\xff"
        for command in ([evil], [evil, evil], ["NOSUCH", evil], ["CLAIM", "k", evil],
                        ["CLAIM", "k", "LEASE", evil], ["STORE", "k", evil, "b"],
                        ["STORE", "k", 1, "b", evil, evil], ["RENEW", "k", evil],
                        ["RELEASE", "k", evil], ["WAIT", "k", evil],
                        ["FETCH", "k", evil, evil], ["CLIENT", evil], ["CONFIG", evil],
                        ["COMMAND", evil], ["HELLO", evil], ["SELECT", evil], ["AUTH", evil],
                        ["FLUSHALL", evil], ["CLIENT", "SETINFO", evil, evil],
                        ["COMMAND", "GETKEYS", evil, evil]):
            with self.subTest(command=command):
                self.client.send(*command)
                raw = self.client.read_raw()
                self.assertEqual(raw[:1], b"-", raw)
                self.assertTrue(raw.endswith(b"\r\n"))
                self.assertRegex(raw[:-2], rb"^[\x20-\x7e]*$")
                self.assertEqual(self.client.call("PING"), "PONG")
        for line in (b"*1\r\n" + bytes([byte]) + b"\r\n" for byte in (0, 7, 10, 27, 200, 255)):
            with self.connect(self.server) as client:
                client.send_raw(line)
                raw = client.read_raw()
                self.assertRegex(raw[:-2], rb"^-ERR Protocol error: [\x20-\x7e]*$")

    def test_long_unknown_commands_are_echoed_in_part(self):
        self.client.send("x" * 1000, "y" * 1000, "z" * 1000)
        raw = self.client.read_raw()
        self.assertTrue(raw.startswith(b"-ERR unknown command 'xxx"), raw[:100])
        self.assertLess(len(raw), 1000)

    def test_a_protocol_error_reaches_a_client_that_keeps_sending(self):
        for _ in range(20):
            with self.connect(self.server) as client:
                try:
                    client.send_raw(encode("PING") + b"*1\r\n!\r\n" + b"x" * 500_000)
                except OSError:
                    pass
                self.assertEqual(client.read(), "PONG")
                self.assert_error(client.read(), "ERR")
                self.assertTrue(client.ended())

    def test_garbage_never_hurts(self):
        seed = int(time.time())
        rng = random.Random(seed)
        alphabet = [b"*", b"$", b"\r\n", b"\n", b"-1", b"3", b"PING", b"CLAIM", b"\"", b"'",
                    b"\x00", b" ", b"*2\r\n$4\r\nECHO\r\n$1\r\na\r\n", b"99999999999"]
        for _ in range(300):
            with self.connect(self.server) as client:
                client.send_raw(b"".join(rng.choices(alphabet, k=rng.randrange(1, 40))))
        eventually(lambda: self.server.info("clients", self.client)["connected_clients"] == "1",
                   f"all garbage senders (seed {seed}) gone")
        self.assertEqual(self.client.call("PING"), "PONG")


def serves(server):
    """Whether a new connection is served. A connection that gets no answer counts as not served."""
    try:
        with Client(server, timeout=2) as client:
            return client.call("PING") == "PONG"
    except (Closed, OSError):
        return False


class TooMany(ServerCase):
    def test_maxclients_and_accepting_again(self):
        server = self.start("--maxclients", "20")
        clients = [self.connect(server) for _ in range(20)]
        for client in clients:
            self.assertEqual(client.call("PING"), "PONG")
        for _ in range(30):
            extra = self.connect(server)
            try:
                reply = extra.read()
                self.assert_error(reply, "ERR")
                self.assertIn("max number of clients reached", str(reply))
            except Closed:
                self.fail("the refusal did not reach the client")
            self.assertTrue(extra.ended())
        for client in clients:
            self.assertEqual(client.call("PING"), "PONG")
        for client in clients[:10]:
            client.close()

        eventually(lambda: serves(server), "accepting again")
        eventually(lambda: server.info("clients", clients[10])["connected_clients"]
                   == str(len(clients) - 10), "the closed ones are gone")
        again = [self.connect(server) for _ in range(9)]
        for client in again + clients[10:]:
            self.assertEqual(client.call("PING"), "PONG")

    def test_a_low_limit_of_descriptors_lowers_maxclients(self):
        server = self.start(nofile=100)
        control = self.connect(server)
        most = int(control.call("CONFIG", "GET", "maxclients")[1])
        self.assertIn(f"maxclients is {most}", server.log())
        clients = [self.connect(server) for _ in range(most - 1)]
        for client in clients:
            self.assertEqual(client.call("PING"), "PONG")
        extra = self.connect(server)
        self.assertIn("max number of clients reached", str(extra.read()))
        self.assertLess(server.descriptors(), 100)

    def test_config_set_of_maxclients_over_the_limit_of_descriptors_is_refused(self):
        server = self.start("--maxclients", "20", nofile=100)
        control = self.connect(server)
        reply = control.call("CONFIG", "SET", "lease", "7s", "maxclients", "1000")
        self.assert_error(reply, "ERR")
        found = re.search(r"'maxclients'.* try with (\d+): the limit of open files is 100$",
                          str(reply))
        self.assertTrue(found, str(reply))
        self.assertEqual(control.call("CONFIG", "GET", "maxclients"), [b"maxclients", b"20"])
        self.assertEqual(control.call("CONFIG", "GET", "lease"), [b"lease", b"60000"], "all or none")
        self.assertEqual(control.call("CONFIG", "SET", "lease", "7s"), "OK")
        most = int(found.group(1))
        self.assert_error(control.call("CONFIG", "SET", "maxclients", most + 1), "ERR")
        self.assertEqual(control.call("CONFIG", "SET", "maxclients", most), "OK")
        clients = [self.connect(server) for _ in range(most - 1)]
        for client in clients:
            self.assertEqual(client.call("PING"), "PONG", "each of them is answered")
        self.assertIn("max number of clients reached", str(self.connect(server).read()))

    def test_config_set_of_maxclients_raises_a_limit_of_descriptors_that_may_be_raised(self):
        server = self.start("--maxclients", "20")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (100, 200))
        control = self.connect(server)
        self.assertEqual(control.call("CONFIG", "SET", "maxclients", "120"), "OK")
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        self.assertGreater(soft, 120)
        self.assertEqual(hard, 200)
        # If the limit is lowered from outside, other settings can still be changed.
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (90, 200))
        self.assertEqual(control.call("CONFIG", "SET", "lease", "7s"), "OK")

    def test_out_of_descriptors_and_accepting_again(self):
        server = self.start()
        self.assertTrue(serves(server))
        limit = server.descriptors() + 40
        hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, hard))
        clients = [self.connect(server) for _ in range(150)]
        for client in clients:
            try:
                client.send("PING")
            except OSError:
                pass  # the server has closed it

        def served():
            """How many were answered; the others wait to be accepted, or were refused."""
            return sum(self.heard(client).startswith(b"+PONG") for client in clients)
        eventually(lambda: served() >= 39, "as many are served as there are descriptors")
        eventually(lambda: self.is_idle(server), "a server that uses no CPU while it waits for a descriptor")
        measured(f"with {limit} descriptors {served()} of {len(clients)} connections were served")
        self.assertLess(served(), limit)
        refused = [client for client in clients if not client.buffer.startswith(b"+PONG")]
        for client in refused:
            with self.assertRaises((Closed, ConnectionResetError), msg="refused, not left waiting"):
                self.assert_error(client.read(), "ERR")
                client.read()
        self.assertIn("connection refused: Too many open files", server.log())
        for client in clients:
            client.close()
        eventually(lambda: serves(server), "accepting again")

    @staticmethod
    def heard(client):
        try:
            if client.readable() and not client.buffer:
                client.buffer += client.sock.recv(64)
        except ConnectionResetError:
            pass
        return client.buffer

    @staticmethod
    def is_idle(server):
        """It uses less than a tenth of the CPU during half a second."""
        def cpu_seconds():
            with open(f"/proc/{server.pid}/stat", encoding="ascii") as file:
                fields = file.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        cpu, before = cpu_seconds(), time.monotonic()
        time.sleep(0.5)
        return cpu_seconds() - cpu < (time.monotonic() - before) / 10


class Log(ServerCase):
    def test_events_that_clients_cause_are_logged_once_a_minute(self):
        """Each kind of line that any client can cause: the first event has a line, the next ones are counted."""
        count, started = 200, time.monotonic()
        server = self.start("--client-input-total", "64kb")
        for _ in range(count):
            with self.connect(server) as client:
                client.send_raw(b"GET / HTTP/1.1\r\n\r\n")
                self.assertTrue(client.ended())
            with self.connect(server) as client:
                client.send_raw(b"*2\r\n$4\r\nECHO\r\n$100000\r\n" + b"x" * 70000)
                self.assertTrue(client.ended())
        server.signal(signal.SIGTERM)
        self.assertEqual(server.leave(), 0)
        minutes = int((time.monotonic() - started) / 60)
        for kind in ("it speaks HTTP", "half-received commands reach client-input-total"):
            lines = [line for line in server.log().splitlines() if kind in line]
            self.assertRegex(lines[0], rf"# client closed: {kind} \(client \d+\)$")
            self.assertLessEqual(len(lines), 2 + minutes, "one a minute, and one at the end")
            more = [int(re.search(r"\((\d+) more\)$", line).group(1)) for line in lines[1:]
                    if line.endswith("more)")]
            self.assertEqual(len(lines) - len(more) + sum(more), count, lines)


class SlowReaders(ServerCase):
    def test_a_reader_that_does_not_read(self):
        """Clients ask for 2 GiB and do not read: the server holds a bounded part and serves others."""
        server = self.start()
        control = self.connect(server)
        token = self.claim(control, "k")[0]
        body = os.urandom(MIB)
        self.assertEqual(control.call("STORE", "k", token, body), 0)
        base = server.rss_bytes()
        lazy = [self.connect(server) for _ in range(4)]
        for client in lazy:
            client.sock.settimeout(0.3)
            try:
                client.send_raw(encode("FETCH", "k") * 500)
            except OSError:
                pass
        latencies = []
        for _ in range(500):
            started = time.monotonic()
            self.assertEqual(control.call("PING"), "PONG")
            latencies.append((time.monotonic() - started) * 1000)
        grown = (server.peak_rss_bytes() - base) / MIB
        measured(f"2 GiB unread: the server's peak grew by {grown:.1f} MiB, others' PING p99 "
                 f"{percentile(latencies, 0.99):.2f} ms")
        if not INSTRUMENTED:
            self.assertLess(grown, 64)
        # A client that reads again gets whole replies or finds itself closed; it never gets a torn reply.
        client = lazy[0]
        client.sock.settimeout(HANG_SECONDS)
        for _ in range(500):
            try:
                self.assertEqual(client.read()[1], body)
            except (Closed, OSError):
                break
        self.assertEqual(control.call("PING"), "PONG")

    def test_a_reader_that_takes_a_little_all_the_time(self):
        server = self.start("--client-output-limit", "1mb", "--client-output-timeout", "6s")
        client = self.connect(server)
        body = os.urandom(14 * MIB)
        self.assertEqual(client.call("SET", "k", body), "OK")
        client.send("GET", "k")
        end = time.monotonic() + 8  # longer than the timeout, and less than the whole reply
        while time.monotonic() < end and len(client.buffer) < 10 * MIB:
            client.buffer += client.sock.recv(2**16)
            time.sleep(0.1)  # the slow reader is the subject
        self.assertEqual(client.read(), body)
        self.assertEqual(client.call("PING"), "PONG")

    def test_a_reader_that_takes_nothing_is_closed_however_little_is_left(self):
        server = self.start("--client-output-timeout", "1s")
        control, lazy = self.connect(server), self.connect(server)
        self.assertEqual(control.call("SET", "k", os.urandom(14 * MIB)), "OK")
        lazy.send("GET", "k")  # far under client-output-limit
        eventually(lambda: server.info("stats", control)
                   ["client_output_buffer_limit_disconnections"] == "1", "a closed reader")

    def test_all_readers_together_have_a_quarter_of_maxmemory(self):
        raise_nofile()
        server = self.start("--maxmemory", "64mb")
        control = self.connect(server)
        self.assertEqual(control.call("SET", "k", os.urandom(15000)), "OK")
        base = server.rss_bytes()
        lazy = [self.connect(server) for _ in range(400)]
        for client in lazy:
            client.sock.setblocking(False)
            for _ in range(5):
                try:
                    client.sock.send(encode("GET", "k") * 500)
                except BlockingIOError:
                    break
        eventually(lambda: self.held(control) > 8 * MIB, "readers with large unread replies")
        held = max(self.held(control) for _ in range(50))
        measured(f"400 readers that do not read: {held / MIB:.1f} MiB of replies, rss grew by "
                 f"{(server.peak_rss_bytes() - base) / MIB:.1f} MiB")
        self.assertLess(held, 16 * MIB + 400 * 16384)  # and one more reply for each reader

    def held(self, control):
        listed = control.call("CLIENT", "LIST").decode()
        return sum(map(int, re.findall(r" omem=(\d+)", listed)))

    def test_small_answers_that_are_not_read(self):
        server = self.start()
        control = self.connect(server)
        base = server.rss_bytes()
        lazy = self.connect(server)
        lazy.sock.setblocking(False)
        data = encode("ECHO", "x" * 100) * 1000
        sent = 0
        while sent < 200 * MIB:
            _, writable, _ = select.select([], [lazy.sock], [], 1)
            if not writable:
                break  # the server stops reading commands whose replies it cannot send
            try:
                sent += lazy.sock.send(data)
            except OSError:
                break
        grown = (server.peak_rss_bytes() - base) / MIB
        measured(f"{sent / MIB:.0f} MiB of commands sent, no answer read: the server's peak grew "
                 f"by {grown:.1f} MiB")
        if not INSTRUMENTED:
            self.assertLess(grown, 100)
        self.assertEqual(control.call("PING"), "PONG")


def greedy(address, seconds):
    """Pipelines claims as fast as it can and reads the replies."""
    client = Client(address)
    client.sock.setblocking(False)
    data = b"".join(encode("CLAIM", f"greedy{n}") for n in range(5000))
    view, deadline = memoryview(data), time.monotonic() + seconds
    while time.monotonic() < deadline:
        readable, writable, _ = select.select([client.sock], [client.sock], [], 0.1)
        if readable:
            client.sock.recv(1 << 20)
        if writable:
            view = view[client.sock.send(view):] or memoryview(data)
    client.close()


class Fairness(ServerCase):
    def test_a_heavy_pipeline_does_not_starve_a_ping(self):
        server = self.start()
        control = self.connect(server)
        process = multiprocessing.get_context("fork").Process(target=greedy,
                                                              args=(server.address, 3))
        process.start()
        self.addCleanup(process.kill)
        eventually(lambda: control.call("DBSIZE") > 0, "the greedy client at work")
        latencies, until = [], time.monotonic() + 2
        while time.monotonic() < until:
            started = time.monotonic()
            self.assertEqual(control.call("PING"), "PONG")
            latencies.append((time.monotonic() - started) * 1000)
            time.sleep(0.001)
        process.join()
        measured(f"PING beside a heavy pipeline: p50 {percentile(latencies, 0.5):.2f} ms, p99 "
                 f"{percentile(latencies, 0.99):.2f} ms, worst {max(latencies):.2f} ms")

    def test_a_huge_pipeline_already_there_does_not_block_others(self):
        """On one loop, the commands of one connection lie in the server's socket before those of another."""
        server = self.start("--threads", "1")
        control = self.connect(server)
        done_before = []
        for _ in range(5):
            heavy = self.connect(server)
            base = int(server.info("stats", control)["total_commands_processed"])
            with server.stopped():
                heavy.send_raw(b"PING\r\n" * QUEUED)
                control.send("INFO", "stats")
            count = re.search(rb"total_commands_processed:(\d+)", control.read())
            done_before.append(int(count.group(1)) - base)
            heavy.reset()
        measured(f"of {QUEUED} commands that were there before another client's, {done_before} "
                 f"ran before it")
        self.assertLess(max(done_before), QUEUED // 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
