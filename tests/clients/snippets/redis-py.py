import os
import sys
import uuid

import redis


def work():
    if os.environ["WORK"] == "nothing":
        raise DidNothing("the bank is closed")
    print("ran")
    if os.environ["WORK"] == "timeout":
        raise TimeoutError("the answer timed out")
    return b"the response"


# SNIPPET
try:
    got = once(os.environ["KEY"], work, born=os.environ.get("BORN"), hold="HOLD" in os.environ)
    print("answer", got.decode() if got else "(none)")
except Forgotten:
    print("forgotten")
except (DidNothing, TimeoutError):
    print("failed")
    sys.exit(1)
