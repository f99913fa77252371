"""What a case has: an idem server, processes of one test application, and the control port.

Knows the contract of README.md, no framework. Servers and applications are shared by cases that need the same ones, because
starting one takes longer than most cases; keys are new in each case. Everything is ended by its own pid.
"""
import base64
import collections
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, os.pardir, "system"), os.path.join(HERE, os.pardir)]
import harness  # noqa: E402
from http_client import Exchange  # noqa: E402

START_S = 60
EXECUTION_S = min(30, harness.HANG_SECONDS)  # a handler that should run has begun by then


class Execution:
    """A handler that runs and asks what it is to do."""

    def __init__(self, connection, lines, about):
        self._connection, self._lines, self.about = connection, lines, about
        self.claim, self.pid, self.path = about["claim"], about["pid"], about["path"]

    @property
    def body(self):
        return None if self.about["body"] is None else base64.b64decode(self.about["body"])

    @property
    def attempt(self):
        return self.claim["attempt"]

    def order(self, do, **rest):
        self._connection.sendall(json.dumps({"do": do, **rest}).encode() + b"\n")

    def ask(self, do, **rest):
        self.order(do, **rest)
        said = json.loads(self._lines.readline())
        if "claim" in said:
            self.claim = said["claim"]
        return said

    def answer(self, status=201, body=b"done", headers=(), **rest):
        self.order("answer", status=status, body=base64.b64encode(body).decode(), headers=list(headers), **rest)
        self._connection.close()

    def end(self, do, **rest):
        """A last order but an answer."""
        self.order(do, **rest)
        self._connection.close()

    def piece(self, body):
        self.order("piece", body=base64.b64encode(body).decode())

    def abandon(self):
        """The handler raises."""
        self._connection.close()


class Control:
    """The port to which handlers connect."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._executions = queue.Queue()
        self.events = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._first_line, args=(connection,), daemon=True).start()

    def _first_line(self, connection):
        lines = connection.makefile("rb")
        line = lines.readline()
        if not line:
            return
        said = json.loads(line)
        if "event" in said:
            self.events.append((said["event"], said["fields"]))
        else:
            self._executions.put(Execution(connection, lines, said))

    def next(self, seconds=EXECUTION_S):
        try:
            return self._executions.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no handler has begun within {seconds} s") from None

    def more(self):
        """Executions that nobody has asked for."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._executions.get_nowait())
        return found

    def close(self):
        self._listener.close()


class App:
    """A process of a test application."""

    def __init__(self, description, url, control, settings, environment=None):
        self.log_file = tempfile.TemporaryFile()
        self._log_read = 0
        words = list(description["command"])
        self.process = subprocess.Popen(
            words, cwd=description["directory"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log_file,
            start_new_session=True, env={**os.environ, "IDEM_URL": url, "IDEM_TEST_CONTROL": control.address,
                                         "IDEM_TEST_SETTINGS": json.dumps(settings), "IDEM_TEST_PORT": "0",
                                         "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})})
        self.port = None

    def ready(self):
        """Awaits the line with its port."""
        for line in self.process.stdout:
            if line.startswith(b"listening on "):
                self.port = int(line.split()[2])
                return self
        raise AssertionError(f"the application left with {self.process.wait()}:\n{self.log()}")

    def log(self):
        self.log_file.seek(0)
        return self.log_file.read().decode(errors="replace")

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def send(self, method="POST", target="/work", key=None, body=b"", headers=(), **rest):
        headers = list(headers)
        if key is not None:
            headers.append(("Idempotency-Key", key))
        return Exchange(self.port, method, target, headers, body, **rest)


def new_key():
    return uuid.uuid4().hex


class World:
    """For one test application."""

    def __init__(self, description, environment=None):
        self.description, self._environment = description, environment
        self.features = set(description["features"])
        self.control = Control()
        self._server = None
        self._apps = collections.OrderedDict()
        self._own = []

    # -- servers and processes --

    @property
    def server(self):
        """The idem server that cases share."""
        if self._server is None or self._server.process.poll() is not None:
            self._server = harness.Server()
        return self._server

    def own_server(self, *options, **rest):
        """One of this case alone."""
        server = harness.Server(*options, **rest)
        self._own.append(lambda: (server.kill(), server.forget()) if server.process.poll() is None else None)
        return server

    def app(self, number=1, **settings):
        """The process number so-and-so with these settings, on the server that cases share."""
        name = (number, json.dumps(settings, sort_keys=True), self.server.pid)
        if name in self._apps and self._apps[name].process.poll() is None:
            self._apps.move_to_end(name)
            return self._apps[name]
        while len(self._apps) >= 6:
            self._apps.popitem(last=False)[1].kill()
        self._apps[name] = self.start(self.server, settings)
        return self._apps[name]

    def start(self, server, settings, environment=None):
        url = server if isinstance(server, str) else "redis://127.0.0.1:%d" % server.address[1]
        app = App(self.description, url, self.control, settings, {**(self._environment or {}), **(environment or {})})
        try:
            return app.ready()
        except BaseException:
            app.kill()
            raise

    def own_app(self, server=None, environment=None, **settings):
        """A process of this case alone, which it may kill."""
        app = self.start(server or self.server, settings, environment)
        self._own.append(app.kill)
        return app

    def failing_app(self, **settings):
        """The log of a process that refuses to start, and its status."""
        app = App(self.description, "redis://127.0.0.1:1", self.control, settings, self._environment)
        try:
            return app.process.wait(START_S), app.log()
        finally:
            app.kill()

    # -- looking at the server --

    def ask(self, *words, server=None):
        with (server or self.server).client() as client:
            return client.call(*words)

    def inspect(self, record, server=None):
        """A map, or None."""
        found = self.ask("INSPECT", record, server=server)
        if found is None:
            return None
        return dict(zip([name.decode() for name in found[::2]], found[1::2]))

    def await_log(self, app, text):
        return harness.eventually(lambda: text in app.log(), f"{text!r} in the log")

    # -- executions --

    def execution(self, seconds=EXECUTION_S):
        return self.control.next(seconds)

    def run(self, app, answer=None, **request):
        """One request that runs: (its execution, the reply)."""
        exchange = app.send(**request)
        execution = self.execution()
        execution.answer(**(answer or {}))
        return execution, exchange.reply()

    def end_case(self):
        """Raises AssertionError when a handler ran that the case has not seen."""
        for end in reversed(self._own):
            end()
        self._own = []
        more = self.control.more()
        for execution in more:
            execution.abandon()
        self.control.events.clear()
        if more:
            raise AssertionError(f"{len(more)} handlers ran that should not: {[each.about for each in more]}")

    def close(self):
        for app in self._apps.values():
            app.kill()
        if self._server is not None and self._server.process.poll() is None:
            self._server.kill()
            self._server.forget()
        self.control.close()


def now_ms():
    return int(time.time() * 1000)
