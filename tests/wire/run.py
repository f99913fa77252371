#!/usr/bin/python3
"""Runs the wire transcripts: readable text, sent through redis-cli to a fresh server.

usage: run.py [--coverage] [--tls] [FILE.transcript ...]      (without files: all, and the coverage)
--tls: redis-cli speaks TLS; raw bytes go to a port without.
The server is $IDEM_SERVER, by default build/release/idem-server. The format is in README.md.

It must not know what any command means. Invariants: a file has its own server; every line of output
is compared; it is a failure when COMMAND LIST names a command that no transcript sends.
"""

import glob
import os
import re
import selectors
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "system"), os.path.dirname(HERE)]
from harness import (HANG_SECONDS, POLL_SECONDS, PROGRAM, Client, RespError, Server,  # noqa: E402
                     encode)
from certificates import Authority, free_port  # noqa: E402
from limit import TimedOut, limited  # noqa: E402

if os.environ.get("IDEM_SUITE_HOST"):
    import module_host as names  # noqa: E402
else:
    names = None
SKIPS = names.skips() if names is not None else set()

# redis-cli itself answers a line that it cannot split, and flushes. So the end of a reply is visible
# without a byte on the connection that is tested.
END_ASK = b'"\n'
END_SEEN = b"Invalid argument(s)\n"

# A reply may come after the longest wait that the server allows.
REPLY_SECONDS = 2 * HANG_SECONDS
PROBLEMS_SHOWN = 20
FLOOD_LIMIT = 3_000_000
FLOOD_BATCH = 500
TOKEN_LIMIT = 1 << 53

PLACEHOLDER = re.compile(r"<(token|int|ms|left|age|about|now|any|x)(?::([^<>]*))?>")
DIRECTIVE = re.compile(r"(@\w+ )?(>|&|<|until>|flood>|close$|connect )|sleep |took |at once$|"
                       r"raw[@>< ]|raw$")
ABOUT_MS = 2000


class Failed(Exception):
    pass


def unix_ms():
    return time.time_ns() // 1_000_000


class Values:
    """The values that a file captured; checks that tokens only rise."""

    def __init__(self):
        self.by_name = {}
        self.highest = 0
        self.began = time.monotonic()
        self.began_unix_ms = unix_ms()
        self.births = {}

    def elapsed_ms(self):
        """An upper bound of the time since any step of this file."""
        return (time.monotonic() - self.began) * 1000 + 1

    def token(self, name, text):
        number = int(text)
        if not 0 < number < TOKEN_LIMIT:
            raise Failed(f"token {number} is outside of 1 .. 2^53-1")
        if name in self.by_name:
            if self.by_name[name] != number:
                raise Failed(f"token {name} was {self.by_name[name]}, now {number}")
            return
        if name:
            if number <= self.highest:
                raise Failed(f"token {name} = {number} is not above {self.highest}")
            self.by_name[name] = number
        self.highest = max(self.highest, number)

    def time(self, kind, detail, value):
        """Checks a time that depends on the machine, allowing for the time since the file began."""
        number, elapsed = int(detail.rstrip("s")), self.elapsed_ms()
        if detail.endswith("s"):
            elapsed = elapsed / 1000 + 1  # rounded
        low, high = {"left": (number - elapsed, number), "age": (number, elapsed),
                     "about": (number - ABOUT_MS - elapsed, number + ABOUT_MS + elapsed)}[kind]
        if not low <= value <= high:
            raise Failed(f"{value} is not within {low:.0f}..{high:.0f}")

    def unix_time(self, detail, number):
        """Checks a unix time that lies between the beginning of this file and now, or so much later."""
        low, high = (at + int(detail or "0") for at in (self.began_unix_ms - 1, unix_ms() + 1))
        if not low <= number <= high:
            raise Failed(f"{number} is not within {low}..{high}")

    def born(self, detail):
        """Now in unix milliseconds: plus `+MS`, or as it was when the name came first."""
        if detail and detail.startswith("+"):
            return unix_ms() + int(detail)
        return self.births.setdefault(detail, unix_ms()) if detail else unix_ms()

    def fill(self, text):
        """A command with its placeholders replaced."""
        def replace(match):
            kind, detail = match.groups()
            if kind == "x" and detail:
                return "x" * int(detail)
            if kind == "now":
                return str(self.born(detail))
            if kind == "token" and detail in self.by_name:
                return str(self.by_name[detail])
            raise Failed(f"nothing known to put for {match.group(0)}")
        return PLACEHOLDER.sub(replace, text)


