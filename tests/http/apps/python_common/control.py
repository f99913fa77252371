"""What the test applications in Python share: the environment, and how a handler asks what it is to do.

tests/http/README.md is the contract. Knows no framework.
"""
import _thread
import asyncio
import base64
import hashlib
import json
import os
import signal
import socket
import sys
import threading

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))
# An adapter under test may be elsewhere: a mutant of it.
sys.path.insert(0, os.environ.get("IDEM_TEST_PACKAGE", os.path.join(ROOT, "client", "python")))

HOST, PORT = os.environ["IDEM_TEST_CONTROL"].split(":")
ADDRESS = (HOST, int(PORT))
LISTEN_PORT = int(os.environ.get("IDEM_TEST_PORT", "0"))
REFUSED_USER = "mallory"


# ---- settings ----

def tell_event(name, fields):
    with socket.create_connection(ADDRESS) as control:
        control.sendall(json.dumps({"event": name, "fields": fields}).encode() + b"\n")


def raise_at_event(_name, _fields):
    raise RuntimeError("an event that raises")


def settings(header):
    """header(request, name) -> value or None, for the functions."""
    given = json.loads(os.environ.get("IDEM_TEST_SETTINGS", "{}"))
    functions = {
        ("scope", "tenant"): lambda request: header(request, "X-Tenant"),
        ("scope", "none"): lambda request: None,
        ("operation", "fixed"): lambda request: ("POST", "/fixed"),
        ("skip", "header"): lambda request: header(request, "X-Skip") is not None,
        ("keep", "2xx"): lambda status: 200 <= status < 300,
        ("born", "callable"): lambda request: born(header(request, "X-Birth")),
        ("on_event", "control"): tell_event,
        ("on_event", "raise"): raise_at_event,
    }
    return {name: functions.get((name, value), value) if isinstance(value, str) else value
            for name, value in given.items()}


def born(value):
    return None if value is None else int(value)


ROUTES = {"/required": {"required": True}, "/tight": {"body_limit": 1000, "request_limit": 2000}}


# ---- a request, as the suite is told of it ----

def described(method, path, query, user, claim, body=None, form=None, files=None, parsed=None):
    return {"pid": os.getpid(), "method": method, "path": path, "query": query, "user": user,
            "body": None if body is None else base64.b64encode(body).decode(),
            "form": form, "files": files, "json": parsed, "claim": look(claim)}


def look(claim):
    if claim is None:
        return None
    return {"token": claim.token, "attempt": claim.attempt, "stage": claim.stage, "lost": claim.lost}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def headers_of(order):
    return [(name, value) for name, value in order.get("headers", [])]


def body_of(order):
    return base64.b64decode(order.get("body") or "")


class Broken(Exception):
    """What no framework knows."""


# ---- the control connection ----

class Control:
    """One execution of a handler that may block."""

    def __init__(self, about):
        self._socket = socket.create_connection(ADDRESS)
        self._lines = self._socket.makefile("rb")
        self.tell(about)

    def tell(self, value):
        self._socket.sendall(json.dumps(value).encode() + b"\n")

    def order(self):
        line = self._lines.readline()
        if not line:
            raise Broken("the suite has hung up")
        return json.loads(line)

    def last_order(self, claim):
        """Does what can be done without an answer, and returns the first order that makes one."""
        while True:
            order = self.order()
            if order["do"] not in STEPS:
                return order
            try:
                STEPS[order["do"]](claim, order)
                self.tell({"claim": look(claim)})
            except Exception as error:
                self.tell({"error": f"{type(error).__name__}: {error}"})

    def pieces(self):
        while True:
            order = self.order()
            if order["do"] == "end":
                return
            if order["do"] == "fail":
                raise Broken("the suite asked for it")
            yield body_of(order)


def wait_blocking(milliseconds):
    threading.Event().wait(milliseconds / 1000)


