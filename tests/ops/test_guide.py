"""server/GUIDE.md is followed, from its first line to its last, on a bare Debian that has the packages in /root.

A block ```console has commands after `# `, which root types, and below each what it prints: `...` is any text, alone on a
line any lines; `<token>` is the same number wherever it stands. A command that begins with `systemctl` or `journalctl` is
carried out by service.py. `export` and `alias` hold for the commands after them. A block ```file PATH is written to PATH,
```add PATH is added to it.
"""

import glob
import os
import re
import shutil
import subprocess
import unittest

import service
from bare import Bare, need
from harness import ROOT
from test_package import PACKAGES, UNIT, needed, package, setUpModule  # noqa: F401

GUIDE = os.path.join(ROOT, "server/GUIDE.md")
BLOCK = re.compile(r"^```(console|file|add) ?(\S*)\n(.*?)^```$", re.M | re.S)
TOOLS = ["logrotate", "openssl", "redis-tools", "iproute2", "util-linux"]


def steps(text):
    """(line, kind, argument, what is expected or written)"""
    for found in BLOCK.finditer(text):
        line = text[:found.start()].count("\n") + 2
        if found[1] != "console":
            yield line, found[1], found[2], found[3]
            continue
        for number, command in enumerate(re.split(r"^# ", found[3], flags=re.M)[1:]):
            words, _, output = command.partition("\n")
            while words.endswith("\\"):
                more, _, output = output.partition("\n")
                words = words[:-1] + more.strip()
            yield line, "run", words, output


def pattern(expected, known):
    """The expression that the output has to match; numbers of <token> that are known already stand in it."""
    out = ""
    for part in re.split(r"(\.\.\.|<\w+>|\n)", expected.strip()):
        name = part.strip("<>")
        if part == "...":
            out += r"[\s\S]*?"
        elif part == f"<{name}>" and name in known:
            out += re.escape(known[name])
        elif part == f"<{name}>":
            out += rf"(?P<{name}>\d+)"
        else:
            out += re.escape(part)
    return re.compile(out + r"\s*\Z")


class Followed(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        need()
        self.bare = Bare(needed() + TOOLS, network=True)
        self.addCleanup(self.bare.remove)
        for name in PACKAGES:
            shutil.copy(package(name), self.bare.path("/root"))
        self.service, self.prelude, self.known = None, "", {}
        self.addCleanup(lambda: self.service and self.service.close())

    def test_from_the_first_line_to_the_last(self):
        with open(GUIDE, encoding="utf-8") as file:
            found = list(steps(file.read()))
        self.assertGreater(len(found), 30)
        for line, kind, argument, text in found:
            with self.subTest(f"server/GUIDE.md:{line}: {argument}"):
                if kind == "run":
                    self.obey(argument, text)
                else:
                    self.bare.write(argument, text, add=kind == "add")

    def obey(self, command, expected):
        status, said = self.run_one(self.fill(command))
        if not expected.strip():
            self.assertEqual((status, said.strip()), (0, ""))
            return
        match = pattern(expected, self.known).match(said.strip())
        self.assertTrue(match, f"the guide says:\n{expected}\nit printed:\n{said}")
        self.known.update(match.groupdict())

    def fill(self, command):
        return re.sub(r"<(\w+)>", lambda found: self.known.get(found[1], found[0]), command)

    def run_one(self, command):
        """(status, output)"""
        if command.startswith(("export ", "alias ")):
            self.prelude += command + "\n"
        if command.startswith("systemctl "):
            return self.systemctl(*command.split()[1:])
        if command.startswith("journalctl "):
            return 0, self.service.log()
        done = subprocess.run(self.bare.command("sh", "-c", self.prelude + "cd /root\n" + command), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=self.bare.environment())
        return done.returncode, done.stdout

    def systemctl(self, verb, *names):
        self.assertIn("idem-server", names)
        if verb in ("stop", "restart") and self.service:
            self.assertEqual(self.service.stop(), 0)
        if verb in ("start", "restart"):
            if self.service:
                self.service.close()
            self.service = service.Service(self.bare, UNIT).start()
        elif verb == "reload":
            self.service.reload_and_wait()
        elif verb != "stop":
            self.fail(f"systemctl {verb} is not carried out here")
        return 0, ""


if __name__ == "__main__":
    unittest.main()
