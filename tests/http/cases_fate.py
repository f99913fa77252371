"""What happens to a claim when its handler answers, raises, dies, hangs, or is overtaken."""
import signal

import harness
from cases import case, expect, expect_problem, expect_replay, record_key
from cases_answers import await_waiters
from world import new_key

LEASE_MS = 1_000  # of claims that a case lets lapse


@case("2xx, 3xx, 4xx: kept")
def what_is_not_an_error_of_the_server_is_kept(w):
    for status in (200, 202, 204, 302, 400, 402, 404, 410, 422):
        key = new_key()
        _, first = w.run(w.app(), key=key, answer={"status": status, "body": b"" if status == 204 else b"b"})
        expect(first.status, status, "the answer")
        expect_replay(w.app().send(key=key).reply(), first)


@case("401 408 409 423 425 429: shared, not kept", "waits")
def what_says_nothing_about_the_work_is_shared_and_not_kept(w):
    app = w.app(wait_ms=30_000)
    for status in (401, 408, 409, 423, 425, 429):
        key = new_key()
        exchange = app.send(key=key)
        execution = w.execution()
        waiting = app.send(key=key)
        await_waiters(w, key, 1)
        execution.answer(status)
        expect(exchange.reply().status, status, "the answer")
        reply = waiting.reply()
        expect((reply.status, reply.replayed), (status, True), "who waited")
        expect(w.run(app, key=key)[0].attempt, 1, f"after {status}")


@case("5xx: shared, evidence stays", "waits")
def a_5xx_is_shared_and_the_next_is_attempt_2(w):
    app, key = w.app(wait_ms=30_000), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    waiting = app.send(key=key)
    await_waiters(w, key, 1)
    execution.answer(503, b"no")
    expect(exchange.reply().status, 503, "the answer")
    expect_replay(waiting.reply(), type("First", (), {"status": 503, "body": b"no"}))
    expect(w.run(app, key=key)[0].attempt, 2, "the next one")


@case("5xx with hold: UNKNOWN")
def a_5xx_with_hold_is_unknown(w):
    app, key = w.app(hold=True), new_key()
    expect(w.run(app, key=key, answer={"status": 500})[1].status, 500, "the answer")
    expect_problem(app.send(key=key).reply(), 409, "outcome-unknown")


@case("raises: RELEASE UNSURE", "exceptions")
def after_an_exception_who_waits_runs_as_attempt_2(w):
    app, key = w.app(wait_ms=30_000), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    waiting = app.send(key=key)
    await_waiters(w, key, 1)
    execution.end("raise")
    second = w.execution()
    expect(second.attempt, 2, "who waited")
    second.answer()
    expect((exchange.reply().status, waiting.reply().status), (500, 201), "the answers")


@case("raises: evidence stays", peers=True)
def after_an_exception_a_retry_runs(w):
    key = new_key()
    exchange = w.app().send(key=key)
    w.execution().end("raise")
    expect(exchange.reply().status, 500, "the first")
    expect(w.run(w.app(), key=key)[1].status, 201, "the retry")


@case("The framework's own exceptions are answers")
def an_http_exception_is_an_answer(w):
    key = new_key()
    exchange = w.app().send(key=key)
    w.execution().end("raise_http", status=404)
    first = exchange.reply()
    expect(first.status, 404, "the answer")
    expect_replay(w.app().send(key=key).reply(), first)


@case("raises DidNothing: RELEASE", "exceptions")
def who_did_nothing_leaves_attempt_1(w):
    for status in (503, 402):
        key = new_key()
        exchange = w.app().send(key=key)
        w.execution().end("raise_did_nothing", status=status)
        expect_problem(exchange.reply(), status, "did-nothing", retry=status == 503)
        expect(w.run(w.app(), key=key)[0].attempt, 1, "the next one")


