"""What the applications on Starlette and FastAPI share."""
import control
from idem import DidNothing
from idem.asgi import Idempotency
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Login(AuthenticationBackend):
    async def authenticate(self, connection):
        name = connection.headers.get("X-User")
        if name == control.REFUSED_USER:
            raise AuthenticationError("Who?")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name else None


async def answer(request):
    claim = request.state.idempotency
    kind = request.headers.get("content-type", "").partition(";")[0]
    form = files = body = None
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        form, files = {}, {}
        for name, value in (await request.form()).multi_items():
            if isinstance(value, str):
                form.setdefault(name, []).append(value)
            else:
                files[name] = control.digest(await value.read())
    else:
        body = await request.body()
    user = request.user.display_name if request.user.is_authenticated else None
    path = request.scope["path"]
    mount = request.scope.get("root_path", "")
    orders = await control.AsyncControl().open(control.described(
        request.method, path if path.startswith(mount) else mount + path, request.scope["query_string"].decode(), user,
        claim, body=body, form=form, files=files))
    order = await orders.last_order(claim)
    return respond(order, orders)


def respond(order, orders):
    if order["do"] == "raise":
        raise control.Broken("the suite asked for it")
    if order["do"] == "raise_http":
        raise HTTPException(order["status"])
    if order["do"] == "raise_did_nothing":
        raise DidNothing(status=order["status"])
    if order["do"] == "file":
        response = FileResponse(order["path"], order["status"])
    elif order["do"] == "stream":
        response = StreamingResponse(orders.pieces(), order["status"])
    else:
        response = Response(control.body_of(order), order["status"])
    for name, value in control.headers_of(order):
        response.raw_headers.append((name.lower().encode(), value.encode("latin-1")))
    return response


def middleware(idempotency=Idempotency):
    """From the outside in."""
    given = control.settings(lambda request, name: request.headers.get(name))
    return [Middleware(AuthenticationMiddleware, backend=Login(),
                       on_error=lambda request, error: PlainTextResponse("Who?\n", 401)),
            Middleware(idempotency, **given)]
