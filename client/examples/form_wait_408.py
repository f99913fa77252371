"""The form of form_double_submit.py for the impatient: a later submitter waits 10 s, then gets 408.

The time-out touches nothing: the first submission runs on, and a reload of the page (which sends
the same key again) waits once more or shows its response.

Run: /usr/bin/python3 form_wait_408.py   (the options of form_double_submit.py)
"""
from html import escape

from form_double_submit import make_form_app, place_order
from idem_flask import Refused

PAGE = """<!doctype html>
<title>Still working</title>
<p>{}</p>
<p>Reload this page to see the result; nothing will be ordered twice.</p>
"""


def still_working(error):
    if error.code != 408:
        return error
    response = error.get_response()  # keeps Retry-After
    response.data = PAGE.format(escape(error.description))
    return response


def create_app(view=place_order):
    app = make_form_app(__name__, view, dict(
        IDEMPOTENT_EXPIRE=240, IDEMPOTENT_TIMEOUT=10, IDEMPOTENT_LEASE=30))
    app.register_error_handler(Refused, still_working)
    return app


if __name__ == "__main__":
    create_app().run(port=5002, threaded=True)
