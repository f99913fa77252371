"""The test application without a framework (tests/http/README.md): werkzeug's request and response alone. Settings of a route
are a middleware of their own around what is mounted there."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "python_common"))
import control  # noqa: E402
from idem import DidNothing  # noqa: E402
from idem.wsgi import CLAIM, Idempotency  # noqa: E402
from werkzeug.exceptions import HTTPException, NotFound, default_exceptions  # noqa: E402
from werkzeug.wrappers import Request, Response  # noqa: E402
from werkzeug.wsgi import wrap_file  # noqa: E402

MOUNT = "/mounted"


def answer(request):
    claim = request.environ.get(CLAIM)
    is_form = request.mimetype in ("multipart/form-data", "application/x-www-form-urlencoded")
    files = {name: control.digest(file.read()) for name, file in request.files.items()} if is_form else None
    orders = control.Control(control.described(
        request.method, request.root_path + request.path, request.query_string.decode(),
        request.remote_user, claim, body=None if is_form else request.get_data(),
        form=request.form.to_dict(flat=False) if is_form else None, files=files))
    order = orders.last_order(claim)
    if order["do"] == "raise":
        raise control.Broken("the suite asked for it")
    if order["do"] == "raise_http":
        raise default_exceptions[order["status"]]
    if order["do"] == "raise_did_nothing":
        raise DidNothing(status=order["status"])
    if order["do"] == "file":
        body = wrap_file(request.environ, open(order["path"], "rb"))
    elif order["do"] == "stream":
        body = orders.pieces()
    else:
        body = [control.body_of(order)]
    response = Response(body, order["status"], direct_passthrough=order["do"] == "file")
    response.headers.clear()
    for name, value in control.headers_of(order):
        response.headers.add(name, value)
    return response


def application(environ, start_response):
    request = Request(environ)
    try:
        known = request.path.split("/")[1] in ("work", "required", "tight")
        response = answer(request) if known else NotFound()
    except HTTPException as error:
        response = error
    return response(environ, start_response)


def with_login(app):
    def checked(environ, start_response):
        user = environ.get("HTTP_X_USER")
        if user == control.REFUSED_USER:
            return Response("Who?\n", 401)(environ, start_response)
        if user:
            environ = {**environ, "REMOTE_USER": user}
        return app(environ, start_response)
    return checked


def by_route(apps):
    def routed(environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith(MOUNT + "/"):
            environ = {**environ, "SCRIPT_NAME": MOUNT, "PATH_INFO": path[len(MOUNT):]}
        first = "/" + environ["PATH_INFO"].split("/")[1]
        return apps.get(first, apps[""])(environ, start_response)
    return routed


def main():
    given = control.settings(lambda environ, name: environ.get("HTTP_" + name.upper().replace("-", "_")))
    routes = {"": {}, **control.ROUTES}
    apps = {prefix: Idempotency(application, **{**given, **own}) for prefix, own in routes.items()}
    control.serve_wsgi(with_login(by_route(apps)), lambda: [app.close() for app in apps.values()])


if __name__ == "__main__":
    control.ends_with_reason(main)
