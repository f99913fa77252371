#!/usr/bin/python3
"""What the middleware in Python costs a request, beside the bare framework; and a thousand parallel duplicates.

usage: http_overhead.py [--framework NAME ...] [--requests N] [--rounds N] [--duplicates N]

Each framework is served by one process on loopback (gunicorn with threads, or uvicorn), bare and guarded in turn, and asked by one
client over one connection, one request after the other: with a new key each (claim, run, store), with the same key again
(replay), and without a key. A figure is the median over the rounds, in microseconds a request: of processor time of the application's
process, which a busy machine changes little, and of a round's median latency. The overhead is the difference to the bare
application. Needs what `make need-http` installs, and IDEM_SERVER (build/release/idem-server).
"""
import argparse
import asyncio
import collections
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "client", "python"), os.path.join(ROOT, "tests", "system")]
from certificates import free_port  # noqa: E402

FRAMEWORKS = ("flask", "django", "starlette", "fastapi")
BODY = b'{"item": "tea", "count": 1}'
ANSWER = b'{"order": 17}'
THREADS = 64


# ---- the applications (in a process of their own) ----

def ran():
    """One byte for each execution, in a file that all processes share."""
    path = os.environ.get("IDEM_BENCH_RUNS")
    if path:
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(file, b".")
        os.close(file)


def flask_app(settings):
    from flask import Flask, Response
    app = Flask(__name__)

    @app.post("/orders")
    def order():
        ran()
        return Response(ANSWER, 201, mimetype="application/json")
    if settings is not None:
        from idem.flask import Idempotency
        Idempotency(app, **settings)
    return app


def django_app(settings):
    import django
    from django.conf import settings as configured
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpResponse
    from django.urls import path

    def order(request):
        ran()
        return HttpResponse(ANSWER, status=201, content_type="application/json")
    urls = type(sys)("urls")
    urls.urlpatterns = [path("orders", order)]
    configured.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"], SECRET_KEY="x", IDEMPOTENCY=settings or {},
                         MIDDLEWARE=[] if settings is None else ["idem.django.Idempotency"])
    django.setup()
    return WSGIHandler()


def starlette_app(settings):
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def order(request):
        await request.body()
        ran()
        return Response(ANSWER, 201, media_type="application/json")
    app = Starlette(routes=[Route("/orders", order, methods=["POST"])])
    return guarded_asgi(app, settings)


def fastapi_app(settings):
    from fastapi import FastAPI, Request
    from fastapi.responses import Response
    app = FastAPI()

    @app.post("/orders")
    async def order(request: Request):
        await request.body()
        ran()
        return Response(ANSWER, 201, media_type="application/json")
    return guarded_asgi(app, settings)


def guarded_asgi(app, settings):
    if settings is not None:
        from idem.asgi import Idempotency
        app.add_middleware(Idempotency, **settings)
    return app


def serve(framework, guarded, port):
    settings = {"wait_ms": 10_000, "max_waiting": 1_000} if guarded else None
    app = {"flask": flask_app, "django": django_app, "starlette": starlette_app, "fastapi": fastapi_app}[framework](settings)
    if framework in ("starlette", "fastapi"):
        import uvicorn
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
        return
    from gunicorn.app.base import BaseApplication

    class Standalone(BaseApplication):
        def load_config(self):
            for name, value in {"bind": f"127.0.0.1:{port}", "worker_class": "gthread", "threads": THREADS,
                                "loglevel": "error", "keepalive": 30}.items():
                self.cfg.set(name, value)

        def load(self):
            return app
    Standalone().run()


# ---- the client ----

