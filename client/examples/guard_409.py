"""A guard before every POST, PUT, PATCH and DELETE that carries an Idempotency-Key.

A duplicate is not made to wait: 409 with Retry-After while the first one runs, its response afterwards, 422 when the key comes with
another request. The claim is renewed for as long as the view runs, so the lease can be short (a process that died is replaced
after it) although the view may take minutes. Requests without a key, and the safe methods, pass by.

Settings are those of the package: FLASK_IDEMPOTENCY__lease_ms=15000, FLASK_IDEMPOTENCY__ttl_ms=86400000, ...

Run: /usr/bin/python3 guard_409.py   (IDEM_URL)
"""
import uuid

from flask import Flask, g, request
from idem.flask import Idempotency

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def change_item(item):
    if request.method == "GET":
        return {"item": item}
    # A token only rises. A database that remembers the highest one it saw for this item can refuse the write of a process that was
    # paused past its lease; no lease can do that on its own.
    return {"item": item, "change": str(uuid.uuid4()), "fencing_token": g.idempotency.token if g.idempotency else None}


def create_app(view=change_item):
    app = Flask(__name__)
    app.config["IDEMPOTENCY"] = {"prefix": "guard"}
    app.config.from_prefixed_env()
    Idempotency(app, methods=UNSAFE)
    app.add_url_rule("/items/<item>", "item", view, methods=["GET", *UNSAFE])
    return app


if __name__ == "__main__":
    create_app().run(port=5003, threaded=True)
