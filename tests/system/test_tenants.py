"""A tenant sees nothing of another one. A user with one prefix and all commands runs every command in many forms, listens
to everything that it may, and no byte of a busy tenant is in what it gets; what it asks of that tenant's keys, channels and
connections is answered as if they were nobody's."""

import concurrent.futures
import itertools
import re
import select
import unittest

import forms
import tenants
from forms import Value
from harness import Client, RespError, ServerCase, encode, eventually
from tenants import ADMIN_PASSWORD, MINE, NOBODYS, PASSWORD, Busy

END = b"the end of what was asked"
# The forms of these each get a connection of their own: they change what it is.
CHANGING = {"auth", "client|kill", "client|reply", "exec", "hello", "monitor", "multi", "psubscribe", "quit", "reset", "subscribe",
            "punsubscribe", "unsubscribe", "shutdown"}
# A wrong password is answered a second later, so these run beside all others.
SLOW = {"auth", "hello"}
SIDE_BY_SIDE = 32
# Of a session of tenant a, whose ages and numbers differ from one look to the next.
UNSTEADY = {"client|list", "client|info"}
# What shows or changes everything is refused: these never run.
REFUSED = {"acl|deluser", "acl|dryrun", "acl|getuser", "acl|list", "acl|load", "acl|log", "acl|save", "acl|setuser", "acl|users",
           "client|pause", "client|unpause", "config|get", "config|resetstat", "config|rewrite", "config|set", "dbsize",
           "debug|sleep", "flushall", "flushdb", "monitor", "randomkey", "shutdown"}


class Visitor:
    """Tenant a: runs commands on connections of its own and returns all that came back."""

    def __init__(self, server, protocol, user="a"):
        self.server, self.protocol, self.user = server, protocol, user
        self.numbers = itertools.count()

    def connect(self):
        """Each from an address of its own: wrong passwords are counted by address."""
        client = Client(self.server, source=f"127.1.{next(self.numbers) % 250}.1")
        client.send("HELLO", self.protocol, "AUTH", self.user, PASSWORD)
        reply = client.read_raw()
        assert reply[:1] in b"*%", reply
        return client

    def run(self, form_list, ends=False):
        """The bytes that came back. `ends`: the connection is asked nothing more."""
        with self.connect() as client:
            client.send_raw(b"".join(encode(*(value.sent for value in form)) for form in form_list))
            if ends:
                client.half_close()
            else:
                client.send("ECHO", END)
            return self.all_of(client)

    @staticmethod
    def all_of(client):
        """What comes until the end of what was asked, or of the connection."""
        got = bytearray()
        while END + b"\r\n" not in got[-65536:]:
            try:
                data = client.sock.recv(1 << 18)
            except ConnectionResetError:
                break
            if not data:
                break
            got += data
        return bytes(got)


class Values:
    """What fills the slots: things of tenant a, and of B, each with a twin of nobody."""

    def __init__(self, busy, own):
        names = ("held", "lapsed", "unknown", "done", "text")
        self.busy = busy
        theirs = [self._twin(busy.key(name)) for name in names]
        theirs.append(self._twin(busy["prefix"]))
        channels = [self._twin(busy["prefix"] + busy["channel"]), self._twin(busy.effects("held"))]
        patterns = [self._twin(busy["prefix"] + b"*"), self._twin(busy.effects("held")[:12] + b"*")]
        tokens = [Value(str(token).encode()) for token in (*own.tokens.values(), *busy.tokens.values(), 1)]
        numbers = [Value(b"1"), Value(b"0"), Value(b"1000")]
        texts = [Value(b"text")]
        user = self._twin(busy["user"])
        ids = [Value(str(own.id).encode()), Value(str(busy.waiter_id).encode(), b"9" * len(str(busy.waiter_id)))]
        self.of = {
            "key": [Value(MINE + name.encode()) for name in (*names, "absent")] + theirs,
            "channel": [Value(b"a:channel"), *channels, Value(b"__idem__:a:held")],
            "pattern": [Value(b"*"), Value(b"a:*"), *patterns, Value(b"__idem__:*"), Value(b"?*")],
            "token": tokens, "client-id": ids, "username": [Value(b"a"), user],
            "ip:port": [Value(own.address), Value(busy.address(), b"127.0.0.99" + busy.address()[10:])],
            "milliseconds": [Value(b"1")], "seconds": [Value(b"0")], "count": [*numbers, Value(b"-1")],
            "cursor": [Value(b"0"), Value(b"1")], "text": [Value(b"a:"), Value(b""), self._twin(busy["prefix"])],
            "state": [Value(b"held"), Value(b"lapsed"), Value(b"unknown")],
            "type": [Value(b"idem"), Value(b"string"), Value(b"normal"), Value(b"pubsub")],
            "section": [Value(word) for word in (b"all", b"everything", b"default", b"keyspace", b"idem", b"clients", b"stats",
                                                 b"commandstats", b"errorstats", b"latencystats", b"server", b"users")],
            "parameter": [Value(b"*"), Value(b"requirepass")], "value": [Value(b"value")], "index": numbers,
            "unix-time-milliseconds": [Value(b"4000000000000"), Value(b"1")],
            "unix-time-seconds": [Value(b"4000000000"), Value(b"1")],
            "protover": [Value(b"2"), Value(b"3")], "password": [Value(PASSWORD.encode())],
            "subcommand": texts, "arg": [*theirs, *texts], "on-or-off": [Value(b"on"), Value(b"off")],
            "yes-or-no": [Value(b"yes"), Value(b"no")],
            "command": [Value(word) for word in (b"GET", b"CLAIM", b"DEL", b"CLIENT", b"NOSUCH")],
            "command-name": [Value(b"get"), Value(b"client|list"), Value(b"nosuch")],
            "rule": [Value(b"allkeys"), Value(b"~*"), Value(b"on")], "bits": [Value(b"128")],
            "category": [Value(b"keyspace"), Value(b"inspect")],
        }
        for name in ("fingerprint", "id", "blob", "body", "message", "comparison-value", "clientname", "connection-name",
                     "libname", "libver", "event", "module-name", "prefix", "version", "normal", "master", "replica", "pubsub"):
            self.of[name] = texts

    def _twin(self, sent):
        """As long, and nobody's."""
        start = len(b"__idem__:") if sent.startswith(b"__idem__:") else 0
        at = len(self.busy["prefix"])
        twin = (NOBODYS + b"x" * at)[:at] + b"y" * len(sent)
        return Value(sent, (sent[:start] + twin)[:len(sent)])

    def __call__(self, name):
        if name not in self.of:
            raise forms.NoValues(name)
        return self.of[name]


