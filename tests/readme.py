#!/usr/bin/python3
"""Follows the front of README.md as a new user would: in a copy of the repository it installs the packages by the page's lines, then
puts the page's line for each framework into the smallest application of it, which must run a request once and replay it.

usage: readme.py [--strict] [ROW ...]      (--strict: what cannot run here is a failure, not only a line that says so)

Needs what `make readme` installs. pip is told by its environment to take Debian's setuptools and redis-py and no index; npm gets
what it lists from its registry. The server is $IDEM_SERVER (build/release/idem-server), on a port of its own: the page's 4336 is
replaced. This file must not know what a line means.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "system"), HERE]
from harness import Server  # noqa: E402
from limit import limited  # noqa: E402

SECONDS = 300
BEGIN, END = "## One line in your framework", "## One minute with redis-cli"
ROWS = re.compile(r"^```\n(.*?)^```$", re.S | re.M)

PYTHON_ASKS = """
def asks(post):
    first, second = post(), post()
    assert first.status_code == second.status_code == 201, (first, second)
    assert first.headers.get("Idempotent-Replayed") is None and second.headers["Idempotent-Replayed"] == "true"
    assert first.json() == second.json() == {"run": 1}, (first.json(), second.json())
KEY = {"Idempotency-Key": "%s"}
runs = []
def run():
    runs.append(1)
    return {"run": len(runs)}
"""
ASGI_ASKS = """
import asyncio, httpx
async def post_once():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://a") as client:
        return await client.post("/x", headers=KEY)
asks(lambda: asyncio.run(post_once()))
"""
NODE_ASKS = """
let runs = 0;
const run = () => ({ run: ++runs });
const asks = async (port) => {
  const post = () => fetch(`http://127.0.0.1:${port}/x`, { method: 'POST', headers: { 'Idempotency-Key': '%s' } });
  const first = await post(), second = await post();
  const told = JSON.stringify([first.status, second.status, first.headers.get('idempotent-replayed'),
    second.headers.get('idempotent-replayed'), await first.json(), await second.json()]);
  if (told !== '[201,201,null,"true",{"run":1},{"run":1}]') throw new Error(told);
  process.exit();
};
"""

# name: (language, what has to be there, the application). OF and LINE are the second and the third column of the page.
APPLICATIONS = {
    "Flask": ("python", ["flask"], """
from flask import Flask
OF
app = Flask(__name__)
LINE
@app.post("/x")
def view():
    return run(), 201
class Reply:
    def __init__(self, got):
        self.status_code, self.headers, self.json = got.status_code, got.headers, got.get_json
asks(lambda: Reply(app.test_client().post("/x", headers=KEY)))
"""),
    "Django": ("python", ["django"], """
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
OF
import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import path
urlpatterns = [path("x", lambda request: JsonResponse(run(), status=201))]
settings.configure(ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=MIDDLEWARE)
django.setup()
from django.test import Client
asks(lambda: Client().post("/x", HTTP_IDEMPOTENCY_KEY=KEY["Idempotency-Key"]))
"""),
    "FastAPI": ("python", ["fastapi", "httpx"], """
from fastapi import FastAPI
OF
app = FastAPI()
LINE
@app.post("/x", status_code=201)
async def view():
    return run()
""" + ASGI_ASKS),
    "Express": ("node", ["express"], """
const app = require('express')();
OF
LINE
app.post('/x', (req, res) => res.status(201).json(run()));
const server = app.listen(0, '127.0.0.1', () => asks(server.address().port));
"""),
    "Fastify": ("node", ["fastify"], """
const app = require('fastify')();
OF
LINE
app.register(async (api) => api.post('/x', async (request, reply) => reply.code(201).send(run())));
app.listen({ port: 0, host: '127.0.0.1' }).then(() => asks(app.server.address().port));
"""),
    "Koa": ("node", ["koa"], """
const app = new (require('koa'))();
OF
LINE
app.use((ctx) => { ctx.status = 201; ctx.body = run(); });
const server = app.listen(0, '127.0.0.1', () => asks(server.address().port));
"""),
    "Hono": ("node", ["hono", "@hono/node-server"], """
const app = new (require('hono').Hono)();
OF
LINE
app.post('/x', (c) => c.json(run(), 201));
require('@hono/node-server').serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => asks(port));
"""),
}


class Wrong(Exception):
    """The page is wrong."""


class Skipped(Exception):
    """It cannot run on this machine."""


def front():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        page = file.read()
    return page[page.index(BEGIN):page.index(END)]


def shell_lines(text):
    return [line.strip() for line in text.split("\n") if line.startswith("    ")]


class Newcomer:
    """A copy of the repository, with an environment of Python in it, and a server."""

    def __init__(self, server):
        self.port = str(server.address[1])
        self.home = tempfile.mkdtemp(prefix="idem-readme-")
        self.copy = os.path.join(self.home, "idem")
        environment = os.path.join(self.home, "venv")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}, "PYTHONDONTWRITEBYTECODE": "1",
            "IDEM_URL": "redis://127.0.0.1:" + self.port, "IDEM_SERVER_URL": "redis://127.0.0.1:" + self.port,
            "PATH": os.pathsep.join([os.path.join(environment, "bin"), os.path.abspath(os.path.join(ROOT, "build/release")), os.environ["PATH"]]),
            "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_PROXY": "127.0.0.1"}
        copy_repository(self.copy)
        self.run("/usr/bin/python3", "-m", "venv", "--system-site-packages", environment)

    def close(self):
        shutil.rmtree(self.home)

    def run(self, *words):
        done = subprocess.run(words, cwd=self.copy, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=SECONDS)
        if done.returncode != 0:
            raise Wrong(f"{' '.join(words)}\nleft with {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def shell(self, line):
        return self.run("sh", "-c", line)

    def has(self, language, package):
        if language == "python":
            return subprocess.run(["/usr/bin/python3", "-c", "import " + package], capture_output=True).returncode == 0
        return os.path.isdir(os.path.join(self.copy, "node_modules", package))

    def program(self, language, text):
        path = os.path.join(self.copy, "newcomer." + {"python": "py", "node": "js"}[language])
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.run({"python": "python3", "node": "node"}[language], path)


def copy_repository(to):
    """What git knows or would add: no build."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    for path in filter(os.path.exists, listed.stdout.split("\0")[:-1]):
        os.makedirs(os.path.dirname(os.path.join(to, path)), exist_ok=True)
        shutil.copy2(path, os.path.join(to, path), follow_symlinks=False)


