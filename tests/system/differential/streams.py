"""Random command streams: everything that the string commands accept, and what they refuse.

It must not know the replies. The same seed gives the same streams. Invariants: no time is so short
that it could pass during the test (short times have tests of their own, see settle), and two times
that GT or LT compare are so far apart that the answer does not depend on which server was faster.
"""

# Bytes that quoting, escaping, globs, C strings or framing could stumble over.
KEYS = ([b"k%d" % i for i in range(12)] +
        [b"", b" ", b"a b", b"\r\n", b"\x00", b"k\x00k", b"\xff\xfe", "schl\u00fcssel".encode(),
         b'"', b"'", b"\\", b"*", b"[a-c]", b"k?", b"user:1", b"user:2", b"$5", b"*1", b"x" * 200,
         b"0"])

VALUES = [b"", b"0", b"-0", b"00", b"1", b"-1", b"+1", b" 1", b"1 ", b"1.5", b"9223372036854775807",
          b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809",
          b"1234567890123456789012", b"x" * 43, b"x" * 44, b"x" * 45, b"1" * 19, b"1" * 20,
          b"1" * 21, b"\r\n", b"$-1\r\n", b"\x00", b"\xff" * 7, b"value", b"NX", b"EX",
          b"10\x00"]
LARGE = [b"y" * 16383, b"y" * 16384, b"z" * 70000]

MAX = 9223372036854775807
APART_MS = 10**9

PATTERNS = [b"*", b"**", b"k*", b"k?", b"k??", b"*1", b"*s*e*", b"[a-z]*", b"[^k]*", b"[z-a]*",
            b"[", b"[]", b"[^]", b"[]]*", b"[k", b"[k-", b"[k-\\]*", b"\\", b"\\*", b"\\k*", b"*\\",
            b"k[0-5]", b"k[5-0]", b"k[^0-5]", b"[\\]a]", b"[a\\-c]*", b"?", b"", b"user:[12]",
            b"*\x00*", b"\xff*", b"*" * 30 + b"a", b"k1\x00", b"[k]1", b"K*", b"x" * 200,
            b"?" * 200, b"user:*[0-9]", b"***k***1***", b"[[]a-c]", b"\\[a-c\\]", b"[^a-zA-Z0-9]*"]

# Random patterns are made of these.
PATTERN_BYTES = [b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"k", b"1", b"2", b"a", b"u", b":",
                 b"\x00", b"x"]


def changed_case(random, word):
    style = random.randrange(4)
    if style == 0:
        return word.lower()
    if style == 1:
        return bytes(c ^ 0x20 if random.random() < 0.5 and chr(c).isalpha() else c for c in word)
    return word


