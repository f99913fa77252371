"""The middleware for Django under WSGI and ASGI, through Django's own handlers: views of both kinds, streams, exceptions,
cancellation. Django here may be older than its asynchronous streams (4.2); a response that is one in all that this middleware
looks at stands for them."""
import asyncio
import types

import django
import harness
import idem
from django import conf  # not its settings: looking at them, as the loader of tests does, wants them configured
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from idem.django import idempotent
from shared_server import WithServer

ATTEMPTS, CONTROL = [], types.SimpleNamespace()


class AsyncStream(HttpResponse):
    """What Django 4.2 makes of an asynchronous iterator."""
    streaming = is_async = True

    def __init__(self, pieces):
        super().__init__(status=201)
        self.streaming_content = pieces

    def __iter__(self):
        raise AssertionError("it is not to be read without waiting")


class Unrendered(HttpResponse):
    @property
    def content(self):
        raise RuntimeError("it has to be rendered first")

    @content.setter
    def content(self, value):
        """Of its constructor."""


async def pieces(count, fails):
    if CONTROL.go_on is not None:
        CONTROL.running.set()
        await CONTROL.go_on.wait()
    for number in range(count):
        await asyncio.sleep(0)
        yield b"%d" % (number % 10)
    if fails:
        raise RuntimeError("in the stream")


def view(request, kind):
    ATTEMPTS.append(request.idempotency.attempt)
    if kind == "raise":
        raise RuntimeError("no")
    if kind == "nothing":
        raise idem.DidNothing()
    if kind == "unrendered":
        return Unrendered()
    if kind == "stream":
        return StreamingHttpResponse(iter([b"a", b"b"]), status=201)
    return HttpResponse(f"attempt {request.idempotency.attempt}", status=201)


async def async_view(request, kind):
    if kind == "wait":
        ATTEMPTS.append(request.idempotency.attempt)
        CONTROL.running.set()
        await CONTROL.go_on.wait()
        return HttpResponse("done", status=201)
    if kind in ("async-stream", "async-stream-fails", "long-async-stream", "long-async-stream-fails"):
        ATTEMPTS.append(request.idempotency.attempt)
        return AsyncStream(pieces(2000 if "long" in kind else 2, "fails" in kind))
    return view(request, kind)


async def unguarded(request):
    CONTROL.running.set()
    try:
        await CONTROL.go_on.wait()
    except asyncio.CancelledError:
        CONTROL.cancelled = True
        raise


@idempotent(required=True)
async def required(request):
    return HttpResponse("it runs")


urlpatterns = [path("sync/<kind>", view), path("async/<kind>", async_view), path("required", required),
               path("unguarded", unguarded)]


def configure(url):
    conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=["idem.django.Idempotency"],
                       DEBUG_PROPAGATE_EXCEPTIONS=False, LOGGING_CONFIG=None)
    django.setup()


