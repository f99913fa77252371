#!/usr/bin/python3
"""make bench: idem, redis-server and the echo floor side by side, in alternation.

Each measurement is one fresh server process on one CPU and one idem-bench on another. A round
visits the servers as A B C C B A, so that a machine that gets slower or faster during a round does
so for all of them; ratios are taken inside a round. README.md beside this file explains the method.

Only the standard library. Every server that is started here is stopped by its own pid, on errors
too.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import datetime
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join("bench", "RESULTS.md")
START_SECONDS = 10
STOP_SECONDS = 10
START_ATTEMPTS = 3
PR_SET_PDEATHSIG = 1
DISTURBED_PERCENT = 2
OPERATIONS_LEAST = 1000
SERVER_NAMES = ["idem", "redis", "echo"]

# What each server is asked to do for a row of the table. The recipes for Redis are in README.md.
SCENARIOS = {
    "claim": {"idem": "claim", "redis": "redis-claim"},
    "replay": {"idem": "replay", "redis": "redis-replay"},
    "fetch": {"idem": "fetch", "redis": "redis-replay"},
}


class BenchError(Exception):
    """Ends the run with one line."""


@dataclasses.dataclass
class Server:
    name: str
    program: str
    ready: re.Pattern
    arguments: object  # (port, scenario) -> list
    picks_port: bool  # prints the port that the kernel picked

    def command(self, port, scenario):
        return [self.program, *self.arguments(port, scenario)]


def shown(command):
    """A command as a person would type it from the top of the repository."""
    return " ".join(
        '""' if word == "" else os.path.relpath(word, ROOT) if word.startswith(ROOT + "/") else word
        for word in command
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(cpu):
    """For the child: stay on one CPU, and do not outlive this script even if it is killed."""

    def prepare():
        os.sched_setaffinity(0, {cpu})
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return prepare


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_ready(process, log, pattern):
    """The match of the ready line, or None when the process ended before it."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        ended = process.poll() is not None
        log.seek(0)
        text = log.read().decode(errors="replace")
        match = pattern.search(text)
        if match or ended:
            return match, text
        if time.monotonic() > deadline:
            return None, text
        time.sleep(0.005)


@contextlib.contextmanager
def running(server, scenario, cpu):
    """Starts a fresh server and yields (pid, port)."""
    with tempfile.TemporaryDirectory(prefix="idem-bench-") as directory:
        for attempt in range(START_ATTEMPTS):
            port = 0 if server.picks_port else free_port()
            command = server.command(port, scenario)
            with open(os.path.join(directory, "log"), "w+b") as log:
                process = subprocess.Popen(
                    command,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=pinned(cpu),
                )
                try:
                    match, text = await_ready(process, log, server.ready)
                    if match:
                        yield process.pid, int(match.group(1)) if server.picks_port else port
                        return
                except BenchError as error:
                    if process.poll() is None:
                        raise
                    log.seek(0)
                    tail = log.read().decode(errors="replace")[-2000:]
                    end = f"{server.name} ended with {process.returncode}"
                    raise BenchError(f"{error}\n{end}:\n{tail}") from error
                finally:
                    stop(process)
            # Somebody else may have taken the free port in between: try another one.
        raise BenchError(f"{server.name} did not start: {shown(command)}\n{text[-2000:]}")


