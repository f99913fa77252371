"""A server that gets no more memory from the system refuses commands and goes on.

tests/shortage does the same in one process, allocation by allocation. Here the whole program, with
its allocator and its threads, runs under RLIMIT_AS.
"""

import re
import resource
import unittest

from harness import INSTRUMENTED, Closed, RespError, ServerCase, eventually, measured

HEADROOMS = (0, 64 << 10, 256 << 10, 1 << 20)
CONNECTIONS = 3000


@unittest.skipIf(INSTRUMENTED, "a sanitizer maps memory of its own")
class NoMemory(ServerCase):
    def cap(self, server, headroom):
        """Limits the address space to what the server has now, plus the headroom."""
        with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
            now = int(re.search(r"VmSize:\s+(\d+)", status.read()).group(1)) * 1024
        hard = resource.prlimit(server.pid, resource.RLIMIT_AS)[1]
        resource.prlimit(server.pid, resource.RLIMIT_AS, (now + headroom, hard))
        return hard

    def claims(self, server, number):
        """Whether a new connection is granted a claim. A refused one gets an error or is closed."""
        client = self.connect(server)
        try:
            client.send("CLAIM", f"claim-{number}", "OWNER", "x" * 100)
            reply = client.read()
        except (Closed, ConnectionResetError, BrokenPipeError):
            return False
        if not isinstance(reply, RespError):
            self.assert_status(reply, "CLAIMED")
            return True
        self.assertRegex(str(reply), "max number of clients|OOM|memory")
        return False

    def survives(self, loops, headroom):
        server = self.start("--threads", loops)
        old = self.connect(server)
        self.assertEqual(old.call("PING"), "PONG")
        hard = self.cap(server, headroom)
        granted = sum(self.claims(server, number) for number in range(CONNECTIONS))
        self.assertEqual(old.call("PING"), "PONG")
        measured(f"{loops} loops, {headroom >> 10} KiB of headroom: {granted} of {CONNECTIONS}")
        resource.prlimit(server.pid, resource.RLIMIT_AS, (hard, hard))
        eventually(lambda: self.claims(server, "after"), "a claim when there is memory again")
        server.stop()

    def test_one_loop_refuses_and_goes_on(self):
        for headroom in HEADROOMS:
            with self.subTest(headroom=headroom):
                self.survives(1, headroom)

    def test_four_loops_refuse_and_go_on(self):
        for headroom in HEADROOMS:
            with self.subTest(headroom=headroom):
                self.survives(4, headroom)


if __name__ == "__main__":
    unittest.main()
