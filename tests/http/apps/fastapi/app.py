"""The test application on FastAPI (tests/http/README.md)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "python_common"))
import control  # noqa: E402
import star  # noqa: E402
from fastapi import FastAPI, Request  # noqa: E402
from idem.asgi import idempotent  # noqa: E402


def main():
    app = FastAPI(middleware=star.middleware())
    for prefix in ("/work", "/required", "/tight"):
        async def work(request: Request):
            return await star.answer(request)
        view = idempotent(**control.ROUTES[prefix])(work) if prefix in control.ROUTES else work
        for path in (prefix, prefix + "/{rest:path}"):
            app.add_api_route(path, view, methods=star.METHODS)
    control.serve_asgi(app, lambda: None)


if __name__ == "__main__":
    control.ends_with_reason(main)
