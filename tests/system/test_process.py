"""The program: options, files, listening sockets, restarts, the end of the process."""

import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

from harness import (HANG_SECONDS, INSTRUMENTED, PROGRAM, READY, Client, Closed, ServerCase, encode,
                     eventually, measured)

HOUR_MS = 3_600_000


def run_program(*arguments, prefix=(), env=None):
    """Runs the program to its end; returns (status, stdout + stderr)."""
    done = subprocess.run([*prefix, PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HANG_SECONDS,
                          check=False, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout.decode("latin-1")


class Options(ServerCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, self.directory)

    def file(self, text, mode=0o600, name="idem.conf"):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="latin-1") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def refused(self, *arguments, says=()):
        try:
            status, output = run_program(*arguments)
        except subprocess.TimeoutExpired as still_running:
            self.fail(f"it runs with {arguments}: {still_running.stdout!r}")
        self.assertGreater(status, 0, f"{arguments}: a status that says failure, got {status}")
        for word in says:
            self.assertIn(word.lower(), output.lower(), f"{arguments} must say {word}: {output}")
        self.assertIsNone(READY.search(output))

    def test_help_and_version(self):
        status, output = run_program("--help")
        self.assertEqual(status, 0)
        for option in ("port", "bind", "unixsocket", "unixsocketperm", "maxmemory", "maxclients",
                       "lease", "lease-max", "ttl", "ttl-max", "retention", "wait-max",
                       "key-limit", "fingerprint-limit", "owner-limit", "stage-limit", "meta-limit",
                       "body-limit", "waiters-per-key", "waiters-total", "store-reserve",
                       "requirepass-file", "drain-timeout", "loglevel", "logfile", "insecure"):
            self.assertRegex(output, rf"(^|\s|-){option}\b")
        status, output = run_program("--version")
        self.assertEqual(status, 0)
        self.assertRegex(output, r"^idem\S* .*\d+\.\d+")
        self.assertEqual(len(output.strip().split("\n")), 1)

    def test_help_that_cannot_be_written_is_reported(self):
        for option in ("--help", "--version"):
            for to in (">/dev/full", ">&-"):
                done = subprocess.run(["sh", "-c", f'"$0" {option} {to}', PROGRAM],
                                      stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual(done.returncode, 1, f"{option} {to}")
                self.assertIn("standard output", done.stderr)

    def test_wrong_flags(self):
        self.refused("--nosuch", "1", says=["nosuch"])
        self.refused("--port", "abc", says=["port"])
        self.refused("--port", "65536", says=["port"])
        self.refused("--port", "-1", says=["port"])
        self.refused("--port", says=["port"])
        self.refused("--port", "0", "--lease", "0", says=["lease"])
        self.refused("--port", "0", "--lease", "1parsec", says=["lease"])
        self.refused("--port", "0", "--lease", "-5", says=["lease"])
        self.refused("--port", "0", "--lease", "2h", says=["lease"])  # above lease-max, an hour
        self.refused("--port", "0", "--lease", "99999999999999999999d", says=["lease"])
        self.refused("--port", "0", "--maxmemory", "10xyz", says=["maxmemory"])
        self.refused("--port", "0", "--maxclients", "0", says=["maxclients"])
        self.refused("--port", "0", "--body-limit", "513mb", says=["body-limit"])
        self.refused("--port", "0", "--wait-max", "301s", says=["wait-max"])
        self.refused("--port", "0", "--loglevel", "shouting", says=["loglevel"])
        self.refused("--port", "0", "--bind", "not.an.address.invalid", says=["not.an.address"])
        self.refused("--port", "0", "--requirepass", "secret", says=["requirepass"])
        self.refused("--port", "0", "--requirepass-file", "/nosuch", says=["/nosuch"])

    def test_wrong_files_name_the_line_and_the_reason(self):
        self.refused(self.directory + "/nosuch.conf", says=["nosuch.conf"])
        self.refused(self.file("# fine\nport 0\nlease abc\n"), says=["3", "lease"])
        self.refused(self.file("port 0\n\n\nnosuch 1\n"), says=["4", "nosuch"])
        self.refused(self.file("port 0\nmaxclients\n"), says=["2", "maxclients"])
        self.refused(self.file("port 0\nmaxclients 1 2\n"), says=["2", "maxclients"])
        self.refused(self.file('port 0\nlogfile "half\n'), says=["2"])
        self.refused(self.directory, says=[self.directory])

    def test_file_then_flags(self):
        server = self.start("--lease", "7s", config="# a comment\n\nlease 5s\n  TTL   30s\n"
                            "maxclients 33\n")
        client = self.connect(server)
        self.assertEqual(self.claim(client, "k")[1], 7000)
        self.assertEqual(client.call("CONFIG", "GET", "maxclients"), [b"maxclients", b"33"])
        token = self.claim(client, "k2")[0]
        client.call("STORE", "k2", token, "b")
        self.assertLessEqual(client.call("FETCH", "k2")[4], 30000)

    def test_durations_take_suffixes(self):
        for text, lease_ms in (("1500", 1500), ("1500ms", 1500), ("2s", 2000), ("3m", 180_000),
                               ("1h", 3_600_000)):
            with self.subTest(text):
                server = self.start("--lease", text)
                self.assertEqual(self.claim(self.connect(server), "k")[1], lease_ms)
                server.stop()

    def test_password_files(self):
        for mode in (0o644, 0o640, 0o604, 0o660, 0o666):
            with self.subTest(oct(mode)):
                self.refused(self.file("requirepass secret\nport 0\n", mode), says=["idem.conf"])
        # A file without a password may be readable by others.
        self.start(config="lease 5s\n", config_mode=0o644)
        server = self.start(config="requirepass secret\n", config_mode=0o400)
        client = self.connect(server)
        self.assert_error(client.call("PING"), "NOAUTH")
        self.assertEqual(client.call("AUTH", "secret"), "OK")
        self.assertNotIn(b"secret", b" ".join(client.call("CONFIG", "GET", "*")))
        self.assertNotIn("secret", server.log())
        with open(f"/proc/{server.pid}/cmdline", "rb") as file:
            self.assertNotIn(b"secret", file.read())

    def test_a_refused_change_keeps_the_password_and_its_file(self):
        path = self.file("s3cret\n", 0o600, "pass")
        server = self.start("--requirepass-file", path)
        client = self.connect(server)
        self.assertEqual(client.call("AUTH", "s3cret"), "OK")
        self.assert_error(client.call("CONFIG", "SET", "requirepass", "new", "timeout", "x"), "ERR")
        self.assertEqual(client.call("CONFIG", "GET", "requirepass-file")[1], path.encode())
        self.assertEqual(self.connect(server).call("AUTH", "s3cret"), "OK")

    def test_requirepass_file(self):
        path = self.file("s3cret\n", 0o600, "password")
        client = self.connect(self.start("--requirepass-file", path))
        self.assert_error(client.call("PING"), "NOAUTH")
        self.assert_error(client.call("AUTH", "s3cret\n"), "WRONGPASS")
        self.assertEqual(client.call("AUTH", "s3cret"), "OK")
        self.assertEqual(client.call("PING"), "PONG")
        self.refused("--port", "0", "--requirepass-file", self.file("s3cret\n", 0o644, "open"),
                     says=["open"])
        self.refused("--port", "0", "--requirepass-file", self.file("", 0o600, "empty"),
                     says=["empty"])


class Libraries(ServerCase):
    @unittest.skipIf(INSTRUMENTED, "sanitizers bring an allocator of their own")
    def test_the_allocator_is_the_one_that_was_linked(self):
        """A linker silently leaves out a library that, as far as it sees, no object calls."""
        server = self.start()
        self.assertEqual(server.info()["mem_allocator"], "jemalloc")
        with open(f"/proc/{server.pid}/maps", encoding="ascii") as maps:
            self.assertIn("libjemalloc", maps.read())


class Listening(ServerCase):
    def test_a_port_in_use_is_reported(self):
        server = self.start()
        status, output = run_program("--port", server.address[1], "--bind", "127.0.0.1")
        self.assertNotEqual(status, 0)
        self.assertIn(str(server.address[1]), output)

    def test_unix_socket_and_its_mode(self):
        directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "idem.sock")
        for mode in ("700", "770", "777"):
            with self.subTest(mode):
                server = self.start("--unixsocket", path, "--unixsocketperm", mode)
                self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), int(mode, 8))
                client = Client(path)
                self.claim(client, "k")
                client.close()
                self.assertEqual(self.connect(server).call("EXISTS", "k"), 1)
                server.stop()
                self.assertFalse(os.path.exists(path), "it takes its socket away")

    def test_unix_socket_left_by_a_killed_server(self):
        directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "idem.sock")
        server = self.start("--unixsocket", path)
        server.kill()
        self.start("--unixsocket", path)
        with Client(path) as client:
            self.assertEqual(client.call("PING"), "PONG")

    def test_unix_waiter_and_bind(self):
        directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "idem.sock")
        server = self.start("--unixsocket", path)
        control, owner, waiter = self.connect(server), Client(path), Client(path)
        self.claim(owner, "k", "BIND", "LEASE", HOUR_MS)
        waiter.send("CLAIM", "k", "WAIT", 60000)
        server.await_blocked(1, control)
        owner.close()
        self.assert_status(waiter.read(), "CLAIMED")
        waiter.close()

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 here")
        server = self.start("--bind", "::1")
        client = self.connect(server)
        self.claim(client, "k")
        self.assertIn("[::1]:", client.call("CLIENT", "INFO").decode())

    def test_two_addresses(self):
        server = self.start(config="bind 127.0.0.1 127.0.0.2\n")
        port = server.address[1]
        self.claim(self.connect(("127.0.0.1", port)), "k")
        self.assertEqual(self.connect(("127.0.0.2", port)).call("EXISTS", "k"), 1)

    def test_a_public_address_needs_a_password(self):
        for address in ("0.0.0.0", "*", "::"):
            status, output = run_program("--port", 0, "--bind", address)
            self.assertNotEqual(status, 0, address)
            self.assertRegex(output.lower(), "password|requirepass|insecure")

    def test_a_public_address_with_a_password_or_insecure(self):
        """In a separate network namespace, because the tests listen on loopback only."""
        isolate = ("unshare", "-n" if os.geteuid() == 0 else "-rn")
        if not shutil.which("unshare") or subprocess.run([*isolate, "true"], check=False,
                                                         stderr=subprocess.DEVNULL).returncode:
            self.skipTest("cannot make a network namespace")
        directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "password")
        with open(path, "w", encoding="ascii") as file:
            file.write("s3cret\n")
        os.chmod(path, 0o600)
        for arguments in (("--insecure", "yes"), ("--insecure", "plain", "--requirepass-file", path)):
            with self.subTest(arguments):
                process = subprocess.Popen([*isolate, PROGRAM, "--port", "0", "--bind", "0.0.0.0",
                                            *arguments], stdout=subprocess.PIPE,
                                           stderr=subprocess.STDOUT)
                try:
                    lines = iter(process.stdout.readline, b"")
                    self.assertTrue(any(READY.search(line.decode()) for line in lines))
                finally:
                    process.terminate()
                    process.wait(HANG_SECONDS)
                    process.stdout.close()


