"""A guard before every POST, PUT, PATCH and DELETE that carries an Idempotency-Key.

A duplicate is not made to wait: 409 with Retry-After while the first one runs, its response
afterwards, 422 when the key comes with another request.  The claim is renewed for as long as the
view runs, so the lease can be short (a process that died is replaced after it) although the view
may take minutes.  Requests without a key, and the safe methods, pass by.

    GUARD_LEASE   15   seconds after which a process that died is replaced
    GUARD_TTL  86400   seconds for which the response is kept

Run: /usr/bin/python3 guard_409.py   (FLASK_IDEM_URL, FLASK_GUARD_LEASE, ...)
"""
import uuid

from flask import g, request

from idem_flask import IdempotentFlask, Policy, answer_errors_in_json, key_in_header

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def find_key():
    return key_in_header("Idempotency-Key") if request.method in UNSAFE else None


def change_item(item):
    if request.method == "GET":
        return {"item": item}
    # A token only rises.  A database that remembers the highest one it saw for this item can refuse
    # the write of a process that was paused past its lease; no lease can do that on its own.
    return {"item": item, "change": str(uuid.uuid4()),
            "fencing_token": g.claim.token if "claim" in g else None}


def create_app(view=change_item):
    app = IdempotentFlask(__name__)
    app.config.from_mapping(IDEM_URL="redis://127.0.0.1:4336", GUARD_LEASE=15, GUARD_TTL=86400)
    app.config.from_prefixed_env()
    app.guard(Policy(
        name="guard", find_key=find_key, renew=True,
        lease_s=app.config["GUARD_LEASE"], ttl_s=app.config["GUARD_TTL"]))
    answer_errors_in_json(app)
    app.add_url_rule("/items/<item>", "item", view, methods=["GET", *UNSAFE])
    return app


if __name__ == "__main__":
    create_app().run(port=5003, threaded=True)
