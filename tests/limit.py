"""A time limit for each test of the runners in Python.

A test that hangs is ended, reported by name as FAILED (timeout), and the tests after it run. SIGALRM
interrupts the main thread wherever it waits; then the test's cleanups run, and are interrupted too if
they hang. $IDEM_TEST_LIMIT_S is far more than any test needs on any machine. This file must not know
what is tested.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import unittest

LIMIT_S = float(os.environ.get("IDEM_TEST_LIMIT_S", 900))
CLEANUP_S = 30  # and again later, in case the cleanups hang too


class TimedOut(BaseException):
    """A BaseException, so that no `except Exception` of a test catches it."""


class FixtureTimedOut(Exception):
    """The time-out of a class fixture: unittest goes on after an Exception only."""


def arm(kind, name):
    """Raises `kind` LIMIT_S from now; None: never."""
    def end(*_):
        text = f"FAILED (timeout): {name} did not end within {LIMIT_S:g} s"
        print("\n" + text, flush=True)
        raise kind(text)
    if kind is None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return
    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S, CLEANUP_S)


@contextlib.contextmanager
def limited(name):
    arm(TimedOut, name)
    try:
        yield
    finally:
        arm(None, name)


class Result(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        arm(TimedOut, test.id())

    def stopTest(self, test):
        arm(FixtureTimedOut, f"what comes after {test.id()}")
        super().stopTest(test)

    def stopTestRun(self):
        arm(None, "")
        super().stopTestRun()


class Runner(unittest.TextTestRunner):
    resultclass = Result


def named(arguments):
    """Whether they name modules or tests. What follows -k is a pattern."""
    return any(argument.startswith("test_") and before != "-k" for before, argument in zip(["", *arguments], arguments))


def main(name, arguments):
    """Ends the process. A run in which there was no test has failed."""
    result = unittest.main(module=None, argv=[name, "-v", *arguments], testRunner=Runner, exit=False).result
    if not result.testsRun and not result.skipped:
        print("FAILED: no test has run", file=sys.stderr)
    sys.exit(0 if result.wasSuccessful() and (result.testsRun or result.skipped) else 1)


def run_group(command):
    """(status, output) of a program, run within limited(). When the time has passed, the program and
    all its children are killed, and the status is None."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            status = process.wait()
        except TimedOut:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return status, output.read().decode(errors="replace")