class Served:
    """A process that serves an application."""

    def __init__(self, framework, guarded, url, runs=None):
        self.port = free_port()
        environment = {**os.environ, "IDEM_URL": url}
        if runs:
            environment["IDEM_BENCH_RUNS"] = runs
        self._process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--serve", framework,
                                          "guarded" if guarded else "bare", str(self.port)], env=environment)

    def __enter__(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise SystemExit("the application did not start")

    @property
    def pid(self):
        return self._process.pid

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()


def threads_of(pid):
    """Its own and those of its children (gunicorn's workers)."""
    for task in os.listdir(f"/proc/{pid}/task"):
        yield f"/proc/{pid}/task/{task}"
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            for child in file.read().split():
                yield from threads_of(child)


def processor_us(pid):
    """So far. The first figure of schedstat is nanoseconds."""
    total = 0
    for task in threads_of(pid):
        with open(task + "/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1000


def request(key):
    header = f"Idempotency-Key: {key}\r\n" if key else ""
    return (f"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{header}"
            f"Content-Length: {len(BODY)}\r\n\r\n").encode() + BODY


def round_of(served, keys):
    """(processor time, median latency) of a request."""
    took = []
    before = processor_us(served.pid)
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for key in keys:
            data = request(key)
            began = time.perf_counter()
            connection.sendall(data)
            answer = b""
            while not answer.endswith((ANSWER, ANSWER + b"\r\n0\r\n\r\n")) or (
                    b"chunked" in answer.partition(b"\r\n\r\n")[0] and not answer.endswith(b"0\r\n\r\n")):
                more = connection.recv(65536)
                if not more:
                    raise SystemExit(f"the connection was closed: {answer}")
                answer += more
            took.append((time.perf_counter() - began) * 1e6)
            if not answer.startswith(b"HTTP/1.1 201"):
                raise SystemExit(f"not a 201: {answer}")
    return (processor_us(served.pid) - before) / len(took), statistics.median(took)


def new_keys(count):
    return [uuid.uuid4().hex for _ in range(count)]


def measure(framework, url, requests, rounds):
    figures = collections.defaultdict(list)
    with Served(framework, False, url) as bare, Served(framework, True, url) as guarded:
        for served in (bare, guarded):
            round_of(served, new_keys(100))
        for _ in range(rounds):
            same = new_keys(1)
            round_of(guarded, same)
            figures["bare"].append(round_of(bare, new_keys(requests)))
            figures["without a key"].append(round_of(guarded, [None] * requests))
            figures["new key"].append(round_of(guarded, new_keys(requests)))
            figures["replay"].append(round_of(guarded, same * requests))
    return {name: [statistics.median(column) for column in zip(*values)] for name, values in figures.items()}


async def duplicates(ports, count):
    """(seconds, how many of each status line, how many were marked as replays)"""
    key, statuses, replayed = uuid.uuid4().hex, collections.Counter(), 0

    async def one(port):
        nonlocal replayed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(key).replace(b"Host: a", b"Host: a\r\nConnection: close"))
        answer = await reader.read()
        writer.close()
        statuses[int(answer.split()[1])] += 1
        replayed += b"idempotent-replayed: true" in answer.lower()
    began = time.perf_counter()
    await asyncio.gather(*(one(ports[number % len(ports)]) for number in range(count)))
    return time.perf_counter() - began, statuses, replayed


def in_parallel(framework, url, count):
    with tempfile.NamedTemporaryFile(prefix="idem-runs-") as runs, \
            Served(framework, True, url, runs.name) as one, Served(framework, True, url, runs.name) as two:
        took, statuses, replayed = asyncio.run(duplicates([one.port, two.port], count))
        return took, statuses, replayed, len(runs.read())


def main():
    if sys.argv[1:2] == ["--serve"]:
        return serve(sys.argv[2], sys.argv[3] == "guarded", int(sys.argv[4]))
    parser = argparse.ArgumentParser()
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duplicates", type=int, default=1_000)
    given = parser.parse_args()
    import harness
    harness.raise_nofile()
    bad = 0
    with harness.Server() as server:
        url = "redis://127.0.0.1:%d" % server.address[1]
        print("| framework | figure | bare (µs) | without a key | claim + store | replay |\n"
              "| --- | --- | --- | --- | --- | --- |")
        for framework in given.framework or FRAMEWORKS:
            took = measure(framework, url, given.requests, given.rounds)
            for column, figure in enumerate(("processor", "latency")):
                bare = took["bare"][column]
                added = [f"{took[name][column] - bare:+.0f}" for name in ("without a key", "new key", "replay")]
                print(f"| {framework} | {figure} | {bare:.0f} | " + " | ".join(added) + " |", flush=True)
        for framework in given.framework or FRAMEWORKS:
            took, statuses, replayed, runs = in_parallel(framework, url, given.duplicates)
            print(f"{framework}: {given.duplicates} parallel duplicates to two processes: {runs} execution, {replayed} replays, "
                  f"statuses {dict(statuses)}, {took:.2f} s", flush=True)
            bad += runs != 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
