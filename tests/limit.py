"""A limit of time for each test of the runners in Python.

What hangs is ended, called FAILED (timeout) by its name, and hides no test after it. The main
thread is interrupted by SIGALRM, wherever it waits; what the test leaves to be cleaned up is done,
and is interrupted too if it hangs. $IDEM_TEST_LIMIT_S is far over what any test needs on any
machine. It must not know what is tested.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import unittest

LIMIT_S = float(os.environ.get("IDEM_TEST_LIMIT_S", 900))
CLEANUP_S = 30  # and again, should what is left of it hang too


class TimedOut(BaseException):
    """No `except Exception` of a test may take it for something else."""


class FixtureTimedOut(Exception):
    """In what a class sets up: unittest goes on after Exceptions only."""


def arm(kind, name):
    """From here on there are LIMIT_S until kind is raised; None: no limit."""
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


def main(name, arguments):
    unittest.main(module=None, argv=[name, "-v", *arguments], testRunner=Runner)


def run_group(command):
    """(status, output) of a program, within limited(); when the time is over, it and all that it
    has started are killed, and the status is None."""
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
