"""`make deb`: lintian finds nothing, and a bare Debian installs, upgrades, removes and purges the packages, and keeps what was
answered. systemctl is replaced by service.py, which starts what the installed unit starts.
"""

import glob
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import unittest

import service
import unit_file
from bare import Bare, need
from harness import ROOT, Client, eventually

UNIT = "/lib/systemd/system/idem-server.service"
PACKAGES = ("idem-server", "idem-tools", "libidem0", "libidem-dev")
SOCKET = "/run/idem/idem.sock"
PASSWORD = "a-password-of-the-test"
PROGRAM = """#include <idem.h>
#include <stdio.h>
int main(void) { return puts(idem_version()) < 0; }
"""
# Chosen of alternatives: the one that needs no init.
PREFERRED = "systemd-standalone-sysusers"
BUILT = {}


def run(*words, **more):
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)} left with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def setUpModule():
    """Builds the packages, unless IDEM_DEB has them already."""
    BUILT["directory"] = os.environ.get("IDEM_DEB", os.path.join(ROOT, "build/deb"))
    if "IDEM_DEB" in os.environ:
        return
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and
                   name != "MFLAGS"}
    run("make", "-s", "-C", ROOT, "deb", env=environment)


def package(name):
    found = glob.glob(os.path.join(BUILT["directory"], name + "_*.deb"))
    if len(found) != 1:
        raise AssertionError(f"{name}: {found}")
    return found[0]


def field(path, name):
    return run("dpkg-deb", "-f", path, name).strip()


def needed():
    """The packages of Debian that ours need."""
    names = set()
    for name in PACKAGES[:3]:
        for group in field(package(name), "Depends").split(","):
            choices = [re.sub(r"\(.*?\)", "", word).strip() for word in group.split("|")]
            names.add(PREFERRED if PREFERRED in choices else choices[0])
    return sorted(names - set(PACKAGES))


