"""redis-benchmark: -t set,get, a pipelined run and CLAIM, without any error or warning."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../system"))
from harness import Client  # noqa: E402
from steps import HOST, PORT, PROTOCOL, expect, step  # noqa: E402

REQUESTS = 20000
KEYS = 1000


def benchmark(*arguments):
    version = ["-3"] if PROTOCOL == 3 else []
    done = subprocess.run(["redis-benchmark", "-h", HOST, "-p", str(PORT), "-n", str(REQUESTS),
                           "-c", "20", *version, *arguments], capture_output=True, text=True,
                          timeout=600)
    said = done.stdout + done.stderr
    expect(done.returncode == 0 and not done.stderr, said[-1000:])
    expect(not re.search(r"error|warning|could not|err ", said, re.I), said[-1000:])
    finished = re.findall(r"%d requests completed" % REQUESTS, said)
    expect("requests per second" in said or finished, said[-1000:])
    return said


def keys():
    with Client((HOST, PORT)) as client:
        return client.call("DBSIZE")


def set_get():
    said = benchmark("-t", "set,get")
    expect("====== SET ======" in said and "====== GET ======" in said, said[-1000:])
    expect("multi-thread: no" in said and keys() == 1, f"{keys()} keys")


def pipelined():
    said = benchmark("-t", "set,get", "-P", "16", "-q", "-r", str(KEYS), "-d", "100")
    expect(said.count("requests per second") >= 2, said[-1000:])
    expect(KEYS * 0.9 < keys() <= KEYS + 1, f"{keys()} keys")


def claim():
    with Client((HOST, PORT)) as client:
        client.call("FLUSHALL")
    benchmark("-q", "-r", str(KEYS), "IDEM.CLAIM", "order:__rand_int__")
    expect(KEYS * 0.9 < keys() <= KEYS, f"{keys()} keys")


step("set-get", set_get)
step("pipelined", pipelined)
step("claim", claim)
