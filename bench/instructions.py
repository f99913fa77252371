#!/usr/bin/python3
"""make instructions: instructions that the server executes for one command, counted by callgrind.

A count is what a benchmark on a busy machine cannot be: repeatable. It says nothing of the kernel,
of caches or of branches; it shows at once that a change made a command longer. For each command a
fresh server gets N of them, another one 2N; the difference is divided by N, so that the preparation
(the same for both) cancels out. Start-up and end are not counted at all.

Only instructions of the server's own code count: the C library has another memcpy on another
processor, and jemalloc, libuv and the kernel are not ours. What the compiler makes of the code
differs too, so figures are compared with instructions.txt, within GATE_PERCENT, only where they
were made by the same compiler for the same architecture; elsewhere they are printed and nothing
fails. README.md beside this file says what remains.

Only the standard library, valgrind, and cc for a library of one function.
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
import tempfile
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIGURES = os.path.join("bench", "instructions.txt")
NO_ASLR = os.path.join(ROOT, "tests", "no-aslr")
FIXED_RANDOM = os.path.join(ROOT, "bench", "floors", "fixed_random.c")
GATE_PERCENT = 2
OPERATIONS = 4000
BATCH = 16
START_SECONDS = 60
REPLY_SECONDS = 120
BODY = b"b" * 100
# jemalloc gives pages back as time goes by: under valgrind at another operation in every run. It
# was nearly all of the difference between runs.
NO_DECAY = "dirty_decay_ms:-1,muzzy_decay_ms:-1"
# Everything that a loop does, and all that it calls. The asterisk: a compiler may append to a name.
COUNTED_FUNCTION = "loop_run*"


class InstructionsError(Exception):
    """Ends the run with one line."""


def request(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)])


def key_of(number):
    """A UUID text, always the same for the same number."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))).encode()


class Client:
    """One connection: sends batches, reads one reply for each request."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=REPLY_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def close(self):
        self.input.close()
        self.socket.close()

    def reply(self):
        line = self.input.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-" or not line:
            raise InstructionsError(f"the server answered {line!r}")
        if kind in (b"+", b":"):
            return rest
        length = int(rest)
        if length < 0:
            return None
        if kind == b"$":
            return self.input.read(length + 2)[:-2]
        return [self.reply() for _ in range(length)]

    def batches(self, requests):
        """All replies, in order."""
        replies = []
        for first in range(0, len(requests), BATCH):
            part = requests[first:first + BATCH]
            self.socket.sendall(b"".join(part))
            replies += [self.reply() for _ in part]
        return replies


def check(replies, good):
    for reply in replies:
        if not good(reply):
            raise InstructionsError(f"wrong reply: {reply!r}")
    return replies


def claimed(client, count):
    """Claims keys 0 .. count - 1; their tokens."""
    requests = [request("CLAIM", key_of(i), "LEASE", 3600000) for i in range(count)]
    replies = check(client.batches(requests), lambda reply: reply[0] == b"CLAIMED")
    return [reply[1] for reply in replies]


def stored(client, count):
    tokens = claimed(client, count)
    requests = [request("STORE", key_of(i), token, BODY) for i, token in enumerate(tokens)]
    check(client.batches(requests), lambda reply: reply == b"0")


# Each command: what is prepared, the same for N and for 2N, so that it cancels out; and a function
# that sends `count` of it to a client, given what the preparation returned.
def run_ping(client, prepared, count):
    check(client.batches([request("PING")] * count), lambda reply: reply == b"PONG")


def run_claim(client, prepared, count):
    claimed(client, count)


def run_busy(client, tokens, count):
    requests = [request("CLAIM", key_of(i % len(tokens)), "LEASE", 3600000) for i in range(count)]
    check(client.batches(requests), lambda reply: reply[0] == b"BUSY")


def run_replay(client, prepared, count):
    requests = [request("CLAIM", key_of(i % OPERATIONS), "LEASE", 3600000) for i in range(count)]
    check(client.batches(requests), lambda reply: reply[0] == b"DONE" and reply[1] == BODY)


def run_fetch(client, prepared, count):
    requests = [request("FETCH", key_of(i % OPERATIONS)) for i in range(count)]
    check(client.batches(requests), lambda reply: reply[0] == b"DONE" and reply[1] == BODY)


def run_store(client, tokens, count):
    requests = [request("STORE", key_of(i), tokens[i], BODY) for i in range(count)]
    check(client.batches(requests), lambda reply: reply == b"0")


def run_renew(client, tokens, count):
    requests = [request("RENEW", key_of(i % OPERATIONS), tokens[i % OPERATIONS], "LEASE", 3600000)
                for i in range(count)]
    check(client.batches(requests), lambda reply: reply == b"3600000")


def run_release(client, tokens, count):
    requests = [request("RELEASE", key_of(i), tokens[i]) for i in range(count)]
    check(client.batches(requests), lambda reply: reply == b"1")


COMMANDS = {
    "PING": (None, run_ping),
    "CLAIM, new key": (None, run_claim),
    "CLAIM, BUSY": (lambda client: claimed(client, OPERATIONS), run_busy),
    "CLAIM, DONE": (lambda client: stored(client, OPERATIONS), run_replay),
    "FETCH, DONE": (lambda client: stored(client, OPERATIONS), run_fetch),
    "STORE": (lambda client: claimed(client, 2 * OPERATIONS), run_store),
    "RENEW": (lambda client: claimed(client, OPERATIONS), run_renew),
    "RELEASE": (lambda client: claimed(client, 2 * OPERATIONS), run_release),
}


def build_fixed_random(directory):
    """The hash secret is random; a fixed one makes the same keys collide in every run."""
    library = os.path.join(directory, "fixed_random.so")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", library,
                    FIXED_RANDOM], check=True)
    return library


def wait_for_port(process, log):
    """The port of the ready line. The log is a pipe: its end is the server's."""
    for line in log:
        match = re.search(rb"ready to accept connections on 127\.0\.0\.1:(\d+)", line)
        if match:
            return int(match.group(1))
    raise InstructionsError(f"the server ended with {process.wait()} before it was ready")


