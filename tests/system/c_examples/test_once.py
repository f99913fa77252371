"""idem-once: one run, the same bytes and status for every caller, and what happens when a process dies."""

import array
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import termios
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import ROOT, Server, eventually, patience
from support import ONCE, PATIENCE_SECONDS, Case, Gate, Parrot, gone, state, url

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


# One process, not a shell's loop: a shell in the middle of a vfork cannot be stopped.
TICK = """
import os, sys, time
ledger, ticks, until = sys.argv[1:]
print("begin", os.getpid(), file=open(ledger, "a"), flush=True)
while not os.path.exists(until):
    print("tick", file=open(ticks, "a"), flush=True)
    time.sleep(0.02)
print("out")
"""
STOP_ITSELF = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
print("begin", os.getpid(), file=open(sys.argv[1], "a"), flush=True)
signal.sigwait([signal.SIGTSTP])
os.kill(os.getpid(), signal.SIGSTOP)
print("out")
"""
# Writes to its two outputs alternately, and waits each time until the reader has taken the bytes.
ALTERNATE = """
import array, fcntl, os, sys, termios
def unread(fd):
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]
for number in range(int(sys.argv[1])):
    for fd in (1, 2):
        os.write(fd, b"%d %06d %s\\n" % (fd, number, b"." * int(sys.argv[2])))
        while unread(fd):
            pass
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

    def await_stored(self, key):
        with self.server.client() as client:
            eventually(lambda: (client.call("FETCH", f"{self.id()}:{key}") or [b""])[0] == b"DONE",
                       f"the record of {key}")

    def terminal(self):
        """(master, slave) of a terminal; both are closed with the test."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        return master, slave

    def start_on(self, slave, argv, **settings):
        """Makes the process the leader of a session with this controlling terminal."""
        def take_terminal():
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        settings.setdefault("stdout", subprocess.PIPE)
        settings.setdefault("stderr", subprocess.PIPE)
        return self.launch(argv, start_new_session=True, pass_fds=[slave],
                           preexec_fn=take_terminal, **settings)

    def begun(self):
        """The process id of the command."""
        return int(self.await_ledger("begin")[0].split()[1])

    def run_until(self, name, then):
        """A command that runs until the file exists."""
        return self.run_noting(f"while [ ! -e {self.path(name)} ]; do sleep 0.02; done; {then}")

    def touch(self, name):
        with open(self.path(name), "w", encoding="ascii"):
            pass

    @staticmethod
    def attempt():
        """A command that says which attempt it is."""
        return ["sh", "-c", "echo $IDEM_ATTEMPT"]

    def unknown(self, key):
        """The token that a caller is told, and who had it, when it may have been done in part."""
        status, out, err = self.once(key, "--hold", "echo", "again")
        self.assertEqual((status, out), (79, b""), err)
        return re.search(rb"--takeover (\d+)", err).group(1).decode()

    def run_noting(self, script):
        """A shell command that appends a line to the ledger first."""
        return ["sh", "-c", f'echo "begin $$ $IDEM_ATTEMPT" >> {self.ledger}; {script}']


class Outcomes(OnceCase):
    def test_parallel_duplicates_run_once_and_get_the_same(self):
        command = self.run_noting("head -c 100000 /dev/urandom; echo problem >&2; sleep 0.2; exit 7")
        with ThreadPoolExecutor(DUPLICATES) as pool:
            # All have to be read, since any of them may be the one that runs
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

    def test_a_command_that_cannot_be_started_gives_the_claim_back(self):
        self.assertEqual(self.once("k", "/no/such/program")[0], 127)
        self.assertEqual(self.once("k", "/etc/passwd")[0], 126)
        self.assertEqual(self.once("k", "--wait", "0", *self.attempt())[:2], (0, b"1\n"))

    def test_usage(self):
        for wrong in ([ONCE], [ONCE, "--key", "k"], [ONCE, "--nonsense"], [ONCE, "--key", "", "true"],
                      self.argv("k", "--lease", "30", "true"), self.argv("k", "--lease", "0", "true"),
                      self.argv("k", "--ttl", "32d", "true"), self.argv("k", "--wait", "-1s", "true"),
                      self.argv("k", "--wait", "99999999999999999999s", "true"),
                      self.argv("k", "--wait", "99999999d", "true"),
                      self.argv("k", "--takeover", "true"), self.argv("k", "--takeover", "0", "true"),
                      self.argv("k", "--takeover", str(2 ** 53), "true"),
                      self.argv("k", "--born", str(int(time.time())), "true"),  # seconds
                      self.argv("k", "--born", "now", "true"), self.argv("k", "--born", "-1", "true"),
                      self.argv("x" * 2000, "true"), [ONCE, "--server", "http://x", "--key", "k", "true"]):
            result = subprocess.run(wrong, capture_output=True, check=False)
            self.assertEqual(result.returncode, 64, wrong)
            self.assertIn(b"idem-once: ", result.stderr)
        self.assertEqual(self.once("k", "--lease", "3600000ms", "--ttl", "86400000ms", "true")[0], 0)
        self.assertIn("--lease", subprocess.check_output([ONCE, "--help"], text=True))
        self.assertRegex(subprocess.check_output([ONCE, "--version"], text=True), r"^idem-once \d+\.\d+")

    def test_every_option_is_in_the_manual(self):
        text = subprocess.check_output([ONCE, "--help"], text=True)
        with open(os.path.join(ROOT, "client/man/idem-once.1"), encoding="utf-8") as file:
            page = file.read().replace("\\-", "-")
        options = set(re.findall(r"--[a-z-]+", text)) - {"--"}
        self.assertGreater(len(options), 10)
        for word in options | {*re.findall(r"\$(\w+)", text)}:
            self.assertIn(word, page)

    def test_options_end_where_the_command_begins(self):
        self.assertEqual(self.once("k", "echo", "--lease", "--key")[1], b"--lease --key\n")

    def test_server_from_the_environment(self):
        environment = {**os.environ, "IDEM_SERVER_URL": url(self.server)}
        argv = [ONCE, "--key", self.id(), "echo", "x"]
        self.assertEqual(subprocess.check_output(argv, env=environment), b"x\n")
        environment["IDEM_SERVER_URL"] = "nonsense"
        self.assertEqual(subprocess.run(argv, env=environment, capture_output=True, check=False)
                         .returncode, 64)

    def test_the_command_knows_its_own_token_and_attempt(self):
        outer = {**os.environ, "IDEM_TOKEN": "1", "IDEM_ATTEMPT": "7"}  # of another one, in which this one runs
        status, out, err = self.once("k", "sh", "-c", "echo $IDEM_TOKEN $IDEM_ATTEMPT", env=outer)
        self.assertEqual(status, 0, err)
        with self.server.client() as client:
            fields = client.call("INSPECT", f"{self.id()}:k")
        token = dict(zip(fields[::2], fields[1::2]))[b"token"]
        self.assertEqual(out, b"%d 1\n" % token)
        argv = [ONCE, "--server", "redis://127.0.0.1:1", "--key", "k", "--fail-open", "sh", "-c",
                "echo ${IDEM_TOKEN-none} ${IDEM_ATTEMPT-none}"]
        self.assertEqual(subprocess.run(argv, env=outer, capture_output=True, check=True).stdout, b"none none\n")

    def test_busy_without_waiting_names_the_owner(self):
        self.start_once("k", *self.run_noting("exec sleep 600"))
        self.await_ledger("begin")
        for wait in ("0", "50ms"):
            status, out, err = self.once("k", "--wait", wait, "echo", "never")
            self.assertEqual((status, out), (75, b""))
            self.assertIn(os.uname().nodename.encode()[:64], err)

    def test_another_command_with_the_same_key(self):
        self.assertEqual(self.once("k", "--check-command", "echo", "1")[:2], (0, b"1\n"))
        self.assertEqual(self.once("k", "--check-command", "echo", "1")[:2], (0, b"1\n"))
        self.assertEqual(self.once("k", "--check-command", "echo", "1 ")[0], 65)
        self.assertEqual(self.once("k", "--check-command", "echo", "1", "")[0], 65)

    def test_failures_need_not_be_kept(self):
        self.assertEqual(self.once("k", "--retry-failed", "--ttl", "1h", "sh", "-c", "exit 9")[0], 9)
        self.assertEqual(self.once("k", "--retry-failed", *self.attempt())[:2], (0, b"2\n"))
        self.assertEqual(self.once("k", "--retry-failed", "false")[:2], (0, b"2\n"))

    def test_a_failure_may_have_done_a_part(self):
        self.assertEqual(self.once("k", "--retry-failed", "--hold", "sh", "-c", "exit 9")[0], 9)
        self.assertEqual(self.once("k", "--retry-failed", "--hold", "true")[0], 79)

    def test_a_failure_that_did_nothing(self):
        for _ in range(2):
            self.assertEqual(self.once("k", "--failed-did-nothing", "--hold", "sh", "-c", "exit 9")[0], 9)
        self.assertEqual(self.once("k", "--failed-did-nothing", *self.attempt())[:2], (0, b"1\n"))
        self.assertEqual(self.once("k", "--failed-did-nothing", "false")[:2], (0, b"1\n"))

    def test_a_record_of_another_program(self):
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
    def test_kill_9_ends_the_command_too_and_another_caller_runs_after_the_lease(self):
        command = self.run_noting("exec sleep 600")
        first = self.start_once("k", "--lease", "700ms", *command)
        pid = int(self.await_ledger("begin")[0].split()[1])
        first.kill()
        first.wait()
        eventually(lambda: gone(pid), "the end of the command")
        asked = time.monotonic()
        with self.server.client() as client:  # null when its lease has expired already
            left_ms = (client.call("FETCH", f"{self.id()}:k") or (b"", 0))[1]
        status, out, _ = self.once("k", "--lease", "700ms", *self.run_noting("echo $IDEM_ATTEMPT"))
        self.assertEqual((status, out), (0, b"2\n"))
        self.assertGreaterEqual((time.monotonic() - asked) * 1000, left_ms, "before its lease ended")
        self.assertEqual(len(self.ledger_lines()), 2)
        self.assertEqual(self.once("k", "echo", "never")[:2], (0, b"2\n"))

    def test_hold_does_not_run_again(self):
        command = self.run_noting("exec sleep 600")
        first = self.start_once("k", "--hold", "--lease", "400ms", *command)
        self.await_ledger("begin")
        first.kill()
        token = self.unknown("k")
        self.assertEqual(self.once("k", "--takeover", str(int(token) + 1), "echo", "again")[0], 79)
        self.assertEqual(self.once("k", "--takeover", token, *self.attempt())[:2], (0, b"2\n"))

    def test_a_command_that_a_signal_ended_is_not_recorded(self):
        """The next caller runs at once, long before the lease would end."""
        for number in (signal.SIGKILL, signal.SIGTERM):
            for failed in ([], ["--retry-failed"], ["--failed-did-nothing"]):
                key = f"{number}{failed}"
                status, _, err = self.once(key, "--lease", "1h", *failed, "sh", "-c", f"kill -{number:d} $$")
                self.assertEqual(status, 128 + number, err)
                self.assertIn(b"signal %d ended it" % number, err)
                self.assertEqual(self.once(key, "--wait", "0", *self.attempt())[:2], (0, b"2\n"))

    def test_a_held_command_that_a_signal_ended_does_not_run_again(self):
        self.once("k", "--lease", "1h", "--hold", "sh", "-c", "kill -KILL $$")
        token = self.unknown("k")
        self.assertEqual(self.once("k", "--takeover", token, "true")[0], 0)
        self.assertEqual(self.once("k", "echo", "never")[:2], (0, b""))

    def test_a_signal_to_idem_once_that_ends_its_command_is_told_at_once(self):
        process = self.start_once("k", "--lease", "1h", *self.run_noting("exec sleep 600"))
        self.await_ledger("begin")
        waiting = self.start_once("k", *self.attempt())
        with self.server.client() as client:
            self.server.await_blocked(1, client)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertEqual(waiting.communicate(timeout=PATIENCE_SECONDS)[0], b"2\n")

    def test_what_may_have_been_forgotten_is_not_run(self):
        server = self.start("--born-skew", "0")
        born = ["--born", str(int(time.time() * 1000) - 3_600_000)]  # before the server's memory begins
        status, out, err = self.once("k", *born, "echo", "ran", server=server)
        self.assertEqual((status, out), (80, b""), err)
        self.assertIn(b"without --born", err)
        self.assertEqual(self.once("k", "echo", "ran", server=server)[:2], (0, b"ran\n"))
        self.assertEqual(self.once("k", *born, "echo", "never", server=server)[:2], (0, b"ran\n"))

    def test_what_cannot_have_been_forgotten_runs_once(self):
        server = self.start("--born-skew", "0")
        born = ["--born", str(int(time.time() * 1000))]
        for said in ("first", "second"):
            self.assertEqual(self.once("k", *born, "echo", said, server=server)[:2], (0, b"first\n"))
        later = str(int(time.time() * 1000) + 3_600_000)
        self.assertEqual(self.once("later", "--born", later, "echo", "ran", server=server)[:2], (78, b""))

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

    def test_a_server_that_dies_during_the_run_does_not_hide_the_status(self):
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


class Stops(OnceCase):
    """A stop of idem-once also stops its renewals, so the command must not go on during it."""

    def tick_until(self, name):
        return [sys.executable, "-c", TICK, self.ledger, self.path("ticks"), self.path(name)]

    def await_stopped(self, *pids):
        eventually(lambda: all(state(pid) == "T" for pid in pids), "all of them stopped")

    def test_a_stop_reaches_the_command_and_its_claim_is_renewed_before_it_goes_on(self):
        with Gate(self.server) as gate:
            process = self.start_once("k", *self.tick_until("go"), server=gate,
                                      start_new_session=True)
            pid = self.begun()
            process.send_signal(signal.SIGTSTP)
            self.await_stopped(pid, process.pid)
            self.touch("go")
            gate.close()
            process.send_signal(signal.SIGCONT)
            eventually(lambda: gate.count(b"RENEW"), "a renewal")
            self.assertEqual(state(pid), "T", "it goes on before the renewal was answered")
            gate.open()
            self.assertEqual(process.communicate(timeout=PATIENCE_SECONDS)[0], b"out\n")
            self.assertEqual(self.once("k", "true")[1], b"out\n")

    def test_a_claim_lost_during_a_stop_ends_the_command_before_it_goes_on(self):
        process = self.start_once("k", "--lease", "200ms", "--kill-on-loss",
                                  *self.tick_until("never"), start_new_session=True)
        pid = self.begun()
        process.send_signal(signal.SIGTSTP)
        self.await_stopped(pid, process.pid)
        with self.server.client() as client:  # another caller, as soon as the lease has expired
            self.claim(client, f"{self.id()}:k", "WAIT", 0)
        ticks = self.ledger_lines("ticks")
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 75, err)
        self.assertEqual(self.ledger_lines("ticks"), ticks)

    def test_a_command_that_does_not_stop_keeps_its_claim(self):
        with Gate(self.server) as gate:
            process = self.start_once("k", "--lease", "200ms", *self.run_noting(
                f"trap '' TSTP; echo deaf >> {self.ledger};"
                f" while [ ! -e {self.path('go')} ]; do sleep 0.02; done"),
                server=gate, start_new_session=True)
            self.await_ledger("deaf")
            process.send_signal(signal.SIGTSTP)
            before = gate.count(b"RENEW")
            eventually(lambda: gate.count(b"RENEW") >= before + 3, "renewals")
            self.touch("go")
            process.communicate(timeout=PATIENCE_SECONDS)
            self.assertEqual(process.returncode, 0)

    def test_a_command_that_is_stopped_alone_keeps_its_claim(self):
        with Gate(self.server) as gate:
            process = self.start_once("k", "--lease", "200ms", *self.tick_until("go"), server=gate,
                                      start_new_session=True)
            pid = self.begun()
            for number in (signal.SIGSTOP, signal.SIGTSTP):
                os.kill(pid, number)
                self.await_stopped(pid)
                before = gate.count(b"RENEW")
                eventually(lambda: gate.count(b"RENEW") >= before + 3, "renewals")
                os.kill(pid, signal.SIGCONT)
                eventually(lambda: state(pid) != "T", "the command goes on")
            self.touch("go")
            self.assertEqual(process.communicate(timeout=PATIENCE_SECONDS)[0], b"out\n")

    def test_a_stop_that_was_ignored_does_not_count_later(self):
        """Otherwise idem-once would stop with a command that is stopped alone; if only the command is
        then continued, it runs without renewals."""
        with Gate(self.server) as gate:
            process = self.start_once("k", "--lease", "200ms", *self.run_noting(
                f"trap '' TSTP; echo deaf >> {self.ledger};"
                f" while [ ! -e {self.path('go')} ]; do sleep 0.02; done"),
                server=gate, start_new_session=True)
            pid = self.begun()
            self.await_ledger("deaf")
            process.send_signal(signal.SIGTSTP)
            process.send_signal(signal.SIGWINCH)  # taken after the former one
            self.await_signals_taken(process.pid)
            os.kill(pid, signal.SIGSTOP)
            self.await_stopped(pid)
            for _stopped_and_not in range(2):
                before = gate.count(b"RENEW")
                eventually(lambda: gate.count(b"RENEW") >= before + 3, "renewals")
                os.kill(pid, signal.SIGCONT)
            self.touch("go")
            process.communicate(timeout=PATIENCE_SECONDS)
            self.assertEqual(process.returncode, 0)

    @staticmethod
    def await_signals_taken(pid):
        def none_pending():
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                return re.search(r"ShdPnd:\s*0+\n", file.read())
        eventually(none_pending, "no signal is pending")

    def test_a_command_that_stops_itself_on_request_stops_idem_once_too(self):
        """It restores its terminal and stops itself with SIGSTOP, which is not the signal that it was sent."""
        process = self.start_once("k", sys.executable, "-c", STOP_ITSELF, self.ledger,
                                  start_new_session=True)
        pid = self.begun()
        process.send_signal(signal.SIGTSTP)
        self.await_stopped(pid, process.pid)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.communicate(timeout=PATIENCE_SECONDS)[0], b"out\n")

    def test_stop_and_continue_in_quick_succession_leave_it_running(self):
        process = self.start_once("k", *self.tick_until("go"), start_new_session=True)
        self.begun()
        for _ in range(50):
            process.send_signal(signal.SIGTSTP)
            process.send_signal(signal.SIGCONT)
        self.touch("go")
        self.assertEqual(process.communicate(timeout=PATIENCE_SECONDS)[0], b"out\n")

    def test_ctrl_z_and_fg_of_a_shell(self):
        master, slave = self.terminal()
        for number, stdin in enumerate(("/dev/tty", "/dev/null")):
            with self.subTest(stdin=stdin), Gate(self.server) as gate:
                self.touch("ledger")
                once = self.argv(number, *self.tick_until(f"go{number}"), server=gate)
                script = f"{shlex.join(once)} < {stdin}; echo stopped >> {self.ledger}; read line;" \
                         " fg >/dev/null"
                shell = self.start_on(slave, ["sh", "-mc", script], stdin=slave)
                pid = self.begun()
                os.write(master, b"\x1a")
                self.await_ledger("stopped")
                self.await_stopped(pid)
                gate.close()
                os.write(master, b"\n")
                eventually(lambda: gate.count(b"RENEW"), "a renewal")
                self.await_stopped(pid)  # in one group fg has continued it, too
                gate.open()
                self.touch(f"go{number}")
                out, err = shell.communicate(timeout=PATIENCE_SECONDS)
                self.assertEqual((shell.returncode, out.endswith(b"out\n")), (0, True), (out, err))


class Terminals(OnceCase):
    READ = 'read line < /dev/tty; echo "got $line"'

    def test_a_command_in_the_foreground_reads_from_the_terminal(self):
        master, slave = self.terminal()
        process = self.start_on(slave, self.argv("k", *self.run_noting(self.READ)))
        self.begun()
        os.write(master, b"hello\n")
        self.assertEqual(process.communicate(timeout=PATIENCE_SECONDS)[0], b"got hello\n")

    def in_background(self, *options):
        """Does what a shell does that moves the job to the foreground once the command has begun."""
        _, slave = terminal = self.terminal()
        once = self.argv("k", *options, *self.run_until("go", self.READ))
        script = f"{shlex.join(once)} < /dev/null & while ! grep -q begin {self.ledger}; do" \
                 f" sleep 0.02; done 2>/dev/null; fg >/dev/null; echo left >> {self.ledger}; read line"
        return terminal, self.start_on(slave, ["sh", "-mc", script], stdin=slave)

    def test_a_command_that_came_from_the_background_reads_with_foreground(self):
        (master, _), shell = self.in_background("--foreground")
        self.begun()
        self.touch("go")
        os.write(master, b"hello\n\n")
        self.assertEqual(shell.communicate(timeout=PATIENCE_SECONDS)[0], b"got hello\n")

    def test_a_command_that_wants_the_terminal_in_the_background_stops_the_job(self):
        (master, _), shell = self.in_background()
        pid = self.begun()
        self.touch("go")
        self.await_ledger("left")  # the shell has the terminal back, instead of waiting for ever
        self.assertEqual(state(pid), "T")
        os.write(master, b"\n")
        shell.communicate(timeout=PATIENCE_SECONDS)


class Readers(OnceCase):
    """Whether the output of idem-once is read does not change what has run."""

    def unread(self, kind):
        """A pipe that takes little and is not read."""
        if kind == "terminal":
            return self.terminal()[1]
        ends = [end.detach() for end in socket.socketpair()] if kind == "socket" else os.pipe()
        for end in ends:
            self.addCleanup(os.close, end)
        return ends[1]

    def test_a_reader_that_does_not_read_and_a_kill_do_not_make_it_run_again(self):
        command = self.run_noting("yes | head -c 700000; yes | head -c 700000 >&2; exit 5")
        for kind in ("pipe", "socket", "terminal"):
            with self.subTest(kind):
                self.touch("ledger")
                process = self.launch(self.argv(kind, *command), stdout=self.unread(kind),
                                      stderr=self.unread(kind))
                self.await_stored(kind)
                self.assertIsNone(process.poll(), "it had something left to write")
                process.kill()
                process.wait()
                status, out, err = self.once(kind, *command)
                self.assertEqual((status, len(out), len(err)), (5, 700000, 700000))
                self.assertEqual(len(self.ledger_lines()), 1)

    def test_output_over_the_limit_is_stored_before_it_is_read(self):
        process = self.start_once("k", "head", "-c", str(LIMIT_BYTES + 50000), "/dev/zero")
        self.await_stored("k")
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual((process.returncode, len(out)), (0, LIMIT_BYTES + 50000))
        self.assertIn(b"50000 are not recorded", err)
        self.assertEqual(len(self.once("k", "true")[1]), LIMIT_BYTES)

    def test_signals_end_it_once_the_outcome_is_stored(self):
        process = self.start_once("k", "head", "-c", "300000", "/dev/zero")
        self.await_stored("k")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE_SECONDS), -signal.SIGTERM)

    def test_streams_to_one_place_keep_their_order_for_a_late_reader(self):
        for pairs, width in ((400, 300), (3000, 100)):  # the second count: more turns than idem-once remembers
            command = [sys.executable, "-c", ALTERNATE, pairs, width]
            process = self.launch(self.argv(pairs, *command), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            self.await_stored(pairs)
            lines = process.communicate(timeout=PATIENCE_SECONDS)[0].decode().splitlines()
            came = [tuple(map(int, line.split()[:2])) for line in lines]
            wanted = [(fd, number) for number in range(pairs) for fd in (1, 2)]
            self.assertEqual(sorted(came), sorted(wanted), "something is missing")
            for fd in (1, 2):
                self.assertEqual([pair for pair in came if pair[0] == fd],
                                 [pair for pair in wanted if pair[0] == fd])
            self.assertEqual(came[:800], wanted[:800])

    def test_a_reader_of_one_stream_is_not_held_up_by_that_of_the_other(self):
        process = self.start_once("k", "sh", "-c", "head -c 300000 /dev/zero; echo problem >&2;"
                                  f" while [ ! -e {self.path('go')} ]; do sleep 0.02; done")
        eventually(lambda: SignalsAndStreams.unread(process.stderr), "the other stream")
        self.assertEqual(process.stderr.readline(), b"problem\n")
        self.touch("go")
        self.assertEqual(len(process.communicate(timeout=PATIENCE_SECONDS)[0]), 300000)

    def run_with(self, redirection, *argv):
        """(exit status, stdout, stderr) with an output that cannot be written."""
        script = f'"$@" {redirection}'
        process = self.launch(["sh", "-c", script, "sh", *argv], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out, err

    def test_a_file_is_not_written_in_the_small_pieces_of_a_pipe(self):
        pieces = 128
        with open(self.path("out"), "wb") as file:
            process = self.launch(self.argv("k", "dd", "if=/dev/zero", f"bs={PIPE_BYTES}",
                                            f"count={pieces}", "status=none"), stdout=file)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # still there, so that the test can look at it
        with open(f"/proc/{process.pid}/io", encoding="ascii") as file:
            writes = int(re.search(r"^syscw: (\d+)$", file.read(), re.MULTILINE)[1])
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)
        self.assertEqual(os.path.getsize(self.path("out")), pieces * PIPE_BYTES)
        self.assertLess(writes, pieces * PIPE_BYTES // select.PIPE_BUF)

    def test_output_that_cannot_be_written_is_reported(self):
        both = "echo out; echo err >&2; exit "
        for number, (to, says) in enumerate((
                (">/dev/full", b"standard output: No space left"),
                (">&-", b"standard output: Bad file descriptor"),
                ("2>/dev/full", b""), ("2>&-", b""))):
            for status, wanted in ((0, 74), (3, 3)):
                argv = self.argv(f"{number}.{status}", "sh", "-c", both + str(status))
                for what in ("run", "replay"):
                    with self.subTest(to=to, status=status, what=what):
                        got, _, err = self.run_with(to, *argv)
                        self.assertEqual(got, wanted, err)
                        self.assertIn(says, err)
                self.assertEqual(self.once(f"{number}.{status}", "true"), (status, b"out\n", b"err\n"))

    def test_a_reader_that_has_left_is_reported(self):
        for what in ("run", "replay"):
            read, write = os.pipe()
            os.close(read)
            process = self.launch(self.argv("k", "echo", "out"), stdout=write,
                                  stderr=subprocess.PIPE)
            os.close(write)
            err = process.communicate(timeout=PATIENCE_SECONDS)[1]
            self.assertEqual(process.returncode, 74, what)
            self.assertIn(b"standard output: Broken pipe", err)

    def test_help_that_cannot_be_written_is_reported(self):
        for option in ("--help", "--version"):
            for to in (">/dev/full", ">&-"):
                status, _, err = self.run_with(to, ONCE, option)
                self.assertEqual(status, 74)
                self.assertIn(b"standard output: ", err)

    def test_nothing_to_write_is_not_a_failure(self):
        for to in (">/dev/full 2>/dev/full", ">&- 2>&-"):
            self.assertEqual(self.run_with(to, *self.argv("k", "true"))[0], 0)

    def test_a_reader_that_does_not_block_gets_all_of_a_replay(self):
        command = ["head", "-c", "300000", "/dev/zero"]
        self.assertEqual(self.once("k", *command)[0], 0)
        read, write = os.pipe()
        os.set_blocking(write, False)
        process = self.launch(self.argv("k", *command), stdout=write)
        os.close(write)
        with open(read, "rb") as file:
            eventually(lambda: SignalsAndStreams.unread(file) > PIPE_BYTES - 4096, "a full pipe")
            self.assertEqual(len(file.read()), 300000)
        self.assertEqual(process.wait(PATIENCE_SECONDS), 0)


class Secrets(OnceCase):
    """A password is for the server only; text from a server must not control a terminal."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(config="requirepass p@ss:w/rd\n")
        cls.host = "%s:%d" % cls.server.address

    def given(self, url_variable, argv, **environment):
        environment = {**os.environ, "IDEM_SERVER_URL": url_variable, **environment}
        process = self.launch(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, out, err

    def password_file(self, text=b"p@ss:w/rd\n", mode=0o600, name="password"):
        with open(self.path(name), "wb") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def test_the_command_does_not_get_the_password(self):
        show = ["sh", "-c", "echo $IDEM_SERVER_URL; env"]
        for number, (user, shown) in enumerate((("", ""), ("default", "default@"))):
            given = f"redis://{user}:p%40ss%3Aw%2Frd@{self.host}"
            for argv in ([ONCE, "--key", f"{self.id()}{number}", *show],
                         [ONCE, "--server", given, "--key", f"{self.id()}-{number}", *show]):
                status, out, err = self.given(given, argv)
                self.assertEqual(status, 0, err)
                self.assertEqual(out.splitlines()[0].decode(), f"redis://{shown}{self.host}")
                self.assertNotIn(b"%40ss", out)

    def test_an_address_without_a_password_is_passed_on_as_it_is(self):
        with_at = "unix:///tmp/a@b.sock"
        argv = [ONCE, "--server", f"redis://:p%40ss%3Aw%2Frd@{self.host}", "--key", self.id(), "sh",
                "-c", "echo $IDEM_SERVER_URL"]
        self.assertEqual(self.given(with_at, argv)[1].decode(), with_at + "\n")

    def test_an_at_in_the_path_of_a_socket_is_not_part_of_a_password(self):
        path = self.path("a@b.sock")
        self.start("--unixsocket", path, config="requirepass p@ss:w/rd\n")
        secret = "p%40ss%3Aw%2Frd"
        for number, (given, shown, variable) in enumerate((
                (f"unix://default:{secret}@{path}", f"unix://default@{path}", ""),
                (f"unix://:{secret}@{path}", f"unix://{path}", ""),
                (f"UNIX://:{secret}@{path}", f"UNIX://{path}", ""),
                (f"unix://default@{path}", f"unix://{path}", self.password_file()),
                (f"unix://{path}", f"unix://{path}", self.password_file()))):
            with self.subTest(given=given):
                argv = [ONCE, "--key", f"{self.id()}{number}", "sh", "-c", "echo $IDEM_SERVER_URL"]
                status, out, err = self.given(given, argv, IDEM_PASSWORD_FILE=variable)
                self.assertEqual((status, out.decode()), (0, shown + "\n"), err)

    def test_the_password_from_a_file(self):
        path = self.password_file()
        plain = f"redis://{self.host}"
        for number, (server, more, variable) in enumerate((
                (plain, ["--password-file", path], ""), (plain, [], path),
                (f"redis://default@{self.host}", [], path),
                (f"redis://:p%40ss%3Aw%2Frd@{self.host}", [], "/no/such/file"),
                (plain, ["--password-file", self.password_file(b"p@ss:w/rd\r\nmore", name="dos")], ""),
                (plain, ["--password-file", self.password_file(b"p@ss:w/rd", name="bare")], ""))):
            with self.subTest(server=server, more=more):
                argv = [ONCE, *more, "--key", f"{self.id()}{number}", "echo", "ran"]
                status, out, err = self.given(server, argv, IDEM_PASSWORD_FILE=variable)
                self.assertEqual((status, out), (0, b"ran\n"), err)

    def test_a_bad_password_file(self):
        plain = f"redis://{self.host}"
        for wrong in (["--password-file", "/no/such/file"], ["--password-file", self.directory],
                      *(["--password-file", self.password_file(mode=mode, name=f"mode{mode}")]
                        for mode in (0o644, 0o640, 0o604, 0o660)),
                      *(["--password-file", self.password_file(text, name=f"text{len(text)}")]
                        for text in (b"", b"\nsecret", b"se\0cret\n", b"x" * 600)),
                      ["--server", f"redis://:p@{self.host}", "--password-file", self.password_file()]):
            with self.subTest(wrong):
                status, _, err = self.given(plain, [ONCE, *wrong, "--key", "k", "echo", "never"])
                self.assertEqual(status, 64, err)
                self.assertNotIn(b"cret", err.replace(wrong[-1].encode(), b""))

    def test_an_idem_once_inside_another_knows_the_server_too(self):
        inner = [ONCE, "--key", f"{self.id()}:inner", "echo", "ran"]
        status, out, err = self.given(f"redis://{self.host}",
                                      [ONCE, "--key", f"{self.id()}:outer", *inner],
                                      IDEM_PASSWORD_FILE=self.password_file())
        self.assertEqual((status, out), (0, b"ran\n"), err)

    def test_what_a_server_says_does_not_reach_the_terminal_as_it_is(self):
        evil = b"\x1b]0;title\x07\x9b31m"
        for number, reply in enumerate((
                b"-ERR " + evil + b"\r\n", b"-OOM " + evil + b"\r\n",
                b"*5\r\n$4\r\nBUSY\r\n:1\r\n:1\r\n$%d\r\n%s\r\n$-1\r\n" % (len(evil), evil))):
            with Parrot(reply) as parrot:
                for flags in ([], ["--fail-open"]):
                    argv = [ONCE, "--server", url(parrot), "--wait", "0", "--key",
                            b"k\x1b[2J\n%d" % number, *flags, "true"]
                    process = self.launch_bytes(argv)
                    err = process.communicate(timeout=PATIENCE_SECONDS)[1]
                    # In libidem's messages such bytes are shown as ?.
                    self.assertRegex(err, rb"(\?|\\x1b)\]0;title(\?|\\x07)\\x9b31m")
                    self.assertIn(b"key k\\x1b[2J\\x0a", err)
                    self.assertNotRegex(err, rb"[^\n -~]")

    def launch_bytes(self, argv):
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process


class Loss(OnceCase):
    def lose(self):
        self.await_ledger("begin")
        with self.server.client() as client:
            self.assertEqual(client.call("DEL", f"{self.id()}:k"), 1)

    def test_a_loss_is_reported_but_the_command_runs_on(self):
        process = self.start_once("k", "--lease", "300ms", *self.run_noting(
            f"while [ ! -e {self.path('go')} ]; do sleep 0.05; done; echo out; exit 5"))
        self.lose()
        with self.server.client() as client:  # another caller, with a long lease
            self.claim(client, f"{self.id()}:k")
        self.touch("go")
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual((process.returncode, out), (5, b"out\n"))
        self.assertIn(b"NOT recorded (STALE)", err)

    def test_a_grant_that_comes_too_late_starts_nothing(self):
        with Gate(self.server, late_s=1.5) as late:
            for flags in ([], ["--fail-open"]):
                status, out, err = self.once("k", "--lease", "500ms", "--wait", "0", *flags, "echo",
                                             "ran", server=late)
                self.assertEqual((status, out), (75, b""), err)
        self.assertEqual(self.once("k", "--lease", "500ms", "echo", "ran")[:2], (0, b"ran\n"))

    def test_the_command_is_stopped_with_kill_on_loss(self):
        process = self.start_once("k", "--lease", "300ms", "--kill-on-loss",
                                  *self.run_noting("exec sleep 600"))
        pid = int(self.await_ledger("begin")[0].split()[1])
        self.lose()
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(process.returncode, 75, err)
        self.assertTrue(gone(pid))

    def deaf(self):
        """A command that notes the signal and completes all the same."""
        return self.run_noting(f"trap 'echo term >> {self.ledger}' TERM;"
                               f" while [ ! -e {self.path('go')} ]; do sleep 0.05; done; echo done")

    def test_a_run_that_completes_in_spite_of_a_doubt_is_kept(self):
        process = self.start_once("k", "--lease", "300ms", "--kill-on-loss", *self.deaf())
        self.await_ledger("begin")
        with self.server.stopped():  # no renewal gets through for a whole lease
            self.await_ledger("term")
        self.touch("go")
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual((process.returncode, out), (0, b"done\n"), err)
        self.assertEqual(self.once("k", "echo", "never")[:2], (0, b"done\n"))

    def test_a_run_that_completes_in_spite_of_a_loss_has_its_own_status(self):
        process = self.start_once("k", "--lease", "300ms", "--kill-on-loss", *self.deaf())
        self.lose()
        self.await_ledger("term")
        self.touch("go")
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual((process.returncode, out), (0, b"done\n"))
        self.assertIn(b"NOT recorded (STALE)", err)


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

    def test_without_a_terminal_signals_reach_all_that_the_command_started(self):
        script = f"sleep 600 & echo begin $! >> {self.ledger}; wait"
        process = self.start_once("k", "sh", "-c", script, start_new_session=True)
        pid = self.begun()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
        eventually(lambda: gone(pid), "the end of what the command started")

    def test_a_signal_reaches_the_command_when_its_pipe_is_full(self):
        script = f"trap 'echo end >> {self.ledger}; exit 6' TERM; echo begin >> {self.ledger};" \
                 " dd if=/dev/zero bs=50000 count=20 2>/dev/null & while :; do sleep 0.02; done"
        process = self.start_once("k", "sh", "-c", script)
        self.await_ledger("begin")
        eventually(lambda: self.unread(process.stdout) > PIPE_BYTES - 4096, what="a full pipe")
        process.send_signal(signal.SIGTERM)
        self.await_ledger("end")  # although the output of idem-once is not read
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
        process.send_signal(signal.SIGSTOP)  # two signals close together would count as one
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
