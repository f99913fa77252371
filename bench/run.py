#!/usr/bin/python3
"""make bench: idem, other servers and bare floors side by side, in alternation.

Each measurement is one fresh server process on one CPU and one idem-bench on another. A round
visits the servers as A B C C B A, so that a machine that gets slower or faster during a round does
so for all of them; ratios are taken inside a round. The first round visits every case, then the
second does, as long as --minutes last: each target has a figure early, and more of them later.
What was measured is kept after each case; --continue goes on from there. README.md beside this file
explains the method.

Only the standard library.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # no __pycache__ beside the sources

import axes
import backing
import durable
import encrypted
import render
import samples
from measure import Measurer
from servers import ROOT, UNIX, BenchError, known_servers, known_unix

RESULTS = os.path.join("bench", "RESULTS.md")
KEPT = "bench.json"  # in --build
OPERATIONS_LEAST = 1000
REFERENCES = ("redis", "redis always", "redis tls", "redis" + UNIX)


def note(text):
    progress("")
    print(f"bench: {text}", file=sys.stderr, flush=True)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options):
        self.options = options
        self.measurer = Measurer(options)
        self.servers = known_servers(options.build, options.idem, options.redis, note)
        if "unix" in options.axes:
            self.servers.update(known_unix(self.servers))
        if "durable" in options.axes:
            self.servers.update(
                durable.known_durable(self.servers, options.build, options.data, note))
        if "tls" in options.axes:
            self.servers.update(encrypted.known_encrypted(self.servers, options.build, note))
        if options.servers:
            self.servers = {name: server for name, server in self.servers.items()
                            if name in options.servers}
        self.amounts = {}  # of a case's operations, by its title
        self.cells_of_axis = {}  # axis -> case -> label -> rounds -> runs
        self.profiles = []  # rows of samples.py
        self.seconds_of = {}  # case -> what it took so far
        self.backed = None  # the least that was touched before a case, and of that in huge pages
        self.pace = 0.0  # the most seconds that touching a GiB took
        self.reporting = None  # what backing.kept did

    def visits(self, case):
        """[(label, server, scenario arguments)] of all that can answer the case."""
        return [(label, server, what) for server in self.servers.values()
                for label, what in axes.recipes(case, server)]

    def amount(self, case, visits):
        # Everybody gets the same amount of work, so that tables grow alike: what the reference does
        # in --seconds. Redis when there: its speed does not change while idem is worked on.
        if case.amount != "same":
            return []
        if case.title() not in self.amounts:
            visit = next((v for v in visits if v[1].name in REFERENCES), visits[0])
            seconds = ["--seconds", str(case.longer * self.options.seconds)]
            operations = self.measurer.one(case, *visit, seconds)["operations"]
            self.amounts[case.title()] = max(operations, OPERATIONS_LEAST)
        return ["--requests", str(self.amounts[case.title()])]

    def round(self, case, number):
        """{label: [[first run, second run]]}; of a case that repeats, more than one round."""
        if case.program:
            progress(f"{case.title()}: round {number}")
            return {case.axis: [[self.measurer.alone(case)]]}
        visits = self.visits(case)
        if not visits:
            return {}
        if case.repeats:
            return self.measurer.side_by_side(case, visits, progress)
        amount = self.amount(case, visits)
        runs = {label: [] for label, _, _ in visits}
        for label, server, what in visits if case.once else [*visits, *reversed(visits)]:
            progress(f"{case.title()}: round {number}, {label}")
            runs[label].append(self.measurer.one(case, label, server, what, amount))
        return {label: [found] for label, found in runs.items()}

    def back(self, case):
        """See backing.py."""
        progress(f"{case.title()}: memory is touched")
        *touched, pace = backing.touch_until_fast(case.backed_gb << 30)
        self.backed = min(self.backed or touched, touched)
        self.pace = max(self.pace, pace)

    def says_backed(self):
        touched, huge = (size / 2**30 for size in self.backed or (0, 0))
        says = (f"memory: at least {touched:.1f} GiB, {huge:.1f} of it in huge pages, were touched and "
                f"given back before each case, which took at most {self.pace:.2f} s a GiB")
        return f"{says}; {self.reporting}" if self.reporting else says

    def rounds_done(self, case):
        cells = self.cells_of_axis.get(case.axis, {}).get(case.title(), {})
        return max((len(rounds) // max(case.repeats, 1) for rounds in cells.values()), default=0)

    def add_round(self, case, number):
        """Whether it was measured. What goes wrong in one case does not end the others."""
        began = time.monotonic()
        self.back(case)
        try:
            found = self.round(case, number)
        except (BenchError, subprocess.TimeoutExpired) as error:
            note(f"{case.title()}: {error}")
            return False
        took = time.monotonic() - began
        if found:
            cells = self.cells_of_axis.setdefault(case.axis, {}).setdefault(case.title(), {})
            for label, rounds in found.items():
                cells.setdefault(label, []).extend(rounds)
            note(f"{case.title()}: round {number} took {took:.0f} s")
        self.seconds_of[case.title()] = took
        return True

    def keep(self):
        """Written aside and renamed, so that an interrupted run leaves a whole file."""
        path = self.options.json or os.path.join(self.options.build, KEPT)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump({"machine": render.machine(self.options, self.servers),
                       "backed": self.backed, "pace": self.pace, "amounts": self.amounts, "commands": self.measurer.commands,
                       "axes": self.cells_of_axis}, file, indent=1)
        os.replace(f"{path}.new", path)

    def take_up(self):
        """What an earlier run kept."""
        path = self.options.json or os.path.join(self.options.build, KEPT)
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
        if kept["machine"][1:] != render.machine(self.options, self.servers)[1:]:
            note(f"{path} was made with another commit, machine or server: its figures are mixed in")
        self.amounts, self.measurer.commands = kept["amounts"], kept["commands"]
        self.backed, self.pace = kept["backed"], kept["pace"]
        self.cells_of_axis = kept["axes"]


def list_of(kind, allowed=None):
    def parse(text):
        values = [kind(part) for part in text.split(",")]
        for value in values:
            if allowed is not None and value not in allowed:
                raise argparse.ArgumentTypeError(f"{value} is not one of {', '.join(allowed)}")
        return values

    parse.__name__ = "comma-separated list"
    return parse


def list_of_axes(text):
    return list(axes.AXES) if text == "all" else list_of(str, list(axes.AXES))(text)


def number_from(least, kind=int):
    def parse(text):
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is under {least}")
        return value

    parse.__name__ = kind.__name__
    return parse


# How large each axis is: (option, default, with --quick, help). The defaults are the targets' own.
SIZES = [
    ("rounds", 5, 1, "of A B C C B A, if --minutes allow; large cases have 1"),
    ("minutes", 19, 19, "begin no further round that would last longer"),
    ("keys", 100000, 10000, "to replay"),
    ("middle-keys", 3000000, 20000, "to replay 16 at a time"),
    ("deep-keys", 10000000, 20000, "to replay 64 at a time"),
    ("large-rounds", 5, 2, "on the servers that hold these keys"),
    ("large-requests", 3000, 500, "replays of 100 KB"),
    ("rate", 10000, 2000, "operations per second of the open loop and beside expiry"),
    ("waits", 1000, 200, "rounds with one waiter"),
    ("waiters", 1000, 200, "of a herd"),
    ("herds", 20, 3, "rounds of a herd"),
    ("fill-keys", 10000000, 100000, "to fill memory with"),
    ("idle", 9000, 1000, "idle connections; Redis refuses the 10,001st"),
    ("expiring", 1000000, 200000, "keys that end within a second"),
    ("expire-beside", 10000000, 200000, "keys beside them"),
    ("windows", 6, 3, "of mass expiry on the same server"),
    ("lead-seconds", 4, 2, "TTL of the generations before an aged fill"),
    ("recovered-keys", 10000000, 100000, "responses that a start reads from its journal"),
    ("compaction-seconds", 60, 6, "of responses that end after seconds, and of keys that stay"),
    ("growth-keys", 50000000, 1000000, "to which the engine alone grows"),
]


def add_sizes(parser):
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: a first look")
    for name, default, _, text in SIZES:
        parser.add_argument(f"--{name}", type=number_from(1), help=f"{text} [{default}]")


def fill_sizes(options):
    for name, default, quick, _ in SIZES:
        attribute = name.replace("-", "_")
        if getattr(options, attribute) is None:
            setattr(options, attribute, quick if options.quick else default)
    if options.seconds is None:
        options.seconds = 0.2 if options.quick else 0.7


def parse_options(arguments):
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", type=list_of_axes, default=axes.USUAL,
                        help=f"of {','.join(axes.AXES)}, or all "
                             f"[all up to {axes.USUAL[-1]}]")
    parser.add_argument("--servers", type=list_of(str), help="only these, by name [all there are]")
    parser.add_argument("--pipelines", type=list_of(number_from(1)), default=[1, 16, 64],
                        help="depths of the axis steady [1,16,64]")
    parser.add_argument("--seconds", type=number_from(0.01, float),
                        help="how long the reference runs; all get that many operations [0.7]")
    add_sizes(parser)
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"),
                        help="where the programs are [build/release]")
    parser.add_argument("--idem", metavar="PROGRAM",
                        help="another idem-server than the one in --build")
    parser.add_argument("--redis", default="redis-server", metavar="PROGRAM",
                        help="another redis-server than the one on the PATH")
    parser.add_argument("--data", default=durable.DATA, metavar="DIR",
                        help="where durable servers have their data: no tmpfs [build/durable]")
    parser.add_argument("--server-cpu", type=int, default=cpus[0], help=f"[{cpus[0]}]")
    parser.add_argument("--load-cpu", type=int, default=cpus[-1], help=f"[{cpus[-1]}]")
    parser.add_argument("--timeout", type=number_from(1), default=1200, metavar="SECONDS",
                        help="until one run is given up [1200]")
    parser.add_argument("--json", metavar="FILE",
                        help=f"where every single run is kept [{KEPT} in --build]")
    parser.add_argument("--continue", dest="continued", action="store_true",
                        help="go on from what is kept there")
    parser.add_argument("--profile", action="store_true",
                        help="at the end, let perf say where idem's CPU time goes in the cases whose "
                             "target is not met")
    parser.add_argument("--write", action="store_true",
                        help=f"write {RESULTS} and, with gnuplot, {render.CHARTS}; of some axes "
                             "only, a file beside it that is named after them")
    options = parser.parse_args(arguments)
    for cpu in (options.server_cpu, options.load_cpu):
        if cpu not in cpus:
            parser.error(f"CPU {cpu} is not one of those allowed here: {cpus}")
    fill_sizes(options)
    options.build = os.path.abspath(options.build)
    options.data = os.path.abspath(options.data)
    options.given = arguments
    return options


def whole(options):
    """Whether all was asked for that the table of targets needs."""
    return set(axes.USUAL) <= set(options.axes)


def profile_missed(bench, options):
    """For the last table: rows of samples.py."""
    cells = {name: found for axis in bench.cells_of_axis.values() for name, found in axis.items()}
    cases = {case.title(): case for case in axes.all_cases(options)}
    missed = {(title, label): cases[title] for title, label in render.targets.missed(cells)
              if title in cases}
    return samples.of_missed(bench, missed, note)


def print_all(bench, options):
    cells_of_axis = bench.cells_of_axis
    cells = {name: found for axis in cells_of_axis.values() for name, found in axis.items()}
    for title, says, text in render.sections(cells_of_axis):
        print(f"\n{title}\n{says}\n\n{text}")
    if bench.profiles:
        print(f"\n{render.PROFILE[0]}\n{render.PROFILE[1]}\n\n{render.profile_table(bench.profiles)}")
    for title, text in render.target_tables(cells, whole(options)):
        print(f"\n{title}\n\n{text}", flush=True)
    note(render.disturbance(cells))
    note(bench.says_backed())


def run_rounds(bench, options):
    """Whether all cases of the first round were measured."""
    began, good = time.monotonic(), True
    for number in range(1, options.rounds + 1):
        for case in axes.all_cases(options):
            if number <= bench.rounds_done(case) or (case.rounds and number > case.rounds):
                continue
            passed = time.monotonic() - began
            if number > 1 and passed + bench.seconds_of.get(case.title(), 0) > 60 * options.minutes:
                continue
            good = bench.add_round(case, number) and good
            bench.keep()
    return good


def write_results(bench, options):
    """Of some axes: in a file of their own, without charts."""
    usual = whole(options)
    name = RESULTS if usual else RESULTS.replace(".md", f"-{'-'.join(options.axes)}.md")
    charts = render.write_charts(bench.cells_of_axis, note) if usual else []
    text = render.results(options, bench, charts)
    with open(os.path.join(ROOT, name), "w", encoding="utf-8") as file:
        file.write(text)
    note(f"wrote {name}")


def run(options):
    if options.server_cpu == options.load_cpu:
        note("server and load share one CPU: the figures compare with nothing else")
    bench = Bench(options)
    if options.continued:
        bench.take_up()
    good = False
    try:
        with backing.kept() as bench.reporting:
            good = run_rounds(bench, options)
    finally:
        # Also of a run that was interrupted.
        progress("")
        if good and options.profile:
            bench.profiles = profile_missed(bench, options)
        if bench.cells_of_axis:
            print_all(bench, options)
            if options.write:
                write_results(bench, options)
    return good


def main():
    # A plain SIGTERM would skip the clean-up and leave a server running.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return 0 if run(parse_options(sys.argv[1:])) else 1
    except (BenchError, OSError, subprocess.CalledProcessError) as error:
        note(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
