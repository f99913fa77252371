"""idem-once: one run, the same bytes and status for everybody, and what happens when something dies."""

import array
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import Server, eventually, patience
from support import ONCE, PATIENCE_SECONDS, Case, gone, url

DUPLICATES = 12
LIMIT_BYTES = 16 * 1024 * 1024
PIPE_BYTES = 65536
COUNT_INTERRUPTS = """
import signal, sys
note = lambda text: print(text, file=open(sys.argv[1], "a"), flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
note("begin")
signal.sigwait([signal.SIGINT])
note("INT")
while signal.sigtimedwait([signal.SIGINT], 0.3):
    note("INT")
sys.exit(6)
"""


class OnceCase(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def argv(self, key, *rest, server=None):
        return [ONCE, "--server", url(server or self.server), "--key", f"{self.id()}:{key}", *rest]

    def start_once(self, key, *rest, **settings):
        server = settings.pop("server", None)
        return self.launch(self.argv(key, *rest, server=server), stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, **settings)

    def once(self, key, *rest, **settings):
        """(exit status, stdout, stderr)"""
        process = self.start_once(key, *rest, **settings)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out, err

    def touch(self, name):
        with open(self.path(name), "w", encoding="ascii"):
            pass

    def run_noting(self, script):
        """A shell command that appends a line to the ledger first."""
        return ["sh", "-c", f'echo "begin $$ $IDEM_ATTEMPT" >> {self.ledger}; {script}']


class Outcomes(OnceCase):
    def test_duplicates_in_parallel_run_once_and_hear_the_same(self):
        command = self.run_noting("head -c 100000 /dev/urandom; echo problem >&2; sleep 0.2; exit 7")
        with ThreadPoolExecutor(DUPLICATES) as pool:  # all have to be read: any of them may run it
            answers = list(pool.map(lambda _: self.once("k", "--", *command), range(DUPLICATES)))
        self.assertEqual(len(self.ledger_lines()), 1)
        status, out, err = answers[0]
        self.assertEqual((status, len(out), err), (7, 100000, b"problem\n"))
        self.assertEqual(len(set(answers)), 1, "not all heard the same")

    def test_replay_is_identical_to_the_byte(self):
        command = ["sh", "-c", "head -c 300000 /dev/urandom; head -c 70000 /dev/urandom >&2; exit 3"]
        first = self.once("k", *command)
        self.assertEqual((first[0], len(first[1]), len(first[2])), (3, 300000, 70000))
        self.assertEqual(self.once("k", *command), first)
        self.assertEqual(self.once("empty", "true"), (0, b"", b""))
        self.assertEqual(self.once("empty", "false"), (0, b"", b""))

    def test_status_of_a_command_that_a_signal_ended(self):
        for _ in range(2):
            self.assertEqual(self.once("k", "sh", "-c", "kill -KILL $$")[0], 128 + signal.SIGKILL)

    def test_a_command_that_cannot_be_started_gives_the_claim_back(self):
        self.assertEqual(self.once("k", "/no/such/program")[0], 127)
        self.assertEqual(self.once("k", "/etc/passwd")[0], 126)
        self.assertEqual(self.once("k", "--wait", "0", "echo", "now")[:2], (0, b"now\n"))

    def test_usage(self):
        for wrong in ([ONCE], [ONCE, "--key", "k"], [ONCE, "--nonsense"], [ONCE, "--key", "", "true"],
                      self.argv("k", "--lease", "30", "true"), self.argv("k", "--lease", "0", "true"),
                      self.argv("k", "--ttl", "32d", "true"), self.argv("k", "--wait", "-1s", "true"),
                      self.argv("k", "--wait", "99999999999999999999s", "true"),
                      self.argv("x" * 2000, "true"), [ONCE, "--server", "http://x", "--key", "k", "true"]):
            result = subprocess.run(wrong, capture_output=True, check=False)
            self.assertEqual(result.returncode, 64, wrong)
            self.assertIn(b"idem-once: ", result.stderr)
        self.assertIn("--lease", subprocess.check_output([ONCE, "--help"], text=True))
        self.assertRegex(subprocess.check_output([ONCE, "--version"], text=True), r"^idem-once \d+\.\d+")

    def test_options_end_where_the_command_begins(self):
        self.assertEqual(self.once("k", "echo", "--lease", "--key")[1], b"--lease --key\n")

    def test_server_from_the_environment(self):
        environment = {**os.environ, "IDEM_SERVER_URL": url(self.server)}
        argv = [ONCE, "--key", self.id(), "echo", "x"]
        self.assertEqual(subprocess.check_output(argv, env=environment), b"x\n")
        environment["IDEM_SERVER_URL"] = "nonsense"
        self.assertEqual(subprocess.run(argv, env=environment, capture_output=True, check=False)
                         .returncode, 64)

    def test_busy_without_waiting_says_who(self):
        self.start_once("k", *self.run_noting("exec sleep 600"))
        self.await_ledger("begin")
        for wait in ("0", "50ms"):
            status, out, err = self.once("k", "--wait", wait, "echo", "never")
            self.assertEqual((status, out), (75, b""))
            self.assertIn(os.uname().nodename.encode()[:64], err)

    def test_another_command_under_the_key(self):
        self.assertEqual(self.once("k", "--check-command", "echo", "1")[:2], (0, b"1\n"))
        self.assertEqual(self.once("k", "--check-command", "echo", "1")[:2], (0, b"1\n"))
        self.assertEqual(self.once("k", "--check-command", "echo", "1 ")[0], 65)
        self.assertEqual(self.once("k", "--check-command", "echo", "1", "")[0], 65)

    def test_failures_can_be_left_out(self):
        self.assertEqual(self.once("k", "--retry-failed", "--ttl", "1h", "sh", "-c", "exit 9")[0], 9)
        self.assertEqual(self.once("k", "--retry-failed", "echo", "second")[:2], (0, b"second\n"))
        self.assertEqual(self.once("k", "--retry-failed", "false")[:2], (0, b"second\n"))

    def test_a_record_of_somebody_else(self):
        with self.server.client() as client:
            token = self.claim(client, f"{self.id()}:k")[0]
            client.call("STORE", f"{self.id()}:k", token, b"body", "META", "idem-once 1 status 0 "
                        "stdout 99999 stderr 0 missed 0")
        status, out, _ = self.once("k", "echo", "never")
        self.assertEqual((status, out), (76, b""))

    def test_ttl_is_that_of_the_outcome(self):
        before = time.monotonic()
        self.assertEqual(self.once("k", "--ttl", "5m", "true")[0], 0)
        with self.server.client() as client:
            left_ms = client.call("FETCH", f"{self.id()}:k")[4]
        self.assertLessEqual(left_ms, 300_000)
        self.assertGreaterEqual(left_ms, 299_998 - (time.monotonic() - before) * 1000)


class Deaths(OnceCase):
    def test_kill_9_takes_the_command_along_and_the_next_one_runs_after_the_lease(self):
        command = self.run_noting("exec sleep 600")
        first = self.start_once("k", "--lease", "700ms", *command)
        pid = int(self.await_ledger("begin")[0].split()[1])
        first.kill()
        first.wait()
        eventually(lambda: gone(pid), "the end of the command")
        asked = time.monotonic()
        with self.server.client() as client:  # null when its lease is over already
            left_ms = (client.call("FETCH", f"{self.id()}:k") or (b"", 0))[1]
        status, out, _ = self.once("k", "--lease", "700ms", *self.run_noting("echo $IDEM_ATTEMPT"))
        self.assertEqual((status, out), (0, b"2\n"))
        self.assertGreaterEqual((time.monotonic() - asked) * 1000, left_ms, "before its lease ended")
        self.assertEqual(len(self.ledger_lines()), 2)
        self.assertEqual(self.once("k", "echo", "never")[:2], (0, b"2\n"))

    def test_hold_lets_nobody_assume(self):
        command = self.run_noting("exec sleep 600")
        first = self.start_once("k", "--hold", "--lease", "400ms", *command)
        self.await_ledger("begin")
        first.kill()
        status, out, err = self.once("k", "--hold", "echo", "again")
        self.assertEqual((status, out), (79, b""), err)
        self.assertEqual(self.once("k", "--takeover", "echo", "again")[:2], (0, b"again\n"))

    def test_a_long_command_keeps_its_short_lease(self):
        for lease_ms in patience(300):
            self.touch("ledger")
            command = self.run_noting(f"sleep {4 * lease_ms / 1000}; echo done")
            processes = [self.start_once(lease_ms, "--lease", f"{lease_ms}ms", *command)
                         for _ in range(3)]
            for process in processes:
                self.assertEqual(process.communicate(timeout=PATIENCE_SECONDS)[0], b"done\n")
            if len(self.ledger_lines()) == 1:
                break

    def test_no_server_no_run(self):
        argv = [ONCE, "--server", "redis://127.0.0.1:1", "--key", "k"]
        both = [self.launch([*argv, *flags, "sh", "-c", f"echo {name} >> {self.ledger}"],
                            stderr=subprocess.PIPE)
                for name, flags in (("closed", []), ("open", ["--fail-open"]))]
        errors = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in both]
        self.assertEqual([process.returncode for process in both], [75, 0], errors)
        self.assertEqual(self.ledger_lines(), ["open"])
        self.assertIn(b"unprotected", errors[1])

    def test_a_server_that_dies_meanwhile_does_not_hide_the_status(self):
        server = Server()
        process = self.start_once("k", "--lease", "500ms", *self.run_noting(
            f"while [ ! -e {self.path('go')} ]; do sleep 0.05; done; exit 4"), server=server)
        self.await_ledger("begin")
        server.kill()
        server.forget()
        self.touch("go")
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 4)
        self.assertIn(b"NOT recorded", err)

    def test_refused(self):
        server = self.start(config="requirepass secret\n")
        self.assertEqual(self.once("k", "true", server=server)[0], 78)


