"""One process of one example, with a view that the test controls.

    app_process.py MODULE LEDGER CONTROL_PORT

The view appends "start" to the ledger (a file that every process of a test shares), asks the test
over the control port what to do, appends "end" or "raised", and does it.  So the test knows that a
view is running without guessing a duration, and the ledger shows what really ran, even after kill -9.
The process ends when its stdin ends, so a killed test leaves no process.
"""
import base64
import importlib
import json
import os
import socket
import sys
import threading
import time

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
sys.path[:0] = [os.path.join(REPOSITORY, "client", "examples"), os.path.join(REPOSITORY, "client", "python")]

from flask import Response, g, session  # noqa: E402
from idem import DidNothing  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402


def make_view(ledger_path, control_port):
    ledger = os.open(ledger_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(event, about):
        line = json.dumps({"event": event, "t": time.monotonic(), **about}) + "\n"
        os.write(ledger, line.encode())  # one write to O_APPEND: lines of two processes never mix

    def view(**_arguments):
        claim = g.get("idempotency")
        about = {"pid": os.getpid(), "key": claim.key if claim else None,
                 "token": claim.token if claim else None,
                 "attempt": claim.attempt if claim else None}
        note("start", about)
        with socket.create_connection(("127.0.0.1", control_port)) as control:
            control.sendall(json.dumps(about).encode() + b"\n")
            order = json.loads(control.makefile().readline())
        if order.get("raise"):
            note("raised", about)
            raise (DidNothing if order["raise"] == "did nothing" else RuntimeError)(
                "the test asked for it")
        note("end", about)
        session["order"] = about["token"]  # so that the response has a session cookie
        response = Response(base64.b64decode(order["body"]), order["status"])
        for name, value in order["headers"]:
            response.headers.add(name, value)
        return response

    return view


def main(module, ledger_path, control_port):
    app = importlib.import_module(module).create_app(make_view(ledger_path, int(control_port)))
    app.config["SECRET_KEY"] = "the same in both processes, as sessions need it"
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
