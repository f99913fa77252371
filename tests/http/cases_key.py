"""The key, whose it is, and what is compared."""
import hashlib

from cases import FORM, JSON, TEXT, case, expect, expect_problem, expect_replay, fingerprint, multipart, record_key
from world import new_key


@case("The key, 1: no header")
def without_a_key_it_runs_unguarded_each_time(w):
    for _ in range(2):
        execution, reply = w.run(w.app(), body=b"x")
        expect((execution.claim, reply.status, reply.replayed), (None, 201, False), "unguarded")


@case("The key, 1: required, per route")
def a_route_can_require_a_key(w):
    expect_problem(w.app().send(target="/required/a").reply(), 400, "key-missing")
    execution, reply = w.run(w.app(), target="/required/a", key=new_key())
    expect((execution.attempt, reply.status), (1, 201), "with a key")
    expect(w.run(w.app(), target="/work/a")[1].status, 201, "another route")


@case("The key, 1: required")
def a_key_can_be_required_everywhere(w):
    expect_problem(w.app(required=True).send().reply(), 400, "key-missing")


@case("The key, 2: several headers, a comma")
def several_key_headers_are_refused(w):
    key = new_key()
    for headers in ([("Idempotency-Key", key)] * 2, [("Idempotency-Key", key), ("Idempotency-Key", new_key())],
                    [("Idempotency-Key", f"{key}, {key}")], [("Idempotency-Key", f'"{key}", "b"')],
                    [("Idempotency-Key", f"{key},")]):
        expect_problem(w.app().send(headers=headers).reply(), 400, "key-malformed")


@case("The key, 4: empty, long, other bytes")
def malformed_keys_are_refused(w):
    for key in ("", "   ", '""', '"   "', "k" * 256, '"%s"' % ("k" * 256), "caf\xe9", '"open', 'a"b', '"a" b', "a b",
                '"a";', '"a";B=1', '"a\\b"'):
        reply = w.app().send(key=key).reply()
        try:
            expect_problem(reply, 400, "key-malformed")
        except AssertionError as error:
            raise AssertionError(f"key {key!r}: {error}") from None


@case("The key, 4: 255 characters, no minimum", peers=True)
def the_longest_and_the_shortest_key_are_taken(w):
    for key in ("k" * 223 + new_key(), new_key()[:4]):
        _, first = w.run(w.app(), key=key)
        expect_replay(w.app().send(key=key).reply(), first)


@case("The key, 3: quoted and bare")
def quoted_and_bare_are_one_key(w):
    key = new_key()
    _, first = w.run(w.app(), key=key)
    for same in (f'"{key}"', f'  "{key}"\t', f" {key} ", f'"{key}";version=1; a="b;c";q'):
        expect_replay(w.app().send(key=same).reply(), first)


@case("The key, 3: escapes")
def escapes_are_resolved(w):
    key = new_key()
    w.run(w.app(), key=f'"{key}\\"\\\\ ,;"')
    state = w.inspect(record_key(f'{key}"\\ ,;'))
    expect(state and state["state"], b"DONE", "the record")


@case("Settings: methods")
def other_methods_pass_unguarded(w):
    for method in ("PUT", "DELETE", "GET", "HEAD", "OPTIONS"):
        key = new_key()
        for _ in range(2):
            expect(w.run(w.app(), method=method, key=key)[0].claim, None, method)
    _, first = w.run(w.app(), method="PATCH", key=key)
    expect_replay(w.app().send(method="PATCH", key=key).reply(), first)


@case("Settings: methods; HEAD, GET, OPTIONS are never guarded")
def methods_can_be_added_but_not_safe_ones(w):
    app = w.app(methods=["PUT", "GET", "HEAD", "OPTIONS"])
    key = new_key()
    _, first = w.run(app, method="PUT", key=key)
    expect_replay(app.send(method="PUT", key=key).reply(), first)
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        expect(w.run(app, method=method, key=key)[0].claim, None, method)


@case("Settings: header, prefix")
def the_header_and_the_prefix_can_be_named(w):
    app, key = w.app(header="X-Idempotency-Key", prefix="shop"), new_key()
    execution, first = w.run(app, headers=[("x-idempotency-key", key)])
    expect(execution.attempt, 1, "attempt")
    expect_replay(app.send(headers=[("X-Idempotency-Key", key)]).reply(), first)
    expect(w.inspect(record_key(key, prefix="shop"))["state"], b"DONE", "the record")
    expect(w.run(app, key=key)[0].claim, None, "another header")


