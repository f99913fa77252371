"""Runs the snippets of client/README.md, unchanged, inside the programs in this directory.

A snippet to run has `<!-- run: NAME ... -->` above it. RUN names the program for it; the snippet
replaces the line SNIPPET there, and port 4336 becomes the port of the test's server. This file must
not know how a snippet works, only its results: the work runs once, is replayed, a waiting caller gets
the response; after a time-out the next one is told that it may have run, and with HOLD does not run
it; what may be forgotten does not run; without a server the program ends without an answer.
Invariants: every language that the page names is run, or the page says that it is not; what is not
installed is reported as skipped.
"""

import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(ROOT, "tests/system")]
from harness import Client, RespError  # noqa: E402
from steps import HOST, PORT, expect, ok, until  # noqa: E402

PAGE = os.path.join(ROOT, "client/README.md")
CLIENTS = os.environ.get("IDEM_CLIENTS", os.path.join(ROOT, "build/clients"))
LANGUAGES = 13
SECONDS = 120
# For a run without a server. A client that keeps retrying needs more than a minute.
NO_SERVER_SECONDS = 40

# name: (program in this directory, how it is built, how it is run)
RUN = {
    "hiredis": ("hiredis.c", ["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Werror", "-o", "{out}",
                              "{source}", "-lhiredis"], ["{out}"]),
    "redigo": ("redigo.go", ["go", "build", "-o", "{out}", "{source}"], ["{out}"]),
    "redis-py": ("redis-py.py", None, ["/usr/bin/python3", "{source}"]),
    "ioredis": ("ioredis.js", None, ["node", "{source}"]),
    "without-blocking": ("ioredis.js", None, ["node", "{source}"]),
    "node-redis": ("node-redis.js", None, ["node", "{source}"]),
    "phpredis": ("phpredis.php", None, ["php", "{source}"]),
    "redis-rb": ("redis-rb.rb", None, ["ruby", "{source}"]),
    "perl-redis": ("perl-redis.pl", None, ["perl", "{source}"]),
    "redis-cli": ("redis-cli.sh", None, ["sh", "{source}"]),
    "lua5.1": ("redis-lua.lua", None, ["lua5.1", "{source}"]),
    "luajit": ("redis-lua.lua", None, ["luajit", "{source}"]),
}
MARKS = ("// SNIPPET", "# SNIPPET", "-- SNIPPET")
# Snippets that are put into that of ioredis, instead of the line with this text.
INTO_IOREDIS = {"node-redis": "new Redis(4336", "without-blocking": "'WAIT', 60000"}
MODULE = {"ioredis": "ioredis", "without-blocking": "ioredis", "node-redis": "redis"}
TOOLS = {"redis-cli": ["redis-cli"]}
PRESENT = {
    "phpredis": ["php", "-r", "exit(extension_loaded('redis') ? 0 : 1);"],
    "redis-rb": ["ruby", "-e", "require 'redis'"],
    "perl-redis": ["perl", "-e", "use Redis"],
    "redis-py": ["/usr/bin/python3", "-c", "import redis"],
    "lua5.1": ["lua5.1", "-e", "require 'redis'"],
    "luajit": ["luajit", "-e", "require 'redis'"],
    "redigo": "/usr/share/gocode/src/github.com/gomodule/redigo",
    "hiredis": "/usr/include/hiredis/hiredis.h",
}


def node_modules(package):
    """Where run.py has installed the newest major version of a client."""
    found = [path for path in glob.glob(os.path.join(CLIENTS, package + "-*", "node_modules"))
             if os.path.isdir(os.path.join(path, package))]
    return max(found, default=None)


def missing(name):
    tools = [*(RUN[name][1] or [])[:1], *RUN[name][2][:1], *TOOLS.get(name, [])]
    for tool in tools:
        if "{" not in tool and not shutil.which(tool):
            return tool + " is not installed"
    if name in MODULE and not node_modules(MODULE[name]):
        return MODULE[name] + " is not installed"
    probe = PRESENT.get(name, [])
    if isinstance(probe, str):
        return None if os.path.exists(probe) else "its client is not installed"
    if probe and subprocess.run(probe, capture_output=True).returncode != 0:
        return "its client is not installed"
    return None


def snippets(page):
    """The snippets to run, by name. The page must account for each language."""
    found = re.search("<!-- languages: begin -->(.*)<!-- languages: end -->", page, re.S)
    languages = found.group(1)
    sections = re.split(r"^### ", languages, flags=re.M)[1:]
    expect(len(sections) == LANGUAGES, f"{len(sections)} languages")
    for section in sections:
        for before, _ in re.findall(r"((?:[^`\n][^\n]*\n)*\n?)```\w+\n(.*?)```", section, re.S):
            told = "<!-- run:" in before or "not run by the tests" in section
            expect(told, f"{section.splitlines()[0]}: is it run?")
    found = re.findall(r"<!-- run: ([\w. -]+?) -->\n```\w+\n(.*?)```", page, re.S)
    found = [(name, text) for names, text in found for name in names.split()]
    names = [name for name, _ in found]
    expect(sorted(names) == sorted(RUN), f"the page has {sorted(names)}, here are {sorted(RUN)}")
    return [(name, whole(name, text, dict(found)["ioredis"])) for name, text in found]


