"""idem.lua beside the module: the same random calls on two keys get the same answers, whoever of the two serves each call.

So the functions keep the contract as far as they have it, and both read what the other wrote.
"""

import os
import random
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
from nodes import ROOT, Node, RespError, eventually  # noqa: E402

FUNCTIONS = os.path.join(ROOT, "server/module/idem.lua")
SEEDS, STEPS = 30, 300
# Where a reply has a token, and where times that pass.
TOKEN_AT = {b"CLAIMED": 1, b"LAPSED": 1, b"UNKNOWN": 1}
TIMES_AT = {b"DONE": (3, 4), b"BUSY": (1, 2), b"LAPSED": (2,), b"UNKNOWN": (2,)}
SLACK_MS = 5000
# The functions count tokens by microseconds, the module by milliseconds: who asks both for one key may see them fall by so
# much, and the documentation says so.
FALL = 2 << 22 >> 10
COMMANDS = ("CLAIM", "STORE", "RENEW", "RELEASE", "FETCH")


class Side:
    """One key; a call of it goes through the module or through the functions."""

    def __init__(self, client, key):
        self.client, self.key, self.tokens = client, key, [1]

    def call(self, functions, command, args):
        args = [self.tokens[arg[0]] if isinstance(arg, tuple) else arg for arg in args]
        if command == "DEL":
            return self.client.call("DEL", self.key)
        if functions:
            return self.client.call("FCALL", "idem_" + command.lower(), 1, self.key, *args)
        return self.client.call("IDEM." + command, self.key, *args)

    def shown(self, reply):
        """The reply with the number of its token, as this key got them; and its times."""
        if isinstance(reply, RespError):
            return str(reply), ()
        if not isinstance(reply, list):
            return reply, ()
        reply, times = list(reply), [reply[at] for at in TIMES_AT.get(reply[0], ())]
        if reply[0] in TOKEN_AT:
            token = reply[TOKEN_AT[reply[0]]]
            if token not in self.tokens:
                assert token > max(self.tokens) - FALL, (token, self.tokens)
                self.tokens.append(token)
            reply[TOKEN_AT[reply[0]]] = self.tokens.index(token)
        for at in TIMES_AT.get(reply[0], ()):
            reply[at] = None
        return reply, times


def some(chooser, *options):
    """Each of these options or not."""
    return [word for option in options if chooser.random() < 0.5 for word in option]


def step(chooser, tokens):
    """A command and its arguments; a token is the tuple of its number."""
    token = (chooser.choice([tokens - 1] * 4 + list(range(tokens))),)
    command = chooser.choice(COMMANDS + ("CLAIM", "RELEASE"))
    fp = ["FP", "f"] if chooser.random() < 0.9 else chooser.choice([["FP", "g"], [], ["FP", ""]])
    word = chooser.choice([[], [], ["UNSURE"], ["CLEAR"]])
    args = {
        "CLAIM": fp + some(chooser, ["OWNER", chooser.choice("ab")], ["LEASE", 70_000]) +
        (["HOLD"] if chooser.random() < 0.2 else []) + (["TAKEOVER", token] if chooser.random() < 0.4 else []),
        "STORE": [token, chooser.choice(["x", ""])] + some(chooser, ["META", "m"]) +
        chooser.choice([["TTL", 0] + word, ["TTL", 80_000], [], word]),
        "RENEW": [token] + some(chooser, ["LEASE", 65_000], ["STAGE", chooser.choice(["s", ""])]),
        "RELEASE": [token] + word,
        "FETCH": some(chooser, fp),
    }[command]
    return command, args


class Functions(unittest.TestCase):
    MODULE = ()

    def setUp(self):
        self.node = Node(module=self.MODULE)
        self.addCleanup(self.node.remove)
        self.client = self.node.client()
        self.addCleanup(self.client.close)
        with open(FUNCTIONS, "rb") as file:
            self.assertEqual(self.client.call("FUNCTION", "LOAD", file.read()), b"idem")


