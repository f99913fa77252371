"""The test application on Flask (tests/http/README.md). The login is flask-login's."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "python_common"))
import control  # noqa: E402
from flask import Flask, Response, abort, g, request, send_file, stream_with_context  # noqa: E402
from flask_login import LoginManager, UserMixin, current_user  # noqa: E402
from idem import DidNothing  # noqa: E402
from idem.flask import Idempotency, idempotent  # noqa: E402

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class User(UserMixin):
    def __init__(self, name):
        self.id = name


def work(**_rest):
    claim = g.get("idempotency")
    files = {name: control.digest(file.read()) for name, file in request.files.items()}
    form = request.form.to_dict(flat=False)
    is_form = request.mimetype in ("multipart/form-data", "application/x-www-form-urlencoded")
    orders = control.Control(control.described(
        request.method, request.path, request.query_string.decode(),
        current_user.get_id() if current_user.is_authenticated else None, claim,
        body=None if is_form else request.get_data(), form=form if is_form else None,
        files=files if is_form else None, parsed=request.get_json() if request.is_json else None))
    order = orders.last_order(claim)
    if order["do"] == "raise":
        raise control.Broken("the suite asked for it")
    if order["do"] == "raise_http":
        abort(order["status"])
    if order["do"] == "raise_did_nothing":
        raise DidNothing(status=order["status"])
    if order["do"] == "file":
        response = send_file(order["path"])
        response.status_code = order["status"]
    elif order["do"] == "stream":
        response = Response(stream_with_context(orders.pieces()), order["status"])
        response.headers.clear()
    else:
        response = Response(control.body_of(order), order["status"])
        response.headers.clear()
    for name, value in control.headers_of(order):
        response.headers.add(name, value)
    return response


def refuse_mallory():
    if current_user.is_authenticated and current_user.get_id() == control.REFUSED_USER:
        abort(401)


def parse_early():
    if request.path.startswith("/early"):
        request.form, request.files, request.get_json(silent=True)


def load_user(of_request):
    name = of_request.headers.get("X-User")
    return User(name) if name else None


def make():
    """(application, its middleware)"""
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "the same in both processes"
    idempotency = Idempotency(app, **control.settings(lambda of, name: of.headers.get(name)))
    login = LoginManager(app)
    login.request_loader(load_user)
    # After the extension: it has to see what functions registered later refuse.
    app.before_request(refuse_mallory)
    app.before_request(parse_early)
    for prefix in ("/work", "/early", "/required", "/tight"):
        view = idempotent(**control.ROUTES[prefix])(lambda **rest: work(**rest)) if prefix in control.ROUTES else work
        app.add_url_rule(prefix, prefix, view, methods=METHODS, provide_automatic_options=False)
        app.add_url_rule(prefix + "/<path:rest>", prefix, view, methods=METHODS, provide_automatic_options=False)
    return app, idempotency


def main():
    app, idempotency = make()
    control.serve_wsgi(app, idempotency.close)


if __name__ == "__main__":
    control.ends_with_reason(main)
