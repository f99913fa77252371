"""TLS from outside: clients with and without certificates, both versions, large bodies both ways, ends of all
kinds, attacks on the handshake, certificates that change, wrong files."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

import redis

from certificates import Authority, TlsClient, free_port, run
from harness import HANG_SECONDS, INSTRUMENTED, PROGRAM, Client, ServerCase, encode, eventually, measured

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
HANDSHAKE_SECONDS = 5
ALERT = b"\x15\x03"


FUZZ = ("tls_fuzz.py", "--count", 300, "--seed", os.getpid())
SOAK = ("tls_soak.py", "--seconds", 0.7, "--reload", 0.02)
SCRIPTS = {}


def started(script):
    """A script with servers of its own, once: a test that waits for a deadline starts those of later tests."""
    if script not in SCRIPTS:
        words = [os.path.join(os.path.dirname(os.path.abspath(__file__)), script[0]), *map(str, script[1:])]
        SCRIPTS[script] = subprocess.Popen(["/usr/bin/python3", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                           text=True, env={**os.environ, "IDEM_SERVER": PROGRAM})
    return SCRIPTS[script]


def tearDownModule():
    for each in SCRIPTS.values():
        each.kill()
        each.communicate()


class TlsCase(ServerCase):
    """One CA for the class, and servers with it."""

    @classmethod
    def setUpClass(cls):
        cls.ca = Authority()
        cls.addClassCleanup(cls.ca.remove)
        cls.pair = cls.ca.sign("server")
        cls.own = cls.ca.sign("client")

    def start_tls(self, *options, auth="no", plain=False, **settings):
        """A server with a port for TLS, self.port; and one without if `plain`."""
        self.port = free_port()
        config = (f"tls-port {self.port}\ntls-cert-file {self.pair[0]}\ntls-key-file {self.pair[1]}\n"
                  f"tls-ca-cert-file {self.ca.certificate}\ntls-auth-clients {auth}\n")
        config += f"port {free_port()}\n" if plain else "port 0\n"
        config += settings.pop("config", "")
        self.server = self.start(*options, config=config, **settings)
        return self.server

    def connect_tls(self, pair=None, version=None, **options):
        client = TlsClient(self.port, self.ca.context(pair, version), **options)
        self.addCleanup(client.close)
        return client

    def connect_raw(self):
        return self.connect(("127.0.0.1", self.port))

    def finish(self, script):
        done = started(script)
        said = done.communicate(timeout=HANG_SECONDS)[0]
        self.assertEqual(done.returncode, 0, said)
        measured(said.strip())

    def figures(self):
        with TlsClient(self.port, self.ca.context(self.own)) as client:
            return self.server.info("all", client)


class Clients(TlsCase):
    def test_both_versions(self):
        self.start_tls()
        for version, name in zip(VERSIONS, ("TLSv1.2", "TLSv1.3")):
            client = self.connect_tls(version=version)
            self.assertEqual(client.sock.version(), name)
            self.assertEqual(client.call("PING"), "PONG")

    def test_redis_py_with_and_without_a_certificate(self):
        self.start_tls(auth="optional")
        for more in ({}, {"ssl_certfile": self.own[0], "ssl_keyfile": self.own[1]}):
            client = redis.Redis(port=self.port, ssl=True, ssl_ca_certs=self.ca.certificate, **more)
            with client.pipeline(transaction=True) as pipe:
                pipe.set("a", 1).get("a")
                self.assertEqual(pipe.execute(), [True, b"1"])
            client.close()

    def test_redis_cli(self):
        self.start_tls(auth="yes")
        said = subprocess.run(["redis-cli", "--tls", "--cacert", self.ca.certificate, "--cert", self.own[0], "--key",
                               self.own[1], "-p", str(self.port), "PING"], capture_output=True, text=True, timeout=20,
                              check=False)
        self.assertEqual(said.stdout, "PONG\n", said.stderr)

    def test_a_certificate_that_is_missing_wrong_or_ended(self):
        stranger = Authority("another")
        self.addCleanup(stranger.remove)
        self.start_tls(auth="yes")
        refused = (None, stranger.sign("client"), self.ca.sign("ended", days=0))
        for version in VERSIONS:
            for pair in refused:
                with self.assertRaises((ssl.SSLError, ConnectionError)):
                    self.connect_tls(pair, version).call("PING")
            self.assertEqual(self.connect_tls(self.own, version).call("PING"), "PONG")
        self.assertEqual(int(self.figures()["tls_handshakes_failed"]), 2 * len(refused))
        self.assertIn("TLS handshake with 127.0.0.1:", self.server.log())

    def test_an_optional_certificate_has_to_be_valid(self):
        stranger = Authority("another")
        self.addCleanup(stranger.remove)
        self.start_tls(auth="optional")
        self.assertEqual(self.connect_tls().call("PING"), "PONG")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.connect_tls(stranger.sign("client")).call("PING")

    def test_where_a_client_is_connected_to(self):
        self.start_tls(plain=True)
        client = self.connect_tls()
        self.assertIn(f"laddr=127.0.0.1:{self.port} ".encode(), client.call("CLIENT", "INFO"))
        self.assertEqual(self.connect(self.server).call("PING"), "PONG")
        self.assertEqual(self.figures()["tls_connections"], "2")

    def test_bodies_of_a_megabyte_both_ways(self):
        self.start_tls()
        body = os.urandom(1 << 20)
        for version in VERSIONS:
            client, key = self.connect_tls(version=version), f"big:{version}"
            token = self.claim(client, key)[0]
            self.assertEqual(client.call("STORE", key, token, body), 0)
            other = self.connect_tls(version=version)
            self.assertIn(body, other.call("FETCH", key))

    def test_a_pipeline_that_is_read_late(self):
        self.start_tls()
        for version in VERSIONS:
            client = self.connect_tls(version=version)
            client.call("SET", "k", "x" * 100_000)
            sender = threading.Thread(target=client.send_raw, args=(encode("GET", "k") * 300,))
            sender.start()
            time.sleep(0.2)  # replies pile up: the server leaves them to the stream
            for _ in range(300):
                self.assertEqual(len(client.read()), 100_000)
            sender.join()

    def test_messages_and_silence(self):
        self.start_tls()
        listener, client = self.connect_tls(), self.connect_tls()
        listener.call("SUBSCRIBE", "news")
        client.send("CLIENT", "REPLY", "OFF")
        for number in range(100):
            client.send("PUBLISH", "news", number)
        client.send("CLIENT", "REPLY", "ON")
        self.assertEqual(client.read(), "OK")
        for number in range(100):
            self.assertEqual(listener.read(), [b"message", b"news", str(number).encode()])


class Ends(TlsCase):
    def test_who_says_goodbye_still_gets_replies_and_one_back(self):
        self.start_tls()
        for version in VERSIONS:
            client = self.connect_tls(version=version)
            client.send_raw(encode("PING") + encode("ECHO", "x" * 200_000))
            client.goodbye()
            # Python's ssl reads nothing after its own goodbye: openssl does.
        said = subprocess.run(["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{self.port}", "-CAfile",
                               self.ca.certificate], input=b"PING\r\nQUIT\r\n", capture_output=True, timeout=20,
                              check=False)
        self.assertEqual(said.stdout, b"+PONG\r\n+OK\r\n", said.stderr)

    def test_the_end_of_the_socket_alone_is_an_end(self):
        self.start_tls()
        for version in VERSIONS:
            client = self.connect_tls(version=version)
            client.send("PING")
            socket.socket.shutdown(client.sock, socket.SHUT_WR)  # not ssl's, which ends TLS
            self.assertEqual(client.read(), "PONG")
            self.assertEqual(client.sock.recv(1), b"")  # after a goodbye: without one Python raises

    def test_quit_says_goodbye(self):
        self.start_tls()
        client = self.connect_tls()
        self.assertEqual(client.call("QUIT"), "OK")
        self.assertEqual(client.sock.recv(1), b"")

    def test_an_owner_that_dies_hands_over(self):
        """Waiters in TLS; the first is gone when it is granted: the next one has it."""
        self.start_tls()
        for version in VERSIONS:
            owner, key = self.connect_tls(version=version), f"job:{version}"
            self.claim(owner, key, "BIND")
            first, second = self.connect_tls(version=version), self.connect_tls(version=version)
            first.send("CLAIM", key, "WAIT", 20000)
            self.server.await_blocked(1, owner)
            second.send("CLAIM", key, "WAIT", 20000)
            self.server.await_blocked(2, owner)
            with self.server.stopped():
                first.reset()
                owner.reset()
            self.assert_status(second.read(), "CLAIMED")

    def test_drain(self):
        self.start_tls()
        owner, waiter = self.connect_tls(), self.connect_tls()
        token = self.claim(owner, "k")[0]
        waiter.send("CLAIM", "k", "WAIT", 20000)
        self.server.await_blocked(1, owner)
        slow = self.connect_tls(plain=True)  # a handshake that does not begin holds nothing up
        self.server.signal(signal.SIGTERM)
        self.assert_status(waiter.read(), "BUSY")
        self.assertEqual(owner.call("STORE", "k", token, "done"), 0)
        self.assertEqual(owner.sock.recv(1), b"")
        owner.close()
        waiter.close()
        self.assertEqual(self.server.leave(), 0)
        self.assertTrue(slow.ended())


class Attacks(TlsCase):
    def test_clear_text_on_the_port_for_tls(self):
        self.start_tls()
        for text in (b"GET / HTTP/1.1\r\n\r\n", encode("PING"), b"PING\r\n"):
            client = self.connect_raw()
            client.send_raw(text)
            self.assertEqual(client.sock.recv(100)[:2], ALERT)
            self.assertTrue(client.ended())
        self.assertEqual(self.server.log().count("does not speak TLS"), 1)

    def test_tls_on_a_port_without(self):
        server = self.start()
        with self.assertRaisesRegex(ssl.SSLError, "(?i)alert"):
            with socket.create_connection(server.address, 20) as plain:
                self.ca.context().wrap_socket(plain, server_hostname="localhost")
        client = self.connect(server)
        client.send_raw(b"\x16\x03\x01\x02\x00\x01\x00")
        self.assertEqual(client.sock.recv(100)[:2], ALERT)
        self.assertTrue(client.ended())

    def test_handshakes_that_do_not_end(self):
        """None at all, half a hello, a byte of it at a time: each has five seconds, and one that goes on is not
        held up. The five seconds for the password begin after the handshake."""
        self.start_tls(config="requirepass secret\n")
        for beside in (FUZZ, SOAK):
            started(beside)
        hello = self.hello()
        began = time.monotonic()
        silent, half, slow = (self.connect_raw() for _ in range(3))
        half.send_raw(hello[:100])
        stranger = self.connect_tls(plain=True)

        def drip():
            try:
                for byte in hello[:-1]:
                    slow.send_raw(bytes([byte]))
                    time.sleep(0.05)
            except OSError:
                pass
        dripping = threading.Thread(target=drip)
        dripping.start()
        time.sleep(0.5)
        known = self.connect_tls()
        self.assertEqual(known.call("AUTH", "secret"), "OK")
        stranger.secure()
        secured = time.monotonic()
        for client in (silent, half, slow):
            self.assertTrue(client.ended())
        self.assertGreaterEqual(time.monotonic() - began, HANDSHAKE_SECONDS - 0.1)
        self.assertTrue(stranger.ended())
        self.assertGreaterEqual(time.monotonic() - secured, HANDSHAKE_SECONDS - 0.2)
        dripping.join()
        self.assertEqual(self.server.info("all", known)["tls_handshakes_timed_out"], "3")

    def hello(self):
        """What a client of Python sends first."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.ca.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            client.do_handshake()
        return outgoing.read()

    def test_of_many_that_do_not_shake_hands_the_oldest_goes(self):
        """Also on a server without a password, where nobody else is a stranger."""
        self.start_tls()
        known = self.connect_tls()
        crowd = [self.connect_raw() for _ in range(300)]
        eventually(lambda: int(self.server.info("all", known)["tls_handshakes_timed_out"]) >= 44, "evictions")
        self.assertTrue(crowd[0].ended())
        self.assertEqual(self.connect_tls().call("PING"), "PONG")
        self.assertLessEqual(int(self.server.info("clients", known)["clients_before_auth"]), 256)

    def test_malformed_hellos_and_records(self):
        """A few of those of `make tls-fuzz`."""
        self.finish(FUZZ)

    def test_a_crowd_that_comes_back_at_once(self):
        """Their handshakes wait for the server's CPU, not for them: nobody is evicted."""
        self.start_tls()
        context, failed, crowd = self.ca.context(), [], 300

        def come():
            try:
                with TlsClient(self.port, context) as client:
                    client.call("PING")
            except Exception as error:  # pylint: disable=broad-except
                failed.append(error)
        with self.server.stopped():
            threads = [threading.Thread(target=come) for _ in range(crowd)]
            for thread in threads:
                thread.start()
            time.sleep(0.3)
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])


