#!/usr/bin/python3
"""Runs the tests of the Python package against $IDEM_SERVER (build/release/idem-server).

usage: run.py [-k PATTERN] [test_module[.Class[.test]] ...]
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(os.path.dirname(HERE))

if __name__ == "__main__":
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    package = os.environ.get("IDEM_TEST_PACKAGE", os.path.join(os.path.dirname(TESTS), "client", "python"))
    sys.path[:0] = [package, HERE, TESTS, os.path.join(TESTS, "system")]
    import limit
    limit.LIMIT_S = float(os.environ.get("IDEM_TEST_LIMIT_S", 180))
    arguments = sys.argv[1:]
    if not limit.named(arguments):
        arguments += sorted(name[:-3] for name in os.listdir(HERE) if name.startswith("test_") and name.endswith(".py"))
    limit.main("http-python", arguments)
