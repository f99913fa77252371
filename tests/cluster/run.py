#!/usr/bin/python3
"""Runs the tests of the module against $IDEM_REDIS (redis-server) and $IDEM_MODULE (build/release/idem.so).

usage: run.py [--times N] [-k PATTERN] [test_module[.Class[.test]] ...]
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.path[:0] = [HERE, os.path.dirname(HERE)]
    import limit
    arguments = sys.argv[1:]
    times = 1
    if arguments[:1] == ["--times"]:
        times, arguments = int(arguments[1]), arguments[2:]
    if not limit.named(arguments):
        arguments += sorted(name[:-3] for name in os.listdir(HERE) if name.startswith("test_") and name.endswith(".py"))
    limit.main("cluster", arguments * times)
