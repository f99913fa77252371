"""The package as a user gets it: installed by pip into an environment of its own, its README run there; its types checked."""
import os
import re
import shutil
import subprocess
import tempfile

from shared_server import WithServer

PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3, "client", "python")
SNIPPET = re.compile(r"<!-- run: ([\w-]+) -->\n```python\n(.*?)```", re.S)

# What is done with each snippet, in the same process after it. It fails by an exception.
FIRST_AND_REPLAY = """
def twice(post):
    first, second = post(), post()
    assert first.status_code == second.status_code == 201, (first.status_code, second.status_code)
    assert second.headers["Idempotent-Replayed"] == "true", second.headers
"""
DRIVERS = {
    "flask": FIRST_AND_REPLAY + """
client = app.test_client()
twice(lambda: client.post("/orders", headers={"Idempotency-Key": KEY}, json={}))
assert client.post("/orders", json={}).status_code == 400
""",
    "django": """
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
import sys
def order(request):
    return HttpResponse("attempt %d" % request.idempotency.attempt, status=201)
urlpatterns = [path("orders", order)]
settings.configure(ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=MIDDLEWARE, IDEMPOTENCY=IDEMPOTENCY)
django.setup()
from django.test import Client
for replayed in (None, "true"):
    reply = Client().post("/orders", {}, HTTP_IDEMPOTENCY_KEY=KEY)
    assert (reply.status_code, reply.get("Idempotent-Replayed")) == (201, replayed), reply
""",
    "fastapi": FIRST_AND_REPLAY + """
import asyncio
import httpx
async def main():
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        replies = [await client.post("/orders", headers={"Idempotency-Key": KEY}, json={}) for _ in range(2)]
        twice(lambda: replies.pop(0))
        assert (await client.post("/orders", json={})).status_code == 400
asyncio.run(main())
""",
    "wsgi": """
import io
def post():
    said = []
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "HTTP_IDEMPOTENCY_KEY": KEY, "wsgi.input": io.BytesIO()}
    body = b"".join(application(environ, lambda status, headers: said.append((status, dict(headers)))))
    return said[0][0], said[0][1].get("idempotent-replayed"), body
assert [post(), post()] == [("201 Created", None, b"attempt 1\\n"), ("201 Created", "true", b"attempt 1\\n")]
""",
    "flask-idempotent": """
page = my_app.test_client().get("/").get_data(as_text=True)
assert "__idempotent_key" in page, page
key = page.split('value="')[1].split('"')[0]
for replayed in (None, "true"):
    reply = my_app.test_client().post("/", data={"__idempotent_key": key})
    assert reply.headers.get("Idempotent-Replayed") == replayed, reply.headers
""",
    "jobs": "assert first == again == {'charged': 17}\n",
    "commands": "assert isinstance(idem.claim('order-17'), Done)\n",
}


class ThePackage(WithServer):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.mkdtemp(prefix="idem-package-")
        cls.python = os.path.join(cls.folder, "venv", "bin", "python")
        source = os.path.join(cls.folder, "source")
        shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        cls.run_program("/usr/bin/python3", "-m", "venv", "--system-site-packages", os.path.join(cls.folder, "venv"))
        cls.run_program(cls.python, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-index", source)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)
        super().tearDownClass()

    @classmethod
    def run_program(cls, *words, **environment):
        done = subprocess.run(words, cwd=cls.folder, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": "", **environment})
        if done.returncode != 0:
            raise AssertionError(f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def snippets(self):
        with open(os.path.join(PACKAGE, "README.md"), encoding="utf-8") as file:
            return dict(SNIPPET.findall(file.read()))

    def test_each_snippet_of_the_readme_runs(self):
        snippets = self.snippets()
        self.assertEqual(sorted(snippets), sorted(DRIVERS))
        for name, text in snippets.items():
            with self.subTest(name):
                program = f"KEY = {self.key + name!r}\n" + text.replace("redis://127.0.0.1:4336", self.url) + DRIVERS[name]
                path = os.path.join(self.folder, f"snippet_{name.replace('-', '_')}.py")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(program)
                self.run_program(self.python, path, IDEM_URL=self.url)

    def test_it_is_the_installed_one_and_typed(self):
        told = self.run_program(self.python, "-c", "import idem, os; print(idem.__file__, os.listdir(os.path.dirname("
                                                   "idem.__file__)))")
        self.assertIn(self.folder, told)
        self.assertIn("py.typed", told)

    def test_its_types_are_right(self):
        self.run_program("/usr/bin/python3", "-m", "mypy", "--config-file", os.path.join(PACKAGE, "pyproject.toml"),
                         "--cache-dir", os.path.join(self.folder, "mypy"), os.path.join(PACKAGE, "idem"))

    def test_settings_of_the_readme_are_those_of_the_package(self):
        import dataclasses
        from idem.settings import Settings
        with open(os.path.join(PACKAGE, "README.md"), encoding="utf-8") as file:
            table = file.read().partition("## Settings")[2].partition("## What happens")[0]
        named = {name for row in re.findall(r"^\| (`[^|]*) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)}
        self.assertEqual(named, {field.name for field in dataclasses.fields(Settings)})
