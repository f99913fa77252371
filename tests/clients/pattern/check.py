"""A program as people write it for Redis: SET NX, SUBSCRIBE, GET, SET EX, PUBLISH, nothing of idem.

Written from the description in Flask-Idempotent's README: the first request with a key sets
IDEMPOTENT_<key>, processes, saves the response for 240 s and tells the others over pub/sub; a later
one fails to set it, waits for that message (60 s at most), reads the response and returns it. What
runs against Redis must run here, so this file must not use a command that Redis lacks.
"""

import json
import os
import sys
import threading
import time

import redis

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from steps import HOST, PORT, expect, step, until  # noqa: E402

TIMEOUT_S, EXPIRE_S = 60, 240
PROCESSING = b"PROCESSING"


class Idempotent:
    def __init__(self):
        self.redis = redis.Redis.from_url(f"redis://{HOST}:{PORT}/0")
        self.waits = 0

    def request(self, key, view):
        name = f"IDEMPOTENT_{key}"
        if self.redis.set(name, PROCESSING, nx=True, ex=TIMEOUT_S):
            response = view()
            pipe = self.redis.pipeline()
            pipe.set(name, json.dumps(response), ex=EXPIRE_S)
            pipe.publish(f"IDEMPOTENT_{key}", "complete")
            pipe.execute()
            return response
        return self.wait(name)

    def wait(self, name):
        with self.redis.pubsub(ignore_subscribe_messages=True) as listener:
            listener.subscribe(name)
            deadline = time.monotonic() + TIMEOUT_S
            while time.monotonic() < deadline:
                # Read after subscribing: it may have been stored in between.
                stored = self.redis.get(name)
                if stored is not None and stored != PROCESSING:
                    return json.loads(stored)
                self.waits += 1
                listener.get_message(timeout=1)
        raise TimeoutError("endpoint in use")


runs = []


def view(number, until_true=None):
    def run():
        runs.append(number)
        if until_true:
            until(until_true, "the duplicates")
        return {"order": number, "text": "ok\r\n\u20ac"}
    return run


def first():
    expect(Idempotent().request("a", view(1))["order"] == 1 and runs == [1], repr(runs))


def duplicate():
    expect(Idempotent().request("a", view(2)) == {"order": 1, "text": "ok\r\n\u20ac"}, "the replay")
    expect(runs == [1], "the view ran again")


def expiry():
    left = Idempotent().redis.ttl("IDEMPOTENT_a")
    expect(0 < left <= EXPIRE_S, f"{left} s left")
    short = Idempotent().redis
    expect(short.set("IDEMPOTENT_b", PROCESSING, nx=True, px=30), "SET NX PX")
    until(lambda: short.set("IDEMPOTENT_b", PROCESSING, nx=True, px=30), "the end of a lock")


def many(count=20):
    """Twenty at once: one runs the view, after all others have subscribed; all get its response."""
    counter, answers = Idempotent().redis, []

    def listening():
        return counter.pubsub_numsub("IDEMPOTENT_c")[0][1] == count - 1

    threads = [threading.Thread(target=lambda: answers.append(
        Idempotent().request("c", view(3, listening)))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    expect([answer["order"] for answer in answers] == [3] * count, repr(answers))
    expect(runs == [1, 3], repr(runs))


def late():
    """A request whose SUBSCRIBE comes after the message finds the response with GET."""
    program = Idempotent()
    expect(program.wait("IDEMPOTENT_c")["order"] == 3, "the stored response")
    expect(program.waits == 0, "it waited for a message that had gone")


for each in (first, duplicate, expiry, many, late):
    step(each.__name__, each)
