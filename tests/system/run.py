#!/usr/bin/python3
"""Runs the system tests of this directory against $IDEM_SERVER (build/release/idem-server).

usage: run.py [-k PATTERN] [test_module[.Class[.test]] ...]
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.path[:0] = [HERE, os.path.dirname(HERE)]
    import limit
    arguments = sys.argv[1:]
    if os.environ.get("IDEM_SUITE_HOST"):
        import module_host
        module_host.skip_tests()
        if not limit.named(arguments):
            arguments += module_host.ACCEPTANCE
    if not limit.named(arguments):
        arguments += sorted(name[:-3] for name in os.listdir(HERE)
                            if name.startswith("test_") and name.endswith(".py"))
    limit.main("system", arguments)
