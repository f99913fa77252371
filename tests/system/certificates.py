"""Certificates for tests, made by openssl in a directory of theirs; and connections over TLS.

It must not know what a server does with them."""

import os
import shutil
import socket
import ssl
import subprocess
import tempfile

from harness import HANG_SECONDS, Client

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"


def run(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


def free_port():
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Authority:
    """A CA in a directory of its own, and what it has signed. Keys are of P-256, or rsa:BITS."""

    def __init__(self, name="test-ca"):
        self.directory = tempfile.mkdtemp(prefix="idem-certificates-")
        self.certificate, self.key = self.path("ca.pem"), self.path("ca.key")
        run("req", "-x509", *self._new("ec"), "-keyout", self.key, "-out", self.certificate, "-days", 30,
            "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE")

    def path(self, name):
        return os.path.join(self.directory, name)

    @staticmethod
    def _new(kind):
        curve = ["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else []
        return ["-newkey", kind, *curve, "-nodes"]

    def sign(self, name, days=20, kind="ec", subject=None, by=None, extensions=NAMES):
        """NAME.pem and NAME.key; days below 1: it has ended. by: a CA that was signed. Returns both paths."""
        certificate, key, request = self.path(name + ".pem"), self.path(name + ".key"), self.path(name + ".csr")
        run("req", *self._new(kind), "-keyout", key, "-out", request, "-subj", f"/CN={subject or name}")
        with open(self.path("names"), "w", encoding="ascii") as file:
            file.write(extensions)
        authority = by or (self.certificate, self.key)
        when = ["-days", days] if days > 0 else ["-days", 1]
        signing = ["x509", "-req", "-in", request, "-CA", authority[0], "-CAkey", authority[1], "-CAcreateserial",
                   "-extfile", self.path("names"), "-out", certificate, *when]
        if days > 0:
            run(*signing)
        else:
            self._sign_ended(request, certificate)
        return certificate, key

    def sign_below(self, name, kind):
        """The same by a CA of its own below this one, whose certificate follows in NAME.pem."""
        lower = self.sign(name + "-ca", kind=kind, extensions="basicConstraints=critical,CA:TRUE")
        pair = self.sign(name, kind=kind, by=lower)
        with open(pair[0], "a", encoding="ascii") as chain, open(lower[0], encoding="ascii") as file:
            chain.write(file.read())
        return pair

    def _sign_ended(self, request, certificate):
        """`openssl x509` cannot date back; `openssl ca` can."""
        with open(self.path("index"), "w", encoding="ascii"), open(self.path("ca.cnf"), "w", encoding="ascii") as file:
            file.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.path('index')}\nnew_certs_dir={self.directory}\n"
                       f"rand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")
        run("ca", "-batch", "-config", self.path("ca.cnf"), "-cert", self.certificate, "-keyfile", self.key,
            "-in", request, "-out", certificate, "-notext", "-startdate", "20200101000000Z",
            "-enddate", "20200201000000Z", "-extfile", self.path("names"))

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def context(self, pair=None, version=None):
        """For clients that trust it, with a certificate and key of their own or without."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate)
        if pair:
            context.load_cert_chain(*pair)
        if version:
            context.minimum_version = context.maximum_version = version
        return context


class TlsClient(Client):
    """A connection over TLS. plain: the socket below stays without it until `secure`. session: of a former one, to
    be resumed."""

    def __init__(self, port, context, plain=False, timeout=HANG_SECONDS, session=None):
        super().__init__(("127.0.0.1", port), timeout=timeout)
        self.context, self.session = context, session
        if not plain:
            self.secure()

    def secure(self):
        try:
            self.sock = self.context.wrap_socket(self.sock, server_hostname="localhost", session=self.session)
        except BaseException:
            self.sock.close()
            raise

    def _more(self):
        try:
            super()._more()
        except ssl.SSLError as error:
            raise ConnectionError(str(error)) from error

    def goodbye(self):
        """close_notify, and none is awaited: the other direction stays open."""
        self.sock.setblocking(False)
        try:
            self.sock.unwrap()
        except (ssl.SSLWantReadError, OSError):
            pass
        self.sock.setblocking(True)
        self.sock.settimeout(HANG_SECONDS)
