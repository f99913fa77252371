"""For the programs here in Python: where the server is, and how to report a step.

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
    """Runs one step. The first failure ends the program, since later steps build on earlier ones."""
    try:
        result = function(*arguments)
    except Exception as error:  # any exception of a client is the step's failure
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
