"""The start of a server that reads its journal: signals end it, and change nothing."""

import os
import signal


from test_starts import StartCase


def pending(number):
    """Before the program starts: the signal waits for it, whenever it is ready to hear it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    os.kill(os.getpid(), number)


class Ended(StartCase):
    def test_a_signal_ends_the_recovery_and_changes_nothing(self):
        self.written(30)
        self.serve("--segment-size", "1mb")
        for number in range(40):
            self.assertEqual(self.call("SET", f"large{number}", "v" * 100_000), "OK")
        self.server.kill()
        before = self.files()
        for number in (signal.SIGTERM, signal.SIGINT):
            status, said = self.program("--segment-size", "1mb", before=lambda: pending(number))
            self.assertEqual(status, 0, said)
            self.assertIn("stopped while it was read; nothing was changed", said)
            self.assertEqual(self.files(), before)
        self.serve()
        self.assertEqual(self.call("DBSIZE"), 70)

    def test_one_that_comes_with_nothing_to_recover_drains(self):
        status, said = self.program(before=lambda: pending(signal.SIGTERM), dir="")
        self.assertEqual(status, 0, said)
        self.assertIn("SIGTERM: no new claims; 0 are held", said)
