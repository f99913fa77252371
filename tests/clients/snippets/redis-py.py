import os

import redis

key, call, answer = os.environ["KEY"], os.environ["CALL"], None


def work():
    print("ran")
    return b"the response"


# SNIPPET
print("answer", answer.decode() if answer else "(none)")
