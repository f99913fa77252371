"""A JSON endpoint that demands X-Idempotency-Key and caches its successes for an hour.

    400  no key                           422  the key came before with another request
    409  the first one still runs after JSON_WAIT; Retry-After says when to ask again
    2xx  kept with status code and headers for JSON_TTL, replayed with Idempotent-Replayed: true
    else not kept: callers that wait for it get it too (one failure is not run fifty times over), and
         the next request with the key runs anew

A payment must not run twice.  So when the view raises, answers 5xx or dies, the key is UNKNOWN
(409) until somebody has looked: JSON_HOLD.  If that is false the next request runs, as attempt 2.

    JSON_TTL  3600   JSON_WAIT  10   JSON_LEASE  30   (seconds)   JSON_HOLD  true

Run: /usr/bin/python3 json_idempotency.py   (FLASK_IDEM_URL, FLASK_JSON_TTL, ...)
"""
import uuid

from flask import abort, request

from idem_flask import IdempotentFlask, Policy, Refused, answer_errors_in_json, key_in_header


def find_key():
    if request.method != "POST":
        return None
    key = key_in_header("X-Idempotency-Key")
    if key is None:
        raise Refused(400, "The header X-Idempotency-Key is required.")
    return key


def create_payment():
    order = request.get_json()  # 400 by itself when the body is not JSON
    if not isinstance(order, dict) or not isinstance(order.get("amount"), int):
        abort(400, "amount must be an integer.")
    payment = str(uuid.uuid4())
    return ({"payment": payment, "amount": order["amount"]}, 201,
            {"Location": f"/payments/{payment}"})


def create_app(view=create_payment):
    app = IdempotentFlask(__name__)
    app.config.from_mapping(IDEM_URL="redis://127.0.0.1:4336", MAX_CONTENT_LENGTH=1024 * 1024,
                            JSON_TTL=3600, JSON_WAIT=10, JSON_LEASE=30, JSON_HOLD=True)
    app.config.from_prefixed_env()
    app.guard(Policy(
        name="json", find_key=find_key, keeps=lambda status: 200 <= status < 300,
        ttl_s=app.config["JSON_TTL"], lease_s=app.config["JSON_LEASE"],
        wait_s=app.config["JSON_WAIT"], hold=app.config["JSON_HOLD"]))
    answer_errors_in_json(app)
    app.add_url_rule("/payments", "payments", view, methods=["POST"])
    return app


if __name__ == "__main__":
    create_app().run(port=5004, threaded=True)