class Loss(OnceCase):
    def lose(self):
        self.await_ledger("begin")
        with self.server.client() as client:
            self.assertEqual(client.call("DEL", f"{self.id()}:k"), 1)

    def test_told_but_left_alone(self):
        process = self.start_once("k", "--lease", "300ms", *self.run_noting(
            f"while [ ! -e {self.path('go')} ]; do sleep 0.05; done; echo out; exit 5"))
        self.lose()
        with self.server.client() as client:  # somebody else, who holds it for long
            self.claim(client, f"{self.id()}:k")
        self.touch("go")
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual((process.returncode, out), (5, b"out\n"))
        self.assertIn(b"NOT recorded (STALE)", err)

    def test_stopped_when_asked_for(self):
        process = self.start_once("k", "--lease", "300ms", "--kill-on-loss",
                                  *self.run_noting("exec sleep 600"))
        pid = int(self.await_ledger("begin")[0].split()[1])
        self.lose()
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 75, err)
        self.assertTrue(gone(pid))


class SignalsAndStreams(OnceCase):
    @staticmethod
    def unread(pipe):
        count = array.array("i", [0])
        fcntl.ioctl(pipe, termios.FIONREAD, count)
        return count[0]

    def test_signals_reach_the_command(self):
        for name in ("TERM", "INT", "HUP", "USR1"):
            script = f"trap 'echo got {name}; exit 6' {name}; echo begin {name} >> {self.ledger};" \
                     " while :; do sleep 0.02; done"
            process = self.start_once(name, "sh", "-c", script)
            self.await_ledger(f"begin {name}")
            process.send_signal(getattr(signal, f"SIG{name}"))
            out, _ = process.communicate(timeout=PATIENCE_SECONDS)
            self.assertEqual((process.returncode, out), (6, f"got {name}\n".encode()))
            self.assertEqual(self.once(name, "true")[:2], (6, out), "recorded as it ended")

    def test_a_signal_reaches_the_command_behind_a_full_pipe(self):
        script = f"trap 'echo end >> {self.ledger}; exit 6' TERM; echo begin >> {self.ledger};" \
                 " dd if=/dev/zero bs=50000 count=20 2>/dev/null & while :; do sleep 0.02; done"
        process = self.start_once("k", "sh", "-c", script)
        self.await_ledger("begin")
        eventually(lambda: self.unread(process.stdout) > PIPE_BYTES - 4096, what="a full pipe")
        process.send_signal(signal.SIGTERM)
        self.await_ledger("end")  # while nobody reads what idem-once writes
        process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 6)

    def test_ctrl_c_reaches_the_command_once(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = self.launch(
            self.argv("k", sys.executable, "-c", COUNT_INTERRUPTS, self.ledger), stdin=slave, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.await_ledger("begin")
        process.send_signal(signal.SIGSTOP)  # two that came close together would count as one
        os.write(master, b"\x03")
        self.await_ledger("INT")
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(PATIENCE_SECONDS), 6)
        self.assertEqual(self.ledger_lines(), ["begin", "INT"])

    def test_output_over_the_limit_is_passed_on_and_its_beginning_replayed(self):
        command = ["head", "-c", str(LIMIT_BYTES + 100000), "/dev/zero"]
        status, out, err = self.once("k", *command)
        self.assertEqual((status, len(out)), (0, LIMIT_BYTES + 100000))
        self.assertIn(b"100000 are not recorded", err)
        status, out, err = self.once("k", *command)
        self.assertEqual((status, len(out)), (0, LIMIT_BYTES))
        self.assertIn(b"100000 more bytes", err)

    def test_output_over_the_servers_limit_keeps_the_status(self):
        server = self.start("--body-limit", "1kb")
        status, out, err = self.once("k", "sh", "-c", "head -c 3000 /dev/zero; exit 8", server=server)
        self.assertEqual((status, len(out)), (8, 3000))
        self.assertIn(b"only the status", err)
        status, out, err = self.once("k", "true", server=server)
        self.assertEqual((status, out), (8, b""))
        self.assertIn(b"3000 more bytes", err)

    def test_background_processes_are_not_waited_for(self):
        script = f"sleep 600 & echo $! >> {self.ledger}; echo hi"
        self.assertEqual(self.once("k", "sh", "-c", script)[:2], (0, b"hi\n"))
        pid = int(self.ledger_lines()[0])
        self.assertFalse(gone(pid), "it still runs")
        os.kill(pid, signal.SIGKILL)

    def test_a_reader_that_leaves_changes_nothing(self):
        read, write = os.pipe()
        os.close(read)
        process = self.launch(self.argv("k", "sh", "-c", "head -c 200000 /dev/zero; exit 3"),
                              stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 3)
        status, out, _ = self.once("k", "true")
        self.assertEqual((status, len(out)), (3, 200000))

    def test_closed_descriptors(self):
        script = '"$@" <&- >&- 2>&-'
        argv = ["sh", "-c", script, "sh", *self.argv("k", "sh", "-c", "echo a; echo b >&2; exit 2")]
        self.assertEqual(subprocess.run(argv, check=False).returncode, 2)
        self.assertEqual(self.once("k", "true"), (2, b"a\n", b"b\n"))

    def test_stdin_is_the_commands(self):
        process = self.start_once("k", "cat", stdin=subprocess.PIPE)
        self.assertEqual(process.communicate(b"given", timeout=PATIENCE_SECONDS)[0], b"given")


if __name__ == "__main__":
    unittest.main()
