#!/usr/bin/python3
"""Tries the recipes of client/COOKBOOK.md against $IDEM_SERVER (build/release/idem-server).

usage: run.py [--strict] [--postgres] [-k PATTERN] [test_module[.Class[.test]] ...]
  --strict     a recipe whose packages are not installed is a failure, not only a line that says so
  --postgres   only that of Postgres, in a server of its own (in a temporary directory, over a unix socket)
"""
import glob
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)


def strict(result):
    """The class of a result to which what is skipped has failed."""
    class Strict(result):
        def addSkip(self, test, reason):
            self.addFailure(test, (unittest.SkipTest, unittest.SkipTest(reason), None))
    return Strict


def main(arguments):
    sys.path[:0] = [HERE, TESTS]
    import limit
    limit.LIMIT_S = float(os.environ.get("IDEM_TEST_LIMIT_S", 180))
    if "--strict" in arguments:
        arguments.remove("--strict")
        limit.Runner.resultclass = strict(limit.Result)
    if "--postgres" in arguments:
        arguments[arguments.index("--postgres")] = "test_fencing.PostgresRow"
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not found:
            sys.exit("there is no /usr/lib/postgresql/*/bin: apt-get install postgresql python3-psycopg2")
        os.environ["IDEM_POSTGRES"] = found[-1]
    if not limit.named(arguments):
        arguments += sorted(name[:-3] for name in os.listdir(HERE) if name.startswith("test_") and name.endswith(".py"))
    limit.main("cookbook", arguments)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main(sys.argv[1:])
