"""The middleware for Flask among what else an application has: functions after the request, a session, middleware inside."""
import json

from flask import Flask, g, request, session
from idem.flask import Idempotency, idempotent
from shared_server import WithServer


class OnFlask(WithServer):
    def application(self, inside=None, **settings):
        """An application whose view counts, and its client; inside: WSGI middleware between it and Idempotency."""
        app = Flask(__name__)
        app.secret_key = "x"
        self.ran, self.attempts = [], []
        if inside is not None:
            app.wsgi_app = inside(app.wsgi_app)
        Idempotency(app, url=self.url, **settings)

        @app.route("/a", methods=["POST"])
        @idempotent(ttl_ms=30_000)
        def view():
            self.ran.append(True)
            self.attempts.append(g.idempotency.attempt)
            if "fail" in request.args:
                raise RuntimeError("no")
            return {"v": len(self.ran)}, 201
        return app

    def post(self, app, target="/a", **rest):
        return app.test_client().post(target, headers={"Idempotency-Key": self.key}, **rest)

    def test_a_replay_is_not_changed_by_functions_after_the_request(self):
        app = self.application(drop_headers=["X-Node"])
        count = []

        @app.after_request
        def envelope(response):
            count.append(True)
            response.set_data(json.dumps({"data": json.loads(response.get_data())}))
            response.headers.add("Link", "</a>")
            response.headers["X-Node"] = response.headers["X-Request-Id"] = str(len(count))
            if "Idempotent-Replayed" in response.headers:
                response.status_code = 203
                response.headers["Content-Encoding"] = "x"
            session["seen"] = len(count)
            return response
        first, second = self.post(app), self.post(app)
        self.assertEqual((first.status_code, first.get_json()), (201, {"data": {"v": 1}}))
        self.assertEqual((second.status_code, second.data, second.headers.getlist("Link")), (201, first.data, ["</a>"]))
        self.assertEqual(second.headers["Idempotent-Replayed"], "true")
        self.assertEqual((second.headers.getlist("Content-Length"), second.mimetype), ([str(len(first.data))], first.mimetype))
        self.assertNotIn("Content-Encoding", second.headers)
        # What is never stored is this exchange's own.
        self.assertEqual((second.headers["X-Node"], second.headers["X-Request-Id"]), ("2", "2"))
        self.assertTrue(second.headers["Set-Cookie"].startswith("session="))
        self.assertEqual(len(self.ran), 1)

    def test_functions_after_the_request_see_problems(self):
        app = self.application()

        @app.after_request
        def mark(response):
            response.headers["X-Mark"] = "1"
            return response
        self.post(app)
        other = self.post(app, data=b"another request")
        self.assertEqual((other.status_code, other.headers["X-Mark"]), (422, "1"))

    def test_a_function_that_fails_after_a_replay_is_seen(self):
        app = self.application()

        @app.after_request
        def fails(response):
            if "Idempotent-Replayed" in response.headers:
                raise RuntimeError("no")
            return response
        self.assertEqual([self.post(app).status_code for _ in range(2)], [201, 500])

    def test_middleware_inside_may_copy_the_environ(self):
        def copying(inner):
            return lambda environ, start_response: inner(dict(environ), start_response)
        app = self.application(copying)
        before = set(self.records())
        first, second = self.post(app), self.post(app)
        self.assertEqual([(each.status_code, each.get_json()) for each in (first, second)], [(201, {"v": 1})] * 2)
        self.assertEqual(second.headers["Idempotent-Replayed"], "true")
        record, = set(self.records()) - before
        self.assertTrue(0 < self.ask("FETCH", record)[4] <= 30_000, "the settings of the route")
        self.setUp()
        del self.attempts[:]
        self.assertEqual([self.post(app, "/a?fail").status_code for _ in range(2)], [500, 500])
        self.assertEqual(self.attempts, [1, 2])

    def test_a_failure_seen_by_middleware_inside_that_raises(self):
        def raising(inner):
            def app(environ, start_response):
                b"".join(inner(dict(environ), lambda *_: None))
                raise RuntimeError("after the view")
            return app
        app = self.application(raising)
        before = set(self.records())
        with self.assertRaises(RuntimeError):
            self.post(app)
        record, = set(self.records()) - before
        self.assertEqual(self.state(record), "LAPSED")
