"""What a supervisor is told (sd_notify), and what SIGHUP has read again: log file, password file."""

import json
import os
import re
import signal
import socket
import tempfile
import time

from harness import Client, ServerCase, eventually

NOTIFY_SECONDS = 60


class Supervisor:
    """Has the socket that $NOTIFY_SOCKET names; abstract if the name begins with @."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(NOTIFY_SECONDS)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def env(self, **more):
        return {"NOTIFY_SOCKET": self.name, **more}

    def hear(self):
        """The next message, {name: value}."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))

    def await_message(self, name, value="1"):
        while True:
            message = self.hear()
            if message.get(name) == value:
                return message


class SupervisorCase(ServerCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="idem-test-")
        self.addCleanup(self.directory.cleanup)

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def write(self, name, text, mode=0o600):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def supervisor(self, name):
        supervisor = Supervisor(name)
        self.addCleanup(supervisor.socket.close)
        return supervisor


class Notify(SupervisorCase):
    def test_ready_reloading_stopping(self):
        for name in (self.path("notify"), f"@idem-test-{os.getpid()}"):
            supervisor = self.supervisor(name)
            server = self.start("--drain-timeout", "7s", env=supervisor.env())
            self.assertEqual(supervisor.hear()["EXTEND_TIMEOUT_USEC"], "60000000")
            self.assertEqual(supervisor.hear(), {"READY": "1", "STATUS": "serving"})
            server.signal(signal.SIGHUP)
            message = supervisor.hear()
            self.assertEqual(message["RELOADING"], "1")
            self.assertRegex(message["MONOTONIC_USEC"], r"^\d{6,}$")
            self.assertEqual(supervisor.hear(), {"READY": "1"})
            server.stop()
            self.assertEqual(supervisor.hear(), {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "17000000",
                                                 "STATUS": "draining: 0 claims are held"})
            self.assertEqual(supervisor.hear(), {"EXTEND_TIMEOUT_USEC": "60000000", "STATUS": "ending"})

    def test_shutdown_stops_it_too(self):
        supervisor = self.supervisor(self.path("notify"))
        server = self.start(env=supervisor.env())
        self.connect(server).send("SHUTDOWN")
        supervisor.await_message("STOPPING")
        self.assertEqual(server.leave(), 0)

    def test_the_watchdog_is_fed_by_two_loops(self):
        supervisor = self.supervisor(self.path("notify"))
        server = self.start("--threads", "2", env=supervisor.env(WATCHDOG_USEC="600000"))
        for _ in range(3):
            supervisor.await_message("WATCHDOG")
        server.stop()

    def test_that_of_another_process_is_not(self):
        supervisor = self.supervisor(self.path("notify"))
        server = self.start(env=supervisor.env(WATCHDOG_USEC="100000", WATCHDOG_PID="1"))
        supervisor.await_message("READY")
        supervisor.socket.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            supervisor.hear()
        server.stop()

    def test_nobody_who_listens_is_no_harm(self):
        for name in ("", "nonsense", "/nowhere/notify", "@" + "x" * 200):
            self.start(env={"NOTIFY_SOCKET": name}).stop()


