"""What every black-box test needs: start a server, talk RESP to it, wait for a condition.

It must not know how the server is built inside: it sees the program, its first log lines, its
sockets, INFO and /proc. Invariants: a server started here listens on loopback and a port that the
kernel picked, and is stopped by its own pid; nothing sleeps where a condition can be awaited.
"""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.abspath(os.environ.get("IDEM_SERVER",
                                         os.path.join(ROOT, "build/release/idem-server")))
# A sanitizer build is several times slower and keeps freed memory: tests skip memory figures there.
INSTRUMENTED = any(word in PROGRAM for word in ("asan", "ubsan", "tsan"))

# After so long a test gives up on a condition. Then something hangs; it is not merely slow: durations
# are measured and printed, and a test that fails on a slow machine is a defect.
HANG_SECONDS = float(os.environ.get("IDEM_HANG_SECONDS", 60))
POLL_SECONDS = 0.002
SILENT_SECONDS = 1.0
DRAIN_SECONDS = 5  # a server says sooner that it drains, unless its log is elsewhere
NOFILE_WANTED = 20000

DRAINS = re.compile(r"no new claims; (\d+) are held")
READY = re.compile(r"ready to accept connections on (\S+)")
BAD_REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                        r"[Aa]ssertion.*failed")


class RespError(Exception):
    """An error reply. Returned, not raised: an error is an ordinary answer."""

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class Closed(Exception):
    """The server closed the connection in the middle of a reply or instead of one."""


def eventually(condition, what="the condition", seconds=HANG_SECONDS):
    """Await a true value of condition() and return it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(POLL_SECONDS)


def patience(first_ms):
    """Yields milliseconds for steps that must finish before a time has passed. The caller leaves the
    loop with `break`. If it does not, because the machine was too slow, it gets four times as many."""
    for scale in (1, 4, 16, 64):
        yield first_ms * scale
    raise AssertionError(f"it fails with {first_ms} ms and with {first_ms * scale} ms alike")


def encode(*args):
    """One command as a RESP array."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        if not isinstance(arg, bytes):
            arg = str(arg).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(out)


