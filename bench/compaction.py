#!/usr/bin/python3
"""make bench-compaction: what a journal costs whose records end by themselves after seconds.

First steady TTLs: for --seconds, CLAIM and STORE of ever-new keys as fast as idem answers, each
response kept for --ttl-ms. All that a segment holds has ended soon after it is full; it has to be
removed unread, and no byte may be appended again.

Then keys that stay: --kept responses with a TTL of a day first, and the same load after them. Their
segment cannot be removed unread; when the journal takes more than twice what is alive it is read, in
slices, and they are appended again. At the end the server is started once more, and each of them is
fetched and compared.

Exit status: 1 when a kept response is missing; and, not with --figures, when a byte was appended
again under steady TTLs, no segment was removed unread, or a slice took over 1 ms. It needs about 3 GB
of disk, in build/durable or --data.

Only the standard library.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # no __pycache__ beside the sources

import durable
from servers import BenchError, running

SECONDS = 60.0
TTL_MS = 3000
KEPT = 100000
DAY_MS = 86400000
POLL_SECONDS = 0.5
DISK_BYTES = 3 * 10**9
SLICE_LIMIT_US = 1000
SEEDS = 1 << 52


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"[{SECONDS:.0f}]")
    parser.add_argument("--ttl-ms", type=int, default=TTL_MS, help=f"[{TTL_MS}]")
    parser.add_argument("--kept", type=int, default=KEPT,
                        help=f"responses that stay; 0: without that part [{KEPT}]")
    parser.add_argument("--appendfsync", choices=(*durable.POLICIES, "no"), default="always",
                        help="[always]")
    parser.add_argument("--pipeline", type=int, default=16, help="[16]")
    parser.add_argument("--figures", action="store_true", help="only print, judge nothing")
    durable.add_options(parser)
    return parser.parse_args()


def server(options, directory="data"):
    # An image of a lease counts until its owner would be forgotten: with the default retention each
    # CLAIM would keep its segment for a day.
    return durable.idem_server(durable.idem_program(options), options.appendfsync, options.data,
                               directory, more=("--retention", f"{options.ttl_ms}ms"))


def jobs(options, *amount):
    return ["--scenario", "store", "--warmup", "0", "--pipeline", str(options.pipeline), *amount]


def watch(options, port, seconds):
    """A steady load; what INFO says at its end, with the most that was seen meanwhile."""
    most = 0
    what = jobs(options, "--seconds", str(seconds), "--ttl-ms", str(options.ttl_ms),
                "--lease-ms", str(options.ttl_ms))
    with durable.load(options, port, *what) as process:
        while True:
            most = max(most, durable.persistence(port)["journal_disk_bytes"])
            try:
                process.wait(POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        found = durable.loaded(process)
    return {"jobs_per_second": found["operations_per_second"], "most_disk_mb": most / 1e6,
            **figures(durable.persistence(port))}


def figures(found):
    names = ("segments", "removed_segments", "removed_unread", "again_bytes", "slice_max_us",
             "syncs", "sync_p50_us", "sync_p99_us", "sync_max_us", "records_per_sync")
    if found["aof_last_write_status"] != "ok":
        raise BenchError(f"aof_last_write_status is {found['aof_last_write_status']}")
    return {name: found[f"journal_{name}"] for name in names}


def steady(options):
    with running(server(options), {}, {options.server_cpu}) as (_, port):
        return watch(options, port, options.seconds)


def fetch_kept(options, port, seed):
    durable.run_load(options, port, "--scenario", "fetch", "--loaded", "--keys", str(options.kept),
                     "--requests", str(2 * options.kept), "--warmup", "0", "--pipeline", "16",
                     "--seed", seed)


def with_kept(options):
    if options.kept == 0:
        return {}
    seed, cpus = str(random.randrange(1, SEEDS)), {options.server_cpu}
    with tempfile.TemporaryDirectory(prefix="compaction-", dir=options.data) as parent:
        directory = os.path.join(parent, "data")
        with running(server(options, directory), {}, cpus) as (_, port):
            durable.run_load(options, port, *jobs(options, "--requests", str(options.kept),
                                                  "--ttl-ms", str(DAY_MS), "--seed", seed))
            found = watch(options, port, options.seconds)
            fetch_kept(options, port, seed)
        with running(server(options, directory), {}, cpus) as (_, port):
            fetch_kept(options, port, seed)
    return {f"kept_{name}": value for name, value in found.items()}


def shortcomings(found):
    if found["again_bytes"] > 0:
        yield f"steady TTLs: {found['again_bytes']} bytes were appended again"
    if found["removed_unread"] == 0:
        yield "steady TTLs: no segment was removed unread"
    for name in ("slice_max_us", "kept_slice_max_us"):
        if found.get(name, 0) > SLICE_LIMIT_US:
            yield f"{name} is over {SLICE_LIMIT_US}"
    if found.get("kept_again_bytes") == 0:
        yield "keys that stay: nothing was appended again, so nothing was tried: --seconds is short"


def main():
    options = parse_options()
    options.data = durable.data_directory(options.data)
    durable.need_room(options.data, DISK_BYTES)
    found = {**steady(options), **with_kept(options)}
    durable.print_figures(found)
    short = [] if options.figures else list(shortcomings(found))
    for line in short:
        print(f"compaction.py: {line}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(durable.script(main))
