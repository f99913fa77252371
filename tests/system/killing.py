"""Callers that work while the server is killed, and what they ask when it is there again.

    Owner       keys of its own, every command of the contract, in pipelines: oracle.py knows what must be there
    Rival       few keys with many others: each grant says a higher token and a higher attempt than all before it
    Forgetter   responses that end: a request of before is FORGOTTEN or replayed, never run as a first one

Each is a thread with one connection, which ends with the server. It must not know how the server is built inside.
"""

import random
import threading
import time

import oracle
from harness import Client, Closed, RespError, encode

BODY = 40
FLUSH = [("FLUSHALL",)]


class Clock:
    """Seconds that the server was up for, at most."""

    def __init__(self):
        self.down = 0.0

    def now(self):
        return time.monotonic() - self.down


class Caller:
    """A thread until the connection ends. A failure is kept, and raised by `join`."""

    def __init__(self, seed, clock):
        self.rng, self.clock = random.Random(seed), clock
        self.thread = self.failure = self.client = None
        self.answers = 0

    def start(self, server):
        self.client = Client(server)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while True:
                self.step()
        except (Closed, ConnectionError, BrokenPipeError):
            pass
        except Exception as failure:
            self.failure = failure
        finally:
            self.client.close()

    def join(self):
        self.thread.join()
        if self.failure is not None:
            raise self.failure


