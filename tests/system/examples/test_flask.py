"""The package's middleware for Flask in this process: code that reads before it or fails after it, clients that hang up.

    IDEM_SERVER=path/to/idem-server /usr/bin/python3 tests/system/examples/test_flask.py

Each test runs with all four applications.  The test itself is their WSGI server, so it can break off
anywhere. A claim that is not ended, and so is renewed for ever, is noticed.
"""
import contextlib
import dataclasses
import gc
import io
import itertools
import json
import os
import socket
import sys
import threading
import time
import unittest
import uuid
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

import limit  # noqa: E402
from kept import KEPT, NEVER_STORED, NOT_KEPT, STORED  # noqa: E402
from keys import MALFORMED, SPELLINGS, TWICE  # noqa: E402
from test_examples import (  # noqa: E402
    WORLD, Busy, Done, Lapsed, form_double_submit, form_wait_408, guard_409, json_idempotency,
    wait_until)

from flask import Flask, Response, g, request, request_finished, session, stream_with_context  # noqa: E402
from idem import DidNothing, Mismatch  # noqa: E402
from idem.request import record_key  # noqa: E402
from werkzeug.datastructures import Headers  # noqa: E402
from werkzeug.exceptions import BadGateway, HTTPException  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402
from werkzeug.test import EnvironBuilder, run_wsgi_app  # noqa: E402
from werkzeug.wsgi import FileWrapper  # noqa: E402

BODY_LIMIT = 100_000  # of a response whose body is kept
REQUEST_LIMIT = 50_000
LONG_LEASE_S = 600
FORM = "application/x-www-form-urlencoded"


def setUpModule():
    WORLD.start()


def tearDownModule():
    WORLD.stop()


@dataclasses.dataclass(frozen=True)
class Kind:
    """One of the four applications, and how to send it a request."""
    module: object
    prefix: str
    path: str
    header: str


KINDS = [Kind(form_double_submit, "form", "/order", "X-Idempotent-Key"),
         Kind(form_wait_408, "form", "/order", "X-Idempotent-Key"),
         Kind(guard_409, "guard", "/items/7", "Idempotency-Key"),
         Kind(json_idempotency, "json", "/payments", "X-Idempotency-Key")]


class Case(unittest.TestCase):
    caller = None

    def setUp(self):
        self.runs = 0
        self.held = []  # references to the claims: otherwise a renewer could end because its claim is collected

    def each(self, *kinds):
        """Yields a subtest with a new key for each application, so that one failure does not hide others."""
        for self.kind in kinds or KINDS:
            self.key, self.runs = uuid.uuid4().hex, 0
            yield self.subTest(self.kind.module.__name__)

    @property
    def record(self):
        return record_key(self.kind.prefix, self.caller, "POST", self.kind.path.encode(), self.key)

    def make_app(self, view=lambda: ("done", 201), **settings):
        def counted(**_arguments):
            self.runs += 1
            self.held.append(g.get("idempotency"))
            return view()

        settings = {"body_limit": BODY_LIMIT, "request_limit": REQUEST_LIMIT, "lease_ms": LONG_LEASE_S * 1000, "wait_ms": 1,
                    "hold": False, **settings}

        def configured(config):
            config["SECRET_KEY"] = "s"
            config["IDEMPOTENCY"] = {**config.get("IDEMPOTENCY", {}), **settings}

        with mock.patch.dict(os.environ, IDEM_URL=WORLD.url), mock.patch("flask.Config.from_prefixed_env", configured):
            app = self.kind.module.create_app(counted)
        app.config["REDIS_URL"] = WORLD.url
        app.logger.disabled = True
        return app

    def environ(self, body=b"a=1", query="", key=None, content_type=FORM, headers=(), **more):
        headers = Headers(headers)
        if key != "":
            headers[self.kind.header] = key or self.key
        return EnvironBuilder(self.kind.path, method=more.pop("method", "POST"), data=body,
                              query_string=query, content_type=content_type, headers=headers,
                              **more).get_environ()

    def send(self, app, *arguments, **options):
        """(status, headers, body)"""
        body, status, headers = run_wsgi_app(app, self.environ(*arguments, **options), buffered=True)
        return int(status.split()[0]), headers, b"".join(body)

    def start(self, app, **options):
        """The response as a WSGI server gets it, before anything of it is read."""
        started = []
        response = app(self.environ(**options), lambda *arguments: started.append(arguments))
        return response, int(started[0][0].split()[0])

    def assert_replayed(self, reply, first):
        self.assertEqual((reply[0], reply[2], reply[1].get("Idempotent-Replayed")),
                         (first[0], first[2], "true"))

    def assert_no_renewer(self):
        wait_until(lambda: all(claim is None or claim.renewal.done for claim in self.held), "no claim is renewed")

    def assert_unsure(self):
        """The claim is not stored, the record tells that it may have run, and nothing renews it."""
        self.assert_no_renewer()
        wait_until(lambda: isinstance(WORLD.idem.fetch(self.record), Lapsed), "it is told")
        WORLD.redis.delete(self.record)

    def assert_told(self, app):
        """The next request is told that it is not the first attempt."""
        self.assert_no_renewer()
        self.assertEqual((self.send(app)[0], self.runs, self.held[-1].attempt), (201, 2, 2))


