"""The same random commands to redis-server 7.0 and to idem-server: every reply, byte by byte.

    /usr/bin/python3 tests/system/run.py test_differential
    DIFFERENTIAL_SEED=7 DIFFERENTIAL_COMMANDS=1000000 ... test_differential      again, or longer

differential/differences.py lists what may differ. Times to live are set and read at slightly
different moments on the two servers, and may differ by the time in between. Absolute times must be
equal; separate tests compare them.
"""

import os
import random
import shlex
import socket
import time
import unittest

from differential.differences import DIFFERENCES, FRAMING, explain, explain_framing
from differential.peers import Pair, redis_version
from differential.streams import KEYS, LARGE, PATTERNS, Streams
from harness import encode, eventually, measured

SEED = int(os.environ.get("DIFFERENTIAL_SEED", random.SystemRandom().randrange(1 << 32)))
COMMANDS = int(os.environ.get("DIFFERENTIAL_COMMANDS", 50000))
BATCH = 60
ROUNDING_MS = 1000
LEFT = {b"TTL": 1000, b"PTTL": 1, b"EXPIRETIME": 1000, b"PEXPIRETIME": 1}
HISTORY = 12
OUTLIVED = "idem answers as Redis does: the row has outlived its reason"

VERSION = redis_version()


def unordered(command):
    return command[0].upper() == b"KEYS"


def close_enough(command, redis, idem, apart_ms):
    """Equal, except for the time between the two replies and for an order that neither server promises."""
    if redis == idem:
        return True
    if redis[0] != idem[0]:
        return False
    if unordered(command) and redis[0] == b"*":
        return sorted(redis[1]) == sorted(idem[1])
    unit = LEFT.get(command[0].upper())
    if unit is None or redis[0] != b":":
        return False
    left = int(redis[1]), int(idem[1])
    return min(left) >= 0 and abs(left[0] - left[1]) * unit <= ROUNDING_MS + apart_ms


class Comparison:
    """Replies of one connection to each server, in step with the commands sent."""

    def __init__(self):
        self.history = []
        self.queued = None  # commands between MULTI and EXEC
        self.compared = 0
        self.explained = {}
        self.sent_at, self.longest = time.monotonic(), 0.0

    def begin(self):
        """Called before commands are sent to both servers. Sending to both takes a while, by which a
        time to live can differ twice: once when it was set, and once when it is read."""
        self.longest = max(self.longest, time.monotonic() - self.sent_at)
        self.sent_at = time.monotonic()

    def apart_ms(self):
        taken = time.monotonic() - self.sent_at
        return 1000 * (taken + max(taken, self.longest))

    def check(self, command, redis, idem):
        self.history = self.history[-HISTORY:] + [(command, redis)]
        self.compared += 1
        name = command[0].upper()
        if name == b"EXEC" and self.queued is not None and redis[0] == idem[0] == b"*":
            queued, self.queued = self.queued, None
            if len(redis[1]) != len(idem[1]):
                self.fail(command, redis, idem)
            for inner, a, b in zip(queued, redis[1], idem[1]):
                self.check_one(inner, a, b)
            return
        self.check_one(command, redis, idem)
        if name == b"MULTI" and redis == (b"+", b"OK"):
            self.queued = []
        elif redis == (b"+", b"QUEUED"):
            self.queued.append(command)
        elif name in (b"EXEC", b"DISCARD") and redis[0] != b"-":
            self.queued = None

    def check_one(self, command, redis, idem):
        if close_enough(command, redis, idem, self.apart_ms()):
            return
        row = explain(command, redis, idem)
        if row is None:
            self.fail(command, redis, idem)
        self.explained[row.name] = self.explained.get(row.name, 0) + 1

    def fail(self, command, redis, idem):
        lines = [f"seed {SEED}: {command!r}", f"  redis  {shown(redis)}", f"  idem   {shown(idem)}"]
        lines += ["before it:"]
        lines += [f"  {earlier!r} -> {shown(reply)}" for earlier, reply in self.history[:-1]]
        raise AssertionError("\n".join(lines))


