"""What CLAIM answers: replays, problems, the server that is away, waiting."""
import signal
import time

import harness
from cases import case, expect, expect_problem, expect_replay, fingerprint, record_key
from world import new_key, now_ms


@case("DONE: replay", peers=True)
def a_retry_gets_status_and_body_and_does_not_run(w):
    key = new_key()
    _, first = w.run(w.app(), key=key, body=b"x", answer={"status": 201, "body": b"order 17\n"})
    expect((first.status, first.body, first.replayed), (201, b"order 17\n", False), "the first answer")
    for _ in range(2):
        reply = w.app().send(key=key, body=b"x").reply()
        expect((reply.status, reply.body), (201, b"order 17\n"), "the replay")


@case("DONE: replay with its headers", peers=True)
def a_retry_gets_location_etag_and_link(w):
    key = new_key()
    headers = [("Location", "/orders/17"), ("ETag", '"v1"'), ("Link", "</a>; rel=next"),
               ("X-Rate", "5"), ("Content-Type", "application/json")]
    _, first = w.run(w.app(), key=key, answer={"headers": headers, "body": b"{}"})
    reply = w.app().send(key=key).reply()
    for name, value in headers:
        expect(reply.all(name), [value], name)
    expect(first.first("Location"), "/orders/17", "of the first answer")


@case("DONE: Idempotent-Replayed; the other process")
def the_other_process_replays_too(w):
    key = new_key()
    _, first = w.run(w.app(1), key=key)
    expect_replay(w.app(2).send(key=key).reply(), first)


