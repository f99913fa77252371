"""A form that may be submitted twice, as an application of Flask-Idempotent has it. It runs on idem unchanged.

`{{ idempotent_input() }}` puts a fresh key into the form. The first submission with that key runs the view; every later one gets
its response, and waits for it if necessary. The key may also come as an argument of the same name or as the header
X-Idempotent-Key.

    IDEMPOTENT_EXPIRE   240   seconds for which the response is kept
    IDEMPOTENT_TIMEOUT   60   seconds for which a later submission waits for the first; then 408

Run: /usr/bin/python3 form_double_submit.py   (IDEM_URL, FLASK_IDEMPOTENT_EXPIRE, ...)
"""
import uuid

from flask import Flask, render_template_string, request
from flask_idempotent import Idempotent
from markupsafe import escape

PAGE = """<!doctype html>
<title>Order</title>
<form method="post" action="/order">
  {{ idempotent_input() }}
  <label>Item <input name="item" value="tea"></label>
  <button>Order</button>
</form>
"""


def show_form():
    return render_template_string(PAGE)


def place_order():
    item = escape(request.form.get("item", "nothing"))
    return f"Order {uuid.uuid4()} placed: {item}\n", 201


def create_app(view=place_order, **config):
    app = Flask(__name__)
    app.config.update(config)
    app.config.from_prefixed_env()
    Idempotent(app)
    app.add_url_rule("/", view_func=show_form)
    app.add_url_rule("/order", "order", view, methods=["GET", "POST"])
    return app


if __name__ == "__main__":
    create_app().run(port=5001, threaded=True)
