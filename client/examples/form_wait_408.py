"""The form of form_double_submit.py for the impatient: a later submission waits 10 s, then gets a page with status 408.

The time-out touches nothing: the first submission runs on, and a reload of the page (which sends the same key again) waits once
more or shows its response.

Run: /usr/bin/python3 form_wait_408.py   (the options of form_double_submit.py)
"""
import form_double_submit

PAGE = """<!doctype html>
<title>Still working</title>
<p>The first request with this key is still running.</p>
<p>Reload this page to see the result; nothing will be ordered twice.</p>
"""


def still_working(response):
    if response.status_code == 408:  # keeps Retry-After
        response.data, response.mimetype = PAGE, "text/html"
    return response


def create_app(view=form_double_submit.place_order):
    app = form_double_submit.create_app(view, IDEMPOTENT_TIMEOUT=10)
    app.after_request(still_working)
    return app


if __name__ == "__main__":
    create_app().run(port=5002, threaded=True)
