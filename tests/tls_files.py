"""Authorities and certificates for a test, made by openssl in a directory of its own.

    files = tls_files.make(directory)
    files.ca, files.cert, files.key          the authority; of a server for localhost and 127.0.0.1
    files.client_cert, files.client_key      of a client, by the same authority
    files.other_ca, files.other_cert, ...    of a server, by another authority
"""

import os
import subprocess
import types

HERE = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(arguments)}\n{done.stderr}")


def authority(directory, name):
    cert, key = (os.path.join(directory, f"{name}.{ending}") for ending in ("crt", "key"))
    openssl("req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert)
    return cert, key


def signed(directory, name, by, alternatives=HERE):
    """A certificate and its key, of the authority `by`."""
    cert, key, asked, extra = (os.path.join(directory, f"{name}.{ending}")
                               for ending in ("crt", "key", "csr", "ext"))
    openssl("req", *KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
    with open(extra, "w", encoding="ascii") as file:
        file.write(alternatives)
    openssl("x509", "-req", "-in", asked, "-days", "2", "-extfile", extra, "-CA", by[0], "-CAkey",
            by[1], "-CAcreateserial", "-out", cert)
    return cert, key


def make(directory):
    ca, other = authority(directory, "ca"), authority(directory, "other-ca")
    files = types.SimpleNamespace(ca=ca[0], other_ca=other[0])
    files.cert, files.key = signed(directory, "server", ca)
    files.client_cert, files.client_key = signed(directory, "client", ca)
    files.named_cert, files.named_key = signed(directory, "named", ca,
                                               "subjectAltName=DNS:other.example")
    files.other_cert, files.other_key = signed(directory, "other", other)
    return files