class Tokens(ServerCase):
    EPOCH = 1704067200

    def test_rise_across_restarts_in_the_same_second(self):
        highest, started = 0, time.monotonic()
        for round_number in range(4):
            server = self.start()
            client = self.connect(server)
            client.send_raw(b"".join(encode("CLAIM", f"k{n}") for n in range(1000)))
            tokens = [client.read()[1] for _ in range(1000)]
            self.assertEqual(tokens, sorted(set(tokens)), "they only rise")
            self.assertGreater(tokens[0], highest, f"above all of round {round_number}")
            self.assertLess(tokens[-1], 2**53)
            highest = tokens[-1]
            if round_number % 2:
                server.kill()
            else:
                server.stop()
        measured(f"four starts in {time.monotonic() - started:.2f} s")

    def test_start_value(self):
        before = int(time.time())
        token = self.claim(self.connect(self.start()), "k")[0]
        # A start may have to wait for the next second, so that no token is used twice.
        self.assertGreaterEqual(token, (before - self.EPOCH) << 22)
        self.assertLess(token, (int(time.time()) + 2 - self.EPOCH) << 22)


@unittest.skipIf(INSTRUMENTED, "a sanitizer has to come before what is preloaded")
class Clock(ServerCase):
    """A machine whose clock is set wrong."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="idem-test-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wall_clock.c")
        cls.library = os.path.join(cls.directory, "wall_clock.so")
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-D_GNU_SOURCE", "-o",
                        cls.library, source], check=True)

    def at(self, unix_s):
        path = os.path.join(self.directory, "now")
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(str(unix_s))
        os.rename(path + ".new", path)
        return {"LD_PRELOAD": self.library, "IDEM_TEST_CLOCK": path}

    def test_from_2092_on_it_does_not_start(self):
        for unix_s in (3849984000, 4133980800, 10**11):
            with self.subTest(unix_s):
                status, output = run_program("--port", "0", env=self.at(unix_s))
                self.assertEqual(status, 1, output)
                self.assertIn("clock", output)
                self.assertIn("2092", output)
                self.assertIsNone(READY.search(output))

    def test_up_to_2092_it_grants(self):
        server = self.start(env=self.at(3849984000 - 1))
        token = self.claim(self.connect(server), "k")[0]
        self.assertEqual(token, ((3849984000 - 1 - Tokens.EPOCH) << 22) + 1)
        self.assertLess(token, 2**53)
        self.assertNotIn("clock", server.log())

    def test_steps_of_the_clock_are_followed(self):
        """Forward and back: unix times follow the clock; running durations are not affected."""
        year_s, now_s = 31_536_000, 2_000_000_000
        server = self.start(env=self.at(now_s))
        client = self.connect(server)
        self.assertEqual(client.call("SET", "k", "v", "EX", 1_000_000), "OK")
        self.assertAlmostEqual(client.call("EXPIRETIME", "k"), now_s + 1_000_000, delta=1)
        for step_s in (year_s, -year_s, 0):
            self.at(now_s + step_s)
            # The test's clock stands still and the server follows it, so the end of the key seems to come nearer.
            eventually(lambda: abs(client.call("EXPIRETIME", "k") - now_s - 1_000_000 - step_s)
                       < HANG_SECONDS + 1, f"a step of {step_s} s is followed")
            self.assertAlmostEqual(client.call("TTL", "k"), 1_000_000, delta=HANG_SECONDS)

    def test_before_2024_it_warns_and_gives_no_token_twice(self):
        tokens = []
        for unix_s in (0, 0, Tokens.EPOCH - 1):
            server = self.start(env=self.at(unix_s))
            self.assertRegex(server.log(), "# .*clock.*2024")
            tokens.append(self.claim(self.connect(server), "k")[0])
            self.assertTrue(0 < tokens[-1] <= 2**46, "below all tokens of a correct clock")
        self.assertEqual(len(set(tokens)), len(tokens), tokens)


class Signals(ServerCase):
    # Signals that end or stop the process or report a fault. Stray tools may send all others.
    MEANT = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGABRT,
             signal.SIGILL, signal.SIGTRAP, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV,
             signal.SIGSYS, signal.SIGXCPU, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN}

    def test_a_stray_signal_does_not_end_it(self):
        strays = [number for number in range(1, signal.SIGRTMAX + 1)
                  if number not in self.MEANT and (number < 32 or number >= signal.SIGRTMIN)]
        self.assertLessEqual({signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM,
                              signal.SIGHUP, signal.SIGPIPE, signal.SIGPROF, signal.SIGIO,
                              signal.SIGPWR, signal.SIGXFSZ, 16}, set(strays))
        server = self.start()
        client = self.connect(server)
        deadly = []
        for number in strays:
            try:
                server.signal(number)
                alive = client.call("PING") == "PONG"
            except (Closed, ConnectionError, TimeoutError):
                alive = False
            if alive:
                continue
            deadly.append(number)
            server.kill()
            server.forget()
            server = self.start()
            client = self.connect(server)
        self.assertEqual(deadly, [])

    def test_a_limit_of_file_sizes_only_ends_the_log(self):
        directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, directory)
        log, path = os.path.join(directory, "log"), os.path.join(directory, "socket")
        process = subprocess.Popen([PROGRAM, "--bind", "", "--unixsocket", path, "--logfile", log],
                                   stdin=subprocess.DEVNULL,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                                         (40, 40)))

        def answers():
            try:
                with Client(path) as client:
                    return client.call("PING") == "PONG"
            except OSError:
                return process.poll() is not None
        try:
            eventually(answers, "an answer")
            self.assertIsNone(process.poll(), "it runs on without its log")
            self.assertEqual(os.path.getsize(log), 40)
        finally:
            process.terminate()
            self.assertEqual(process.wait(HANG_SECONDS), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
