"""redis-py with ssl=True, with and without a certificate of its own."""

import os
import sys

import redis

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from steps import HOST, PORT, expect, step  # noqa: E402

CA, OTHER_CA, CERT, KEY = (os.environ["IDEM_TLS_" + name] for name in ("CA", "OTHER_CA", "CERT", "KEY"))
ASKING_PORT = int(os.environ["IDEM_TLS_ASKING_PORT"])


def client(port, ca=CA, **more):
    return redis.Redis(host=HOST, port=port, ssl=True, ssl_ca_certs=ca, ssl_check_hostname=True,
                       socket_timeout=60, **more)


def claim():
    with client(PORT) as idem:
        status, token, *_ = idem.execute_command("IDEM.CLAIM", "k", "OWNER", "a")
        expect(status == b"CLAIMED", status)
        idem.execute_command("IDEM.STORE", "k", token, "x" * 100000)
        expect(idem.execute_command("IDEM.CLAIM", "k")[1] == b"x" * 100000, "another body")


def refused(idem):
    try:
        idem.ping()
    except redis.exceptions.ConnectionError:
        return
    finally:
        idem.close()
    expect(False, "it was let in")


step("connect", lambda: expect(client(PORT).ping(), "no PONG"))
step("claim", claim)
step("stranger", lambda: refused(client(PORT, OTHER_CA)))
step("certificate",
     lambda: expect(client(ASKING_PORT, ssl_certfile=CERT, ssl_keyfile=KEY).ping(), "no PONG"))
step("without", lambda: refused(client(ASKING_PORT)))
