"""idem-once and servers that are not as they should be: without room for the outcome, or with too much to say."""

import os
import unittest

from support import PATIENCE_SECONDS, Cramped, Flood
from test_once import LIMIT_BYTES, OnceCase


class Servers(OnceCase):
    def test_a_server_without_room_is_asked_again(self):
        with Cramped(times=2) as server:
            status, out, err = self.once("k", "echo", "out", server=server)
            self.assertEqual((status, out), (0, b"out\n"))
            self.assertEqual(err.count(b"not recorded yet"), 1, err)
            self.assertNotIn(b"NOT recorded", err)
            self.assertIn(b"out\n", server.stored)

    def test_without_room_for_the_output_the_status_is_recorded(self):
        command = ["sh", "-c", "head -c 3000 /dev/zero; exit 8"]
        with Cramped() as server, Cramped(b"-CONFLICT this token has stored\r\n") as full:
            both = [self.start_once("k", *command, server=each) for each in (server, full)]
            results = [process.communicate(timeout=PATIENCE_SECONDS) for process in both]
            self.assertEqual([process.returncode for process in both], [8, 8], results)
            self.assertEqual([len(out) for out, _ in results], [3000, 3000])
            self.assertIn(b"only the status is recorded", results[0][1])
            self.assertIn(b"status 8 stdout 0 stderr 0 missed 3000", server.stored)
            self.assertNotIn(b"only the status", results[1][1], "an attempt with the output was taken after all")

    def test_a_reply_larger_than_any_record_is_not_taken(self):
        with Flood() as server:
            process = self.start_once("k", "true", server=server)
            process.stdout.close()
            err = process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 78, err)
        self.assertLess(used.ru_maxrss * 1024, 8 * LIMIT_BYTES)


if __name__ == "__main__":
    unittest.main()
