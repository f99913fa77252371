"""A disk that fails, is full, or is slow, under the server: what is answered stays true, and owners do not suffer.

tests/journal/recorder.c is preloaded and lets single calls fail. The last test fills a real file system, where one may
be mounted.
"""

import contextlib
import errno
import os
import subprocess
import time
import unittest

from durable import DurableCase
from harness import RespError, encode, eventually, measured

IO_STATUS = 74
HOUR_MS = 3_600_000
NO_ROOM = "MISCONF the journal has no room ({}: {}); "


class Failing(DurableCase):
    """A write or a sync that fails ends the process; nothing is answered whose change could be missing."""

    PRELOADED = True

    def fails(self, loops=1, sync="always", **faults):
        self.serve("--threads", loops, "--appendfsync", sync)
        owners = self.owners()
        eventually(lambda: all(owner.answers > 50 for owner in owners), "load")
        self.disk.set(**faults)
        self.assertEqual(self.server.leave(), IO_STATUS, self.server.log())
        self.assertIn("nothing that it would have confirmed is answered", self.server.log())
        self.disk.set(**dict.fromkeys(faults, 0))
        self.serve()
        self.check_owners(owners)
        self.remove()

    def test_a_sync_that_fails_once(self):
        for loops in (1, 4):
            self.fails(loops, sync_errno=errno.EIO, sync_times=1)

    def test_a_sync_once_a_second(self):
        self.fails(4, "everysec", sync_errno=errno.EIO, sync_times=1)

    def test_a_write(self):
        for loops in (1, 4):
            self.fails(loops, write_errno=errno.EIO, write_times=1)

    def test_a_sync_of_room_ahead(self):
        """The system may report the loss of a batch to whoever syncs first: it is not only room that is missing."""
        self.serve()
        self.disk.set(zeros_errno=errno.EIO, zeros_times=1)
        with contextlib.suppress(ConnectionError):
            self.control.send_raw(b"".join(encode("SET", f"k{n}", b"v" * 100_000) for n in range(400)))
        self.assertEqual(self.server.leave(), IO_STATUS, self.server.log())

    def test_short_and_interrupted_writes_are_no_failure(self):
        self.serve("--threads", 2)
        self.disk.set(write_most=50, eintr_times=500)
        owners = self.owners()
        eventually(lambda: all(owner.answers > 300 for owner in owners) and self.disk.get("eintr_times") == 0, "load")
        self.again()
        self.check_owners(owners)


class NoRoomCase(DurableCase):
    """Claims in all states, and then no room."""

    PRELOADED = True
    LOOPS = 1

    def text(self, number, what):
        return NO_ROOM.format(self.dir, os.strerror(number)) + what

    def assert_refused(self, reply, number=errno.ENOSPC, what="nothing new is taken"):
        self.assertIsInstance(reply, RespError, "MISCONF expected")
        self.assertEqual(str(reply), self.text(number, what))

    def fill(self, command, most, at_once):
        """Sends what this makes of a number, so many at once, until one is refused; returns the refusal."""
        for number in range(0, most, at_once):
            self.control.send_raw(b"".join(encode(*command(n)) for n in range(number, number + at_once)))
            refused = [reply for _ in range(at_once) if isinstance(reply := self.control.read(), RespError)]
            if refused:
                return refused[0]
        self.fail("there is no end of room")

    def claims(self, server_options=()):
        """Claims in all states, of before there was no room."""
        self.serve("--threads", self.LOOPS, *server_options)
        self.tokens = {key: self.claim(self.control, key, "OWNER", "me", "LEASE", HOUR_MS)[0]
                       for key in ("stores", "renews", "releases", "deleted", "done", "lapsed", "long")}
        self.assertEqual(self.call("STORE", "done", self.tokens["done"], "the body"), 0)
        self.assertEqual(self.call("RELEASE", "lapsed", self.tokens["lapsed"], "UNSURE"), 1)
        self.owner = self.connect(self.server)
        self.claim(self.owner, "handed", "BIND", "OWNER", "first", "LEASE", HOUR_MS)
        self.waiter = self.connect(self.server)
        self.waiter.send("CLAIM", "handed", "WAIT", 300_000, "OWNER", "second")
        self.server.await_blocked(1, self.control)

    def without_room(self, number):
        self.disk.set(room_errno=number)
        self.assert_refused(self.fill(lambda n: ("SET", f"fill{n}", b"x" * 60_000), 4000, 4), number)

    def whole(self, number):
        self.claims()
        self.without_room(number)
        self.refused(number)
        self.answered()
        self.goes_on()
        self.remove()

    def refused(self, number):
        for key in ("new", "lapsed"):
            self.assert_refused(self.call("CLAIM", key), number)
        self.assert_refused(self.call("CLAIM", "new", "WAIT", 1000), number)
        self.call("MULTI")
        self.call("SET", "in a transaction", "v")
        self.assertEqual(str(self.call("EXEC")), "EXECABORT Transaction discarded because of: "
                         + self.text(number, "nothing new is taken"))
        self.assertEqual(self.call("EXISTS", "new", "in a transaction"), 0)
        self.assertEqual(self.persistence("aof_last_write_status"), "err")
        eventually(lambda: "the journal has no room" in self.server.log(), "a line in the log")

    def answered(self):
        self.assertEqual(self.call("CLAIM", "done")[:2], [b"DONE", b"the body"])
        self.assertEqual(self.call("FETCH", "done")[:2], [b"DONE", b"the body"])
        self.assert_status(self.call("CLAIM", "stores", "OWNER", "other"), "BUSY")
        self.assertEqual(self.call("STORE", "stores", self.tokens["stores"], "body"), 0)
        self.assertEqual(self.call("RENEW", "renews", self.tokens["renews"], "STAGE", "far"), HOUR_MS)
        self.assertEqual(self.call("RELEASE", "releases", self.tokens["releases"]), 1)
        self.assertEqual(self.call("DEL", "deleted"), 1)

    def goes_on(self):
        """Who waits for a grant waits on; when there is room, it gets it."""
        self.owner.close()
        eventually(lambda: self.state("handed")["state"] == b"LAPSED", "a lapse")
        self.assertEqual(self.state("handed")["waiters"], 1)
        self.assertFalse(self.waiter.readable(0.2), "nobody is granted")
        self.disk.set(room_errno=0)
        started = time.monotonic()
        granted = self.waiter.read()
        self.assertEqual([granted[0], granted[3]], [b"CLAIMED", 2])
        self.assert_status(self.call("CLAIM", "new"), "CLAIMED")
        self.assertEqual(self.persistence("aof_last_write_status"), "ok")
        measured(f"it goes on {time.monotonic() - started:.1f} s after there is room")


