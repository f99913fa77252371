"""redis-py (python3-redis): every step, with execute_command and the client's own methods."""

import os
import sys
import threading

import redis

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from steps import (BINARY_BODY, BINARY_KEY, HOST, PORT, Failed, expect, restart, step,  # noqa: E402
                   until)

BODY, META = b'{"id":1}', b"201"


def connection(name):
    return redis.Redis(host=HOST, port=PORT, client_name=name, socket_timeout=120,
                       retry_on_error=[redis.ConnectionError],
                       retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 40))


first, second = connection("first"), connection("second")
call = first.execute_command


def name():
    expect(first.client_getname() == "first", "the name given at connect")
    expect(first.client_setname("other") is True, "CLIENT SETNAME")
    expect(first.client_getname() == "other", "CLIENT GETNAME")


def claim():
    reply = call("IDEM.CLAIM", "order-1", "FP", "fp-1", "OWNER", "call-1", "LEASE", 600000)
    expect(reply[0] == b"CLAIMED" and reply[2:] == [600000, 1, None], repr(reply))
    expect(isinstance(reply[1], int) and reply[1] > 0, repr(reply))
    return reply[1]


def duplicate(token):
    again = call("IDEM.CLAIM", "order-1", "FP", "fp-1", "OWNER", "call-1", "LEASE", 600000)
    expect(again == [b"CLAIMED", token, 600000, 1, None], f"a retry by its owner: {again!r}")
    reply = call("IDEM.CLAIM", "order-1", "FP", "fp-1", "OWNER", "call-2")
    expect(reply[0] == b"BUSY" and 0 < reply[1] <= 600000, repr(reply))
    expect(reply[3:] == [b"call-1", None], repr(reply))


def start_waiter(answers):
    def wait():
        try:
            answers.append(second.execute_command("IDEM.CLAIM", "order-1", "FP", "fp-1",
                                                  "WAIT", 50000))
        except redis.RedisError as error:
            answers.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: first.info("clients")["blocked_clients"] == 1, "a waiting connection")
    return thread


def replay():
    for reply in (call("IDEM.CLAIM", "order-1", "FP", "fp-1"), call("IDEM.FETCH", "order-1")):
        expect(reply[:3] == [b"DONE", BODY, META] and 0 < reply[4] <= 60000, repr(reply))


def waited(thread, answers):
    thread.join()
    expect(answers[0][:3] == [b"DONE", BODY, META], repr(answers))


def store(token):
    stored = call("IDEM.STORE", "order-1", token, BODY, "TTL", 60000, "META", META)
    expect(stored == 1, f"one waiting caller, not {stored!r}")


def binary():
    token = call("IDEM.CLAIM", BINARY_KEY)[1]
    expect(call("IDEM.STORE", BINARY_KEY, token, BINARY_BODY) == 0, "STORE")
    expect(call("IDEM.FETCH", BINARY_KEY)[1] == BINARY_BODY, "the body came back changed")
    expect(first.get(BINARY_KEY) == BINARY_BODY, "GET of the record")


def refused(code, *args):
    try:
        raise Failed(f"{code} expected, got {call(*args)!r}")
    except redis.ResponseError as error:
        expect(str(error).startswith(code), str(error))


def refusal(token):
    refused("MISMATCH", "IDEM.CLAIM", "order-1", "FP", "fp-2")
    refused("STALE", "IDEM.STORE", "order-1", token - 1, "x")
    refused("unknown command", "LPUSH", "a", "b")


def strings():
    expect(first.set("lock", "mine", nx=True, px=600000) is True, "SET NX PX")
    expect(first.set("lock", "yours", nx=True, px=600000) is None, "a second SET NX")
    expect(first.get("lock") == b"mine" and 0 < first.pttl("lock") <= 600000, "GET, PTTL")
    expect(first.delete("lock") == 1 and not first.exists("lock"), "DEL, EXISTS")


def transaction():
    got = first.pipeline(transaction=True).set("t", "1").get("t").delete("t").execute()
    expect(got == [True, b"1", 1], repr(got))


