"""A bare Debian in a directory, of the release and from the sources of this machine, and programs that run in it.

Made once by mmdebstrap (twenty seconds) and kept as an archive in build/ops. Each program has mounts of its own, which end
with it, so nothing is left mounted. It must not know what is installed there. Raises unittest.SkipTest where it cannot be made.
"""

import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import ROOT

CACHE = os.environ.get("IDEM_OPS", os.path.join(ROOT, "build/ops"))
MOUNTED = 'mount -t proc {options} proc "$0/proc" && exec chroot "$0" "$@"'


def release():
    with open("/etc/os-release", encoding="utf-8") as file:
        found = dict(re.findall(r'^(\w+)="?(.*?)"?$', file.read(), re.M))
    if found.get("ID") != "debian":
        raise unittest.SkipTest("this is not Debian")
    return found["VERSION_CODENAME"]


def sources():
    found = [path for path in ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/debian*")]
             if os.path.exists(path) and os.path.getsize(path) > 0]
    if not found:
        raise unittest.SkipTest("this machine has no sources of Debian's packages")
    return found


def apt_settings():
    """How this machine reaches its sources."""
    found = []
    for path in sorted(glob.glob("/etc/apt/apt.conf.d/*")):
        with open(path, encoding="utf-8", errors="replace") as file:
            if "Acquire" in file.read():
                found.append("--aptopt=" + path)
    return found


def archive(packages):
    """The path of the archive of a bare Debian that has these packages besides."""
    name = hashlib.sha256(" ".join([release(), *sorted(packages)]).encode()).hexdigest()[:12]
    path = os.path.join(CACHE, f"bare-{name}.tar")
    if os.path.exists(path):
        return path
    os.makedirs(CACHE, exist_ok=True)
    new = path.replace("bare-", "unfinished-")  # its end tells mmdebstrap what to make
    done = subprocess.run(["mmdebstrap", "--mode=root", "--variant=apt", "--include=" + ",".join(sorted(packages)),
                           *apt_settings(), release(), new, *sources()],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise unittest.SkipTest("no bare Debian can be had: " + done.stdout.strip().splitlines()[-1])
    os.rename(new, path)
    return path


def need():
    if os.getuid() != 0:
        raise unittest.SkipTest("a bare Debian needs root")
    if not shutil.which("mmdebstrap"):
        raise unittest.SkipTest("mmdebstrap is not installed")
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    if tried.returncode != 0:
        raise unittest.SkipTest("this machine gives no mounts of one's own")


class Bare:
    """network: it has a loopback of its own, on which nobody else listens."""

    def __init__(self, packages, network=False):
        need()
        self.holder = None
        whole = archive(packages)
        self.root = tempfile.mkdtemp(prefix="idem-bare-")
        try:
            subprocess.run(["tar", "-xf", whole, "-C", self.root, "--numeric-owner"], check=True)
        except BaseException:
            self.remove()
            raise
        os.chmod(self.root, 0o755)
        self.write("/etc/hosts", "127.0.0.1 localhost\n")
        if network:
            self._isolate()

    def _isolate(self):
        """A process that keeps the network until the end; it says when the loopback is there."""
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec cat"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"up\n":
            self.remove()
            raise unittest.SkipTest("this machine gives no network of one's own")

    def remove(self):
        if self.holder:
            self.holder.stdin.close()
            self.holder.stdout.close()
            self.holder.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def path(self, inside):
        return os.path.join(self.root, inside.lstrip("/"))

    def read(self, inside):
        with open(self.path(inside), encoding="utf-8") as file:
            return file.read()

    def write(self, inside, text, mode=0o644, add=False):
        new = not os.path.exists(self.path(inside))
        with open(self.path(inside), "a" if add else "w", encoding="utf-8") as file:
            if new:
                os.chmod(self.path(inside), mode)
            file.write(text)

    @staticmethod
    def environment(**more):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root",
                "DEBIAN_FRONTEND": "noninteractive", **more}

    def command(self, *words, proc="-o rw"):
        """What runs the words inside, in the same process from beginning to end. proc: how /proc is mounted."""
        network = ["nsenter", "-t", str(self.holder.pid), "-n"] if self.holder else []
        return [*network, "unshare", "-m", "sh", "-c", MOUNTED.format(options=proc), self.root, *words]

    def run(self, *words, check=True):
        """What it printed."""
        done = subprocess.run(self.command(*words), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=self.environment())
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)} left with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def id(self, user):
        """(user, group) of a user inside."""
        found = re.search(rf"^{user}:[^:]*:(\d+):(\d+):", self.read("/etc/passwd"), re.M)
        return (int(found[1]), int(found[2])) if found else None
