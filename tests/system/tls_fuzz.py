#!/usr/bin/python3
"""Malformed hellos and records, from a seed: the server must neither end, nor leak, nor refuse who is well-formed.

usage: tls_fuzz.py [--count N] [--seed N]
A case is a hello, or what a client sends after a real handshake, with some of its bytes changed, cut, doubled or
followed by noise, and sent in pieces. Run it against a sanitized server ($IDEM_SERVER): its report is a failure."""

import argparse
import random
import socket
import ssl
import struct
import sys

sys.dont_write_bytecode = True
from certificates import Authority, TlsClient, free_port  # noqa: E402
from harness import Server, encode  # noqa: E402

GROWTH_BYTES = 48 << 20  # a sanitizer keeps what was freed in quarantine
TYPES = (20, 21, 22, 23, 24, 0, 255)


def mutate(random_of, data):
    data = bytearray(data)
    for _ in range(random_of.choice((1, 1, 2, 5, 50))):
        kind, at = random_of.randrange(6), random_of.randrange(len(data) + 1)
        if kind == 0 and data:
            data[at % len(data)] = random_of.randrange(256)
        elif kind == 1:
            data[at:at] = random_of.randbytes(random_of.choice((1, 5, 100)))
        elif kind == 2:
            del data[at:at + random_of.choice((1, 3, 50))]
        elif kind == 3:
            data[at:at] = data[at:at + random_of.choice((1, 20, 300))]
        elif kind == 4 and len(data) >= 5:  # a length
            where = random_of.choice((3, 6, 7, at % (len(data) - 1)))
            where = min(where, len(data) - 2)
            data[where:where + 2] = struct.pack(">H", random_of.choice((0, 1, 255, 16384, 16640, 65535)))
        else:
            data += record(random_of)
    return bytes(data)


def record(random_of):
    """One that nobody encrypted."""
    body = random_of.randbytes(random_of.choice((0, 1, 2, 40, 500)))
    return bytes([random_of.choice(TYPES), 3, random_of.choice((1, 3, 4))]) + struct.pack(">H", len(body)) + body


class Shaker:
    """The client's half of a handshake, with its bytes in our hands."""

    def __init__(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def hello(self):
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def shake(self, sock):
        sock.sendall(self.hello())
        while True:
            self.incoming.write(sock.recv(65536))
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                more = self.outgoing.read()
                if more:
                    sock.sendall(more)


class Fuzz:
    def __init__(self, arguments):
        self.arguments, self.random = arguments, random.Random(arguments.seed)
        self.ca = Authority()
        pair, self.port = self.ca.sign("server"), free_port()
        self.contexts = [self.ca.context(None, version)
                         for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
        self.server = Server("--port", 0, "--tls-port", self.port, "--tls-cert-file", pair[0], "--tls-key-file", pair[1],
                             "--tls-ca-cert-file", self.ca.certificate, "--tls-auth-clients", "optional")

    def send(self, sock, data):
        try:
            while data:
                cut = self.random.choice((len(data), self.random.randrange(len(data)) + 1))
                sock.sendall(data[:cut])
                data = data[cut:]
            if self.random.randrange(3) == 0:
                sock.shutdown(socket.SHUT_WR)
                sock.recv(65536)
        except OSError:
            pass

    def case(self):
        shaker = Shaker(self.random.choice(self.contexts))
        with socket.create_connection(("127.0.0.1", self.port), 20) as sock:
            if self.random.randrange(4) > 0:
                self.send(sock, mutate(self.random, shaker.hello()))
                return
            shaker.shake(sock)
            for _ in range(self.random.randrange(4)):
                shaker.tls.write(encode("ECHO", "x" * self.random.choice((1, 100, 20000))))
            good = shaker.outgoing.read()
            self.send(sock, mutate(self.random, good) if self.random.randrange(8) else good + record(self.random))

    def check(self):
        with TlsClient(self.port, self.random.choice(self.contexts)) as client:
            assert client.call("PING") == "PONG"

    def run(self):
        warm = self.arguments.count // 4
        before = 0
        for number in range(self.arguments.count):
            self.case()
            if number % 500 == 0:
                self.check()
            if number == warm:
                before = self.server.rss_bytes()
        self.check()
        grown = self.server.rss_bytes() - before
        with TlsClient(self.port, self.contexts[0]) as client:
            figures = self.server.info("all", client)
        print(f"seed {self.arguments.seed}: {self.arguments.count} cases, {figures['tls_handshakes_failed']} failed "
              f"handshakes, {figures['tls_handshakes']} done, RSS {before >> 20} MiB {grown >> 10:+} KiB")
        return 1 if grown > GROWTH_BYTES else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    fuzz = Fuzz(parser.parse_args())
    try:
        with fuzz.server:
            return fuzz.run()
    finally:
        fuzz.ca.remove()


if __name__ == "__main__":
    sys.exit(main())