# ---- the record ----

@case("The key, 5; the fingerprint; what is stored")
def records_have_the_formats_that_all_adapters_share(w):
    key, body = new_key(), bytes(range(256))
    w.run(w.app(), target="/work/a%20b%C3%BC?x=1&y=%2F", key=key, body=body,
          answer={"status": 202, "headers": [("X-A", "1"), ("Content-Type", "text/x-a")], "body": b"\0\r\nall"})
    record = record_key(key, path="/work/a bü")
    found = w.ask("FETCH", record)
    expect(found and found[0], b"DONE", "the record")
    expect(found[1], b"\0\r\nall", "the body")
    meta = found[2].decode()
    if not meta.startswith('[1,202,[["') or '["x-a","1"]' not in meta or '["content-type","text/x-a"]' not in meta:
        raise AssertionError(f"META is {meta}")
    expect(w.inspect(record)["fingerprint"], fingerprint("POST", "/work/a bü", "x=1&y=%2F", [body]), "the fingerprint")


@case("The fingerprint: multipart")
def a_multipart_body_is_compared_piece_by_piece(w):
    key = new_key()
    kind, body = multipart(b"aaaa", [(b"a", b"1")], [(b"f", b"n", bytes(range(256)))])
    w.run(w.app(), key=key, headers=[("Content-Type", kind)], body=body)
    pieces = (b"\r\n" + body).split(b"\r\n--aaaa")
    expect(w.inspect(record_key(key))["fingerprint"], fingerprint("POST", "/work", "", pieces), "the fingerprint")


@case("The key, 5: the mount point", "mount")
def the_mount_point_is_a_part_of_the_path(w):
    key = new_key()
    w.run(w.app(), target="/mounted/work/a", key=key)
    expect(w.inspect(record_key(key, path="/mounted/work/a"))["state"], b"DONE", "the record")
    execution, _ = w.run(w.app(), target="/work/a", key=key)
    expect(execution.attempt, 1, "not mounted: another operation")


# ---- whose it is ----

@case("scope: what the framework authenticated")
def two_users_have_keys_of_their_own(w):
    key = new_key()
    _, alice = w.run(w.app(), key=key, headers=[("X-User", "alice")], answer={"body": b"alice's"})
    _, bob = w.run(w.app(), key=key, headers=[("X-User", "bob")], answer={"body": b"bob's"})
    expect_replay(w.app().send(key=key, headers=[("X-User", "alice")]).reply(), alice)
    expect_replay(w.app().send(key=key, headers=[("X-User", "bob")]).reply(), bob)
    _, nobody = w.run(w.app(), key=key)
    expect(nobody.replayed, False, "nobody's")
    for user in ("alice", "bob"):
        expect(w.inspect(record_key(key, scope=user))["state"], b"DONE", f"the record of {user}")


@case("scope: the Authorization header")
def another_authorization_is_another_caller(w):
    key = new_key()
    one, two = [("Authorization", "Bearer one")], [("Authorization", "Bearer two")]
    _, first = w.run(w.app(), key=key, headers=one)
    expect(w.run(w.app(), key=key, headers=two)[0].attempt, 1, "the other caller")
    expect_replay(w.app().send(key=key, headers=one).reply(), first)
    scope = hashlib.sha256(b"Bearer one").hexdigest()
    expect(w.inspect(record_key(key, scope=scope))["state"], b"DONE", "the record")


@case("scope: never a cookie, and a warning")
def cookies_are_no_callers_and_it_warns_once(w):
    app, key = w.own_app(), new_key()
    _, first = w.run(app, key=key, headers=[("Cookie", "session=1")])
    expect_replay(app.send(key=key, headers=[("Cookie", "session=2")]).reply(), first)
    w.run(app, key=new_key(), headers=[("Cookie", "session=2")])
    w.await_log(app, "scope")
    expect(sum("set scope" in line for line in app.log().splitlines()), 1, "warnings")


