"""Quotas: how many claims a user holds and how many of its callers wait, over all loops, through changes of the user, hand-over,
FLUSHALL, kill -9 and restarts."""

import signal
import tempfile
import threading
import unittest

from harness import ServerCase, eventually

PASSWORD = "of-a-tenant"


def config(anna="", ben=""):
    return "\n".join([
        "user default off",
        f"user operator on >{PASSWORD} allkeys allchannels +@all",
        f"user anna on >{PASSWORD} ~* +@all {anna}",
        f"user ben on >{PASSWORD} ~* +@all {ben}",
    ]) + "\n"


class Quotas(ServerCase):
    threads = 1

    def serve(self, *options, **quotas):
        return self.start("--threads", self.threads, *options, config=config(**quotas))

    def user(self, server, name):
        client = self.connect(server)
        self.assertEqual(client.call("AUTH", name, PASSWORD), "OK")
        return client

    def figures(self, server, name):
        """Of a user, from INFO."""
        line = self.server_info(server)[f"user_{name}"]
        return {field: int(value) for field, value in (pair.split("=") for pair in line.split(","))}

    def server_info(self, server):
        with self.user(server, "operator") as operator:
            return server.info("users", operator)

    def assert_over(self, reply, code, quota, most):
        self.assert_error(reply, code)
        self.assertEqual(str(reply).split()[1:3], [quota, str(most)], str(reply))

    def test_claims(self):
        server = self.serve(anna="quota-claims 3")
        anna, ben = self.user(server, "anna"), self.user(server, "ben")
        tokens = [self.claim(anna, f"a:{number}")[0] for number in range(3)]
        self.assert_over(anna.call("CLAIM", "a:3"), "OOM", "quota-claims", 3)
        self.assertIsNone(anna.call("FETCH", "a:3"))
        self.claim(ben, "a:3")
        self.assertEqual(anna.call("STORE", "a:0", tokens[0], "body"), 0)
        self.claim(anna, "a:4")
        self.assert_over(anna.call("CLAIM", "a:5"), "OOM", "quota-claims", 3)
        self.assertEqual(self.figures(server, "anna"),
                         {"claims": 3, "waiters": 0, "quota_claims": 3, "quota_waiters": 0, "refused_claims": 2,
                          "refused_waiters": 0})
        self.assertEqual(self.figures(server, "ben")["claims"], 1)

    def test_waiters(self):
        server = self.serve(anna="quota-waiters 2")
        ben = self.user(server, "ben")
        token = self.claim(ben, "k")[0]
        waiting = [self.user(server, "anna") for _ in range(3)]
        waiting[0].send("CLAIM", "k", "WAIT", 60_000)
        waiting[1].send("AWAIT", "k", 60_000)
        eventually(lambda: self.figures(server, "anna")["waiters"] == 2, "two waiters")
        for command in (("CLAIM", "k", "WAIT", 60_000), ("AWAIT", "k", 60_000)):
            self.assert_over(waiting[2].call(*command), "BUSYKEY", "quota-waiters", 2)
        self.assert_status(waiting[2].call("CLAIM", "k"), "BUSY")
        waiting[0].close()
        eventually(lambda: self.figures(server, "anna")["waiters"] == 1, "one waiter")
        waiting[2].send("AWAIT", "k", 60_000)
        eventually(lambda: self.figures(server, "anna")["waiters"] == 2, "two waiters")
        self.assertEqual(ben.call("STORE", "k", token, "body"), 2)
        self.assertEqual(self.figures(server, "anna")["waiters"], 0)

    def test_a_hand_over_is_refused_and_the_next_one_granted(self):
        server = self.serve(anna="quota-claims 1")
        anna, ben, other = self.user(server, "anna"), self.user(server, "ben"), self.user(server, "ben")
        token = self.claim(ben, "k")[0]
        self.claim(anna, "a:1")
        anna.send("CLAIM", "k", "WAIT", 60_000)
        eventually(lambda: self.figures(server, "anna")["waiters"] == 1, "one waiter")
        other.send("CLAIM", "k", "WAIT", 60_000)
        eventually(lambda: self.figures(server, "ben")["waiters"] == 1, "another waiter")
        self.assertEqual(ben.call("RELEASE", "k", token), 1)
        self.assert_over(anna.read(), "OOM", "quota-claims", 1)
        self.assert_status(other.read(), "CLAIMED")
        self.assertEqual([self.figures(server, name)["claims"] for name in ("anna", "ben")], [1, 1])

    def test_a_quota_that_changes_while_the_server_runs(self):
        server = self.serve()
        anna, operator = self.user(server, "anna"), self.user(server, "operator")
        tokens = [self.claim(anna, f"a:{number}")[0] for number in range(3)]
        self.assertEqual(operator.call("ACL", "SETUSER", "anna", "quota-claims", 2), "OK")
        self.assert_over(anna.call("CLAIM", "a:3"), "OOM", "quota-claims", 2)
        self.assertEqual(anna.call("RENEW", "a:0", tokens[0]), 60_000)
        anna.call("RELEASE", "a:0", tokens[0])
        self.assert_over(anna.call("CLAIM", "a:3"), "OOM", "quota-claims", 2)
        anna.call("RELEASE", "a:1", tokens[1])
        self.claim(anna, "a:3")
        self.assertEqual(operator.call("ACL", "SETUSER", "anna", "quota-claims", 0), "OK")
        self.claim(anna, "a:4")
        self.assert_error(operator.call("ACL", "SETUSER", "default", "quota-claims", 1), "ERR")

    def test_flushall(self):
        server = self.serve(anna="quota-claims 2")
        anna, operator = self.user(server, "anna"), self.user(server, "operator")
        for _ in range(3):
            for number in range(2):
                self.claim(anna, f"a:{number}")
            self.assert_over(anna.call("CLAIM", "a:2"), "OOM", "quota-claims", 2)
            self.assertEqual(operator.call("FLUSHALL"), "OK")
        self.assertEqual(self.figures(server, "anna")["claims"], 0)

    def test_no_more_than_the_quota_at_any_moment(self):
        """Eight connections claim and release keys all over the shards; each counts what the tenant holds."""
        most, rounds = 3, 300
        server = self.serve(anna=f"quota-claims {most}")
        lock, state, problems = threading.Lock(), {"held": 0, "refused": 0}, []

        def work(number):
            client = self.user(server, "anna")
            for turn in range(rounds):
                reply = client.call("CLAIM", f"{number}:{turn}")
                if not isinstance(reply, list):
                    with lock:
                        state["refused"] += 1
                    continue
                with lock:
                    state["held"] += 1
                    if state["held"] > most:
                        problems.append(state["held"])
                with lock:
                    state["held"] -= 1
                client.call("RELEASE", f"{number}:{turn}", reply[1])

        workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual(problems, [])
        figures = self.figures(server, "anna")
        self.assertEqual((figures["claims"], figures["refused_claims"]), (0, state["refused"]))

    def test_kill_and_restart(self):
        """What was held is counted after the start, for whom it was, with another number of loops too."""
        first = self.serve("--dir", self.directory("journal"), anna="quota-claims 4", ben="quota-claims 100")
        anna, ben = self.user(first, "anna"), self.user(first, "ben")
        tokens = [self.claim(anna, f"a:{number}", "LEASE", 3_000_000)[0] for number in range(4)]
        anna.call("RELEASE", "a:0", tokens[0])
        anna.call("STORE", "a:1", tokens[1], "body")
        for number in range(20):
            self.claim(ben, f"b:{number}", "LEASE", 3_000_000)
        first.signal(signal.SIGKILL)
        first.leave()
        again = self.start("--threads", 5 - self.threads, "--dir", self.directory("journal"),
                           config=config("quota-claims 4", "quota-claims 20"))
        self.assertEqual(self.figures(again, "anna")["claims"], 2)
        self.assertEqual(self.figures(again, "ben")["claims"], 20)
        anna, ben = self.user(again, "anna"), self.user(again, "ben")
        self.assert_over(ben.call("CLAIM", "b:20"), "OOM", "quota-claims", 20)
        self.claim(anna, "a:4")
        self.claim(anna, "a:5")
        self.assert_over(anna.call("CLAIM", "a:6"), "OOM", "quota-claims", 4)
        self.assertEqual(anna.call("STORE", "a:2", tokens[2], "late"), 0)
        self.claim(anna, "a:6")

    def directory(self, name):
        """Of the first server, which is forgotten when the test ends."""
        if not hasattr(self, "place"):
            self.place = tempfile.TemporaryDirectory(prefix="idem-test-")
            self.addCleanup(self.place.cleanup)
        return f"{self.place.name}/{name}"


class QuotasOnFourLoops(Quotas):
    threads = 4


if __name__ == "__main__":
    unittest.main()
