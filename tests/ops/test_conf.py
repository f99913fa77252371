"""What is shipped besides programs: idem.conf, the manual, what `make install` leaves. It agrees with the programs."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

import conf
import unit_file
from harness import PROGRAM, ROOT, Server

BUILD = os.path.dirname(PROGRAM)
PLACES = ("/var/lib/idem", "/run/idem", "/var/log/idem")


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, self.directory)

    def moved(self, text):
        """The text with the places of the package under a directory of the test."""
        for place in PLACES:
            os.makedirs(self.directory + place, exist_ok=True)
            text = text.replace(place, self.directory + place)
        return text


class Configuration(Case):
    def setUp(self):
        super().setUp()
        with open(conf.PATH, encoding="utf-8") as file:
            self.text = file.read()

    def test_it_says_what_the_program_says(self):
        self.assertEqual(conf.complaints(), [])

    def test_every_option_is_explained(self):
        names = [option[0] for option in conf.options()]
        self.assertGreater(len(names), 40)
        shown = re.findall(r"^#?([a-z][a-z0-9-]*) (?:\S+|\".*\")[^.]*$", self.text, re.M)
        self.assertEqual(sorted(set(names) - set(shown)), [])
        self.assertEqual(sorted(set(conf.SHIPPED) - set(names)), [], "tests/ops/conf.py ships what there is not")

    def test_the_server_starts_with_it_as_it_is(self):
        with Server("--port", 0, "--bind", "127.0.0.1", config=self.moved(self.text)) as server, server.client() as client:
            got = client.call("CONFIG", "GET", "*")
            got = dict(zip(got[::2], got[1::2]))
            self.assertEqual(got[b"dir"].decode(), self.directory + "/var/lib/idem/journal")
            self.assertEqual(got[b"appendonly"], b"yes")
            self.assertEqual(got[b"appendfsync"], b"always")
            self.assertTrue(stat.S_ISSOCK(os.stat(self.directory + "/run/idem/idem.sock").st_mode))

    def test_the_defaults_that_it_shows_are_values(self):
        """As if an operator had removed each # that stands before an option."""
        text = re.sub(r"^#([a-z])", r"\1", self.moved(self.text), flags=re.M)
        text = re.sub(r"^(port|bind|requirepass) .*\n", "", text, flags=re.M)
        with Server("--port", 0, "--bind", "127.0.0.1", config=text) as server, server.client() as client:
            self.assertEqual(client.call("PING"), "PONG")


class Manual(Case):
    def test_the_pages_say_what_the_programs_say(self):
        self.assertTrue(os.path.exists(os.path.join(BUILD, "idem-bench")), "make idem-bench")
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tests/system/c_examples/manual.py")],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


class Alerts(unittest.TestCase):
    def test_the_guide_explains_each(self):
        with open(os.path.join(ROOT, "server/deploy/prometheus/idem.rules.yml"), encoding="utf-8") as file:
            rules = file.read()
        with open(os.path.join(ROOT, "server/GUIDE.md"), encoding="utf-8") as file:
            guide = file.read()
        alerts, anchors = re.findall(r"alert: (\w+)", rules), re.findall(r"GUIDE\.md#(\w+)", rules)
        self.assertEqual(len(alerts), len(anchors))
        headings = {name.lower() for name in re.findall(r"^### (\w+)$", guide, re.M)}
        self.assertEqual(sorted(set(anchors) - headings), [])
        self.assertEqual([name for name in alerts if name not in guide], [])


class Installed(Case):
    def install(self, prefix):
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("MAKE") and name != "MFLAGS"}
        subprocess.run(["make", "-s", "-C", ROOT, "install", f"DESTDIR={self.directory}", f"PREFIX={prefix}"],
                       env=environment, check=True, stdout=subprocess.DEVNULL)

    def inside(self, path):
        return os.path.join(self.directory, path.lstrip("/"))

    def test_what_the_unit_names_is_there(self):
        self.install("/opt/idem")
        unit = unit_file.Unit(self.inside("/opt/idem/lib/systemd/system/idem-server.service"))
        for path in unit.get("ExecStart").split():
            self.assertTrue(os.path.exists(self.inside(path)), path)
        for value in unit.all("LoadCredential"):
            self.assertTrue(os.path.isdir(self.inside(value.partition(":")[2])), value)
        pages = {name for _, _, names in os.walk(self.inside("/opt/idem/share/man")) for name in names}
        self.assertEqual(pages, {"idem-server.8", "idem-once.1", "idem-bench.1", "libidem.3"})
        documents = [word[5:] for word in unit.get("Documentation").split() if word.startswith("file:")]
        for path in documents:
            self.assertTrue(os.path.exists(self.inside(path)), path)

    def test_configuration_that_is_there_stays(self):
        self.install("/usr")
        with open(self.inside("/etc/idem/idem.conf"), "a", encoding="utf-8") as file:
            file.write("ttl 48h\n")
        self.install("/usr")
        with open(self.inside("/etc/idem/idem.conf"), encoding="utf-8") as file:
            self.assertIn("ttl 48h\n", file.read())


if __name__ == "__main__":
    unittest.main()
