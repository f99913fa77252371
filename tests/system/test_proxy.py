"""PROXY protocol, version 2: the address of a client behind a load balancer; from named addresses only."""

import re
import socket
import struct
import time

from harness import RespError, ServerCase, encode, eventually

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BALANCER, OTHER = "127.0.0.1", "127.0.0.2"
WHOLE_ROOM = 1024


def header(peer=("10.0.0.7", 4660), local=("192.168.1.2", 4336), command=1, more=b""):
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    addresses = b"".join(socket.inet_pton(family, host) for host, _ in (peer, local))
    addresses += struct.pack("!HH", peer[1], local[1]) + more
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, 0x11 if family == socket.AF_INET else 0x21, len(addresses)) + addresses


class Proxy(ServerCase):
    def balanced(self, *options, **settings):
        return self.start("--proxy-protocol", "10.1.0.0/16", BALANCER, *options, **settings)

    def behind(self, server, first=None, **more):
        client = self.connect(server)
        client.send_raw(header(**more) if first is None else first)
        return client

    def assert_refused(self, client, why):
        reply = client.read()
        self.assertIsInstance(reply, RespError)
        self.assertEqual(str(reply), "ERR Protocol error: " + why)
        self.assertTrue(client.ended())

    def test_the_address_is_the_clients(self):
        for loops in (1, 4):
            server = self.balanced("--threads", loops)
            for peer, shown in ((("10.0.0.7", 4660), "10.0.0.7:4660"), (("fd00::7", 1), "[fd00::7]:1")):
                local = ("192.168.1.2", 4336) if "." in peer[0] else ("fd00::2", 4336)
                client = self.behind(server, peer=peer, local=local, more=b"\x04\0\x03\0\0\0")
                info = client.call("CLIENT", "INFO").decode()
                self.assertIn(f" addr={shown} ", info)
                self.assertIn(" laddr=192.168.1.2:4336 " if "." in peer[0] else " laddr=[fd00::2]:4336 ", info)
            client = self.behind(server, command=0)
            self.assertIn(f" addr={BALANCER}:", client.call("CLIENT", "INFO").decode())

    def test_a_header_in_pieces_and_what_follows_it(self):
        server = self.balanced()
        sent = header(more=b"\x04\0\x80" + bytes(128)) + encode("PING") + encode("ECHO", b"\r\n" * 3000)
        for step in (1, 7, 16, 100, len(sent)):
            client = self.connect(server)
            for at in range(0, min(len(sent), 300) if step < 100 else len(sent), step):
                client.send_raw(sent[at:at + step])
            if step < 100:
                client.send_raw(sent[-(-300 // step) * step:])
            self.assertEqual([client.read(), client.read()], ["PONG", b"\r\n" * 3000])

    def test_failed_auths_are_the_clients(self):
        server = self.balanced(config="requirepass right\n")
        client = self.behind(server)
        client.send("AUTH", "wrong")
        eventually(lambda: re.search(r"wrong password from 10\.0\.0\.7:4660 ", server.log()), "its address in the log")

    def test_without_a_header(self):
        server = self.balanced()
        needed = "from this address a PROXY header of version 2 comes first"
        self.assert_refused(self.behind(server, encode("PING")), needed)
        self.assert_refused(self.behind(server, b"\x16\x03\x01\x02\0"), needed)
        self.assert_refused(self.behind(server, b"PROXY TCP4 10.0.0.7 10.0.0.1 4660 4336\r\n"),
                            "the PROXY header has version 1, version 2 is needed")
        self.assert_refused(self.behind(server, header(command=2)), "the PROXY header is malformed")
        self.assert_refused(self.behind(server, SIGNATURE + b"\x21\x11\xff\xff"), "the PROXY header is too long")
        for gone in (b"", SIGNATURE):
            client = self.behind(server, gone)
            client.half_close()
            self.assertTrue(client.ended())
        client = self.behind(server)
        self.assertEqual(server.info("stats", client)["proxy_header_disconnections"], "5")
        self.assertEqual(server.info("clients", client)["connected_clients"], "1")
        lines = re.findall("load balancer's connection closed: .*", server.log())
        self.assertEqual(lines, ["load balancer's connection closed: " + needed])

    def test_from_others(self):
        for server in (self.balanced(), self.start()):
            client = self.connect(server, source=OTHER)
            self.assertEqual(client.call("PING"), "PONG")
            for sent in (header(), b"PROXY TCP4 10.0.0.7 10.0.0.1 4660 4336\r\n"):
                client = self.connect(server, source=OTHER)
                client.send_raw(sent)
                self.assert_refused(client, "a PROXY header from an address that may send none")

    def test_it_has_five_seconds_and_a_place(self):
        server = self.balanced()
        began = time.monotonic()
        first = self.behind(server, SIGNATURE)
        eventually(lambda: server.descriptors() > 0)
        late = [self.behind(server, b"\r") for _ in range(WHOLE_ROOM)]
        self.assert_refused(first, "the PROXY header did not arrive in time")
        self.assertLess(time.monotonic() - began, 5, "it has made room")
        self.assert_refused(late[-1], "the PROXY header did not arrive in time")
        self.assertGreater(time.monotonic() - began, 4.9)
        client = self.behind(server)
        self.assertEqual(client.call("PING"), "PONG")

    def test_those_that_wait_do_not_delay_the_end(self):
        server = self.balanced()
        clients = [self.behind(server, SIGNATURE) for _ in range(3)]
        self.assertEqual(self.behind(server).call("PING"), "PONG")
        server.stop()
        for client in clients:
            self.assertTrue(client.ended())

    def test_bad_addresses(self):
        for value in ("localhost", "10.0.0.0/33"):
            server = self.start("--proxy-protocol", value, wait_ready=False)
            self.assertEqual(server.leave(), 1)
            self.assertIn("for proxy-protocol: expected numeric addresses", server.log())
