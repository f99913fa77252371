"""For the programs here that are written in Python: where the server is, and how a step is told.

It must not know any client.
"""

import os
import sys
import time

HOST = os.environ.get("IDEM_HOST", "127.0.0.1")
PORT = int(os.environ.get("IDEM_PORT", "4336"))
PROTOCOL = int(os.environ.get("IDEM_PROTOCOL", "2"))
BINARY_KEY = b"bin\r\n\x00\xff key"
BINARY_BODY = bytes(range(256)) + b"\r\n\x00\r\n$5\r\n"


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def ok(step):
    print("ok " + step, flush=True)


def step(name, function, *arguments):
    """Runs one step; the first that fails ends the program, since the next ones build on it."""
    try:
        result = function(*arguments)
    except Exception as error:  # whatever a client raises is what the step failed with
        print(f"not ok {name} {type(error).__name__}: {str(error)[:1500]!r}", flush=True)
        sys.exit(1)
    ok(name)
    return result


def until(condition, what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < deadline, f"{what} did not come")
        time.sleep(0.005)


def restart():
    print("restart", flush=True)
    expect(sys.stdin.readline() == "restarted\n", "the runner did not restart the server")
