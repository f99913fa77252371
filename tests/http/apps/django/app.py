"""The test application on Django (tests/http/README.md). The login is a middleware that sets request.user."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "python_common"))
import control  # noqa: E402
import django  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.exceptions import PermissionDenied  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.urls import re_path  # noqa: E402
from idem import DidNothing  # noqa: E402
from idem.django import idempotent  # noqa: E402

RAISED = {403: PermissionDenied, 404: Http404}


class User:
    is_authenticated = True

    def __init__(self, name):
        self.pk = name


def login(get_response):
    def middleware(request):
        name = request.headers.get("X-User")
        if name == control.REFUSED_USER:
            return HttpResponse("Who?\n", status=401)
        if name:
            request.user = User(name)
        return get_response(request)
    return middleware


def early(get_response):
    def middleware(request):
        if request.path.startswith("/early"):
            if "json" in (request.content_type or ""):
                request.body
            else:
                request.POST, request.FILES
        return get_response(request)
    return middleware


def work(request, **_rest):
    claim = request.idempotency
    is_form = request.content_type in ("multipart/form-data", "application/x-www-form-urlencoded")
    is_form = is_form and request.method == "POST"
    files = {name: control.digest(file.read()) for name, file in request.FILES.items()} if is_form else None
    orders = control.Control(control.described(
        request.method, request.path, request.META.get("QUERY_STRING", ""),
        request.user.pk if hasattr(request, "user") else None, claim, body=None if is_form else request.body,
        form=dict(request.POST.lists()) if is_form else None, files=files))
    order = orders.last_order(claim)
    if order["do"] == "raise":
        raise control.Broken("the suite asked for it")
    if order["do"] == "raise_http":
        raise RAISED[order["status"]]
    if order["do"] == "raise_did_nothing":
        raise DidNothing(status=order["status"])
    if order["do"] == "file":
        response = FileResponse(open(order["path"], "rb"), status=order["status"])
    elif order["do"] == "stream":
        response = StreamingHttpResponse(orders.pieces(), status=order["status"])
        del response["Content-Type"]
    else:
        response = HttpResponse(control.body_of(order), status=order["status"])
        del response["Content-Type"]
    for name, value in control.headers_of(order):
        if name.lower() == "set-cookie":
            response.cookies.load(value)
        else:
            response[name] = value  # Django has no repeated headers
    return response


urlpatterns = [
    re_path("^" + prefix + "(?:/.*)?$", idempotent(**control.ROUTES["/" + prefix])(lambda request: work(request)))
    if "/" + prefix in control.ROUTES else re_path("^" + prefix + "(?:/.*)?$", work)
    for prefix in ("work", "early", "required", "tight")]


def make():
    settings.configure(
        ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="the same in both processes",
        MIDDLEWARE=[__name__ + ".login", __name__ + ".early", "idem.django.Idempotency"],
        IDEMPOTENCY=control.settings(lambda request, name: request.headers.get(name)))
    django.setup()
    return WSGIHandler()


def main():
    control.serve_wsgi(make(), lambda: None)


if __name__ == "__main__":
    control.ends_with_reason(main)
