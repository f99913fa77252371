"""The four examples on a real idem-server: two processes each, 50 duplicates, kill -9 in between.

    IDEM_SERVER=path/to/idem-server /usr/bin/python3 tests/system/examples/test_examples.py

Needs python3-flask and python3-redis.  A ledger that the views append to (app_process.py)
tells what ran; the answers to clients do not count.  Nothing sleeps for a guessed time: every view
waits until the test lets it go on, and the test waits for conditions.
"""
import base64
import ctypes
import http.client
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(os.path.join(HERE, *[os.pardir] * 3))
IDEM_SERVER = os.environ.get("IDEM_SERVER", os.path.join(REPOSITORY, "build/release/idem-server"))
sys.path[:0] = [os.path.join(REPOSITORY, "client", "examples"), os.path.join(REPOSITORY, "client", "python"),
                os.path.join(REPOSITORY, "tests")]

try:
    import redis
    import flask  # noqa: F401: only to say early and clearly that it is missing
except ImportError as missing:
    sys.exit(f"FAIL: {missing}: apt-get install python3-flask python3-redis")

import form_double_submit  # noqa: E402
import form_wait_408  # noqa: E402
import guard_409  # noqa: E402
import json_idempotency  # noqa: E402
import limit  # noqa: E402
from idem import (  # noqa: E402
    Busy, Claimed, Conflict, Done, Forgotten, Idem, IdemError, Lapsed, Mismatch, Stale, TooBig,
    Unavailable, Unknown)
from idem.request import record_key  # noqa: E402

DUPLICATES = 50
PATIENCE_S = 6  # for a condition; only a failing test waits that long
SHORT_LEASE_S = 1.0
SCALES = (1, 4, 16)  # factors for times that a slow machine may need longer
BODY_LIMIT = 1024 * 1024
# Longer than any test: a duplicate waits until the test lets the first request go on.
PATIENT = {"IDEMPOTENT_TIMEOUT": 60, "IDEMPOTENCY__lease_ms": 600_000,
           "IDEMPOTENCY__timeout_ms": 30_000}  # only for what hangs; slowness is no failure


def wait_until(condition, what):
    give_up = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.01)


class Process:
    """A child with its output in a file; killed by its own pid, and with us if we are killed."""

    def __init__(self, argv, ready, env=None):
        self.log_path = os.path.join(WORLD.directory, f"{uuid.uuid4().hex}.log")
        with open(self.log_path, "wb") as log:
            self.child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})}, preexec_fn=die_with_parent)
        self.pid, self._ready = self.child.pid, re.compile(ready)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def port(self):
        """Waits until it listens."""
        def found():
            if self.child.poll() is not None:
                raise AssertionError(f"{self.child.args} ended early:\n{self.log()}")
            return self._ready.search(self.log())
        return int(wait_until(found, f"{self.child.args} is ready")[1])

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()


def die_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_server():
    return Process([IDEM_SERVER, "--port", "0", "--bind", "127.0.0.1",
                    "--body-limit", str(BODY_LIMIT), "--born-skew", "0"],
                   r"ready to accept connections on 127\.0\.0\.1:(\d+)")


class Job:
    """A view that runs in some process and waits for what to do."""

    def __init__(self, connection, about):
        self._connection = connection
        self.key, self.pid, self.token = about["key"], about["pid"], about["token"]
        self.attempt = about["attempt"]

    def _order(self, **order):
        with self._connection:
            self._connection.sendall(json.dumps(order).encode() + b"\n")

    def answer(self, status=201, body=None):
        """Each execution has its own random body, so equal responses come from the same execution."""
        body = bytes(range(256)) + os.urandom(1000) if body is None else body
        self._order(status=status, body=base64.b64encode(body).decode(), headers=[
            ("X-Made-By", str(self.pid)), ("Set-Cookie", "a=1; Path=/"),
            ("Set-Cookie", "b=2; Path=/"), ("Location", "/there?x=1")])
        return body

    def fail(self, how="unsure"):
        self._order(**{"raise": how})

    def close(self):
        self._connection.close()


