"""The application on Django under gunicorn's gevent workers: threads and sockets are greenlets."""
from gevent import monkey

monkey.patch_all()
import importlib.util  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "python_common"))
import control  # noqa: E402
import under_gunicorn  # noqa: E402


def make():
    path = os.path.join(HERE, os.pardir, "django", "app.py")
    spec = importlib.util.spec_from_file_location("django_application", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["django_application"] = module
    spec.loader.exec_module(module)
    return module.make()


if __name__ == "__main__":
    control.ends_with_reason(lambda: under_gunicorn.serve(make, preload_app=True, worker_class="gevent", workers=1))
