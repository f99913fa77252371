"""What the recipes of client/COOKBOOK.md are tried with: the programs as the page has them, each a process of its own; and
`Outside`, which stands for the bank, the shop, the service that a recipe calls.

Outside answers nothing by itself: a test takes each request, in the order in which they came, and answers it. So a test knows that
a program is in the middle of its work without guessing a duration, and sees everything that was done twice. This file must not
know what a recipe does.
"""
import hashlib
import http.client
import http.server
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "system"), os.path.join(ROOT, "tests")]
import harness  # noqa: E402
from certificates import free_port  # noqa: E402

PAGE = os.environ.get("IDEM_COOKBOOK", os.path.join(ROOT, "client", "COOKBOOK.md"))
BUILD = os.path.join(ROOT, os.environ.get("IDEM_BUILD", "build/release"))
NODE_MODULES = [os.path.join(ROOT, "build", place, "node_modules") for place in ("http/cookbook", "http/node")]
RECIPE = re.compile(r"^<!-- run: (\S+) -->\n```\w+\n(.*?)^```$", re.S | re.M)
SECONDS = float(os.environ.get("IDEM_COOKBOOK_S", 60))  # far above what any step takes


def recipes():
    """{name: text}, as the page has them."""
    with open(PAGE, encoding="utf-8") as file:
        found = RECIPE.findall(file.read())
    assert len(dict(found)) == len(found), "two recipes have one name"
    return dict(found)


# ---- what stands outside ----

class Asked:
    """One request that a recipe has sent. It waits for answer() or drop()."""

    def __init__(self, method, path, body):
        self.method, self.path, self.body = method, path, body
        self.said = queue.Queue()

    def __str__(self):
        return f"{self.method} {self.path}"

    def answer(self, body=b"", status=200):
        self.said.put((status, body if isinstance(body, bytes) else json.dumps(body).encode()))

    def drop(self):
        """The connection breaks: who asked does not learn what became of it."""
        self.said.put(None)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, body)
        self.server.asked.put(asked)
        said = asked.said.get()
        self.close_connection = True
        if said is None:
            return
        self.send_response(said[0])
        self.send_header("Content-Length", str(len(said[1])))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(said[1])

    do_GET = do_POST = do_PUT = handle_one

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # who asked was killed meanwhile

    def log_message(self, *_):
        pass


