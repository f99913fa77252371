"""The application on Flask under gunicorn with --preload: made before the fork, with threads."""
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "python_common"))
import control  # noqa: E402
import under_gunicorn  # noqa: E402


def make():
    spec = importlib.util.spec_from_file_location("flask_application", os.path.join(HERE, os.pardir, "flask", "app.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app, idempotency = module.make()
    # A command before the fork: the connection must not be shared by the workers.
    idempotency.guard.ask_now(type("Probe", (), {"words": ["IDEM.FETCH", "before the fork"]}))
    return app


if __name__ == "__main__":
    control.ends_with_reason(lambda: under_gunicorn.serve(make, preload_app=True, worker_class="gthread", threads=128,
                                                          workers=1))
