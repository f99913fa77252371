#!/usr/bin/python3
"""Runs each client's program against its own server and prints which clients passed.

usage: run.py [--strict] [--write] [--no-install] [--list] [NAME ...]
  --strict      a client that cannot be installed is a failure (CI); otherwise it is reported as SKIPPED
  --write       puts the table into client/README.md, between its markers
  --no-install  does not call apt-get or npm for what is missing

A program gets IDEM_HOST, IDEM_PORT and IDEM_PROTOCOL (one over TLS: see tls_environment) and prints one line per step: `ok STEP` or
`not ok STEP why`, or `skip STEP why` where each step is another client. The line `restart` asks for a
new server on the same port; `restarted` on standard input is the answer.
This file must not know the commands or the right answers: the programs do. Invariants: a step that
was not printed is a failure, and so is an unexpected step; the table names what could not run, with
the reason.
"""

import argparse
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests/system"), os.path.join(ROOT, "tests")]
import tls_files  # noqa: E402
from harness import PROGRAM, Server  # noqa: E402

PYTHON = "/usr/bin/python3"
BUILD = os.path.join(ROOT, "build/clients")
PAGE = os.path.join(ROOT, "client/README.md")
BEGIN, END = "<!-- clients: begin -->", "<!-- clients: end -->"
# These limits end what hangs, not what is slow. A client that a registry does not deliver in time counts
# as unavailable. NPM_SECONDS is for all npm packages together, so that a registry that is down does
# not cost an hour.
PROGRAM_SECONDS = float(os.environ.get("IDEM_TEST_LIMIT_S", 600))
BUILD_SECONDS = 600
APT_SECONDS = 600
NPM_SECONDS = 480
BIND_ATTEMPTS = 20
NODE_MAJOR, NODE_VERSION = 20, "20.20.2"  # what redis 6 and ioredis 6 require

# The steps of every client library; README.md explains them.
STEPS = ("connect", "name", "claim", "duplicate", "wait", "store", "replay", "binary", "refusal",
         "null", "strings", "transaction", "pubsub", "pipeline", "reconnect")
# Over TLS: with a server that wants no certificate of its clients, and with one that does.
TLS_STEPS = ("connect", "claim", "stranger", "certificate", "without")
CLI = ("pipe", "stat", "bigkeys", "memkeys", "scan", "latency", "hints", "tab", "help")


class Client:
    """One row of the table, or one for each protocol version."""

    def __init__(self, name, language, program, package=None, npm=None, protocols=(2,),
                 steps=STEPS, compile=None, title=None, lacks=None, tls=False):
        self.name, self.language, self.title = name, language, title or name
        self.program, self.compile = program, compile
        self.package, self.npm = package, npm
        self.protocols, self.steps = protocols, steps
        self.lacks = lacks or {}
        self.tls = tls

    def expected(self, protocol):
        return [step for step in self.steps if step not in self.lacks.get(protocol, ())]

    def version(self):
        if self.package:
            found = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", self.package],
                                   capture_output=True, text=True)
            bare = re.sub(r"^\d+:|[-+~].*$", "", found.stdout)
            return bare if found.returncode == 0 and bare else "unknown"
        return self.npm.rpartition("@")[2] if self.npm else ""

    def modules(self):
        return modules_directory(self.npm)


def node(name, directory, npm, protocols, title=None, lacks=None):
    return Client(name, "Node.js", ["node", directory + "/check.js"], npm=npm, protocols=protocols,
                  title=title or npm.rpartition("@")[0], lacks=lacks)


def python(name, package, protocols=(2,), steps=STEPS, language="Python", title=None):
    return Client(name, language, [PYTHON, name + "/check.py"], package=package,
                  protocols=protocols, steps=steps, title=title)


def over_tls(name, language, program, **more):
    return Client("tls-" + name, language, program, steps=TLS_STEPS, title=name + " over TLS",
                  tls=True, **more)


