#!/usr/bin/python3
"""make bench-recovery: how long a start takes that reads millions of responses from its journal.

idem is filled with --keys responses of 100 bytes under UUID keys (CLAIM and STORE of each, 64 at a
time, without awaited syncs), is stopped, and is started again on one CPU. The time counts from the
start of the process to the line that says that it is ready. The number of keys has to be right,
and a sample of them is fetched and compared byte by byte.

The journal was just written, so it is read from memory (the page cache); with --cold it is dropped
from there, and the time includes the disk's. It needs about 300 bytes of disk for each key: 3 GB
for 10 million, in build/durable or --data. They are removed at the end.

Only the standard library.
"""

import argparse
import os
import random
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # no __pycache__ beside the sources

import durable
from servers import BenchError, cpu_ns, running

KEYS = 10000000
SAMPLE = 100000
DISK_BYTES_PER_KEY = 300
BODY_BYTES = 100
START_SECONDS = 600
STOP_SECONDS = 300  # its last sync writes all that the system has not written yet
SEEDS = 1 << 52


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=KEYS, help=f"[{KEYS}]")
    parser.add_argument("--sample", type=int, default=SAMPLE,
                        help=f"how many are fetched afterwards [{SAMPLE}]")
    parser.add_argument("--cold", action="store_true", help="read the journal from the disk")
    durable.add_options(parser)
    return parser.parse_args()


def server(options, policy, directory):
    return durable.idem_server(durable.idem_program(options), policy, options.data, directory,
                               start_seconds=START_SECONDS, stop_seconds=STOP_SECONDS)


def fill(options, directory, seed):
    with running(server(options, "no", directory), {}, {options.server_cpu}) as (_, port):
        durable.run_load(options, port, "--scenario", "store", "--requests", str(options.keys),
                         "--warmup", "0", "--pipeline", "64", "--body-bytes", str(BODY_BYTES),
                         "--seed", str(seed))
        wrote = durable.persistence(port)
    os.sync()  # or the disk would still be writing during the start
    return wrote


def drop_from_memory(directory):
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def check(options, port, seed):
    """All are there, and those of the sample are what was stored."""
    keys = durable.ask(port, "DBSIZE")
    if keys != options.keys:
        raise BenchError(f"{options.keys} keys were stored; DBSIZE is {keys}")
    durable.run_load(options, port, "--scenario", "fetch", "--loaded", "--keys", str(keys),
                     "--requests", str(options.sample), "--warmup", "0", "--pipeline", "16",
                     "--body-bytes", str(BODY_BYTES), "--seed", str(seed))


def start_again(options, directory, seed):
    began = time.monotonic()
    with running(server(options, "always", directory), {}, {options.server_cpu}) as (pid, port):
        ready_s = time.monotonic() - began
        used_ns = cpu_ns(pid)
        found = durable.persistence(port)
        check(options, port, seed)
    records = found["journal_recovered_records"]
    if records < options.keys:
        raise BenchError(f"INFO says that {records} records of {options.keys} keys were recovered")
    return {"keys": options.keys, "log_bytes": found["aof_current_size"],
            "log_bytes_per_key": found["aof_current_size"] / options.keys,
            "cut_bytes": found["journal_cut_bytes"], "records": records, "ready_s": ready_s,
            "recovered_ms": found["journal_recovered_ms"],
            "ns_per_record": found["journal_recovered_ms"] * 1e6 / records,
            "cpu_ns_per_record": used_ns / records, "fetched": options.sample}


def main():
    options = parse_options()
    options.data = durable.data_directory(options.data)
    durable.need_room(options.data, options.keys * DISK_BYTES_PER_KEY)
    seed = random.randrange(1, SEEDS)
    with tempfile.TemporaryDirectory(prefix="recovery-", dir=options.data) as parent:
        directory = os.path.join(parent, "data")
        fill(options, directory, seed)
        if options.cold:
            drop_from_memory(directory)
        durable.print_figures(start_again(options, directory, seed))
    return 0


if __name__ == "__main__":
    sys.exit(durable.script(main))
