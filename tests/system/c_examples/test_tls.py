"""idem-once, and a loop of libevent, over TLS, against the real server."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

from harness import ROOT, Server
from support import ONCE, PATIENCE_SECONDS, Case, example

sys.path.insert(0, os.path.join(ROOT, "tests"))
import tls_files  # noqa: E402


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Tls(Case):
    @classmethod
    def setUpClass(cls):
        cls.kept = tempfile.mkdtemp(prefix="idem-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.kept, True)
        cls.files = tls_files.make(cls.kept)

    def serve(self, cert=None, key=None, clients="no", *more, config=None):
        server = self.start("--port", 0, "--tls-port", free_port(),
                            "--tls-cert-file", cert or self.files.cert,
                            "--tls-key-file", key or self.files.key,
                            "--tls-ca-cert-file", self.files.ca, "--tls-auth-clients", clients, *more,
                            config=config)
        return server.address[1]

    def once(self, port, *options, scheme="idems", host="127.0.0.1", key=None, env=None):
        """(exit status, stdout, stderr)"""
        done = subprocess.run(
            [ONCE, "--server", f"{scheme}://{host}:{port}", *options, "--key", key or self.id(),
             "echo", "done"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
            env={**os.environ, **(env or {})})
        return done.returncode, done.stdout, done.stderr

    def test_it_runs_once(self):
        port = self.serve()
        for host in ("127.0.0.1", "localhost"):
            for scheme in ("idems", "rediss"):
                self.assertEqual(
                    self.once(port, "--ca-file", self.files.ca, scheme=scheme, host=host), (0, "done\n", ""))
        environment = {"IDEM_CA_FILE": self.files.ca}
        self.assertEqual(self.once(port, env=environment)[0], 0)
        self.assertEqual(self.once(port, "--insecure-any-certificate")[0], 0)

    def refused(self, port, words, *options, status=78, **settings):
        code, out, err = self.once(port, *options, **settings)
        self.assertEqual((code, out), (status, ""), err)
        self.assertIn(words, err)

    def test_who_is_refused(self):
        port, trust = self.serve(), ("--ca-file", self.files.ca)
        self.refused(port, "unknown authority")
        self.refused(port, "unknown authority", "--ca-file", self.files.other_ca)
        self.refused(port, "another name", *trust, "--server-name", "other.example")
        named = self.serve(self.files.named_cert, self.files.named_key)
        self.refused(named, "another address", *trust)
        self.assertEqual(self.once(named, *trust, "--server-name", "other.example")[0], 0)
        other = self.serve(self.files.other_cert, self.files.other_key)
        self.refused(other, "unknown authority", *trust, "--fail-open")

    def test_a_server_that_asks_for_a_certificate(self):
        trust = ("--ca-file", self.files.ca)
        own = ("--cert-file", self.files.client_cert, "--key-file", self.files.client_key)
        for protocols in ("TLSv1.2", "TLSv1.3"):
            port = self.serve(None, None, "yes", "--tls-protocols", protocols)
            self.refused(port, "wants a certificate", *trust)
            self.refused(port, "does not", *trust, "--cert-file", self.files.other_cert, "--key-file",
                         self.files.other_key)
            self.assertEqual(self.once(port, *trust, *own)[0], 0)

    def test_usage(self):
        port, trust = self.serve(), ("--ca-file", self.files.ca)
        self.refused(port, "ca_file /no/file", "--ca-file", "/no/file", status=64)
        self.refused(port, "key_file without cert_file", *trust, "--key-file", self.files.key, status=64)
        self.refused(port, "a server without TLS", *trust, status=64, scheme="redis")

    def in_libevent(self, port, ca, *keys):
        done = subprocess.run(
            [example("async_libevent"), "--server", f"idems://127.0.0.1:{port}", "--work-ms", "1", *keys],
            capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
            env={**os.environ, "SSL_CERT_FILE": ca})
        return sorted(done.stdout.splitlines())

    def test_a_loop_of_libevent(self):
        port, keys = self.serve(), [f"k{number}" for number in range(50)]
        for word in ("ran", "replayed"):
            said = self.in_libevent(port, self.files.ca, *keys)
            self.assertEqual([line.split()[:2] for line in said], sorted([key, word] for key in keys))
        self.assertEqual([line.split()[1] for line in self.in_libevent(port, self.files.other_ca, "k")],
                         ["failed"])

    def test_users(self):
        port = self.serve(config="requirepass secret\n")
        trust = ("--ca-file", self.files.ca)
        for user in (":secret", "default:secret"):
            self.assertEqual(self.once(port, *trust, host=f"{user}@127.0.0.1")[0], 0)
        self.refused(port, "WRONGPASS", *trust, host="default:other@127.0.0.1")

    def test_a_server_that_comes_back_is_found(self):
        port = free_port()
        arguments = ("--port", 0, "--tls-port", port, "--tls-cert-file", self.files.cert,
                     "--tls-key-file", self.files.key, "--tls-auth-clients", "no")
        first = self.start(*arguments)
        process = self.launch([ONCE, "--server", f"idems://127.0.0.1:{port}", "--ca-file", self.files.ca,
                               "--key", self.id(), "sh", "-c",
                               f"echo started >>{self.ledger}; while [ ! -e {self.path('go')} ]; do sleep 0.02; done"],
                              stderr=subprocess.PIPE, text=True)
        self.await_ledger("started")
        first.kill()
        first.forget()
        with Server(*arguments):
            with open(self.path("go"), "w", encoding="ascii"):
                pass
            told = process.communicate(timeout=PATIENCE_SECONDS)[1]
            self.assertEqual(process.returncode, 0)
            self.assertIn("STALE ABSENT", told)  # its answer came from the second server
            self.assertEqual(self.once(port, "--ca-file", self.files.ca, key="another")[0], 0)


if __name__ == "__main__":
    unittest.main()
