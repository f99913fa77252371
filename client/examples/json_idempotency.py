"""A JSON endpoint that demands X-Idempotency-Key and keeps its successes for an hour.

    400  no key                           422  the key came before with another request
    409  the first one still runs after 10 s; Retry-After says when to ask again
    2xx  kept with status code and headers, replayed with Idempotent-Replayed: true
    else not kept: callers that wait for it get it too (one failure is not run fifty times over), and the next request with the
         key runs anew

A payment must not run twice. So when the view raises, answers 5xx or dies, the key is UNKNOWN (409) until somebody has looked: `hold`.
If that is false the next request runs, as attempt 2.

Settings are those of the package: FLASK_IDEMPOTENCY__ttl_ms=3600000, FLASK_IDEMPOTENCY__hold=true, ...

Run: /usr/bin/python3 json_idempotency.py   (IDEM_URL)
"""
import uuid

from flask import Flask, abort, request
from idem.flask import Idempotency
from werkzeug.exceptions import HTTPException


def create_payment():
    order = request.get_json()  # 400 by itself when the body is not JSON
    if not isinstance(order, dict) or not isinstance(order.get("amount"), int):
        abort(400, "amount must be an integer.")
    payment = str(uuid.uuid4())
    return {"payment": payment, "amount": order["amount"]}, 201, {"Location": f"/payments/{payment}"}


def as_problem(error):
    return {"title": error.name, "status": error.code, "detail": error.description}, error.code


def create_app(view=create_payment):
    app = Flask(__name__)
    app.config["IDEMPOTENCY"] = {"prefix": "json", "wait_ms": 10_000, "lease_ms": 30_000, "ttl_ms": 3_600_000, "hold": True}
    app.config.from_prefixed_env()
    Idempotency(app, header="X-Idempotency-Key", required=True, methods=["POST"], keep=lambda status: 200 <= status < 300)
    app.register_error_handler(HTTPException, as_problem)
    app.add_url_rule("/payments", "payments", view, methods=["POST"])
    return app


if __name__ == "__main__":
    create_app().run(port=5004, threaded=True)