def pattern_of(text, values):
    """Expected text -> (regex, checks). Each check is called with the text of its group."""
    parts, checks, at = [], [], 0
    for match in PLACEHOLDER.finditer(text):
        parts.append(re.escape(text[at:match.start()]))
        at = match.end()
        kind, detail = match.groups()
        if kind == "x":
            parts.append("x" * int(detail))
            continue
        parts.append("(.*?)" if kind == "any" else r"(-?\d+)")
        checks.append(check_of(kind, detail, values))
    parts.append(re.escape(text[at:]))
    return "".join(parts), checks


def check_of(kind, detail, values):
    if kind == "token":
        return lambda text: values.token(detail, text)
    if kind == "now":
        return lambda text: values.unix_time(detail, int(text))
    if kind in ("left", "age", "about"):
        return lambda text: values.time(kind, detail or "0", int(text))
    if detail and kind in ("int", "ms"):
        low, high = (int(part) for part in detail.split(".."))

        def within(text):
            if not low <= int(text) <= high:
                raise Failed(f"{text} is not within {low}..{high}")
        return within
    return lambda text: None


def match_lines(expected, actual, values):
    """None, or why the lines differ. A line `...` stands for any number of lines."""
    if not expected:
        return "unexpected output" if actual else None
    if expected[0] == "...":
        return next((None for skip in range(len(actual) + 1)
                     if match_lines(expected[1:], actual[skip:], values) is None),
                    "nothing fits after `...`")
    if not actual:
        return f"missing: {expected[0]}"
    regex, checks = pattern_of(expected[0], values)
    found = re.fullmatch(regex, actual[0])
    if not found:
        return f"expected: {expected[0]}\n     got: {actual[0]}"
    known, highest = dict(values.by_name), values.highest
    try:
        for check, text in zip(checks, found.groups()):
            check(text)
    except Failed as problem:
        values.by_name, values.highest = known, highest
        return f"{problem}, in: {actual[0]}"
    rest = match_lines(expected[1:], actual[1:], values)
    if rest is not None:
        values.by_name, values.highest = known, highest
    return rest


class Tls:
    """What servers and redis-cli need for TLS. The port is another one for each server."""

    def __init__(self):
        self.authority = Authority()
        self.pair = self.authority.sign("server")
        self.port = 0

    def options(self, given):
        """For a server, besides those that a transcript gives it."""
        self.port = free_port()
        plain = [] if "--port" in given else ["--port", free_port()]
        return [*plain, "--tls-port", self.port, "--tls-cert-file", self.pair[0], "--tls-key-file", self.pair[1],
                "--tls-auth-clients", "no"]


TLS = None  # or a Tls


