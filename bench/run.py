#!/usr/bin/python3
"""make bench: idem, other servers and bare floors side by side, in alternation.

Each measurement is one fresh server process on one CPU and one idem-bench on another. A round
visits the servers as A B C C B A, so that a machine that gets slower or faster during a round does
so for all of them; ratios are taken inside a round. README.md beside this file explains the method.

Only the standard library.
"""

import argparse
import json
import os
import signal
import subprocess
import sys

sys.dont_write_bytecode = True  # no __pycache__ beside the sources

import axes
import render
from servers import ROOT, BenchError, known_servers, pinned, running, shown

RESULTS = os.path.join("bench", "RESULTS.md")
OPERATIONS_LEAST = 1000


def note(text):
    progress("")
    print(f"bench: {text}", file=sys.stderr, flush=True)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def taskset(cpus, command):
    return f"taskset -c {','.join(map(str, sorted(cpus)))} {shown(command)}"


class Bench:
    def __init__(self, options):
        self.options = options
        self.load_program = os.path.join(options.build, "idem-bench")
        if not os.access(self.load_program, os.X_OK):
            raise BenchError(f"{self.load_program} is missing: make bench builds it")
        self.servers = known_servers(options.build, options.idem, options.redis, note)
        if options.servers:
            self.servers = {name: server for name, server in self.servers.items()
                            if name in options.servers}
        self.sizes_cache = {}
        self.commands = {}  # (case, label) -> (how the server starts, what the load is)

    def sizes(self, case):
        """What the floors have to move. A wake-up answers what a replay answers."""
        key = ("claim" if case.scenario == "claim" else "replay", case.body_bytes)
        if key not in self.sizes_cache:
            command = [self.load_program, "--sizes", "--scenario", key[0], "--body-bytes",
                       str(key[1])]
            self.sizes_cache[key] = json.loads(self.output_of(command))
        return self.sizes_cache[key]

    def cpus_of(self, case):
        """Of the server and of the load. Loops are for several CPUs, and the load is on one of
        them: what it takes is waited for, not counted."""
        everywhere = os.sched_getaffinity(0)
        if case.axis == "threads":
            return everywhere, everywhere
        return {self.options.server_cpu}, {self.options.load_cpu}

    def output_of(self, command, cpus=None):
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            preexec_fn=None if cpus is None else pinned(cpus),
            timeout=self.options.timeout,
        )
        if result.returncode != 0:
            raise BenchError(f"{shown(command)}\n{result.stderr.strip()}")
        return result.stdout

    def measure(self, case, label, server, what, amount):
        """One run; `amount` is ["--seconds", S], ["--requests", N] or nothing."""
        sizes = self.sizes(case)
        load = [self.load_program, "--json", *what, "--connections", str(case.connections),
                "--pipeline", str(case.pipeline), "--body-bytes", str(case.body_bytes),
                *case.more, *amount]
        server_cpus, load_cpus = self.cpus_of(case)
        with running(server, sizes, server_cpus) as (pid, port):
            start = server.command("PORT", sizes)
            self.commands[case.title(), label] = (taskset(server_cpus, start),
                                                  taskset(load_cpus, load))
            load += ["--port", str(port), "--server-pid", str(pid)]
            return json.loads(self.output_of(load, load_cpus))

    def visits(self, case):
        """[(label, server, scenario arguments)] of all that can answer the case."""
        return [(label, server, what) for server in self.servers.values()
                for label, what in axes.recipes(case, server)]

    def amount(self, case, visits):
        # Everybody gets the same amount of work, so that tables grow alike: what the reference does
        # in --seconds. Redis when there: its speed does not change while idem is worked on.
        if case.amount != "same":
            return []
        label, server, what = next((v for v in visits if v[1].name == "redis"), visits[0])
        amount = ["--seconds", str(self.options.seconds)]
        operations = self.measure(case, label, server, what, amount)["operations"]
        return ["--requests", str(max(operations, OPERATIONS_LEAST))]

    def cell(self, case):
        """All rounds of a case: {label: [[first run, second run], ...]}."""
        visits = self.visits(case)
        if not visits:
            return {}
        amount = self.amount(case, visits)
        rounds = min(case.rounds or self.options.rounds, self.options.rounds)
        runs = {label: [] for label, _, _ in visits}
        for number in range(1, rounds + 1):
            pairs = {label: [] for label in runs}
            for label, server, what in [*visits, *reversed(visits)]:
                progress(f"{case.title()}: round {number} of {rounds}, {label}")
                pairs[label].append(self.measure(case, label, server, what, amount))
            for label, pair in pairs.items():
                runs[label].append(pair)
        return runs


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