def shown(reply):
    text = repr(reply)
    return text if len(text) < 400 else text[:400] + "..."


@unittest.skipIf(VERSION is None, "SKIPPED: no redis-server to compare with (Debian: redis-server)")
@unittest.skipIf(VERSION is not None and VERSION[:2] != (7, 0),
                 f"SKIPPED: replies are those of redis-server 7.0, not of {VERSION}")
class Differential(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"    differential: seed {SEED}", flush=True)
        cls.pair = Pair()
        cls.addClassCleanup(cls.pair.stop)

    def setUp(self):
        self.random = random.Random(f"{SEED} {self.id()}")
        self.streams = Streams(self.random, int(time.time()))
        self.open = []
        for peer in self.connect():
            self.assertEqual(peer.ask("FLUSHALL"), (b"+", b"OK"))

    def tearDown(self):
        for peer in self.open:
            peer.close()

    def connect(self, version=2):
        peers = self.pair.connect(version)
        self.open += peers
        return peers

    # Random streams

    def exchange(self, peers, commands, comparison, inline_share=0.1):
        data = bytearray()
        for command in commands:
            line = self.streams.inline(command) if self.random.random() < inline_share else None
            data += line or encode(*command)
        comparison.begin()
        for peer in peers:
            peer.send_raw(data)
        for command in commands:
            comparison.check(command, *(peer.read_reply() for peer in peers))

    def settle(self, peers, comparison):
        """Short times to live: what both servers answer after they expired."""
        commands = []
        for key in self.random.sample(KEYS, 4):
            ms = b"%d" % self.random.randrange(1, 20)
            commands += self.random.choice([
                [[b"SET", key, b"short", b"PX", ms]], [[b"PSETEX", key, ms, b"short"]],
                [[b"SET", key, b"short"], [b"PEXPIRE", key, ms]],
                [[b"SET", key, b"short"], [b"GETEX", key, b"PX", ms]]])
        self.exchange(peers, commands, comparison)
        keys = {command[1] for command in commands}
        for peer in peers:
            eventually(lambda: peer.ask("EXISTS", *keys) == (b":", b"0"), "their end")
        eventually(lambda: len({peer.ask("DBSIZE") for peer in peers}) == 1, "the same DBSIZE")

    def batch(self, transactions):
        self.streams.now_s = int(time.time())
        commands = [self.streams.next() for _ in range(BATCH)]
        large = [i for i, command in enumerate(commands) if any(arg in LARGE for arg in command)]
        for i in large[1:]:  # several of them would fill the sockets in both directions
            commands[i] = [b"PING"]
        if transactions:
            start = self.random.randrange(BATCH - 10)
            ends = [[b"EXEC"], [b"EXEC"], [b"EXEC"], [b"DISCARD"]]
            commands.insert(start, [self.streams.word(b"MULTI")])
            commands.insert(start + self.random.randrange(1, 10), self.random.choice(ends))
            if self.random.random() < 0.2:
                commands.insert(start + 1, [b"MULTI"])
            commands += [[b"DISCARD"]]
        return commands

    def has(self, peer, name):
        return peer.ask("COMMAND", "INFO", name)[1][0][1] is not None

    def run_stream(self, version):
        peers = self.connect(version)
        transactions = self.has(peers[1], "MULTI")
        if not transactions:
            print("    MULTI is SKIPPED: the server has no such command", flush=True)
        comparison = Comparison()
        started = time.monotonic()
        number = 0
        while comparison.compared < COMMANDS:
            self.exchange(peers, self.batch(transactions and number % 3 == 0), comparison)
            if number % 10 == 9:
                self.settle(peers, comparison)
                self.compare_scans(peers)
            if number % 40 == 39:  # start again from an empty keyspace, on new connections
                peers = self.connect(version)
            number += 1
        measured(f"{comparison.compared} replies in {time.monotonic() - started:.1f} s, differing "
                 f"on purpose: {comparison.explained}")

    def test_random_commands_resp2(self):
        self.run_stream(2)

    def test_random_commands_resp3(self):
        self.run_stream(3)

    # Commands without one right reply

    def iterate(self, peer, *options):
        """All keys of a complete SCAN; each cursor has to be a decimal number."""
        found, cursor = [], b"0"
        for _ in range(10000):
            kind, reply = peer.ask("SCAN", cursor, *options)
            self.assertEqual(kind, b"*", reply)
            (cursor_kind, cursor), (_, keys) = reply
            self.assertEqual((cursor_kind, cursor.isdigit()), (b"$", True))
            found += [key for _, key in keys]
            if cursor == b"0":
                return found
        raise AssertionError("SCAN does not come to an end")

    def compare_scans(self, peers):
        options = self.random.choice([
            [], ["COUNT", 1], ["COUNT", 1000], ["MATCH", self.random.choice(PATTERNS)],
            ["MATCH", self.streams.pattern(), "COUNT", 3],
            ["type", "String"], ["TYPE", "list"], ["TYPE", "nosuch"],
            ["MATCH", "nosuch", "MATCH", "*"], ["COUNT", 5, "COUNT", 2**63 - 1]])
        redis, idem = (self.iterate(peer, *options) for peer in peers)
        emptied = {b""} if b"" not in redis else set()  # see "the empty key" in differences.py
        self.assertEqual(set(redis), set(idem) - emptied, f"seed {SEED}: SCAN {options}")
        self.assertEqual(len(idem), len(set(idem)), "nothing changed, so nothing comes twice")

    def test_scans_of_many_keys(self):
        peers = self.connect()
        keys = [b"key:%d" % i for i in range(5000)]
        for at in range(0, len(keys), 500):
            commands = [[b"SET", key, b"v"] for key in keys[at:at + 500]]
            self.exchange(peers, commands, Comparison(), inline_share=0)
        for options in ([], ["COUNT", 100], ["MATCH", "key:1*"], ["MATCH", "*7", "COUNT", 1000],
                        ["TYPE", "string"]):
            redis, idem = (self.iterate(peer, *options) for peer in peers)
            self.assertEqual(set(redis), set(idem), options)
        for pattern in ("*", "nosuch"):
            calls = 0
            cursor = b"0"
            while calls == 0 or cursor != b"0":
                reply = peers[1].ask("SCAN", cursor, "COUNT", 100, "MATCH", pattern)
                cursor, keys = (content for _, content in reply[1])
                self.assertLessEqual(len(keys), 200, "COUNT bounds a call, but for the last chain")
                calls += 1
            self.assertGreater(calls, 20, "a call looks at about COUNT keys, match or not")

    def test_random_key(self):
        peers = self.connect()
        for peer in peers:
            self.assertEqual(peer.ask("RANDOMKEY"), (b"$", None))
            for key in KEYS:
                peer.ask("SET", key, "v")
            seen = {peer.ask("RANDOMKEY") for _ in range(400)}
            self.assertLessEqual(seen, {(b"$", key) for key in KEYS})
            self.assertGreater(len(seen), len(KEYS) // 2)

    def test_absolute_times_are_exact(self):
        peers = self.connect()
        comparison = Comparison()
        base = int(time.time() * 1000)
        for _ in range(300):
            ms = base + self.random.randrange(200_000, 10**12)
            commands = self.random.choice([
                [[b"SET", b"k", b"v", b"PXAT", b"%d" % ms]],
                [[b"SET", b"k", b"v"], [b"PEXPIREAT", b"k", b"%d" % ms]],
                [[b"SET", b"k", b"v"], [b"GETEX", b"k", b"PXAT", b"%d" % ms],
                 [b"SET", b"k", b"w", b"KEEPTTL"]]])
            # LT and GT with the same time change nothing
            commands += [[b"PEXPIREAT", b"k", b"%d" % (ms + d), way]
                         for d in (0, 1, -1) for way in (b"GT", b"LT")]
            self.exchange(peers, commands, comparison)
            for name in ("PEXPIRETIME", "EXPIRETIME"):
                redis, idem = (peer.ask(name, "k") for peer in peers)
                self.assertEqual(redis, idem, f"{name} after {ms}")

    def test_ttl_is_rounded(self):
        """As Redis 7.0: to the nearest second."""
        for left_ms, shown_s in ((100_400, 100), (100_900, 101), (900, 1), (400, 0)):
            for peer in self.connect():
                def asked():
                    peer.ask("SET", "k", "v", "PX", left_ms)
                    ttl, left = peer.ask("TTL", "k"), peer.ask("PTTL", "k")
                    return ttl if int(left[1]) > left_ms - 350 else None
                self.assertEqual(eventually(asked, "an answer at once"), (b":", b"%d" % shown_s))

    # Commands without a key

    def test_every_command_looks_at_its_arguments(self):
        for text in ARGUMENTS.replace("\n", " ").split(";"):
            command = shlex.split(text)
            if not command:
                continue
            with self.subTest(text.strip()):
                redis, idem = (self.ask_alone(peer, command) for peer in self.connect())
                self.assertEqual(redis, idem)

    @staticmethod
    def ask_alone(peer, command):
        peer.ask("SET", "k", "v")
        return peer.ask(*command)

    def test_command_list_names_subcommands(self):
        """COMMAND LIST and FILTERBY name them, COUNT and COMMAND do not; each name is found."""
        for peer in self.connect():
            names = {name for _, name in peer.ask("COMMAND", "LIST")[1]}
            subs = {name for name in names if b"|" in name}
            self.assertLessEqual({b"config", b"config|get", b"config|set", b"client|id"}, names)
            found = peer.ask("COMMAND", "LIST", "FILTERBY", "PATTERN", "*")[1]
            self.assertEqual({name for _, name in found}, names)
            count = int(peer.ask("COMMAND", "COUNT")[1])
            rows = peer.ask("COMMAND")[1]
            self.assertEqual((len(rows), len(names) - len(subs)), (count, count))
            listed = {row[1][0][1] for row in rows}
            below = {sub[1][0][1] for row in rows for sub in row[1][9][1]}
            self.assertEqual((listed, below), (names - subs, subs))
            for name, row in zip(sorted(subs), peer.ask("COMMAND", "INFO", *sorted(subs))[1]):
                self.assertEqual(row[1][0][1], name)

    def test_which_commands_have_channels_as_arguments(self):
        for name in ("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "PUBSUB",
                     "PUBSUB|CHANNELS", "PUBSUB|NUMSUB", "PUBSUB|NUMPAT", "PING", "HELLO", "QUIT",
                     "RESET", "GET"):
            flags = [str(peer.ask("COMMAND", "INFO", name)) for peer in self.connect()]
            self.assertEqual(*("'pubsub'" in text for text in flags), name)

    def test_every_container_has_a_help(self):
        idem = self.connect()[1]  # Redis refuses CLUSTER too when cluster mode is off
        subs = {name for _, name in idem.ask("COMMAND", "LIST")[1] if b"|" in name}
        for container in {name.split(b"|")[0] for name in subs}:
            kind, lines = idem.ask(container, "HELP")
            self.assertEqual(kind, b"*", (container, lines))
            self.assertIn(container.upper(), lines[0][1])
            self.assertIn(b"HELP", [line for _, line in lines])
            self.assertIn(container + b"|help", subs)

    # The table of differences is true

    def test_each_difference_is_there(self):
        for row in DIFFERENCES:
            with self.subTest(row.name):
                peers = self.connect()
                for peer in peers:
                    peer.ask("FLUSHALL")
                seen = 0
                for command in row.example:
                    redis, idem = (peer.ask(*command) for peer in peers)
                    if redis != idem:
                        self.assertTrue(row.explains(command, redis, idem), (command, redis, idem))
                        seen += 1
                self.assertGreater(seen, 0, OUTLIVED)

    # Framing

    def outputs(self, data):
        """What each server sends in reply to these bytes and the end of input, until it closes."""
        both = []
        for peer in self.connect():
            try:
                peer.send_raw(data)
                peer.sock.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError, OSError):
                pass  # the server has closed it after an error
            both.append(peer.read_to_end())
            peer.close()
            self.open.remove(peer)
        return both

    def compare_outputs(self, data):
        redis, idem = self.outputs(data)
        if redis != idem and explain_framing(data, redis, idem) is None:
            raise AssertionError(f"seed {SEED}: {data[:300]!r}\n  redis  {redis[-300:]!r}\n"
                                 f"  idem   {idem[-300:]!r}")

    def test_framing_errors(self):
        for data in FRAMES:
            with self.subTest(data[:60]):
                self.compare_outputs(data)
                self.compare_outputs(encode(b"PING") + data + encode(b"PING"))

    def test_damaged_streams(self):
        good = [encode(b"PING"), encode(b"SET", b"k", b"v"), encode(b"GET", b"k"),
                encode(b"DEL", b"k"), b"PING x\r\n", b"GET 'k'\r\n", b"\r\n", b"*0\r\n"]
        marks = [b"*", b"$", b"\r", b"\n", b"-", b"0", b"9", b" ", b"'", b'"', b"\\", b"\xff", b"a",
                 b""]  # not NUL: see FRAMING
        for _ in range(1000):
            data = bytearray(b"".join(self.random.choices(good, k=self.random.randrange(1, 4))))
            for _ in range(self.random.randrange(1, 3)):
                at = self.random.randrange(len(data))
                data[at:at + self.random.randrange(2)] = self.random.choice(marks)
            self.compare_outputs(encode(b"FLUSHALL") + bytes(data))

    def test_each_framing_difference_is_there(self):
        for row in FRAMING:
            with self.subTest(row.name):
                redis, idem = self.outputs(row.example)
                self.assertNotEqual(redis, idem, OUTLIVED)
                self.assertTrue(row.explains(row.example, redis, idem), (redis, idem))

    def test_bytes_that_come_one_by_one(self):
        peers = self.connect()
        commands = [[b"SET", b"k", b"\r\n$3\r\n"], [b"GET", b"k"], [b"ECHO", b""], [b"PING"]]
        data = b"".join(encode(*command) for command in commands) + b'echo "a\\x00b"\r\n'
        for peer in peers:
            for i in range(len(data)):
                peer.send_raw(data[i:i + 1])
        comparison = Comparison()
        for command in commands + [[b"ECHO", b"a\x00b"]]:
            comparison.check(command, *(peer.read_reply() for peer in peers))


