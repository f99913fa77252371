"""Servers of Redis or Valkey with the module, alone and as a cluster, and a client that follows redirections.

$IDEM_REDIS names the server (redis-server), $IDEM_MODULE the module (build/release/idem.so). Every process listens on
loopback, on ports that were free, keeps its files in a directory of its own, and is ended by its own pid. Conditions
are awaited. It must not know what a scenario is about.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests/system"), os.path.join(ROOT, "tests")]
from harness import Client, Closed, RespError, encode, eventually  # noqa: E402
from module_host import BAD_REPORT, MODULE, READY, REDIS, launcher  # noqa: E402

SLOTS = 16384
NODE_TIMEOUT_MS = 1000
FAILOVER_SECONDS = 30
# The host gives up a failover by hand after 5 s.
FAILOVER_AGAIN_SECONDS = 6
# The bus of a cluster listens on the port plus this.
BUS = 10000
PORT_MAX = 65535 - BUS


def free_port():
    """A port whose bus port is free too."""
    while True:
        with socket.socket() as sock, socket.socket() as bus:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
            if port > PORT_MAX:
                continue
            with contextlib.suppress(OSError):
                bus.bind(("127.0.0.1", port + BUS))
                return port


def slot_of(key):
    """CRC16 (XMODEM) of the key, or of what stands in its braces, modulo 16384."""
    text = key.encode() if isinstance(key, str) else key
    opened = text.find(b"{")
    closed = text.find(b"}", opened + 1)
    if opened >= 0 and closed > opened + 1:
        text = text[opened + 1:closed]
    crc = 0
    for byte in text:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc % SLOTS


class Node:
    """One server. module: arguments of the module, None: it is not loaded. clock: seconds by which its wall clock is
    wrong; None: it is right, and set_clock cannot change that."""

    def __init__(self, *options, module=(), clock=None, port=None, directory=None):
        self.port = port or free_port()
        self.address = ("127.0.0.1", self.port)
        self.directory = directory or tempfile.mkdtemp(prefix="idem-cluster-")
        self.options, self.module, self.clock = options, module, clock
        self.process = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def start(self):
        loaded = [] if self.module is None else ["--loadmodule", MODULE, *map(str, self.module)]
        arguments = [*launcher(), REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory, "--save", "",
                     "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
                     *map(str, self.options), *loaded]
        with open(os.path.join(self.directory, "log"), "ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **faked(self.clock, self.directory)})
        eventually(lambda: READY in self.log()[began:] or self.process.poll() is not None, "a node that is ready")
        assert self.process.poll() is None, self.log()

    def log(self):
        with open(os.path.join(self.directory, "log"), encoding="latin-1") as file:
            return file.read()

    def client(self, **options):
        return Client(self.address, **options)

    def call(self, *args):
        with self.client() as client:
            return client.call(*args)

    def info(self, section):
        text = self.call("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    def set_clock(self, seconds):
        """While it runs. Its timers of the wall clock see a step."""
        self.clock = seconds
        write_skew(seconds, self.directory)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def shut_down(self):
        """SIGTERM; its files stay."""
        self.signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log()

    def remove(self):
        self.kill()
        report = self.log()
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not BAD_REPORT.search(report), report[-4000:]


def faked(seconds, directory):
    """The environment of a node whose wall clock is wrong by so many seconds."""
    if seconds is None:
        return {}
    library = os.path.join(directory, "skewed_clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, os.path.join(HERE, "skewed_clock.c")], check=True)
    return {"LD_PRELOAD": library, "IDEM_TEST_SKEW": write_skew(seconds, directory)}


def write_skew(seconds, directory):
    """In place: running nodes have the file mapped."""
    path = os.path.join(directory, "skew")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(seconds.to_bytes(8, sys.byteorder, signed=True))
    return path


class Cluster:
    """Three masters with a replica each. clocks: seconds by which each node's is wrong; without: nodes that lack the
    module; arguments: of the module."""

    def __init__(self, *options, clocks=(), without=(), arguments=()):
        self.nodes = []
        try:
            for number in range(6):
                self.nodes.append(Node(
                    "--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT_MS, *options,
                    module=None if number in without else arguments, clock=clocks[number] if clocks else None))
            self.ids = [node.call("CLUSTER", "MYID").decode() for node in self.nodes]
            self._meet()
        except BaseException:
            self.remove()
            raise

    def _meet(self):
        for number, node in enumerate(self.nodes):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(self.nodes[:3]):
            node.call("CLUSTER", "ADDSLOTSRANGE", number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1)
        eventually(self._have_met, "nodes that know each other")
        for number in range(3):
            self.replicate(number + 3, number)
        for node in self.nodes:
            eventually(lambda: b"cluster_state:ok" in node.call("CLUSTER", "INFO"), "a cluster that is ok")

    def _have_met(self):
        """A node gives up a handshake that takes longer than the node timeout, so it is begun until all know all."""
        if all(len(self.table(node)) == len(self.nodes) for node in self.nodes):
            return True
        for node in self.nodes[1:]:
            self.nodes[0].call("CLUSTER", "MEET", "127.0.0.1", node.port)
        return False

    def replicate(self, replica, master):
        eventually(lambda: self.nodes[replica].call("CLUSTER", "REPLICATE", self.ids[master]) == "OK", "a replica")
        self.await_in_step(replica, master)

    def await_in_step(self, replica, master):
        """The replica has all that the master sent until now."""
        sent = int(self.nodes[master].info("replication")["master_repl_offset"])

        def has():
            state = self.nodes[replica].info("replication")
            return state.get("master_link_status") == "up" and int(state["slave_repl_offset"]) >= sent
        eventually(has, "a replica in step")

    @staticmethod
    def table(node):
        return [line for line in node.call("CLUSTER", "NODES").decode().splitlines() if "handshake" not in line]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        for node in self.nodes:
            node.remove()

    def master_of(self, key):
        """The number of the master whose slots are where they were first put."""
        return min(slot_of(key) * 3 // SLOTS, 2)

    def key_of(self, master, name="k"):
        """A key that this master has."""
        return next(key for n in range(1000) if self.master_of(key := f"{name}:{n}") == master)

    def await_master(self, number):
        eventually(lambda: self.nodes[number].info("replication")["role"] == "master", "a promoted replica",
                   FAILOVER_SECONDS)
        eventually(lambda: b"cluster_state:ok" in self.nodes[number].call("CLUSTER", "INFO"), "a cluster that is ok",
                   FAILOVER_SECONDS)

    def fail_over(self, number):
        """By hand, to this replica. It is begun again when the host gave it up: masters do not vote twice about the same
        one within two node timeouts."""
        node, again = self.nodes[number], 0.0

        def is_master():
            nonlocal again
            if node.info("replication")["role"] == "master":
                return True
            if time.monotonic() > again:
                again = time.monotonic() + FAILOVER_AGAIN_SECONDS
                node.call("CLUSTER", "FAILOVER")
            return False
        eventually(is_master, "a replica that was promoted by hand", FAILOVER_SECONDS)
        self.await_master(number)

    def caller(self):
        return Caller(self)


class Caller:
    """Follows MOVED and ASK, and asks again after TRYAGAIN, CLUSTERDOWN and a node that is gone, as clients do."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.home = {}

    def call(self, *args, seconds=FAILOVER_SECONDS):
        key, deadline = args[1], time.monotonic() + seconds
        address = self.home.get(key, self.cluster.nodes[self.cluster.master_of(key)].address)
        asking = False
        while True:
            reply = self._once(address, asking, args)
            asking = False
            code = reply.code if isinstance(reply, RespError) else None
            if code in ("MOVED", "ASK"):
                host, _, port = str(reply).split()[2].rpartition(":")
                address, asking = (host, int(port)), code == "ASK"
                if code == "MOVED":
                    self.home[key] = address
            elif reply is None or code in ("TRYAGAIN", "CLUSTERDOWN", "UNBLOCKED", "READONLY", "LOADING", "MASTERDOWN"):
                if time.monotonic() > deadline:
                    raise AssertionError(f"{args}: {reply!r} for {seconds} s")
                if reply is None:
                    address = self._other(address)
                time.sleep(0.02)
            else:
                return reply.value if isinstance(reply, Nothing) else reply

    def _other(self, address):
        nodes = [node.address for node in self.cluster.nodes if node.process.poll() is None]
        return nodes[(nodes.index(address) + 1) % len(nodes)] if address in nodes else nodes[0]

    @staticmethod
    def _once(address, asking, args):
        """None: no reply."""
        try:
            with Client(address, timeout=10) as client:
                if asking:
                    client.call("ASKING")
                reply = client.call(*args)
                return Nothing() if reply is None else reply
        except (OSError, Closed):
            return None


class Nothing:
    """A null, which is a reply."""
    value = None
