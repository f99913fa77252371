"""The test application on Starlette (tests/http/README.md)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "python_common"))
import control  # noqa: E402
import star  # noqa: E402
from idem.asgi import idempotent  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.routing import Mount, Route  # noqa: E402


async def work(request):
    return await star.answer(request)


@idempotent(**control.ROUTES["/required"])
async def required(request):
    return await star.answer(request)


@idempotent(**control.ROUTES["/tight"])
async def tight(request):
    return await star.answer(request)


def main():
    routes = [Route(path, view, methods=star.METHODS) for prefix, view in
              (("/work", work), ("/required", required), ("/tight", tight))
              for path in (prefix, prefix + "/{rest:path}")]
    app = Starlette(routes=[*routes, Mount("/mounted", routes=routes)], middleware=star.middleware())
    control.serve_asgi(app, lambda: None)


if __name__ == "__main__":
    control.ends_with_reason(main)
