"""The servers of a comparison: how each is started on one CPU, known to be ready, and stopped.

Every server that is started here is stopped by its own pid, on errors too.
"""

import contextlib
import ctypes
import dataclasses
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START_SECONDS = 10
STOP_SECONDS = 10
START_ATTEMPTS = 3
SETTLE_SECONDS = 5
AT_REST_SECONDS = 0.1
AT_REST_CPU_NS = 1000000
PR_SET_PDEATHSIG = 1
MEMCACHED_MB = 16384
LOOPS = (1, 2)
SOCKET = "socket"  # in the directory of a server
UNIX = " unix"  # ends the name of a server on one


class BenchError(Exception):
    """Ends the run with one line."""


@dataclasses.dataclass
class Server:
    name: str
    program: str
    family: str  # whose requests it understands: idem, loops, module, redis, memcached, echo, relay; or sync
    arguments: object  # (port, sizes) -> list
    ready: object = None  # the line on its output; None: it is ready when it accepts a connection
    picks_port: bool = False  # `ready` has the port that the kernel picked
    data: str = None  # where its directory is made; None: where temporary files are
    settles: bool = False  # it prepares its files after it got ready: waited for
    load: tuple = ()  # options of the load that it needs: TLS
    socket: bool = False  # it listens on SOCKET in its directory as well, where the load goes
    start_seconds: int = START_SECONDS
    stop_seconds: int = STOP_SECONDS

    def command(self, port, sizes):
        return [self.program, *self.arguments(port, sizes)]


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


def pinned(cpus):
    """For the child: stay on these CPUs, and do not outlive this script even if it is killed."""

    def prepare():
        os.sched_setaffinity(0, cpus)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return prepare


def stop(process, seconds):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def accepts(place):
    """Whether a server accepts there: a port, or the path of a unix socket."""
    family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family) as probe:
        probe.settimeout(1)
        probe.connect(place if family == socket.AF_UNIX else ("127.0.0.1", place))
        return True
    return False


def where(place):
    """For the load."""
    return ["--unix", place] if isinstance(place, str) else ["--port", str(place)]


def await_ready(process, log, server, place):
    """The place, or None when the server did not get ready; and its output so far."""
    deadline = time.monotonic() + server.start_seconds
    while True:
        ended = process.poll() is not None
        log.seek(0)
        text = log.read().decode(errors="replace")
        match = server.ready.search(text) if server.ready else None
        if match:
            return (int(match.group(1)) if server.picks_port else place), text
        if ended or time.monotonic() > deadline:
            return None, text
        if not server.ready and accepts(place):
            return place, text
        time.sleep(0.005)


def cpu_ns(pid):
    """CPU time of all threads so far."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


def await_settled(pid):
    """Until it is at rest, or for SETTLE_SECONDS at most: a journal fills its first room with zeros
    while the server is ready already. A load would be charged for room that it does not use."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before = cpu_ns(pid)
    while time.monotonic() < deadline:
        time.sleep(AT_REST_SECONDS)
        now = cpu_ns(pid)
        if now - before < AT_REST_CPU_NS:
            return
        before = now


@contextlib.contextmanager
def running(server, sizes, cpus):
    """Starts a fresh server and yields (pid, port), or (pid, path) of one on a unix socket."""
    with tempfile.TemporaryDirectory(prefix="idem-bench-", dir=server.data) as directory:
        for _ in range(START_ATTEMPTS):
            port = 0 if server.picks_port else free_port()
            place = os.path.join(directory, SOCKET) if server.socket else port
            command = server.command(port, sizes)
            with open(os.path.join(directory, "log"), "w+b") as log:
                process = subprocess.Popen(
                    command,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=pinned(cpus),
                )
                try:
                    place, text = await_ready(process, log, server, place)
                    if place:
                        if server.settles:
                            await_settled(process.pid)
                        yield process.pid, place
                        return
                except BenchError as error:
                    if process.poll() is None:
                        raise
                    log.seek(0)
                    tail = log.read().decode(errors="replace")[-2000:]
                    end = f"{server.name} ended with {process.returncode}"
                    raise BenchError(f"{error}\n{end}:\n{tail}") from error
                finally:
                    stop(process, server.stop_seconds)
            # Somebody else may have taken the free port in between: try another one.
        raise BenchError(f"{server.name} did not start: {shown(command)}\n{text[-2000:]}")


def redis_arguments(port, sizes):
    return ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


def pogocache_arguments(port, sizes):
    return ["-h", "127.0.0.1", "-p", str(port), "--threads", "1"]


