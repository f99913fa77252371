#!/usr/bin/python3
"""Runs idem-once, the examples in C and the installed client against a real server ($IDEM_SERVER).

usage: run.py [-k PATTERN] [test_module[.Class[.test]] ...]

$IDEM_BUILD (build/release) is where the programs are; `make c-examples-test` sets both. Without a
test_module all of them run, each in its own process, because they mostly wait for leases to expire.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]
    import limit
    arguments = sys.argv[1:]
    if any(argument.startswith("test_") for argument in arguments):
        limit.main("c_examples", arguments)
    modules = sorted(name[:-3] for name in os.listdir(HERE)
                     if name.startswith("test_") and name.endswith(".py"))
    running = [subprocess.Popen([sys.executable, __file__, *arguments, module], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
               for module in modules]
    failed = False
    for process in running:
        print(process.communicate()[0], end="", flush=True)
        failed |= process.returncode != 0
    sys.exit(failed)