class NoRoom(NoRoomCase):
    """Nothing new is taken; owners finish, readers are answered; it goes on when there is room again."""

    def test_nothing_new_is_taken_and_owners_finish(self):
        self.whole(errno.ENOSPC)

    def test_a_quota_is_told_by_its_name(self):
        self.whole(errno.EDQUOT)

    def test_the_last_of_it_is_for_what_frees(self):
        """DEL needs room for what it leaves: that a key is absent, or of one with a claim who is granted it."""
        for self.LOOPS in (1, 4):
            self.frees()
            self.remove()

    def frees(self):
        self.claims()
        claims = [f"c{n}" for n in range(2000)]
        for key in claims:
            self.control.send("CLAIM", key, "LEASE", HOUR_MS)
        for _ in claims:
            self.assert_status(self.control.read(), "CLAIMED")
        self.control.send_raw(b"".join(encode("SET", f"v{n}", "v") for n in range(10_000)))
        self.assertEqual([self.control.read() for _ in range(10_000)], ["OK"] * 10_000)
        self.without_room(errno.ENOSPC)
        refused = self.fill(lambda n: ("RENEW", "long", self.tokens["long"], "STAGE", b"%04d" % n * 250), 20_000, 50)
        self.assert_refused(refused, what="only DEL and FLUSHALL are")
        refused = self.call("STORE", "stores", self.tokens["stores"], b"b" * 5000)
        self.assert_refused(refused, what="only DEL and FLUSHALL are")
        self.assertEqual(self.call("DEL", "fill0", "deleted"), 2)
        self.assertEqual(self.call("FETCH", "done")[1], b"the body")
        self.assert_refused(self.call("DEL", "v0", *claims), what="nothing can be changed")
        self.assertEqual(self.call("EXISTS", "v0", *claims), 2001)
        self.assertEqual(self.call("DEL", *(f"v{n}" for n in range(10_000))), 10_000)
        self.assertEqual(self.call("FLUSHALL"), "OK")
        self.disk.set(room_errno=0)
        eventually(lambda: not isinstance(self.call("SET", "k", "v"), RespError), "room")

    def test_any_number_of_claims_are_bound_to_what_closes(self):
        """They end, and the process lives; a start lets their leases run on."""
        self.claims()
        owner = self.connect(self.server)
        keys = [f"bound{number}-" + "x" * 900 for number in range(9000)]
        for key in keys:
            self.claim(owner, key, "BIND", "LEASE", HOUR_MS)
        self.without_room(errno.ENOSPC)
        self.fill(lambda n: ("RENEW", "long", self.tokens["long"], "STAGE", b"%04d" % n * 250), 20_000, 50)
        owner.close()
        for key in keys:
            eventually(lambda: self.state(key)["state"] == b"LAPSED", "a lapse")
        self.again()
        self.assertIn(self.state(keys[-1])["state"], (b"HELD", b"LAPSED"))

    def test_a_full_disk_starts(self):
        self.claims()
        self.without_room(errno.ENOSPC)
        self.assertEqual(self.call("STORE", "stores", self.tokens["stores"], "body"), 0)
        self.again()
        self.assertEqual(self.call("FETCH", "stores")[1], b"body")
        self.assertEqual(self.call("RENEW", "renews", self.tokens["renews"]), HOUR_MS)
        self.assertEqual(self.call("STORE", "renews", self.tokens["renews"], "late"), 0)
        self.disk.set(room_errno=0)
        eventually(lambda: self.call("CLAIM", "handed")[0] in (b"CLAIMED", b"BUSY"), "room")


