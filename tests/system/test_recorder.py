"""What the server's files and sockets saw, recorded: no byte that tells of a change leaves before the change is durable.

The server runs with tests/journal/recorder.c preloaded, with one loop and with four: owners that pipeline, callers that
wait for their keys, MONITOR, subscribers. Then recording.py finds for each reply, and each message of a reader, whether
the change that it tells of was durable when its sending began. That it can find something is shown with a disk that
swallows syncs, and with appendfsync no.
"""

import os
import re
import shutil
import tempfile
import threading
import unittest

import recording
from disk import Disk, build
from harness import INSTRUMENTED, Client, ServerCase, encode, measured

OWNERS, ROUNDS, KEYS = 3, 12, 16
LONG_MS = 60_000
NOTES_BYTES = 256 << 20
READS = [("EXISTS", "nothing")] * 200  # so that a transaction takes a while: another loop has time to send too early


def fact_of(command, reply):
    """The change that this reply tells of, as Facts knows it; None: it tells of none."""
    name = command[0]
    if isinstance(reply, list) and reply[:1] == [b"CLAIMED"]:
        return ("record", command[1], reply[1])
    if isinstance(reply, list) and reply[:1] == [b"DONE"]:
        return ("body", reply[1])
    if isinstance(reply, list) and reply[:1] == [b"LAPSED"]:
        return ("LAPSED", command[1], reply[1])
    changed = (isinstance(reply, int) and (name == "STORE" or reply > 0)) or reply == "+OK"
    return told(command) if changed else None


def told(command):
    """The change that the command itself shows: also to a reader of MONITOR."""
    name, key = command[0], command[1] if len(command) > 1 else None
    if name == "RELEASE":
        return (("LAPSED", key) if "UNSURE" in command else ("absent", key))
    if name == "CLAIM":
        return ("held", key) if "OWNER" in command else None
    return {"STORE": lambda: ("body", as_bytes(command[3])), "RENEW": lambda: ("stage", as_bytes(command[-1])),
            "DEL": lambda: ("absent", key), "SET": lambda: ("value", as_bytes(command[2])),
            "PEXPIRE": lambda: ("end", key)}.get(name, lambda: None)()


def as_bytes(word):
    return word if isinstance(word, bytes) else word.encode()


class Talker:
    """A connection that notes what it asked, in order; its first question names it in the recording."""

    def __init__(self, server, name):
        self.client, self.name, self.asked = Client(server), name, []
        self.pipeline([("ECHO", name)])

    def pipeline(self, commands):
        self.asked += commands
        self.client.send_raw(b"".join(encode(*command) for command in commands))
        return [self.client.read() for _ in commands]

    def facts(self, replies):
        """(place, fact) of what it was sent."""
        queued = None
        for command, (place, reply) in zip(self.asked, replies):
            if command == ("MULTI",):
                queued = []
            elif command == ("EXEC",):
                yield from ((place, fact_of(*pair)) for pair in zip(queued, reply))
                queued = None
            elif queued is not None:
                queued.append(command)
            else:
                yield place, fact_of(command, reply)


def ends(number, key, token):
    """How the owner of the n-th key goes on."""
    body, stage = f"body of {key}".encode(), f"stage of {key}".encode()
    return [[("STORE", key, token, body)], [("RELEASE", key, token)], [("RELEASE", key, token, "UNSURE")],
            [("RENEW", key, token, "STAGE", stage), ("FETCH", key), ("STORE", key, token, body)], [("DEL", key)],
            [("MULTI",), ("STORE", key, token, body), ("SET", key + "+", b"value of " + body),
             ("PUBLISH", "news", b"value of " + body), *READS, ("EXEC",)],
            [("SET", key + "+", b"value of " + body), ("PUBLISH", "news", b"value of " + body)],
            [("SET", key + "+", b"value of " + body), ("PEXPIRE", key + "+", 100_000)]][number % 8]


class Owner(Talker):
    def run(self, started):
        for number in range(ROUNDS):
            keys = [f"{self.name}-{number}-{n}" for n in range(KEYS)]
            claims = self.pipeline([("CLAIM", key, "OWNER", "me", "LEASE", LONG_MS) for key in keys])
            started.put(keys)
            self.pipeline([command for n, (key, claim) in enumerate(zip(keys, claims))
                           for command in ends(n, key, claim[1])])


class Keys:
    """Keys that are claimed now, for who waits for them."""

    def __init__(self):
        self.keys, self.changed, self.over = [], threading.Condition(), False

    def put(self, keys):
        with self.changed:
            self.keys += keys
            self.changed.notify_all()

    def end(self):
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def take(self):
        with self.changed:
            while not self.keys and not self.over:
                self.changed.wait()
            return self.keys.pop() if self.keys else None


class Waiter(Talker):
    def run(self, keys):
        while (key := keys.take()) is not None:
            self.pipeline([("WAIT", key, 1)] if len(self.asked) % 2 else [("CLAIM", key, "WAIT", 1)])