def pubsub():
    with second.pubsub(ignore_subscribe_messages=True) as listener:
        channel = "__idem__:order-2"
        listener.subscribe(channel)
        until(lambda: first.pubsub_numsub(channel) == [(channel.encode(), 1)], "a listener")
        token = call("IDEM.CLAIM", "order-2")[1]
        call("IDEM.STORE", "order-2", token, BODY)
        messages = []
        until(lambda: messages.append(listener.get_message(timeout=1)) or messages[-1],
              "a message")
        expect(messages[-1]["data"] == b"done", repr(messages))


def pipeline():
    batch = first.pipeline(transaction=False)
    for number in range(200):
        batch.execute_command("IDEM.CLAIM", f"many-{number}")
    claimed = batch.execute()
    tokens = [reply[1] for reply in claimed]
    expect(all(reply[0] == b"CLAIMED" for reply in claimed), repr(claimed[:3]))
    expect(tokens == sorted(set(tokens)), "tokens rise")
    for number, token in enumerate(tokens):
        batch.execute_command("IDEM.STORE", f"many-{number}", token, str(number))
    expect(batch.execute() == [0] * 200, "STORE in a pipeline")


def administration():
    """Commands of consoles and operators, parsed by the client's own parsers."""
    mine = [row for row in first.client_list() if row["name"] == "other"]
    expect(len(mine) == 1 and int(mine[0]["id"]) == first.client_id(), repr(mine))
    second.client_setname("second")
    victim = next(row for row in first.client_list() if row["name"] == "second")
    expect(first.client_kill_filter(_id=victim["id"]) == 1, "CLIENT KILL ID")
    expect(second.ping() and second.client_id() != int(victim["id"]), "it comes back as another")
    expect(first.client_pause(30) and first.client_unpause() and first.ping(), "CLIENT PAUSE")
    before = first.config_get("slowlog-log-slower-than")["slowlog-log-slower-than"]
    expect(first.config_set("slowlog-log-slower-than", 0), "CONFIG SET")
    call("IDEM.FETCH", "slow")
    slow = first.slowlog_get(10)
    expect(any(b"IDEM.FETCH slow" in entry["command"] for entry in slow), repr(slow[:3]))
    expect(first.config_set("slowlog-log-slower-than", before) and first.slowlog_reset(), "back")
    expect(first.slowlog_len() == 0 and call("LATENCY", "LATEST") == [], "SLOWLOG LEN, LATENCY")
    with second.monitor() as watcher:
        call("IDEM.FETCH", "watched")
        seen = watcher.next_command()["command"]
        expect(seen == "IDEM.FETCH watched", repr(seen))
    information = first.info("everything")
    expect(information["redis_version"] == "7.0.15" and information["role"] == "master" and
           information["db0"]["keys"] == first.dbsize() and
           information["cmdstat_claim"]["calls"] > 0, repr(information)[:1000])
    first.config_resetstat()
    expect("cmdstat_claim" not in first.info("commandstats"), "CONFIG RESETSTAT")
    expect(len(list(first.scan_iter("many-*"))) == 200, "SCAN")
    first.set("text", "x" * 100)
    expect(first.object("encoding", "text") in (b"raw", b"embstr", "raw", "embstr"), "OBJECT")
    expect(first.memory_usage("text") > 100 and first.type("order-1") == b"idem", "MEMORY, TYPE")
    expect(len(first.time()) == 2 and first.command_count() == len(first.command()), "COMMAND")


def reconnect(token):
    restart()
    reply = call("IDEM.CLAIM", "order-1")
    expect(reply[0] == b"CLAIMED" and reply[1] > token and reply[3] == 1, repr(reply))


step("connect", lambda: expect(first.ping() and second.ping(), "PING"))
step("name", name)
granted = step("claim", claim)
step("duplicate", duplicate, granted)
replies = []
waiter = start_waiter(replies)
step("store", store, granted)
step("wait", waited, waiter, replies)
step("replay", replay)
step("binary", binary)
step("refusal", refusal, granted)
step("null", lambda: expect(call("IDEM.FETCH", "nothing-here") is None, "FETCH of nothing"))
step("strings", strings)
step("transaction", transaction)
step("pubsub", pubsub)
step("pipeline", pipeline)
step("administration", administration)
step("reconnect", reconnect, granted)