def node_packages():
    """The frameworks, in the versions of tests/http."""
    wanted = {name for language, names, _ in APPLICATIONS.values() if language == "node" for name in names}
    with open(os.path.join(HERE, "http/node/packages"), encoding="utf-8") as file:
        return [line for line in file.read().split() if line.rpartition("@")[0] in wanted]


def follow_install(newcomer, text):
    lines = [line for line in shell_lines(text) if line.startswith(("pip ", "npm "))]
    if [line.split()[0] for line in lines] != ["pip", "npm"]:
        raise Wrong(f"one line of pip and one of npm expected: {lines}")
    newcomer.shell(lines[0])
    print("ok " + lines[0])
    if shutil.which("npm") is None:
        raise Skipped("npm is not installed")
    if subprocess.run(["npm", "view", "ioredis", "version"], capture_output=True, env=newcomer.environment).returncode != 0:
        raise Skipped("npm's registry does not answer")
    newcomer.shell(lines[1])
    print("ok " + lines[1])
    newcomer.run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *node_packages())


def follow_row(newcomer, name, of, line):
    language, packages, text = APPLICATIONS[name]
    for package in packages:
        if not newcomer.has(language, package):
            raise Skipped(f"{package} is not installed")
    text = text.replace("LINE", line).replace("OF", of)
    newcomer.program(language, (PYTHON_ASKS if language == "python" else NODE_ASKS) % name + text)


def follow_python_job(newcomer, of, line):
    newcomer.program("python", of + "\nruns = []\n" + line.replace("...", "lambda n: n")
                     + "\ndef work(n):\n    runs.append(n)\n    return n\nassert [work(5), work(5)] == [5, 5] and runs == [5], runs\n")


def follow_node_job(newcomer, of, line):
    if not newcomer.has("node", "idem-node"):
        raise Skipped("idem-node is not installed")
    newcomer.program("node", of + """;
let runs = 0;
const name = 'refund', key = (n) => n, work = async (n) => { runs += 1; return n; };
const once = LINE;
(async () => {
  const told = [await once(5), await once(5), runs].join();
  if (told !== '5,5,1') throw new Error(told);
  process.exit();
})();
""".replace("LINE", line))


def follow_shell(newcomer, of, _):
    line = of.replace("command", "sh -c 'echo ran; echo ran >>runs'")
    said = newcomer.shell(f"{line}; {line}; cat runs")
    if said != "ran\nran\nran\n":
        raise Wrong(f"{of}\nsaid {said!r}")


OTHERS = {"a job, python": follow_python_job, "a job, node": follow_node_job, "a shell": follow_shell}


def follow_redis_cli(newcomer, text):
    token = None
    lines = [line for line in shell_lines(text) if line.startswith("redis-cli ")]
    for line in lines:
        command, _, comment = (part.strip() for part in line.partition("#"))
        said = newcomer.shell(command.replace("4336", newcomer.port).replace("TOKEN", str(token))).split("\n")
        expected = re.match(r"[A-Z]{2,}|", comment).group()
        if expected and said[0] != expected:
            raise Wrong(f"{line}\nsaid {said}")
        token = said[1] if said[0] == "CLAIMED" else token
    if token is None or said[:2] != ["DONE", "paid"]:
        raise Wrong(f"{lines}\nsaid {said}")
    print(f"ok {len(lines)} lines of redis-cli")


def steps(newcomer, text, only):
    """(what, function), in the order of the page."""
    yield "install", lambda: follow_install(newcomer, text)
    followed = set()
    for row in ROWS.search(text).group(1).splitlines():
        name, of, line = re.split(" {2,}", row)
        name += {"a job": ", node" if "require" in of else ", python"}.get(name, "")
        followed.add(name)
        if only and name not in only:
            continue
        if name in OTHERS:
            yield name, lambda name=name, of=of, line=line: OTHERS[name](newcomer, of, line)
        else:
            yield name, lambda name=name, of=of, line=line: follow_row(newcomer, name, of, line)
    if followed != {*APPLICATIONS, *OTHERS}:
        raise Wrong(f"the page has {sorted(followed)}")
    yield "redis-cli", lambda: follow_redis_cli(newcomer, text)


def main(arguments):
    strict = "--strict" in arguments
    text, failed = front(), 0
    os.chdir(ROOT)
    with Server() as server, limited("readme"):
        newcomer = Newcomer(server)
        try:
            for what, follow in steps(newcomer, text, [word for word in arguments if word != "--strict"]):
                try:
                    follow()
                    print(f"ok README.md: {what}", flush=True)
                except Skipped as reason:
                    failed += strict
                    print(f"{'not ok' if strict else 'ok'} README.md: {what} # SKIP {reason}", flush=True)
                except (Wrong, subprocess.TimeoutExpired) as problem:
                    failed += 1
                    print(f"not ok README.md: {what}: {problem}", flush=True)
        finally:
            newcomer.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