class Outside(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler=Handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.asked = queue.Queue()
        self.url = "http://127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()

    def next(self, wanted):
        """The next request. It has to be this one: `POST /charges`."""
        try:
            asked = self.asked.get(timeout=SECONDS)
        except queue.Empty:
            raise AssertionError(f"nobody has sent {wanted}") from None
        if str(asked) != wanted:
            asked.drop()
            raise AssertionError(f"{asked}, expected {wanted}")
        return asked


class Bucket(http.server.BaseHTTPRequestHandler):
    """A bucket of S3, as far as GetObject and a conditional PutObject go. An ETag is the MD5 of the body, as S3's of an object
    that was put whole. `server.objects`: {path: bytes}; `server.before_put`: called once, before a PUT is judged."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = self.server.objects.get(self.place())
        if body is None:
            self.refuse(404, "NoSuchKey")
        else:
            self.say(200, body, {"ETag": tag(body)})

    def do_PUT(self):
        body = unchunked(self.rfile.read(int(self.headers["Content-Length"])), self.headers)
        self.server.puts.put(body)
        gate, self.server.before_put = self.server.before_put, None
        if gate is not None:
            gate()
        there = self.server.objects.get(self.place())
        match = self.headers.get("If-Match")
        if match is not None and there is None:
            self.refuse(404, "NoSuchKey")
        elif (match is not None and match != tag(there)) or (self.headers.get("If-None-Match") == "*" and there is not None):
            self.refuse(412, "PreconditionFailed")
        else:
            self.server.objects[self.place()] = body
            self.say(200, b"", {"ETag": tag(body)})

    def place(self):
        return urllib.parse.urlsplit(self.path).path

    def refuse(self, status, code):
        self.say(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), {"Content-Type": "application/xml"})

    def say(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def tag(body):
    return '"%s"' % hashlib.md5(body).hexdigest()


def unchunked(body, headers):
    """What the SDK sends with its checksum as a trailer (aws-chunked)."""
    if "aws-chunked" not in headers.get("Content-Encoding", ""):
        return body
    whole = b""
    while True:
        size, body = body.split(b"\r\n", 1)
        size = int(size.split(b";")[0], 16)
        if size == 0:
            return whole
        whole, body = whole + body[:size], body[size + 2:]


def open_bucket():
    bucket = Outside(Bucket)
    bucket.objects, bucket.before_put, bucket.puts = {}, None, queue.Queue()
    return bucket


# ---- programs ----

class Program:
    """A process. It is killed when the test ends."""

    def __init__(self, words, folder, environment):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(words, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, start_new_session=True)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def ends(self, *said, status=0):
        """It has ended with this status, and this is what it has written."""
        output, _ = self.process.communicate(timeout=SECONDS)
        lines = output.splitlines()
        if self.process.returncode != status or (said and lines != list(said)):
            raise AssertionError(f"{self.process.returncode}, {lines}; expected {status}, {list(said)}\n{self.stderr()}")

    def says(self, wanted):
        line = self.process.stdout.readline().rstrip("\n")
        if line != wanted:
            raise AssertionError(f"{line!r}, expected {wanted!r}\n{self.stderr()}")

    def stderr(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")[-2000:]

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.log):
            file.close()


class Site(Program):
    """One that serves HTTP at `port`."""

    def __init__(self, words, folder, environment, port):
        super().__init__(words, folder, environment)
        self.port = port

    def listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"it has ended: {self.stderr()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), SECONDS).close()
        except OSError:
            time.sleep(0.02)
            return False
        return True

    def send(self, method, path, body=None, headers=()):
        """A Reply, when it comes: the request is on its way."""
        return Reply(self.port, method, path, body, dict(headers))


class Reply:
    def __init__(self, port, *request):
        self._said = queue.Queue()
        threading.Thread(target=self._send, args=(port, *request), daemon=True).start()

    def _send(self, port, method, path, body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            self._said.put((reply.status, reply.headers, reply.read()))
        except (OSError, http.client.HTTPException) as error:
            self._said.put((None, {}, repr(error).encode()))
        finally:
            connection.close()

    def get(self):
        """(status, headers, body); status None: the connection broke."""
        return self._said.get(timeout=SECONDS)


class Kitchen(unittest.TestCase):
    """An idem server, a folder with all recipes, and what stands outside. Tests of one class may not share a key."""

    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server()
        cls.folder = tempfile.mkdtemp(prefix="idem-cookbook-")
        for name, text in recipes().items():
            with open(os.path.join(cls.folder, name), "w", encoding="utf-8") as file:
                file.write(text)

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.forget()
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.outside = Outside()
        self.addCleanup(self.outside.close)
        url = "redis://127.0.0.1:%d" % self.server.address[1]
        self.environment = {
            **os.environ, "IDEM_URL": url, "IDEM_SERVER_URL": url, "PYTHONPATH": os.path.join(ROOT, "client", "python"),
            "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "NODE_PATH": os.pathsep.join(NODE_MODULES),
            "PATH": BUILD + os.pathsep + os.environ["PATH"], "NO_PROXY": "*",
            **dict.fromkeys(("BANK", "SHOP", "PRICES"), self.outside.url)}
        self.ask("FLUSHALL")

    def tearDown(self):
        left = self.outside.asked.qsize()
        self.assertEqual(left, 0, f"{left} requests more than the test has seen")

    def ask(self, *words):
        with self.server.client() as client:
            return client.call(*words)

    def run_program(self, *words):
        program = Program(words, self.folder, self.environment)
        self.addCleanup(program.close)
        return program

    def sites(self, count, *words):
        """Processes of one application; words with PORT in place of the port. They start side by side."""
        started = [self._site(words) for _ in range(count)]
        for site in started:
            harness.eventually(site.listens, f"{words} listens", SECONDS)
        return started

    def site(self, *words):
        return self.sites(1, *words)[0]

    def _site(self, words):
        port = free_port()
        site = Site([word.replace("PORT", str(port)) for word in words], self.folder, {**self.environment, "PORT": str(port)}, port)
        self.addCleanup(site.close)
        return site

    def needs_node(self, *packages):
        missing = [name for name in packages if not any(os.path.isdir(os.path.join(place, name)) for place in NODE_MODULES)]
        if shutil.which("node") is None or missing:
            self.skipTest("not installed: " + (", ".join(missing) or "node"))

    def lease_ends(self):
        """Of every owner: as if it had been silent for so long."""
        held = self.ask("CLAIMS", "STATE", "held")
        for fields in held:
            claim = dict(zip(fields[::2], fields[1::2]))
            self.assertEqual(self.ask("RELEASE", claim[b"key"], claim[b"token"], "UNSURE"), 1)
        self.assertEqual(len(held), 1)
