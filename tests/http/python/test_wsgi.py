"""The WSGI middleware beside any server: the ends of a process, closing, the environ, a fork."""
import base64
import hashlib
import io
import os

from idem.wsgi import Idempotency
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
