"""The ASGI middleware beside any server: cancellation, what passes untouched, an application that is wrapped from outside."""
import asyncio
import base64
import contextlib
import hashlib

import idem
from idem.asgi import Idempotency
from shared_server import WithServer


def scope(key, **rest):
    return {"type": "http", "method": "POST", "path": "/a", "query_string": b"", "root_path": "",
            "headers": [(b"idempotency-key", key.encode())], **rest}


def record(key):
    parts = b"-4:POST2:/a%d:%b" % (len(key), key.encode())
    return "http:" + base64.urlsafe_b64encode(hashlib.sha256(parts).digest()).rstrip(b"=").decode()


async def answer(send, status=200, body=b"done"):
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Around(WithServer):
    def call(self, app, given=None, middleware=None, during=None):
        """Messages that the client gets; raises what the middleware raises."""
        sent = []

        async def run():
            messages = [{"type": "http.request", "body": b"x", "more_body": False}]

            async def receive():
                if messages:
                    return messages.pop(0)
                return await asyncio.Event().wait()

            async def send(message):
                sent.append(message)
            around = middleware or Idempotency(app, url=self.url)
            task = asyncio.ensure_future(around(given or scope(self.key), receive, send))
            if during is not None:
                await during(task)
            await task
        asyncio.run(run())
        return sent

    def test_other_kinds_of_connection_pass_untouched(self):
        for kind in ("websocket", "lifespan"):
            seen = []

            async def app(given, receive, send):
                seen.append(given)
            given = {"type": kind, "path": "/a", "headers": [(b"idempotency-key", self.key.encode())]}
            self.call(app, given)
            self.assertIs(seen[0], given)

    def test_who_cancels_from_outside_does_not_end_the_work(self):
        finished = []

        async def main():
            running, go_on = asyncio.Event(), asyncio.Event()

            async def app(given, receive, send):
                await receive()
                running.set()
                await go_on.wait()
                await answer(send)
                finished.append(True)

            async def receive():
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(_message):
                raise AssertionError("nobody is there")
            middleware = Idempotency(app, url=self.url)
            task = asyncio.ensure_future(middleware(scope(self.key), receive, send))
            await running.wait()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            go_on.set()
            await asyncio.gather(*middleware._running)
        asyncio.run(main())
        self.assertEqual((finished, self.state(record(self.key))), ([True], "DONE"))

    def test_a_handler_that_is_cancelled_from_within_is_unsure(self):
        async def app(given, receive, send):
            raise asyncio.CancelledError
        with self.assertRaises(asyncio.CancelledError):
            self.call(app)
        self.await_state("LAPSED")

    def await_state(self, state):
        import harness
        harness.eventually(lambda: self.state(record(self.key)) == state, state)

    def test_an_error_handler_inside_and_an_exception_after_it(self):
        async def fails(error):
            async def app(given, receive, send):
                await answer(send, 500, b"sorry")
                raise error
            return app
        for error, state in ((RuntimeError("no"), "LAPSED"), (idem.DidNothing(), None)):
            with self.subTest(repr(error)):
                app = asyncio.run(fails(error))
                self.setUp()
                if state:
                    with self.assertRaises(RuntimeError):
                        self.call(app)
                else:
                    sent = self.call(app)
                    self.assertEqual((sent[0]["status"], b"did-nothing" in sent[1]["body"]), (503, True))
                self.assertEqual(self.state(record(self.key)), state)

    def test_an_application_without_an_answer_is_unsure(self):
        async def app(given, receive, send):
            return None
        self.assertEqual(self.call(app), [])
        self.assertEqual(self.state(record(self.key)), "LAPSED")

    def test_files_by_the_kernel_are_switched_off(self):
        seen = []

        async def app(given, receive, send):
            seen.append(sorted(given["extensions"]))
            await answer(send)
        extensions = {"http.response.pathsend": {}, "http.response.zerocopysend": {}, "http.response.trailers": {}}
        self.call(app, scope(self.key, extensions=extensions))
        self.assertEqual(seen, [["http.response.trailers"]])

    def test_early_hints_and_trailers_pass_and_are_not_stored(self):
        for status in (500, 200):
            self.setUp()

            async def app(given, receive, send):
                await send({"type": "http.response.early_hint", "links": [b"</a>"]})
                await send({"type": "http.response.start", "status": status, "headers": [], "trailers": True})
                await send({"type": "http.response.body", "body": b"done"})
                await send({"type": "http.response.trailers", "headers": [(b"x-t", b"1")]})
            with self.subTest(status):
                kinds = [message["type"].rpartition(".")[2] for message in self.call(app)]
                self.assertEqual(kinds, ["early_hint", "start", "body", "trailers"])
        sent = self.call(app)
        self.assertEqual([message["type"].rpartition(".")[2] for message in sent], ["start", "body"])
        self.assertFalse(sent[0].get("trailers"))

    def test_the_client_is_never_seen_to_leave(self):
        async def app(given, receive, send):
            await receive()
            waiting = asyncio.ensure_future(receive())
            done, _ = await asyncio.wait({waiting}, timeout=0.05)
            self.assertFalse(done)
            await answer(send)
            self.assertEqual((await waiting)["type"], "http.disconnect")  # its end
        self.call(app)

    def test_an_application_that_is_wrapped_from_outside_has_settings_of_its_routes(self):
        from idem.asgi import idempotent
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        @idempotent(required=True)
        async def view(request):
            return PlainTextResponse("it runs")
        app = Starlette(routes=[Route("/a", view, methods=["POST"])])
        sent = self.call(app, scope(self.key, headers=[]))
        self.assertEqual(sent[0]["status"], 400)

    def test_tasks_in_the_background_run_after_what_is_stored(self):
        from starlette.applications import Starlette
        from starlette.background import BackgroundTask
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route
        seen = []

        async def view(request):
            return PlainTextResponse("done", background=BackgroundTask(lambda: seen.append(self.state(record(self.key)))))
        app = Starlette(routes=[Route("/a", view, methods=["POST"])])
        for _ in range(2):
            self.assertEqual(self.call(app)[1]["body"], b"done")
        self.assertEqual(seen, ["DONE"])

    def test_the_application_has_its_lifespan_and_its_websockets(self):
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.routing import WebSocketRoute
        from starlette.testclient import TestClient
        began = []

        async def echo(socket):
            await socket.accept()
            await socket.send_text(await socket.receive_text())
            await socket.close()
        for wrapped in (True, False):
            routes, start = [WebSocketRoute("/a", echo)], [lambda: began.append(True)]
            app = (Idempotency(Starlette(routes=routes, on_startup=start), url=self.url) if wrapped else
                   Starlette(routes=routes, on_startup=start, middleware=[Middleware(Idempotency, url=self.url)]))
            with TestClient(app) as client, client.websocket_connect("/a", headers={"Idempotency-Key": self.key}) as socket:
                socket.send_text("hello")
                self.assertEqual(socket.receive_text(), "hello")
        self.assertEqual(began, [True, True])

    def routed(self, wrap, path="/a", **rest):
        """The status of a request without a key to a view that requires one, in an application that `wrap` makes of it."""
        from idem.asgi import idempotent
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        @idempotent(required=True)
        async def view(request):
            return PlainTextResponse("it runs")
        given = scope(self.key, **{"headers": [], "path": path, **rest})
        return self.call(None, given, middleware=wrap(Route("/a", view, methods=["POST"])))[0]["status"]

    def test_settings_of_a_route_are_found_wherever_it_is(self):
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware
        from starlette.middleware.gzip import GZipMiddleware
        from starlette.routing import Host, Mount, Router

        async def dispatch(request, call_next):
            return await call_next(request)

        def around(app):
            return Idempotency(app, url=self.url)
        inside = Middleware(Idempotency, url=self.url)
        for name, wrap, path in (
                ("other middleware between", lambda it: around(GZipMiddleware(GZipMiddleware(Starlette(routes=[it])))), "/a"),
                ("a base class between", lambda it: around(BaseHTTPMiddleware(Starlette(routes=[it]), dispatch)), "/a"),
                ("inside of the application", lambda it: Starlette(routes=[it], middleware=[
                    inside, Middleware(BaseHTTPMiddleware, dispatch=dispatch), Middleware(GZipMiddleware)]), "/a"),
                ("a mount of routes", lambda it: around(Starlette(routes=[Mount("/m", routes=[it])])), "/m/a"),
                ("a mount of an application", lambda it: around(Starlette(routes=[Mount("/m", Starlette(routes=[it]))])),
                 "/m/a"),
                ("a mount of one in a middleware", lambda it: around(Starlette(routes=[
                    Mount("/m", GZipMiddleware(Starlette(routes=[it])))])), "/m/a"),
                ("two mounts", lambda it: around(Starlette(routes=[Mount("/m", Router([Mount("/n", Router([it]))]))])), "/m/n/a"),
                ("a host", lambda it: around(Starlette(routes=[Host("h", Router([it]))])), "/a"),
                ("itself in a mount", lambda it: Starlette(routes=[Mount("/m", around(Starlette(routes=[it])))]), "/m/a"),
                ("itself in the route", lambda it: Starlette(routes=[self.with_app(it, around)]), "/a")):
            with self.subTest(name):
                self.assertEqual(self.routed(wrap, path, headers=[(b"host", b"h")]), 400)

    @staticmethod
    def with_app(route, around):
        route.app = around(route.app)
        return route

    def test_settings_of_a_method_are_found(self):
        from idem.asgi import idempotent
        from starlette.applications import Starlette
        from starlette.endpoints import HTTPEndpoint
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        class View(HTTPEndpoint):
            @idempotent(required=True)
            async def post(self, request):
                return PlainTextResponse("it runs")

            async def patch(self, request):
                return PlainTextResponse("it runs")
        app = Idempotency(Starlette(routes=[Route("/a", View)]), url=self.url)
        for method, status in (("POST", 400), ("PATCH", 200)):
            sent = self.call(None, scope(self.key, headers=[], method=method), middleware=app)
            self.assertEqual(sent[0]["status"], status)

    METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

    def statuses(self, app):
        """Of a request with each method, without a key."""
        return [self.call(None, scope(self.key, headers=[], method=method), middleware=app)[0]["status"]
                for method in self.METHODS]

    def test_every_method_of_a_view_with_settings_is_answered(self):
        import fastapi
        from idem.asgi import idempotent
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Mount, Route

        @idempotent(required=True)
        async def view(request: fastapi.Request):
            return PlainTextResponse("it runs")

        def of_starlette(methods, inner=Starlette):
            return inner(routes=[Route("/a", view, methods=methods)])

        def of_fastapi(methods):
            app = fastapi.FastAPI()
            app.api_route("/a", methods=methods)(view)
            return app

        def of_a_mount(methods):
            return Starlette(routes=[Mount("", of_starlette(methods))])
        for made in (of_starlette, of_fastapi, of_a_mount):
            for wrapped in (True, False):
                with self.subTest(made=made.__name__, wrapped=wrapped):
                    apps = [made(["POST"]), made(["GET", "POST"])]
                    if wrapped:
                        apps = [Idempotency(app, url=self.url) for app in apps]
                    else:
                        for app in apps:
                            app.add_middleware(Idempotency, url=self.url)
                    self.assertEqual(self.statuses(apps[0]), [405, 405, 405, 400, 405, 405, 405])
                    head = 405 if made is of_fastapi else 200  # FastAPI adds none
                    self.assertEqual(self.statuses(apps[1]), [200, head, 405, 400, 405, 405, 405])

    def test_another_view_may_have_the_other_method(self):
        from idem.asgi import idempotent
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        @idempotent(required=True)
        async def post(request):
            return PlainTextResponse("it runs")

        @idempotent(body_limit=0)
        async def patch(request):
            return PlainTextResponse("it runs")
        app = Idempotency(Starlette(routes=[Route("/a", post, methods=["POST"]), Route("/a", patch, methods=["PATCH"])]),
                          url=self.url)
        self.assertEqual(self.statuses(app), [405, 405, 405, 400, 405, 200, 405])

    def test_a_server_without_a_state(self):
        async def app(given, receive, send):
            self.assertIsNone(given["state"]["idempotency"])
            await answer(send)
        for method in ("GET", "POST"):
            sent = self.call(app, scope(self.key, headers=[], method=method, state=None))
            self.assertEqual(sent[0]["status"], 200)

    def test_middleware_outside_sees_what_is_set_inside(self):
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        async def view(request):
            request.state.seen = "inside"
            return PlainTextResponse("done")
        app = Starlette(routes=[Route("/{name}", view, methods=["GET", "POST"])])
        for method in ("GET", "POST"):
            extensions = {"http.response.pathsend": {}}
            given = scope(self.key, method=method, state={"began": 1}, extensions=extensions)
            state = given["state"]
            self.call(app, given)
            self.assertEqual((state["seen"], state["began"], given["endpoint"], given["path_params"], given["extensions"]),
                             ("inside", 1, view, {"name": "a"}, extensions))

    def test_settings_of_a_router_of_fastapi_are_found(self):
        import fastapi
        from idem.asgi import idempotent
        ran = []

        def view():
            ran.append(True)

        def made(wrap):
            router, app, inner = fastapi.APIRouter(), fastapi.FastAPI(), fastapi.FastAPI()
            router.post("/a", status_code=201)(idempotent(required=True)(view))
            app.include_router(router, prefix="/v1")
            inner.include_router(router)
            app.mount("/sub", inner)
            if wrap:
                return Idempotency(app, url=self.url)
            app.add_middleware(Idempotency, url=self.url)
            return app
        for wrap in (True, False):
            for path in ("/v1/a", "/sub/a"):
                app = made(wrap)
                self.assertEqual(self.call(None, scope(self.key, headers=[], path=path), middleware=app)[0]["status"], 400)
                self.assertEqual(ran, [])

    def test_settings_that_were_not_found_are_an_error_and_the_view_does_not_run(self):
        from idem.asgi import idempotent
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route
        ran = []

        @idempotent(hold=True)
        async def view(request):
            ran.append(True)
            return PlainTextResponse("it runs")
        app = Starlette(routes=[Route("/a", view, methods=["POST"])])

        async def hidden(given, receive, send):
            await app(given, receive, send)

        async def rewritten(given, receive, send):
            given["path"] = "/a"
            await app(given, receive, send)
        for inner, given in ((hidden, scope(self.key)), (hidden, scope(self.key, headers=[])),
                             (rewritten, scope(self.key, path="/b"))):
            with self.assertRaisesRegex(RuntimeError, "idempotent.*view"):
                self.call(None, given, middleware=Idempotency(inner, url=self.url))
            self.assertEqual((ran, self.state(record(self.key))), ([], None))

    def begun(self, user):
        """Whose key it is, as the record's key says."""
        async def app(given, receive, send):
            await answer(send)
        before = set(self.records())
        self.call(app, scope(self.key, user=user))
        return set(self.records()) - before

    def test_whose_key_it_is_is_a_text_or_a_number(self):
        import types
        import uuid

        def user(**attributes):
            return types.SimpleNamespace(**attributes)
        for one, other in ((user(identity="a"), user(identity="b")), (user(pk=1), user(pk=2)), ("a", "b"), (1, 2),
                           (user(id=uuid.UUID(int=1)), user(id=uuid.UUID(int=2))),
                           (user(identity="", username="a"), user(identity="", username="b"))):
            self.setUp()
            with self.subTest(one):
                self.assertEqual([len(self.begun(each)) for each in (one, one, other, other)], [1, 0, 1, 0])

    def test_an_identity_that_is_none_is_an_error_and_nothing_runs(self):
        import types
        for user in (types.SimpleNamespace(identity=object()), types.SimpleNamespace(id=b"1"), types.SimpleNamespace(pk=True),
                     types.SimpleNamespace(display_name="John Smith"), types.SimpleNamespace(identity=""), object(),
                     {"id": 5}, types.SimpleNamespace(id={"id": 5})):
            with self.subTest(user), self.assertRaisesRegex(TypeError, "scope"):
                self.begun(user)
        self.assertEqual(self.begun(types.SimpleNamespace(is_authenticated=False, identity=object())).__len__(), 1)

    def test_two_of_it_claim_once(self):
        seen = []

        async def app(given, receive, send):
            seen.append(given["state"]["idempotency"].attempt)
            await answer(send)
        inner = Idempotency(app, url=self.url)
        self.call(None, middleware=Idempotency(inner, url=self.url))
        self.assertEqual(seen, [1])

    def ready(self):
        """A guard, two CLAIMs of one key, and what asks from a loop."""
        from idem.asgi import view_of
        from idem.loop import Asker, Threads
        guard = Idempotency(None, url=self.url, wait_ms=60_000, lease_ms=60_000).guard
        return guard, [guard.plan(view_of(scope(self.key)), self.key, b"x") for _ in range(2)], Asker(Threads())

    def test_a_grant_that_came_as_its_client_left_is_given_back(self):
        import idem.loop
        guard, (first, second), asker = self.ready()
        granted = []

        class Granted(idem.loop.AsyncIdem):
            """Its answer is on the way to who waits."""
            async def wait_to_claim(self, words, wait_ms):
                granted.append(await super().wait_to_claim(words, wait_ms))
                told.set()
                await asyncio.Event().wait()

        async def main(left):
            waiting = asyncio.ensure_future(asker.ask(guard, second, left))
            while not self.ask("INSPECT", first.record)[19]:
                await asyncio.sleep(0)
            claim.did_nothing()
            guard.raised(claim, None)
            if left is None:
                await told.wait()
                waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        original, idem.loop.AsyncIdem = idem.loop.AsyncIdem, Granted
        self.addCleanup(setattr, idem.loop, "AsyncIdem", original)
        for left in (None, lambda: told.wait()):
            told = asyncio.Event()
            claim = guard.begin(first, guard.ask_now(first))
            asyncio.run(main(left))
            self.assertEqual(type(granted.pop()).__name__, "Claimed")
            self.await_state(None)

    def test_who_is_cancelled_again_and_again_gives_back_too(self):
        """As in a cancel scope of anyio."""
        import idem.loop
        guard, (first, second), asker = self.ready()
        granted = []

        class Granted(idem.loop.AsyncIdem):
            """Its answer comes although it is cancelled."""
            async def wait_to_claim(self, words, wait_ms):
                waiting = asyncio.ensure_future(super().wait_to_claim(words, wait_ms))
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(waiting)
                claim.did_nothing()
                await asyncio.to_thread(guard.raised, claim, None)
                granted.append(await waiting)
                return granted[0]

        async def main():
            waiting = asyncio.ensure_future(asker.ask(guard, second, None))
            while not self.ask("INSPECT", first.record)[19]:
                await asyncio.sleep(0)
            while not waiting.done():
                waiting.cancel()
                await asyncio.sleep(0)
            import harness
            await asyncio.to_thread(harness.eventually, lambda: granted, "it is granted")
            await asyncio.to_thread(self.await_state, None)
        original, idem.loop.AsyncIdem = idem.loop.AsyncIdem, Granted
        self.addCleanup(setattr, idem.loop, "AsyncIdem", original)
        claim = guard.begin(first, guard.ask_now(first))
        asyncio.run(main())
        self.assertEqual(type(granted[0]).__name__, "Claimed")

    def test_a_grant_whose_answer_was_lost_as_its_client_left_is_given_back(self):
        import threading
        guard, (plan, _), asker = self.ready()
        asked, go_on = threading.Event(), threading.Event()
        ask_now = guard.ask_now

        def lost(plan):
            ask_now(plan)
            asked.set()
            go_on.wait(60)
            return idem.Unavailable("its answer was lost")
        guard.ask_now = lost

        async def main():
            task = asyncio.ensure_future(asker.ask(guard, plan))
            await asyncio.to_thread(asked.wait, 60)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.assertEqual(self.state(plan.record), "HELD")
            go_on.set()
            await asyncio.to_thread(self.await_state, None)
        asyncio.run(main())
