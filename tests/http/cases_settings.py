"""Settings, events, logs."""
import hashlib
import re
import signal

import harness
from cases import case, expect, expect_problem, record_key
from world import new_key

WRONG = [{"no_such": 1}, {"wait_ms": -1}, {"wait_ms": 60_001}, {"wait_ms": "5"}, {"ttl_ms": 32 * 86_400_000},
         {"lease_ms": 0}, {"header": "a b"}, {"required": "yes"}, {"methods": "POST"}, {"scope": "no such function"},
         {"body_limit": -1}, {"on_event": 5}]


@case("A setting that is unknown or out of range is an error at start")
def wrong_settings_end_the_process_at_start(w):
    for settings in WRONG:
        status, log = w.failing_app(**settings)
        name, = settings
        camel = re.sub("_(.)", lambda found: found[1].upper(), name)
        if status == 0 or name not in log and camel not in log:
            raise AssertionError(f"{settings}: the process ended with {status} and said {log}")


@case("Settings: skip")
def requests_can_be_skipped(w):
    app, key = w.app(skip="header"), new_key()
    for _ in range(2):
        expect(w.run(app, key=key, headers=[("X-Skip", "1")])[0].claim, None, "skipped")
    expect(w.run(app, key=key)[0].attempt, 1, "not skipped")


def names(w, app_key, count):
    harness.eventually(lambda: len(w.control.events) >= count, f"{count} events of {w.control.events}")
    return sorted(name for name, _ in w.control.events)


@case("on_event: names and fields")
def events_tell_what_happened(w):
    app, key = w.own_app(on_event="control", hold=True), new_key()
    exchange = app.send(target="/work/a", key=key, body=b"1")
    execution = w.execution()
    app.send(target="/work/a", key=key, body=b"1").reply()
    execution.answer(202)
    exchange.reply()
    app.send(target="/work/a", key=key, body=b"1").reply()
    app.send(target="/work/a", key=key, body=b"2").reply()
    app.send(target="/work/a", key="").reply()
    expect(names(w, key, 6), ["claimed", "in_progress", "mismatch", "refused", "replayed", "stored"], "events")
    told = dict(w.control.events)
    for name, status in (("stored", 202), ("replayed", 202), ("in_progress", 409), ("mismatch", 422), ("refused", 400)):
        fields = told[name]
        expect(sorted(fields), ["attempt", "method", "ms", "path", "status"], f"fields of {name}")
        expect((fields["method"], fields["path"], fields["status"]), ("POST", "/work/a", status), name)
    expect(told["stored"]["attempt"], 1, "attempt")


@case("on_event: names")
def events_tell_how_claims_end(w):
    app = w.own_app(on_event="control")
    for what, expected in (
            (lambda e: e.answer(500), "shared"), (lambda e: e.answer(429), "shared"),
            (lambda e: e.end("raise_did_nothing", status=503), "released")):
        w.control.events.clear()
        exchange = app.send(key=new_key())
        what(w.execution())
        exchange.reply()
        expect(names(w, None, 2), sorted(["claimed", expected]), "events")
    w.control.events.clear()
    key = new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    w.ask("DEL", record_key(key))
    execution.answer()
    exchange.reply()
    expect(names(w, None, 2), ["claimed", "overtaken"], "events")
    w.control.events.clear()
    w.run(app, target="/tight/a", key=new_key(), answer={"body": b"x" * 1001})
    expect(names(w, None, 2), ["claimed", "not_kept"], "events")


@case("on_event: unsure", "exceptions")
def events_tell_of_exceptions(w):
    app = w.own_app(on_event="control")
    exchange = app.send(key=new_key())
    w.execution().end("raise")
    exchange.reply()
    expect(names(w, None, 2), ["claimed", "unsure"], "events")


@case("on_event: unknown, forgotten, lost, fail_open")
def events_tell_what_was_refused_and_lost(w):
    app, key = w.own_app(on_event="control", hold=True, born="callable", lease_ms=900), new_key()
    w.run(app, key=key, answer={"status": 500})
    app.send(key=key).reply()
    app.send(key=new_key(), headers=[("X-Birth", "1")]).reply()
    key = new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    w.ask("DEL", record_key(key))
    w.ask("CLAIM", record_key(key))
    harness.eventually(lambda: {"unknown", "forgotten", "lost"} <= set(dict(w.control.events)), "the events")
    execution.answer()
    exchange.reply()
    told = dict(w.control.events)
    expect((told["unknown"]["status"], told["forgotten"]["status"]), (409, 412), "status")
    app = w.own_app("redis://127.0.0.1:1", on_event="control", fail_open=True)
    w.run(app, key=new_key())
    harness.eventually(lambda: "fail_open" in dict(w.control.events), "fail_open")


@case("on_event: renewals, the server that is away")
def events_tell_of_a_server_that_is_away(w):
    server = w.own_server()
    app, key = w.own_app(server, on_event="control", lease_ms=900, timeout_ms=300), new_key()
    exchange = app.send(key=key)
    execution = w.execution()
    server.kill()
    harness.eventually(lambda: "renewal_failed" in dict(w.control.events), "renewal_failed")
    execution.answer()
    exchange.reply()
    app.send(key=new_key()).reply()
    harness.eventually(lambda: {"not_stored", "unavailable"} <= set(dict(w.control.events)), "the others")


@case("on_event: what it raises is ignored")
def an_event_that_raises_is_ignored(w):
    app, key = w.app(on_event="raise"), new_key()
    _, first = w.run(app, key=key)
    reply = app.send(key=key).reply()
    expect((first.status, reply.status, reply.replayed), (201, 201, True), "answers")


@case("Logs: no key, no fingerprint, no body, no header")
def logs_have_no_secrets(w):
    server = w.own_server()
    app = w.own_app(server, timeout_ms=300, lease_ms=900)
    key, body = "secretkey" + new_key(), b"secretbody" + new_key().encode()
    exchange = app.send(key=key, body=body, headers=[("Authorization", "Bearer secrettoken"), ("Cookie", "secretcookie")])
    execution = w.execution()
    server.process.send_signal(signal.SIGKILL)
    w.await_log(app, "renewed")
    execution.answer(headers=[("X-Secret", "secretheader")], body=b"secretanswer")
    exchange.reply()
    w.await_log(app, "NOT stored")
    expect_problem(app.send(key=key, body=body).reply(), 503, "unavailable", retry=True)
    w.await_log(app, "refused")
    log = app.log()
    if "secret" in log or record_key(key, scope=hashlib.sha256(b"Bearer secrettoken").hexdigest()) in log:
        raise AssertionError(f"a secret is in the log: {log}")
