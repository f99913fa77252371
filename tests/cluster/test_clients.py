"""The snippets of server/module/README.md for clients of a cluster, run as they stand there, but for the port.

redis-cli and redis-py are Debian's. ioredis and node-redis come from npm, into build/cluster-clients; without them that test is
skipped, and says so.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
from nodes import ROOT, Cluster  # noqa: E402

DOCUMENT = os.path.join(ROOT, "server/module/README.md")
PACKAGES = ("ioredis@5", "redis@4")
MODULES = os.path.join(ROOT, "build/cluster-clients")


def snippets(language):
    with open(DOCUMENT, encoding="utf-8") as file:
        return re.findall(rf"^```{language}\n(.*?)^```", file.read(), re.M | re.S)


def install():
    """None, or why the packages cannot be had. Whole or not at all: they have their name once they are complete, and only
    one of several runs at a time installs."""
    os.makedirs(os.path.dirname(MODULES), exist_ok=True)
    with open(MODULES + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return None if os.path.isdir(MODULES) else install_anew(MODULES + ".begun")


def install_anew(begun):
    shutil.rmtree(begun, ignore_errors=True)
    os.makedirs(begun)
    try:
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", begun, *PACKAGES],
                              capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"npm: {problem}"
    if done.returncode != 0:
        return "npm: " + done.stderr[-200:]
    os.rename(begun, MODULES)
    return None


class Snippets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.remove)

    def setUp(self):
        # The snippet asks a node that has not the key, so that it has to be redirected.
        self.port = str(self.cluster.nodes[(self.cluster.master_of("order-1") + 1) % 3].port)
        self.cluster.nodes[self.cluster.master_of("order-1")].call("DEL", "order-1")

    def run_text(self, command, text, suffix, directory=None):
        with tempfile.NamedTemporaryFile("w", suffix=suffix, dir=directory) as file:
            file.write(text.replace("7000", self.port))
            file.flush()
            done = subprocess.run([*command, file.name], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def assert_stored(self):
        self.assertEqual(self.cluster.caller().call("IDEM.FETCH", "order-1")[:2], [b"DONE", b"paid"])

    def test_redis_cli(self):
        text, = snippets("sh")
        self.assertIn("CLAIMED", self.run_text(["sh"], text, ".sh"))

    def test_redis_py(self):
        text, = snippets("python")
        self.run_text(["/usr/bin/python3"], text, ".py")
        self.assert_stored()

    def test_ioredis_and_node_redis(self):
        problem = install()
        if problem:
            self.skipTest(problem)
        for text in snippets("js"):
            with self.subTest(text.split("\n", 1)[0]):
                self.setUp()
                self.run_text(["node"], text, ".mjs", MODULES)
                self.assert_stored()


if __name__ == "__main__":
    unittest.main()