class Bench:
    def __init__(self, options):
        self.options = options
        self.load_program = os.path.join(options.build, "idem-bench")
        self.echo_program = os.path.join(options.build, "bench-echo")
        for program in (self.load_program, self.echo_program):
            if not os.access(program, os.X_OK):
                raise BenchError(f"{program} is missing: make bench builds it")
        self.servers = list(self.known_servers())
        self.sizes_cache = {}
        self.commands = {}

    def known_servers(self):
        idem = shutil.which(self.options.idem or os.path.join(self.options.build, "idem-server"))
        redis = shutil.which(self.options.redis)
        if not idem:
            note("no idem-server: only the others are measured")
        if not redis:
            note("no redis-server on the PATH (Debian: redis-server): going on without it")
        if idem:
            ready = re.compile(r"ready to accept connections on 127\.0\.0\.1:(\d+)")
            yield Server("idem", os.path.abspath(idem), ready, self.idem_arguments, True)
        if redis:
            ready = re.compile("Ready to accept connections")
            yield Server("redis", redis, ready, self.redis_arguments, False)
        ready = re.compile(r"ready (\d+)")
        yield Server("echo", self.echo_program, ready, self.echo_arguments, True)

    @staticmethod
    def idem_arguments(port, scenario):
        return ["--port", str(port), "--bind", "127.0.0.1"]

    @staticmethod
    def redis_arguments(port, scenario):
        return ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def echo_arguments(self, port, scenario):
        sizes = self.sizes(scenario)
        request = ["--request-bytes", str(sizes["request_bytes"])]
        return ["--port", str(port), *request, "--reply-bytes", str(sizes["reply_bytes"])]

    def sizes(self, scenario):
        if scenario not in self.sizes_cache:
            command = [self.load_program, "--sizes", "--scenario", SCENARIOS[scenario]["idem"]]
            self.sizes_cache[scenario] = json.loads(self.output_of(command))
        return self.sizes_cache[scenario]

    def output_of(self, command, cpu=None):
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            preexec_fn=None if cpu is None else pinned(cpu),
            timeout=self.options.timeout,
        )
        if result.returncode != 0:
            raise BenchError(f"{shown(command)}\n{result.stderr.strip()}")
        return result.stdout

    def measure(self, server, scenario, pipeline, amount):
        """One run of one server; `amount` is ["--seconds", S] or ["--requests", N]."""
        options = self.options
        if server.name == "echo":
            what = ["--scenario", "echo", "--like", SCENARIOS[scenario]["idem"]]
        else:
            what = ["--scenario", SCENARIOS[scenario][server.name]]
        shape = ["--connections", str(options.connections), "--pipeline", str(pipeline)]
        load = [self.load_program, "--json", *what, *shape, "--keys", str(options.keys), *amount]
        with running(server, scenario, options.server_cpu) as (pid, port):
            start = server.command("PORT", scenario)
            self.commands[server.name, scenario, pipeline] = (shown(start), shown(load))
            load += ["--port", str(port), "--server-pid", str(pid)]
            return json.loads(self.output_of(load, options.load_cpu))

    def cell(self, scenario, pipeline):
        """All rounds of one scenario and depth: {server name: [[first run, second run], ...]}."""
        # Everybody gets the same amount of work, so that tables grow alike: what the reference does
        # in --seconds. Redis when there: its speed does not change while idem is worked on.
        reference = next((s for s in self.servers if s.name == "redis"), self.servers[0])
        amount = ["--seconds", str(self.options.seconds)]
        operations = self.measure(reference, scenario, pipeline, amount)["operations"]
        amount = ["--requests", str(max(operations, OPERATIONS_LEAST))]
        runs = {server.name: [] for server in self.servers}
        for number in range(1, self.options.rounds + 1):
            progress(f"{scenario}, pipeline {pipeline}: round {number} of {self.options.rounds}")
            visit = {server.name: [] for server in self.servers}
            for server in [*self.servers, *reversed(self.servers)]:
                visit[server.name].append(self.measure(server, scenario, pipeline, amount))
            for name, pair in visit.items():
                runs[name].append(pair)
        return runs


def note(text):
    progress("")
    print(f"bench: {text}", file=sys.stderr, flush=True)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def cpu_of(run):
    return run["server_cpu_ns_per_operation"]


def ran_percent(run):
    return 100 * run["server_cpu_ns"] / (run["seconds"] * 1e9)


def waited_percent(run):
    """How long the server was ready to run while something else had its CPU."""
    return 100 * run["server_wait_ns"] / (run["seconds"] * 1e9)


def disturbance(cells):
    waits = [wait for runs in cells.values() for rounds in runs.values()
             for wait in flat(rounds, waited_percent)]
    disturbed = sum(wait > DISTURBED_PERCENT for wait in waits)
    return (f"{disturbed} of {len(waits)} runs were disturbed (something else used the server's "
            f"CPU for more than {DISTURBED_PERCENT} % of the time)")


def flat(rounds, value):
    return [value(run) for pair in rounds for run in pair]