# Commands with arguments that are wrong, too many or too few, and a few correct ones among them.
ARGUMENTS = """
CLIENT TRACKING; CLIENT TRACKING maybe; CLIENT TRACKING OFF; CLIENT TRACKING OFF BCAST;
CLIENT TRACKING OFF NOSUCH; CLIENT TRACKING ON NOSUCH; CLIENT TRACKING ON REDIRECT;
CLIENT TRACKING ON REDIRECT x; CLIENT TRACKING OFF PREFIX a; CLIENT TRACKING OFF PREFIX;
CLIENT TRACKING OFF OPTIN OPTOUT; CLIENT TRACKING OFF OPTIN BCAST;
CLIENT TRACKING OFF OPTIN NOLOOP; CLIENT CACHING YES; CLIENT CACHING NO; CLIENT CACHING maybe;
CLIENT CACHING; CLIENT GETREDIR; CLIENT GETREDIR x; CLIENT NO-EVICT x; CLIENT NO-EVICT on x;
CLIENT NO-EVICT; CLIENT REPLY x; CLIENT REPLY ON x; CLIENT REPLY; CLIENT PAUSE x;
CLIENT PAUSE -1; CLIENT PAUSE 1 x; CLIENT UNPAUSE x; CLIENT PAUSE 99999999999999999999;
CLIENT UNBLOCK; CLIENT UNBLOCK x; CLIENT UNBLOCK 999999; CLIENT UNBLOCK 999999 TIMEOUT;
CLIENT UNBLOCK -1; CLIENT UNBLOCK 0; CLIENT KILL; CLIENT KILL x; CLIENT KILL ID;
CLIENT KILL ID x; CLIENT KILL ID 0; CLIENT KILL ID 99999 TYPE; CLIENT KILL TYPE x;
CLIENT KILL TYPE master; CLIENT KILL USER nosuch; CLIENT KILL USER default ID 999999;
CLIENT KILL SKIPME x; CLIENT KILL ADDR x; CLIENT KILL LADDR x; CLIENT KILL NOSUCH x;
CLIENT KILL MAXAGE 3; CLIENT LIST TYPE; CLIENT LIST TYPE x; CLIENT LIST TYPE master;
CLIENT LIST ID; CLIENT LIST ID x; CLIENT LIST ID 999999 x; CLIENT LIST NOSUCH;
CLIENT LIST TYPE normal x; CLIENT INFO x; CLIENT ID x; CLIENT GETNAME x; CLIENT SETNAME;
CLIENT SETNAME "a b"; CLIENT SETNAME a b; CLIENT NOSUCH; CLIENT; AUTH; AUTH a b c; AUTH a;
AUTH default x; AUTH nosuch x; HELLO x; HELLO 4; HELLO 1; HELLO 3 x; HELLO 3 AUTH;
HELLO 3 AUTH a; HELLO 3 SETNAME; HELLO 3 SETNAME "a b"; HELLO 2 NOSUCH; HELLO 3 AUTH a b;
PING a b; ECHO; ECHO a b; SELECT; SELECT 0 1; QUIT x; RESET x; READONLY; READONLY x; READWRITE;
READWRITE x; ASKING; ASKING x; CLUSTER; CLUSTER INFO; CLUSTER SLOTS; CLUSTER NODES;
CLUSTER HELP; TIME x; ROLE x; LOLWUT VERSION x; DBSIZE x; INFO nosuch x; FLUSHALL x;
FLUSHALL ASYNC x; FLUSHDB SYNC ASYNC; RANDOMKEY x; KEYS; KEYS a b; SCAN; SCAN x; SCAN 0 x;
SCAN 0 COUNT; SCAN 0 COUNT x; SCAN 0 COUNT 0; SCAN 0 MATCH; SCAN 0 TYPE; SCAN 0 TYPE nosuch;
TYPE; TYPE a b; TTL; EXPIRE k; EXPIRE k x; EXPIRE k 1 x; EXPIRE k 1 NX XX; EXPIRE k 1 GT LT;
EXPIRE k 100000000000000000; PEXPIRE k 9223372036854775807; PERSIST; PERSIST k x; OBJECT;
OBJECT NOSUCH; OBJECT ENCODING; OBJECT ENCODING k x; OBJECT FREQ; OBJECT FREQ k; OBJECT HELP x;
MEMORY; MEMORY USAGE; MEMORY USAGE k SAMPLES; MEMORY USAGE k SAMPLES x;
MEMORY USAGE k SAMPLES -1; MEMORY USAGE k NOSUCH 1; MEMORY HELP x; SET k; SET k v NX XX;
SET k v EX; SET k v EX 0; SET k v EX x; SET k v PX 1 EX 1; SET k v KEEPTTL EX 1;
SET k v NOSUCH; SETNX k; SETEX k 0 v; SETEX k x v; GETEX k EX; GETEX k PERSIST EX 1;
GETEX k NOSUCH; STRLEN; PUBLISH a; PUBSUB; PUBSUB NOSUCH; PUBSUB CHANNELS a b; PUBSUB NUMPAT x;
PUBSUB NUMSUB; PUBSUB HELP x; MULTI x; EXEC; EXEC x; DISCARD; DISCARD x; WATCH; UNWATCH x;
UNWATCH; COMMAND NOSUCH; COMMAND HELP x; COMMAND DOCS nosuch; COMMAND INFO nosuch;
COMMAND GETKEYS; COMMAND LIST FILTERBY NOSUCH x; COMMAND LIST FILTERBY PATTERN a b;
COMMAND COUNT x; CONFIG; CONFIG GET; CONFIG SET; CONFIG SET a; CONFIG SET nosuch 1;
CONFIG SET maxclients; CONFIG SET port 1 nosuch 2; CONFIG RESETSTAT x; CONFIG REWRITE x;
CONFIG NOSUCH; SLOWLOG; SLOWLOG GET x; SLOWLOG GET -2; SLOWLOG LEN x; SLOWLOG RESET x;
SLOWLOG NOSUCH; LATENCY; LATENCY LATEST x; LATENCY HISTORY; LATENCY HISTORY nosuch;
LATENCY HISTORY a b; LATENCY RESET; LATENCY RESET nosuch; FUNCTION; FUNCTION NOSUCH;
FUNCTION HELP x; SCRIPT; SCRIPT NOSUCH; MODULE; MODULE LIST; MODULE LIST x; MODULE NOSUCH; ACL;
ACL WHOAMI; ACL WHOAMI x; ACL NOSUCH; ACL HELP x; SHUTDOWN NOSUCH; SHUTDOWN SAVE NOSAVE;
MONITOR x; DEL; EXISTS; TOUCH; UNLINK; GETSET k; GETDEL k x; COMMAND LIST x y z; UNSUBSCRIBE;
PUBLISH;
"""