def whole(name, text, ioredis):
    if name not in INTO_IOREDIS:
        return text
    lines = ioredis.splitlines()
    [at] = [i for i, line in enumerate(lines) if INTO_IOREDIS[name] in line]
    return "\n".join([*lines[:at], text, *lines[at + 1:]])


class Program:
    def __init__(self, name, text, directory, port=PORT):
        program, build, run = RUN[name]
        with open(os.path.join(HERE, program), encoding="utf-8") as file:
            lines = file.read().splitlines()
        at = next(i for i, line in enumerate(lines) if line.strip() in MARKS)
        expect("4336" in text, "no port in it")
        lines[at:at + 1] = text.replace("4336", str(port)).splitlines()
        self.directory = os.path.join(directory, f"{name}-{port}")
        os.mkdir(self.directory)
        source, out = os.path.join(self.directory, program), os.path.join(self.directory, "out")
        with open(source, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        self.command = [word.format(source=source, out=out) for word in run]
        self.environment = dict(os.environ)
        if name in MODULE:
            self.environment["NODE_PATH"] = node_modules(MODULE[name])
        if build:
            subprocess.run([word.format(source=source, out=out) for word in build], check=True,
                           timeout=SECONDS)

    def start(self, key, call, **given):
        """WORK: ok, timeout (it runs and fails), nothing (it fails before); BORN, HOLD: if given."""
        environment = {**self.environment, "KEY": key, "CALL": call, "WORK": "ok", **given}
        return subprocess.Popen(self.command, cwd=self.directory, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment)


def finish(process, wanted, status=0):
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    expect(process.returncode == status and said == wanted,
           f"{wanted!r}, {status} expected, got {said!r}, {process.returncode}")


def waiting(client, key):
    blocked = b"blocked_clients:1\r\n" in client.call("INFO", "clients")
    return blocked or client.call("PUBSUB", "NUMSUB", f"__idem__:{key}")[1] == 1


def check_without_server(name, text, directory):
    """The program ends and does not report that the work was done."""
    with socket.socket() as taken:  # bound but not listening: no other program gets the port
        taken.bind((HOST, 0))
        process = Program(name, text, directory, taken.getsockname()[1]).start(name, "call-4")
        try:
            said, _ = process.communicate(timeout=NO_SERVER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            expect(False, f"without a server it does not end: {said!r}")
    told = "answer (none)\n" in said or (process.returncode != 0 and "answer" not in said)
    expect(told and "ran\n" not in said, f"without a server: {process.returncode} {said!r}")


def check(name, text, directory, client):
    program = Program(name, text, directory)
    finish(program.start(name, "call-1"), "ran\nanswer the response\n")
    finish(program.start(name, "call-2"), "answer the response\n")
    key = name + "-waited-for"
    token = client.call("CLAIM", key)[1]
    process = program.start(key, "call-3")
    try:
        until(lambda: waiting(client, key), "a waiting caller", SECONDS)
        stored = client.call("STORE", key, token, "told by another")
        expect(not isinstance(stored, RespError), str(stored))
        finish(process, "answer told by another\n")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    check_failures(name, program, client)


def check_failures(name, program, client):
    """What the next caller is told. The first time-out comes after the card was charged."""
    key = name + "-timed-out"
    finish(program.start(key, "call-5", WORK="timeout"), "ran\nfailed\n", 1)
    told = client.call("FETCH", key)
    expect(told and told[0] == b"LAPSED", f"after a time-out: {told}")
    told = client.call("CLAIM", key)
    expect(told[0] == b"CLAIMED" and told[3] == 2, f"the next one after a time-out: {told}")

    key = name + "-held"
    finish(program.start(key, "call-6", WORK="timeout", HOLD="1"), "ran\nfailed\n", 1)
    finish(program.start(key, "call-7", HOLD="1"), "answer (none)\n")
    told = client.call("FETCH", key)
    expect(told[0] == b"UNKNOWN", f"after a time-out, with HOLD: {told}")

    key = name + "-did-nothing"
    finish(program.start(key, "call-8", WORK="nothing", HOLD="1"), "failed\n", 1)
    told = client.call("FETCH", key)
    expect(told is None, f"after work that did nothing: {told}")
    finish(program.start(key, "call-9", HOLD="1"), "ran\nanswer the response\n")

    finish(program.start(name + "-old", "call-10", BORN="1"), "forgotten\n")


def main():
    with open(PAGE, encoding="utf-8") as file:
        found = snippets(file.read())
    good = True
    with tempfile.TemporaryDirectory() as directory, Client((HOST, PORT)) as client:
        for name, text in found:
            reason = missing(name)
            if reason:
                print(f"skip {name} {reason}", flush=True)
                continue
            try:
                check(name, text, directory, client)
                check_without_server(name, text, directory)
                ok(name)
            except Exception as error:  # any failure means that the page is wrong
                print(f"not ok {name} {str(error)[:1500]!r}", flush=True)
                good = False
    return 0 if good else 1


sys.exit(main())