class Own:
    """What tenant a has."""

    def __init__(self, server):
        self.client = Visitor(server, 3).connect()
        self.id = self.client.call("CLIENT", "ID")
        host, port = self.client.sock.getsockname()
        self.address = f"{host}:{port}".encode()
        self.tokens = {}
        self.refresh()

    def refresh(self):
        """Keys in every state, whatever was done to them."""
        names = ("held", "lapsed", "unknown", "done")
        self.client.send_raw(encode("DEL", *(MINE + name.encode() for name in (*names, "text", "absent"))) + encode(
            "SET", "a:text", "text") + b"".join(encode("CLAIM", f"a:{name}", *(["HOLD"] if name == "unknown" else []))
                                                for name in names))
        replies = [self.client.read() for _ in range(2 + len(names))]
        self.tokens = {name: reply[1] for name, reply in zip(names, replies[2:])}
        for name in ("lapsed", "unknown"):
            self.client.call("RELEASE", f"a:{name}", self.tokens[name], "UNSURE")
        self.client.call("STORE", "a:done", self.tokens["done"], "body")


def twin_of(form):
    return [value if value.twin is None else Value(value.twin) for value in form]


class World(ServerCase):
    """One server with a busy tenant."""
    threads = 1

    def setUp(self):
        self.markers = Busy.markers()
        self.server = self.start("--threads", self.threads, "--slowlog-log-slower-than", 0, "--slowlog-max-len", 1000,
                                 config=tenants.config(self.markers))
        self.operator = self.connect(self.server)
        self.assertEqual(self.operator.call("AUTH", "operator", ADMIN_PASSWORD), "OK")
        self.busy = Busy(self.server, self.markers)
        self.addCleanup(self.busy.close)
        self.busy.begin()

    def tenant(self, user="a"):
        client = Visitor(self.server, 3, user).connect()
        self.addCleanup(client.close)
        return client


