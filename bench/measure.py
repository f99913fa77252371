"""Single measurements: a server on one CPU, a load on another, and what the load found.

It knows cases and servers; rounds, targets and results are run.py's.
"""

import contextlib
import json
import os
import random
import subprocess
import sys

import axes
from servers import ROOT, BenchError, pinned, running, shown, where

SEEDS = 1 << 52
# What is summed up over the steps of a job, each of which a floor answers by itself.
SUMMED = ("server_cpu_ns_per_operation", "server_reads_per_operation", "server_writes_per_operation",
          "server_sleeps_per_operation", "load_cpu_ns_per_operation")


def taskset(cpus, command):
    return f"taskset -c {','.join(map(str, sorted(cpus)))} {shown(command)}"


def summed(runs):
    """One run of the steps of a job: as many operations, each of which costs what its steps cost."""
    if len(runs) == 1:
        return runs[0]
    fields = [name for name in SUMMED if all(name in run for run in runs)]
    waits = {"server_wait_ns": sum(run["server_wait_ns"] for run in runs),
             "seconds": sum(run["seconds"] for run in runs)}
    return {"operations": runs[0]["operations"], **waits,
            **{name: sum(run[name] for run in runs) for name in fields}}


class Measurer:
    def __init__(self, options):
        self.options = options
        self.load_program = os.path.join(options.build, "idem-bench")
        if not os.access(self.load_program, os.X_OK):
            raise BenchError(f"{self.load_program} is missing: make bench builds it")
        self.sizes_cache = {}
        self.commands = {}  # "case: label" -> the command lines

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

    def sizes(self, case, step):
        """What the floors have to move. A wake-up answers what a replay answers."""
        like = case.scenario if case.scenario in ("claim", "job") else "replay"
        key = (like, step, case.body_bytes)
        if key not in self.sizes_cache:
            command = [self.load_program, "--sizes", "--scenario", "echo", "--like", like, "--step",
                       str(step), "--body-bytes", str(case.body_bytes)]
            self.sizes_cache[key] = json.loads(self.output_of(command))
        return {**self.sizes_cache[key], "floor_more": case.floor_more}

    def cpus_of(self, case, server):
        """Of the server and of the load. On the axis cores one loop has a CPU for itself, which is
        more than each of two loops has there; they share both CPUs with the load: what it takes is
        waited for, not counted."""
        if case.axis == "cores" and server.name != axes.CORES[0]:
            everywhere = os.sched_getaffinity(0)
            return everywhere, everywhere
        return {self.options.server_cpu}, {self.options.load_cpu}

    @contextlib.contextmanager
    def started(self, case, label, server, what, step=1):
        """Starts the server and yields its pid and what runs the load on it: more options -> figures."""
        sizes = self.sizes(case, step)
        server_cpus, load_cpus = self.cpus_of(case, server)
        load = [self.load_program, "--json", *what, "--connections", str(case.connections),
                "--pipeline", str(case.pipeline), "--body-bytes", str(case.body_bytes),
                *case.more, *server.load]
        if axes.steps(case, server) > 1:
            load += ["--step", str(step)]
        with running(server, sizes, server_cpus) as (pid, place):
            target = [*where(place), "--server-pid", str(pid)]

            def run(more):
                shown_target = "--unix PATH" if server.socket else "--port PORT"
                self.commands[f"{case.title()}: {label}" + f", step {step}" * (step > 1)] = [
                    taskset(server_cpus, server.command("PORT", sizes)),
                    f"{taskset(load_cpus, [*load, *more])} {shown_target} --server-pid PID"]
                return json.loads(self.output_of([*load, *more, *target], load_cpus))

            yield pid, run

    def one(self, case, label, server, what, amount):
        """One run on a fresh server; `amount` is ["--seconds", S], ["--requests", N] or nothing."""
        if server.family == "sync":
            return self.program(f"{case.title()}: {label}", server.command(0, None),
                                {self.options.server_cpu})
        runs = []
        for step in range(1, axes.steps(case, server) + 1):
            with self.started(case, label, server, what, step) as (_, run):
                runs.append(run(amount))
        return summed(runs)

    def side_by_side(self, case, visits, progress):
        """All servers at once, each with its keys; case.repeats rounds there and back on them:
        {label: [[first run, second run], ...]}. Those that are not measured are idle."""
        with contextlib.ExitStack() as stack:
            turns = []
            for label, server, what in visits:
                progress(f"{case.title()}: {label} is loaded")
                _, run = stack.enter_context(self.started(case, label, server, what))
                seed = ["--seed", str(random.randrange(1, SEEDS))]
                run([*seed, "--warmup", "0"])  # for its loading
                turns.append((label, run, [*seed, "--loaded"]))
            found = {label: [] for label, _, _ in turns}
            for number in range(1, case.repeats + 1):
                pairs = {label: [] for label, _, _ in turns}
                for label, run, more in [*turns, *reversed(turns)]:
                    progress(f"{case.title()}: round {number}, {label}")
                    pairs[label].append(run(more))
                for label, pair in pairs.items():
                    found[label].append(pair)
            return found

    def program(self, title, command, cpus):
        """Of a program that prints its figures, a name and a number in each line."""
        self.commands[title] = [taskset(cpus, command)]
        lines = self.output_of(command, cpus).splitlines()
        return {name: float(value) for name, value in (line.split() for line in lines)}

    def alone(self, case):
        """A case that one program measures: of the build, or a script beside this one, which is
        told what it needs for starting servers."""
        options = self.options
        if not case.program.endswith(".py"):
            command = [os.path.join(options.build, case.program), *case.more]
            return self.program(case.title(), command, {options.server_cpu})
        command = [sys.executable, os.path.join(ROOT, "bench", case.program), *case.more,
                   "--build", options.build, "--data", options.data,
                   "--server-cpu", str(options.server_cpu), "--load-cpu", str(options.load_cpu)]
        if options.idem:
            command += ["--idem", options.idem]
        return self.program(case.title(), command, os.sched_getaffinity(0))
