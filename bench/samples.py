"""Where idem's CPU time goes in the cases whose target is not met: `run.py --profile`.

perf samples the server by a clock while the load of the case runs, once more and not counted. A
virtual machine often has no other event. A sample in the kernel is named after the function in
which the clock was noticed: of the kernel read the share, of our own functions the names.

Only the standard library.
"""

import contextlib
import dataclasses
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile

from measure import SEEDS
from servers import BenchError

PER_SECOND = 2500
SHOWN = 8  # functions
SECONDS = "3"
LINE = re.compile(r"^\s*([\d.]+)%\s+\[(.)\]\s+(\S+)")


@contextlib.contextmanager
def sampling(pid, path):
    with subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(PER_SECOND), "-p",
                           str(pid), "-o", path], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)  # perf then writes its file
            process.communicate()


def functions(path):
    """[(percent, in the kernel, name)] with the largest first."""
    result = subprocess.run(["perf", "report", "-i", path, "--stdio", "-q", "--no-children", "-F",
                             "overhead,sym"], capture_output=True, text=True, check=False)
    found = [(float(match[1]), match[2] == "k", match[3])
             for match in map(LINE.match, result.stdout.splitlines()) if match]
    if not found:
        raise BenchError(f"perf has nothing to say: {result.stderr.strip()[-500:]}")
    return found


def row(name, found):
    """[case, kernel's share, our functions]."""
    kernel = sum(percent for percent, in_kernel, _ in found if in_kernel)
    own = [f"{symbol.partition('.')[0]} {percent:.1f}" for percent, in_kernel, symbol in found if not in_kernel]
    return [name, f"{kernel:.0f} %", ", ".join(own[:SHOWN])]


def without_amount(case):
    """The case as long as it is told: perf needs a part of a second before it samples."""
    pairs = zip(case.more[::2], case.more[1::2])
    return dataclasses.replace(case, more=[word for option, value in pairs
                                           if option not in ("--seconds", "--requests")
                                           for word in (option, value)])


def of_case(measurer, case, visit):
    """A row; `visit` is idem's."""
    label, server, what = visit
    reads = case.scenario == "replay"
    seed = ["--seed", str(random.randrange(1, SEEDS))]
    with tempfile.TemporaryDirectory(prefix="idem-bench-") as directory:
        path = os.path.join(directory, "samples")
        with measurer.started(without_amount(case), label, server, what) as (pid, run):
            if reads:
                run([*seed, "--seconds", "0.1"])  # its keys are loaded
            with sampling(pid, path):
                run([*seed, *(["--loaded"] if reads else []), "--seconds", SECONDS])
        return row(case.title(), functions(path))


def of_missed(bench, missed, note):
    """Rows of the cases {(title, label): case} whose target is not met."""
    if not shutil.which("perf"):
        note("no perf on the PATH: no profile")
        return []
    rows = []
    for (title, label), case in missed.items():
        visit = next((v for v in bench.visits(case) if v[0] == label), None)
        if visit is None:
            continue
        try:
            rows.append(of_case(bench.measurer, case, visit))
        except (BenchError, subprocess.TimeoutExpired) as error:
            note(f"{title}: {error}")
    return rows