def own_instructions(profile, server):
    """The sum of the costs in callgrind's file that were spent in the server's own object. A line of
    costs after `calls=` is what the callee took, which is in its own lines."""
    names, own, total, callee = {}, False, 0, False
    for line in profile:
        if line.startswith("ob="):
            number, _, name = line[len("ob="):].rstrip("\n").partition(" ")
            if name:
                names[number] = name
            own = names[number] == server
        elif line.startswith("cob="):
            number, _, name = line[len("cob="):].rstrip("\n").partition(" ")
            if name:
                names[number] = name
        elif line.startswith("calls="):
            callee = True
        elif line[:1] in "0123456789+-*":
            if own and not callee:
                total += int(line.split()[1])
            callee = False
    return total


def count_run(server, library, command, count):
    """Instructions of the loop of a server that gets `count` commands."""
    prepare, load = COMMANDS[command]
    with tempfile.TemporaryDirectory(prefix="idem-instructions-") as directory:
        # Addresses that are the same in every run: tables that are laid out by them, too.
        line = [NO_ASLR, "valgrind", "--tool=callgrind", f"--toggle-collect={COUNTED_FUNCTION}",
                "--callgrind-out-file=out", server, "--port", "0", "--bind", "127.0.0.1",
                "--slowlog-log-slower-than", "-1", "--drain-timeout", "0"]
        environment = dict(os.environ, LD_PRELOAD=library, MALLOC_CONF=NO_DECAY, LC_ALL="C")
        with open(os.path.join(directory, "errors"), "w+b") as errors:
            process = subprocess.Popen(line, cwd=directory, env=environment,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=errors)
            signal.alarm(START_SECONDS + REPLY_SECONDS)
            try:
                client = Client(wait_for_port(process, process.stdout))
                load(client, prepare(client) if prepare else None, count)
                client.close()
            finally:
                process.terminate()
                process.stdout.read()
                process.wait()
                process.stdout.close()
                signal.alarm(0)
            errors.seek(0)
            text = errors.read().decode(errors="replace")
        if process.returncode != 0:
            raise InstructionsError(f"{command}: {process.returncode}\n{text[-2000:]}")
        with open(os.path.join(directory, "out"), encoding="utf-8", errors="replace") as profile:
            counted = own_instructions(profile, server)
        if counted == 0:
            raise InstructionsError(f"nothing was counted: is there no {COUNTED_FUNCTION}?")
        return counted