class Endings(Case):
    """When a request ends, its renewer ends too. Work that may have happened is not released."""

    def test_a_response_that_fails_while_it_is_produced(self):
        def generator():
            yield "first"
            raise RuntimeError("after its first chunk")

        class BadFile(io.BytesIO):
            def read(self, size=-1):
                if self.tell() > 0:
                    raise OSError("the disk is gone")
                return super().read(size)

        views = {"generator": lambda: Response(generator(), 201),
                 "with the context": lambda: Response(stream_with_context(generator()), 201),
                 "file": lambda: Response(FileWrapper(BadFile(b"x" * 9000)), 201,
                                          direct_passthrough=True)}
        for name, view in views.items():
            for played in self.each():
                with played:
                    with self.subTest(name):
                        with self.assertRaises((RuntimeError, OSError)):  # of which the server makes a 500: nothing was sent
                            self.send(self.make_app(view))
                        self.assert_unsure()

    def test_it_is_closed_whether_it_fails_or_not(self):
        class Closing:
            def __init__(self, fails):
                self.closed, self.fails = 0, fails

            def __iter__(self):
                yield b"first"
                if self.fails:
                    raise RuntimeError

            def close(self):
                self.closed += 1

        for fails in (True, False):
            for played in self.each():
                with played:
                    body = Closing(fails)
                    with contextlib.suppress(RuntimeError):
                        self.send(self.make_app(lambda: Response(body, 201)))
                    self.assertEqual(body.closed, 1)

    @staticmethod
    def endless():
        """A response over the limit, so it is not held back; also larger than a socket takes unread."""
        return Response(itertools.repeat(b"x" * BODY_LIMIT, 400), 201)

    def test_a_stream_that_fails_in_the_middle(self):
        def generator():
            for _ in range(3):
                yield b"x" * BODY_LIMIT
            raise RuntimeError("in the middle")

        for played in self.each():
            with played:
                response, status = self.start(self.make_app(lambda: Response(generator(), 201)))
                self.assertEqual(status, 201)
                with self.assertRaisesRegex(RuntimeError, "in the middle"):
                    for _piece in response:
                        continue
                response.close()
                self.assert_unsure()

    def test_a_stream_that_is_not_read_to_its_end(self):
        def read_some(response):
            next(iter(response))
            response.close()

        ways = {"closed after a piece": (read_some, Done), "closed and never read": (lambda it: it.close(), Lapsed),
                "closed twice": (lambda it: (it.close(), it.close()), Lapsed)}
        for name, (way, state) in ways.items():
            for played in self.each():
                with played:
                    with self.subTest(name):
                        response, status = self.start(self.make_app(self.endless))
                        self.assertEqual(status, 201)
                        way(response)
                        self.assert_no_renewer()
                        self.assertIsInstance(WORLD.idem.fetch(self.record), state)

    def test_a_stream_that_the_server_drops_without_closing_it(self):
        for played in self.each():
            with played:
                response, _ = self.start(self.make_app(self.endless))
                next(iter(response))
                del response
                gc.collect()
                self.assert_no_renewer()
                self.assertIsInstance(WORLD.idem.fetch(self.record), Done, "it was produced to its end")

    def test_a_stream_whose_client_disconnects(self):
        for played in self.each():
            with played:
                server = make_server("127.0.0.1", 0, self.make_app(self.endless), threaded=True)
                thread = threading.Thread(target=server.serve_forever, daemon=True)
                thread.start()
                with socket.create_connection(("127.0.0.1", server.server_port)) as client:
                    client.sendall(b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n%s: %s\r\n\r\n"
                                   % (self.kind.path.encode(), self.kind.header.encode(), self.key.encode()))
                    self.assertIn(b" 201 ", client.recv(100))
                wait_until(lambda: isinstance(WORLD.idem.fetch(self.record), Done), "it is produced to its end")
                self.assert_no_renewer()
                server.shutdown()
                thread.join()
                server.server_close()

    def test_a_stream_that_is_read_to_its_end_does_not_run_again(self):
        def view():
            return Response((b"x" * 1000 for _ in range(BODY_LIMIT // 1000 + 1)), 201)

        for played in self.each():
            with played:
                app = self.make_app(view)
                self.assertEqual(len(self.send(app)[2]), BODY_LIMIT + 1000)
                self.assert_no_renewer()
                self.assertEqual((self.send(app)[0], self.runs), (410, 1))

    def test_events_are_not_held_back(self):
        produced = []

        def events():
            for number in range(3):
                produced.append(number)
                yield f"data: {number}\n\n"

        for played in self.each():
            with played:
                del produced[:]
                response, _ = self.start(
                    self.make_app(lambda: Response(events(), 201, mimetype="text/event-stream")))
                pieces = iter(response)
                while next(pieces) != b"data: 0\n\n":
                    continue
                self.assertEqual(produced, [0])
                response.close()
                self.assertEqual(produced, [0, 1, 2], "without its client too")
                self.assert_no_renewer()

    def test_work_is_done_and_then_something_fails(self):
        for where in (self.in_after_request, self.in_session, self.in_view, self.in_view_for_good,
                      self.in_view_with_a_handler, self.in_view_with_its_own_handler,
                      self.in_view_with_a_handler_that_fails, self.in_view_with_a_router):
            for played in self.each():
                with played:
                    with self.subTest(where.__name__):
                        app = self.make_app()
                        self.failures = 0
                        where(app)
                        with contextlib.suppress(SystemExit):
                            self.assertEqual(self.send(app)[0], 500)
                        self.assertEqual((self.failures, self.runs), (1, 1))
                        self.assert_told(app)

    def in_after_request(self, app):
        app.after_request(self.fail_once)

    def in_session(self, app):
        app.session_interface = mock.Mock(wraps=app.session_interface)
        app.session_interface.is_null_session.return_value = False
        app.session_interface.save_session.side_effect = self.fail_once

    def in_view(self, app, kind=RuntimeError):
        """Fails in the view, after the work."""
        for endpoint, view in app.view_functions.items():
            app.view_functions[endpoint] = lambda view=view, **given: self.fail_once(
                view(**given), kind=kind)

    def in_view_for_good(self, app):
        self.in_view(app, SystemExit)

    @staticmethod
    def answer_500(error):
        return error if isinstance(error, HTTPException) else ({"title": "error"}, 500)

    def in_view_with_a_handler(self, app):
        """The catch-all handler that many applications have; its answer is not the view's answer."""
        self.in_view(app)
        app.register_error_handler(Exception, self.answer_500)

    def in_view_with_its_own_handler(self, app):
        self.in_view(app)
        app.register_error_handler(RuntimeError, lambda _error: Response("bad gateway", 500))

    def in_view_with_a_handler_that_fails(self, app):
        def handler(_error):
            raise ValueError("the handler")
        self.in_view(app)
        app.register_error_handler(RuntimeError, handler)

    def in_view_with_a_router(self, app):
        """Answers errors as some extensions do (Flask-RESTful)."""
        self.in_view(app)
        app.handle_user_exception = lambda error: app.make_response(self.answer_500(error))

    def fail_once(self, passed_on, *_more, kind=RuntimeError):
        if self.failures == 0:
            self.failures = 1
            raise kind("after the work")
        return passed_on

    def test_a_failure_is_unsure_whatever_follows_its_handler(self):
        """Even if an after_request function turns the handler's 500 into another status."""
        def envelope(response):
            response.status_code = 200
            return response

        def handled(app):
            self.in_view(app, KeyError)
            app.register_error_handler(Exception, self.answer_500)

        for fail in (self.in_view, handled, self.in_after_request):
            for played in self.each():
                with played, self.subTest(fail.__name__):
                    self.failures = 0
                    app = self.make_app()
                    app.after_request(envelope)
                    fail(app)
                    self.assertEqual(self.send(app)[0], 200)
                    self.assertIsInstance(WORLD.idem.fetch(self.record), Lapsed)
                    self.assert_no_renewer()

    def test_an_exception_that_stands_for_an_answer_is_an_answer(self):
        """An application's exception whose handler answers below 500, and HTTP exceptions."""
        class Declined(Exception):
            pass

        def raising(error):
            def view():
                raise error
            return view

        kept = KINDS[:3]  # the JSON example keeps only 2xx
        for status, error in ((402, Declined()), (402, HTTPException(response=Response("no", 402)))):
            for played in self.each(*kept):
                with played:
                    app = self.make_app(raising(error))
                    app.register_error_handler(Declined, lambda _error: ("declined", 402))
                    first = self.send(app)
                    self.assertEqual(first[0], status)
                    self.assert_replayed(self.send(app), first)
                    self.assert_no_renewer()
        for played in self.each():
            with played:
                app = self.make_app(raising(BadGateway("it may have done it")))
                self.assertEqual([self.send(app)[0], self.send(app)[0], self.runs], [502, 502, 2])
                self.assertEqual(self.held[-1].attempt, 2)
                self.assert_no_renewer()

    def test_who_hears_of_the_end_and_fails(self):
        def broken(*_arguments, **_more):
            raise RuntimeError("too late")

        for played in self.each():
            with played:
                app = self.make_app()
                with request_finished.connected_to(broken, app):
                    self.assertEqual(self.send(app)[0], 500)
                self.assert_told(app)

    def test_a_teardown_that_fails(self):
        for played in self.each():
            with played:
                app = self.make_app()

                def broken(_error):
                    raise RuntimeError("in the teardown")
                app.teardown_request_funcs[None] = [broken]
                with self.assertRaises(RuntimeError):
                    self.send(app)
                app.teardown_request_funcs[None] = []
                self.assert_told(app)

    def test_only_a_view_that_says_so_has_done_nothing(self):
        def view():
            if self.runs == 1:
                raise DidNothing("The card's bank refused the connection.")
            return "done", 201

        for played in self.each():
            with played:
                app = self.make_app(view)
                status, headers, _body = self.send(app)
                self.assertEqual((status, headers["Retry-After"]), (503, "1"))
                self.assertIsNone(WORLD.idem.fetch(self.record))
                self.assertEqual((self.send(app)[0], self.runs), (201, 2))
                self.assert_no_renewer()

    def test_that_holds_whatever_handler_there_is(self):
        def view():
            raise DidNothing("The card's bank refused the connection.")

        def by_router(app):
            app.handle_user_exception = lambda _error: app.make_response(("error", 500))

        for answered in (lambda app: app.register_error_handler(DidNothing, lambda _error: ("error", 500)),
                         by_router):
            for played in self.each():
                with played:
                    app = self.make_app(view)
                    answered(app)
                    self.assertEqual(self.send(app)[0], 503)
                    self.assertIsNone(WORLD.idem.fetch(self.record))
                    self.assert_no_renewer()


class Fingerprints(Case):
    """Method, path, query and raw body count, even if the body was read before."""

    BODIES = {FORM: (b"a=1", b"a=2"), "application/json": (b'{"a": 1}', b'{"a": 2}'),
              "text/plain": (b"1", b"2"), "": (b"1", b"2"),
              "multipart/form-data; boundary=b": tuple(
                  b'--b\r\nContent-Disposition: form-data; name="f"; filename="n"\r\n\r\n%s\r\n--b--\r\n'
                  % content for content in (b"1" * 20_000, b"1" * 19_999 + b"2"))}

    READERS = {
        "no reader": lambda: None,
        "the form": lambda: request.form.get("csrf_token"),
        "the files": lambda: [file.read() for file in request.files.values()],
        "the values": lambda: request.values.get("csrf_token"),
        "the data": lambda: request.get_data(),
        "the data, not kept": lambda: request.get_data(cache=False),
        "the data, parsed": lambda: request.data,
        "json": lambda: request.get_json(silent=True),
        "the stream": lambda: request.stream.read(),
        "some of the stream": lambda: request.stream.read(2),
        "lines": lambda: request.environ["wsgi.input"].readline(),
        "the input": lambda: request.environ["wsgi.input"].read(),
    }

    def read_by(self, reader, **policy):
        app = self.make_app(**policy)
        app.before_request(lambda: (reader(), None)[1])
        return app

    def test_another_body_is_another_request_whatever_was_read_before(self):
        for name, reader in self.READERS.items():
            for content_type, (body, other) in self.BODIES.items():
                for played in self.each():
                    with played:
                        with self.subTest(name, content_type=content_type):
                            app = self.read_by(reader)
                            first = self.send(app, body, content_type=content_type)
                            self.assertEqual(first[0], 201)
                            self.assert_replayed(self.send(app, body, content_type=content_type), first)
                            self.assertEqual(self.send(app, other, content_type=content_type)[0], 422)
                            self.assertEqual(self.runs, 1)

    def test_the_key_in_a_form_is_found_whatever_was_read_before(self):
        part = '--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n--b--\r\n'
        for name, reader in self.READERS.items():
            for content_type, text in ((FORM, "%s=%s"), ("multipart/form-data; boundary=b", part)):
                for played in self.each(*KINDS[:2]):
                    with played:
                        with self.subTest(name, content_type=content_type):
                            app, body = self.read_by(reader), text % ("__idempotent_key", self.key)
                            for _again in range(2):
                                self.send(app, body.encode(), content_type=content_type, key="")
                            self.assertEqual(self.runs, 1)

    def test_the_view_reads_what_it_would_without(self):
        def view():
            seen = (request.form.to_dict(), {name: file.read() for name, file in request.files.items()},
                    request.get_data())
            return repr(seen), 201

        for content_type, (body, _) in self.BODIES.items():
            for played in self.each():
                with played:
                    with self.subTest(content_type):
                        app = self.make_app(view)
                        guarded = self.send(app, body, content_type=content_type)
                        plain = Flask("plain")
                        plain.add_url_rule(self.kind.path, "view", view, methods=["POST"])
                        self.assertEqual(guarded, self.send(plain, body, content_type=content_type))

    def test_another_query_path_or_method_is_another_request(self):
        for played in self.each():
            with played:
                app = self.make_app()
                first = self.send(app, query="x=1&y=%ff")
                self.assert_replayed(self.send(app, query="x=1&y=%ff"), first)
                for query in ("", "x=1", "x=1&y=%fe", "y=%ff&x=1", "x=1&y=%ff&"):
                    self.assertEqual(self.send(app, query=query)[0], 422, query)
        for played in self.each(KINDS[2]):
            with played:
                app = self.make_app()
                self.send(app)
                self.assertEqual((self.send(app, method="PUT")[0], self.runs), (201, 2))
                for path, other in (("/items/a?b", "/items/a"), ("/items/\xff", "/items/\xfe")):
                    self.key = uuid.uuid4().hex
                    environ = self.environ()
                    environ["PATH_INFO"], environ["QUERY_STRING"] = path, ""
                    run_wsgi_app(app, dict(environ, **{"wsgi.input": io.BytesIO(b"a=1")}))
                    environ["PATH_INFO"], environ["QUERY_STRING"] = other, "b?" if "?" in path else ""
                    status = run_wsgi_app(app, environ)[1]
                    self.assertTrue(status.startswith("201"), (path, other, status))

    def test_bytes_cannot_move_between_the_parts(self):
        for played in self.each(*KINDS[2:]):
            with played:
                app = self.make_app()
                self.send(app, b"b", query="a")
                for body, query in ((b"ab", ""), (b"", "ab"), (b"a", "b")):
                    self.assertEqual(self.send(app, body, query=query)[0], 422)

    def test_the_boundary_of_a_multipart_body_is_not_part_of_the_request(self):
        def upload(app, boundary, *parts):
            body = b"".join(b'--%s\r\nContent-Disposition: form-data; name="f"; filename="n"\r\n\r\n'
                            b'%s\r\n' % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary
            return self.send(app, body,
                             content_type=f'multipart/form-data; boundary="{boundary.decode()}"')

        for played in self.each():
            with played:
                app = self.make_app()
                first = upload(app, b"one", b"a", b"b")
                self.assert_replayed(upload(app, b"two", b"a", b"b"), first)
                for parts in ((b"a", b"c"), (b"ab",), (b"a", b"b", b""), (b"b", b"a")):
                    for boundary in (b"one", b"two"):
                        self.assertEqual(upload(app, boundary, *parts)[0], 422, parts)

    def test_the_place_of_the_key_in_a_form_is_not_part_of_the_request(self):
        for played in self.each(*KINDS[:2]):
            with played:
                app, field = self.make_app(), f"__idempotent_key={self.key}"
                first = self.send(app, b"a=1&b=2", query="q=1")
                for body, query in ((f"{field}&a=1&b=2", "q=1"), (f"a=1&{field}&b=2", "q=1"),
                                    ("a=1&b=2", f"q=1&{field}"), ("a=1&b=2", f"{field}&q=1")):
                    self.assert_replayed(self.send(app, body.encode(), query=query, key=""), first)
                part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
                key_part = (b'--b\r\nContent-Disposition: form-data; name="__idempotent_key"\r\n\r\n%s\r\n'
                            % self.key.encode())
                multipart = "multipart/form-data; boundary=b"
                WORLD.redis.delete(self.record)
                first = self.send(app, part + b"--b--\r\n", content_type=multipart)
                again = self.send(app, key_part + part + b"--b--\r\n", content_type=multipart, key="")
                self.assert_replayed(again, first)

    # Bodies with a gap for a content. No content is the key, although each looks like it.
    NOT_THE_KEY = {
        "a file with the field's name as its own": (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="__idempotent_key"\r\n\r\n'
            b'%s\r\n--b--\r\n'),
        "a file in the field's place": (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="__idempotent_key"; filename="f"\r\n\r\n'
            b'%s\r\n--b--\r\n'),
        "another header that mentions the field": (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"\r\nX-Note: name="__idempotent_key"\r\n\r\n'
            b'%s\r\n--b--\r\n'),
        "a quoted name that mentions the field": (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a; name=\\"__idempotent_key\\""\r\n\r\n'
            b'%s\r\n--b--\r\n'),
        "two names": (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="__idempotent_key"; name="f"\r\n\r\n'
            b'%s\r\n--b--\r\n'),
        "what begins like a delimiter, but goes on": (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n--b-\r\n'
            b'Content-Disposition: form-data; name="__idempotent_key"\r\n\r\n%s\r\n--b--\r\n'),
        "multipart, but no form": (
            "multipart/mixed; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="__idempotent_key"\r\n\r\n%s\r\n--b--\r\n'),
        "a type that only begins like a form's": (FORM + "-not", b"__idempotent_key=%s"),
    }

    def test_what_only_looks_like_the_key_is_part_of_the_request(self):
        for name, (content_type, body) in self.NOT_THE_KEY.items():
            for played in self.each(*KINDS[:2]):
                with played:
                    with self.subTest(name):
                        app = self.make_app()
                        first = self.send(app, body % b"one", content_type=content_type)
                        self.assertEqual(first[0], 201)
                        self.assert_replayed(self.send(app, body % b"one", content_type=content_type),
                                             first)
                        self.assertEqual(self.send(app, body % b"two", content_type=content_type)[0], 422)

    def test_a_body_over_the_limit_is_413_and_nothing_runs(self):
        for played in self.each():
            with played:
                for reader in (self.READERS["no reader"], self.READERS["the form"],
                               self.READERS["the data, not kept"]):
                    app = self.read_by(reader)
                    for chunked in (False, True):
                        environ = self.environ(b"a" * (REQUEST_LIMIT + 1))
                        if chunked:
                            del environ["CONTENT_LENGTH"]
                            environ["wsgi.input_terminated"] = True
                        self.assertTrue(run_wsgi_app(app, environ)[1].startswith("413"))
                self.assertEqual(self.runs, 0)
                self.assertEqual(self.send(app, b"a" * REQUEST_LIMIT)[0], 201)

    def test_without_a_key_a_body_may_be_longer_than_the_limit(self):
        size = REQUEST_LIMIT * 4
        for played in self.each(*KINDS[:3]):
            with played:
                app = self.make_app(lambda: (str(len(request.get_data())), 201))
                body = self.send(app, b"a" * size, content_type="text/plain", key="")[2]
                self.assertEqual(body, b"%d" % size)

    def test_a_body_that_breaks_off_is_not_run(self):
        for played in self.each():
            with played:
                app = self.make_app()
                environ = self.environ(b"a=1")
                environ["CONTENT_LENGTH"] = "4"
                self.assertTrue(run_wsgi_app(app, environ)[1].startswith("400"))
                self.assertEqual(self.runs, 0)


class Kept(Case):
    """Which parts of a response later requests get."""

    NEVER = (*NEVER_STORED, "X-Named-By-Connection", "set-COOKIE")

    def test_what_belongs_to_one_caller_or_one_connection_is_not_kept(self):
        kept = {name: f"/{name}" for name in STORED}

        def view():
            headers = [(name, "alone") for name in self.NEVER if name != "Connection"]
            return Response("done", 201, [*headers, ("Connection", "close, x-named-by-CONNECTION"),
                                          *kept.items()])

        for played in self.each():
            with played:
                app = self.make_app(view)
                first, again = self.send(app), self.send(app)
                for name in self.NEVER:
                    self.assertIn(name, first[1])
                    self.assertNotIn(name, again[1])
                self.assert_replayed(again, first)
                self.assertEqual({name: again[1][name] for name in kept}, kept)
                done = WORLD.idem.fetch(self.record)
                self.assertNotIn(b"alone", done.meta)

    def test_a_late_retry_does_not_undo_a_logout(self):
        def view():
            session["user"] = "alice"
            return "logged in", 201

        for played in self.each():
            with played:
                app = self.make_app(view)
                self.assertIn("session=", self.send(app)[1]["Set-Cookie"])
                self.assertNotIn("Set-Cookie", self.send(app)[1])

    def store_as_another(self, meta):
        """Has another program store under the key while the view runs."""
        WORLD.idem.store(g.idempotency.key, g.idempotency.token, b"theirs", meta=meta)
        return "ours", 201

    def test_a_record_that_is_not_a_response_is_503(self):
        for meta in (None, b"", b"junk", b"\xff", b"null", b"[]", b"[1]", b"[1, []]", b'[1, "200", []]', b"[1, 99, []]",
                     b"[1, 1000, []]", b"[1, 200, 5]", b'[1, 200, [["a"]]]', b'[1, 200, [["a", "b\\r\\nc"]]]', b"[2, 200, []]",
                     b'[1, "job"]', b"[" * 10_000):
            for played in self.each():
                with played:
                    with self.subTest(meta and meta[:30]):
                        app = self.make_app(lambda: self.store_as_another(meta))
                        self.send(app)
                        self.assertEqual((self.send(app)[0], self.runs), (503, 1))

    def test_a_record_without_a_fingerprint_is_refused(self):
        for played in self.each():
            with played:
                WORLD.idem.store(self.record, WORLD.idem.claim(self.record).token, b"theirs")
                with self.assertRaises(Mismatch):
                    WORLD.idem.claim(self.record, fingerprint=b"any")
                self.assertEqual((self.send(self.make_app())[0], self.runs), (422, 0))

    def test_temporary_answers_are_not_kept(self):
        for status in sorted(set(NOT_KEPT) - {403}):  # the package keeps a 403
            for played in self.each():
                with played:
                    with self.subTest(status):
                        app = self.make_app(lambda: ("not now", status))
                        for run in (1, 2):
                            reply = self.send(app)
                            self.assertEqual((reply[0], reply[1].get("Idempotent-Replayed"), self.runs),
                                             (status, None, run))

    def test_final_answers_are_kept(self):
        for status in KEPT:
            for played in self.each(*KINDS[:3]):
                with played:
                    with self.subTest(status):
                        app = self.make_app(lambda: ("decided", status))
                        self.assert_replayed(*reversed([self.send(app), self.send(app)]))

    def test_both_sets_can_be_changed(self):
        for played in self.each(*KINDS[:3]):
            with played:
                def view():
                    return Response("done", 202, {"X-Trace": "1", "Set-Cookie": "a=1"})
                app = self.make_app(view, keep=lambda status: status != 202)
                self.assertEqual([self.send(app)[0], self.send(app)[0], self.runs], [202, 202, 2])
                app = self.make_app(view, drop_headers=["x-trace"])
                first, again = self.send(app), self.send(app)
                self.assertEqual((first[1]["X-Trace"], again[1].get("X-Trace")), ("1", None))

    def test_an_answer_that_is_not_kept_is_shared_with_waiting_requests(self):
        for status in (401, 409, 429):
            for played in self.each():
                with played:
                    self.share(status)

    def share(self, status):
        going, go = threading.Event(), threading.Event()

        def view():
            going.set()
            go.wait(60)
            return "not now", status

        app = self.make_app(view, wait_ms=30_000)
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(self.send(app))) for _ in range(3)]
        threads[0].start()
        self.assertTrue(going.wait(60))
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: WORLD.waiting() == 2, "two wait")
        go.set()
        for thread in threads:
            thread.join()
        self.assertEqual(([(reply[0], reply[2]) for reply in replies], self.runs),
                         ([(status, b"not now")] * 3, 1))
        self.assertIsNone(WORLD.idem.fetch(self.record))


class Keys(Case):
    def test_all_spellings_of_a_key_are_one_key(self):
        for played in self.each():
            with played:
                app = self.make_app()
                first = self.send(app, key=self.key)
                for spelling in SPELLINGS:
                    self.assert_replayed(self.send(app, key=spelling.replace("k", self.key, 1)), first)
                self.assertIsInstance(WORLD.idem.fetch(self.record), Done)

    def test_a_malformed_key_is_400_and_not_treated_as_absent(self):
        for played in self.each():
            with played:
                app = self.make_app()
                for value in MALFORMED:
                    environ = self.environ(key="")
                    environ["HTTP_" + self.kind.header.upper().replace("-", "_")] = value
                    body, status, _headers = run_wsgi_app(app, environ)
                    self.assertTrue(status.startswith("400"), (value, status))
                    self.assertIn(self.kind.header.encode(), b"".join(body))
                self.assertEqual(self.runs, 0)

    def test_two_keys_are_400(self):
        """A server joins two headers with a comma, as CGI does."""
        for played in self.each():
            with played:
                server = make_server("127.0.0.1", 0, self.make_app(), threaded=True)
                thread = threading.Thread(target=server.serve_forever, daemon=True)
                thread.start()
                for values in TWICE:
                    lines = "".join(f"{self.kind.header}: {value}\r\n" for value in values)
                    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
                        client.sendall(f"POST {self.kind.path} HTTP/1.1\r\nHost: h\r\n{lines}"
                                       "Content-Length: 0\r\n\r\n".encode())
                        self.assertIn(b" 400 ", client.makefile("rb").readline(), values)
                server.shutdown()
                thread.join()
                server.server_close()
                self.assertEqual(self.runs, 0)

    def test_a_form_has_one_key_in_one_place(self):
        field = "__idempotent_key"
        for played in self.each(*KINDS[:2]):
            with played:
                app = self.make_app()
                for query, body, key in (
                        ("", f"{field}=", ""), ("", f"a=1&{field}", ""), (f"{field}=", "", ""),
                        ("", f"{field}=k&a=1&{field}=l", ""), (f"{field}=k", f"{field}=l", ""),
                        ("", f"{field}=k", "l"), (f"{field}=k", "", "l"), ("", f"{field}=k%00a", ""),
                        ("", f"{field}=%c3%a4", ""), ("", f"{field}=+", ""), ("", f"{field}={'x' * 256}", "")):
                    status = self.send(app, body.encode(), query=query, key=key)[0]
                    self.assertEqual(status, 400, (query, body, key))
                self.assertEqual(self.runs, 0)
                self.assertEqual(self.send(app, f"{field}={self.key}".encode(), query=f"{field}={self.key}")[0], 201)

    def test_a_claim_does_not_outlive_its_request_in_g(self):
        """Requests that are made inside one application context share its g."""
        for played in self.each(*KINDS[:3]):
            with played:
                app = self.make_app(lambda: (str(self.runs), 201))
                with app.app_context():
                    self.assert_replayed(*reversed([self.send(app), self.send(app)]))
                    self.assertEqual(self.send(app, key="")[2], b"2")
                    self.key = uuid.uuid4().hex
                    self.assert_replayed(*reversed([self.send(app), self.send(app)]))


if __name__ == "__main__":
    started = time.monotonic()
    result = unittest.main(verbosity=2, exit=False, testRunner=limit.Runner).result
    print(f"{'PASS' if result.wasSuccessful() else 'FAIL'}: flask: {result.testsRun} tests"
          f" in {time.monotonic() - started:.1f} s")
    sys.exit(not result.wasSuccessful())