class Images(DurableCase):
    """What a command leaves for the journal fits, however many keys it looks at."""

    def test_many_keys_are_read_whose_waiters_are_granted(self):
        self.serve("--threads", 1)
        keys = [f"{number}-" + "x" * 900 for number in range(300)]
        waiters = [self.connect(self.server) for _ in keys]
        for key, waiter in zip(keys, waiters):
            self.claim(self.control, key)
            waiter.send("CLAIM", key, "WAIT", 300_000, "OWNER", "o" * 100)
        self.server.await_blocked(len(keys), self.control)
        self.control.send_raw(encode("FLUSHALL") + encode("EXISTS", *keys))
        self.assertEqual([self.control.read(), self.control.read()], ["OK", len(keys)])
        for waiter in waiters:
            self.assert_status(waiter.read(), "CLAIMED")


class Unreadable(NoRoomCase):
    """A segment that cannot be read while the server runs is replaced out of its memory; a start knows all."""

    PRELOADED = False

    def replaced(self, loops, damage):
        self.LOOPS = loops
        self.claims(("--segment-size", "1mb"))
        for number in range(80):  # 1.5 MB: two segments, of which none is read yet
            self.call("SET", f"stays{number}", b"%d" % number * 10_000)
        damage(os.path.join(self.dir, "idem-0000000000000000.log"))
        eventually(lambda: self.fill_segments(1) and "cannot be read again" in self.server.log(), "it is noticed")
        eventually(lambda: self.fill_segments(1) and int(self.persistence("journal_removed_segments")), "it goes")
        self.assertIn("the journal has all again", self.server.log())
        self.assertEqual(self.persistence("journal_unreadable_segments"), "1")
        held = self.state("renews")["token"]
        self.again()
        self.answered_as_before(held)
        self.remove()

    def fill_segments(self, count):
        end = int(self.persistence("journal_appended_bytes")) + count * (1 << 20)
        while int(self.persistence("journal_appended_bytes")) < end:
            for number in range(8):
                self.call("SET", f"again{number}", os.urandom(20_000))
        return True

    def answered_as_before(self, held):
        self.assertEqual(self.state("renews")["token"], held)
        for number in range(80):
            self.assertEqual(self.call("GET", f"stays{number}"), b"%d" % number * 10_000)
        self.assertEqual(self.state("lapsed")["state"], b"LAPSED")
        self.answered()
        self.assert_status(self.call("CLAIM", "lapsed"), "CLAIMED")

    def rot(self, path):
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            former = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([former[0] ^ 0x10]))

    def test_a_byte_that_has_changed(self):
        for loops in (1, 4):
            self.replaced(loops, self.rot)

    def test_one_that_somebody_has_removed(self):
        self.replaced(4, os.remove)

    def test_the_newest_that_somebody_has_removed(self):
        """It is noticed within a second, though nothing is written any more."""
        for self.LOOPS in (1, 4):
            self.claims(("--segment-size", "1mb"))
            for number in range(80):
                self.call("SET", f"stays{number}", b"%d" % number * 10_000)
            os.remove(max(path for path in map(self.dir_path, os.listdir(self.dir)) if path.endswith(".log")))
            eventually(lambda: "the journal has all again" in self.server.log(), "all again")
            held = self.state("renews")["token"]
            eventually(lambda: self.fill_segments(1) and int(self.persistence("journal_removed_segments")), "it goes")
            self.again()
            self.answered_as_before(held)
            self.remove()

    def dir_path(self, name):
        return os.path.join(self.dir, name)