OUT = os.path.join(BUILD, "bin")
CLIENTS = (
    python("redis-cli", "redis-tools", (2, 3), STEPS + CLI, "shell"),
    python("redis-benchmark", "redis-tools", (2, 3), ("set-get", "pipelined", "claim"), "shell"),
    python("redis-py", "python3-redis", steps=STEPS + ("administration",)),
    Client("phpredis", "PHP", ["php", "phpredis/check.php"], package="php-redis"),
    Client("redis-rb", "Ruby", ["ruby", "redis-rb/check.rb"], package="ruby-redis"),
    Client("perl-redis", "Perl", ["perl", "perl-redis/check.pl"], package="libredis-perl",
           title="Redis.pm"),
    Client("hiredis", "C", [OUT + "/hiredis"], package="libhiredis-dev",
           steps=STEPS + ("silence",),
           compile=["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow", "-Werror",
                    "-o", OUT + "/hiredis", "c-hiredis/check.c", "-lhiredis"]),
    Client("redigo", "Go", [OUT + "/redigo"], package="golang-github-gomodule-redigo-dev",
           compile=["go", "build", "-o", OUT + "/redigo", "redigo/check.go"]),
    node("node-redis-4", "node-redis", "redis@4.7.1", (2,), title="node-redis 4"),
    node("node-redis-5", "node-redis", "redis@5.12.1", (2, 3), title="node-redis 5"),
    node("node-redis-6", "node-redis", "redis@6.3.1", (2, 3), title="node-redis 6"),
    node("ioredis-5", "ioredis", "ioredis@5.11.1", (2,), title="ioredis 5"),
    node("ioredis-6", "ioredis", "ioredis@6.0.0", (2, 3), title="ioredis 6"),
    node("valkey-glide", "valkey-glide", "@valkey/valkey-glide@2.5.2", (2, 3),
         lacks={2: ("pubsub",)}),
    Client("redis-commander", "Node.js", [PYTHON, "redis-commander/check.py"],
           npm="redis-commander@0.9.0", steps=("connect", "list", "show", "info", "quiet")),
    python("redis-exporter", "prometheus-redis-exporter", (2,),
           ("up", "keys", "commands", "errors", "latencies", "quiet"), "Go"),
    python("pattern", "python3-redis", (2,),
           ("first", "duplicate", "expiry", "many", "late"), title="SET NX pattern (redis-py)"),
    over_tls("redis-cli", "shell", [PYTHON, "tls/redis_cli.py"], package="redis-tools"),
    over_tls("redis-py", "Python", [PYTHON, "tls/redis_py.py"], package="python3-redis"),
    over_tls("phpredis", "PHP", ["php", "tls/phpredis.php"], package="php-redis"),
    over_tls("ioredis", "Node.js", ["node", "tls/ioredis.js"], npm="ioredis@6.0.0"),
    over_tls("node-redis", "Node.js", ["node", "tls/node-redis.js"], npm="redis@6.3.1"),
    Client("snippets", "", [PYTHON, "snippets/check.py"], title="snippets of this page",
           steps=None),
    Client("handshakes", "", [PYTHON, "handshakes/check.py"], title="handshakes (transcripts)",
           steps=None),
)


class Unavailable(Exception):
    """The client is not available on this system. The text is the reason, without paths or hosts."""


def debian_packages(name):
    with open(os.path.join(HERE, "need"), encoding="ascii") as file:
        for line in file:
            client, _, packages = line.partition(":")
            if client == name:
                return packages.split()
    return []


def install_debian(packages, may_install):
    if not may_install:
        known = subprocess.run(["dpkg-query", "-W", "-f", "${Status}\\n", *packages],
                               capture_output=True, text=True)
        if known.returncode != 0 or known.stdout.count(" installed") != len(packages):
            raise Unavailable("not installed, and --no-install was given")
        return
    try:
        done = subprocess.run([os.path.join(ROOT, "tests/need"), *packages], capture_output=True,
                              text=True, timeout=APT_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable("packages are not handed out: " + " ".join(packages)) from None
    if done.stdout.strip():
        print("    " + done.stdout.strip().splitlines()[0], flush=True)
    if done.returncode != 0:
        raise Unavailable("packages cannot be installed: " + " ".join(packages))


def modules_directory(spec):
    return os.path.join(BUILD, re.sub(r"\W+", "-", spec).strip("-"))


NPM_SPENT_S = []


def npm_left_s():
    return NPM_SECONDS - sum(NPM_SPENT_S)


def install_npm(spec, may_install):
    """Installs name@version into its own directory, if it is not there, and returns the directory."""
    name, _, version = spec.rpartition("@")
    directory = modules_directory(spec)
    manifest = os.path.join(directory, "node_modules", name, "package.json")
    if os.path.exists(manifest):
        return directory
    if not may_install:
        raise Unavailable("not installed, and --no-install was given")
    if not shutil.which("npm"):
        install_debian(debian_packages("npm"), may_install)
    os.makedirs(directory, exist_ok=True)
    print("    installing: " + spec, flush=True)
    # Packages' scripts do not run: none of these packages needs them.
    command = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts",
               "--loglevel=error", "--prefix", directory, spec]
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1, npm_left_s()))
        failed = done.returncode != 0 or not os.path.exists(manifest)
        said = done.stderr
    except subprocess.TimeoutExpired:
        failed, said = True, "timed out"
    NPM_SPENT_S.append(time.monotonic() - began)
    if failed:
        shutil.rmtree(directory, ignore_errors=True)  # half a package would be taken for a whole one
        print("    " + said.strip()[-2000:].replace("\n", "\n    "), flush=True)
        raise Unavailable(f"npm could not install {name} {version}")
    return directory