def ratio(runs, other):
    """Median (lowest..highest) of the rounds' ratios idem / other; "-" when one is not there."""
    if "idem" not in runs or other not in runs:
        return "-"
    pairs = zip(runs["idem"], runs[other])
    ratios = [sum(map(cpu_of, ours)) / sum(map(cpu_of, theirs)) for ours, theirs in pairs]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def cost(runs, name):
    """Median (lowest..highest) of the runs' CPU per operation."""
    if name not in runs:
        return "-"
    values = flat(runs[name], cpu_of)
    return f"{statistics.median(values):.0f} ({min(values):.0f}..{max(values):.0f})"


def table(head, rows):
    """A Markdown table that is also readable in a terminal."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * (width - 1) + ":" for width in widths], *rows]
    padded = [[f"{cell:>{width}}" for cell, width in zip(line, widths)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def cpu_table(cells):
    rows = []
    for (scenario, pipeline), runs in cells.items():
        costs = [cost(runs, name) for name in SERVER_NAMES]
        rows.append([scenario, pipeline, *costs, *(ratio(runs, name) for name in SERVER_NAMES[1:])])
    head = [f"{name} ns" for name in SERVER_NAMES] + [f"idem/{name}" for name in SERVER_NAMES[1:]]
    return table(["scenario", "pipeline", *head], rows)


def speed_row(rounds):
    def middle(value):
        return statistics.median(flat(rounds, value))

    def latency(at):
        return f"{middle(lambda run: run['latency_us'][at]):.0f}"

    first = rounds[0][0]
    return [
        f"{middle(lambda run: run['operations_per_second']):.0f}",
        f"{middle(ran_percent):.0f} %",
        f"{middle(waited_percent):.1f} %",
        *map(latency, ("p50", "p99", "p999", "max")),
        f"{first['request_bytes']:.0f} / {first['reply_bytes']:.0f}",
    ]


def speed_table(cells):
    rows = []
    for (scenario, pipeline), runs in cells.items():
        rows += [[scenario, pipeline, name, *speed_row(rounds)] for name, rounds in runs.items()]
    head = ["ops/s", "ran", "waited", "p50 us", "p99 us", "p99.9 us", "max us", "bytes in / out"]
    return table(["scenario", "pipeline", "server", *head], rows)


def first_match(path, pattern, default):
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        match = re.search(pattern, file.read(), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return default


def text_of(command):
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10)
        return result.stdout.strip()
    return ""


def machine(options):
    memory_kb = int(first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)", "0"))
    commit = text_of(["git", "rev-parse", "HEAD"]) or "unknown"
    if text_of(["git", "status", "--porcelain", "--", "server", "proto", "bench", "Makefile"]):
        commit += " with local changes"
    cpu = first_match("/proc/cpuinfo", r"^model name\s*:\s*(.+)$", platform.machine())
    if first_match("/proc/cpuinfo", r"^flags.*( hypervisor)", ""):
        cpu += " (virtual)"
    system = first_match("/etc/os-release", r"^PRETTY_NAME=.(.+).$", "unknown")
    return [
        f"- date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        f"- commit: {commit}",
        f"- CPU: {cpu}, {os.cpu_count()} CPUs, {memory_kb / 2**20:.1f} GiB",
        f"- system: {system}, {platform.system()} {platform.release()}",
        f"- redis: {text_of([options.redis, '--version']) or 'not there'}",
        f"- servers on CPU {options.server_cpu}, load on CPU {options.load_cpu}",
    ]


def command_list(bench, cells):
    lines = []
    for scenario, pipeline in cells:
        for server in bench.servers:
            start, load = bench.commands[server.name, scenario, pipeline]
            lines += [f"taskset -c {bench.options.server_cpu} {start}",
                      f"taskset -c {bench.options.load_cpu} {load} --port PORT --server-pid PID"]
    return "\n".join(lines)


def results(bench, cells):
    options = bench.options
    return "\n".join([
        "# Results",
        "",
        "Generated by `bench/run.py --write`; do not edit. README.md explains the method.",
        "",
        *machine(options),
        f"- {options.rounds} rounds, each server twice in each; {options.connections} connections; "
        f"{options.keys} keys to replay",
        f"- {disturbance(cells)}",
        f"- made by: `/usr/bin/python3 bench/run.py {' '.join(options.given)}`",
        "",
        "## Server CPU per operation",
        "Nanoseconds: median (lowest..highest run). Ratios: median (lowest..highest round).",
        "",
        cpu_table(cells),
        "",
        "## Speed and latency",
        "Medians over all runs of a closed loop: they describe this load on this machine, not what",
        "a server can do. Waited: ready to run while something else used the server's CPU.",
        "",
        speed_table(cells),
        "",
        "## Commands",
        "Each pair was run with a fresh server; PORT and PID are the server's.",
        "",
        "```",
        command_list(bench, cells),
        "```",
        "",
    ])


def list_of(kind, allowed=None):
    def parse(text):
        values = [kind(part) for part in text.split(",")]
        for value in values:
            if allowed is not None and value not in allowed:
                raise argparse.ArgumentTypeError(f"{value} is not one of {', '.join(allowed)}")
        return values

    parse.__name__ = "comma-separated list"
    return parse


def number_from(least, kind=int):
    def parse(text):
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is under {least}")
        return value

    parse.__name__ = kind.__name__
    return parse


def parse_options(arguments):
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=number_from(1), default=5, help="of A B C C B A [5]")
    parser.add_argument("--seconds", type=number_from(0.01, float), default=1.0,
                        help="how long the reference runs; all get that many operations [1]")
    parser.add_argument("--pipelines", type=list_of(number_from(1)), default=[1, 16, 64],
                        help="depths [1,16,64]")
    parser.add_argument("--scenarios", type=list_of(str, list(SCENARIOS)),
                        default=["claim", "replay"],
                        help=f"of {','.join(SCENARIOS)} [claim,replay]")
    parser.add_argument("--connections", type=number_from(1), default=50, help="[50]")
    parser.add_argument("--keys", type=number_from(1), default=100000, help="to replay [100000]")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"),
                        help="where the programs are [build/release]")
    parser.add_argument("--idem", metavar="PROGRAM",
                        help="another idem-server than the one in --build")
    parser.add_argument("--redis", default="redis-server", metavar="PROGRAM",
                        help="another redis-server than the one on the PATH")
    parser.add_argument("--server-cpu", type=int, default=cpus[0], help=f"[{cpus[0]}]")
    parser.add_argument("--load-cpu", type=int, default=cpus[-1], help=f"[{cpus[-1]}]")
    parser.add_argument("--timeout", type=number_from(1), default=600, metavar="SECONDS",
                        help="until one run is given up [600]")
    parser.add_argument("--json", metavar="FILE", help="also keep every single run")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    options = parser.parse_args(arguments)
    for cpu in (options.server_cpu, options.load_cpu):
        if cpu not in cpus:
            parser.error(f"CPU {cpu} is not one of those allowed here: {cpus}")
    options.build = os.path.abspath(options.build)
    options.given = arguments
    return options


def run(options):
    if options.server_cpu == options.load_cpu:
        note("server and load share one CPU: the figures compare with nothing else")
    bench = Bench(options)
    cells = {}
    for scenario in options.scenarios:
        for pipeline in options.pipelines:
            cells[scenario, pipeline] = bench.cell(scenario, pipeline)
    progress("")
    print("Server CPU per operation, ns: median (lowest..highest run)\n"
          "Ratios: median (lowest..highest round)\n")
    print(cpu_table(cells))
    print("\nMedians of a closed loop\n")
    print(speed_table(cells), flush=True)
    note(disturbance(cells))
    if options.json:
        rows = [{"scenario": s, "pipeline": p, "runs": runs} for (s, p), runs in cells.items()]
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(options), "cells": rows}, file, indent=1)
    if options.write:
        with open(os.path.join(ROOT, RESULTS), "w", encoding="utf-8") as file:
            file.write(results(bench, cells))
        note(f"wrote {RESULTS}")


def main():
    # A plain SIGTERM would skip the clean-up and leave a server behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        run(parse_options(sys.argv[1:]))
    except (BenchError, subprocess.TimeoutExpired) as error:
        note(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
