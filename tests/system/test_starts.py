"""Starts on a directory: what is refused and how, what is cut, kept, copied; and the end that is no loss."""

import os
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import time
import unittest

from durable import DurableCase
from harness import HANG_SECONDS, INSTRUMENTED, PROGRAM, READY, ROOT, encode, eventually

HOUR_MS = 3_600_000
CORRUPT, REFUSED = 78, 1
SEGMENT, BATCH = 64, 96
MAGIC = struct.pack("<I", 0x6d656469)


class StartCase(DurableCase):
    def program(self, *options, prefix=(), umask=None, dir=None, before=None):
        """Runs the server to its end; (status, what it says). before: runs in its process, before it does."""
        if umask is not None:
            before = lambda: os.umask(umask)
        where = self.dir if dir is None else dir
        options = ("--dir", where, *options) if where else options
        done = subprocess.run([*prefix, PROGRAM, "--port", "0", "--bind", "127.0.0.1", *map(str, options)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=HANG_SECONDS, preexec_fn=before)
        return done.returncode, done.stdout.decode("latin-1")

    def refused(self, status, text, *options, **settings):
        """It does not start, and says why."""
        found, said = self.program(*options, **settings)
        self.assertEqual(found, status, said)
        self.assertIn(text, said)
        self.assertIsNone(READY.search(said))

    def segments(self, dir=None):
        return sorted(name for name in os.listdir(dir or self.dir) if name.endswith(".log"))

    def written(self, count=50, *options):
        """A log of so many batches, of a server that was killed."""
        self.serve(*options)
        for number in range(count):
            self.assertEqual(self.call("SET", f"k{number}", "v" * 100), "OK")
        self.server.kill()

    def batches(self, name):
        """Where each batch of a segment begins."""
        with open(os.path.join(self.dir, name), "rb") as file:
            data = file.read()
        found, at = [], SEGMENT
        while data[at:at + 4] == MAGIC:
            found.append(at)
            at += BATCH + (struct.unpack_from("<I", data, at + 16)[0] + 7) // 8 * 8
        return found, at

    def change(self, name, at, data):
        with open(os.path.join(self.dir, name), "r+b") as file:
            file.seek(at)
            file.write(data)


class Directories(StartCase):
    def test_one_server_for_each(self):
        self.serve()
        self.refused(REFUSED, f"dir {self.dir} is in use by another server (LOCK)")
        self.assertEqual(self.call("SET", "k", "v"), "OK")
        self.again()

    def test_a_read_only_one(self):
        os.mkdir(self.dir, 0o700)
        self.addCleanup(subprocess.run, ["umount", self.dir], stderr=subprocess.DEVNULL, check=False)
        if os.geteuid() == 0:
            mount = ["mount", "-t", "tmpfs", "-o", "ro,mode=700", "tmpfs", self.dir]
            if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
                self.skipTest("root may write everywhere, and nothing can be mounted here")
        else:
            os.chmod(self.dir, 0o500)
        self.refused(REFUSED, f"dir {self.dir} cannot be written to")

    def test_a_file(self):
        with open(self.dir, "wb"):
            pass
        self.refused(REFUSED, f"dir {self.dir}: Not a directory")

    def test_one_that_everybody_may_enter(self):
        os.mkdir(self.dir)
        for mode in (0o701, 0o755, 0o777, 0o702):
            os.chmod(self.dir, mode)
            self.refused(REFUSED, "may be entered by every user")
            self.assertEqual(os.listdir(self.dir), [])
        os.chmod(self.dir, 0o750)
        self.serve()
        self.assertIn("its group may enter it", self.server.log())

    def test_modes_whatever_the_umask(self):
        for umask in (0o000, 0o022, 0o777):
            former = os.umask(umask)
            try:
                self.serve()
            finally:
                os.umask(former)
            self.assertEqual(self.call("SET", "k", "v"), "OK")
            eventually(lambda: "spare" in os.listdir(self.dir), "room ahead")
            self.assertEqual(stat.S_IMODE(os.stat(self.dir).st_mode), 0o700)
            modes = {name: stat.S_IMODE(os.stat(os.path.join(self.dir, name)).st_mode) for name in os.listdir(self.dir)}
            self.assertEqual(set(modes.values()), {0o600}, modes)
            self.remove()

    def test_an_empty_one_is_a_new_log(self):
        os.mkdir(self.dir, 0o700)
        self.serve()
        self.assertEqual(self.call("DBSIZE"), 0)
        self.assertEqual(len(self.segments()), 1)

    def test_options(self):
        self.refused(REFUSED, "appendonly yes needs dir, the directory of the journal", "--appendonly", "yes", dir="")
        self.serve("--appendonly", "no")
        self.assertFalse(os.path.exists(self.dir), "memory only")
        self.assertEqual(self.persistence("aof_enabled"), "0")
        self.assertIn("memory only: a restart forgets everything", self.server.log())
        self.again()
        self.assertEqual(self.persistence("aof_enabled"), "1")


class Broken(StartCase):
    """What is not sound is not started on, and not touched."""

    def corrupt(self, text):
        before = self.files()
        self.refused(CORRUPT, text)
        self.assertEqual(self.files(), before, "nothing was changed")

    def test_rot_in_the_middle(self):
        self.written()
        name, = self.segments()
        begins, _ = self.batches(name)
        for at in (begins[20] + 8, begins[20] + BATCH + 60, begins[1] + 40):
            with open(os.path.join(self.dir, name), "rb") as file:
                file.seek(at)
                former = file.read(1)
            self.change(name, at, bytes([former[0] ^ 0x10]))
            batch = max(begin for begin in begins if begin <= at)
            self.corrupt(f"journal: {name}: offset {batch}: ")
            self.corrupt("; nothing was changed; see --check-journal, --salvage")
            self.change(name, at, former)
        self.serve()
        self.assertEqual(self.call("DBSIZE"), 50)

    def test_a_torn_tail_is_cut(self):
        self.written()
        name, = self.segments()
        begins, end = self.batches(name)
        self.change(name, begins[-1] + BATCH + 40, b"torn")
        self.serve()
        self.assertEqual(self.call("DBSIZE"), 49)
        cut = int(self.persistence("journal_cut_bytes"))
        self.assertEqual(cut, end - begins[-1])
        self.assertIn(f"{cut} bytes of a torn batch cut", self.server.log())
        self.again()
        self.assertEqual([self.call("DBSIZE"), self.persistence("journal_cut_bytes")], [49, "0"])

    def test_a_torn_tail_before_a_clean_end_is_rot(self):
        self.written()
        self.serve()
        self.server.stop()
        name, = self.segments()
        begins, _ = self.batches(name)
        self.change(name, begins[-2] + 8, b"rot")
        self.corrupt(f"journal: {name}: offset {begins[-2]}: ")

    def test_a_missing_segment(self):
        self.written(60, "--segment-size", "1mb")
        self.serve("--segment-size", "1mb")
        for number in range(40):
            self.call("SET", f"large{number}", "v" * 100_000)
        self.server.kill()
        names = self.segments()
        self.assertGreater(len(names), 3)
        for name in (names[0], names[1], names[-2]):
            os.rename(os.path.join(self.dir, name), os.path.join(self.directory, name))
            self.corrupt("; nothing was changed")
            os.rename(os.path.join(self.directory, name), os.path.join(self.dir, name))
        self.serve()
        self.assertEqual(self.call("DBSIZE"), 100)

    def test_a_newer_version(self):
        self.written()
        name, = self.segments()
        self.change(name, 8, struct.pack("<I", 2))
        self.corrupt("newer")

    def test_a_file_that_cannot_be_read_never_starts_empty(self):
        self.written()
        name, = self.segments()
        path = os.path.join(self.dir, name)
        kept = os.path.join(self.directory, "kept")
        os.rename(path, kept)
        os.mkdir(path)
        status, said = self.program()
        self.assertIn(status, (REFUSED, CORRUPT), said)
        self.assertIn(name, said)
        os.rmdir(path)
        with open(path, "wb"):
            pass  # nothing is left of it
        before = self.files()
        status, said = self.program()
        self.assertIn(status, (REFUSED, CORRUPT), said)
        self.assertEqual(self.files(), before)
        os.replace(kept, path)
        self.serve()
        self.assertEqual(self.call("DBSIZE"), 50)


class Backups(StartCase):
    """cp -al while it works: a copy of it starts, elsewhere too."""

    def write_on(self, client, numbers, keys=40):
        for number in numbers:
            self.assertEqual(client.call("SET", f"k{number % keys}", b"%08d" % number * 2500), "OK")
        return numbers[-1]

    def test_a_copy_starts(self):
        self.serve("--segment-size", "1mb")
        token = self.claim(self.control, "held", "HOLD", "OWNER", "me", "LEASE", HOUR_MS)[0]
        done, at = {}, 0
        for copy in range(5):
            at = self.write_on(self.control, range(at + 1, at + 150))
            self.copy(copy, at, done)
        eventually(lambda: int(self.persistence("journal_again_bytes")) > 0, "compaction")
        eventually(lambda: int(self.persistence("journal_removed_segments")) > 0, "a segment less")
        self.server.kill()
        for place, number in done.items():
            self.starts(place, number, token)
        self.serve()
        self.assertEqual(self.state("held")["token"], token)

    def copy(self, number, at, done):
        """Writes while it copies; what was answered before has to be in the copy."""
        place = os.path.join(self.directory, f"copy{number}")
        copying = subprocess.Popen(["cp", "-al", self.dir, place], stderr=subprocess.DEVNULL)
        with self.server.client() as other:
            other.send_raw(b"".join(encode("SET", f"other{n}", b"o" * 20_000) for n in range(50)))
            for _ in range(50):
                other.read()
        copying.wait()
        elsewhere = tempfile.mkdtemp(prefix="idem-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.addCleanup(shutil.rmtree, elsewhere)
        subprocess.run(["cp", "-a", place, elsewhere + "/copy"], check=True)
        shutil.rmtree(place)
        done[elsewhere + "/copy"] = at

    def starts(self, place, at, token, keys=40):
        self.serve(dir=place)
        self.assertEqual(self.state("held")["token"], token)
        for number in range(at - keys + 1, at + 1):
            value = self.call("GET", f"k{number % keys}")
            self.assertGreaterEqual(int(value[:8]), number, "what was answered before the copy")
        self.server.kill()


class Ends(StartCase):
    """SIGTERM with a journal: nobody needs to finish first."""

    def test_claims_are_held_on(self):
        self.serve()
        token = self.claim(self.control, "k", "OWNER", "me", "HOLD", "LEASE", HOUR_MS)[0]
        bound = self.claim(self.control, "bound", "OWNER", "you", "BIND", "LEASE", HOUR_MS)[0]
        waiters = [self.connect(self.server) for _ in range(3)]
        waiters[0].send("CLAIM", "k", "WAIT", 300_000)
        waiters[1].send("WAIT", "k", 300_000)
        waiters[2].send("CLAIM", "bound", "WAIT", 300_000)
        self.server.await_blocked(3, self.control)
        self.server.signal(signal.SIGTERM)
        for waiter in waiters:
            self.assert_status(waiter.read(), "BUSY")
        self.assertEqual(self.server.leave(), 0)
        self.assertIn("2 are held, and are kept", self.server.log())
        time.sleep(1)
        self.serve()
        for key, owner, held in (("k", "me", token), ("bound", "you", bound)):
            state = self.state(key)
            self.assertEqual([state["state"], state["token"], state["bind"]], [b"HELD", held, 0])
            self.assertGreater(state["lease-left-ms"], HOUR_MS - 60_000)
            self.assertEqual(self.claim(self.control, key, "OWNER", owner, "BIND", "LEASE", HOUR_MS)[0], held)
            self.assertEqual(self.state(key)["bind"], 1)
        self.assertEqual(self.state("k")["hold"], 1)
        self.control.close()
        self.control = self.connect(self.server)
        eventually(lambda: self.state("bound")["state"] == b"LAPSED", "a bound claim that ends")
        eventually(lambda: self.state("k")["state"] == b"UNKNOWN", "one with HOLD")

    def test_the_time_that_it_was_down_does_not_count(self):
        self.serve()
        self.claim(self.control, "k", "LEASE", 1500, "OWNER", "me")
        self.call("SET", "v", "v", "PX", 1500)
        self.server.kill()
        time.sleep(2)
        self.serve()
        self.assertEqual(self.state("k")["state"], b"HELD")
        self.assertGreater(self.call("PTTL", "v"), 0)


@unittest.skipIf(INSTRUMENTED, "a sanitizer has to come before what is preloaded")
class Clocks(StartCase):
    """The clock of the machine was set between two starts."""

    def at(self, unix_s):
        path, library = os.path.join(self.directory, "now"), os.path.join(self.directory, "wall_clock.so")
        if not os.path.exists(library):
            subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library,
                            os.path.join(ROOT, "tests/system/wall_clock.c")], check=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(str(unix_s))
        return {"LD_PRELOAD": library, "IDEM_TEST_CLOCK": path}

    def test_back_and_forth(self):
        start_s, year_s = 2_000_000_000, 31_536_000
        tokens, left_ms = [], None
        for number, now_s in enumerate((start_s, start_s - year_s, start_s + year_s, start_s + 5, start_s)):
            self.serve("--born-skew", "0", env=self.at(now_s))
            tokens.append(self.claim(self.control, f"k{number}", "OWNER", "me", "LEASE", HOUR_MS)[0])
            left = self.state("k0")["lease-left-ms"]
            self.assertTrue(left_ms is None or left_ms - HANG_SECONDS * 1000 < left <= left_ms, (left, left_ms))
            left_ms = left
            self.assertEqual(self.call("DBSIZE"), number + 1)
            self.assert_status(self.call("CLAIM", "old", "BORN", 1000 * (start_s - 2 * year_s)), "FORGOTTEN")
            self.server.kill()
        self.assertEqual(tokens, sorted(set(tokens)), "tokens rise whatever the clock says")

    def test_what_ended_is_forgotten_when_its_segment_is_gone(self):
        options = ("--segment-size", "1mb", "--born-skew", "0", "--horizon-slots", "65536")
        self.serve(*options)
        before_ms = time.time_ns() // 1_000_000
        ended = [f"ended{n}" for n in range(20)]
        for key in ended:
            token = self.claim(self.control, key)[0]
            self.assertEqual(self.call("STORE", key, token, "body", "TTL", 1), 0)
        eventually(lambda: self.call("DBSIZE") == 0, "the end of their TTLs")

        def removed():
            for number in range(30):
                self.call("SET", f"k{number % 3}", b"v" * 50_000)
            return int(self.persistence("journal_removed_segments")) >= 3
        eventually(removed, "a log that has let go of its first segments")
        self.again(*options)
        for key in ended:
            self.assert_status(self.call("CLAIM", key, "BORN", before_ms), "FORGOTTEN")
        after_ms = time.time_ns() // 1_000_000
        self.assert_status(self.call("CLAIM", "another", "BORN", after_ms), "CLAIMED")

    def test_what_ended_is_forgotten_on_whatever_the_clock_says(self):
        """Set back: unix times of before are not of after it."""
        start_s = 2_000_000_000
        born_ms = (start_s + 100) * 1000 - 1
        self.serve("--born-skew", "0", env=self.at(start_s + 100))
        token = self.claim(self.control, "k")[0]
        self.assertEqual(self.call("STORE", "k", token, "body", "TTL", 1), 0)
        eventually(lambda: self.call("EXISTS", "k") == 0, "the end of its TTL")
        self.assert_status(self.call("CLAIM", "k", "BORN", born_ms), "FORGOTTEN")
        for now_s in (start_s + 200, start_s + 10_000, start_s + 101):
            self.server.kill()
            self.serve("--born-skew", "0", env=self.at(now_s))
            self.assert_status(self.call("CLAIM", "k", "BORN", born_ms), "FORGOTTEN")


if __name__ == "__main__":
    unittest.main(verbosity=2)