@case("did_nothing()")
def did_nothing_can_be_said_beside_an_answer(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    execution.ask("did_nothing")
    execution.answer(200, b"nothing")
    reply = exchange.reply()
    expect((reply.status, reply.body), (200, b"nothing"), "the answer")
    expect(w.run(w.app(), key=key)[0].attempt, 1, "the next one")


@case("RELEASE at attempt 2: evidence stays", "exceptions")
def did_nothing_at_attempt_2_leaves_attempt_2(w):
    key = new_key()
    exchange = w.app().send(key=key)
    w.execution().end("raise")
    exchange.reply()
    exchange = w.app().send(key=key)
    execution = w.execution()
    expect(execution.attempt, 2, "attempt")
    execution.end("raise_did_nothing", status=503)
    exchange.reply()
    expect(w.run(w.app(), key=key)[0].attempt, 2, "after it")


@case("keep(False), keep(ms) on the claim")
def a_handler_can_ask_for_less(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    execution.ask("keep", value=False)
    execution.answer()
    exchange.reply()
    exchange = w.app().send(key=key)
    execution = w.execution()
    expect(execution.attempt, 1, "after keep(False)")
    execution.ask("keep", value=60_000)
    execution.answer()
    first = exchange.reply()
    expect_replay(w.app().send(key=key).reply(), first)
    left = w.ask("FETCH", record_key(key))[4]
    if not 0 < left <= 60_000:
        raise AssertionError(f"{left} ms are left of 60,000")


@case("keep(False) beside a 5xx: evidence stays")
def a_5xx_that_is_not_kept_is_evidence_all_the_same(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    execution.ask("keep", value=False)
    execution.answer(500)
    exchange.reply()
    expect(w.run(w.app(), key=key)[0].attempt, 2, "the next one")


@case("Settings: keep")
def what_is_kept_can_be_a_function(w):
    app, key = w.app(keep="2xx"), new_key()
    w.run(app, key=key, answer={"status": 404})
    _, first = w.run(app, key=key, answer={"status": 200})
    expect_replay(app.send(key=key).reply(), first)


@case("Settings: ttl_ms")
def a_response_is_kept_for_ttl_ms(w):
    key = new_key()
    w.run(w.app(ttl_ms=5_000), key=key)
    left = w.ask("FETCH", record_key(key))[4]
    if not 0 < left <= 5_000:
        raise AssertionError(f"{left} ms are left of 5,000")
    key = new_key()
    w.run(w.app(), key=key)
    left = w.ask("FETCH", record_key(key))[4]
    if not 86_000_000 < left <= 86_400_000:
        raise AssertionError(f"{left} ms are left of a day")


@case("stage, set_stage")
def a_stage_is_left_to_the_next_attempt(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    expect(execution.claim["stage"], None, "of the first attempt")
    expect(execution.ask("stage", text="charged: ü")["claim"]["stage"], "charged: ü", "its own")
    said = execution.ask("stage", text="x" * 1025)
    if "error" not in said:
        raise AssertionError("a stage of 1025 bytes was taken")
    execution.end("raise")
    exchange.reply()
    expect(w.run(w.app(), key=key)[0].claim["stage"], "charged: ü", "of the second attempt")


# ---- leases ----

@case("The lease is renewed while the handler runs")
def work_may_take_longer_than_the_lease(w):
    app, key = w.app(lease_ms=600), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    token = execution.claim["token"]
    # Three renewals, seen by the lease growing again.
    for _ in range(3):
        record = record_key(key)
        harness.eventually(lambda: w.inspect(record)["lease-left-ms"] < 450, "the lease runs")
        harness.eventually(lambda: w.inspect(record)["lease-left-ms"] > 450, "the lease is renewed")
    expect_problem(app.send(key=key).reply(), 409, "in-progress", retry=True)
    expect(execution.ask("look")["claim"]["lost"], False, "lost")
    execution.answer()
    first = exchange.reply()
    expect_replay(app.send(key=key).reply(), first)
    expect(w.ask("FETCH", record_key(key))[0], b"DONE", "the record")
    expect(execution.claim["token"], token, "the token")


@case("A blocked event loop keeps its claims", "loop")
def a_blocked_loop_does_not_lose_its_claims(w):
    app, key = w.own_app(lease_ms=600), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    execution.order("block", ms=2_000)
    execution.answer()
    first = exchange.reply()
    expect(first.status, 201, "the answer")
    expect_replay(app.send(key=key).reply(), first)
    expect("NOT stored" in app.log() or "took over" in app.log(), False, "overtaken")


@case("renew_for_ms")
def what_hangs_is_not_renewed_for_ever(w):
    app, key = w.own_app(lease_ms=400, renew_for_ms=100), new_key()
    exchange = app.send(key=key)
    hanging = w.execution()
    record = record_key(key)
    harness.eventually(lambda: w.inspect(record)["state"] == b"LAPSED", "the lease ends")
    second = app.send(key=key)
    execution = w.execution()
    expect(execution.attempt, 2, "the next one")
    execution.answer(body=b"second")
    expect(second.reply().body, b"second", "its answer")
    hanging.answer(body=b"first")
    expect(exchange.reply().body, b"second", "one key, one answer")


@case("dies: attempt 2", peers=True)
def after_kill_9_the_other_process_runs_it(w):
    app, other, key = w.own_app(lease_ms=LEASE_MS), w.app(2, lease_ms=LEASE_MS), new_key()
    app.send(key=key)
    w.execution()
    app.kill()

    def answered():
        exchange = other.send(key=key)
        try:
            w.execution(0.5).answer()
        except AssertionError:
            pass
        return exchange.reply().status == 201
    harness.eventually(answered, "it runs again", 15)


@case("dies: attempt 2, not before the lease has ended")
def after_kill_9_it_is_attempt_2(w):
    app, other, key = w.own_app(lease_ms=LEASE_MS), w.app(2, lease_ms=LEASE_MS), new_key()
    app.send(key=key)
    w.execution()
    app.kill()
    expect_problem(other.send(key=key).reply(), 409, "in-progress", retry=True)
    harness.eventually(lambda: w.inspect(record_key(key))["state"] == b"LAPSED", "the lease ends")
    expect(w.run(other, key=key)[0].attempt, 2, "the next one")


@case("dies: who waits is granted", "waits")
def after_kill_9_who_waits_runs(w):
    settings = {"lease_ms": LEASE_MS, "wait_ms": 30_000}
    app, other, key = w.own_app(**settings), w.app(2, **settings), new_key()
    app.send(key=key)
    w.execution()
    waiting = other.send(key=key)
    await_waiters(w, key, 1)
    app.kill()
    execution = w.execution()
    expect(execution.attempt, 2, "who waited")
    execution.answer()
    expect(waiting.reply().status, 201, "its answer")


@case("dies: with hold UNKNOWN")
def after_kill_9_with_hold_nobody_runs_it(w):
    settings = {"lease_ms": LEASE_MS, "hold": True}
    app, other, key = w.own_app(**settings), w.app(2, **settings), new_key()
    app.send(key=key)
    w.execution()
    app.kill()
    harness.eventually(lambda: w.inspect(record_key(key))["state"] == b"UNKNOWN", "the lease ends")
    expect_problem(other.send(key=key).reply(), 409, "outcome-unknown")


@case("lost: a renewal learns that another took over")
def a_handler_can_see_that_it_is_lost(w):
    app, key = w.app(lease_ms=600), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    w.ask("DEL", record_key(key))
    theirs = w.ask("CLAIM", record_key(key))
    harness.eventually(lambda: execution.ask("look")["claim"]["lost"], "lost")
    w.ask("STORE", record_key(key), theirs[1], "theirs", "META", '[1,200,[["x-a","1"]]]')
    execution.answer(body=b"ours")
    reply = exchange.reply()
    expect((reply.status, reply.body, reply.first("X-A"), reply.replayed), (200, b"theirs", "1", True), "one answer")


@case("-STALE: BUSY, nothing")
def who_was_overtaken_by_one_that_runs_says_409(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    w.ask("DEL", record_key(key))
    w.ask("CLAIM", record_key(key))
    execution.answer()
    expect_problem(exchange.reply(), 409, "in-progress", retry=True)
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    w.ask("DEL", record_key(key))
    execution.answer(body=b"ours")
    expect(exchange.reply().body, b"ours", "nothing there: our own")


@case("A paused owner")
def a_paused_owner_gets_the_answer_of_who_took_over(w):
    app, other, key = w.own_app(lease_ms=LEASE_MS), w.app(2, lease_ms=LEASE_MS), new_key()
    exchange = app.send(key=key)
    paused = w.execution()
    app.signal(signal.SIGSTOP)
    harness.eventually(lambda: w.inspect(record_key(key))["state"] == b"LAPSED", "the lease ends")
    _, second = w.run(other, key=key, answer={"body": b"second"})
    app.signal(signal.SIGCONT)
    paused.answer(body=b"first")
    expect_replay(exchange.reply(), second)
    w.await_log(app, "not stored")


# ---- STORE fails ----

@case("STORE fails: the client gets its response; tried again in the background")
def what_could_not_be_stored_is_stored_later(w):
    import tempfile
    with tempfile.TemporaryDirectory(prefix="idem-http-") as directory:
        server = w.own_server("--dir", directory)
        app, key = w.own_app(server, timeout_ms=300, lease_ms=60_000), new_key()
        exchange = app.send(key=key)
        execution = w.execution()
        server.kill()
        execution.answer(body=b"done")
        first = exchange.reply()
        expect((first.status, first.body), (201, b"done"), "the work is done")
        w.await_log(app, "NOT stored")
        again = w.own_server("--dir", directory, "--port", server.address[1])
        harness.eventually(lambda: w.inspect(record_key(key), server=again)["state"] == b"DONE", "it is stored")
        expect_replay(app.send(key=key).reply(), first)
        again.kill()


@case("STORE fails: a server without a memory was restarted")
def after_a_restart_without_a_journal_the_client_gets_its_response(w):
    server = w.own_server()
    app, key = w.own_app(server), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    port = server.address[1]
    server.kill()
    w.own_server("--port", port)
    execution.answer(body=b"done")
    expect(exchange.reply().body, b"done", "its own")
    expect(w.run(app, key=key)[0].attempt, 1, "the next request runs")


@case("-TOOBIG: a record without the response")
def what_is_too_big_for_the_server_is_a_410(w):
    server = w.own_server("--body-limit", "1000")
    app, key = w.own_app(server), new_key()
    _, first = w.run(app, key=key, answer={"status": 202, "body": b"x" * 1001})
    expect((first.status, len(first.body)), (202, 1001), "the client gets it")
    reply = app.send(key=key).reply()
    expect_problem(reply, 410, "response-not-kept")
    expect(reply.json()["original_status"], 202, "original_status")


@case("A client that leaves while the handler runs ends nothing")
def a_client_that_leaves_changes_nothing(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    exchange.leave()
    # A request after it has been seen, so has its leaving.
    w.run(w.app(), key=new_key())
    execution.answer(body=b"done")
    harness.eventually(lambda: w.inspect(record_key(key))["state"] == b"DONE", "it is stored")
    reply = w.app().send(key=key).reply()
    expect((reply.body, reply.replayed), (b"done", True), "the retry")


@case("SIGTERM: what runs is finished and stored")
def at_the_end_of_a_process_what_runs_is_finished(w):
    app, other, key = w.own_app(), w.app(2), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    app.process.terminate()
    # It is on its way out: a renewal would still be seen, an answer is.
    harness.eventually(lambda: refuses(app), "accepts nothing new")
    execution.answer()
    first = exchange.reply()
    expect(first.status, 201, "the answer")
    expect_replay(other.send(key=key).reply(), first)
    expect(app.process.wait(30), 0, "the process ends")


def refuses(app):
    import socket
    try:
        socket.create_connection(("127.0.0.1", app.port), timeout=1).close()
        return False
    except OSError:
        return True