def measure(server, library, command, repeat):
    """The least of `repeat` runs of either amount: timers and a table that is tidied up while the
    clock runs only add."""
    runs = {amount: [count_run(server, library, command, amount) for _ in range(repeat)]
            for amount in (OPERATIONS, 2 * OPERATIONS)}
    spread = max((max(counts) - min(counts)) / OPERATIONS for counts in runs.values())
    figure = (min(runs[2 * OPERATIONS]) - min(runs[OPERATIONS])) / OPERATIONS
    return figure, spread


def measure_all(options, library):
    """{command: figure}"""
    found = {}
    for command in options.commands:
        found[command], spread = measure(options.server, library, command, options.repeat)
        print(f"{command:16} {found[command]:9.1f}   runs differ by {spread:.1f}", flush=True)
    return found


def said_by(*line):
    """The first line that a program prints; "?" when it does not."""
    try:
        result = subprocess.run(line, capture_output=True, text=True, check=True)
        return result.stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "?"


def machine():
    """What the figures depend on beside the source: compiler and architecture. libuv too, which
    decides how many turns of the loop so many bytes take."""
    compiler = said_by(os.environ.get("CC", "cc"), "--version")
    libuv = said_by("pkg-config", "--modversion", "libuv")
    return f"{platform.machine()}, {compiler}, libuv {libuv}"


def read_figures():
    figures = {}
    try:
        with open(os.path.join(ROOT, FIGURES), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return "", figures
    for line in lines:
        match = re.match(r"([A-Z].*?)\s{2,}([\d.]+)$", line)
        if match:
            figures[match.group(1)] = float(match.group(2))
    made_on = next((line[len("# on: "):] for line in lines if line.startswith("# on: ")), "")
    return made_on, figures


def write_figures(found):
    _, figures = read_figures()
    figures.update(found)
    lines = ["# Instructions of the server per command; made by `bench/instructions.py --write`,",
             f"# compared by `make instructions` within {GATE_PERCENT} %.",
             f"# on: {machine()}"]
    lines += [f"{command:16}  {figures[command]:.0f}" for command in COMMANDS if command in figures]
    with open(os.path.join(ROOT, FIGURES), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    print(f"wrote {FIGURES}")


def compare(found):
    """Whether every command is inside the gate. Fewer instructions fail as well: the committed
    figure would hide the next rise."""
    made_on, figures = read_figures()
    if not figures:
        raise InstructionsError(f"{FIGURES} is missing: --write makes it")
    if made_on != machine():
        print(f"not compared: {FIGURES} was made on {made_on}, this is {machine()}")
        return True
    good = True
    for command, now in found.items():
        was = figures.get(command)
        if was is None:
            print(f"{command}: no committed figure; --write adds it")
            good = False
            continue
        percent = 100 * (now - was) / was
        inside = abs(percent) <= GATE_PERCENT
        good = good and inside
        print(f"{command:16} {was:9.0f} -> {now:9.1f}  {percent:+6.2f} %"
              f"{'' if inside else '  OUTSIDE THE GATE'}")
    return good


def parse_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default=os.path.join(ROOT, "build", "release", "idem-server"))
    parser.add_argument("--commands", default=",".join(COMMANDS).replace(", ", ":"),
                        help="comma-separated, `CLAIM:BUSY` for `CLAIM, BUSY` [all]")
    parser.add_argument("--repeat", type=int, default=3,
                        help="runs of either amount; the least counts [3]")
    parser.add_argument("--write", action="store_true", help=f"update {FIGURES}")
    options = parser.parse_args(arguments)
    options.commands = [name.replace(":", ", ") for name in options.commands.split(",")]
    for name in options.commands:
        if name not in COMMANDS:
            parser.error(f"{name} is not one of: {'; '.join(COMMANDS)}")
    options.server = os.path.realpath(options.server)
    return options


def main():
    options = parse_options(sys.argv[1:])
    for program in ("valgrind", options.server):
        if not shutil.which(program):
            raise InstructionsError(f"{program} is missing")
    with tempfile.TemporaryDirectory(prefix="idem-instructions-") as directory:
        found = measure_all(options, build_fixed_random(directory))
    if options.write:
        write_figures(found)
        return 0
    return 0 if compare(found) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InstructionsError, OSError, subprocess.CalledProcessError) as problem:
        sys.exit(f"instructions: {problem}")