class NoRoomOnFourLoops(NoRoomCase):
    LOOPS = 4

    def test_nothing_new_is_taken_and_owners_finish(self):
        self.whole(errno.ENOSPC)


class Slow(DurableCase):
    """However slow the disk is, an owner that renews keeps its claim."""

    PRELOADED = True

    def healthy(self, sync_ms, loops, seconds):
        """A renewal may wait for two syncs, longer than its lease; at most 250 ms of each count."""
        lease_ms = 800
        self.serve("--threads", loops)
        owner, rival, other = (self.connect(self.server) for _ in range(3))
        token = self.claim(owner, "k", "LEASE", lease_ms)[0]
        self.disk.set(sync_delay_us=sync_ms * 1000)
        rival.send("CLAIM", "k", "WAIT", 300_000)
        end, renewed = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            other.send("SET", "busy", "v")
            self.assertEqual(owner.call("RENEW", "k", token, "LEASE", lease_ms), lease_ms)
            self.assertEqual(other.read(), "OK")
            renewed += 1
        self.assertFalse(rival.readable(), "nobody else was granted it")
        self.assertEqual(owner.call("STORE", "k", token, "body"), 1)
        self.assertEqual(rival.read()[:2], [b"DONE", b"body"])
        self.disk.set(sync_delay_us=0)
        self.again()
        self.assertEqual(self.call("FETCH", "k")[1], b"body")
        measured(f"a sync of {sync_ms} ms, {loops} loops: {renewed} renewals of a lease of {lease_ms} ms")
        self.remove()

    def test_two_ms(self):
        self.healthy(2, 1, seconds=2)

    def test_ten_ms(self):
        self.healthy(10, 4, seconds=2)

    def test_half_a_second(self):
        self.healthy(500, 4, seconds=5)


class RealRoom(DurableCase):
    """The same with a file system of 40 MB that is full."""

    def mount(self):
        mounted = os.path.join(self.directory, "small")
        os.mkdir(mounted)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=700", "tmpfs", mounted], check=False,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode:
            self.skipTest(f"no file system can be mounted here ({done.stderr.strip()}); NoRoom is the same, preloaded")
        self.addCleanup(subprocess.run, ["umount", "-l", mounted], check=True)
        self.dir = os.path.join(mounted, "journal")
        return mounted

    def test_a_file_system_that_fills_and_is_freed(self):
        mounted = self.mount()
        self.serve()
        token = self.claim(self.control, "k", "LEASE", HOUR_MS)[0]
        self.fill_up(mounted)
        self.assertEqual(self.call("STORE", "k", token, "body"), 0)
        self.assert_error(self.call("CLAIM", "new"), "MISCONF")
        self.again()
        self.assertEqual(self.call("FETCH", "k")[1], b"body")
        os.remove(os.path.join(mounted, "ballast"))
        eventually(lambda: not isinstance(self.call("CLAIM", "new"), RespError), "room")
        self.again()
        self.assert_status(self.call("FETCH", "new"), "BUSY")

    def test_deleting_keys_makes_room(self):
        """Nothing but its own live keys fills it, and each segment still has some of them afterwards."""
        self.mount()
        self.serve("--segment-size", "4mb")
        count = self.fill_keys(20_000)
        kept = [number for number in range(count) if number % 5 == 0]
        for number in range(count):
            if number % 5:
                self.assertEqual(self.call("DEL", f"fill{number}"), 1)
        eventually(lambda: not isinstance(self.call("SET", "new", "v"), RespError), "room")
        self.again("--segment-size", "4mb")
        self.assertEqual(self.call("GET", "new"), b"v")
        self.assertEqual(self.call("EXISTS", *[f"fill{number}" for number in kept]), len(kept))
        self.assertEqual(self.call("DBSIZE"), len(kept) + 1)

    def fill_up(self, mounted):
        with open(os.path.join(mounted, "ballast"), "wb") as file:
            try:
                while file.write(bytes(1 << 20)):
                    file.flush()
            except OSError as full:
                self.assertEqual(full.errno, errno.ENOSPC)
        self.fill_keys(60_000)

    def fill_keys(self, bytes_each):
        """How many there are then."""
        for number in range(5000):
            reply = self.call("SET", f"fill{number}", b"x" * bytes_each)
            if isinstance(reply, RespError):
                text = NO_ROOM.format(self.dir, os.strerror(errno.ENOSPC)) + "nothing new is taken"
                self.assertEqual(str(reply), text)
                return number
        self.fail("it does not fill")
        return 0


if __name__ == "__main__":
    unittest.main(verbosity=2)
