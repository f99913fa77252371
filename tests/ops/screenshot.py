#!/usr/bin/python3
"""Makes the picture of the status page that server/README.md shows: a server under a load as a shop has it, for ten
minutes, which pass in half a minute (fast_clock.c).

usage: screenshot.py PICTURE
"""

import math
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests/system"), os.path.join(ROOT, "tests")]
import run  # noqa: E402
from harness import Server, encode  # noqa: E402

SECONDS = 33  # of this process; twenty times as many of the server's
STEP_SECONDS = 0.05
KINDS = ("charge:order-%d", "mail:welcome-%d", "invoice:2026-11-%d", "stripe:evt_%d", "export:tenant-%d")
STAGES = ("charging the card", "rendering", "waiting for the bank", "uploading")
HOUR_MS = 3_600_000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Shop:
    """Clients of a server. Everything is drawn from one seed."""

    def __init__(self, server):
        self.client, self.rng, self.running, self.waiters = server.client(), random.Random(11), [], []
        self.server, self.number, self.closed = server, 20_000, threading.Event()

    def claim(self, key, *options):
        reply = self.client.call("CLAIM", key, *options)
        return reply[1] if reply[0] == b"CLAIMED" else None

    def stage(self, key, token, stage):
        self.client.call("RENEW", key, token, "STAGE", stage)

    def abandon(self):
        """Owners that have died: of work that may be run again, and of work that may not."""
        for key, stage in (("refund:order-19874", "sent to the bank"), ("payout:2026-11-30:eu", "file uploaded, no answer")):
            token = self.claim(key, "LEASE", 4000, "HOLD")
            self.stage(key, token, stage)
        for number in range(3):
            self.claim(f"report:weekly-{4100 + number}", "LEASE", 3000)

    def finished(self, rate):
        """Requests that are done at once, and retries that get their responses."""
        for _ in range(rate):
            self.number += 1
            key = f"req:{self.rng.getrandbits(64):016x}"
            token = self.claim(key, "FP", "a")
            self.client.call("STORE", key, token, b"x" * self.rng.randrange(200, 3000))
            if self.rng.random() < 0.25:
                self.client.call("CLAIM", key, "FP", "a")
            if self.rng.random() < 0.0003:
                self.client.call("CLAIM", key, "FP", "b")

    def begin(self):
        self.number += 1
        key = self.rng.choice(KINDS) % self.number
        token = self.claim(key, "LEASE", self.rng.randrange(300, 900) * 1000, *(["HOLD"] if self.rng.random() < 0.3 else []))
        if self.rng.random() < 0.5:
            self.stage(key, token, self.rng.choice(STAGES))
        self.running.append((key, token, time.monotonic() + self.rng.expovariate(1 / 2)))

    def end(self):
        now, still = time.monotonic(), []
        for key, token, until in self.running:
            if now < until:
                still.append((key, token, until))
            else:
                self.client.call("STORE", key, token, "done")
        self.running = still

    def wait(self):
        for index, count in ((0, 2), (3, 1)):
            for _ in range(count):
                waiter = self.server.client()
                waiter.send_raw(encode("CLAIM", self.running[index][0], "WAIT", 300_000))
                self.waiters.append(waiter)

    def trade(self):
        """Until the picture is taken."""
        self.abandon()
        begun, waits = time.monotonic(), False
        while not self.closed.is_set():
            passed = time.monotonic() - begun
            wave = 1 + 0.5 * math.sin(passed / 5) + 0.25 * math.sin(passed * 1.7)
            self.finished(int(self.rng.randrange(40, 60) * wave))
            while len(self.running) < 14:
                self.begin()
            self.end()
            if passed > SECONDS - 1 and not waits:
                self.wait()
                waits = True
            if 18 < passed < 19.5 and self.rng.random() < 0.3:
                self.client.call("STORE", "refund:order-19874", 1, "too late")
            time.sleep(STEP_SECONDS)


def main(picture):
    run.prepare("test_page", True)
    os.environ.update(run.environment())
    with tempfile.TemporaryDirectory(prefix="idem-shop-") as directory:
        library = os.path.join(directory, "fast_clock.so")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, os.path.join(HERE, "fast_clock.c"), "-ldl"], check=True)
        port = free_port()
        server = Server("--http-port", port, "--http-bind", "127.0.0.1", "--maxmemory", "256mb", "--appendfsync", "everysec",
                        "--dir", os.path.join(directory, "journal"), env={"LD_PRELOAD": library})
        try:
            shop = Shop(server)
            trading = threading.Thread(target=shop.trade)
            trading.start()
            try:
                time.sleep(SECONDS)
                subprocess.run(["node", os.path.join(HERE, "page.js"), "shoot", f"http://127.0.0.1:{port}/", picture],
                               check=True)
            finally:
                shop.closed.set()
                trading.join()
        finally:
            server.kill()
            server.forget()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