class Counts(World):
    """What is counted, and ended, is what the tenant sees."""

    def test_patterns(self):
        tenant = self.tenant()
        self.assertEqual(tenant.call("PUBSUB", "NUMPAT"), 0)
        tenant.call("PSUBSCRIBE", "a:*")
        self.assertEqual(tenant.call("PUBSUB", "NUMPAT"), 1)
        self.assertEqual(self.operator.call("PUBSUB", "NUMPAT"), 2)
        for pattern in ("*", "?*", "a:?*", self.busy["prefix"] + b"*"):
            self.assert_error(tenant.call("PSUBSCRIBE", pattern), "NOPERM")

    def test_channels(self):
        tenant = self.tenant()
        tenant.call("SUBSCRIBE", "a:channel")
        self.assertEqual(tenant.call("PUBSUB", "CHANNELS"), [b"a:channel"])
        self.assertEqual(len(self.operator.call("PUBSUB", "CHANNELS")), 3)

    def test_slow_commands(self):
        tenant = self.tenant()
        self.operator.call("SLOWLOG", "RESET")
        self.busy.burst()
        tenant.call("ECHO", "mine")
        self.assertTrue(self.busy.undisturbed())
        everything = self.operator.call("SLOWLOG", "GET", -1)
        mine = [entry for entry in everything if entry[3] == [b"ECHO", b"mine"]]
        self.assertEqual(len(mine), 1)
        self.assertEqual(tenant.call("SLOWLOG", "GET", -1), mine)
        self.assertEqual(tenant.call("SLOWLOG", "LEN"), 1)
        self.assertEqual(tenant.call("SLOWLOG", "RESET"), "OK")
        self.assertEqual(tenant.call("SLOWLOG", "LEN"), 0)
        self.assertGreaterEqual(self.operator.call("SLOWLOG", "LEN"), len(everything) - 1)

    def test_sessions(self):
        tenant, other = self.tenant(), self.tenant("a2")
        self.assertEqual(tenant.call("CLIENT", "LIST").count(b"\n"), 1)
        self.assertEqual(tenant.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), 0)
        self.assertEqual(other.call("PING"), "PONG")

    def test_who_watched_or_listened_as_the_operator_is_closed_as_a_tenant(self):
        for command in (("MONITOR",), ("SUBSCRIBE", self.busy["channel"]), ("PSUBSCRIBE", "*")):
            with self.connect(self.server) as client:
                client.call("HELLO", 3, "AUTH", "operator", ADMIN_PASSWORD)
                client.call(*command)
                client.send("AUTH", "a", PASSWORD)
                client.send("ECHO", END)
                self.assertNotIn(END, Visitor.all_of(client), command)

    def test_sections_of_info(self):
        text = self.tenant().call("INFO", "everything") + self.tenant().call("INFO", "keyspace", "users")
        self.assertIn(b"# Server", text)
        for section in (b"# Keyspace", b"db0:", b"# Users", b"user_"):
            self.assertNotIn(section, text)
        self.assertIn(b"user_a:claims=0,", self.operator.call("INFO", "users"))

    def test_keys_that_are_lost_between_two_slices_of_mget(self):
        """From the next slice on they are as if they were not there."""
        tenant, value = self.tenant(), b"x" * 8000
        self.assertEqual(tenant.call("SET", "a:k", value), "OK")
        for _ in range(20):  # this process may be late, but not every time
            with self.server.stopped():  # both lie in the server's sockets; the second is heard after the first slice
                tenant.send("MGET", *["a:k"] * 6000)
                self.operator.send("ACL", "SETUSER", "a", "resetkeys", "~a:other")
            reply = tenant.read()
            self.assertEqual(self.operator.read(), "OK")
            self.operator.call("ACL", "SETUSER", "a", "~a:*")
            if isinstance(reply, list) and None in reply:
                break
        shown = reply.index(None)
        self.assertGreater(shown, 0)
        self.assertTrue(reply == [value] * shown + [None] * (6000 - shown), "a value that the user had lost")

    def test_pages_of_a_scan(self):
        """Where a page ends does not tell of keys that are not shown."""
        for number in range(100):
            self.busy.worker.call("SET", self.busy["prefix"] + b"%d" % number, "v")
        self.assertEqual(self.tenant().call("SCAN", 0, "COUNT", 1), [b"0", []])