class Cli:
    """One redis-cli that reads commands from a pipe."""

    def __init__(self, server, protocol):
        host, port = server.address
        command = ["redis-cli", "-h", host, "-p", str(port), "--no-raw"]
        if TLS is not None:
            command[4:5] = [str(TLS.port), "--tls", "--cacert", TLS.authority.certificate]
        if protocol == 3:
            command.append("-3")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, bufsize=0,
                                        env={**os.environ, "REDISCLI_HISTFILE": "/dev/null"})
        self.output = b""
        self.renamed = False  # the last command, for the host of this run
        self.elapsed_ms = 0
        self.started = time.monotonic()
        self._ask_end()
        greeting = self.receive()
        if greeting:
            raise Failed("redis-cli greets with: " + "\n".join(greeting))

    def _ask_end(self):
        self.process.stdin.write(END_ASK)

    def send(self, command):
        self.started = time.monotonic()  # before the server can have started on it
        if names is not None:
            self.renamed = names.line(command) != command
            command = names.line(command)
        self.process.stdin.write(command.encode("latin-1") + b"\n")
        self._ask_end()

    def answered(self, seconds=0.0):
        """True when the whole reply arrives within the time."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while END_SEEN not in self.output:
                left = deadline - time.monotonic()
                if not selector.select(max(left, 0)):
                    return False
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                if not data:
                    raise Failed("redis-cli left, having said: " + self.output.decode("latin-1"))
                self.output += data
        return True

    def receive(self):
        """The lines of one reply."""
        if not self.answered(REPLY_SECONDS):
            raise Failed(f"no reply within {REPLY_SECONDS} s")
        self.elapsed_ms = (time.monotonic() - self.started) * 1000
        text, _, self.output = self.output.partition(END_SEEN)
        lines = text.decode("latin-1").replace("\r\n", "\n").split("\n")
        if lines[-1] == "":
            lines.pop()
        if self.renamed:
            lines = [names.told(line) for line in lines]
        if lines and re.fullmatch(r"\(\d+\.\d\ds\)", lines[-1]):  # redis-cli prints the time of a slow reply
            lines.pop()
        return lines

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def unescape(text):
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


class Step:
    """A directive with the output lines that belong to it."""

    def __init__(self, file, number, text):
        self.file, self.number, self.text, self.expected = file, number, text, []
        self.at_once = False  # set when the next line is `at once`


class Transcript:
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        self.options, self.config, self.protocols, self.needs = [], None, (2, 3), []
        self.steps = []
        with open(path, encoding="latin-1") as file:
            lines = file.read().split("\n")
        step = None
        for number, line in enumerate(lines, 1):
            if DIRECTIVE.match(line):
                step = Step(self.name, number, line)
                if line == "at once":
                    self.steps[-1].at_once = True
                self.steps.append(step)
            elif not line:
                step = None
            elif step is not None:
                step.expected.append(line)
            elif line.startswith("#"):
                self._header(line[1:].strip())
            else:
                raise SystemExit(f"{self.name}:{number}: not understood: {line}")
        self.steps = self._without_skipped()

    def _without_skipped(self):
        """The steps that the host of this run has; a skip that is for nothing is a failure."""
        name = self.name.removesuffix(".transcript")
        left_out = {step for file, step in SKIPS if file == name}
        for text in left_out - {"all"} - {step.text for step in self.steps}:
            raise SystemExit(f"{self.name}: no step `{text}` to skip")
        self.skipped = "all" in left_out
        if names is not None:
            left_out |= {step.text for step in self.steps if names.is_beyond(step.text)}
        return [step for step in self.steps if step.text not in left_out]

    def _header(self, line):
        word, colon, rest = line.partition(": ")
        if not colon:
            return
        if word == "server":
            self.options += rest.split()
        elif word == "config":
            self.config = (self.config or "") + rest + "\n"
        elif word == "protocols":
            self.protocols = tuple(int(part) for part in rest.split())
        elif word == "needs":
            self.needs += rest.upper().split()

    def commands_sent(self):
        """Names of all commands in it, also in the form `CLIENT|ID`."""
        names = set()
        for step in self.steps:
            text = step.text
            if text.startswith("raw"):
                data = text.partition(">")[2]
                names.update(re.findall(r"\*\d+\\r\\n\$\d+\\r\\n([\w.]+)", data.upper().replace(
                    "\\R\\N", "\\r\\n")))
                words = data.replace("\\r\\n", " ").replace("\\n", " ").split()
            else:
                words = re.sub(r"^(@\w+ )?(until>|flood>|>|&)", "", text).split()
            upper = [word.upper() for word in words]
            names.update(upper[:1])
            names.update(a + "|" + b for a, b in zip(upper, upper[1:]))
        return names


class Run:
    """One transcript in one protocol version against one server."""

    def __init__(self, transcript, protocol):
        self.transcript, self.protocol = transcript, protocol
        self.values = Values()
        self.connections, self.raws = {}, {}
        self.last, self.timed_out = None, 0
        self.problems, self.skipped, self.checked = [], None, 0

    def run(self):
        options = [*self.transcript.options, *(TLS.options(self.transcript.options) if TLS else [])]
        with Server(*options, config=self.transcript.config) as server:
            self.server = server
            if not self._has_needed():
                return self
            try:
                self._steps()
            finally:
                for cli in self.connections.values():
                    cli.close()
                for raw in self.raws.values():
                    raw.close()
        return self

    def _has_needed(self):
        if not self.transcript.needs:
            return True
        known = command_names(self.server)
        missing = [name for name in self.transcript.needs if name not in known]
        if missing:
            self.skipped = "the server has no " + " ".join(missing)
        return not missing

    def _steps(self):
        for step in self.transcript.steps:
            try:
                problem = self._step(step)
                self.checked += 1
            except (Failed, AssertionError, OSError) as failure:
                problem = str(failure)
            if problem:
                self.problems.append(f"{step.file}:{step.number} (RESP{self.protocol}): "
                                     f"{step.text[:200]}\n{problem}")
            if len(self.problems) >= PROBLEMS_SHOWN:
                self.problems.append(f"{step.file}: too many, the rest was not run")
                return
            if self.server.process.poll() is not None:
                self.problems.append(f"{step.file}:{step.number}: the server is gone:\n"
                                     + self.server.log()[-2000:])
                return

    def _step(self, step):
        text = step.text
        if text.startswith("sleep "):
            time.sleep(int(text.split()[1]) / 1000)
            return None
        if text.startswith("took "):
            return self._took(text)
        if text == "at once":
            return self._at_once()
        if text.startswith("raw"):
            return self._raw(step)
        name, kind, rest = re.fullmatch(
            r"(?:@(\w+) )?(until>|flood>|>|&|<|close|connect)(?: (.*)| ?)", text).groups()
        name, rest = name or "main", rest or ""
        if kind == "connect":
            self._close(name)
            self.connections[name] = Cli(self.server, int(rest))
            return None
        if kind == "close":
            self._close(name)
            return None
        if kind == "flood>":
            return self._flood(step, rest)
        cli = self._cli(name)
        if kind == "until>":
            return self._until(cli, step, rest)
        if kind == "&":
            return self._start_waiting(cli, rest)
        if kind == ">":
            if step.at_once:
                self.timed_out = self._timed_out()
            cli.send(self.values.fill(rest))
        self.last = cli
        return self._compare(step.expected, cli.receive())

    def _cli(self, name):
        if name not in self.connections:
            self.connections[name] = Cli(self.server, self.protocol)
        return self.connections[name]

    def _close(self, name):
        if name in self.connections:
            self.connections.pop(name).close()
        if name in self.raws:
            self.raws.pop(name).close()

    def _compare(self, expected, actual):
        problem = match_lines(expected, actual, self.values)
        if problem is None:
            return None
        show = [line if len(line) < 300 else line[:300] + "..." for line in actual]
        return problem + "\n   whole: " + "\n          ".join(show[:40])

    def _until(self, cli, step, command):
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            cli.send(self.values.fill(command))
            problem = self._compare(step.expected, cli.receive())
            if problem is None:
                return None
            if time.monotonic() > deadline:
                return f"not within {HANG_SECONDS} s; last:\n{problem}"
            time.sleep(POLL_SECONDS)

    def _start_waiting(self, cli, command):
        """Sends the command and returns once the server counts one more blocked client."""
        with self.server.client() as control:
            def blocked():
                return int(self.server.info("clients", control)["blocked_clients"])
            wanted = blocked() + 1
            cli.send(self.values.fill(command))
            deadline = time.monotonic() + HANG_SECONDS
            while blocked() != wanted:
                if cli.answered():
                    return "did not wait: " + "\n".join(cli.receive())
                if time.monotonic() > deadline:
                    return f"not counted as waiting within {HANG_SECONDS} s"
                time.sleep(POLL_SECONDS)
        return None

    def _took(self, text):
        """Checks the lower bound only: how much longer it takes depends on the machine."""
        if self.last.elapsed_ms < int(re.fullmatch(r"took (\d+)\.\. ms", text).group(1)):
            return f"it took {self.last.elapsed_ms:.0f} ms"
        return None

    def _timed_out(self):
        return int(self.server.info("idem")["waits_timed_out"])

    def _at_once(self):
        """The last command may have been slow, but its wait must not have ended by its time."""
        return None if self._timed_out() == self.timed_out else "it waited until its time was over"

    def _flood(self, step, command):
        """Sends the command with <n> counting up until an error comes, which is the output."""
        with self.server.client() as client:
            for start in range(0, FLOOD_LIMIT, FLOOD_BATCH):
                batch = b"".join(encode(*self.values.fill(command.replace("<n>", str(n))).split())
                                 for n in range(start, start + FLOOD_BATCH))
                client.send_raw(batch)
                replies = [client.read() for _ in range(FLOOD_BATCH)]
                error = next((reply for reply in replies if isinstance(reply, RespError)), None)
                if error is not None:
                    return self._compare(step.expected, [f"(error) {error}"])
        return f"no error in {FLOOD_LIMIT} commands"

    def _raw(self, step):
        name, kind, rest = re.fullmatch(r"raw(?:@(\w+))?(>|<| eof| half-close)(?: (.*)| ?)",
                                        step.text).groups()
        name = name or "raw"
        if step.expected:
            return "a raw step has no output lines; use raw<"
        if kind == ">" and name not in self.raws:
            self.raws[name] = Client(self.server)
        raw = self.raws.get(name)
        if raw is None:
            return "there is no such connection (any more)"
        raw.sock.settimeout(REPLY_SECONDS)
        if kind == ">":
            try:
                text = self.values.fill(rest)
                raw.send_raw(unescape(text if names is None else names.raw(text)))
            except (BrokenPipeError, ConnectionResetError):
                pass  # closed in the middle of a long command: the reply before that is still read
        elif kind == " half-close":
            raw.half_close()
        elif kind == "<":
            return self._raw_expect(name, raw, rest)
        else:
            got = self._raw_end(raw)
            self.raws.pop(name).close()
            return got
        return None

    def _raw_expect(self, name, raw, text):
        regex, checks = pattern_of(unescape(text).decode("latin-1"), self.values)
        regex = regex.replace(r"\.\.\.", "(?s:.*?)")
        try:
            while True:
                found = re.match(regex, raw.buffer.decode("latin-1"))
                if found:
                    break
                data = raw.sock.recv(1 << 16)
                if not data:
                    raise Failed("the connection was closed")
                raw.buffer += data
        except (OSError, Failed) as failure:
            self.raws.pop(name).close()
            return f"expected: {text}\n     got: {bytes(raw.buffer)!r} and then {failure}"
        for check, group in zip(checks, found.groups()):
            check(group)
        del raw.buffer[:found.end()]
        return None

    @staticmethod
    def _raw_end(raw):
        try:
            data = bytes(raw.buffer) or raw.sock.recv(1 << 16)
        except ConnectionResetError:
            return None
        except socket.timeout:
            return "the connection is still open"
        return f"unexpected: {data!r}" if data else None


def command_names(server):
    with server.client() as client:
        reply = client.call("COMMAND", "LIST")
    if not isinstance(reply, list):
        raise Failed(f"COMMAND LIST: {reply!r}")
    return {(name.decode() if isinstance(name, bytes) else name).upper() for name in reply}


def check_coverage(transcripts):
    """The commands of the server that no transcript sends."""
    sent = set().union(*(transcript.commands_sent() for transcript in transcripts))
    with Server() as server:
        names = command_names(server)
    missing = sorted(names - sent)
    for name in missing:
        print(f"not ok coverage: no transcript sends {name}")
    if not missing:
        print(f"ok coverage: each of the {len(names)} command rows is in a transcript")
    return not missing


def run_one(transcript, protocol):
    """Prints what came of it; True: all was as written."""
    started = time.monotonic()
    run = Run(transcript, protocol)
    label = f"{transcript.name} RESP{protocol}"
    try:
        with limited(label):
            run.run()
    except (AssertionError, Failed, OSError, TimedOut) as failure:
        run.problems.append(f"{transcript.name} (RESP{protocol}): {failure}")
    if run.skipped:
        print(f"ok {label} # SKIP {run.skipped}")
    elif run.problems:
        print(f"not ok {label}")
        print("  " + "\n".join(run.problems).replace("\n", "\n  "))
    else:
        print(f"ok {label}: {run.checked} steps, {time.monotonic() - started:.2f} s")
    sys.stdout.flush()
    return not run.problems


def main():
    global TLS
    arguments = sys.argv[1:]
    coverage = "--coverage" in arguments
    TLS = Tls() if "--tls" in arguments else None
    paths = [argument for argument in arguments if not argument.startswith("-")]
    all_paths = sorted(glob.glob(os.path.join(HERE, "*.transcript")))
    if not paths and not coverage:
        paths, coverage = all_paths, TLS is None and names is None
    host = PROGRAM if names is None else names.DESCRIPTION
    print(f"wire transcripts against {host}{' over TLS' if TLS else ''}")
    good = True
    for path in paths:
        transcript = Transcript(path)
        if transcript.skipped:
            print(f"ok {transcript.name} # SKIP it is about idem-server")
            continue
        for protocol in transcript.protocols:
            good = run_one(transcript, protocol) and good
    if coverage:
        good = check_coverage([Transcript(path) for path in all_paths]) and good
    if TLS is not None:
        TLS.authority.remove()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