class Answers(Functions):
    def test_the_same_calls_get_the_same_answers(self):
        seen = set()
        for seed in range(SEEDS):
            chooser = random.Random(seed)
            sides = [Side(self.client, f"{name}:{seed}") for name in "ab"]
            for number in range(STEPS):
                command, args = ("DEL", []) if chooser.random() < 0.01 else step(chooser, len(sides[0].tokens))
                replies = [side.shown(side.call(functions, command, args))
                           for side, functions in zip(sides, chooser.choice([(0, 1), (1, 0), (1, 1)]))]
                where = f"seed {seed}, step {number}: {command} {args}"
                self.assertEqual(replies[0][0], replies[1][0], where)
                for one, other in zip(replies[0][1], replies[1][1]):
                    self.assertLess(abs(one - other), SLACK_MS, where)
                reply = replies[0][0]
                seen.add(str(reply[0] if isinstance(reply, list) else str(reply).split(" ", 2)[:2]))
        for expected in ("CLAIMED", "DONE", "BUSY", "LAPSED", "UNKNOWN", "MISMATCH", "CONFLICT", "ABSENT", "STORED",
                         "OVERTAKEN"):
            self.assertTrue(any(expected in reply for reply in seen), f"{expected} never came: {seen}")

    def test_its_tokens_are_none_of_the_modules(self):
        """Which count from the begin of each millisecond: these lie in its second half."""
        for number in range(300):
            token = self.client.call("FCALL", "idem_claim", 1, f"t{number}")[1]
            self.assertGreaterEqual(token * 1000 / (1 << 22) % 1, 0.5)

    def test_what_is_no_record_is_none(self):
        """The same bytes are for both the same: nothing that only begins like a record is one."""
        magic = b"\xffi\1"
        values = [magic + b"\0" + b"\xf0" * 18, magic + b"\2" + b"\0" * 22, magic + b"\1" + b"\x20" * 3 + b"\0" * 22,
                  magic + b"\0", magic, b"", magic + b"\0" + b"\xff" * 2 + b"\xff" * 18, b"12"]
        for number, value in enumerate(values):
            key = f"v{number}"
            self.client.call("SET", key, value)
            for command in (("FCALL", "idem_claim", 1, key), ("FCALL_RO", "idem_fetch", 1, key), ("IDEM.FETCH", key)):
                self.assertEqual(getattr(self.client.call(*command), "code", None), "WRONGTYPE", (value, command))
        self.client.call("RPUSH", "list", "x")
        self.assertEqual(str(self.client.call("FCALL", "idem_claim", 1, "list")), str(self.client.call("IDEM.CLAIM", "list")))

    def test_one_key_is_needed(self):
        for command, args in (("claim", ()), ("fetch", ()), ("store", (1, "b")), ("renew", (1,)), ("release", (1,))):
            for keys in ((), ("k", "l")):
                reply = self.client.call("FCALL", "idem_" + command, len(keys), *keys, *args)
                self.assertEqual(str(reply).split(" script:")[0], "ERR one key is needed")

    def test_at_the_limit_owners_go_on_and_nobody_new_is_granted(self):
        tokens = {key: self.client.call("FCALL", "idem_claim", 1, key)[1] for key in ("stored", "renewed", "released")}
        self.client.call("CONFIG", "SET", "maxmemory", 1)
        self.assertEqual(self.client.call("FCALL", "idem_claim", 1, "new").code, "OOM")
        self.assertEqual(self.client.call("FCALL_RO", "idem_fetch", 1, "stored")[0], b"BUSY")
        self.assertEqual(self.client.call("FCALL", "idem_store", 1, "stored", tokens["stored"], "body"), 0)
        self.assertEqual(self.client.call("FCALL", "idem_renew", 1, "renewed", tokens["renewed"]), 60_000)
        self.assertEqual(self.client.call("FCALL", "idem_release", 1, "released", tokens["released"]), 1)

    def test_a_user_needs_the_commands_that_they_use(self):
        """As server/module/README.md says."""
        self.client.call("ACL", "SETUSER", "app", "on", ">secret", "~order:*", "&order:*", "+fcall", "+fcall_ro", "+time", "+get",
                         "+set", "+unlink", "+spublish", "+ssubscribe")
        with self.node.client() as user:
            self.assertEqual(user.call("AUTH", "app", "secret"), "OK")
            token = user.call("FCALL", "idem_claim", 1, "order:1")[1]
            self.assertEqual(user.call("FCALL", "idem_store", 1, "order:1", token, "body", "TTL", 0), 0)
            self.assertIsNone(user.call("FCALL_RO", "idem_fetch", 1, "order:1"))
            self.assertEqual(user.call("FCALL", "idem_claim", 1, "other").code, "NOPERM")
            self.client.call("ACL", "SETUSER", "app", "-get")
            refused = user.call("FCALL", "idem_claim", 1, "order:1")
            self.assertIsInstance(refused, RespError)
            self.assertNotEqual(refused.code, "WRONGTYPE", str(refused))

    def test_a_lease_ends(self):
        for hold, state in (((), b"LAPSED"), (("HOLD",), b"UNKNOWN")):
            key = "ends" + "".join(hold)
            token = self.client.call("FCALL", "idem_claim", 1, key, "LEASE", 20, *hold)[1]
            eventually(lambda k=key, s=state: self.client.call("FCALL_RO", "idem_fetch", 1, k)[0] == s, "the end of a lease")
            self.assertEqual(self.client.call("IDEM.FETCH", key)[:2], [state, token])
            self.assertEqual(self.client.call("PEXPIRETIME", key) > 0, not hold)

    def test_who_waits_is_told(self):
        """As server/module/README.md says: subscribe, then ask, then wait for a message."""
        with self.node.client() as waiter:
            token = self.client.call("FCALL", "idem_claim", 1, "k")[1]
            self.assertEqual(waiter.call("SSUBSCRIBE", "k"), [b"ssubscribe", b"k", 1])
            self.assertEqual(self.client.call("FCALL_RO", "idem_fetch", 1, "k")[0], b"BUSY")
            self.assertEqual(self.client.call("FCALL", "idem_store", 1, "k", token, "body"), 0)
            self.assertEqual(waiter.read(), [b"smessage", b"k", b"done"])
            self.assertEqual(self.client.call("FCALL_RO", "idem_fetch", 1, "k")[:2], [b"DONE", b"body"])