@case("BUSY: 409, Retry-After", peers=True)
def a_duplicate_while_it_runs_is_409(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    expect(w.app().send(key=key).reply().status, 409, "the duplicate")
    execution.answer()
    expect(exchange.reply().status, 201, "the first")


@case("BUSY: the problem, in both processes")
def a_duplicate_is_told_when_to_come_again(w):
    key = new_key()
    exchange = w.app(1).send(key=key)
    execution = w.execution()
    for number in (1, 2):
        expect_problem(w.app(number).send(key=key).reply(), 409, "in-progress", retry=True)
    execution.answer()
    first = exchange.reply()
    expect_replay(w.app(2).send(key=key).reply(), first)


@case("MISMATCH is judged before BUSY")
def another_request_is_422_while_the_first_runs(w):
    key = new_key()
    exchange = w.app().send(key=key, body=b"1")
    execution = w.execution()
    expect_problem(w.app().send(key=key, body=b"2").reply(), 422, "key-reused")
    execution.answer()
    exchange.reply()


@case("UNKNOWN: 409 without Retry-After")
def with_hold_nobody_runs_it_again(w):
    app, key = w.app(hold=True), new_key()
    exchange = app.send(key=key)
    w.execution().end("raise")
    expect(exchange.reply().status, 500, "the first")
    for _ in range(2):
        expect_problem(app.send(key=key).reply(), 409, "outcome-unknown")
    record = record_key(key)
    token = w.inspect(record)["token"]
    expect(w.ask("RELEASE", record, token, "CLEAR"), 1, "somebody has looked")
    expect(w.run(app, key=key)[0].attempt, 1, "then it runs")


@case("FORGOTTEN: 412, born from a header")
def what_the_server_may_have_forgotten_is_412(w):
    app = w.app(born="Repeatability-First-Sent")
    for value in (str(now_ms() - 3_600_000), "Sun, 06 Nov 1994 08:49:37 GMT"):
        reply = app.send(key=new_key(), headers=[("Repeatability-First-Sent", value)]).reply()
        expect_problem(reply, 412, "forgotten")
    expect(w.run(app, key=new_key())[0].attempt, 1, "without the header")
    reply = app.send(key=new_key(), headers=[("Repeatability-First-Sent", "yesterday")]).reply()
    expect_problem(reply, 400, "key-malformed")


def uuid7(ms):
    digits = f"{ms:012x}7abc8{new_key()[:15]}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


@case("FORGOTTEN: born from a UUIDv7 or a function; BORN ahead")
def the_birth_can_be_in_the_key_or_from_a_function(w):
    app = w.app(born="uuid7")
    expect_problem(app.send(key=uuid7(now_ms() - 3_600_000)).reply(), 412, "forgotten")
    expect_problem(app.send(key=uuid7(now_ms() + 3_600_000)).reply(), 400, "key-malformed")
    expect(w.run(app, key=new_key())[0].attempt, 1, "another key")
    app = w.app(born="callable")
    old = str(now_ms() - 3_600_000)
    expect_problem(app.send(key=new_key(), headers=[("X-Birth", old)]).reply(), 412, "forgotten")
    expect(w.run(w.app(), key=uuid7(now_ms() - 3_600_000))[0].attempt, 1, "off unless it is set")


@case("No answer: 503, nothing runs")
def without_the_server_nothing_runs(w):
    server = w.own_server()
    app = w.own_app(server)
    w.run(app, key=new_key())
    server.kill()
    started = time.monotonic()
    expect_problem(app.send(key=new_key()).reply(), 503, "unavailable", retry=True)
    expect(w.run(app)[0].claim, None, "without a key")
    print(f"    measured: 503 after {time.monotonic() - started:.2f} s")
    w.await_log(app, "refused")


@case("No answer: fail_open")
def with_fail_open_it_runs_unguarded(w):
    app = w.own_app("redis://127.0.0.1:1", fail_open=True)
    exchange = app.send(key=new_key(), body=b"whole")
    execution = w.execution()
    expect((execution.claim, execution.body), (None, b"whole"), "unguarded")
    execution.answer()
    expect(exchange.reply().status, 201, "the answer")


@case("No answer: a server that hangs; timeout_ms")
def a_server_that_hangs_is_given_up(w):
    server = w.own_server()
    app = w.own_app(server, timeout_ms=300)
    w.run(app, key=new_key())
    server.process.send_signal(signal.SIGSTOP)
    try:
        expect_problem(app.send(key=new_key()).reply(), 503, "unavailable", retry=True)
    finally:
        server.process.send_signal(signal.SIGCONT)


@case("Restart of the server")
def after_a_restart_of_the_server_it_goes_on(w):
    server = w.own_server()
    app = w.own_app(server)
    w.run(app, key=new_key())
    port = server.address[1]
    server.kill()
    w.own_server("--port", port)
    expect(w.run(app, key=new_key())[0].attempt, 1, "the next request")


@case("-DRAINING: 503")
def a_server_that_drains_grants_nothing(w):
    server = w.own_server()
    app = w.own_app(server)
    key = new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    server.process.send_signal(signal.SIGTERM)
    harness.eventually(lambda: "no new claims" in server.log(), "drains")
    expect_problem(app.send(key=new_key()).reply(), 503, "unavailable", retry=True)
    execution.answer()
    expect(exchange.reply().status, 201, "who has a claim stores")


@case("-NOAUTH: 503; user and password in the URL")
def without_the_password_nothing_runs(w):
    server = w.own_server(config="requirepass a-secret-of-thirty-two-characters\n")
    expect_problem(w.own_app(server).send(key=new_key()).reply(), 503, "unavailable", retry=True)
    url = "redis://:a-secret-of-thirty-two-characters@127.0.0.1:%d" % server.address[1]
    expect(w.run(w.own_app(url), key=new_key())[0].attempt, 1, "with it")


@case("A record of another version: 503")
def a_record_of_another_version_is_not_replayed(w):
    for meta in ("[2,200,[]]", '["200 OK",[]]', "no JSON", "[1,99,[]]", '[1,200,[["a\\r\\nb","c"]]]', "[1,200]"):
        key = new_key()
        claimed = w.ask("CLAIM", record_key(key), "FP", fingerprint("POST", "/work", "", [b""]))
        w.ask("STORE", record_key(key), claimed[1], "body", "META", meta)
        expect_problem(w.app().send(key=key).reply(), 503, "unavailable", retry=True)


@case("Problems: problem_base, docs_url")
def problems_can_have_a_base_and_documentation(w):
    app = w.app(problem_base="https://example.org/problems/", docs_url="https://example.org/idempotency")
    reply = app.send(target="/required/a").reply()
    expect(reply.problem, "https://example.org/problems/key-missing", "type")
    expect(reply.first("Link"), '<https://example.org/idempotency>; rel="describedby"', "Link")


# ---- waiting ----

@case("wait_ms", "waits")
def a_duplicate_waits_and_gets_the_first_response(w):
    key = new_key()
    exchange = w.app(1, wait_ms=30_000).send(key=key)
    execution = w.execution()
    waiting = [w.app(number, wait_ms=30_000).send(key=key) for number in (1, 2, 2)]
    await_waiters(w, key, 3)
    execution.answer(body=b"shared")
    first = exchange.reply()
    for each in waiting:
        expect_replay(each.reply(), first)


def await_waiters(w, key, count, **rest):
    harness.eventually(lambda: w.inspect(record_key(key, **rest))["waiters"] == count, f"{count} wait")


@case("wait_ms: 409 after it", "waits")
def who_has_waited_long_enough_gets_409(w):
    app, key = w.app(wait_ms=200), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    expect_problem(app.send(key=key).reply(), 409, "in-progress", retry=True)
    execution.answer()
    exchange.reply()


@case("max_waiting", "waits")
def no_more_wait_than_may(w):
    app, key = w.own_app(wait_ms=60_000, max_waiting=2), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    waiting = [app.send(key=key) for _ in range(2)]
    await_waiters(w, key, 2)
    expect_problem(app.send(key=key).reply(), 409, "in-progress", retry=True)
    execution.answer()
    first = exchange.reply()
    for each in waiting:
        expect_replay(each.reply(), first)
    exchange = app.send(key=new_key())
    w.execution().answer()
    exchange.reply()


@case("Promise 1: one execution; two processes")
def of_many_parallel_duplicates_one_runs(w):
    key = new_key()
    exchanges = [w.app(1 + number % 2, wait_ms=30_000).send(key=key, body=b"x") for number in range(60)]
    execution = w.execution()
    execution.answer(body=b"once")
    replies = [each.reply() for each in exchanges]
    expect({(reply.status, reply.body) for reply in replies}, {(201, b"once")}, "answers")
    expect(sum(not reply.replayed for reply in replies), 1, "executions")


@case("A client that leaves while it waits leaves the queue", "waits", "disconnect")
def a_client_that_leaves_while_it_waits_is_never_granted(w):
    app, key = w.app(wait_ms=60_000), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    waiting = app.send(key=key)
    await_waiters(w, key, 1)
    waiting.leave()
    await_waiters(w, key, 0)
    execution.end("raise")
    exchange.reply()
    expect(w.run(app, key=key)[0].attempt, 2, "the next one")


@case("A client that leaves while it waits: others stay", "waits", "disconnect")
def the_others_that_wait_stay(w):
    app, key = w.app(wait_ms=60_000), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    leaving, staying = app.send(key=key), app.send(key=key)
    await_waiters(w, key, 2)
    leaving.leave()
    await_waiters(w, key, 1)
    execution.answer()
    expect_replay(staying.reply(), exchange.reply())