@unittest.skipIf(INSTRUMENTED, "a sanitizer's memory is no measure")
class Memory(TlsCase):
    def test_an_idle_connection(self):
        """24 KB at most, also after a client sent an RSA certificate and that of the CA between."""
        chain = self.ca.sign_below("chained", "rsa:2048")
        for version in VERSIONS:
            for pair, name in ((None, "no certificate"), (self.own, "P-256"), (chain, "RSA chain")):
                each = self.idle(self.ca.context(pair, version))
                measured(f"{version.name}, {name}: {each / 1024:.1f} KB an idle connection")
                self.assertLess(each, 24 * 1024)

    def idle(self, context):
        """Bytes of a connection that has done its PING."""
        self.start_tls(auth="optional")
        crowd = [TlsClient(self.port, context) for _ in range(20)]
        before, counted = self.server.rss_bytes(), 150
        crowd += [TlsClient(self.port, context) for _ in range(counted)]
        for client in crowd:
            self.assertEqual(client.call("PING"), "PONG")
        each = (self.server.rss_bytes() - before) / counted
        for client in crowd:
            client.close()
        return each


class Certificates(TlsCase):
    def served(self):
        """The serial number of the certificate that a new connection sees."""
        client = self.connect_tls()
        serial = client.sock.getpeercert()["serialNumber"]
        client.close()
        return serial

    def put(self, name, **how):
        """Another certificate under the names that the server has."""
        certificate, key = self.ca.sign(name, **how)
        shutil.copy(key, self.pair[1])
        shutil.copy(certificate, self.pair[0])

    def setUp(self):
        self.pair = [self.ca.path("live.pem"), self.ca.path("live.key")]
        self.put("first")

    def reload(self, count, field="tls_reloads"):
        self.server.signal(signal.SIGHUP)
        eventually(lambda: int(self.figures()[field]) >= count, "a reload")

    def test_reload_by_signal_and_by_config_set(self):
        self.start_tls()
        old = self.connect_tls()
        first = self.served()
        self.put("second")
        self.assertEqual(self.served(), first)
        self.reload(1)
        second = self.served()
        self.assertNotEqual(second, first)
        self.put("third")
        self.assertEqual(old.call("CONFIG", "SET", "tls-cert-file", self.pair[0]), "OK")
        self.assertNotEqual(self.served(), second)
        self.assertEqual(old.call("PING"), "PONG")  # with the certificate that it began with

    def test_a_reload_that_fails_keeps_the_former_ones(self):
        self.start_tls()
        first, client = self.served(), self.connect_tls()
        with open(self.pair[1], "w", encoding="ascii") as file:
            file.write("no key\n")
        self.reload(1, "tls_reloads_failed")
        self.assertEqual(self.served(), first)
        self.assertIn("tls-key-file", self.server.log())
        self.assert_error(client.call("CONFIG", "SET", "tls-cert-file", self.pair[0]), "ERR")
        reply = client.call("CONFIG", "SET", "tls-cert-file", "/nowhere", "maxmemory", "5mb")
        self.assertIn("/nowhere: No such file", str(reply))
        self.assertEqual(client.call("CONFIG", "GET", "maxmemory"), [b"maxmemory", b"0"])
        self.assertEqual(client.call("CONFIG", "GET", "tls-cert-file"), [b"tls-cert-file", self.pair[0].encode()])
        self.assertEqual(self.served(), first)

    def test_a_pipe_is_refused_at_once(self):
        """Nobody writes into it: to wait for that would stop the server."""
        self.start_tls(auth="optional")
        client, pipe = self.connect_tls(), self.ca.path("pipe")
        os.mkfifo(pipe, 0o600)
        for option in ("tls-cert-file", "tls-ca-cert-file", "tls-key-file"):
            self.assertIn("pipe", str(client.call("CONFIG", "SET", option, pipe)))
        self.assertEqual(client.call("PING"), "PONG")

    def test_a_ca_that_changes_is_asked_at_once(self):
        """Also of who has a ticket."""
        self.start_tls(auth="yes")
        context = self.ca.context(self.own)
        with TlsClient(self.port, context) as client:
            client.call("PING")
            session = client.sock.session
        other = Authority("another")
        self.addCleanup(other.remove)
        with TlsClient(self.port, context) as client:
            self.assertEqual(client.call("CONFIG", "SET", "tls-ca-cert-file", other.certificate), "OK")
        plain = socket.create_connection(("127.0.0.1", self.port), 20)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as again:
                again.sendall(encode("PING"))
                if not again.recv(10):
                    raise ConnectionError

    def test_a_ticket_is_good_until_a_reload(self):
        """Both versions. What a client was verified by is no longer known then, whatever has changed."""
        self.start_tls(auth="yes")
        for version in VERSIONS:
            context, session, resumed = self.ca.context(self.own, version), None, []
            for reload in (False, False, True, False):
                if reload:
                    self.reload(int(self.figures()["tls_reloads"]) + 1)
                with TlsClient(self.port, context, session=session) as client:
                    client.call("PING")
                    resumed.append(client.sock.session_reused)
                    session = client.sock.session
            self.assertEqual(resumed, [False, True, False, True], version)

    def test_several_loops_verify_by_new_certificates_at_once(self):
        """What OpenSSL works out at the first use is shared by the loops: `make tsan` looks at it."""
        self.start_tls("--threads", 4, auth="yes")
        contexts, failed, crowd = [self.ca.context(self.own, version) for version in VERSIONS], [], 8

        def come(number, barrier):
            barrier.wait()
            try:
                with TlsClient(self.port, contexts[number % 2]) as client:
                    client.call("PING")
            except Exception as error:  # pylint: disable=broad-except
                failed.append(error)
        for count in range(1, 11):
            self.server.signal(signal.SIGHUP)
            eventually(lambda done=count: self.server.log().count("TLS: the certificate") > done, "a reload")
            barrier = threading.Barrier(crowd)
            threads = [threading.Thread(target=come, args=(number, barrier)) for number in range(crowd)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(failed, [])

    def test_days_until_the_certificate_ends(self):
        self.put("soon", days=3)
        self.start_tls()
        self.assertIn(self.figures()["tls_certificate_days_left"], ("2", "3"))
        self.assertRegex(self.server.log(), "# TLS: the certificate ends in [23] days")

    def test_wrong_files_are_refused_at_the_start(self):
        empty = self.ca.path("empty")
        with open(empty, "w", encoding="ascii"):
            pass
        locked = self.ca.path("locked.key")
        run("ec", "-in", self.pair[1], "-out", locked, "-aes128", "-passout", "pass:secret")
        wrong = (({"tls-cert-file": "/nowhere"}, "tls-cert-file /nowhere: No such file"),
                 ({"tls-cert-file": empty}, "no certificate in it"),
                 ({"tls-key-file": empty}, "no private key in it"),
                 ({"tls-key-file": self.ca.key}, "not the key of tls-cert-file"),
                 ({"tls-key-file": locked}, "needs tls-key-file-pass"),
                 ({"tls-ca-cert-file": empty, "tls-auth-clients": "yes"}, "tls-ca-cert-file"),
                 ({"tls-ciphers": "NONE"}, "tls-ciphers NONE"),
                 ({"tls-ciphersuites": "NONE"}, "tls-ciphersuites NONE"))
        right = {"port": 0, "tls-port": free_port(), "tls-cert-file": self.pair[0], "tls-key-file": self.pair[1],
                 "tls-auth-clients": "no"}
        for change, reason in wrong:
            words = [word for name, value in {**right, **change}.items() for word in ("--" + name, str(value))]
            done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(done.returncode, 1, (change, done))
            self.assertIn(reason, done.stderr)

    def test_who_else_can_read_or_write_the_key(self):
        """Read: a warning at the start and at each reload, but not where a supervisor puts secrets. Written: refused."""
        warning = "needs a file that no other user can read or write: chmod 600"
        os.chmod(self.pair[1], 0o640)
        self.start_tls()
        self.assertEqual(self.server.log().count(warning), 1)
        self.reload(1)
        self.assertEqual(self.server.log().count(warning), 2)
        os.chmod(self.pair[1], 0o600)
        self.reload(2)
        self.assertEqual(self.server.log().count(warning), 2)
        os.chmod(self.pair[1], 0o620)
        self.reload(1, "tls_reloads_failed")
        self.assertIn("a private key needs a file that no other user can write: chmod go-w", self.server.log())
        os.chmod(self.pair[1], 0o440)
        self.start_tls(env={"CREDENTIALS_DIRECTORY": self.ca.directory})
        self.assertNotIn(warning, self.server.log())

    def test_the_password_of_a_key(self):
        run("ec", "-in", self.pair[1], "-out", self.pair[1] + ".locked", "-aes128", "-passout", "pass:secret")
        self.pair[1] += ".locked"
        self.start_tls(config="tls-key-file-pass secret\n")
        client = self.connect_tls()
        self.assertEqual(client.call("CONFIG", "GET", "tls-key-file-pass"), [b"tls-key-file-pass", b""])
        done = subprocess.run([PROGRAM, "--tls-key-file-pass", "secret"], capture_output=True, text=True, timeout=20,
                              check=False)
        self.assertIn("can read a command line", done.stderr)

    def test_reloads_under_load(self):
        """Commands on old and new connections with a reload each 20 ms; `make tls-soak` takes
        longer."""
        self.finish(SOAK)
