"""idem-server --ping: for health checks; 0 only when the server answers PONG."""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from harness import HANG_SECONDS, PROGRAM, ROOT, ServerCase
from test_proxy import BALANCER, header

sys.path.insert(0, os.path.join(ROOT, "tests"))
import tls_files  # noqa: E402

PONG, REFUSED, SILENT, UNEXPECTED = 0, 1, 2, 3


class Ping(ServerCase):
    @classmethod
    def setUpClass(cls):
        certificates = tempfile.TemporaryDirectory(prefix="idem-test-")
        cls.addClassCleanup(certificates.cleanup)
        cls.files = tls_files.make(certificates.name)

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="idem-test-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def ping(self, status, *arguments):
        """What it says on standard error: nothing, or one line."""
        done = subprocess.run([PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=HANG_SECONDS)
        said = done.stderr.decode("latin-1")
        self.assertEqual(done.returncode, status, said)
        self.assertEqual(said.count("\n"), 0 if status == PONG else 1, said)
        self.assertEqual(done.stdout, b"")
        return said

    def listener(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return listener, f"redis://127.0.0.1:{listener.getsockname()[1]}"

    def test_the_server_of_a_configuration(self):
        secret = self.write("secret", "right\n")
        path = os.path.join(self.directory, "idem.sock")
        server = self.start("--requirepass-file", secret)
        port = server.address[1]
        config = self.write("idem.conf", f"port {port}\nbind 127.0.0.1\nrequirepass-file {secret}\n")
        self.ping(PONG, config, "--ping")
        self.ping(PONG, "--ping", "--port", port, "--requirepass-file", secret)
        self.ping(PONG, self.write("text.conf", f"port {port}\nrequirepass right\n"), "--ping")
        two = self.write("two", "right\nnext\n")
        self.ping(PONG, "--ping", "--port", port, "--requirepass-file", two)
        self.assertIn("NOAUTH", self.ping(UNEXPECTED, "--port", port, "--ping"))
        local = self.start("--unixsocket", path, "--requirepass-file", secret)
        self.assertTrue(local.address)
        config = self.write("local.conf", f"unixsocket {path}\nrequirepass-file {secret}\n")
        self.ping(PONG, config, "--ping")

    def test_every_address_is_asked_on_loopback(self):
        server = self.start("--bind", "0.0.0.0", "--insecure", "yes")
        for bind in ("*", "0.0.0.0", "-127.0.0.1"):
            self.ping(PONG, "--bind", bind, "--insecure", "yes", "--port", server.address[1], "--ping")

    def test_the_server_of_a_url(self):
        path = os.path.join(self.directory, "idem.sock")
        server = self.start("--unixsocket", path)
        port = server.address[1]
        for url in (f"redis://127.0.0.1:{port}", f"redis://127.0.0.1:{port}/", f"redis://localhost:{port}",
                    f"unix://{path}"):
            self.ping(PONG, "--ping", url)
        self.ping(PONG, "--ping", "redis://127.0.0.1", "--port", port)

    def test_a_user_of_a_url(self):
        secret = self.write("secret", "right\n")
        server = self.start("--requirepass-file", secret)
        where = f"127.0.0.1:{server.address[1]}"
        self.ping(PONG, "--ping", f"redis://default@{where}", "--requirepass-file", secret)
        self.assertIn("WRONGPASS", self.ping(UNEXPECTED, "--ping", f"redis://other@{where}", "--requirepass-file", secret))

    def test_what_is_refused(self):
        for url, why in (("127.0.0.1:4336", "begins with redis://"), ("redis://", "needs a host"),
                         ("redis://:4336", "needs a host"), ("redis://[::1", "without its ]"),
                         ("redis://a:0", "port from 1 to 65535"), ("redis://a:65536", "port from 1 to 65535"),
                         ("redis://a:1x", "port from 1 to 65535"), ("redis://a/0", "port from 1 to 65535"),
                         ("unix://a", "a whole path"), ("redis://@a", "a user has"),
                         ("redis://u%20@a", "a user has"), ("redis://" + "u" * 129 + "@a", "a user has")):
            self.assertIn(why, self.ping(REFUSED, "--ping", url))
        for password in ("u:secret@", ":secret@"):
            said = self.ping(REFUSED, "--ping", f"redis://{password}127.0.0.1")
            self.assertIn("a URL with a password is refused", said)
            self.assertNotIn("secret", said)
        self.assertIn("port 0", self.ping(REFUSED, "--port", 0, "--ping"))
        self.assertIn("unknown option", self.ping(REFUSED, "--porto", 0, "--ping"))

    def test_nobody_is_there(self):
        listener, url = self.listener()
        listener.close()
        self.assertIn("Connection refused", self.ping(SILENT, "--ping", url))
        self.assertIn("No such file", self.ping(SILENT, "--ping", f"unix://{self.directory}/none"))

    def test_one_who_does_not_answer(self):
        _, url = self.listener()
        began = time.monotonic()
        self.assertIn("no answer within 2 s", self.ping(SILENT, "--ping", url))
        self.assertGreater(time.monotonic() - began, 1.9)

    def test_another_answer_is_shown_escaped(self):
        listener, url = self.listener()
        asked = subprocess.Popen([PROGRAM, "--ping", url], stderr=subprocess.PIPE)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400\x1b[2J\r\n\r\n")
            said = asked.communicate(timeout=HANG_SECONDS)[1]
        self.assertEqual([asked.returncode, said],
                         [UNEXPECTED, b"idem-server --ping: it answered: HTTP/1.1 400\\x1b[2J\n"])
        asked = subprocess.Popen([PROGRAM, "--ping", url], stderr=subprocess.PIPE)
        connection, _ = listener.accept()
        connection.close()
        said = asked.communicate(timeout=HANG_SECONDS)[1]
        self.assertEqual([asked.returncode, said], [SILENT, b"idem-server --ping: no answer: the connection ended\n"])

    def secret(self, *options):
        """A server with TLS alone, and its options."""
        files = self.files
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ("--tls-port", port, "--port", 0, "--tls-cert-file", files.cert, "--tls-key-file", files.key,
                   "--tls-ca-cert-file", files.ca, *options)
        self.start(*options)
        return files, port, options

    def test_over_tls(self):
        files, port, options = self.secret("--tls-auth-clients", "yes", "--proxy-protocol", BALANCER)
        self.ping(PONG, *options, "--ping")
        # What the header says comes in the clear, before the hello.
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.client_cert, files.client_key)
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(header())
            with context.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(b"CLIENT INFO\r\n")
                self.assertIn(b" addr=10.0.0.7:4660 laddr=192.168.1.2:4336 ", client.recv(4096))

    def test_over_tls_the_certificate_of_a_url_counts(self):
        files, port, _ = self.secret("--tls-auth-clients", "no", "--bind", "127.0.0.1 127.0.0.2")
        for host in ("localhost", "127.0.0.1"):
            self.ping(PONG, "--ping", f"rediss://{host}:{port}", "--tls-ca-cert-file", files.ca)
        self.ping(PONG, "--ping", "idems://localhost", "--tls-ca-cert-file", files.ca, "--tls-port", port,
                  "--tls-cert-file", files.client_cert, "--tls-key-file", files.client_key)
        for authority, host, why in ((files.other_ca, "localhost", "TLS: the certificate: unable to get local issuer"),
                                     (files.ca, "127.0.0.2", "TLS: the certificate: IP address mismatch")):
            said = self.ping(UNEXPECTED, "--ping", f"rediss://{host}:{port}", "--tls-ca-cert-file", authority)
            self.assertIn(why, said)
        plain = self.start()
        self.ping(UNEXPECTED, "--ping", f"rediss://127.0.0.1:{plain.address[1]}", "--tls-ca-cert-file", files.ca)

    def test_the_version(self):
        for flag in ("-V", "-v", "--version"):
            said = subprocess.run([PROGRAM, flag], capture_output=True, check=True).stdout
            self.assertRegex(said, rb"^idem-server \d+\.\d+\.\d+\n$")
