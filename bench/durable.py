"""The durable servers of a comparison, where their data lies, and what they say of their journal.

Data lies on a real file system, below --data (build/durable): in memory a sync would cost nothing.
Each server has a fresh directory there, which is removed with the server's end.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

from servers import IDEM_READY, ROOT, BenchError, Server, idem_arguments, pinned, shown

DATA = os.path.join(ROOT, "build", "durable")
IN_MEMORY = ("tmpfs", "ramfs")
POLICIES = ("always", "everysec")
RAW_SYNC = "raw sync"
SYNCS = 2000
NAMES = ("idem", *(f"{family} {policy}" for family in ("idem", "redis") for policy in POLICIES))
REPLY_SECONDS = 60


def file_system(path):
    """Its type, as stat names it."""
    result = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True,
                            check=False)
    return result.stdout.strip() or "unknown"


def data_directory(path):
    """Makes it; refuses memory."""
    path = os.path.abspath(path)
    os.makedirs(path, exist_ok=True)
    if file_system(path) in IN_MEMORY:
        raise BenchError(f"{path} is memory ({file_system(path)}): --data wants a real file system")
    return path


def need_room(path, wanted):
    free = shutil.disk_usage(path).free
    if free < wanted:
        raise BenchError(f"{path} has {free / 1e9:.1f} GB free; this needs {wanted / 1e9:.1f} GB: "
                         "name another directory by --data")


def has_journal(program):
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return "--appendfsync" in help_text.stdout


def idem_server(program, policy, data, directory="data", more=(), **others):
    """Its journal lies in a directory of its own, unless `directory` names one that stays."""
    def arguments(port, sizes):
        return [*idem_arguments(port, sizes), "--dir", directory, "--appendonly", "yes",
                "--appendfsync", policy, *more]

    return Server(f"idem {policy}", program, "idem", arguments, IDEM_READY, True, data=data,
                  **others)


def redis_server(peer, policy, data):
    def arguments(port, sizes):
        # A rewrite of the file would be counted in one run and not in the next: never.
        return ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", ".",
                "--appendonly", "yes", "--appendfsync", policy,
                "--auto-aof-rewrite-percentage", "0"]

    return dataclasses.replace(peer, name=f"redis {policy}", arguments=arguments, data=data,
                               settles=True)


def raw_sync(program, data):
    """No server: bench-sync measures itself."""
    return Server(RAW_SYNC, program, "sync", lambda port, sizes: [data, str(SYNCS)], data=data)


def known_durable(servers, build, data, note):
    """{name: Server} of those that can be made of `servers`, and the raw sync."""
    data = data_directory(data)
    found = []
    if "idem" in servers and has_journal(servers["idem"].program):
        found += [idem_server(servers["idem"].program, policy, data, settles=True)
                  for policy in POLICIES]
    else:
        note("no idem-server with --appendfsync: the durable one is not measured")
    if "redis" in servers:
        found += [redis_server(servers["redis"], policy, data) for policy in POLICIES]
    program = os.path.join(build, "bench-sync")
    if os.access(program, os.X_OK):
        found.append(raw_sync(program, data))
    else:
        note("bench-sync is not built: going on without it")
    return {server.name: server for server in found}


def ask(port, line):
    """The reply to one command: a number or a text."""
    with socket.create_connection(("127.0.0.1", port), REPLY_SECONDS) as connection, \
            connection.makefile("rwb") as stream:
        stream.write(line.encode() + b"\r\n")
        stream.flush()
        head = stream.readline()
        if head[:1] == b":":
            return int(head[1:])
        if head[:1] == b"$":
            return stream.read(int(head[1:]) + 2)[:-2].decode()
    raise BenchError(f"{line}: the server answered {head!r}")


def number_or_text(text):
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def persistence(port):
    """The section of INFO: {name: number or text}."""
    lines = ask(port, "INFO persistence").splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line and not line.startswith("#")]
    found = {name: number_or_text(value) for name, value in pairs}
    if "journal_segments" not in found:
        raise BenchError(f"INFO persistence says nothing of a journal: {found}")
    return found


def add_options(parser):
    """Of a script that starts idem itself."""
    cpus = sorted(os.sched_getaffinity(0))
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"),
                        help="where the programs are [build/release]")
    parser.add_argument("--idem", metavar="PROGRAM", help="another idem-server than the one there")
    parser.add_argument("--data", default=DATA, metavar="DIR",
                        help="where the journal lies meanwhile: no tmpfs [build/durable]")
    parser.add_argument("--server-cpu", type=int, default=cpus[0], help=f"[{cpus[0]}]")
    parser.add_argument("--load-cpu", type=int, default=cpus[-1], help=f"[{cpus[-1]}]")


def idem_program(options):
    program = shutil.which(options.idem or os.path.join(options.build, "idem-server"))
    if not program or not has_journal(program):
        raise BenchError("no idem-server with --appendfsync: make programs builds it")
    return os.path.abspath(program)


@contextlib.contextmanager
def load(options, port, *what):
    """idem-bench on its CPU, with its reply checks; ended when the block is left by an error."""
    command = [os.path.join(options.build, "idem-bench"), "--json", "--port", str(port), *what]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True,
                          preexec_fn=pinned({options.load_cpu})) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def loaded(process):
    """What it found, when it has ended."""
    output, errors = process.communicate()
    if process.returncode != 0:
        raise BenchError(f"{shown(process.args)}\n{errors.strip()}")
    return json.loads(output)


def run_load(options, port, *what):
    with load(options, port, *what) as process:
        return loaded(process)


def print_figures(figures):
    for name, value in figures.items():
        print(f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}")
    sys.stdout.flush()


def script(main):
    """Its exit status. A plain SIGTERM would skip the clean-up and leave a server and its data."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return main()
    except (BenchError, OSError) as error:
        print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
