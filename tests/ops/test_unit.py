"""server/deploy/idem-server.service: systemd takes it, it exposes little, and the server lives with what it forbids.

There is no systemd that could run it here, so two things stand in for it: systemd-analyze reads the file, and strace refuses
with EPERM what the unit's SystemCallFilter refuses, while whole conversations are held with the server.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import harness
import unit_file
from harness import PROGRAM, ROOT, Server

NAME = "idem-server.service"
PATH = os.path.join(ROOT, "server/deploy", NAME)
MOST_EXPOSED = 1.5
# Looked at, and let through: the families of sockets, and memory that could be written and then executed.
WATCHED = {"socket", "socketpair", "mmap", "mprotect", "pkey_mprotect", "shmat"}
# MemoryDenyWriteExecute refuses these.
EXECUTABLE = re.compile(r"mmap\(.*PROT_WRITE\|PROT_EXEC|mprotect\(.*PROT_EXEC|shmat\(.*SHM_EXEC")
FAMILIES = re.compile(r"^(?:\d+ +)?socket(?:pair)?\((AF_\w+)", re.M)
CALL = re.compile(r"^(?:\d+ +)?(\w+)\(", re.M)
CONVERSATIONS = ["claim", "store", "waiting", "transaction", "introspection", "pubsub", "bind"]


def may_trace():
    tried = subprocess.run(["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "true"],
                           capture_output=True)
    return tried.returncode == 0


class Case(unittest.TestCase):
    def setUp(self):
        self.unit = unit_file.Unit(PATH)
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, self.directory)

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path


class Read(Case):
    def copy(self):
        """The unit with the program that was just built."""
        with open(PATH, encoding="utf-8") as file:
            return self.file(NAME, file.read().replace("/usr/bin/idem-server", PROGRAM))

    def test_systemd_finds_nothing_wrong(self):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", self.copy()], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_it_exposes_little(self):
        done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager",
                               f"--threshold={int(MOST_EXPOSED * 10)}", self.copy()], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        self.assertTrue(level, done.stdout)
        print(f"measured: exposure {level[1]}, at most {MOST_EXPOSED}")
        self.assertLessEqual(float(level[1]), MOST_EXPOSED)
        self.assertEqual(done.returncode, 0)

    def test_it_fits_the_defaults_of_the_server(self):
        told = subprocess.run([PROGRAM, "--help", "markdown"], capture_output=True, text=True).stdout
        default = dict(re.findall(r"^\| `(\S+)` \| `(.*?)` \|", told, re.M))
        self.assertEqual(default["drain-timeout"], "60s")
        self.assertGreater(self.unit.seconds("TimeoutStopSec"), 60)
        self.assertGreater(int(self.unit.get("LimitNOFILE")), int(default["maxclients"]))
        self.assertIn("78", self.unit.get("RestartPreventExitStatus").split())


class Forbidden(Case):
    """Whole conversations while what the unit's filter refuses is refused."""

    def setUp(self):
        super().setUp()
        if not may_trace():
            self.skipTest("this machine does not let a process be traced")
        self.allowed = unit_file.allowed_calls(self.unit)
        self.log = os.path.join(self.directory, "trace")
        os.mkdir(self.log)

    def wrapper(self, *options):
        """A program that is idem-server under the filter; what it refuses, and sockets, are written down. That
        only these stop the server keeps it fast."""
        # Names that this strace or this architecture does not know are no matter: `?`.
        names = ",".join("?" + name for name in sorted(self.allowed - WATCHED))
        refused = ",".join("?" + name for name in sorted(self.allowed))
        words = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-e", f"trace=!{names}",
                 "-e", f"inject=!{refused}:error=EPERM", "-o", f"{self.log}/$$", PROGRAM, *options]
        text = "exec " + " ".join(f"'{word}'" if "$" not in word else word for word in words)
        return self.file("idem-server", f"#!/bin/sh\n{text} \"$@\"\n", 0o755)

    def seen(self):
        calls, families, executable = set(), set(), []
        for name in os.listdir(self.log):
            with open(os.path.join(self.log, name), encoding="utf-8", errors="replace") as file:
                text = file.read()
            calls |= set(CALL.findall(text))
            families |= set(FAMILIES.findall(text))
            executable += EXECUTABLE.findall(text)
        return calls - WATCHED, families, executable

    def check(self):
        calls, families, executable = self.seen()
        self.assertEqual(executable, [], "the unit's MemoryDenyWriteExecute does not allow these")
        self.assertEqual(calls, set(), "the unit's SystemCallFilter does not allow these")
        allowed = set(self.unit.get("RestrictAddressFamilies").split())
        self.assertEqual(families - allowed, set(), "the unit's RestrictAddressFamilies does not allow these")
        return families

    def converse(self, server):
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tests/wire/run.py"),
                               *(os.path.join(ROOT, f"tests/wire/{name}.transcript") for name in CONVERSATIONS)],
                              env={**os.environ, "IDEM_SERVER": server, "TMPDIR": self.directory}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:])

    def test_conversations(self):
        self.converse(self.wrapper())
        self.assertIn("AF_INET", self.check())

    def test_a_journal_and_four_loops(self):
        wrapper = self.wrapper("--threads", "4", "--unixsocket", self.directory + "/socket")
        journal = self.directory + "/journal"
        for _ in range(2):
            with mock.patch.object(harness, "PROGRAM", wrapper), \
                    Server("--dir", journal, "--segment-size", "1mb") as server:
                with server.client() as client:
                    for number in range(40):
                        client.call("SET", f"key-{number}", b"x" * 100000)
                    self.assertEqual(client.call("CONFIG", "SET", "maxclients", "5000"), "OK")
        self.assertIn("AF_UNIX", self.check())

    def test_that_it_refuses(self):
        self.assertNotIn("chroot", self.allowed)
        self.assertNotIn("setrlimit", self.allowed)
        self.assertIn("fdatasync", self.allowed)


if __name__ == "__main__":
    unittest.main()