@unittest.skipIf(INSTRUMENTED, "a sanitizer has to come before what is preloaded")
class Recorded(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="idem-test-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.library = build(cls.directory)

    def begin(self, *options, **faults):
        shared = tempfile.mkdtemp(prefix="idem-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.addCleanup(shutil.rmtree, shared)
        journal = os.path.join(tempfile.mkdtemp(prefix="idem-test-", dir=self.directory), "journal")
        self.disk = Disk(self.library, os.path.join(shared, "disk"), journal, NOTES_BYTES)
        self.disk.set(**faults)
        self.server = self.start("--dir", journal, *options, env=self.disk.env)

    def readers(self):
        """MONITOR, who hears of every record, and who is told news."""
        readers = {}
        for name, command in (("monitor", ("MONITOR",)), ("records", ("PSUBSCRIBE", "__idem__:*")),
                              ("news", ("SUBSCRIBE", "news"))):
            readers[name] = Talker(self.server, name)
            readers[name].pipeline([command])
        return readers

    def drain(self, readers):
        """Whoever reads has got all that was meant for it when this has come."""
        control = self.connect(self.server)
        self.assertEqual(control.call("SET", "__last", "last value"), "OK")
        control.call("PUBLISH", "news", "the end")
        while b"the end" not in readers["news"].client.read():
            pass
        while "last value" not in readers["monitor"].client.read():
            pass
        token = self.claim(control, "last")[0]
        control.call("STORE", "last", token, "the end")
        while b"__idem__:last" not in readers["records"].client.read():
            pass

    def work(self):
        keys, readers = Keys(), self.readers()
        owners = [Owner(self.server, f"owner{n}") for n in range(OWNERS)]
        waiters = [Waiter(self.server, f"waiter{n}") for n in range(2)]
        threads = [threading.Thread(target=talker.run, args=(keys,)) for talker in owners + waiters]
        for thread in threads:
            thread.start()
        for thread in threads[:OWNERS]:
            thread.join()
        keys.end()
        for thread in threads[OWNERS:]:
            thread.join()
        self.drain(readers)
        return {talker.name: talker for talker in [*owners, *waiters, *readers.values()]}

    # What was sent

    def facts_of_reader(self, name, replies):
        for place, reply in replies:
            if name == "monitor" and isinstance(reply, str):
                words = re.findall(r'"((?:[^"\\]|\\.)*)"', reply)
                fact = told(words) if words else None
            elif name == "records" and reply[0] == b"pmessage":
                key, what = reply[2].decode().removeprefix("__idem__:"), reply[3]
                fact = ("done", key) if what == b"done" else ("gone", key)
            else:
                fact = ("value", reply[2]) if name == "news" and reply[0] == b"message" else None
            yield place, fact

    def broken(self):
        """(where, what) that left before it was durable, and how many facts there were."""
        talkers = self.work()
        for talker in talkers.values():
            self.addCleanup(talker.client.close)
        return self.judge(talkers)

    def judge(self, talkers):
        self.server.stop()  # killed, it might not have noted the end of a send
        notes = list(self.disk.notes())
        journal = recording.Journal(notes)
        facts, self.segments = recording.Facts(journal.images), journal.segments
        broken, counts = [], dict.fromkeys(talkers, 0)
        for pieces in recording.streams(notes).values():
            replies = iter(recording.Replies(pieces))
            first = next(replies)[1]
            talker = talkers.get(first.decode() if isinstance(first, bytes) else None)
            if talker is None:
                continue
            del talker.asked[0]
            told_of = (self.facts_of_reader(talker.name, replies) if talker.name in ("monitor", "records", "news")
                       else talker.facts(replies))
            for place, fact in told_of:
                if fact in (None, ("value", b"the end"), ("value", b"last value")):
                    continue
                counts[talker.name] += 1
                if not facts.place(fact) < place:
                    broken.append((talker.name, fact, facts.place(fact), place))
        self.syncs = self.disk.get("syncs")
        return broken, counts

    def promise(self, loops):
        self.begin("--threads", loops, "--appendfsync", "always")
        broken, counts = self.broken()
        self.assertEqual(broken[:5], [], f"{len(broken)} were sent before they were durable")
        for name, count in counts.items():
            self.assertGreater(count, 10, f"{name} was told of changes: {counts}")
        measured(f"{counts}, {self.syncs} syncs")

    def test_one_loop(self):
        self.promise(1)

    def test_four_loops(self):
        self.promise(4)

    def test_a_new_segment(self):
        """Its name is durable as well before anything in it is acknowledged."""
        self.begin("--threads", 2, "--segment-size", "1mb")
        talker = Talker(self.server, "writer")
        self.addCleanup(talker.client.close)
        for number in range(20):
            talker.pipeline([("SET", f"large-{number}", b"%08d" % number * 20_000)])
        broken, counts = self.judge({"writer": talker})
        self.assertEqual([fact[:2] for _, fact, _, _ in broken], [])
        self.assertEqual(counts, {"writer": 20})
        self.assertGreater(self.segments, 1)

    def test_a_disk_that_swallows_syncs_is_found_out(self):
        for loops in (1, 4):
            self.begin("--threads", loops, swallow=1)
            broken, counts = self.broken()
            self.assertEqual(len(broken), sum(counts.values()), "nothing was durable")

    def test_a_server_that_does_not_wait_is_found_out(self):
        self.begin("--threads", 4, "--appendfsync", "no")
        broken, counts = self.broken()
        self.assertGreater(len(broken), sum(counts.values()) / 2, "hardly anything was durable when it was sent")


if __name__ == "__main__":
    unittest.main(verbosity=2)