class OnDjango(WithServer):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not conf.settings.configured:
            configure(cls.url)

    def setUp(self):
        super().setUp()
        del ATTEMPTS[:]
        CONTROL.running = CONTROL.go_on = None
        conf.settings.IDEMPOTENCY = {"url": self.url, "body_limit": 1000}

    async def exchange(self, handler, target, key):
        """(status, headers, body) of what the application sends."""
        sent, messages = [], [{"type": "http.request", "body": b"x", "more_body": False}]

        async def receive():
            return messages.pop(0) if messages else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)
        scope = {"type": "http", "method": "POST", "path": "/" + target, "query_string": b"", "http_version": "1.1",
                 "headers": [(b"host", b"h"), *([(b"idempotency-key", key.encode())] if key else [])],
                 "scheme": "http", "server": ("h", 80), "client": ("c", 1)}
        await handler(scope, receive, send)
        headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers, b"".join(message["body"] for message in sent[1:])

    def send(self, target, key=True):
        return asyncio.run(self.exchange(ASGIHandler(), target, self.key if key else None))

    def record(self):
        record, = [name for name in self.records() if name not in self.before]
        return record

    def twice(self, target):
        self.before = set(self.records())
        return self.send(target), self.send(target)

    def test_views_of_both_kinds_run_once(self):
        for kind in ("sync/answer", "async/answer", "sync/stream", "async/stream"):
            self.setUp()
            with self.subTest(kind):
                first, second = self.twice(kind)
                self.assertEqual((first[0], second[0], second[2]), (201, 201, first[2]))
                self.assertEqual((first[1].get("idempotent-replayed"), second[1].get("idempotent-replayed")), (None, "true"))
                self.assertEqual(ATTEMPTS, [1])

    def while_one_runs(self, meanwhile):
        """The answer to a request whose view awaits `meanwhile(handler)`, and what that gives."""
        async def main():
            CONTROL.running, CONTROL.go_on = asyncio.Event(), asyncio.Event()
            handler = ASGIHandler()
            first = asyncio.ensure_future(self.exchange(handler, "async/wait", self.key))
            await CONTROL.running.wait()
            found = await meanwhile(handler, first)
            return await asyncio.gather(first, return_exceptions=True), found
        return asyncio.run(main())

    def test_one_that_runs_does_not_stop_others(self):
        """As a synchronous middleware would: Django 3.2 has one thread for all of them."""
        async def another(handler, _first):
            answer = await asyncio.wait_for(self.exchange(handler, "async/answer", self.key + "2"), 5)
            CONTROL.go_on.set()
            return answer
        (first,), other = self.while_one_runs(another)
        self.assertEqual((first[0], other[0]), (201, 201))

    def test_many_that_wait_do_not_stop_the_one_that_runs(self):
        conf.settings.IDEMPOTENCY["wait_ms"] = 60_000

        async def duplicates(handler, _first):
            waiting = [asyncio.ensure_future(self.exchange(handler, "async/wait", self.key)) for _ in range(100)]
            await asyncio.to_thread(harness.eventually, lambda: self.waiters() == 100, "all wait")
            CONTROL.go_on.set()
            return await asyncio.wait_for(asyncio.gather(*waiting), 20)
        self.before = set(self.records())
        (first,), others = self.while_one_runs(duplicates)
        self.assertEqual({(reply[0], reply[2], reply[1]["idempotent-replayed"]) for reply in others}, {(201, first[2], "true")})
        self.assertEqual(ATTEMPTS, [1])

    def waiters(self):
        return self.ask("INSPECT", self.record())[19]

    def test_exceptions_are_unsure_but_did_nothing(self):
        for kind in ("sync", "async"):
            for end, status, attempts in (("raise", 500, [1, 2]), ("nothing", 503, [1, 1])):
                self.setUp()
                with self.subTest(kind + end):
                    replies = self.twice(f"{kind}/{end}")
                    self.assertEqual(([reply[0] for reply in replies], ATTEMPTS), ([status] * 2, attempts))

    def test_a_response_that_cannot_be_read_ends_its_claim(self):
        """As one that middleware inside has made and nobody has rendered."""
        for kind in ("sync", "async"):
            self.setUp()
            with self.subTest(kind):
                replies = self.twice(f"{kind}/unrendered")
                self.assertEqual(([reply[0] for reply in replies], ATTEMPTS), ([500, 500], [1, 2]))

    def test_settings_of_an_asynchronous_view_are_found(self):
        self.assertEqual(self.send("required", key=False)[0], 400)

    def test_an_asynchronous_stream_is_held_and_kept(self):
        first, second = self.twice("async/async-stream")
        self.assertEqual((first[0], first[2], second[0], second[2]), (201, b"01", 201, b"01"))
        self.assertEqual((second[1].get("idempotent-replayed"), ATTEMPTS), ("true", [1]))

    def test_an_asynchronous_stream_that_fails_is_a_500_and_unsure(self):
        replies = self.twice("async/async-stream-fails")
        self.assertEqual(([reply[0] for reply in replies], ATTEMPTS), ([500, 500], [1, 2]))

    def middleware(self, response):
        """The middleware around a view that gives this response, and a request as Django has it when the view runs."""
        async def get_response(request):
            self.assertIsNone(await around.process_view(request, get_response, (), {}))
            return await response(request) if callable(response) else response
        from django.core.handlers.asgi import ASGIRequest
        from io import BytesIO
        from idem.django import Idempotency
        around = Idempotency(get_response)
        self.addCleanup(around.close)
        scope = {"type": "http", "method": "POST", "path": "/a", "query_string": b"", "server": ("h", 80),
                 "headers": [(b"idempotency-key", self.key.encode())]}
        return around, ASGIRequest(scope, BytesIO(b"x"))

    def test_a_long_asynchronous_stream_flows_and_is_not_kept_when_it_has_ended(self):
        self.before = set(self.records())

        async def main():
            around, request = self.middleware(AsyncStream(pieces(2000, False)))
            response = await around(request)
            flow = response.streaming_content.__aiter__()
            first = await flow.__anext__()
            self.assertEqual((len(first), self.state(self.record())), (1001, "HELD"))
            return first + b"".join([piece async for piece in flow])
        self.assertEqual(len(asyncio.run(main())), 2000)
        self.assertEqual(self.state(self.record()), "DONE")
        self.assertEqual(self.send_same(), 410)

    def send_same(self):
        async def main():
            around, request = self.middleware(HttpResponse("again"))
            begun = await around.process_view(request, around._get_response, (), {})
            return begun.status_code
        return asyncio.run(main())

    def test_a_long_asynchronous_stream_that_fails_is_unsure(self):
        self.before = set(self.records())

        async def main():
            around, request = self.middleware(AsyncStream(pieces(2000, True)))
            response = await around(request)
            with self.assertRaises(RuntimeError):
                async for _ in response.streaming_content:
                    continue
        asyncio.run(main())
        self.assertEqual(self.state(self.record()), "LAPSED")

    def test_a_long_asynchronous_stream_goes_on_without_its_client(self):
        self.before = set(self.records())

        async def main():
            around, request = self.middleware(AsyncStream(pieces(2000, False)))
            flow = (await around(request)).streaming_content.__aiter__()
            await flow.__anext__()
            await flow.aclose()
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
        asyncio.run(main())
        self.assertEqual(self.state(self.record()), "DONE")

    def test_who_cancels_from_outside_does_not_end_the_work(self):
        """As Django does since 5.0 when its client has left."""
        self.before = set(self.records())

        async def leaves(handler, first):
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            CONTROL.go_on.set()
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
            return await self.exchange(handler, "async/wait", self.key)
        (first,), again = self.while_one_runs(leaves)
        self.assertIsInstance(first, asyncio.CancelledError)
        self.assertEqual((again[1].get("idempotent-replayed"), ATTEMPTS), ("true", [1]))

    def left_early(self, response, state):
        """The client leaves while the view runs; awaits what becomes of the record."""
        self.before = set(self.records())

        async def main():
            CONTROL.running, CONTROL.go_on = asyncio.Event(), asyncio.Event()
            around, request = self.middleware(response)
            made = asyncio.ensure_future(around(request))
            await CONTROL.running.wait()
            made.cancel()
            await asyncio.gather(made, return_exceptions=True)
            self.assertTrue(made.cancelled())
            CONTROL.go_on.set()
            await asyncio.to_thread(harness.eventually, lambda: self.state(self.record()) == state, state)
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
        asyncio.run(main())

    def test_a_long_stream_whose_client_left_before_it_goes_on(self):
        async def run(request):
            CONTROL.running.set()
            await CONTROL.go_on.wait()
            return StreamingHttpResponse(self.counted(given), status=201)
        for count, given in ((2000, [b"a"] * 2000), (3, [b"a" * 900] * 3)):
            self.setUp()
            self.read = 0
            self.left_early(run, "DONE")
            self.assertEqual((self.read, self.send_same()), (count, 410))

    def counted(self, given):
        for piece in given:
            self.read += 1
            yield piece

    def test_a_long_asynchronous_stream_whose_client_left_before_it_goes_on(self):
        for fails, state in ((False, "DONE"), (True, "LAPSED")):
            self.setUp()
            response, closed = AsyncStream(pieces(2000, fails)), []
            response._resource_closers.append(lambda: closed.append(True))
            self.left_early(response, state)
            self.assertEqual(closed, [True])

    def test_a_long_asynchronous_stream_that_nobody_begins_is_unsure(self):
        self.before = set(self.records())

        async def main():
            around, request = self.middleware(AsyncStream(pieces(2000, False)))
            (await around(request)).streaming_content.close()
        asyncio.run(main())
        self.assertEqual(self.state(self.record()), "LAPSED")

    def test_an_asynchronous_stream_that_fails_is_closed(self):
        response, closed = AsyncStream(pieces(2, True)), []
        response._resource_closers.append(lambda: closed.append(True))

        async def main():
            around, request = self.middleware(response)
            with self.assertRaises(RuntimeError):
                await around(request)
        asyncio.run(main())
        self.assertEqual(closed, [True])

    def test_a_view_that_cannot_have_a_key_is_cancelled_as_without_us(self):
        async def main():
            CONTROL.running, CONTROL.go_on, CONTROL.cancelled = asyncio.Event(), asyncio.Event(), False
            task = asyncio.ensure_future(self.exchange(ASGIHandler(), "unguarded", None))
            await CONTROL.running.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return CONTROL.cancelled
        self.assertTrue(asyncio.run(main()))

    def test_a_short_stream_keeps_what_the_view_has_told_other_middleware(self):
        async def main():
            response = StreamingHttpResponse(iter([b"a"]), status=201)
            response.xframe_options_exempt, response.file_to_stream = True, object()
            around, request = self.middleware(response)
            made = await around(request)
            self.assertEqual((made.status_code, made.content, made.streaming), (201, b"a", False))
            return made
        made = asyncio.run(main())
        self.assertTrue(getattr(made, "xframe_options_exempt", False))
        self.assertFalse(hasattr(made, "file_to_stream"))  # a server would send it
