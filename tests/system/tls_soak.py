#!/usr/bin/python3
"""Commands over TLS while the certificates are read again and again: none may fail.

usage: tls_soak.py [--seconds N] [--reload SECONDS] [--threads N]
Clients of three kinds: one connection for all commands; a new one for each few; large bodies both ways. By turns the
certificate is another one, the file is broken for a moment (the reload fails), and CONFIG SET asks for it instead
of SIGHUP. Afterwards the memory of the server has to be where it was."""

import argparse
import os
import random
import shutil
import signal
import ssl
import sys
import threading
import time

sys.dont_write_bytecode = True
from certificates import Authority, TlsClient, free_port  # noqa: E402
from harness import INSTRUMENTED, Server  # noqa: E402

CERTIFICATES = 3
BODY = 1 << 20
GROWTH_BYTES = 24 << 20


class Soak:
    def __init__(self, arguments):
        self.arguments = arguments
        self.ca = Authority()
        self.pair = self.ca.path("live.pem"), self.ca.path("live.key")
        self.others = [self.ca.sign(f"server{number}") for number in range(CERTIFICATES)]
        self.own = self.ca.sign("client")
        self.put(0)
        self.port = free_port()
        self.server = Server("--port", 0, "--tls-port", self.port, "--tls-cert-file", self.pair[0], "--tls-key-file",
                             self.pair[1], "--tls-ca-cert-file", self.ca.certificate, "--threads", arguments.threads)
        self.failures, self.commands, self.reloads = [], 0, 0
        self.stopping = threading.Event()
        self.lock = threading.Lock()

    def put(self, number):
        """As certbot does: whole files, by rename."""
        for path, live in zip(self.others[number % CERTIFICATES], self.pair):
            shutil.copy(path, live + ".new")
            os.rename(live + ".new", live)

    def connect(self):
        version = random.choice((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
        return TlsClient(self.port, self.ca.context(self.own, version), timeout=60)

    def count(self, number):
        with self.lock:
            self.commands += number

    def stay(self, name):
        with self.connect() as client:
            while not self.stopping.is_set():
                key = f"{name}:{random.random()}"
                token = client.call("CLAIM", key)[1]
                assert client.call("STORE", key, token, "x", "TTL", 1000) == 0
                self.count(2)

    def come_and_go(self, _):
        while not self.stopping.is_set():
            with self.connect() as client:
                assert client.call("PING") == "PONG"
                self.count(1)

    def carry(self, name):
        body = os.urandom(BODY)
        with self.connect() as client:
            while not self.stopping.is_set():
                client.call("SET", name, body)
                assert client.call("GET", name) == body
                self.count(2)

    def guarded(self, work, name):
        try:
            work(name)
        except Exception as failure:  # pylint: disable=broad-except
            self.failures.append(f"{name}: {type(failure).__name__}: {failure}")

    def reload(self):
        with self.connect() as client:
            while not self.stopping.wait(self.arguments.reload):
                self.reloads += 1
                if self.reloads % 5 == 0:
                    with open(self.pair[0], "w", encoding="ascii") as file:
                        file.write("broken")
                else:
                    self.put(self.reloads)
                if self.reloads % 2 == 0:
                    client.call("CONFIG", "SET", "tls-cert-file", self.pair[0], "tls-key-file", self.pair[1])
                else:
                    self.server.signal(signal.SIGHUP)

    def run(self):
        work = [(self.stay, f"stay{n}") for n in range(4)] + [(self.come_and_go, f"go{n}") for n in range(4)]
        work += [(self.carry, f"carry{n}") for n in range(2)] + [(lambda _: self.reload(), "reload")]
        threads = [threading.Thread(target=self.guarded, args=each, daemon=True) for each in work]
        for thread in threads:
            thread.start()
        time.sleep(self.arguments.seconds / 3)
        before = self.server.rss_bytes()
        ends = time.monotonic() + self.arguments.seconds * 2 / 3
        while time.monotonic() < ends and not self.failures:
            time.sleep(0.05)
        self.stopping.set()
        for thread in threads:
            thread.join(60)
        return before

    def report(self, before):
        self.put(0)
        self.server.signal(signal.SIGHUP)
        with self.connect() as client:
            figures = self.server.info("all", client)
        grown = self.server.rss_bytes() - before
        print(f"{self.commands} commands, {figures['tls_handshakes']} handshakes, {self.reloads} reloads "
              f"({figures['tls_reloads_failed']} refused), {len(self.failures)} failures, "
              f"RSS {before >> 10} KiB {grown >> 10:+} KiB")
        for failure in self.failures:
            print("FAILED:", failure)
        grows = grown > GROWTH_BYTES and not INSTRUMENTED
        if grows:
            print("FAILED: memory grows")
        return 1 if self.failures or grows or int(figures["tls_handshakes_failed"]) > 0 else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--reload", type=float, default=1)
    parser.add_argument("--threads", type=int, default=2)
    soak = Soak(parser.parse_args())
    try:
        with soak.server:
            return soak.report(soak.run())
    finally:
        soak.ca.remove()


if __name__ == "__main__":
    sys.exit(main())
