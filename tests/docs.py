#!/usr/bin/python3
"""Runs what the documentation shows, and compares the results with the pages.

usage: docs.py [PAGE.md ...]      (without pages: all pages, the options table and the links)
The server is $IDEM_SERVER, by default build/release/idem-server.

A page may contain these blocks. Readers need not know the convention:

```redis               a session of redis-cli; the prompt names the connection
alice> CLAIM a         `<token>`, `<token-2>`: a token, the same one wherever it is named
1) "CLAIMED"           `~60000`: about so much; `...`: any text, as a whole line any lines
bob> CLAIM a WAIT 5000
(waits)                no reply comes yet
bob<                   now the reply comes
-- 300 ms later --     time passes
carol> CLAIM a BORN <born>     the unix time in ms at which this server's sessions used it first
-- bob hangs up --     the connection is closed
$ idem-server --OPTION VALUE     the following sessions have a server of their own with these
$ idem-server idem.conf    # LINE      options, or with this line in its configuration file
```
```resp                bytes: `C:` the client sends, `S:` it receives, `S: (closes)`
```
```python, ```js, ```c, ```lua   programs to run; comments `prints: TEXT` say what they print, in
                                 this order; without a server they end and print something else

Each heading begins with a fresh server, which all sessions under it share. This file must not know
what any command means. Invariant: nothing is skipped silently; what cannot be run here is reported.
"""

import contextlib
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "wire"), os.path.join(HERE, "system"), HERE]
import run as wire  # noqa: E402
sys.path.append(os.path.join(HERE, "ops"))
import conf  # noqa: E402
from harness import HANG_SECONDS, PROGRAM, Client, Server, eventually  # noqa: E402
from limit import TimedOut, limited  # noqa: E402

PROGRAM_SECONDS = 2 * HANG_SECONDS
# For a run without a server. A client that keeps retrying needs more than a minute.
NO_SERVER_SECONDS = 40
TOUR_LEASE_MS = 50       # for the slow reader: each step comes later than this
TRIES = 3                # sessions on a page have leases of seconds, for which a machine may be too slow once
DEFAULT_PORT = "4336"    # as in the programs on the pages
SESSIONS = {"redis", "resp"}
# The blocks of these pages are run. Other pages have their own tests, or nothing to run.
RUN_PAGES = ["README.md", "proto/PROTOCOL.md"]

FENCE = re.compile(r"^```(\w*)$")
START = re.compile(r"^\$ idem-server ?(.*)$")
SEND = re.compile(r"^([\w.:]*)> (.+)$")
RECEIVE = re.compile(r"^(\w+)<$")
LATER = re.compile(r"^-- (\d+) ms later --$")
HANGS_UP = re.compile(r"^-- (\w+) hangs up --$")
PRINTS = re.compile(r"(?:#|//|--) prints: (.+)$")

# The protocol's page has to show these in a session. It also has to name every command.
SHOWN_COMMANDS = ["CLAIM", "STORE", "RENEW", "RELEASE", "FETCH", "WAIT", "AWAIT", "INSPECT", "CLAIMS",
                  "IDEM.CLAIM"]
SHOWN_ERRORS = ["MISMATCH", "STALE", "CONFLICT", "OOM", "TOOBIG", "BUSYKEY", "WRONGTYPE", "ERR",
                "NOAUTH", "WRONGPASS", "NOPROTO", "EXECABORT"]


class Wrong(Exception):
    """The page is wrong."""


class Skipped(Exception):
    """The program cannot be run on this machine."""


class Block:
    def __init__(self, page, line, language, heading):
        self.page, self.line, self.language, self.heading = page, line, language, heading
        self.lines = []

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"


