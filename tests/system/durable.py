"""What tests of a server with a journal share: a directory that outlives it, and a disk that fails on demand.

The disk (disk.py) is there where PRELOADED is true; such tests are skipped with sanitizers.
"""

import os
import shutil
import tempfile
import time

import disk
import killing
from harness import INSTRUMENTED, Server, ServerCase

LIBRARY = {}


def library():
    """Compiled once."""
    if not LIBRARY:
        LIBRARY["directory"] = tempfile.TemporaryDirectory(prefix="idem-test-")
        LIBRARY["path"] = disk.build(LIBRARY["directory"].name)
    return LIBRARY["path"]


class DurableCase(ServerCase):
    PRELOADED = False

    def setUp(self):
        if self.PRELOADED and INSTRUMENTED:
            self.skipTest("a sanitizer has to come before what is preloaded")
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.dir = os.path.join(self.directory, "journal")
        self.disk = None
        self.watch(self.dir)

    def watch(self, journal):
        if self.PRELOADED:
            self.disk = disk.Disk(library(), os.path.join(self.directory, "disk"), journal)

    def serve(self, *options, dir=None, **settings):
        """A server on the directory, killed in the end; self.control is a connection to it."""
        if self.disk is not None:
            settings["env"] = {**self.disk.env, **settings.get("env", {})}
        self.server = Server("--dir", dir or self.dir, *options, **settings)
        server = self.server
        self.addCleanup(lambda: (server.kill(), server.forget()))
        self.control = self.connect(self.server)
        return self.server

    def again(self, *options, **settings):
        """kill -9 and a start."""
        self.server.kill()
        return self.serve(*options, **settings)

    def remove(self):
        """The server and its directory, for another one in this test."""
        self.server.kill()
        shutil.rmtree(self.dir)

    def call(self, *command):
        return self.control.call(*command)

    def state(self, key):
        fields = self.call("INSPECT", key)
        return fields and dict(zip([name.decode() for name in fields[::2]], fields[1::2]))

    def persistence(self, name):
        return self.server.info("persistence", self.control)[name]

    def owners(self, count=3, seed=None):
        """Callers whose keys an oracle knows: killing.py."""
        clock = killing.Clock()
        seed = time.time_ns() if seed is None else seed
        print(f"    seed {seed}", flush=True)
        owners = [killing.Owner(f"own{n}", seed + n, clock) for n in range(count)]
        for owner in owners:
            owner.start(self.server)
        return owners

    def check_owners(self, owners):
        """Of those that have ended, after a start: what was answered is there."""
        for owner in owners:
            owner.join()
            self.assertGreater(owner.answers, 0, "nothing was answered before")
            owner.check(self.control, 0)

    def files(self, dir=None):
        """{name: bytes} of the directory."""
        found = {}
        for name in sorted(os.listdir(dir or self.dir)):
            with open(os.path.join(dir or self.dir, name), "rb") as file:
                found[name] = file.read()
        return found