class Control:
    """The views of all processes connect here; the test gets them by record key."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._jobs, self._handed_out, self._lock = {}, [], threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _peer = self._listener.accept()
            about = json.loads(connection.makefile().readline())
            job = Job(connection, about)
            self._handed_out.append(job)
            self._queue(about["key"]).put(job)

    def _queue(self, key):
        with self._lock:
            return self._jobs.setdefault(key, queue.Queue())

    def hang_up(self):
        """Lets every view go on that a failed test has left waiting."""
        while self._handed_out:
            self._handed_out.pop().close()

    def answer_any(self, key):
        """Lets the next view go on, if there is one."""
        try:
            self._queue(key).get(timeout=0.05).answer()
        except (queue.Empty, OSError):
            pass  # there is none, or its process was killed

    def job(self, key):
        try:
            return self._queue(key).get(timeout=PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"no view was started for {key} within {PATIENCE_S} s") from None


class World:
    """What all tests share: a directory, the ledger, the control port and one idem-server."""

    def start(self):
        self._directory = tempfile.TemporaryDirectory(prefix="idem-examples-")
        self.directory = self._directory.name
        self.ledger_path = os.path.join(self.directory, "ledger")
        open(self.ledger_path, "wb").close()
        self.control = Control()
        self.server = start_server()
        self.url = f"redis://127.0.0.1:{self.server.port()}"
        self.idem = Idem(self.url, timeout_ms=30_000)
        self.redis = redis.Redis.from_url(self.url)

    def stop(self):
        self.server.kill()
        self._directory.cleanup()

    def ledger(self, key):
        with open(self.ledger_path, encoding="utf-8") as ledger:
            events = [json.loads(line) for line in ledger]
        return [event for event in events if event["key"] == key]

    def executions(self, key):
        """(started, finished)"""
        events = [event["event"] for event in self.ledger(key)]
        return events.count("start"), events.count("end")

    def waiting(self):
        return self.redis.info("clients")["blocked_clients"]


WORLD = World()


def setUpModule():
    WORLD.start()


def tearDownModule():
    WORLD.stop()


class Reply:
    # Headers that the HTTP server sets for each response, or that are for one caller: a replay has others.
    TRANSPORT = ("date", "server", "connection", "idempotent-replayed", "set-cookie")

    def __init__(self, response):
        self.status, self.body = response.status, response.read()
        self.headers = response.headers
        kept = [(n.lower(), v) for n, v in response.getheaders() if n.lower() not in self.TRANSPORT]
        self.bytes = (response.status, response.reason.upper(), kept, self.body)
        self.json = json.loads(self.body) if response.headers.get("Content-Type", "").endswith("json") else None
        self.replayed = response.headers.get("Idempotent-Replayed") == "true"


def http_request(port, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S * 2)
    try:
        connection.request(method, path, body, headers or {})
        return Reply(connection.getresponse())
    finally:
        connection.close()


class Example:
    """The tests that hold for all four.  A subclass names the example and builds its requests."""

    module = prefix = route = default_ttl_s = None
    waits = True  # a duplicate waits for the first request; otherwise it gets 409 at once
    patient = {}  # its own part of PATIENT

    @staticmethod
    def lease(seconds):
        """The option."""
        return {"IDEMPOTENCY__lease_ms": int(seconds * 1000)}

    @staticmethod
    def ttl(seconds):
        return {"IDEMPOTENCY__ttl_ms": int(seconds * 1000)}

    @classmethod
    def setUpClass(cls):
        cls.pair = cls.start_apps(2)

    @classmethod
    def tearDownClass(cls):
        for app in cls.pair:
            app.kill()
            log = app.log()
            if log.count("Traceback") != log.count("RuntimeError: the test asked for it"):
                raise AssertionError(f"{cls.__name__}: an exception in an app process:\n{log}")

    @classmethod
    def start_apps(cls, count, url=None, **config):
        env = {"IDEM_URL": url or WORLD.url,
               **{f"FLASK_{name}": json.dumps(value)
                  for name, value in {**PATIENT, **cls.patient, **config}.items()}}
        apps = [Process(["/usr/bin/python3", os.path.join(HERE, "app_process.py"),
                         cls.module.__name__, WORLD.ledger_path, str(WORLD.control.port)],
                        r"listening on (\d+)", env) for _ in range(count)]
        for app in apps:
            app.port()
        return apps

    def start(self, count, url=None, **config):
        apps = self.start_apps(count, url, **config)
        for app in apps:
            self.addCleanup(app.kill)
        return apps

    def setUp(self):
        self.new_key()
        self.pool = ThreadPoolExecutor(DUPLICATES + 2)
        self.addCleanup(self.pool.shutdown)
        self.addCleanup(WORLD.control.hang_up)

    def new_key(self):
        self.key = uuid.uuid4().hex
        self.record = self.record_of(self.key)

    def record_of(self, key, method="POST"):
        return record_key(self.prefix, None, method, self.route.encode(), key)

    # A request to this example; nth changes what may differ between duplicates.
    def request(self, nth=0):
        raise NotImplementedError

    def send(self, app, nth=0):
        return http_request(app.port(), *self.request(nth))

    def send_async(self, app, nth=0):
        return self.pool.submit(self.send, app, nth)

    def send_until_answered(self, apps, nth=0):
        """Retries as a client does: with the other process if this one died, and after a 409."""
        def attempt():
            for app in (apps[nth % 2], apps[(nth + 1) % 2]):
                try:
                    reply = self.send(app, nth)
                    return reply if reply.status != 409 else None
                except (OSError, http.client.HTTPException, AssertionError):
                    continue  # AssertionError: Process.port() of a killed process
            return None
        return wait_until(attempt, f"an answer for duplicate {nth}")

    def job(self, key=None):
        return WORLD.control.job(key or self.record)

    def wait_for_waiters(self, count):
        wait_until(lambda: WORLD.waiting() == count, f"{count} callers wait")

    def assert_executions(self, started, finished):
        self.assertEqual(WORLD.executions(self.record), (started, finished))

    def assert_replays(self, reply, first):
        self.assertTrue(reply.replayed)
        self.assertEqual(reply.bytes, first.bytes)
        self.assertIsNone(reply.headers["Set-Cookie"], "what logs one caller in is not another's")

    def store_one(self, app, **answer):
        first = self.send_async(app)
        self.job().answer(**answer)
        return first.result()

    # -- one key, one execution ----------------------------------------------------------------

    def test_fifty_duplicates_over_two_processes_run_once(self):
        replies = [self.send_async(self.pair[n % 2], n) for n in range(DUPLICATES)]
        job = self.job()
        if self.waits:
            self.wait_for_waiters(DUPLICATES - 1)
        else:
            wait_until(lambda: sum(r.done() for r in replies) == DUPLICATES - 1, "49 are refused")
        body = job.answer()
        replies = [reply.result() for reply in replies]

        firsts = [r for r in replies if r.status == 201 and not r.replayed]
        self.assertEqual(len(firsts), 1)
        self.assertEqual(firsts[0].body, body)
        cookies = firsts[0].headers.get_all("Set-Cookie")
        self.assertEqual(len(cookies), 3, "two of the view and the session's")
        for reply in replies:
            if reply is firsts[0]:
                continue
            if self.waits:
                self.assert_replays(reply, firsts[0])
            else:
                self.assertEqual((reply.status, reply.headers["Retry-After"]), (409, "1"))
        for app in self.pair:
            self.assert_replays(self.send(app), firsts[0])
        self.assert_executions(1, 1)

    def test_owner_killed_in_the_middle_is_replaced_after_its_lease(self):
        for scale in SCALES:
            if self.owner_is_killed(1.5 * scale):
                return
        self.fail("no lease was long enough for the kill")

    def owner_is_killed(self, lease_s):
        """False: the lease expired before the kill."""
        self.new_key()
        apps, begun = self.start(2, **self.lease(lease_s)), time.monotonic()
        replies = [self.pool.submit(self.send_until_answered, apps, n) for n in range(DUPLICATES)]
        first = self.job()
        if self.waits:
            wait_until(lambda: WORLD.waiting() >= DUPLICATES / 5, "a good part of them waits")
        next(app for app in apps if app.pid == first.pid).kill()
        killed_at, held = time.monotonic(), WORLD.idem.fetch(self.record)
        if time.monotonic() - begun >= lease_s:
            while not all(reply.done() for reply in replies):
                WORLD.control.answer_any(self.record)
            return False
        lease_left_ms = held.lease_left_ms

        second = self.job()
        self.assertNotEqual(second.pid, first.pid)
        self.assertEqual(second.attempt, 2)
        self.assertGreater(second.token, first.token)
        if self.waits:
            self.wait_for_waiters(DUPLICATES - 1)
        body = second.answer()
        replies = [reply.result() for reply in replies]

        self.assertEqual({reply.body for reply in replies}, {body})
        self.assertEqual(sum(not reply.replayed for reply in replies), 1)
        for reply in replies:
            self.assertEqual(reply.bytes, replies[0].bytes)
        self.assert_executions(2, 1)
        [_, second_start] = [e["t"] for e in WORLD.ledger(self.record) if e["event"] == "start"]
        self.assertGreater(lease_left_ms, 0)
        self.assertGreaterEqual(second_start, killed_at + lease_left_ms / 1000 - 0.002,
                                "a second one only when the lease of the first is over")
        return True

    def test_killing_the_other_process_disturbs_no_request(self):
        apps = self.start(2)
        first = self.send_async(apps[0])
        job = self.job()
        bystander = self.send_async(apps[1])
        if self.waits:
            self.wait_for_waiters(1)
        else:
            self.assertEqual(bystander.result().status, 409)
        apps[1].kill()
        self.wait_for_waiters(0)
        job.answer()
        first = first.result()
        self.assert_replays(self.send(apps[0]), first)
        self.assert_executions(1, 1)

    # -- how a claim ends ----------------------------------------------------------------------

    def test_a_view_that_raises_may_have_acted(self):
        """The first that waits runs next, and is told; the others hear of its answer."""
        replies = [self.send_async(self.pair[n % 2], n) for n in range(DUPLICATES)]
        failing = self.job()
        if self.waits:
            self.wait_for_waiters(DUPLICATES - 1)
        else:
            wait_until(lambda: sum(r.done() for r in replies) == DUPLICATES - 1, "49 are refused")
        failing.fail()
        if not self.waits:
            wait_until(lambda: all(reply.done() for reply in replies), "all are answered")
            self.assertIsInstance(WORLD.idem.fetch(self.record), Lapsed)
            replies.append(self.send_async(self.pair[1]))
        job = self.job()
        self.assertEqual(job.attempt, 2, "the next one is told that it is not the first")
        self.assertGreater(job.token, failing.token)
        body = job.answer()
        statuses = [reply.result().status for reply in replies]
        self.assertEqual((statuses.count(500), statuses.count(201)), (1, DUPLICATES - 1 if self.waits else 1))
        self.assertEqual({r.result().body for r in replies if r.result().status == 201}, {body})
        self.assert_executions(2, 1)

    def test_a_view_that_did_nothing_lets_the_next_request_run(self):
        first = self.send_async(self.pair[0])
        failing = self.job()
        if self.waits:
            second = self.send_async(self.pair[1])
            self.wait_for_waiters(1)
            failing.fail("did nothing")
        else:
            failing.fail("did nothing")
            first.result()
            second = self.send_async(self.pair[1])
        self.assertEqual((first.result().status, first.result().headers["Retry-After"]), (503, "1"))
        job = self.job()
        self.assertEqual(job.attempt, 1, "released, not lapsed")
        job.answer()
        self.assertEqual(second.result().status, 201)
        self.assert_replays(self.send(self.pair[0]), second.result())
        self.assert_executions(2, 1)

    def test_default_ttl(self):
        begun = time.monotonic()
        self.store_one(self.pair[0])
        left_s = WORLD.idem.fetch(self.record).ttl_left_ms / 1000
        self.assertLessEqual(left_s, self.default_ttl_s)
        self.assertGreaterEqual(left_s, self.default_ttl_s - (time.monotonic() - begun) - 0.01)

    def test_a_stored_response_expires(self):
        for scale in SCALES:
            self.new_key()
            [app] = self.start(1, **self.ttl(scale))
            begun = time.monotonic()
            first = self.store_one(app)
            stored = WORLD.idem.fetch(self.record)
            replies = [self.send_async(app) for _ in range(2)]
            while not all(reply.done() for reply in replies):
                WORLD.control.answer_any(self.record)
            if time.monotonic() - begun < scale:
                break
        self.assertLess(time.monotonic() - begun, scale, "no TTL was long enough to be seen")
        self.assertLessEqual(stored.ttl_left_ms, 1000 * scale)
        for reply in replies:
            self.assert_replays(reply.result(), first)
        wait_until(lambda: WORLD.idem.fetch(self.record) is None, "the response has expired")
        again = self.store_one(app)
        self.assertFalse(again.replayed)
        self.assertNotEqual(again.body, first.body)
        self.assert_executions(2, 2)

    def test_a_response_over_the_limit_still_stops_the_second_run(self):
        first = self.store_one(self.pair[0], body=b"x" * (BODY_LIMIT + 1))
        self.assertEqual(len(first.body), BODY_LIMIT + 1)
        again = self.send(self.pair[1])
        self.assertEqual((again.status, again.json["original_status"]), (410, 201))
        self.assert_executions(1, 1)

    def test_a_late_owner_does_not_overwrite(self):
        apps = self.start(2, **self.lease(SHORT_LEASE_S / 2))
        late = self.send_async(apps[0])
        late_job = self.job()
        os.kill(apps[0].pid, signal.SIGSTOP)
        prompt = self.pool.submit(self.send_until_answered, apps[1:] * 2)
        prompt_job = self.job()
        self.assertEqual((prompt_job.pid, prompt_job.attempt), (apps[1].pid, 2))
        prompt_job.answer()
        prompt = prompt.result()
        os.kill(apps[0].pid, signal.SIGCONT)
        late_job.answer()

        self.assert_replays(late.result(), prompt)  # one key, one answer
        wait_until(lambda: "STALE" in apps[0].log(), "the late one logs that nothing was stored")
        self.assert_replays(self.send(apps[0]), prompt)
        with self.assertRaises(Stale):
            WORLD.idem.store(self.record, late_job.token, b"other")

    # -- no server, no run ---------------------------------------------------------------------

    def test_without_the_server_nothing_runs(self):
        server = start_server()
        self.addCleanup(server.kill)
        [app] = self.start(1, url=f"redis://127.0.0.1:{server.port()}")
        running = self.send_async(app)
        job = self.job()
        server.kill()
        body = job.answer()
        self.assertEqual(running.result().body, body, "the work was done, so it is answered")
        wait_until(lambda: "NOT stored" in app.log(), "the log says that nothing was stored")

        refused = self.send(app)
        self.assertEqual((refused.status, refused.headers["Retry-After"]), (503, "1"))
        self.assertFalse(refused.replayed)
        self.assert_executions(1, 1)


class FormDoubleSubmit(Example, unittest.TestCase):
    module, prefix, route, default_ttl_s = form_double_submit, "form", "/order", 240
    page_marker = b"still running"

    @staticmethod
    def ttl(seconds):
        return {"IDEMPOTENT_EXPIRE": seconds}

    def request(self, nth=0):
        """A key is the same key in each of its three places."""
        fields = {"item": "tea"}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        if nth % 3 == 0:
            fields["__idempotent_key"] = self.key
            return "POST", "/order", form, urllib.parse.urlencode(fields)
        if nth % 3 == 1:
            return ("POST", f"/order?__idempotent_key={self.key}", form,
                    urllib.parse.urlencode(fields))
        return ("POST", "/order", {**form, "X-Idempotent-Key": self.key},
                urllib.parse.urlencode(fields))

    def test_defaults(self):
        config = self.module.create_app().config
        self.assertEqual((config["IDEMPOTENT_EXPIRE"], config["IDEMPOTENT_TIMEOUT"]), (240, 60))

    def test_the_page_carries_a_fresh_key(self):
        hidden = re.compile(
            rb'<input type="hidden" name="__idempotent_key" value="([0-9a-f]{32})">')
        keys = {hidden.search(http_request(self.pair[n % 2].port(), "GET", "/").body)[1].decode()
                for n in range(4)}
        self.assertEqual(len(keys), 4)
        self.key = keys.pop()
        self.record = self.record_of(self.key)
        first = self.store_one(self.pair[0])
        self.assert_replays(self.send(self.pair[1]), first)

    def test_without_a_key_every_submission_runs(self):
        for _ in range(2):
            reply = self.pool.submit(http_request, self.pair[0].port(), "POST", "/order")
            job = WORLD.control.job(None)
            self.assertIsNone(job.token)
            job.answer()
            self.assertEqual((reply.result().status, reply.result().replayed), (201, False))

    def test_time_out_is_a_clean_408(self):
        [app] = self.start(1, IDEMPOTENT_TIMEOUT=0.3)
        first = self.send_async(app)
        job = self.job()
        late = self.send(app)
        self.assertEqual((late.status, late.headers["Retry-After"]), (408, "1"))
        self.assertIn(self.page_marker, late.body)
        self.assertFalse(late.replayed)
        held = WORLD.idem.fetch(self.record)
        self.assertIsInstance(held, Busy, "the owner is untouched")
        self.assertGreaterEqual(held.age_ms, 300)
        job.answer()
        first = first.result()
        self.assert_replays(self.send(app), first)
        self.assert_executions(1, 1)


class FormWait408(FormDoubleSubmit):
    module = form_wait_408
    page_marker = b"Reload this page"

    def test_defaults(self):
        config = self.module.create_app().config
        self.assertEqual(config["IDEMPOTENT_TIMEOUT"], 10)


class Guard409(Example, unittest.TestCase):
    module, prefix, route, default_ttl_s = guard_409, "guard", "/items/7", 86400
    waits = False

    def request(self, nth=0):
        return "POST", "/items/7", {"Idempotency-Key": self.key}, b"change"

    def test_renewal_outlives_many_leases(self):
        for scale in SCALES:
            if self.renewal_outlives(SHORT_LEASE_S * scale):
                return
        self.fail("no lease was renewed")

    def renewal_outlives(self, lease_s):
        """False: a lease expired all the same, and another request ran."""
        self.new_key()
        apps, begun = self.start(2, **self.lease(lease_s)), time.monotonic()
        first = self.send_async(apps[0])
        job = self.job()
        replies = []
        while time.monotonic() - begun < 4 * lease_s or not replies:
            replies += [self.send_async(app) for app in apps]
            while not all(reply.done() for reply in replies):
                WORLD.control.answer_any(self.record)
        job.answer()
        first = first.result()
        if WORLD.executions(self.record) != (1, 1):
            return False
        for reply in replies:
            self.assertEqual((reply.result().status, reply.result().headers["Retry-After"]),
                             (409, "1"))
        self.assert_replays(self.send(apps[1]), first)
        return True

    def test_every_unsafe_method_is_guarded(self):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with self.subTest(method):
                key = uuid.uuid4().hex
                request = method, "/items/7", {"Idempotency-Key": key}, b"change"
                first = self.pool.submit(http_request, self.pair[0].port(), *request)
                job = self.job(self.record_of(key, method))
                self.assertEqual(http_request(self.pair[1].port(), *request).status, 409)
                job.answer()
                first = first.result()
                self.assert_replays(http_request(self.pair[1].port(), *request), first)

    def test_safe_methods_and_requests_without_a_key_are_not_guarded(self):
        for method, headers in (("GET", {"Idempotency-Key": self.key}), ("POST", {})):
            for _ in range(2):
                reply = self.pool.submit(http_request, self.pair[0].port(), method, "/items/7",
                                         headers)
                WORLD.control.job(None).answer()
                self.assertEqual((reply.result().status, reply.result().replayed), (201, False))

    def test_another_request_under_the_same_key_is_422(self):
        others = [("POST", "/items/7", b"another change"), ("POST", "/items/7?x=1", b"change")]
        first = self.send_async(self.pair[0])
        job = self.job()
        for when in ("while it runs", "when it is stored"):
            for method, path, body in others:
                with self.subTest(when, method=method, path=path):
                    reply = http_request(self.pair[1].port(), method, path,
                                         {"Idempotency-Key": self.key}, body)
                    self.assertEqual((reply.status, reply.replayed), (422, False))
            if when == "while it runs":
                job.answer()
                first.result()
        self.assert_executions(1, 1)

    def test_a_key_over_the_limit_is_400(self):
        self.key = "k" * 2000
        self.assertEqual(self.send(self.pair[0]).status, 400)


class JsonIdempotency(Example, unittest.TestCase):
    module, prefix, route, default_ttl_s = json_idempotency, "json", "/payments", 3600
    patient = {"IDEMPOTENCY__wait_ms": 60_000, "IDEMPOTENCY__hold": False}

    def request(self, nth=0, payload=b'{"amount": 5}', **headers):
        return ("POST", "/payments", {"Content-Type": "application/json",
                                      "X-Idempotency-Key": self.key, **headers}, payload)

    def test_without_a_key_400(self):
        for headers in ({}, {"X-Idempotency-Key": ""}):
            reply = http_request(self.pair[0].port(), "POST", "/payments",
                                 {"Content-Type": "application/json", **headers}, b"{}")
            self.assertEqual((reply.status, reply.headers["Content-Type"]),
                             (400, "application/problem+json"))

    def test_same_key_other_payload_422(self):
        first = self.send_async(self.pair[0])
        job = self.job()
        other = self.request(payload=b'{"amount": 6}')
        self.assertEqual(http_request(self.pair[1].port(), *other).status, 422)
        job.answer()
        first = first.result()
        reply = http_request(self.pair[1].port(), *other)
        self.assertEqual((reply.status, reply.replayed), (422, False))
        self.assert_replays(self.send(self.pair[1]), first)
        self.assert_executions(1, 1)

    def test_an_error_is_shared_but_not_cached(self):
        for status in (402, 503, 302):
            with self.subTest(status):
                self.key = uuid.uuid4().hex
                self.record = self.record_of(self.key)
                replies = [self.send_async(self.pair[n % 2]) for n in range(DUPLICATES)]
                job = self.job()
                self.wait_for_waiters(DUPLICATES - 1)
                body = job.answer(status=status)
                replies = [reply.result() for reply in replies]
                self.assertEqual({(r.status, r.body) for r in replies}, {(status, body)})
                self.assert_executions(1, 1)
                left = WORLD.idem.fetch(self.record)
                self.assertIsInstance(left, Lapsed if status >= 500 else type(None))
                self.assertEqual(self.store_one(self.pair[1]).status, 201)
                self.assertIsInstance(WORLD.idem.fetch(self.record), Done)
                self.assert_executions(2, 2)

    def test_a_payment_that_may_have_happened_is_not_made_again(self):
        """Unless somebody has looked."""
        [app] = self.start(1, IDEMPOTENCY__hold=True)
        for fail in (lambda job: job.fail(), lambda job: job.answer(status=504)):
            self.new_key()
            first = self.send_async(app)
            fail(self.job())
            self.assertGreaterEqual(first.result().status, 500)
            for _again in range(2):
                self.assertEqual(self.send(app).status, 409)
            unknown = WORLD.idem.fetch(self.record)
            self.assertIsInstance(unknown, Unknown)
            self.assertEqual(WORLD.executions(self.record)[0], 1)
            self.assertTrue(WORLD.idem.release(self.record, unknown.token, clear=True))
            self.assertEqual(self.store_one(app).status, 201)

    def test_the_application_that_comes_with_it_holds(self):
        self.assertIs(json_idempotency.create_app().extensions["idempotency"].guard.settings.hold, True)

    def test_still_running_after_the_wait_is_409(self):
        [app] = self.start(1, IDEMPOTENCY__wait_ms=300)
        first = self.send_async(app)
        job = self.job()
        reply = self.send(app)
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (409, "1"))
        job.answer()
        first = first.result()
        self.assert_replays(self.send(app), first)
        self.assert_executions(1, 1)


class LosingProxy:
    """Passes commands on to the server; loses the first `lost` replies with their connections."""

    def __init__(self, lost):
        self._lost = lost
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        """One connection at a time is all that the tests need."""
        while True:
            client, _peer = self._listener.accept()
            with client, socket.create_connection(("127.0.0.1", WORLD.server.port())) as server:
                while command := client.recv(65536):
                    server.sendall(command)
                    reply = server.recv(65536)
                    if self._lost > 0:
                        self._lost -= 1
                        break
                    client.sendall(reply)


class Helper(unittest.TestCase):
    """Paths of the client that the applications do not take."""

    def setUp(self):
        self.key = uuid.uuid4().hex

    def test_a_claim_whose_reply_was_lost_is_the_same_grant(self):
        claimed = Idem(LosingProxy(lost=1).url).claim(self.key, wait_ms=60_000)
        self.assertIsInstance(claimed, Claimed)
        self.assertEqual(claimed.attempt, 1, "it did not wait for itself")

    def test_every_call_has_its_own_owner(self):
        self.assertIsInstance(WORLD.idem.claim(self.key), Claimed)
        self.assertIsInstance(WORLD.idem.claim(self.key), Busy)

    def test_store_and_release_whose_replies_were_lost(self):
        token = WORLD.idem.claim(self.key).token
        Idem(LosingProxy(lost=1).url).store(self.key, token, b"body", meta=b"", ttl_ms=60_000)
        done = WORLD.idem.fetch(self.key)
        self.assertEqual((done.body, done.meta), (b"body", b""))
        other = self.key + "r"
        token = WORLD.idem.claim(other).token
        self.assertFalse(Idem(LosingProxy(lost=1).url).release(other, token))
        self.assertIsNone(WORLD.idem.fetch(other))

    def test_a_server_that_loses_every_reply_is_unavailable(self):
        with self.assertRaises(Unavailable):
            Idem(LosingProxy(lost=100).url).claim(self.key)

    def test_a_wait_may_be_longer_than_the_answer_timeout(self):
        WORLD.idem.claim(self.key)
        self.assertIsInstance(Idem(WORLD.url, timeout_ms=1000).claim(self.key, wait_ms=2500), Busy)

    def test_a_server_that_hangs_is_unavailable(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
            with self.assertRaises(Unavailable):
                Idem(url, timeout_ms=200).fetch(self.key)

    def test_refusals_are_told_apart(self):
        idem = WORLD.idem
        claimed = idem.claim(self.key, fingerprint=b"a", lease_ms=60_000)
        self.assertLessEqual(idem.renew(self.key, claimed.token, stage=b"half"), 60_000)
        with self.assertRaises(Mismatch):
            idem.claim(self.key, fingerprint=b"b")
        with self.assertRaises(Mismatch):
            idem.fetch(self.key, fingerprint=b"b")
        with self.assertRaises(Stale):
            idem.renew(self.key, claimed.token + 1)
        with self.assertRaises(TooBig):
            idem.store(self.key, claimed.token, b"x" * (BODY_LIMIT + 1))
        self.assertEqual(idem.store(self.key, claimed.token, b"one"), 0)
        with self.assertRaises(Conflict):
            idem.store(self.key, claimed.token, b"two")
        with self.assertRaises(IdemError):
            idem.claim(self.key, lease_ms=-1)

    def test_what_may_have_run_is_told(self):
        idem = WORLD.idem
        with self.assertRaises(Forgotten) as forgotten:
            idem.claim(self.key, born_ms=1)
        self.assertGreater(forgotten.exception.horizon_ms, 1)
        first = idem.claim(self.key, hold=True, born_ms=int(time.time() * 1000))
        self.assertTrue(idem.release(self.key, first.token, unsure=True))
        unknown = idem.claim(self.key)
        self.assertIsInstance(unknown, Unknown)
        second = idem.claim(self.key, takeover=unknown.token)
        self.assertEqual(second.attempt, 2)
        with self.assertRaisesRegex(Stale, "OVERTAKEN"):
            idem.store(self.key, first.token, b"late")
        idem.store(self.key, second.token, b"an error", ttl_ms=0, unsure=True)
        self.assertIsInstance(idem.fetch(self.key), Unknown)
        self.assertTrue(idem.release(self.key, second.token, clear=True))
        self.assertIsNone(idem.fetch(self.key))


class OwnViews(unittest.TestCase):
    """The views that come with the examples, unchanged."""

    def client(self, module):
        os.environ["IDEM_URL"] = WORLD.url
        self.addCleanup(os.environ.pop, "IDEM_URL", None)
        return module.create_app().test_client()

    def assert_once(self, send):
        first, second = send(), send()
        self.assertEqual((first.status, first.data), (second.status, second.data))
        self.assertEqual(second.headers["Idempotent-Replayed"], "true")
        return first

    def test_forms(self):
        for module in (form_double_submit, form_wait_408):
            data = {"item": "tea", "__idempotent_key": uuid.uuid4().hex}
            client = self.client(module)
            self.assertEqual(self.assert_once(lambda: client.post("/order", data=data)).status_code,
                             201)

    def test_guard(self):
        client, headers = self.client(guard_409), {"Idempotency-Key": uuid.uuid4().hex}
        first = self.assert_once(lambda: client.put("/items/3", headers=headers))
        self.assertGreater(first.json["fencing_token"], 0)

    def test_json(self):
        client, headers = self.client(json_idempotency), {"X-Idempotency-Key": uuid.uuid4().hex}
        bad = client.post("/payments", json={"amount": "much"}, headers=headers)
        self.assertEqual((bad.status_code, bad.json["title"]), (400, "Bad Request"))
        headers = {"X-Idempotency-Key": uuid.uuid4().hex}
        self.assertEqual(client.post("/payments", data="{", headers=headers).status_code, 400)
        first = self.assert_once(
            lambda: client.post("/payments", json={"amount": 5}, headers=headers))
        self.assertTrue(first.headers["Location"].endswith(first.json["payment"]))


if __name__ == "__main__":
    started = time.monotonic()
    result = unittest.main(verbosity=2, exit=False, testRunner=limit.Runner).result
    print(f"{'PASS' if result.wasSuccessful() else 'FAIL'}: examples: {result.testsRun} tests"
          f" in {time.monotonic() - started:.1f} s")
    sys.exit(not result.wasSuccessful())