class Tenants(World):
    def setUp(self):
        super().setUp()
        self.read_documents()

    def read_documents(self):
        with self.connect(self.server) as client:
            client.call("HELLO", 3, "AUTH", "operator", ADMIN_PASSWORD)
            self.documented = sorted(forms.of_docs(client.call("COMMAND", "DOCS")),
                                     key=lambda command: b"|".join(command[0]).decode() not in SLOW)
            self.listed = {name.decode() for name in client.call("COMMAND", "LIST")}
        names = {b"|".join(words).decode() for words, _ in self.documented}
        containers = {name.split("|")[0] for name in self.listed if "|" in name}
        self.assertEqual(names, self.listed - containers | (names & {"command"}))

    # ---- what is looked at ----

    def assert_blind(self, data, what, but=()):
        seen = self.markers.seen_in(data, but)
        if seen:
            self.fail(f"{what} shows {seen}")

    def forms_of(self, words, nodes, own):
        try:
            return forms.forms(words, nodes, Values(self.busy, own))
        except forms.NoValues as missing:
            self.fail(f"{b' '.join(words).decode()}: no values for the argument {missing}; add them to Values")

    def walk(self, protocol, words, nodes, own):
        """One command in all its forms. Who names what is B's is another user than the one that looks: SLOWLOG shows a user
        what it sent."""
        visitor, guest = Visitor(self.server, protocol, "a2"), Visitor(self.server, protocol, "a3")
        name = b"|".join(words).decode()
        found = self.forms_of(words, nodes, own)
        own_forms = [form for form in found if all(value.twin is None for value in form)]
        others = [form for form in found if form not in own_forms]
        alone = name in CHANGING
        jobs = [lambda group=group: self.assert_blind(visitor.run(group, alone), self.shown(group))
                for group in self.grouped(own_forms, alone)]
        jobs += [lambda group=group: self.compare(guest, name, group, alone) for group in self.grouped(others, alone)]
        for job in jobs:
            if name in SLOW:
                self.later.append(self.pool.submit(job))
            else:
                job()
        if not alone:
            self.transact(visitor, own_forms[:1])
            self.transact(guest, others[:1])

    @staticmethod
    def grouped(form_list, alone):
        """What one connection runs."""
        return [[form] for form in form_list] if alone else [form_list] * bool(form_list)

    @staticmethod
    def shown(group):
        return b"; ".join(b" ".join(value.sent for value in form) for form in group[:3]).decode("latin-1") + (
            "; ..." if len(group) > 3 else "")

    def compare(self, visitor, name, group, alone):
        """What is B's is answered as what is nobody's."""
        sent = {value.sent: value.twin for form in group for value in form if value.twin is not None}
        with concurrent.futures.ThreadPoolExecutor(2 if name in SLOW else 1) as pool:
            theirs, nobodys = pool.map(lambda each: visitor.run(each, alone), [group, [twin_of(form) for form in group]])
        for echoed in sorted((each for each in sent if not each.isdigit()), key=len, reverse=True):
            theirs = theirs.replace(echoed, sent[echoed])
        self.assert_blind(theirs, self.shown(group))
        if name in UNSTEADY:
            theirs, nobodys = (re.sub(rb"\d+", b"0", data) for data in (theirs, nobodys))
        self.assertEqual(theirs, nobodys, f"{self.shown(group)}: the answers differ from those about what is nobody's")

    def transact(self, visitor, group):
        for form in group:
            sent = [value.sent for value in form if value.twin is not None]
            data = visitor.run([[Value(b"MULTI")], form, [Value(b"EXEC")]])
            self.assert_blind(data, "MULTI " + self.shown([form]), sent)

    # ---- the tests ----

    def look(self, protocol):
        own = Own(self.server)
        self.addCleanup(own.client.close)
        self.later, self.pool = [], concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE)
        self.addCleanup(self.pool.shutdown)
        ears = Ears(self, protocol)
        for words, nodes in self.documented:
            self.busy.burst()
            own.refresh()
            self.walk(protocol, words, nodes, own)
            ears.listen()
        for future in self.later:
            future.result()
        self.assertTrue(self.busy.undisturbed(), "a tenant ended what another one waits for")
        ears.heard_its_own()
        self.every_command_ran()

    def every_command_ran(self):
        fields = self.server.info("commandstats", self.operator)
        ran = {name[len("cmdstat_"):] for name, value in fields.items() if not value.startswith("calls=0,")}
        containers = {name.split("|")[0] for name in self.listed if "|" in name} - {"command"}
        self.assertEqual(self.listed - containers - ran, REFUSED)

    def test_resp2(self):
        self.look(2)

    def test_resp3(self):
        self.look(3)


class TenantsOnFourLoops(Tenants):
    threads = 4


class Ears:
    """Connections of tenant a that listen to all that they are let."""

    def __init__(self, case, protocol):
        self.case, self.busy = case, case.busy
        busy, heard = self.busy, {"prefix", "channel", "message", "tenant"}
        names = [b"a:*", b"*", b"__idem__:*", b"?*", busy["prefix"] + b"*", b"__keyspace@0__:*"]
        channels = [b"a:channel", busy["prefix"] + busy["channel"], busy.effects("churn"), busy.effects("held")]
        self.clients = [(self.subscribe(Visitor(case.server, protocol, "a").connect(), names, channels), set()),
                        (self.subscribe(Visitor(case.server, protocol, "wide").connect(), names, channels), heard)]
        self.own = 0

    def subscribe(self, client, names, channels):
        self.case.addCleanup(client.close)
        for command, each in [("PSUBSCRIBE", name) for name in names] + [("SUBSCRIBE", name) for name in channels]:
            reply = client.call(command, each)
            self.case.assertIsInstance(reply, (list, RespError), (command, each))
        return client

    def listen(self):
        ready, _, _ = select.select([client.sock for client, _ in self.clients], [], [], 0)
        for client, heard in self.clients:
            if client.sock not in ready:
                continue
            data = client.sock.recv(1 << 20)
            self.own += data.count(b"a:")
            self.case.assert_blind(data, "a message", heard)

    def heard_its_own(self):
        def heard():
            self.listen()
            return self.own > 0
        eventually(heard, "a message of its own")
        for client, _ in self.clients:
            client.close()


if __name__ == "__main__":
    unittest.main()