FRAMES = [
    b"*x\r\n", b"*\r\n", b"*-1\r\n", b"*0\r\n", b"*-5\r\n", b"* 1\r\n", b"*+1\r\n", b"*01\r\n",
    b"*1.0\r\n", b"*99999999999999999999\r\n", b"*9223372036854775807\r\n", b"*2147483648\r\n",
    b"*1\r\nPING\r\n", b"*1\r\n:4\r\n", b"*1\r\n*1\r\n", b"*1\r\n$x\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n$-0\r\n", b"*1\r\n$\r\n", b"*1\r\n$ 4\r\nPING\r\n", b"*1\r\n$536870913\r\n",
    b"*1\r\n$99999999999999999999\r\n", b"*1\r\n\r\n$4\r\nPING\r\n", b"*1\r\n$0\r\n\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-1\r\n", b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"\r\n", b"\n",
    b"   \r\n", b"PING\n", b"  PING  \r\n", b"PING\t x\r\n", b"\"PING\"\r\n", b"'PING'\r\n",
    b"PING \"a\\x41\"\r\n", b"PING \"\\n\\r\\t\\b\\a\\q\"\r\n", b"PING \"\\xzz\"\r\n",
    b"PING 'a\\'b'\r\n", b"PING 'a\\nb'\r\n", b"PING \"a\r\n", b"PING 'a\r\n", b"PING \"a\"b\r\n",
    b"PING 'a'b\r\n", b"PING a\"b\"\r\n", b"PING a'b\r\n", b"PING \"\"\r\n", b"\"\"\r\n",
    b"PING \\\r\n", b"\x00\r\n", b"PI\x00NG\r\n", b"*" + b"1" * 70000, b"*1\r\n$" + b"1" * 70000,
    b"x" * 70000, b"PING " + b"x" * 70000 + b"\r\n", b"PING " + b"x" * 60000 + b"\r\n",
    b"*2\r\n$4\r\nPING\r\n$1\r\n", b"*1\r\n$4\r\nPI", b"PING", b"*", b"*1", b"*1\r", b"$",
    b"$4\r\nPING\r\n", b"+OK\r\n", b"-ERR\r\n", b":1\r\n", b"POST / HTTP/1.1\r\n\r\n",
    b"Host: x\r\n",
]