# How large each axis is: (option, default, with --quick, with --full, help).
SIZES = [
    ("rounds", 5, 1, 5, "of A B C C B A; memory has 1"),
    ("keys", 100000, 10000, 100000, "to replay"),
    ("deep-keys", 1000000, 20000, 10000000, "to replay at the deepest pipeline, in 2 rounds"),
    ("large-requests", 3000, 500, 10000, "replays of 100 KB"),
    ("rate", 10000, 2000, 10000, "operations per second of the open loop and beside expiry"),
    ("waits", 2000, 200, 5000, "rounds with one waiter"),
    ("waiters", 1000, 200, 1000, "of a herd"),
    ("herds", 20, 3, 100, "rounds of a herd"),
    ("fill-keys", 1000000, 100000, 10000000, "to fill memory with"),
    ("idle", 5000, 1000, 10000, "idle connections"),
    ("expiring", 200000, 20000, 1000000, "keys that end within a second"),
    ("expire-beside", 500000, 20000, 10000000, "keys beside them"),
    ("lead-seconds", 6, 4, 30, "for filling and a quiet stretch before the first deadline"),
    ("expire-rounds", 3, 1, 3, "of mass expiry"),
]


def add_sizes(parser):
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="small sizes, one round: a first look")
    scale.add_argument("--full", action="store_true",
                       help="the sizes of the targets: hours, 8 GiB of memory")
    for name, default, _, _, text in SIZES:
        parser.add_argument(f"--{name}", type=number_from(1), help=f"{text} [{default}]")


def fill_sizes(options):
    for name, default, quick, full, _ in SIZES:
        attribute = name.replace("-", "_")
        if getattr(options, attribute) is None:
            setattr(options, attribute,
                    quick if options.quick else full if options.full else default)
    if options.seconds is None:
        options.seconds = 0.2 if options.quick else 1.0


def parse_options(arguments):
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", type=list_of(str, axes.AXES), default=axes.AXES,
                        help=f"of {','.join(axes.AXES)} [all]")
    parser.add_argument("--servers", type=list_of(str), help="only these, by name [all there are]")
    parser.add_argument("--pipelines", type=list_of(number_from(1)), default=[1, 16, 64],
                        help="depths of the axis steady [1,16,64]")
    parser.add_argument("--seconds", type=number_from(0.01, float),
                        help="how long the reference runs; all get that many operations [1]")
    add_sizes(parser)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"),
                        help="where the programs are [build/release]")
    parser.add_argument("--idem", metavar="PROGRAM",
                        help="another idem-server than the one in --build")
    parser.add_argument("--redis", default="redis-server", metavar="PROGRAM",
                        help="another redis-server than the one on the PATH")
    parser.add_argument("--server-cpu", type=int, default=cpus[0], help=f"[{cpus[0]}]")
    parser.add_argument("--load-cpu", type=int, default=cpus[-1], help=f"[{cpus[-1]}]")
    parser.add_argument("--timeout", type=number_from(1), default=1200, metavar="SECONDS",
                        help="until one run is given up [1200]")
    parser.add_argument("--json", metavar="FILE", help="also keep every single run")
    parser.add_argument("--write", action="store_true",
                        help=f"write {RESULTS} and, with gnuplot, {render.CHARTS}")
    options = parser.parse_args(arguments)
    for cpu in (options.server_cpu, options.load_cpu):
        if cpu not in cpus:
            parser.error(f"CPU {cpu} is not one of those allowed here: {cpus}")
    fill_sizes(options)
    options.build = os.path.abspath(options.build)
    options.given = arguments
    return options


def print_all(cells_of_axis, options):
    cells = {name: found for axis in cells_of_axis.values() for name, found in axis.items()}
    for title, says, text in render.sections(cells_of_axis):
        print(f"\n{title}\n{says}\n\n{text}")
    if render.targets.rows(cells, options.axes == axes.AXES):
        print(f"\nTargets\n\n{render.target_table(cells, options.axes == axes.AXES)}", flush=True)
    note(render.disturbance(cells))


def run(options):
    if options.server_cpu == options.load_cpu:
        note("server and load share one CPU: the figures compare with nothing else")
    bench = Bench(options)
    cells_of_axis = {}
    for case in axes.all_cases(options):
        found = bench.cell(case)
        if found:
            cells_of_axis.setdefault(case.axis, {})[case.title()] = found
    progress("")
    print_all(cells_of_axis, options)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": render.machine(options, bench.servers), "axes": cells_of_axis},
                      file, indent=1)
    if options.write:
        charts = render.write_charts(cells_of_axis, note)
        text = render.results(options, bench.servers, cells_of_axis, bench.commands, charts)
        with open(os.path.join(ROOT, RESULTS), "w", encoding="utf-8") as file:
            file.write(text)
        note(f"wrote {RESULTS}")


def main():
    # A plain SIGTERM would skip the clean-up and leave a server behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        run(parse_options(sys.argv[1:]))
    except (BenchError, subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        note(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