class Wide(Functions):
    """Records with longer texts than the functions write."""
    MODULE = ("fingerprint-limit", "1kb", "owner-limit", "1kb")

    def test_they_stay_what_they_are(self):
        fingerprint, owner = "f" * 300, "o" * 255
        tokens = {}
        for key, args in (("owned", ("OWNER", owner)), ("both", ("FP", fingerprint, "OWNER", owner)), ("fp", ("FP", fingerprint))):
            tokens[key] = self.client.call("IDEM.CLAIM", key, *args)[1]
            self.assertEqual(self.client.call("FCALL", "idem_renew", 1, key, tokens[key], "STAGE", "s"), 60_000)
            busy = self.client.call("IDEM.FETCH", key, *args[:2] if "FP" in args else ())
            self.assertEqual(busy[3:], [owner.encode() if "OWNER" in args else None, b"s"])
            self.assertEqual(self.client.call("FCALL", "idem_store", 1, key, tokens[key], "body"), 0)
        self.assertEqual(self.client.call("IDEM.CLAIM", "fp", "FP", fingerprint)[:2], [b"DONE", b"body"])
        self.assertEqual(self.client.call("IDEM.CLAIM", "owned")[:2], [b"DONE", b"body"])


if __name__ == "__main__":
    unittest.main()