def find_node(may_install):
    """Puts a Node.js at the head of PATH that the newest clients accept; Debian 12 has an older one."""
    if shutil.which("node"):
        found = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
        if int(re.match(r"v(\d+)", found).group(1)) >= NODE_MAJOR:
            return
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"node-linux-{machine}"
    directory = install_npm(f"{package}@{NODE_VERSION}", may_install)
    programs = os.path.join(directory, "node_modules", package, "bin")
    os.environ["PATH"] = programs + os.pathsep + os.environ["PATH"]


def environment(client):
    values = dict(os.environ, LC_ALL="C.UTF-8", PYTHONDONTWRITEBYTECODE="1")
    values.update(IDEM_CLIENTS=BUILD, IDEM_SERVER=PROGRAM)
    if client.npm:
        values["NODE_PATH"] = os.path.join(client.modules(), "node_modules")
        values["IDEM_CLIENT_VERSION"] = client.npm.rpartition("@")[2]
    # Debian's Go packages are sources under /usr/share/gocode; no module is downloaded.
    values.update(GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", GOCACHE=BUILD + "/go")
    return values


def prepare(client, may_install):
    packages = debian_packages(client.name)
    if packages:
        install_debian(packages, may_install)
    if client.npm:
        find_node(may_install)
        install_npm(client.npm, may_install)
    if client.compile:
        if not shutil.which(client.compile[0]):
            raise Unavailable(client.compile[0] + " is not installed")
        os.makedirs(OUT, exist_ok=True)
        subprocess.run(client.compile, cwd=HERE, env=environment(client), check=True,
                       timeout=BUILD_SECONDS)
    elif not shutil.which(client.program[0]):
        raise Unavailable(client.program[0] + " is not installed")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_tls(files, clients):
    """With TLS alone; clients: whether they need a certificate, yes or no."""
    for attempt in range(BIND_ATTEMPTS):
        try:
            return Server("--port", 0, "--tls-port", free_port(), "--tls-cert-file", files.cert,
                          "--tls-key-file", files.key, "--tls-ca-cert-file", files.ca,
                          "--tls-auth-clients", clients)
        except AssertionError:
            if attempt == BIND_ATTEMPTS - 1:
                raise
    return None


def tls_directory():
    directory = os.path.join(BUILD, "tls")
    os.makedirs(directory, exist_ok=True)
    return directory


def tls_environment(files, asking):
    """IDEM_PORT is a server that wants no certificate, IDEM_TLS_ASKING_PORT one that does."""
    return {"IDEM_TLS_CA": files.ca, "IDEM_TLS_OTHER_CA": files.other_ca,
            "IDEM_TLS_CERT": files.client_cert, "IDEM_TLS_KEY": files.client_key,
            "IDEM_TLS_ASKING_PORT": str(asking.address[1])}


def start_again(port):
    """For a moment the port may be the local end of another connection: try again."""
    for attempt in range(BIND_ATTEMPTS):
        try:
            return Server("--port", port)
        except AssertionError:
            if attempt == BIND_ATTEMPTS - 1:
                raise
            time.sleep(0.1)
    return None


def kill_group(process):
    """Kills the whole group, since children may hold the output open."""
    os.killpg(process.pid, signal.SIGKILL)


class Run:
    """One program against one server."""

    def __init__(self, client, protocol):
        self.client, self.protocol = client, protocol
        self.passed, self.failures, self.skipped = [], [], []

    def go(self):
        self.more = {}
        if self.client.tls:
            files = tls_files.make(tls_directory())
            self.server, asking = start_tls(files, "no"), start_tls(files, "yes")
            self.more = tls_environment(files, asking)
            servers = [asking]
        else:
            self.server, servers = Server(), []
        try:
            self._talk()
        finally:
            for server in [self.server, *servers]:
                self._stop(server)
        self._compare()

    def _stop(self, server):
        try:
            server.stop()
        except AssertionError as error:
            self.failures.append(f"server: {error}")

    def _compare(self):
        if self.client.steps is None:
            if not self.passed:
                self.failures.append("no step was printed")
            return
        expected = self.client.expected(self.protocol)
        told = self.passed + [failure.split(" ")[0] for failure in self.failures]
        missing = [step for step in expected if step not in told]
        if missing:
            self.failures.append("not reached: " + " ".join(missing))
        for step in self.passed:
            if step not in expected:
                self.failures.append(f"{step} was not expected")

    def _talk(self):
        host, port = self.server.address
        env = dict(environment(self.client), IDEM_HOST=host, IDEM_PORT=str(port),
                   IDEM_PROTOCOL=str(self.protocol), **self.more)
        process = subprocess.Popen(self.client.program, cwd=HERE, env=env, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, errors="replace",
                                   start_new_session=True)
        timer = threading.Timer(PROGRAM_SECONDS, self._end, [process])
        timer.start()
        said = []
        reader = threading.Thread(target=lambda: said.extend(process.stderr))
        reader.start()
        try:
            for line in process.stdout:
                self._line(line.rstrip("\n"), process, port)
            status = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                kill_group(process)
            reader.join()
        if status != 0 and not self.failures:
            self.failures.append(f"program left with {status}: " + "".join(said)[-3000:])
        elif self.failures and said:
            self.failures.append("standard error: " + "".join(said)[-3000:])

    def _end(self, process):
        self.failures.append(f"FAILED (timeout): it did not end within {PROGRAM_SECONDS:g} s")
        kill_group(process)

    def _line(self, line, process, port):
        if line.startswith("ok "):
            self.passed.append(line[3:].split(" ")[0])
        elif line.startswith("not ok "):
            self.failures.append(line[7:])
        elif line.startswith("skip "):
            self.skipped.append(line[5:])
        elif line == "restart":
            self.server.stop()
            self.server = start_again(port)
            process.stdin.write("restarted\n")
            process.stdin.flush()
        elif line.startswith("#"):
            print("    " + line, flush=True)
        elif line:
            self.failures.append("not a step: " + line)


def run_client(client, may_install):
    """The rows of one client: (protocol, steps, result, failures)."""
    try:
        prepare(client, may_install)
    except Unavailable as reason:
        return [("", "", f"SKIPPED: {reason}", [])]
    except (subprocess.SubprocessError, OSError) as error:
        return [("", "", "FAILED", [str(error)])]
    rows = []
    for protocol in client.protocols:
        run = Run(client, protocol)
        run.go()
        result = "FAILED" if run.failures else "passed"
        if not client.steps:
            total = len(run.passed) + len(run.failures) + len(run.skipped)
            if run.skipped and not run.failures:
                result = "SKIPPED: " + "; ".join(run.skipped)
            rows.append(("", f"{len(run.passed)} of {total}", result, run.failures))
            continue
        lacks = client.lacks.get(protocol)
        if lacks and not run.failures:
            result += f" (over RESP{protocol} this client has no {', '.join(lacks)})"
        rows.append((f"RESP{protocol}", f"{len(run.passed)} of {len(client.expected(protocol))}",
                     result, run.failures))
    return rows


def table(rows):
    lines = ["| client | language | version | protocol | steps | result |",
             "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def write_page(text):
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE}: no markers for the table")
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(head + BEGIN + "\n" + text + END + tail)


def arguments():
    parser = argparse.ArgumentParser(description="idem with the clients that people use")
    parser.add_argument("names", nargs="*", metavar="NAME")
    for flag in ("--strict", "--write", "--no-install", "--list"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args()
    unknown = set(given.names) - {client.name for client in CLIENTS}
    if unknown:
        parser.error("no such client: " + " ".join(sorted(unknown)))
    if given.write and given.names:
        parser.error("--write is for the whole table")
    return given


def main():
    given = arguments()
    chosen = [c for c in CLIENTS if not given.names or c.name in given.names]
    if given.list:
        print("\n".join(client.name for client in chosen))
        return 0
    rows, failed, skipped = [], False, False
    for client in chosen:
        began = time.monotonic()
        for protocol, steps, result, failures in run_client(client, not given.no_install):
            version = "" if result.startswith("SKIPPED") else client.version()
            rows.append((client.title, client.language, version, protocol, steps, result))
            failed = failed or result == "FAILED"
            skipped = skipped or result.startswith("SKIPPED")
            took = time.monotonic() - began
            print(f"{client.name:16} {protocol:6} {steps:9} {result} ({took:.1f} s)", flush=True)
            for failure in failures:
                print("    not ok " + failure.strip().replace("\n", "\n      "), flush=True)
    print("\n" + table(rows))
    if given.write and not failed:
        write_page(table(rows))
    if skipped and given.strict:
        print("a client was skipped, which --strict forbids")
    return 1 if failed or (skipped and given.strict) else 0


if __name__ == "__main__":
    sys.exit(main())