def read_page(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def read_file(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def blocks_of(page):
    """The fenced blocks that have a language; `heading` is the number of headings above."""
    blocks, block, heading = [], None, 0
    for number, line in enumerate(read_page(page).split("\n"), 1):
        fence = FENCE.match(line)
        if block is not None and line == "```":
            blocks.append(block)
            block = None
        elif block is not None:
            block.lines.append(line)
        elif fence:
            block = Block(page, number + 1, fence.group(1), heading)
        elif line.startswith("#"):
            heading += 1
    if block is not None:
        raise Wrong(f"{page}:{block.line}: a block without an end")
    return [block for block in blocks if block.language]


def placeholders(text):
    """The page's convention -> that of the wire transcripts."""
    text = re.sub(r"<token(?:-(\d+))?>", lambda m: f"<token:{m.group(1) or 1}>", text)
    text = re.sub(r"(?<![\w~])~(\d+)", r"<about:\1>", text)
    return text if text == "..." else text.replace("...", "<any>")


class Stage:
    """One server and the connections of the sessions that run against it."""

    pause_seconds = 0  # before each step

    def __init__(self, line="", server=None):
        options, _, config = line.partition("#")
        words = options.split()
        given = config.strip() + "\n" if "idem.conf" in words else None
        self.server = server or Server(*[word for word in words if word != "idem.conf"],
                                       config=given)
        self.values = wire.Values()
        self.connections = {}
        self.heading = None
        self.born_ms = None

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()
        self.server.stop()

    def play(self, block):
        """The number of steps, if all came out as the page shows; raises Wrong otherwise."""
        steps = sessions(block) if block.language == "redis" else exchanges(block)
        problems = []
        for number, action, argument, expected in steps:
            time.sleep(self.pause_seconds)
            try:
                problem = action(self, argument, expected)
            except (wire.Failed, AssertionError, OSError, KeyError) as failure:
                problem = repr(failure)
            if problem:
                said = argument if isinstance(argument, str) else "> ".join(argument)
                problems.append(f"{block.page}:{number}: {said}\n{problem}")
                if block.language == "resp":
                    break  # later steps would read from the wrong place
        if problems:
            raise Wrong("\n".join(problems))
        return len(steps)

    # The actions of session lines: (argument, expected lines) -> None, or what is wrong

    def send(self, argument, expected):
        name, command = argument
        if name not in self.connections:
            self.connections[name] = wire.Cli(self.server, 2)
        cli = self.connections[name]
        command = self.values.fill(placeholders(self._with_birth(command)))
        if expected == ["(waits)"]:
            return self._await_wait(cli, command)
        cli.send(command)
        if command.upper().startswith(("SUBSCRIBE ", "PSUBSCRIBE ")):
            cli.listens = True
        return self.receive(name, expected)

    def receive(self, name, expected):
        cli = self.connections[name]
        lines = listened(cli, len(expected)) if hasattr(cli, "listens") else cli.receive()
        return self._compare(expected, lines)

    def later(self, argument, _):
        time.sleep(int(argument) / 1000)

    def hang_up(self, name, _):
        self.connections.pop(name).close()

    def _with_birth(self, command):
        if "<born>" in command and self.born_ms is None:
            self.born_ms = int(time.time() * 1000)
        return command.replace("<born>", str(self.born_ms))

    def _await_wait(self, cli, command):
        with self.server.client() as control:
            def blocked():
                return int(self.server.info("clients", control)["blocked_clients"])
            wanted = blocked() + 1
            cli.send(command)
            eventually(lambda: blocked() == wanted, what=f"the wait of {command}")

    def _compare(self, expected, lines):
        problem = wire.match_lines([placeholders(line) for line in expected], lines, self.values)
        return problem and problem + "\n   whole: " + "\n          ".join(lines[:40])

    # Bytes

    def send_bytes(self, text, _):
        if "bytes" not in self.connections:
            self.connections["bytes"] = Client(self.server)
        self.connections["bytes"].send_raw(wire.unescape(self.values.fill(placeholders(text))))

    def receive_bytes(self, text, _):
        client = self.connections["bytes"]
        if text == "(closes)":
            self.connections.pop("bytes")
            ended = client.ended()
            client.close()
            return None if ended else "the server does not close the connection"
        regex, checks = wire.pattern_of(wire.unescape(placeholders(text)).decode("latin-1"),
                                        self.values)
        while not (found := re.match(regex, client.buffer.decode("latin-1"), re.S)):
            try:
                data = client.sock.recv(1 << 16)
            except OSError as failure:
                data, text = b"", f"{text} ({failure})"
            if not data:
                return f"expected: {text}\n     got: {bytes(client.buffer)!r}"
            client.buffer += data
        for check, group in zip(checks, found.groups()):
            check(group)
        del client.buffer[:found.end()]
        return None


def listened(cli, count):
    """So many lines of a redis-cli that has subscribed and takes no more commands."""
    def enough():
        try:
            cli.answered(0.01)
        except wire.Failed:
            pass
        return cli.output.count(b"\n") >= count
    eventually(enough, what=f"{count} lines")
    lines = cli.output.decode("latin-1").split("\n")
    cli.output = "\n".join(lines[count:]).encode("latin-1")
    return lines[:count]


def sessions(block):
    """The steps of a session: (line number, method of Stage, its argument, expected lines)."""
    steps = []
    taking = False
    for number, line in enumerate(block.lines, block.line):
        sends, receives = SEND.match(line), RECEIVE.match(line)
        later, hangs_up = LATER.match(line), HANGS_UP.match(line)
        if sends:
            steps.append((number, Stage.send, sends.groups(), []))
        elif receives:
            steps.append((number, Stage.receive, receives.group(1), []))
        elif later:
            steps.append((number, Stage.later, later.group(1), []))
        elif hangs_up:
            steps.append((number, Stage.hang_up, hangs_up.group(1), []))
        elif line and taking:
            steps[-1][3].append(line)
        elif line and not START.match(line):
            raise Wrong(f"{block.page}:{number}: not understood: {line}")
        taking = bool(sends or receives) or (taking and line != "")
    return steps


def exchanges(block):
    steps = []
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("C: "):
            steps.append((number, Stage.send_bytes, line[3:], []))
        elif line.startswith("S: "):
            steps.append((number, Stage.receive_bytes, line[3:], []))
        elif line and not START.match(line):
            raise Wrong(f"{block.page}:{number}: not understood: {line}")
    return steps


# Programs

def node_command(text, directory):
    node = shutil.which("node")
    package = re.search(r"(?:require\(|from )['\"]([^'\"]+)['\"]", text)
    if node is None or package is None:
        raise Skipped("node is not installed")
    places = glob.glob(os.path.join("/usr/share/nodejs", package.group(1)))
    for folder in ("http", "clients"):
        places += sorted(glob.glob(os.path.join(ROOT, f"build/{folder}/*/node_modules", package.group(1))))
    if not places:
        raise Skipped(f"the npm package {package.group(1)} is not installed (make readme, make test-clients)")
    os.environ["NODE_PATH"] = os.path.dirname(places[-1])  # the newest
    path = os.path.join(directory, "snippet.js")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return [node, path]


def python_command(text, directory):
    path = os.path.join(directory, "snippet.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    module = re.search(r"^import (\w+)", text, re.M).group(1)
    probe = subprocess.run(["/usr/bin/python3", "-c", f"import {module}"], capture_output=True)
    if probe.returncode:
        raise Skipped(f"python3-{module} is not installed")
    return ["/usr/bin/python3", path]


def c_command(text, directory):
    """Compiles the program exactly as its first line says, in a directory that looks like the root of
    the repository; then again with warnings."""
    line = text.split("\n", 1)[0]
    if not line.startswith("// cc "):
        raise Wrong("the first line does not say how to compile it: // cc ...")
    for name in ("client", "build"):
        os.symlink(os.path.join(ROOT, name), os.path.join(directory, name))
    with open(os.path.join(directory, "demo.c"), "w", encoding="utf-8") as file:
        file.write(text)
    for more in ("", " -Wall -Wextra -Werror"):
        built = subprocess.run(line[3:] + more, shell=True, cwd=directory, capture_output=True,
                               text=True)
        if built.returncode:
            raise Wrong(f"{line}{more}\n{built.stderr}")
    return [os.path.join(directory, "demo")]


def lua_commands(text, directory):
    """Commands for both interpreters, which treat numbers alike."""
    path = os.path.join(directory, "snippet.lua")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    commands = [[interpreter, path] for interpreter in ("lua5.1", "luajit")]
    for interpreter, _ in commands:
        if shutil.which(interpreter) is None:
            raise Skipped(f"{interpreter} is not installed")
    return commands


COMMANDS = {"python": lambda *given: [python_command(*given)], "js": lambda *given: [node_command(*given)],
            "c": lambda *given: [c_command(*given)], "lua": lua_commands}


def programs_of(block, port, directory):
    return COMMANDS[block.language](block.text.replace(DEFAULT_PORT, str(port)), directory)


def run_program(block):
    expected = [found.group(1) for found in map(PRINTS.search, block.lines) if found]
    if not expected:
        raise Wrong("the page does not say what it prints")
    with Server() as server, tempfile.TemporaryDirectory(prefix="idem-docs-") as directory:
        for command in programs_of(block, server.address[1], directory):
            done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS)
            if done.returncode:
                raise Wrong(f"it left with {done.returncode}:\n{done.stdout}{done.stderr}")
            problem = wire.match_lines(expected, done.stdout.splitlines(), wire.Values())
            if problem:
                raise Wrong(problem)
    if DEFAULT_PORT in block.text:
        run_without_server(block, expected)


def run_without_server(block, expected):
    """The program ends, and prints nothing that would mean that the work was done."""
    with socket.socket() as taken, tempfile.TemporaryDirectory(prefix="idem-docs-") as directory:
        taken.bind(("127.0.0.1", 0))  # not listening: no other program gets the port
        for command in programs_of(block, taken.getsockname()[1], directory):
            try:
                done = subprocess.run(command, capture_output=True, text=True,
                                      timeout=NO_SERVER_SECONDS)
            except subprocess.TimeoutExpired:
                raise Wrong(f"without a server it does not end in {NO_SERVER_SECONDS} s") from None
            if set(expected) & set(done.stdout.splitlines()) or not done.stdout + done.stderr:
                raise Wrong(f"without a server: {done.returncode}\n{done.stdout}{done.stderr}")


# The first steps of a newcomer

class Made(Server):
    """The server of `make run`, on a free port, with its journal in this directory."""

    def __init__(self, data):
        self.directory = tempfile.mkdtemp(prefix="idem-docs-")
        self.log_path = os.path.join(self.directory, "log")
        self.listeners = 1
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        with open(self.log_path, "wb") as log:
            self.process = start_make("run", f"PORT={port}", f"DATA={data}", stdout=log)
        try:
            self._await_ready()
            self.pid = int(re.search(r"^(\d+) .*ready to accept", self.log(), re.M).group(1))
        except BaseException:
            self.kill()
            self.forget()
            raise

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def hints(self):
        """[(command, its comment), ...]"""
        eventually(lambda: re.search(r"^  redis-cli .*DONE", self.log(), re.M), "the hints")
        return re.findall(r"^  (redis-cli .*\S) +# (.+)$", self.log(), re.M)


def start_make(*words, stdout):
    """Starts make without the variables of an enclosing make."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("MAKE") and name != "MFLAGS"}
    return subprocess.Popen(["make", "-C", ROOT, *words], env=environment, stdin=subprocess.DEVNULL,
                            stdout=stdout, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True)


def make_says(*words):
    """(exit status, output)"""
    process = start_make(*words, stdout=subprocess.PIPE)
    try:
        said, _ = process.communicate(timeout=PROGRAM_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise Wrong(f"make {' '.join(words)} does not end") from None
    return process.returncode, said


def follow_hints(hints):
    token = None
    for command, comment in hints:
        time.sleep(2 * TOUR_LEASE_MS / 1000)
        said = subprocess.run(command.replace("TOKEN", str(token)), shell=True, capture_output=True,
                              text=True, timeout=PROGRAM_SECONDS).stdout.splitlines()
        if not said or said[0] != re.match(r"\w+", comment).group():
            raise Wrong(f"make run: {command}  # {comment}\n  said: {said}")
        token = token or (said[1] if said[0] == "CLAIMED" else None)


def check_tour():
    with tempfile.TemporaryDirectory(prefix="idem-docs-") as data:
        steps = follow_tour(data)
        check_remembers(data)
    print(f"ok make run: its hints and {steps} steps of README.md on one server, read slowly; the next one remembers")


def follow_tour(data):
    """A slow reader follows `make run`, the commands that it prints, and the tour of README.md."""
    stage = Stage(server=Made(data))
    stage.pause_seconds = 2 * TOUR_LEASE_MS / 1000
    server = stage.server
    try:
        with server.client() as client:
            client.call("CONFIG", "SET", "lease", TOUR_LEASE_MS)
        hints = server.hints()
        if server.log().find("listens") < server.log().find("ready to accept"):
            raise Wrong("make run says that it listens before it does:\n" + server.log())
        follow_hints(hints)
        steps = sum(stage.play(block) for block in blocks_of("README.md")
                    if block.language in SESSIONS)
    finally:
        stage.close()
    return steps


def check_remembers(data):
    """What `make run` answered is there after the next one; the first step of the tour makes room for it."""
    server = Made(data)
    try:
        with server.client() as client:
            kept = [(client.call("FETCH", key) or [None])[0] for key in ("hello", "order-17")]
            if kept != [b"DONE", b"DONE"] or client.call("DEL", "order-17") != 1:
                raise Wrong(f"make run does not remember what it answered: {kept}")
    finally:
        server.stop()


def check_run_refused():
    with (socket.create_server(("127.0.0.1", 0)) as taken,
          tempfile.TemporaryDirectory(prefix="idem-docs-") as data):
        status, said = make_says("run", f"PORT={taken.getsockname()[1]}", f"DATA={data}")
    if status == 0 or "listens" in said or "in use" not in said or "make run PORT=" not in said:
        raise Wrong(f"make run on a port that is taken: {status}\n{said}")
    print("ok make run: a port that is taken is told, and how to get another")


def check_make():
    """The targets that README.md names install what they need."""
    named = {"run", "test", "client", "install"}
    missing = named - set(re.findall(r"\bmake ([a-z-]+)", read_page("README.md")))
    for target in named - missing:
        status, said = make_says("-n", target)
        if status or "tests/need " not in said:
            raise Wrong(f"make {target} does not install what it needs:\n{said[:2000]}")
        if re.search(r"^(ok|Ran \d+ tests) ", said, re.M):
            raise Wrong(f"make -n {target} does something:\n{said[-2000:]}")
    if missing:
        raise Wrong("README.md does not name: " + " ".join(missing))
    print(f"ok README.md: make {', make '.join(sorted(named))} get what is missing")


# Pages

def check_page(page):
    """Tries again if the page fails: a page that is wrong fails every time."""
    for tries_left in range(TRIES - 1, -1, -1):
        try:
            play_page(page)
            return
        except Wrong as problem:
            if tries_left == 0:
                raise
            print(f"once more, because of: {problem}")


def play_page(page):
    """Plays all blocks of the page; raises all their problems together."""
    stage, checked, problems = None, 0, []
    try:
        for block in blocks_of(page):
            try:
                if block.language in COMMANDS:
                    report_program(block)
                elif block.language in SESSIONS:
                    stage = stage_for(block, stage)
                    checked += stage.play(block)
            except Wrong as problem:
                problems.append(str(problem))
    finally:
        if stage is not None:
            stage.close()
    if problems:
        raise Wrong("\nnot ok ".join(problems))
    print(f"ok {page}: {checked} steps of sessions")


def stage_for(block, former):
    """The server of the former block, or a fresh one."""
    start = START.match(block.lines[0])
    if former is not None and not start and former.heading == block.heading:
        return former
    if former is not None:
        former.close()
    stage = Stage(start.group(1) if start else "")
    stage.heading = block.heading
    return stage


def report_program(block):
    label = f"{block.page}:{block.line} {block.language}"
    try:
        run_program(block)
        print(f"ok {label}")
    except Skipped as reason:
        print(f"ok {label} # SKIP {reason}")
    except Wrong as problem:
        raise Wrong(f"{label}: {problem}") from None


def pages():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT,
                            capture_output=True, text=True)
    if listed.returncode == 0:
        return sorted(path for path in listed.stdout.split()
                      if os.path.exists(os.path.join(ROOT, path)))
    found = glob.glob(os.path.join(ROOT, "**/*.md"), recursive=True)
    return sorted(os.path.relpath(path, ROOT) for path in found if "/build/" not in path)


def anchors_of(page):
    """The anchors that GitHub makes from headings."""
    prose = re.sub(r"^```.*?^```$", "", read_page(page), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_links():
    count = 0
    for page in pages():
        prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", read_page(page), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            whole = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            if not os.path.exists(os.path.join(ROOT, whole)):
                raise Wrong(f"{page}: there is no {target}")
            if anchor and whole.endswith(".md") and anchor not in anchors_of(whole):
                raise Wrong(f"{page}: {whole} has no heading #{anchor}")
            count += 1
    print(f"ok links: {count} have targets")


def microseconds(nanoseconds):
    """As the page writes it: two digits."""
    return f"{nanoseconds / 1000:.2f}" if nanoseconds < 1000 else f"{nanoseconds / 1000:.1f}"


FIGURE = r"([\d.]+)"
# What the page quotes, and the servers whose rows these are (in the first table).
RESULTS = "bench/RESULTS.md"
QUOTED = [
    (f"{FIGURE} µs for a `CLAIM`, where `SET NX` costs redis-server {FIGURE} µs "
     rf"\(16 commands a round trip; with one {FIGURE} and {FIGURE} µs", ("idem", "redis")),
    (f"`appendfsync always` on both: {FIGURE} and {FIGURE} µs, with one command a round trip {FIGURE} and {FIGURE} ",
     ("idem always", "redis always")),
]


def check_figures():
    """What README.md says of speed and of other libraries is what the pages say that were generated."""
    page = " ".join(read_page("README.md").split())
    measured = {}
    for case, server, figure in re.findall(r"^\| +(?:durable )?(claim, pipeline \d+) \| +([a-z ]+) \| +(\d+) \(",
                                           read_page(RESULTS), re.M):
        measured.setdefault((case, server.strip()), microseconds(int(figure)))
    for pattern, servers in QUOTED:
        told = [measured[f"claim, pipeline {depth}", server] for depth in (16, 1) for server in servers]
        shown = re.search(pattern, page)
        if not shown or list(shown.groups()) != told:
            raise Wrong(f"README.md: {RESULTS} says {told}, the page {shown and list(shown.groups())}")
    check_comparison(page)
    print(f"ok README.md: its figures are those of {RESULTS} and tests/http/COMPARISON.md")


def check_comparison(page):
    table = read_page("tests/http/COMPARISON.md")
    names = re.search(r"^\| case \| (.+) \|$", table, re.M).group(1).split(" | ")
    passed = re.search(r"^\| \*\*passed\*\* \| (.+) \|$", table, re.M).group(1).split(" | ")
    results = {name: tuple(map(int, result.split(" of "))) for name, result in zip(names, passed)}
    for library in ("node-idempotency", "express-idempotency"):
        right, asked = results.pop(library)
        if asked != 10 or f"`{library}` passes {right}" not in page and f"`{library}` {right};" not in page:
            raise Wrong(f"README.md: `{library}` passes {right} of {asked}")
    if "of the [ten cases]" not in page or any(right != asked for right, asked in results.values()):
        raise Wrong(f"README.md: every adapter passes all of ten: {results}")


# Page, where its map begins and ends, and the folders beside it whose files the map names.
MAPS = [
    ("server/README.md", "## How it is built", "One sentence to keep", ("base", "rules", "engine", "journal", "ops", "net", "module")),
    ("client/README.md", "## Inside libidem", "`tests/client/test_policy.c`", ("",)),
]


def check_maps():
    """The maps of the server and of libidem name every .c file. (A family of commands needs no name.)"""
    for page, begin, end, folders in MAPS:
        part = read_page(page).split(begin + "\n")[1].partition(end)[0]
        files = [path for folder in folders for path in glob.glob(os.path.join(ROOT, os.path.dirname(page), folder, "*.c"))]
        names = {os.path.splitext(os.path.basename(path))[0] for path in files}
        lost = sorted(name for name in names
                      if not re.search(rf"\b{name}\b", part) and not name.startswith(("http_", "options_")))
        if lost or not names:
            raise Wrong(f"{page}: {begin[3:]!r} does not name {', '.join(lost)}")
    print("ok server/README.md, client/README.md: their maps name every file")


def check_options():
    page = read_page("server/README.md")
    found = re.search(r"^<!-- options -->\n+(.*?)\n+<!-- /options -->$", page, re.M | re.S)
    if not found:
        raise Wrong("server/README.md has no options table")
    told = subprocess.run([PROGRAM, "--help", "markdown"], capture_output=True, text=True,
                          check=True).stdout.strip()
    if found.group(1).strip() != told:
        differ = next((pair for pair in zip(found.group(1).strip().split("\n"), told.split("\n"))
                       if pair[0] != pair[1]), ("its end", "its end"))
        raise Wrong("server/README.md: the options table is not that of --help markdown:\n"
                    f"  page:    {differ[0]}\n  program: {differ[1]}")
    if conf.complaints():
        raise Wrong("\n".join(conf.complaints()))
    rows = len(told.split("\n")) - 2
    print(f"ok server/README.md, server/deploy/idem.conf: have {rows} options, as --help")


def check_configuration():
    """The server starts with the configuration file that its page shows."""
    found = re.search(r"^A configuration file has [^\n]*(?:\n[^\n]+)*\n\n((?:    [^\n]*\n)+)", read_page("server/README.md"), re.M)
    with tempfile.TemporaryDirectory(prefix="idem-docs-") as directory:
        os.mkdir(os.path.join(directory, "idem"))
        config = re.sub(r"^ +", "", found.group(1), flags=re.M).replace("port " + DEFAULT_PORT, "port 0")
        log = os.path.join(directory, "idem.log")
        config = config.replace("/var/log/idem.log", log).replace("/var/lib", directory)
        server = Server(config=config, wait_ready=False)
        try:
            eventually(lambda: server.process.poll() is not None or os.path.exists(log) and "ready to accept" in read_file(log),
                       "the server of the configuration file")
            if server.process.poll() is not None:
                raise Wrong("server/README.md: the configuration file is refused: " + server.log())
        finally:
            server.kill()
            server.forget()
    print("ok server/README.md: the server starts with the configuration file")


def check_metrics():
    """server/METRICS.md has the table that the program prints."""
    page = read_page("server/METRICS.md")
    found = re.search(r"^<!-- metrics: .* -->\n(.*?)\n<!-- /metrics -->$", page, re.M | re.S)
    if not found:
        raise Wrong("server/METRICS.md has no table of metrics")
    told = subprocess.run([PROGRAM, "--help", "metrics"], capture_output=True, text=True, check=True).stdout.strip()
    if found.group(1).strip() != told:
        differ = next((pair for pair in zip(found.group(1).strip().split("\n"), told.split("\n"))
                       if pair[0] != pair[1]), ("its end", "its end"))
        raise Wrong("server/METRICS.md: the table is not that of --help metrics:\n"
                    f"  page:    {differ[0]}\n  program: {differ[1]}")
    print(f"ok server/METRICS.md: the table has {len(told.splitlines()) - 2} metrics, as --help metrics")


def check_info():
    """The operators' page explains each figure of the section idem of INFO, and those of the journal."""
    page = read_page("server/README.md")
    with Server() as server:
        fields = [*server.info("idem"),
                  *(name for name in server.info("persistence") if name.startswith("journal_"))]
    missing = [name for name in fields if f"`{name}`" not in page]
    if missing or not fields:
        raise Wrong("server/README.md does not explain: " + " ".join(missing))
    print(f"ok server/README.md: explains the {len(fields)} figures of INFO idem, and of the journal")


def check_protocol():
    """The page names every command, and shows the most important ones in sessions."""
    page = read_page("proto/PROTOCOL.md")
    with Server() as server:
        names = {name.partition("|")[0] for name in wire.command_names(server)}
    missing = sorted(name for name in names if not re.search(rf"\b{re.escape(name)}\b", page))
    shown = "\n".join(block.text for block in blocks_of("proto/PROTOCOL.md"))
    missing += [name for name in SHOWN_COMMANDS if not re.search(rf"> {re.escape(name)} ", shown)]
    missing += [f"-{code}" for code in SHOWN_ERRORS if f"(error) {code} " not in shown]
    if missing:
        raise Wrong("proto/PROTOCOL.md does not show: " + " ".join(missing))
    print(f"ok proto/PROTOCOL.md: names all of {len(names)} commands")


def main():
    print(f"the documentation against {PROGRAM}")
    chosen = sys.argv[1:]
    checks = [(page, lambda page=page: check_page(page)) for page in chosen or RUN_PAGES]
    if not chosen:
        checks += [(check.__name__, check)
                   for check in (check_tour, check_run_refused, check_make, check_options, check_metrics, check_info,
                                 check_protocol, check_links, check_figures, check_maps, check_configuration)]
    good = True
    for name, check in checks:
        try:
            with limited(name):
                check()
        except (Wrong, AssertionError, OSError, subprocess.SubprocessError, TimedOut) as problem:
            good = False
            print(f"not ok {problem}".replace("\n", "\n  "))
        sys.stdout.flush()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
