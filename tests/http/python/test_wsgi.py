"""The WSGI middleware beside any server: the ends of a process, closing, the environ, a fork."""
import base64
import contextlib
import hashlib
import io
import os
import signal
import threading

import harness
from idem.wsgi import Idempotency, view_of
from shared_server import WithServer


def environ(key, body=b"x", **rest):
    return {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/a", "QUERY_STRING": "",
            "HTTP_IDEMPOTENCY_KEY": key, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body), **rest}


def record(key):
    parts = b"-4:POST2:/a%d:%b" % (len(key), key.encode())
    return "http:" + base64.urlsafe_b64encode(hashlib.sha256(parts).digest()).rstrip(b"=").decode()


class Around(WithServer):
    def call(self, app, given=None):
        began = []
        response = Idempotency(app, url=self.url)(given or environ(self.key),
                                                  lambda status, headers, exc_info=None: began.append((status, headers)))
        try:
            return began[0][0], b"".join(response)
        finally:
            if hasattr(response, "close"):
                response.close()

    def test_the_end_of_the_process_is_unsure(self):
        for error in (SystemExit, KeyboardInterrupt, GeneratorExit):
            self.setUp()

            def app(given, start_response):
                raise error
            with self.subTest(error.__name__):
                with self.assertRaises(error):
                    self.call(app)
                self.assertEqual(self.state(record(self.key)), "LAPSED")

    def test_a_response_that_cannot_be_begun_ends_its_claim(self):
        """Else it would be renewed for renew_for_ms, and be in progress as long."""
        def refuses(status, headers, exc_info=None):
            raise AssertionError("no such header")
        for status, size in (("OK", 1), ("OK", 2), ("200 OK", 2)):
            self.setUp()

            def app(given, start_response):
                start_response(status, [])
                return [b"x" * size]
            with self.subTest(status, size=size):
                with self.assertRaises((AssertionError, ValueError)):
                    Idempotency(app, url=self.url, body_limit=1)(environ(self.key), refuses)
                self.assertEqual(self.state(record(self.key)), "LAPSED")

    def test_what_close_raises_comes_before_anything_is_stored(self):
        class Body:
            def __iter__(self):
                return iter([b"done"])

            def close(self):
                raise RuntimeError("the commit failed")

        def app(given, start_response):
            start_response("200 OK", [])
            return Body()
        with self.assertRaises(RuntimeError):
            self.call(app)
        self.assertEqual(self.state(record(self.key)), "LAPSED")

    def test_the_body_is_closed_once(self):
        closed = []

        class Body:
            def __iter__(self):
                return iter([b"do", b"ne"])

            def close(self):
                closed.append(True)

        def app(given, start_response):
            start_response("200 OK", [])
            return Body()
        self.assertEqual(self.call(app), ("200 OK", b"done"))
        self.assertEqual(closed, [True])

    def test_write_and_a_late_start_are_heard(self):
        def app(given, start_response):
            write = start_response("200 OK", [("X-A", "1")])
            write(b"do")
            yield_late = iter([b"ne"])
            return yield_late
        self.assertEqual(self.call(app), ("200 OK", b"done"))

        def late(given, start_response):
            start_response("201 Created", [])
            yield b"done"
        self.setUp()
        self.assertEqual(self.call(late), ("201 Created", b"done"))
        self.assertEqual(self.call(late), ("201 Created", b"done"))

    def test_the_servers_environ_is_not_changed(self):
        wrapper = object()
        given = environ(self.key, **{"wsgi.file_wrapper": wrapper})
        before = dict(given)
        seen = []

        def app(inner, start_response):
            seen.append("wsgi.file_wrapper" in inner)
            start_response("200 OK", [])
            return [b"done"]
        self.call(app, given)
        self.assertEqual((seen, given), ([False], before))

    def test_a_body_that_breaks_off_is_not_compared(self):
        def app(given, start_response):
            self.fail("it runs")
        status, _ = self.call(app, environ(self.key, b"half", CONTENT_LENGTH="9"))
        self.assertEqual((status, self.state(record(self.key))), ("400 Bad Request", None))

    def test_a_body_that_was_read_outside_is_taken_from_who_kept_it_or_is_a_500(self):
        from werkzeug.wrappers import Request
        seen = []

        def app(given, start_response):
            seen.append(given["wsgi.input"].read())
            start_response("200 OK", [])
            return [b"done"]
        given = environ(self.key, b"whole")
        self.outer = Request(given)
        self.outer.get_data()
        self.assertEqual(self.call(app, given), ("200 OK", b"done"))
        self.assertEqual(seen, [b"whole"])
        given = environ(self.key + "2", b"whole")
        given["wsgi.input"].read()
        status, problem = self.call(app, given)
        self.assertEqual((status, b"body-consumed" in problem), ("500 Internal Server Error", True))

    def chunked(self, stream, **rest):
        """The answer to a request without a length whose body comes from this stream."""
        def app(given, start_response):
            start_response("200 OK", [])
            return [given["wsgi.input"].read()]
        self.key += "c"
        given = environ(self.key, **{"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, **rest})
        del given["CONTENT_LENGTH"]
        status, body = self.call(app, {**given, "wsgi.input": stream})
        return (status[:3], b"consumed" if b"body-consumed" in body else body)

    def test_a_body_without_a_length_that_was_read_outside_is_no_empty_one(self):
        from gunicorn.http.body import Body, ChunkedReader
        from gunicorn.http.unreader import IterUnreader
        from werkzeug.serving import DechunkedInput

        class Unknown:  # a stream that tells nothing of itself
            def __init__(self, body):
                self.read = io.BytesIO(body).read
        streams = {
            "werkzeug": lambda body: DechunkedInput(io.BytesIO(body)),
            "gunicorn": lambda body: Body(ChunkedReader(None, IterUnreader(iter([body])))),
            "a file": lambda body: io.BytesIO(b"body" if len(body) > 5 else b"")}
        for name, make in streams.items():
            with self.subTest(name):
                whole, empty = b"4\r\nbody\r\n0\r\n\r\n", b"0\r\n\r\n"
                self.assertEqual(self.chunked(make(whole)), ("200", b"body"))
                self.assertEqual(self.chunked(make(empty)), ("200", b""))
                outside = make(whole)
                outside.read(100)
                self.assertEqual(self.chunked(outside), ("500", b"consumed"))
        self.assertEqual(self.chunked(Unknown(b"body")), ("200", b"body"))
        self.assertEqual(self.chunked(Unknown(b"")), ("500", b"consumed"))
        self.assertEqual(self.chunked(Unknown(b""), HTTP_TRANSFER_ENCODING="", SERVER_PROTOCOL="HTTP/2"), ("500", b"consumed"))

    def test_a_body_that_the_server_does_not_decode_is_no_empty_one(self):
        self.assertEqual(self.chunked(io.BytesIO(b"4\r\nbody"), **{"wsgi.input_terminated": False}), ("500", b"consumed"))

    def test_a_request_without_a_body_is_one_with_an_empty_body(self):
        def app(given, start_response):
            start_response("200 OK", [])
            return [given["wsgi.input"].read()]
        for terminated in (True, False):
            self.key += "e"
            given = environ(self.key, b"", **{"wsgi.input_terminated": terminated})
            del given["CONTENT_LENGTH"]
            self.assertEqual(self.call(app, given), ("200 OK", b""))

    def in_child(self, call):
        """What `call` returns in a child of a process that has connections, a renewal thread and somebody who waits."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)  # one that waits for ever ends
            said = b"nothing"
            with contextlib.suppress(BaseException):
                said = call()
            os.write(writing, said)
            os._exit(0)
        os.close(writing)
        try:
            return os.read(reading, 1000)
        finally:
            os.close(reading)
            os.waitpid(child, 0)

    def held(self, key, **settings):
        """A claim that is made in this process now."""
        guard = Idempotency(None, url=self.url, lease_ms=300, **settings).guard
        plan = guard.plan(view_of(environ(key), None), key, b"x")
        return guard, guard.begin(plan, guard.ask(plan))

    def test_a_child_renews_its_own_claims(self):
        _, ours = self.held(self.key)

        def call():
            _, claim = self.held(self.key + "c")
            threading.Event().wait(1.2)  # four leases: time is the subject
            return self.state(claim.key).encode()
        self.assertEqual(self.in_child(call), b"HELD")
        self.assertEqual(self.state(ours.key), "HELD")
        ours.end()

    def test_a_child_has_nobody_who_waits(self):
        guard, claim = self.held(self.key, max_waiting=1, wait_ms=5_000)
        self.assertTrue(guard.engine.enter())
        with guard.engine._lock:  # as another thread may hold it at the fork
            self.assertEqual(self.in_child(lambda: b"%d%d" % (guard.may_wait(), guard.may_wait())), b"10")
        self.assertFalse(guard.engine.enter())
        claim.end()

    def test_a_thousand_at_once_run_once(self):
        ran, running, go_on = [], threading.Event(), threading.Event()

        def app(given, start_response):
            ran.append(True)
            running.set()
            go_on.wait(60)
            start_response("201 Created", [])
            return [b"done"]
        middleware = Idempotency(app, url=self.url, wait_ms=60_000, max_waiting=1_000, timeout_ms=30_000)

        def send():
            began = []
            body = b"".join(middleware(environ(self.key), lambda status, headers: began.append(status)))
            replies.append((began[0], body))
        replies, threads = [], [threading.Thread(target=send) for _ in range(1_000)]
        for thread in threads:
            thread.start()
        running.wait(60)
        harness.eventually(lambda: self.ask("INSPECT", record(self.key))[19] == 999, "all wait")
        go_on.set()
        for thread in threads:
            thread.join()
        self.assertEqual((len(ran), len(replies), set(replies)), (1, 1_000, {("201 Created", b"done")}))

    def test_after_a_fork_parent_and_child_have_claims_of_their_own(self):
        def app(given, start_response):
            start_response("200 OK", [])
            return [b"attempt %d" % given["idem.claim"].attempt]
        middleware = Idempotency(app, url=self.url)

        def run(key):
            return b"".join(middleware(environ(key), lambda *_: None))
        run(self.key)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"".join(run(f"{self.key}c{number}") for number in range(20)))
            os._exit(0)
        ours = [run(f"{self.key}p{number}") for number in range(20)]
        os.waitpid(child, 0)
        self.assertEqual((ours, os.read(reading, 1000)), ([b"attempt 1"] * 20, b"attempt 1" * 20))
