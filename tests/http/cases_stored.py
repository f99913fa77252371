"""What is stored of a response, and how it is sent."""
import os
import tempfile

import harness
from cases import TEXT, case, expect, expect_problem, expect_replay, record_key
from http_client import Cut
from world import new_key

NEVER = [("Set-Cookie", "session=secret"), ("WWW-Authenticate", "Basic"), ("Proxy-Authenticate", "Basic"),
         ("Authentication-Info", "x"), ("Authorization", "Bearer x"), ("Age", "5"), ("Via", "1.1 x"),
         ("Alt-Svc", "h2"), ("Keep-Alive", "timeout=5"), ("X-Request-Id", "1"), ("X-Correlation-Id", "1"),
         ("Server-Timing", "a"), ("Access-Control-Allow-Credentials", "true"), ("Clear-Site-Data", '"cookies"'),
         ("Proxy-Authorization", "Basic x"), ("Idempotent-Replayed", "false")]


@case("Not stored: cookies, what authenticates, what is of one exchange")
def some_headers_go_to_the_first_client_only(w):
    key = new_key()
    headers = [*NEVER, ("X-Kept", "1"), ("Cache-Control", "no-store")]
    _, first = w.run(w.app(), key=key, answer={"headers": headers})
    if not (first.first("Set-Cookie") or "").startswith("session=secret"):
        raise AssertionError(f"the first client lacks its cookie: {first}")
    meta = w.ask("FETCH", record_key(key))[2].decode().lower()
    for name, _ in NEVER:
        if f'"{name.lower()}"' in meta:
            raise AssertionError(f"{name} is stored")
    for name in ("date", "server", "connection", "content-length", "transfer-encoding"):
        if f'["{name}"' in meta:
            raise AssertionError(f"{name} is stored")
    reply = w.app().send(key=key).reply()
    expect((reply.first("Set-Cookie"), reply.first("X-Kept"), reply.first("Cache-Control")), (None, "1", "no-store"),
           "the replay")


@case("Not stored: what Connection names; drop_headers")
def named_headers_are_not_stored(w):
    app, key = w.app(drop_headers=["X-Csrf-Token"]), new_key()
    w.run(app, key=key, answer={"headers": [("Connection", "X-Hop"), ("X-Hop", "1"), ("X-CSRF-Token", "1"),
                                            ("X-Kept", "1")]})
    reply = app.send(key=key).reply()
    expect((reply.first("X-CSRF-Token"), reply.first("X-Hop"), reply.first("X-Kept")), (None, None, "1"), "the replay")


@case("Repeated headers are repeated")
def repeated_headers_come_back(w):
    key = new_key()
    _, first = w.run(w.app(), key=key, answer={"headers": [("Link", "</1>"), ("Link", "</2>"), ("X-L1", "caf\xe9")]})
    reply = w.app().send(key=key).reply()
    expect(reply.all("Link"), first.all("Link"), "Link")
    expect(reply.first("X-L1"), "caf\xe9", "latin-1")


@case("Outside: CORS, what outer middleware has set", peers=True)
def what_stands_outside_is_of_this_exchange(w):
    key = new_key()
    _, first = w.run(w.app(), key=key, headers=[("Origin", "https://one.example")])
    reply = w.app().send(key=key, headers=[("Origin", "https://two.example")]).reply()
    expect(reply.all("Access-Control-Allow-Origin"), ["https://two.example"], "its own origin, once")
    expect(len(reply.all("X-Outer")), 1, "headers X-Outer")
    if reply.first("X-Outer") == first.first("X-Outer"):
        raise AssertionError("the outer header of the first response came back")


@case("204: no body, no Content-Length, no Content-Type that was not there")
def a_204_stays_a_204(w):
    for status in (204, 205):
        key = new_key()
        _, first = w.run(w.app(), key=key, answer={"status": status, "body": b"", "headers": [("X-A", "1")]})
        reply = w.app().send(key=key).reply()
        expect((reply.status, reply.body, reply.first("X-A")), (status, b"", "1"), "the replay")
        expect(reply.first("Content-Type"), first.first("Content-Type"), "Content-Type")
        if status == 204:
            expect(reply.first("Content-Length"), None, "Content-Length")