class Built(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, self.directory)

    def test_lintian_finds_nothing(self):
        changes = glob.glob(os.path.join(BUILT["directory"], "*.changes"))
        said = subprocess.run(["lintian", "--allow-root", "--pedantic", "--fail-on", "error,warning", *changes],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual((said.returncode, said.stdout), (0, ""))

    def test_apparmor_takes_the_profile(self):
        """No kernel is asked: it may have no AppArmor. The unit names the profile; what the unit lets it write to, it may."""
        run("dpkg-deb", "-x", package("idem-server"), self.directory)
        profile = self.directory + "/etc/apparmor.d/usr.bin.idem-server"
        run("apparmor_parser", "--skip-kernel-load", "--skip-cache", profile)
        name = subprocess.run(["apparmor_parser", "--names", profile], check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout.strip()
        unit = unit_file.Unit(self.directory + UNIT)
        self.assertEqual(unit.get("AppArmorProfile"), "-" + name)
        with open(profile, encoding="utf-8") as file:
            rules = re.findall(r"^  (?:owner )?(/\S+) (\w+),$", file.read(), re.M)
        for setting, above in (("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log")):
            self.assertIn("rw", dict(rules)[f"{above}/{unit.get(setting)}/**"], setting)

    def test_no_path_of_the_machine_that_built_it(self):
        for name in PACKAGES[:3]:
            run("dpkg-deb", "-x", package(name), self.directory)
        for path in glob.glob(self.directory + "/usr/bin/*") + glob.glob(self.directory + "/usr/lib/*/*.so.*"):
            with open(path, "rb") as file:
                self.assertNotIn(ROOT.encode(), file.read(), path)

    def test_the_module_is_loaded_by_redis_server(self):
        """It has what it shares with no other program, and no path of the machine that built it."""
        run("dpkg-deb", "-x", package("idem-module"), self.directory)
        module = os.path.join(self.directory, "usr/lib/redis/modules/idem.so")
        with open(module, "rb") as file:
            self.assertNotIn(ROOT.encode(), file.read())
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = str(sock.getsockname()[1])
        server = subprocess.Popen(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--loadmodule", module],
                                  stdout=subprocess.DEVNULL, cwd=self.directory)
        try:
            def claimed():
                said = subprocess.run(["redis-cli", "-p", port, "IDEM.CLAIM", "k"], text=True, capture_output=True,
                                      check=False)
                return said.stdout.startswith(("CLAIMED", "BUSY"))
            eventually(claimed, "a claim of the module")
        finally:
            server.terminate()
            server.wait()

    def test_a_program_against_the_library(self):
        for name in ("libidem0", "libidem-dev"):
            run("dpkg-deb", "-x", package(name), self.directory)
        library = os.path.dirname(glob.glob(self.directory + "/usr/lib/*/libidem.so")[0])
        source = os.path.join(self.directory, "program.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        program = os.path.join(self.directory, "program")
        run("cc", "-o", program, source, f"-I{self.directory}/usr/include", f"-L{library}", "-lidem")
        version = run(program, env={**os.environ, "LD_LIBRARY_PATH": library}).strip()
        self.assertTrue(field(package("libidem0"), "Version").startswith(version + "-"))


class Life(unittest.TestCase):
    """One machine, from the first installation to the purge."""

    @classmethod
    def setUpClass(cls):
        need()

    def setUp(self):
        self.bare = Bare(needed() + ["logrotate"])
        self.addCleanup(self.bare.remove)
        self.service = None
        self.addCleanup(lambda: self.service and self.service.close())

    def install(self, *paths):
        inside = []
        for path in paths:
            shutil.copy(path, self.bare.path("/root"))
            inside.append("/root/" + os.path.basename(path))
        return self.bare.run("apt-get", "install", "-y", "-q", "-o", "Dpkg::Options::=--force-confold", *inside)

    def newer(self):
        """The server's package as a later version would be, whose configuration has one comment more."""
        tree = self.bare.path("/tmp/newer")
        run("dpkg-deb", "-R", package("idem-server"), tree)
        control = os.path.join(tree, "DEBIAN/control")
        with open(control, encoding="utf-8") as file:
            text = re.sub(r"^(Version: .*)$", r"\1+newer", file.read(), flags=re.M)
        with open(control, "w", encoding="utf-8") as file:
            file.write(text)
        with open(os.path.join(tree, "etc/idem/idem.conf"), "a", encoding="utf-8") as file:
            file.write("# what the next version explains\n")
        path = self.bare.path("/tmp/idem-server_newer.deb")
        run("dpkg-deb", "--root-owner-group", "-b", tree, path)
        shutil.rmtree(tree)
        return path

    def start(self):
        self.service = service.Service(self.bare, UNIT).start()

    def client(self):
        client = Client(self.bare.path(SOCKET))
        self.addCleanup(client.close)
        self.assertEqual(client.call("AUTH", PASSWORD), "OK")
        return client

    def mode(self, inside):
        found = os.stat(self.bare.path(inside))
        return stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)

    def once(self, user, text):
        return self.bare.run("setpriv", "--reuid", user, "--regid", user, "--init-groups", "env",
                             f"IDEM_PASSWORD={PASSWORD}", "idem-once", "--server",
                             f"unix://:{PASSWORD}@{SOCKET}", "--key", "once", "--", "echo", text, check=False)

    def test_from_installation_to_purge(self):
        self.install(package("idem-server"), package("libidem0"), package("idem-tools"))
        idem = self.bare.id("idem")
        self.assertEqual(self.mode("/etc/idem/credentials"), (0o700, (0, 0)))
        self.assertEqual(self.mode("/etc/idem/tls"), (0o750, (0, idem[1])))
        wanted = self.bare.path("/etc/systemd/system/multi-user.target.wants/idem-server.service")
        self.assertEqual(os.readlink(wanted), UNIT)

        # The operator's part.
        self.bare.write("/etc/idem/credentials/password", PASSWORD + "\n", 0o600)
        self.bare.write("/etc/idem/idem.conf", "port 0\nttl 48h\nlogfile /var/log/idem/idem-server.log\n"
                        "requirepass-file /run/credentials/idem-server.service/idem_password\n", add=True)
        self.start()
        self.assertEqual(self.mode("/var/lib/idem"), (0o700, idem))
        self.assertEqual(self.mode("/var/lib/idem/journal"), (0o700, idem))
        self.assertEqual(self.mode(SOCKET), (0o770, idem))
        client = self.client()
        token = client.call("CLAIM", "paid")[1]
        self.assertEqual(client.call("STORE", "paid", token, "receipt"), 0)
        held = client.call("CLAIM", "held", "LEASE", 3600000)[1]
        self.check_group()
        self.check_rotation()
        self.assertEqual(self.service.stop(), 0)

        self.check_upgrade()
        self.start()
        client = self.client()
        self.assertEqual(client.call("CLAIM", "paid")[:2], [b"DONE", b"receipt"])
        self.assertEqual(client.call("STORE", "held", held, "late, and welcome"), 0)
        self.assertEqual(client.call("CONFIG", "GET", "ttl"), [b"ttl", b"172800000"])
        self.service.kill()
        self.start()
        self.assertEqual(self.client().call("CLAIM", "held")[:2], [b"DONE", b"late, and welcome"])
        self.assertEqual(self.service.stop(), 0)
        self.check_removal()

    def check_group(self):
        """Who is in the group may connect, and nobody else."""
        for user in ("friend", "stranger"):
            self.bare.run("useradd", "-m", user)
        self.bare.run("usermod", "-a", "-G", "idem", "friend")
        self.assertEqual(self.once("friend", "first"), "first\n")
        self.assertEqual(self.once("friend", "second"), "first\n")
        self.assertNotIn("first", self.once("stranger", "third"))

    def check_rotation(self):
        """logrotate takes the log as the package tells it; without systemd nothing opens it again, but `reload` does."""
        log = "/var/log/idem/idem-server.log"
        self.assertIn("ready to accept", self.bare.read(log))
        self.bare.run("logrotate", "--force", "/etc/logrotate.d/idem-server")
        self.assertTrue(os.path.exists(self.bare.path(log + ".1")))
        self.service.reload()
        self.service.hear()
        service.eventually(lambda: os.path.exists(self.bare.path(log)), "the log is opened again")
        self.assertEqual(self.client().call("PING"), "PONG")

    def check_upgrade(self):
        before = self.bare.read("/etc/idem/idem.conf")
        said = self.install(self.newer())
        self.assertIn("+newer", self.bare.run("dpkg-query", "-W", "idem-server"), said)
        self.assertEqual(self.bare.read("/etc/idem/idem.conf"), before)
        self.assertIn("what the next version explains", self.bare.read("/etc/idem/idem.conf.dpkg-dist"))
        self.assertEqual(self.mode("/etc/idem/credentials"), (0o700, (0, 0)))

    def check_removal(self):
        self.bare.run("apt-get", "remove", "-y", "-q", "idem-server")
        self.assertFalse(os.path.exists(self.bare.path("/usr/bin/idem-server")))
        self.assertTrue(os.path.exists(self.bare.path("/etc/idem/idem.conf")))
        said = self.bare.run("apt-get", "purge", "-y", "-q", "idem-server")
        self.assertIn("/var/lib/idem is kept", said)
        for gone in ("/etc/idem", "/var/log/idem", "/lib/systemd/system/idem-server.service",
                     "/etc/logrotate.d/idem-server", "/etc/systemd/system/multi-user.target.wants/idem-server.service"):
            self.assertFalse(os.path.lexists(self.bare.path(gone)), gone)
        self.assertTrue(os.listdir(self.bare.path("/var/lib/idem/journal")))
        self.assertIsNotNone(self.bare.id("idem"))
        # Who installs it again has it all.
        self.install(package("idem-server"))
        self.bare.write("/etc/idem/idem.conf", "port 0\n", add=True)
        self.start()
        client = Client(self.bare.path(SOCKET))
        self.addCleanup(client.close)
        self.assertEqual(client.call("CLAIM", "paid")[:2], [b"DONE", b"receipt"])
        self.assertEqual(self.service.stop(), 0)


if __name__ == "__main__":
    unittest.main()
