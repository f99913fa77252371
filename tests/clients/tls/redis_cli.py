"""redis-cli --tls: what it says, with and without a certificate of its own."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from steps import HOST, PORT, expect, step  # noqa: E402

CA, OTHER_CA, CERT, KEY = (os.environ["IDEM_TLS_" + name] for name in ("CA", "OTHER_CA", "CERT", "KEY"))
ASKING_PORT = os.environ["IDEM_TLS_ASKING_PORT"]
OWN = ("--cert", CERT, "--key", KEY)


def cli(port, *words, ca=CA):
    done = subprocess.run(["redis-cli", "-h", HOST, "-p", str(port), "--tls", "--cacert", ca, *words],
                          capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def says(expected, *arguments, **settings):
    said = cli(*arguments, **settings)
    expect(expected in said, f"{expected}, not {said}")


def claim():
    says("CLAIMED", PORT, "IDEM.CLAIM", "k", "OWNER", "a")
    says("BUSY", PORT, "IDEM.CLAIM", "k", "OWNER", "b")


step("connect", says, "PONG", PORT, "PING")
step("claim", claim)
step("stranger", lambda: says("certificate verify failed", PORT, "PING", ca=OTHER_CA))
step("certificate", says, "PONG", ASKING_PORT, *OWN, "PING")
step("without", lambda: expect("PONG" not in cli(ASKING_PORT, "PING"), "it was let in"))
