"""Two tenants on one server: `b`, who is busy, and what `a` may use. test_tenants.py looks at what `a` sees.

B's keys, bodies, metas, owners, stages, fingerprints, channels, messages, names, addresses and password are markers
(markers.py). B has claims in every state, waiters, subscriptions, a transaction, slow commands and errors; and goes on with
all of it while `a` looks.
"""

import hashlib

from harness import Client, encode, eventually
from markers import Markers

ADDRESS = "127.0.0.77"  # of all of B's connections
MINE, NOBODYS = b"a:", b"n:"
PASSWORD = "of-tenant-a"
ADMIN_PASSWORD = "of-the-operator"


def config(markers):
    """The users: the operator, three of tenant a, one that may listen to every channel, and B."""
    b, password = (markers.all[name].decode() for name in ("user", "password"))
    prefix = markers.all["prefix"].decode()
    return "\n".join([
        "user default off",
        f"user operator on >{ADMIN_PASSWORD} allkeys allchannels +@all",
        f"user a on >{PASSWORD} ~a:* &a:* +@all",
        f"user a2 on >{PASSWORD} ~a:* &a:* +@all",
        f"user a3 on >{PASSWORD} ~a:* &a:* +@all",
        f"user wide on >{PASSWORD} ~a:* allchannels +@all",
        f"user {b} on >{password} ~{prefix}* &{prefix}* &__idem__:{prefix}* +@all",
    ]) + "\n"


class Busy:
    """Tenant b."""
    SECRETS = ("user", "password", "held", "lapsed", "unknown", "done", "text", "body", "meta", "value", "owner", "stage",
               "fingerprint", "channel", "message", "pattern", "client-name", "library", "slow", "error", "denied", "queued",
               "waiting-owner", "churn")

    @staticmethod
    def markers():
        markers = Markers()
        for name in Busy.SECRETS:
            markers.make(name)
        markers.keep("prefix", b"b" + markers.make("tenant") + b":")
        markers.keep("address", ADDRESS.encode() + b":", itself=True)
        markers.keep("address-hex", b"7f00004d", itself=True)
        digest = hashlib.sha256(markers.all["password"]).hexdigest().encode()
        markers.keep("password-digest", digest, itself=True)
        return markers

    def __init__(self, server, markers):
        self.server, self.markers = server, markers
        self.clients, self.tokens = [], {}
        self.due = 0

    def __getitem__(self, name):
        return self.markers.all[name]

    def key(self, name):
        return self["prefix"] + self[name]

    def connect(self, protocol=3):
        client = Client(self.server, source=ADDRESS)
        self.clients.append(client)
        reply = client.call("HELLO", protocol, "AUTH", self["user"], self["password"], "SETNAME", self["client-name"])
        assert isinstance(reply, (dict, list)), reply
        client.call("CLIENT", "SETINFO", "LIB-NAME", self["library"])
        return client

    def claim(self, client, key, *options):
        reply = client.call("CLAIM", key, "FP", self["fingerprint"], "OWNER", self["owner"], *options)
        assert reply[0] == b"CLAIMED", reply
        return reply[1]

    def begin(self):
        """Everything that there is to see, once."""
        client = self.worker = self.connect()
        self.tokens["held"] = token = self.claim(client, self.key("held"), "BIND")
        client.call("RENEW", self.key("held"), token, "STAGE", self["stage"])
        self.tokens["lapsed"] = self.claim(client, self.key("lapsed"))
        client.call("RENEW", self.key("lapsed"), self.tokens["lapsed"], "STAGE", self["stage"])
        client.call("RELEASE", self.key("lapsed"), self.tokens["lapsed"], "UNSURE")
        self.tokens["unknown"] = self.claim(client, self.key("unknown"), "HOLD")
        client.call("RELEASE", self.key("unknown"), self.tokens["unknown"], "UNSURE")
        self.tokens["done"] = self.claim(client, self.key("done"))
        client.call("STORE", self.key("done"), self.tokens["done"], self["body"], "META", self["meta"])
        client.call("SET", self.key("text"), self["value"])
        self._listen()
        self._wait()
        self._queue()

    def _listen(self):
        self.listener = self.connect()
        for command, name in (("SUBSCRIBE", self["prefix"] + self["channel"]), ("SUBSCRIBE", self.effects("held")),
                              ("PSUBSCRIBE", self["prefix"] + b"*")):
            reply = self.listener.call(command, name)
            assert isinstance(reply, list), reply
        self.monitor_refused = self.connect().call("MONITOR")

    def effects(self, name):
        return b"__idem__:" + self.key(name)

    def _wait(self):
        self.waiter, reader = self.connect(), self.connect()
        self.waiter_id = self.waiter.call("CLIENT", "ID")
        self.waiter.send("CLAIM", self.key("held"), "FP", self["fingerprint"], "OWNER", self["waiting-owner"], "WAIT", 300_000)
        reader.send("AWAIT", self.key("held"), 300_000)

    def _queue(self):
        queueing = self.connect()
        queueing.call("MULTI")
        queueing.call("SET", self.key("queued"), self["queued"])

    def burst(self):
        """A little of everything once more, without waiting for it; its replies are taken by the next burst."""
        for _ in range(self.due):
            self.worker.read()
        churn, claim = self.key("churn"), ("FP", self["fingerprint"], "OWNER", self["owner"])
        commands = [
            ("CLAIM", churn, *claim), ("DEL", churn), ("CLAIM", churn, *claim, "LEASE", 1, "HOLD"), ("FETCH", churn),
            ("DEL", churn), ("SET", churn, self["value"]), ("CLAIM", churn), ("GET", churn), ("DEL", churn),
            ("PUBLISH", self["prefix"] + self["channel"], self["message"]), ("ECHO", self["slow"]),
            (b"NO" + self["error"], self["error"]), ("CLIENT", self["error"]), ("GET", b"x" + self["denied"]),
            ("STORE", self.key("held"), 1, self["body"]), ("CLAIM", self.key("done"), "FP", self["error"]),
        ]
        self.worker.send_raw(b"".join(encode(*command) for command in commands))
        self.due = len(commands)

    def address(self):
        host, port = self.waiter.sock.getsockname()
        return f"{host}:{port}".encode()

    def undisturbed(self):
        """Whether nobody closed its connections, and its waiter waits."""
        for _ in range(self.due):
            self.worker.read()
        self.due = 0
        eventually(lambda: self.listener.readable(), "a message to a tenant that is not disturbed")
        return not self.waiter.readable() and self.worker.call("PING") == "PONG"

    def close(self):
        for client in self.clients:
            client.close()