STEPS = {
    "look": lambda claim, order: None,
    "stage": lambda claim, order: claim.set_stage(order["text"]),
    "keep": lambda claim, order: claim.keep(order["value"]),
    "did_nothing": lambda claim, order: claim.did_nothing(),
    "block": lambda claim, order: wait_blocking(order["ms"]),
}


class AsyncControl:
    """The same in an event loop."""

    async def open(self, about):
        self._reader, self._writer = await asyncio.open_connection(*ADDRESS, limit=64 * 1024 * 1024)
        await self.tell(about)
        return self

    async def tell(self, value):
        self._writer.write(json.dumps(value).encode() + b"\n")
        await self._writer.drain()

    async def order(self):
        line = await self._reader.readline()
        if not line:
            raise Broken("the suite has hung up")
        return json.loads(line)

    async def last_order(self, claim):
        while True:
            order = await self.order()
            if order["do"] not in STEPS:
                return order
            try:
                done = STEPS[order["do"]](claim, order)
                if done is not None:
                    await done
                await self.tell({"claim": look(claim)})
            except Exception as error:
                await self.tell({"error": f"{type(error).__name__}: {error}"})

    async def pieces(self):
        while True:
            order = await self.order()
            if order["do"] == "end":
                return
            if order["do"] == "fail":
                raise Broken("the suite asked for it")
            yield body_of(order)


# ---- what stands outside, and the server ----

class Count:
    def __init__(self):
        self._count, self._lock = 0, threading.Lock()

    def next(self):
        with self._lock:
            self._count += 1
            return self._count


def outer(app):
    """WSGI: X-Outer, CORS."""
    count = Count()

    def application(environ, start_response):
        def start(status, headers, exc_info=None):
            headers = [*headers, ("X-Outer", str(count.next()))]
            if "HTTP_ORIGIN" in environ:
                headers.append(("Access-Control-Allow-Origin", environ["HTTP_ORIGIN"]))
            return start_response(status, headers, exc_info)
        return app(environ, start)
    return application


def end_with_stdin():
    def wait():
        while os.read(0, 1):  # not sys.stdin, whose lock the end of the interpreter wants
            continue
        os._exit(0)
    # A thread of the system, also where gevent has replaced them.
    gevent = sys.modules.get("gevent.monkey")
    (gevent.get_original("_thread", "start_new_thread") if gevent else _thread.start_new_thread)(wait, ())


def serve_wsgi(app, close):
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, kind, message, *args):
            if kind == "error":
                super().log(kind, message, *args)

    server = make_server("127.0.0.1", LISTEN_PORT, outer(app), threaded=True, request_handler=Quiet)
    server.daemon_threads = False  # so that closing it awaits what runs
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    end_with_stdin()
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
    server.server_close()
    close()


class AsgiOuter:
    """ASGI: X-Outer, CORS."""

    def __init__(self, app):
        self._app, self._count = app, Count()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        origin = dict(scope["headers"]).get(b"origin")

        async def counted(message):
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"x-outer", str(self._count.next()).encode())]
                if origin is not None:
                    headers.append((b"access-control-allow-origin", origin))
                message = {**message, "headers": headers}
            await send(message)
        await self._app(scope, receive, counted)


def serve_asgi(app, close):
    import uvicorn
    config = uvicorn.Config(AsgiOuter(app), host="127.0.0.1", port=LISTEN_PORT, log_level="warning",
                            lifespan="on")  # Starlette makes its middleware then: a refused setting ends the process
    listener = config.bind_socket()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            if not self.should_exit:
                print(f"listening on {listener.getsockname()[1]}", flush=True)

    server = Server(config)
    end_with_stdin()
    server.run(sockets=[listener])
    close()
    if not server.started:
        sys.exit(3)


def ends_with_reason(start):
    """A setting that is refused at start ends the process."""
    import logging
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    try:
        start()
    except ValueError as error:
        sys.exit(f"refused: {error}")
