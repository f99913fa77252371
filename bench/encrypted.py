"""The servers of the axis tls: idem and Redis with the same certificates, which are made for the run.

openssl makes an authority and a certificate for 127.0.0.1 in --build/tls, P-256 as most have today;
both servers and the load get the same files. Clients need no certificate. Versions, ciphers and
tickets are what each server does when nothing is said: both take TLS 1.3 and AES-256-GCM.
"""

import dataclasses
import os
import shutil
import subprocess

from servers import IDEM_READY, BenchError, Server

NAMES = ("idem tls", "redis tls")
DIRECTORY = "tls"  # in --build
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(directory, *arguments):
    result = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True,
                            check=False)
    if result.returncode != 0:
        raise BenchError(f"openssl {' '.join(arguments)}\n{result.stderr.strip()}")


def make_certificates(build):
    """{option of a server: file}. Two days are longer than any run."""
    directory = os.path.join(build, DIRECTORY)
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory, 0o700)
    with open(os.path.join(directory, "names"), "w", encoding="ascii") as file:
        file.write("subjectAltName=IP:127.0.0.1")
    openssl(directory, "req", "-x509", *KEY, "-days", "2", "-subj", "/CN=bench authority", "-keyout",
            "ca.key", "-out", "ca.crt")
    openssl(directory, "req", *KEY, "-subj", "/CN=bench", "-keyout", "server.key", "-out", "asked")
    openssl(directory, "x509", "-req", "-in", "asked", "-days", "2", "-extfile", "names", "-CA",
            "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.crt")
    return {"--tls-cert-file": os.path.join(directory, "server.crt"),
            "--tls-key-file": os.path.join(directory, "server.key"),
            "--tls-ca-cert-file": os.path.join(directory, "ca.crt")}


def known_encrypted(servers, build, note):
    """{name: Server} of those that can be made of `servers`."""
    if not shutil.which("openssl"):
        note("no openssl on the PATH: the axis tls is not measured")
        return {}
    files = make_certificates(build)
    listens = [*(word for pair in files.items() for word in pair), "--tls-auth-clients", "no"]
    load = ("--tls", "--cacert", files["--tls-ca-cert-file"])

    def idem(port, sizes):
        return ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--drain-timeout",
                "0", *listens]

    def redis(port, sizes):
        return ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", *listens]

    found = {}
    if "idem" in servers and has_tls(servers["idem"].program):
        found["idem tls"] = Server("idem tls", servers["idem"].program, "idem", idem, IDEM_READY,
                                   load=load)
    else:
        note("no idem-server with --tls-port: its TLS is not measured")
    if "redis" in servers:
        found["redis tls"] = dataclasses.replace(servers["redis"], name="redis tls",
                                                 arguments=redis, load=load)
    return found


def has_tls(program):
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return "--tls-port" in help_text.stdout
