"""A form that may be submitted twice, with the interface of Flask-Idempotent.

`{{ idempotent_input() }}` puts a fresh key into the form.  The first submission with that key runs the
view; every later one gets its response, and waits for it if necessary.  The key may also
come as an argument of the same name or as the header X-Idempotent-Key.  Unlike there, the
same key with other fields is a 422, not the response to another order.

    IDEMPOTENT_EXPIRE   240   seconds for which the response is kept
    IDEMPOTENT_TIMEOUT   60   seconds for which a later submitter waits for the first; then 408
    IDEMPOTENT_LEASE     30   seconds after which a submitter that died is replaced; longer than the
                              view ever takes (guard_409.py renews instead)

Run: /usr/bin/python3 form_double_submit.py   (FLASK_IDEM_URL, FLASK_IDEMPOTENT_EXPIRE, ...)
"""
import uuid

from flask import render_template_string, request
from markupsafe import Markup, escape

from idem_flask import IdempotentFlask, Policy, Refused, accepted, in_form, key_in_header
from idem_http import checked_key

FIELD = "__idempotent_key"
PAGE = """<!doctype html>
<title>Order</title>
<form method="post" action="/order">
  {{ idempotent_input() }}
  <label>Item <input name="item" value="tea"></label>
  <button>Order</button>
</form>
"""


def idempotent_key():
    return uuid.uuid4().hex


def idempotent_input():
    return Markup('<input type="hidden" name="%s" value="%s">') % (FIELD, idempotent_key())


def find_key():
    if request.method in ("HEAD", "OPTIONS"):  # their empty answers must not be a GET's replay
        return None
    in_header = key_in_header("X-Idempotent-Key")
    keys = in_form(FIELD) + request.args.getlist(FIELD)
    if len(keys) + (in_header is not None) > 1:
        raise Refused(400, "There is more than one idempotency key.")
    return accepted(checked_key, FIELD, keys[0]) if keys else in_header


def show_form():
    return render_template_string(PAGE)


def place_order():
    item = escape(request.form.get("item", "nothing"))
    return f"Order {uuid.uuid4()} placed: {item}\n", 201


def make_form_app(import_name, view, defaults):
    app = IdempotentFlask(import_name)
    app.config.from_mapping(IDEM_URL="redis://127.0.0.1:4336", **defaults)
    app.config.from_prefixed_env()
    app.guard(Policy(
        name="form", find_key=find_key, key_field=FIELD, when_busy=408,
        ttl_s=app.config["IDEMPOTENT_EXPIRE"], lease_s=app.config["IDEMPOTENT_LEASE"],
        wait_s=app.config["IDEMPOTENT_TIMEOUT"]))
    app.add_template_global(idempotent_key)
    app.add_template_global(idempotent_input)
    app.add_url_rule("/", view_func=show_form)
    app.add_url_rule("/order", "order", view, methods=["GET", "POST"])
    return app


def create_app(view=place_order):
    return make_form_app(__name__, view, dict(
        IDEMPOTENT_EXPIRE=240, IDEMPOTENT_TIMEOUT=60, IDEMPOTENT_LEASE=30))


if __name__ == "__main__":
    create_app().run(port=5001, threaded=True)