def raise_nofile():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = NOFILE_WANTED if hard == resource.RLIM_INFINITY else min(NOFILE_WANTED, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Client:
    """A connection that can send and receive anything, well-formed or not."""

    def __init__(self, target, timeout=HANG_SECONDS, source=None):
        address = target.address if isinstance(target, Server) else target
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(timeout)
        if source:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind((source, 0))
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        self.buffer = bytearray()
        self.captured = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Sending

    def send_raw(self, data):
        self.sock.sendall(data)

    def send(self, *args):
        self.sock.sendall(encode(*args))

    # Receiving

    def _more(self):
        try:
            data = self.sock.recv(1 << 18)
        except TimeoutError as error:
            raise TimeoutError(f"no more after {len(self.buffer)} bytes of a reply") from error
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(f"{len(self.buffer)} bytes of a reply: {bytes(self.buffer[:64])}")
        self.buffer += data

    def _take(self, count):
        while len(self.buffer) < count:
            self._more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        if self.captured is not None:
            self.captured += data
        return data

    def _line(self):
        while True:
            at = self.buffer.find(b"\r\n")
            if at >= 0:
                return self._take(at + 2)[:-2]
            self._more()

    def read(self):
        """One reply: bulk -> bytes, simple string -> str, null -> None, error -> RespError."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode("latin-1")
        if kind == b"-":
            return RespError(rest.decode("latin-1"))
        if kind == b":":
            return int(rest)
        if kind == b"_":
            return None
        if kind in (b"$", b"="):
            if rest == b"-1":
                return None
            return self._take(int(rest) + 2)[:-2]
        if kind in (b"*", b"~", b">"):
            if rest == b"-1":
                return None
            return [self.read() for _ in range(int(rest))]
        if kind == b"%":
            return {self.read(): self.read() for _ in range(int(rest))}
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        raise AssertionError(f"not a RESP reply: {line!r}")

    def read_raw(self):
        """The bytes of one reply."""
        self.captured = bytearray()
        self.read()
        data, self.captured = bytes(self.captured), None
        return data

    def call(self, *args):
        self.send(*args)
        return self.read()

    def readable(self, seconds=0.0):
        """True when a reply (or the end) is there within the time."""
        if self.buffer:
            return True
        timeout = self.sock.gettimeout()
        self.sock.settimeout(seconds or 0.000001)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) is not None
        except (TimeoutError, BlockingIOError):
            return False
        except ConnectionResetError:
            return True
        finally:
            self.sock.settimeout(timeout)

    def ended(self, seconds=HANG_SECONDS):
        """True when the server closes within the time and sends nothing more."""
        self.sock.settimeout(seconds)
        try:
            return not self.buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    # Three ways to end a connection

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)


class Server:
    """One server process. Options as on the command line; config is the text of a file; env is added
    to the environment."""

    def __init__(self, *options, config=None, config_mode=0o600, nofile=None, wait_ready=True,
                 env=None):
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.log_path = os.path.join(self.directory, "log")
        self.address = None
        arguments = self._arguments(options, config, config_mode)

        def limits():
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
            else:
                raise_nofile()

        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=limits,
                                            env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        if wait_ready:
            try:
                self._await_ready()
            except BaseException:
                self.kill()
                self.forget()
                raise

    def _arguments(self, options, config, config_mode):
        """The program and what it is started with."""
        arguments = [PROGRAM]
        if config is not None:
            self.config_path = os.path.join(self.directory, "idem.conf")
            with open(self.config_path, "w", encoding="latin-1") as file:
                file.write(config)
            os.chmod(self.config_path, config_mode)
            arguments.append(self.config_path)
        given = " ".join(map(str, options)) + "\n" + (config or "")
        # The server logs one line per listening socket: wait for all of them.
        bind = re.search(r"(?:^|\s)(?:--)?bind ([^\n]*?)(?= --|\n|$)", given)
        self.listeners = (len(bind.group(1).split()) if bind else 1) + bool(
            re.search(r"(^|\s)(--)?unixsocket\s", given))
        if not re.search(r"(^|\s)(--)?port\s", given):
            arguments += ["--port", "0"]
        if not re.search(r"(^|\s)(--)?bind\s", given):
            arguments += ["--bind", "127.0.0.1"]
        return [*arguments, *map(str, options)]

    def _await_ready(self):
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            found = READY.findall(self.log())
            if len(found) >= self.listeners:
                host, _, port = found[0].rpartition(":")
                if port.isdigit():
                    self.address = (host.strip("[]"), int(port))
                else:
                    self.address = found[0]
                return
            if self.process.poll() is not None:
                raise AssertionError(f"the server left with {self.process.returncode}:\n"
                                     + self.log())
            if time.monotonic() > deadline:
                raise AssertionError("the server did not become ready:\n" + self.log())
            time.sleep(POLL_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()
            self.forget()

    def client(self, **options):
        return Client(self, **options)

    def log(self):
        with open(self.log_path, encoding="latin-1") as file:
            return file.read()

    # Looking at it from outside

    def _status_kib(self, field):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.M).group(1))

    def cpu_seconds(self):
        """Of all its threads, including the time the kernel worked for them."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        return self._status_kib("VmRSS") * 1024

    def peak_rss_bytes(self):
        return self._status_kib("VmHWM") * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def info(self, section="all", client=None):
        if client is not None:
            text = client.call("INFO", section)
        else:
            with self.client() as own:
                text = own.call("INFO", section)
        if isinstance(text, RespError):
            raise AssertionError(f"INFO {section}: {text}")
        fields = {}
        for line in text.decode().split("\r\n"):
            name, colon, value = line.partition(":")
            if colon and not line.startswith("#"):
                fields[name] = value
        return fields

    def await_blocked(self, count, client):
        """Await that exactly count connections wait; client asks."""
        eventually(lambda: int(self.info("clients", client)["blocked_clients"]) == count,
                   f"{count} waiting connections")

    def await_descriptors(self, count):
        eventually(lambda: self.descriptors() <= count, f"{count} descriptors")

    @contextlib.contextmanager
    def stopped(self):
        """Stops the process: it neither reads nor looks at the clock. Whatever is sent meanwhile lies in
        its sockets when it goes on."""
        self.signal(signal.SIGSTOP)
        try:
            eventually(lambda: self._state() == "T", what="a stopped server")
            yield
        finally:
            self.signal(signal.SIGCONT)

    def _state(self):
        with open(f"/proc/{self.pid}/stat", encoding="latin-1") as file:
            return file.read().rpartition(")")[2].split()[0]

    # Ending

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def leave(self):
        """Await the end of the process and return its exit status."""
        try:
            return self.process.wait(HANG_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not leave within {HANG_SECONDS} s") from None

    def _waits_for_owners(self):
        """Whether it has claims that are HELD, or does not say so in its log."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.process.poll() is None:
            found = DRAINS.search(self.log())
            if found:
                return found.group(1) != "0"
            if time.monotonic() > deadline:
                return True
            time.sleep(POLL_SECONDS)
        return False

    def forget(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self):
        """SIGTERM, and another one if it then waits for owners; a status other than 0 or a sanitizer's
        report is a failure."""
        ended_before = self.process.poll() is not None
        if not ended_before:
            self.signal(signal.SIGTERM)
            if self._waits_for_owners():
                self.signal(signal.SIGTERM)
        try:
            status = self.leave()
            report = self.log()
        finally:
            self.forget()
        if ended_before or status != 0 or BAD_REPORT.search(report):
            raise AssertionError(f"the server {'died' if ended_before else 'left'} with "
                                 f"{status}:\n{report[-4000:]}")


class ServerCase(unittest.TestCase):
    """A test with servers and connections that end with it."""

    def start(self, *options, **settings):
        server = Server(*options, **settings)
        self.addCleanup(lambda: server.stop() if server.process.returncode is None
                        else server.forget())
        return server

    def connect(self, server, **options):
        client = Client(server, **options)
        self.addCleanup(client.close)
        return client

    def claim(self, client, key, *options):
        """CLAIM that must be granted; returns (token, lease, attempt, stage)."""
        reply = client.call("CLAIM", key, *options)
        self.assertIsInstance(reply, list, f"CLAIM {key}: {reply!r}")
        self.assertEqual(reply[0], b"CLAIMED", reply)
        return tuple(reply[1:])

    def assert_error(self, reply, code):
        self.assertIsInstance(reply, RespError, f"{code} expected, got {reply!r}")
        self.assertEqual(reply.code, code, str(reply))

    def assert_status(self, reply, status):
        self.assertIsInstance(reply, list, f"{status} expected, got {reply!r}")
        self.assertEqual(reply[0], status.encode(), reply)


def measured(text):
    print("    measured: " + text, flush=True)


def percentile(values, fraction):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


if os.environ.get("IDEM_SUITE_HOST"):  # the same tests against the module inside redis-server
    import module_host  # pylint: disable=wrong-import-position
    Server, encode = module_host.server_class(Server), module_host.encoder(encode)