@case("Where it stands: a replay does not go round a login", peers=True)
def what_refuses_a_caller_runs_before_a_replay(w):
    key = new_key()
    w.run(w.app(), key=key)
    reply = w.app().send(key=key, headers=[("X-User", "mallory")]).reply()
    expect((reply.status, reply.replayed), (401, False), "mallory")


@case("scope: a function")
def the_scope_can_be_a_function(w):
    app, key = w.app(scope="tenant"), new_key()
    _, first = w.run(app, key=key, headers=[("X-Tenant", "a"), ("X-User", "alice")])
    expect_replay(app.send(key=key, headers=[("X-Tenant", "a"), ("X-User", "bob")]).reply(), first)
    expect(w.run(app, key=key, headers=[("X-Tenant", "b"), ("X-User", "alice")])[0].attempt, 1, "another tenant")
    execution, _ = w.run(app, key=key, headers=[("Authorization", "x")])
    expect(w.inspect(record_key(key))["token"], execution.claim["token"], "without a tenant")


# ---- what is compared ----

@case("MISMATCH: 422", peers=True)
def another_body_under_the_same_key_is_422(w):
    key = new_key()
    w.run(w.app(), key=key, body=b'{"amount": 5}', headers=[JSON])
    expect(w.app().send(key=key, body=b'{"amount": 6}', headers=[JSON]).reply().status, 422, "another amount")


@case("MISMATCH: the problem; query; raw bytes")
def another_query_or_another_spelling_is_422(w):
    key = new_key()
    w.run(w.app(), target="/work?a=1", key=key, body=b'{"a":1}', headers=[JSON])
    for target, body in (("/work?a=2", b'{"a":1}'), ("/work", b'{"a":1}'), ("/work?a=1", b'{"a": 1}'),
                         ("/work?a=1", b"")):
        reply = w.app().send(target=target, key=key, body=body, headers=[JSON]).reply()
        expect_problem(reply, 422, "key-reused")


@case("operation: method and path")
def another_path_or_method_is_another_operation(w):
    key = new_key()
    for method, target in (("POST", "/work/1/pay"), ("POST", "/work/2/pay"), ("PATCH", "/work/1/pay")):
        expect(w.run(w.app(), method=method, target=target, key=key)[0].attempt, 1, target)


@case("Settings: operation")
def the_operation_can_be_a_function(w):
    app, key = w.app(operation="fixed"), new_key()
    _, first = w.run(app, target="/work/v1", key=key)
    expect_replay(app.send(target="/work/v2", key=key).reply(), first)
    expect(w.inspect(record_key(key, path="/fixed"))["fingerprint"], fingerprint("POST", "/fixed", "", [b""]),
           "the fingerprint")


@case("The fingerprint: no headers")
def headers_are_not_compared(w):
    key = new_key()
    _, first = w.run(w.app(), key=key, body=b"x", headers=[TEXT, ("User-Agent", "a"), ("X-Trace", "1")])
    reply = w.app().send(key=key, body=b"x", headers=[JSON, ("User-Agent", "b"), ("X-Trace", "2")]).reply()
    expect_replay(reply, first)


@case("The fingerprint: chunked is the same", "chunked")
def chunked_is_the_same(w):
    from http_client import chunked
    key = new_key()
    execution, first = w.run(w.app(), key=key, body=b"abcdef")
    reply = w.app().send(key=key, body=chunked([b"abc", b"d", b"ef"]), length=False,
                         headers=[("Transfer-Encoding", "chunked")]).reply()
    expect_replay(reply, first)
    other = new_key()
    exchange = w.app().send(key=other, body=chunked([b"abc", b"def"]), length=False,
                            headers=[("Transfer-Encoding", "chunked")])
    execution = w.execution()
    expect(execution.body, b"abcdef", "what the handler gets")
    execution.answer()
    exchange.reply()


