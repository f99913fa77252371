"""Starts the programs of the client and looks at what they did.

It must not know what idem promises. A ledger, a file that the work appends to, tells what really ran;
the answers to the callers are not counted. Everything started here is stopped by its own pid.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from harness import BAD_REPORT, HANG_SECONDS, ROOT, ServerCase, eventually

BUILD = os.path.join(ROOT, os.environ.get("IDEM_BUILD", "build/release"))
ONCE = os.path.join(BUILD, "idem-once")
# A process that is started by nohup, or by a script with &, inherits ignored signals. The shells of
# these tests could not trap them.
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long a program may take to end: idem-once tries to store for a minute.
PATIENCE_SECONDS = 2 * HANG_SECONDS


def example(name):
    return os.path.join(BUILD, "examples", name)


def url(server):
    return "redis://%s:%d" % server.address


class Answer:
    """The answer to an HTTP request, without headers that belong to one message or connection."""

    def __init__(self, response):
        self.status = response.status
        self.body = response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()
                        if name.lower() not in ("date", "connection")}

    @property
    def replayed(self):
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def essence(self):
        """What a replay must share with the first answer. Cookies are not part of it: they are for one caller."""
        headers = {name: value for name, value in self.headers.items()
                   if name not in ("idempotent-replayed", "set-cookie")}
        return self.status, headers, self.body


def ask(port, method, path, body=b"", headers=()):
    """headers: a dict, or pairs if a name comes twice."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.putrequest(method, path)
        connection.putheader("Content-Length", len(body))
        for name, value in headers.items() if isinstance(headers, dict) else headers:
            connection.putheader(name, value)
        connection.endheaders(body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Case(ServerCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="idem-c-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.ledger = os.path.join(self.directory, "ledger")

    def path(self, name):
        return os.path.join(self.directory, name)

    def ledger_lines(self, name="ledger"):
        try:
            with open(self.path(name), encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def await_ledger(self, beginning, count=1, name="ledger"):
        def found():
            lines = [line for line in self.ledger_lines(name) if line.startswith(beginning)]
            return len(lines) >= count and lines
        return eventually(found, f"{count} x {beginning!r} in the ledger")

    def launch(self, argv, **settings):
        """Starts a process. If it still runs at the end of the test, it is killed."""
        settings.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen([str(word) for word in argv], **settings)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process, number=signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def service(self, name, server, *options):
        """Starts a web example; it has .port and .log()."""
        log_path = self.path(f"{name}.{len(os.listdir(self.directory))}.log")
        with open(log_path, "wb") as log:
            process = self.launch([example(name), "--server", url(server), "--port", 0, "--ledger",
                                   self.ledger, *options], stdout=log, stderr=log)

        def read_log():
            with open(log_path, encoding="utf-8", errors="replace") as file:
                return file.read()

        def listening():
            if process.poll() is not None:
                raise AssertionError(f"{name} left with {process.returncode}: {read_log()}")
            return re.search(r"listening on (\d+)\n", read_log())

        process.port = int(eventually(listening, f"{name} listens").group(1))
        process.log = read_log
        return process

    def stop_service(self, process):
        """SIGTERM; the program has to exit with status 0."""
        self.end(process, signal.SIGTERM)
        self.assertEqual(process.returncode, 0, process.log())
        self.assertIsNone(BAD_REPORT.search(process.log()), process.log())


def state(pid):
    """As ps shows it: T is stopped. None: there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


class Listener:
    """A server in this process, with a thread for each connection."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = self.listening.getsockname()
        self.sockets = [self.listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in list(self.sockets):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def _accept(self):
        try:
            while True:
                near, _ = self.listening.accept()
                self.sockets.append(near)
                threading.Thread(target=self.serve, args=(near,), daemon=True).start()
        except OSError:
            return

    def chunks(self, near):
        try:
            while data := near.recv(1 << 16):
                yield data
        except OSError:
            return


class Parrot(Listener):
    """Answers every command with the same reply."""

    def __init__(self, reply):
        self.reply = reply
        super().__init__()

    def serve(self, near):
        for _ in self.chunks(near):
            near.sendall(self.reply)


class Flood(Listener):
    """Answers with a reply that does not end."""

    def serve(self, near):
        near.recv(1 << 16)
        near.sendall(b"*5\r\n$4\r\nDONE\r\n$500000000\r\n")
        try:
            while True:
                near.sendall(bytes(1 << 16))
        except OSError:
            return


class Cramped(Listener):
    """Grants every claim, and never has room for a result over LIMIT_BYTES. A smaller one it refuses `times` times;
    then it answers `reply`."""

    LIMIT_BYTES = 1000

    def __init__(self, reply=b":0\r\n", times=0):
        self.reply, self.refused_left, self.stored = reply, times, b""
        super().__init__()

    def serve(self, near):
        for data in self.chunks(near):
            near.sendall(self._answer(data))

    def _answer(self, data):
        if b"IDEM.CLAIM" in data:
            return b"*5\r\n$7\r\nCLAIMED\r\n:17\r\n:60000\r\n:1\r\n$-1\r\n"
        if b"IDEM.STORE" not in data:
            return b":60000\r\n"
        if len(data) > self.LIMIT_BYTES:
            return b"-MISCONF the journal has no room\r\n"
        if self.refused_left > 0:
            self.refused_left -= 1
            return b"-MISCONF the journal has no room\r\n"
        self.stored = data
        return self.reply


class Gate(Listener):
    """Passes on what a client sends to a server, and, while it is open, the replies, each delayed."""

    def __init__(self, server, late_s=0):
        self.server, self.said, self.late_s = server, bytearray(), late_s
        self.passage = threading.Event()
        self.passage.set()
        super().__init__()

    def open(self):
        self.passage.set()

    def close(self):
        self.passage.clear()

    def count(self, word):
        return bytes(self.said).count(word)

    def serve(self, near):
        far = socket.create_connection(self.server.address)
        self.sockets.append(far)
        threading.Thread(target=self._reply, args=(near, far), daemon=True).start()
        for data in self.chunks(near):
            self.said += data
            far.sendall(data)
        far.close()

    def _reply(self, near, far):
        try:
            for data in self.chunks(far):
                self.passage.wait()
                time.sleep(self.late_s)
                near.sendall(data)
        except OSError:
            return
        near.close()


def gone(pid):
    """Whether a process that is not our child has ended (or is a zombie)."""
    return state(pid) in (None, "Z")


def shell(command, **settings):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            **settings)
    if result.returncode != 0:
        print(result.stdout, file=sys.stderr)
        raise AssertionError(f"{command}: {result.returncode}\n{result.stdout}")
    return result.stdout