class Streams:
    def __init__(self, random, now_s):
        self.random = random
        self.now_s = now_s
        self.makers = [
            (14, self.set), (10, self.get), (3, self.setnx), (3, self.setex), (3, self.getset),
            (6, self.getex), (3, self.getdel), (2, self.strlen), (3, self.mget), (4, self.delete), (3, self.exists),
            (2, self.type), (6, self.ttl), (12, self.expire), (3, self.persist), (3, self.keys),
            (2, self.scan_errors), (2, self.object), (2, self.memory), (1, self.connection),
            (1, self.flush), (1, self.unknown), (2, self.wrong_arity),
        ]
        self.weights = [weight for weight, _ in self.makers]
        self.compared = set()

    def next(self):
        """One command, a list of arguments."""
        maker = self.random.choices(self.makers, self.weights)[0][1]
        args = maker()
        return [changed_case(self.random, args[0])] + args[1:]

    # Arguments

    def key(self):
        return self.random.choice(KEYS)

    def value(self):
        if self.random.random() < 0.03:
            return self.random.choice(LARGE)
        if self.random.random() < 0.1:
            return self.random.randbytes(self.random.randrange(1, 60))
        return self.random.choice(VALUES)

    def wrong_number(self):
        return self.random.choice([b"", b"abc", b"1.5", b" 100", b"100 ", b"+100", b"0100", b"0x10",
                                   b"--1", b"-", b"1e3", b"9223372036854775808",
                                   b"-9223372036854775809", b"99999999999999999999",
                                   b"100\x00"])

    def edge_number(self):
        return b"%d" % self.random.choice([0, -1, MAX, MAX - 1, -MAX - 1, -MAX, MAX // 1000,
                                           MAX // 1000 + 1,
                                           -(MAX // 1000), -(MAX // 1000) - 1, -(MAX // 1000) - 2,
                                           -1000])

    def distant(self):
        """Milliseconds that were not used before: further ahead than those of relative and absolute,
        and so far apart that the moment at which each is set does not matter."""
        while True:
            ms = self.random.randrange(10**13, 10**15) // APART_MS * APART_MS
            if ms not in self.compared:
                self.compared.add(ms)
                return ms

    def compare(self, unit):
        """A time for GT and LT, relative or absolute. The key's time is another one of these, or less
        than all of them, or an extreme number."""
        kind = self.random.random()
        if kind < 0.08:
            return self.wrong_number()
        if kind < 0.2:
            return b"%d" % self.random.choice([0, -1, MAX, MAX - 1, -MAX - 1, -1000])
        return b"%d" % (self.distant() // unit)

    def relative(self, unit, tame=False):
        kind = self.random.random()
        if kind < 0.08 and not tame:
            return self.wrong_number()
        if kind < 0.2 and not tame:
            return self.edge_number()
        ms = self.random.randrange(200_000, 10**self.random.choice([6, 9, 12]))
        return b"%d" % (ms // unit)

    def absolute(self, unit, tame=False):
        """A unix time: far ahead, or long past."""
        kind = self.random.random()
        if kind < 0.08 and not tame:
            return self.wrong_number()
        if kind < 0.2 and not tame:
            return self.edge_number()
        if kind < 0.3:
            return b"%d" % (self.random.choice([1, 1000, self.now_s - 5]) * 1000 // unit)
        ms = self.now_s * 1000 + self.random.randrange(200_000, 10**self.random.choice([6, 9, 12]))
        return b"%d" % (ms // unit)

    def word(self, text):
        return changed_case(self.random, text)

    def time_option(self):
        name, value = self.random.choice([
            (b"EX", lambda: self.relative(1000)), (b"PX", lambda: self.relative(1)),
            (b"EXAT", lambda: self.absolute(1000)), (b"PXAT", lambda: self.absolute(1))])
        return [self.word(name), value()]

    def options(self, choices, most):
        """Some of the choices, possibly repeated or contradictory, sometimes incomplete or unknown."""
        args = []
        for _ in range(self.random.choices(range(most + 1), [8, 8, 4, 2, 1, 1][:most + 1])[0]):
            choice = self.random.choice(choices)
            args += choice() if callable(choice) else [self.word(choice)]
        if self.random.random() < 0.04:
            args.append(self.random.choice([b"EX", b"PXAT", b"FOO", b"", b"NXX", b"G ET", b"N",
                                            b"\xff\x01"]))
        return args

    # Commands

    def set(self):
        return [b"SET", self.key(), self.value()] + self.options(
            [b"NX", b"XX", b"GET", b"KEEPTTL", b"PERSIST", self.time_option, self.time_option,
             self.time_option], 4)

    def get(self):
        return [b"GET", self.key()]

    def setnx(self):
        return [b"SETNX", self.key(), self.value()]

    def setex(self):
        if self.random.random() < 0.5:
            return [b"SETEX", self.key(), self.relative(1000), self.value()]
        return [b"PSETEX", self.key(), self.relative(1), self.value()]

    def getset(self):
        return [b"GETSET", self.key(), self.value()]

    def getex(self):
        return [b"GETEX", self.key()] + self.options([self.time_option, self.time_option,
                                                      b"PERSIST", b"KEEPTTL", b"NX"], 2)

    def getdel(self):
        return [b"GETDEL", self.key()]

    def strlen(self):
        return [b"STRLEN", self.key()]

    def some_keys(self):
        return [self.key() for _ in range(self.random.randrange(1, 5))]

    def mget(self):
        return [b"MGET"] + self.some_keys()

    def delete(self):
        return [self.random.choice([b"DEL", b"UNLINK"])] + self.some_keys()

    def exists(self):
        return [self.random.choice([b"EXISTS", b"TOUCH"])] + self.some_keys()

    def type(self):
        return [b"TYPE", self.key()]

    def ttl(self):
        return [self.random.choice([b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"]), self.key()]

    def expire(self):
        name, time, unit = self.random.choice([(b"EXPIRE", self.relative, 1000),
                                               (b"PEXPIRE", self.relative, 1),
                                               (b"EXPIREAT", self.absolute, 1000),
                                               (b"PEXPIREAT", self.absolute, 1)])
        options = self.options([b"NX", b"XX", b"GT", b"LT"], 3)
        comparing = any(option.upper().startswith((b"G", b"L")) for option in options)
        return [name, self.key(), (self.compare if comparing else time)(unit)] + options

    def persist(self):
        return [b"PERSIST", self.key()]

    def pattern(self):
        if self.random.random() < 0.5:
            return self.random.choice(PATTERNS)
        return b"".join(self.random.choices(PATTERN_BYTES, k=self.random.randrange(1, 9)))

    def keys(self):
        return [b"KEYS", self.pattern()]

    def scan_errors(self):
        """SCANs that are refused. What a SCAN lists is checked over complete iterations."""
        return [b"SCAN"] + self.random.choice([
            [b"abc"], [b"1.5"], [b" 1"], [b"99999999999999999999"], [b"0", b"COUNT"],
            [b"0", b"COUNT", b"0"], [b"0", b"COUNT", b"-1"], [b"0", b"COUNT", b"abc"],
            [b"0", b"COUNT", b"9223372036854775808"], [b"0", b"MATCH"], [b"0", b"TYPE"],
            [b"0", b"FOO", b"1"], [b"0", b"MATCH", b"*", b"COUNT"], [b"x", b"COUNT", b"0"],
            [b"0", b"count", b"1", b"bar"], [b"0", b""], [b"0x1"]])

    def object(self):
        return [b"OBJECT"] + self.random.choice([
            [self.word(b"ENCODING"), self.key()], [self.word(b"ENCODING"), self.key()],
            [b"ENCODING"], [b"ENCODING", self.key(), b"x"], [b"FREQ", self.key()], [b"nosuch"],
            [b"nosuch", self.key()], []])

    def memory(self):
        return [b"MEMORY", self.word(b"USAGE")] + self.random.choice([
            [b"no such key"], [b"no such key", b"SAMPLES", b"5"], [self.key(), b"SAMPLES"],
            [self.key(), b"SAMPLES", b"-1"], [self.key(), b"SAMPLES", b"x"],
            [self.key(), b"FOO", b"1"], []])

    def connection(self):
        return self.random.choice([
            [b"PING"], [b"PING", self.value()], [b"ECHO", self.value()], [b"SELECT", b"0"],
            [b"SELECT", b"1"], [b"SELECT", b"abc"], [b"CLIENT", b"GETNAME"],
            [b"CLIENT", b"SETNAME", b"x"], [b"CLIENT", b"SETNAME", b"a b"], [b"PING", b"1", b"2"],
            [b"ECHO"], [b"DISCARD"], [b"EXEC"]])

    def flush(self):
        return [self.random.choice([b"FLUSHALL", b"FLUSHDB"])] + self.random.choice([
            [], [b"SYNC"], [b"async"], [b"NOW"], [b"SYNC", b"ASYNC"], [b""], [b"x"], [b"y"]])

    def unknown(self):
        name = self.random.choice([b"SETT", b"GE", b"FOO", b"get key", b"", b"x" * 150, b"SET|GET",
                                   b"OBJECT|ENCODING"])
        args = self.random.choices([b"a", b"'", b"long" * 20, b"%s%n", b"", b"\\", b"b c"],
                                   k=self.random.randrange(5))
        return [name] + args

    def wrong_arity(self):
        name = self.random.choice([b"SET", b"GET", b"SETNX", b"SETEX", b"PSETEX", b"GETSET",
                                   b"GETEX", b"GETDEL", b"STRLEN", b"MGET", b"DEL", b"UNLINK", b"EXISTS",
                                   b"TOUCH", b"TYPE", b"TTL", b"PTTL", b"EXPIRETIME",
                                   b"PEXPIRETIME", b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT",
                                   b"PERSIST", b"KEYS", b"SCAN", b"DBSIZE", b"RANDOMKEY",
                                   b"MULTI"])
        if name in (b"DBSIZE", b"RANDOMKEY", b"MULTI"):
            return [name, b"0"]
        fixed = name not in (b"SET", b"GETEX", b"MGET", b"DEL", b"UNLINK", b"EXISTS", b"TOUCH",
                             b"SCAN") and b"EXPIRE" not in name
        return [name] + [b"0"] * (self.random.choice([0, 5]) if fixed
                                  or name in (b"EXPIRETIME", b"PEXPIRETIME") else 0)

    # Encodings

    def inline(self, args):
        """The command as one line, quoted where necessary; None when it is too long."""
        words = []
        for arg in args:
            plain = arg and all(0x20 < c < 0x7f and c not in b"'\"\\" for c in arg)
            if plain and self.random.random() < 0.8:
                words.append(arg)
            elif self.random.random() < 0.3 and not set(arg) & set(b"'\\\n\x00"):
                words.append(b"'" + arg + b"'")
            else:
                words.append(b'"' + b"".join(self.quoted(c) for c in arg) + b'"')
        line = self.random.choice([b" ", b"  ", b"\t"]).join(words)
        end = self.random.choice([b"\r\n", b"\n"])
        first = words[0][:1]
        return line + end if len(line) < 60000 and first not in (b"*",) else None

    @staticmethod
    def quoted(c):
        if c in b'"\\':
            return b"\\%c" % c
        escapes = {10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b"}
        if c in escapes:
            return escapes[c]
        return b"%c" % c if 0x20 <= c < 0x7f else b"\\x%02x" % c