class HangUp(SupervisorCase):
    """SIGHUP."""

    def test_the_log_file_is_opened_again(self):
        log = self.path("log")
        supervisor = self.supervisor(self.path("notify"))
        server = self.start("--logfile", log, "--log-format", "json", wait_ready=False, env=supervisor.env())
        supervisor.await_message("READY")
        os.rename(log, log + ".1")
        server.signal(signal.SIGHUP)
        supervisor.await_message("READY")
        with open(log, encoding="ascii") as file:
            line, = map(json.loads, file)
        self.assertEqual(line["text"], "SIGHUP: files are read again")
        self.assertEqual([line["pid"], line["level"]], [server.pid, "notice"])
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$")
        # It cannot be opened: the log goes on where it was.
        os.rename(log, log + ".2")
        os.mkdir(log)
        server.signal(signal.SIGHUP)
        supervisor.await_message("READY")
        with open(log + ".2", encoding="ascii") as file:
            texts = [json.loads(line)["text"] for line in file]
        self.assertEqual(texts[1:], ["SIGHUP: logfile stays as it was: cannot be opened again: Is a directory"])
        # Nobody reads this pipe, and the server does not wait until somebody does.
        os.rmdir(log)
        os.mkfifo(log)
        server.signal(signal.SIGHUP)
        supervisor.await_message("READY")
        with open(log + ".2", encoding="ascii") as file:
            *_, last = file
        self.assertIn("cannot be opened again: No such device or address", last)
        server.signal(signal.SIGTERM)
        self.assertEqual(server.leave(), 0)

    def test_a_storm_of_signals(self):
        """They are read for ten times a second at most, others are served meanwhile, and the last one counts."""
        secret = self.write("secret", "first\n")
        server = self.start("--requirepass-file", secret)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            for _ in range(2000):
                server.signal(signal.SIGHUP)
            with Client(server) as client:
                self.assertEqual(client.call("AUTH", "first"), "OK")
        self.write("secret", "second\n")
        server.signal(signal.SIGHUP)
        client = self.connect(server)
        eventually(lambda: client.call("AUTH", "second") == "OK", "the password of the last signal")
        took = time.monotonic() - began
        self.assertLessEqual(server.log().count("SIGHUP: files are read again"), took * 10 + 2)

    def test_the_password_file_is_read_again(self):
        for threads in (1, 2):
            supervisor = self.supervisor(self.path(f"notify{threads}"))
            secret = self.write("secret", "first\n")
            server = self.start("--requirepass-file", secret, "--threads", threads, env=supervisor.env())
            supervisor.await_message("READY")
            former = [self.connect(server) for _ in range(4)]
            for client in former:
                self.assertEqual(client.call("AUTH", "first"), "OK")
            for text, mode in (("", 0o600), ("third", 0o644)):
                self.write("secret", text, mode)
                server.signal(signal.SIGHUP)
                supervisor.await_message("READY")
                self.assertEqual(former[0].call("PING"), "PONG")
            self.assertEqual(len(re.findall("SIGHUP: requirepass-file stays as it was: ", server.log())), 2)
            self.write("secret", "second\n")
            server.signal(signal.SIGHUP)
            supervisor.await_message("READY")
            for client in former:
                self.assertTrue(client.ended())
            client = self.connect(server)
            self.assertEqual(client.call("AUTH", "second"), "OK")
            server.signal(signal.SIGHUP)  # nothing is new
            supervisor.await_message("READY")
            self.assertEqual(client.call("PING"), "PONG")


class Modes(SupervisorCase):
    """Who may read and write a file with a password."""

    def refused(self, secret, text, *options, **settings):
        server = self.start("--requirepass-file", secret, *options, wait_ready=False, **settings)
        self.assertEqual(server.leave(), 1)
        self.assertIn(text, server.log())

    def test_where_a_supervisor_puts_secrets_others_may_read(self):
        os.mkdir(self.path("credentials"))
        secret = self.write("credentials/secret", "first\n", 0o444)
        credentials = {"CREDENTIALS_DIRECTORY": self.path("credentials")}
        self.start("--requirepass-file", secret, env=credentials).stop()
        os.symlink(secret, self.path("link"))
        self.start("--requirepass-file", self.path("link"), env=credentials).stop()
        self.refused(secret, "no other user can read or write: chmod 600")
        self.refused(secret, "no other user", env={"CREDENTIALS_DIRECTORY": self.path("cred")})
        outside = self.write("secret", "first\n", 0o444)
        os.symlink(outside, self.path("credentials/out"))
        self.refused(self.path("credentials/out"), "no other user", env=credentials)

    def test_where_the_operator_allows_it_too(self):
        secret = self.write("secret", "first\n", 0o644)
        self.start("--requirepass-file", secret, "--requirepass-file-mode", "any").stop()

    def test_nobody_else_may_write(self):
        for mode in (0o620, 0o602, 0o664):
            secret = self.write("secret", "first\n", mode)
            self.refused(secret, "no other user can write: chmod go-w", "--requirepass-file-mode", "any")
            self.refused(secret, "no other user", env={"CREDENTIALS_DIRECTORY": self.directory.name})