class Owner(Caller):
    def __init__(self, name, seed, clock, keys=24):
        super().__init__(seed, clock)
        self.names = [f"{name}-{number}" for number in range(keys)]
        self.keys, self.unanswered, self.serial = {}, [], 0
        self.big = self.flushes = self.flushed = False

    # What it sends

    def body(self):
        self.serial += 1
        text = f"body {self.serial} of {self.names[0]} ".encode()
        size = self.rng.randrange(1, 60_000) if self.big and self.rng.random() < 0.2 else BODY
        return (text * (size // len(text) + 1))[:max(size, len(text))]

    def claim(self, name, *more):
        rng = self.rng
        words = ["CLAIM", name, "OWNER", b"owner %d" % rng.randrange(10**9), "LEASE",
                 rng.choice((30, 3_600_000, 600_000, 60_000))]
        if int(name.rpartition("-")[2]) % 3 == 0:
            words += ["FP", b"print of " + name.encode()]
        if rng.random() < 0.3:
            words.append("HOLD")
        return (*words, *more)

    def on_token(self, name, key):
        """Commands of a former or present owner."""
        rng, token, body = self.rng, key.token, self.body()
        stage = b"stage %d" % rng.randrange(10**6)
        some = [("STORE", name, token, body), ("STORE", name, token, body, "TTL", 3_600_000, "META", b"meta"),
                ("RELEASE", name, token, "CLEAR"), ("STORE", name, token, body, "TTL", 0, "CLEAR")]
        if not key.nobody:
            some += 3 * [("RENEW", name, token, "LEASE", 1_800_000, "STAGE", stage)]
        if not key.nobody and not key.lapses:
            some += [("RENEW", name, token), ("RELEASE", name, token), ("STORE", name, token, body, "TTL", 0)]
            some += 2 * [("RELEASE", name, token, "UNSURE"), ("STORE", name, token, body, "TTL", 0, "UNSURE")]
        return some

    def on_record(self, name, key):
        some = [("DEL", name)]
        if key.token is not oracle.ANY:
            some += self.on_token(name, key)
        if key.state == "HELD" and not key.lapses:
            again = ["CLAIM", name, "OWNER", key.owner, "LEASE", self.rng.choice((900_000, 30))]
            some += [tuple(again + (["FP", key.fingerprint] if key.fingerprint is not None else []))]
        elif key.state == "LAPSED":
            some += 3 * [self.claim(name)]
        elif key.state == "UNKNOWN" and key.token is not oracle.ANY:
            some += [self.claim(name), self.claim(name, "TAKEOVER", key.token),
                     self.claim(name, "TAKEOVER", key.token)]
        return some

    def command(self, keys):
        """One that is right for the keys as they would be."""
        rng, name = self.rng, self.rng.choice(self.names)
        key = keys.get(name)
        if key is None:
            return self.claim(name) if rng.random() < 0.8 else ("SET", name, self.body(), "PX", 7_200_000)
        if key.state == "VALUE":
            return rng.choice([("SET", name, self.body()), ("DEL", name), ("PEXPIRE", name, 9_000_000)])
        if key.state == "DONE":
            return rng.choice([self.claim(name), ("DEL", name), ("DEL", *rng.sample(self.names, 4)),
                               ("PEXPIRE", name, 9_000_000)])
        return rng.choice(self.on_record(name, key))

    def unit(self, keys):
        unit, at = [], self.clock.now()
        if self.flushes and self.rng.random() < 0.03:
            oracle.apply_unit(keys, FLUSH, at)
            return FLUSH
        for _ in range(self.rng.randrange(2, 6) if self.rng.random() < 0.25 else 1):
            unit.append(self.command(keys))
            oracle.apply_unit(keys, unit[-1:], at)
        return unit

    def step(self):
        keys, units = dict(self.keys), []
        for _ in range(self.rng.randrange(1, 16)):
            units.append(self.unit(keys))
        at = self.clock.now()
        self.unanswered = [(unit, at) for unit in units]
        self.client.send_raw(b"".join(map(self.encoded, units)))
        while self.unanswered:
            unit = self.unanswered[0][0]
            replies = self.replies(unit)
            oracle.apply_unit(self.keys, unit, at, replies)
            self.flushed = self.flushed or unit == FLUSH
            del self.unanswered[0]
            self.answers += 1

    @staticmethod
    def encoded(unit):
        if len(unit) == 1:
            return encode(*unit[0])
        return b"".join([encode("MULTI"), *(encode(*command) for command in unit), encode("EXEC")])

    def replies(self, unit):
        if len(unit) == 1:
            return [self.client.read()]
        for _ in range(1 + len(unit)):
            if isinstance(reply := self.client.read(), RespError):
                raise oracle.Wrong(f"{unit!r:.300}: {reply}")
        return self.client.read()

    # What must be there

    def look(self, client):
        """Every key as the server shows it."""
        client.send_raw(b"".join(encode(*question) for name in self.names for question in
                                 (("INSPECT", name), ("FETCH", name, "FP", b"print of " + name.encode())
                                  if int(name.rpartition("-")[2]) % 3 == 0 else ("FETCH", name),
                                  ("GET", name), ("PTTL", name))))
        seen = {}
        for name in self.names:
            seen[name] = oracle.shown(*[client.read() for _ in range(4)])
        return seen

    def check(self, client, floor):
        """How many units were not answered, and how many of them took place."""
        before = self.clock.now()
        seen = self.look(client)
        unanswered, self.unanswered = self.unanswered, []
        self.keys, count = oracle.after_kill(self.keys, unanswered, seen,
                                             (before, self.clock.now()), floor)
        self.flushed = self.flushed or any(unit == FLUSH for unit, _ in unanswered[:count])
        return count, len(unanswered)

    def tokens(self):
        return [key.token for key in self.keys.values()
                if key is not None and isinstance(key.token, int)]


class Rivalry:
    """Grants of keys that many claim, and what was stored: of all rivals, over all starts."""

    def __init__(self):
        self.lock = threading.Lock()
        self.grants, self.done, self.highest = {}, {}, 0

    def note_grant(self, key, token, attempt):
        with self.lock:
            self.grants.setdefault(key, {})
            if token in self.grants[key]:
                raise oracle.Wrong(f"token {token} of {key} was granted twice")
            self.grants[key][token] = attempt
            self.highest = max(self.highest, token)

    def note_done(self, key, body):
        with self.lock:
            if self.done.setdefault(key, body) != body:
                raise oracle.Wrong(f"{key} answered {self.done[key]!r} and {body!r}")

    def check(self):
        """No attempt twice; all in the order of the tokens."""
        for key, grants in self.grants.items():
            attempts = [grants[token] for token in sorted(grants)]
            if any(later <= former for former, later in zip(attempts, attempts[1:])):
                raise oracle.Wrong(f"{key}: the attempts {attempts[-20:]} in the order of their tokens")

    def forget(self):
        self.grants, self.done = {}, {}

    def count(self):
        return sum(map(len, self.grants.values()))


class Rival(Caller):
    """Claims, waits; lets lapse, gives up unsure, or stores what stays for ever."""

    def __init__(self, seed, clock, rivalry):
        super().__init__(seed, clock)
        self.rivalry = rivalry

    def step(self):
        rng = self.rng
        key = f"rival-{rng.randrange(3)}" if rng.random() < 0.7 else f"job-{rng.randrange(4000)}"
        reply = self.client.call("CLAIM", key, "LEASE", rng.randrange(5, 40), "WAIT", rng.randrange(1, 60))
        self.answers += 1
        if not isinstance(reply, list):
            raise oracle.Wrong(f"CLAIM {key}: {reply!r}")
        if reply[0] == b"DONE":
            self.rivalry.note_done(key, reply[1])
        elif key in self.rivalry.done:
            raise oracle.Wrong(f"{key} is stored, and CLAIM answered {reply!r}")
        if reply[0] == b"CLAIMED":
            self.rivalry.note_grant(key, reply[1], reply[3])
            self.work(key, reply[1])

    def work(self, key, token):
        body = b"stored with %d" % token
        if key.startswith("job-"):
            reply = self.client.call("STORE", key, token, body)
            if isinstance(reply, int):
                self.rivalry.note_done(key, body)
        elif self.rng.random() < 0.5:
            self.client.call("RELEASE", key, token, "UNSURE")


class Forgetter(Caller):
    """Stores responses that end at once."""

    KEPT = 30

    def __init__(self, seed, clock):
        super().__init__(seed, clock)
        self.ended, self.number = [], 0

    def step(self):
        self.number += 1
        key, born = f"ended-{self.number}", time.time_ns() // 1_000_000
        reply = self.client.call("CLAIM", key, "BORN", born)
        if reply[0] == b"CLAIMED":
            if self.client.call("STORE", key, reply[1], b"soon gone", "TTL", self.rng.choice((1, 20))) != 0:
                raise oracle.Wrong(f"STORE of {key}")
            self.ended = [*self.ended[1 - self.KEPT:], (key, born)]
        self.answers += 1
        time.sleep(0.003)  # slots of the horizon are for others, too

    def check(self, client):
        for key, born in self.ended:
            reply = client.call("CLAIM", key, "BORN", born)
            if reply[0] not in (b"FORGOTTEN", b"DONE"):
                raise oracle.Wrong(f"{key}, born at {born}, was stored and ended: CLAIM answered {reply!r}")