@case("The fingerprint: the boundary does not count", "multipart")
def a_new_boundary_is_the_same_form(w):
    key, content = new_key(), bytes(range(256)) * 40
    kind, body = multipart(b"firstboundary", [(b"a", b"1"), (b"a", b"2")], [(b"photo", b"cat.png", content)])
    exchange = w.app().send(key=key, headers=[("Content-Type", kind)], body=body)
    execution = w.execution()
    expect((execution.about["form"], execution.about["files"]),
           ({"a": ["1", "2"]}, {"photo": hashlib.sha256(content).hexdigest()}), "what the handler gets")
    execution.answer()
    first = exchange.reply()
    kind, body = multipart(b"anotherone", [(b"a", b"1"), (b"a", b"2")], [(b"photo", b"cat.png", content)])
    expect_replay(w.app().send(key=key, headers=[("Content-Type", kind)], body=body).reply(), first)
    kind, body = multipart(b"anotherone", [(b"a", b"1"), (b"a", b"2")], [(b"photo", b"cat.png", content[:-1] + b"!")])
    expect_problem(w.app().send(key=key, headers=[("Content-Type", kind)], body=body).reply(), 422, "key-reused")


@case("The body is given back whole", peers=True)
def a_form_reaches_the_handler(w):
    key = new_key()
    exchange = w.app().send(key=key, headers=[FORM], body=b"a=1&a=2&b=%C3%BC")
    execution = w.execution()
    expect(execution.about["form"], {"a": ["1", "2"], "b": ["ü"]}, "the form")
    execution.answer()
    first = exchange.reply()
    expect_replay(w.app().send(key=key, headers=[FORM], body=b"a=1&a=2&b=%C3%BC").reply(), first)
    expect(w.app().send(key=key, headers=[FORM], body=b"a=1&a=3&b=%C3%BC").reply().status, 422, "another form")


@case("The body is given back whole")
def a_large_body_reaches_the_handler(w):
    body = bytes(range(256)) * 8192
    exchange = w.app().send(key=new_key(), body=body, headers=[("Content-Type", "application/octet-stream")])
    execution = w.execution()
    expect(hashlib.sha256(execution.body).hexdigest(), hashlib.sha256(body).hexdigest(), "the body")
    execution.answer()
    expect(exchange.reply().status, 201, "the answer")


@case("What something outside has parsed is compared", "early")
def forms_and_json_that_were_parsed_before_are_compared(w):
    for kind, same, other in ((FORM, b"a=1&b=2", b"a=1&b=3"), (JSON, b'{"a":1}', b'{"a":2}')):
        key = new_key()
        exchange = w.app().send(target="/early/a", key=key, headers=[kind], body=same)
        execution = w.execution()
        if kind == FORM:
            expect(execution.about["form"], {"a": ["1"], "b": ["2"]}, "what the handler gets")
        execution.answer()
        first = exchange.reply()
        expect_replay(w.app().send(target="/early/a", key=key, headers=[kind], body=same).reply(), first)
        expect_problem(w.app().send(target="/early/a", key=key, headers=[kind], body=other).reply(), 422, "key-reused")


@case("What something outside has parsed is compared: multipart", "early-multipart")
def files_that_were_parsed_before_are_compared(w):
    key = new_key()

    def send(boundary, field=b"1", content=b"cat", name=b"cat.png"):
        kind, body = multipart(boundary, [(b"a", field)], [(b"photo", name, content)])
        return w.app().send(target="/early/a", key=key, headers=[("Content-Type", kind)], body=body)

    exchange = send(b"one")
    execution = w.execution()
    expect(execution.about["files"], {"photo": hashlib.sha256(b"cat").hexdigest()}, "what the handler gets")
    execution.answer()
    first = exchange.reply()
    expect_replay(send(b"two").reply(), first)
    for other in ({"field": b"2"}, {"content": b"dog"}, {"name": b"dog.png"}):
        expect_problem(send(b"two", **other).reply(), 422, "key-reused")


@case("request_limit: 413")
def a_request_over_the_limit_is_413(w):
    expect_problem(w.app().send(target="/tight/a", key=new_key(), body=b"x" * 2001).reply(), 413, "request-too-large")
    expect(w.run(w.app(), target="/tight/a", key=new_key(), body=b"x" * 2000)[1].status, 201, "at the limit")
    expect(w.run(w.app(), target="/tight/a", body=b"x" * 2001)[1].status, 201, "without a key")


@case("request_limit: 413, chunked", "chunked")
def a_chunked_request_over_the_limit_is_413(w):
    from http_client import chunked
    reply = w.app().send(target="/tight/a", key=new_key(), body=chunked([b"x" * 1500, b"x" * 501]), length=False,
                         headers=[("Transfer-Encoding", "chunked")]).reply()
    expect_problem(reply, 413, "request-too-large")
