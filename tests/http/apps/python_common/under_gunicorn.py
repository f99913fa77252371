"""Serves a test application by gunicorn, as a process of its own."""
import control
from gunicorn.app.base import BaseApplication


class Standalone(BaseApplication):
    def __init__(self, make, **options):
        self._make, self._options = make, options
        super().__init__()

    def load_config(self):
        for name, value in {"bind": f"127.0.0.1:{control.LISTEN_PORT}", "when_ready": announce, "loglevel": "error",
                            "post_fork": lambda arbiter, worker: control.end_with_stdin(), **self._options}.items():
            self.cfg.set(name, value)

    def load(self):
        return control.outer(self._make())


def announce(arbiter):
    print(f"listening on {arbiter.LISTENERS[0].getsockname()[1]}", flush=True)


def serve(make, **options):
    control.end_with_stdin()
    Standalone(make, **options).run()