def dragonfly_arguments(port, sizes):
    return ["--port", str(port), "--bind", "127.0.0.1", "--proactor_threads", "1", "--dbfilename",
            "", "--logtostderr"]


def memcached_arguments(port, sizes):
    # -M: refuse at the limit instead of evicting, as idem does.
    user = ["-u", "root"] if os.geteuid() == 0 else []
    return ["-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "1", "-m", str(MEMCACHED_MB), "-M",
            "-c", "20000", *user]


def idem_arguments(port, sizes):
    return ["--port", str(port), "--bind", "127.0.0.1", "--drain-timeout", "0"]


def echo_arguments(port, sizes):
    return ["echo", "--port", str(port), "--request-bytes", str(sizes["request_bytes"]),
            "--reply-bytes", str(sizes["reply_bytes"]), *sizes["floor_more"]]


def relay_arguments(port, sizes):
    return ["relay", "--port", str(port), "--reply-bytes", str(sizes["reply_bytes"])]


REDIS_READY = re.compile("Ready to accept connections")
IDEM_READY = re.compile(r"ready to accept connections on 127\.0\.0\.1:(\d+)")
FLOOR_READY = re.compile(r"ready (\d+)")

# Other servers, by the name of their program: used when it is on the PATH.
PEERS = [
    Server("redis", "redis-server", "redis", redis_arguments, REDIS_READY),
    Server("valkey", "valkey-server", "redis", redis_arguments, REDIS_READY),
    Server("pogocache", "pogocache", "redis", pogocache_arguments),
    Server("dragonfly", "dragonfly", "redis", dragonfly_arguments),
    Server("memcached", "memcached", "memcached", memcached_arguments),
]


def looped(program):
    """The same server with several loops, where it has them."""
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    if "--threads" not in help_text.stdout:
        return
    for count in LOOPS:
        def arguments(port, sizes, count=count):
            return [*idem_arguments(port, sizes), "--threads", str(count)]

        yield Server(loops_name(count), program, "loops", arguments, IDEM_READY, True)


# How a server is told to listen on a unix socket too, by its name or its family.
ON_UNIX = {"idem": "--unixsocket", "redis": "--unixsocket", "valkey": "--unixsocket",
           "pogocache": "-s", "echo": "--unix", "epoll-echo": "--unix"}


def known_unix(servers):
    """{name: Server} of those that can."""
    found = {}
    for name, option in ON_UNIX.items():
        if name not in servers:
            continue

        def arguments(port, sizes, usual=servers[name].arguments, option=option):
            return [*usual(port, sizes), option, SOCKET]

        found[name + UNIX] = dataclasses.replace(servers[name], name=name + UNIX, ready=None,
                                                 arguments=arguments, picks_port=False, socket=True)
    return found


def loops_name(count):
    return f"idem, {count} loop{'s' if count > 1 else ''}"


def known_servers(build, idem, redis, note):
    """{name: Server} of all that can be started here; says which are not."""
    found = {}
    idem_program = shutil.which(idem or os.path.join(build, "idem-server"))
    if idem_program:
        found["idem"] = Server("idem", os.path.abspath(idem_program), "idem", idem_arguments,
                               IDEM_READY, True)
        found.update({server.name: server for server in looped(found["idem"].program)})
    else:
        note("no idem-server: only the others are measured")
    module = os.path.join(build, "idem.so")
    host = shutil.which(redis) if redis else None
    if host and os.access(module, os.R_OK):
        def arguments(port, sizes):
            return [*redis_arguments(port, sizes), "--loadmodule", os.path.abspath(module)]

        found["module"] = Server("module", host, "module", arguments, REDIS_READY)
    absent = []
    for peer in PEERS:
        program = shutil.which(redis if peer.name == "redis" else peer.program)
        if program:
            found[peer.name] = dataclasses.replace(peer, program=program)
        else:
            absent.append(peer.program)
    if absent:
        note(f"not on the PATH, skipped: {', '.join(absent)}")
    floors = [("echo", "bench-uv", "echo", echo_arguments),
              ("relay", "bench-uv", "relay", relay_arguments),
              ("epoll-echo", "bench-epoll", "echo", echo_arguments),
              ("epoll-relay", "bench-epoll", "relay", relay_arguments)]
    for name, program, family, arguments in floors:
        path = os.path.join(build, program)
        if os.access(path, os.X_OK):
            found[name] = Server(name, path, family, arguments, FLOOR_READY, True)
        else:
            note(f"{program} is not built: going on without it")
    return found