@case("No Content-Type that was not there; bytes as they are")
def bytes_come_back_as_they_were(w):
    body = bytes(range(256)) * 16
    key = new_key()
    headers = [("Content-Type", "application/octet-stream"), ("Content-Encoding", "x-own"), ("Vary", "Accept")]
    _, first = w.run(w.app(), key=key, answer={"headers": headers, "body": body})
    reply = w.app().send(key=key).reply()
    expect_replay(reply, first)
    expect((reply.body, reply.first("Content-Length")), (body, str(len(body))), "bytes")
    expect((reply.first("Content-Encoding"), reply.first("Vary")), ("x-own", first.first("Vary")), "encoding")


@case("Content-Length is made anew")
def a_wrong_length_is_not_repeated(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    execution.order("stream", status=200, headers=[])
    execution.piece(b"ab")
    execution.piece(b"cd")
    execution.end("end")
    first = exchange.reply()
    expect(first.body, b"abcd", "the first")
    reply = w.app().send(key=key).reply()
    expect((reply.body, reply.first("Content-Length")), (b"abcd", "4"), "the replay")


# ---- streams ----

@case("Store, then send", "flush")
def nobody_has_an_answer_before_it_is_stored(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    execution.order("stream", status=200, headers=[TEXT])
    for _ in range(3):
        execution.piece(b"piece ")
    w.run(w.app(), key=new_key())  # came later, and has its answer
    expect(exchange.silent(), True, "nothing is sent yet")
    execution.end("end")
    first = exchange.reply()
    expect(first.body, b"piece piece piece ", "the whole")
    expect_replay(w.app().send(key=key).reply(), first)


@case("A generator that fails while it is held: a clean 500", "exceptions")
def a_stream_that_fails_early_is_a_500(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    execution.order("stream", status=200, headers=[TEXT])
    execution.piece(b"half")
    execution.end("fail")
    reply = exchange.reply()
    expect((reply.status, b"half" in reply.body), (500, False), "the answer")
    expect(w.run(w.app(), key=key)[0].attempt, 2, "the next one")


@case("Over body_limit: it flows, and is not kept")
def a_long_response_is_sent_and_not_kept(w):
    key = new_key()
    exchange = w.app().send(target="/tight/a", key=key)
    execution = w.execution()
    execution.order("stream", status=203, headers=[TEXT])
    execution.piece(b"x" * 900)
    execution.piece(b"y" * 900)
    if "flush" in w.features:
        exchange.receives(b"x" * 900)
    execution.piece(b"z" * 5)
    execution.end("end")
    reply = exchange.reply()
    expect((reply.status, reply.body), (203, b"x" * 900 + b"y" * 900 + b"z" * 5), "the client gets it")
    harness.eventually(lambda: w.inspect(record_key(key, path="/tight/a"))["state"] == b"DONE", "its end is stored")
    reply = w.app().send(target="/tight/a", key=key).reply()
    expect_problem(reply, 410, "response-not-kept")
    expect(reply.json()["original_status"], 203, "original_status")


@case("body_limit, per route")
def the_limit_is_that_of_the_route(w):
    for size, status in ((1000, 201), (1001, 410)):
        key = new_key()
        _, first = w.run(w.app(), target="/tight/a", key=key, answer={"body": b"x" * size})
        expect(len(first.body), size, "the first")
        # Of a response that flows the last bytes may come before its end is stored.
        record = record_key(key, path="/tight/a")
        harness.eventually(lambda: w.inspect(record)["state"] == b"DONE", "its end is stored")
        expect(w.app().send(target="/tight/a", key=key).reply().status, status, f"{size} bytes")
    key = new_key()
    w.run(w.app(), key=key, answer={"body": b"x" * 2_000_000})
    harness.eventually(lambda: w.inspect(record_key(key))["state"] == b"DONE", "its end is stored")
    expect(w.app().send(key=key).reply().status, 410, "over 1 MiB")


@case("text/event-stream flows", "flush")
def events_are_sent_as_they_come(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    execution.order("stream", status=200, headers=[("Content-Type", "text/event-stream; charset=utf-8")])
    execution.piece(b"data: 1\n\n")
    exchange.receives(b"data: 1\n\n")
    expect_problem(w.app().send(key=key).reply(), 409, "in-progress", retry=True)
    execution.piece(b"data: 2\n\n")
    execution.end("end")
    expect(exchange.reply().body, b"data: 1\n\ndata: 2\n\n", "the events")
    harness.eventually(lambda: w.inspect(record_key(key))["state"] == b"DONE", "its end is stored")
    expect_problem(w.app().send(key=key).reply(), 410, "response-not-kept")


@case("A generator that fails when it flows: cut, RELEASE UNSURE", "exceptions")
def a_stream_that_fails_late_is_cut(w):
    key = new_key()
    exchange = w.app().send(target="/tight/a", key=key)
    execution = w.execution()
    execution.order("stream", status=200, headers=[TEXT])
    execution.piece(b"x" * 1500)
    execution.end("fail")
    try:
        reply = exchange.reply()
        if reply.first("Transfer-Encoding") is not None or reply.first("Content-Length") is not None:
            raise AssertionError(f"it looks whole: {reply}")
    except Cut:
        pass
    harness.eventually(lambda: w.inspect(record_key(key, path="/tight/a"))["state"] == b"LAPSED", "it is released")
    expect(w.run(w.app(), target="/tight/a", key=key)[0].attempt, 2, "the next one")


def leave_a_long_response(w, end):
    """A client leaves in the middle of a response that is too long to be kept; its handler goes on to this end. The key of
    the request and that of its record."""
    key = new_key()
    exchange = w.app().send(target="/tight/a", key=key)
    execution = w.execution()
    execution.order("stream", status=200, headers=[TEXT])
    execution.piece(b"x" * 1500)
    if "flush" in w.features:
        exchange.receives(b"xxx")
    exchange.leave()
    for _ in range(50):
        execution.piece(b"y" * 10_000)
    execution.end(end)
    record = record_key(key, path="/tight/a")
    return key, record


@case("A client that leaves in the middle of a long response")
def a_long_response_goes_on_without_its_client(w):
    key, record = leave_a_long_response(w, "end")
    harness.eventually(lambda: w.inspect(record)["state"] == b"DONE", "its end is stored")
    expect_problem(w.app().send(target="/tight/a", key=key).reply(), 410, "response-not-kept")


@case("A client that leaves in the middle of a long response: the rest is produced", "exceptions")
def a_long_response_that_fails_without_its_client_is_unsure(w):
    _, record = leave_a_long_response(w, "fail")
    harness.eventually(lambda: w.inspect(record)["state"] == b"LAPSED", "it is released")


@case("Files")
def a_file_is_stored(w):
    with tempfile.TemporaryDirectory(prefix="idem-http-") as directory:
        path = os.path.join(directory, "file.bin")
        with open(path, "wb") as file:
            file.write(bytes(range(256)) * 100)
        key = new_key()
        exchange = w.app().send(key=key)
        w.execution().end("file", path=path, status=200, headers=[("X-A", "1")])
        first = exchange.reply()
        expect((first.status, first.body), (200, bytes(range(256)) * 100), "the first")
    reply = w.app().send(key=key).reply()
    expect_replay(reply, first)
    expect(reply.first("X-A"), "1", "its headers")


@case("Files: over body_limit")
def a_long_file_is_sent_and_not_kept(w):
    with tempfile.TemporaryDirectory(prefix="idem-http-") as directory:
        path = os.path.join(directory, "file.bin")
        with open(path, "wb") as file:
            file.write(bytes(range(256)) * 10_000)
        key = new_key()
        exchange = w.app().send(key=key)
        w.execution().end("file", path=path, status=200, headers=[])
        expect(len(exchange.reply().body), 2_560_000, "the first")
        harness.eventually(lambda: w.inspect(record_key(key))["state"] == b"DONE", "its end is stored")
    expect_problem(w.app().send(key=key).reply(), 410, "response-not-kept")


@case("X-Accel-Redirect, X-Sendfile are headers like others")
def redirects_of_a_proxy_come_back(w):
    key = new_key()
    _, first = w.run(w.app(), key=key, answer={"headers": [("X-Accel-Redirect", "/files/1")]})
    expect(w.app().send(key=key).reply().first("X-Accel-Redirect"), "/files/1", "the replay")


@case("1xx passes, is not stored", "hints")
def early_hints_pass_and_are_not_stored(w):
    key = new_key()
    exchange = w.app().send(key=key)
    execution = w.execution()
    execution.ask("hints")
    execution.answer()
    first = exchange.reply()
    expect([status for status, _ in first.informational], [103], "the hints")
    reply = w.app().send(key=key).reply()
    expect_replay(reply, first)
    expect(reply.informational, [], "of the replay")


@case("Trailers are not stored", "trailers")
def trailers_are_not_stored(w):
    key = new_key()
    exchange = w.app().send(key=key)
    w.execution().answer(trailers=[("X-Trailer", "1")], headers=[("Trailer", "X-Trailer")])
    first = exchange.reply()
    expect(first.body, b"done", "the first")
    reply = w.app().send(key=key).reply()
    expect_replay(reply, first)
    expect(reply.first("Trailer"), None, "the replay")
