"""The HTTP examples in C with a real idem-server: duplicates, other requests, kill -9, no server."""

import contextlib
import os
import re
import signal
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import Client, Server, eventually, patience
from kept import KEPT, LONG_AGO, NEVER_STORED, NOT_KEPT, STORED, UNBORN
from keys import MALFORMED, SPELLINGS, TWICE
from support import PATIENCE_SECONDS, Case, ask

DUPLICATES = 20
WORK_MS = 400  # mostly long enough for every duplicate to arrive while the first one runs
LONG_MS = 600_000  # work that is cut short by a kill


class WebCase(Case):
    name = None

    def setUp(self):
        super().setUp()
        self.server = self.start()

    def serve(self, *options, server=None):
        return self.service(self.name, server or self.server, *options)

    def in_parallel(self, request, count=DUPLICATES):
        with ThreadPoolExecutor(count) as pool:
            return [future.result() for future in [pool.submit(request) for _ in range(count)]]

    def touch_ledger(self):
        with open(self.ledger, "w", encoding="ascii"):
            pass

    def assert_one_run_that_all_heard(self, answers, status):
        self.assertEqual(len(self.await_ledger("end")), 1)
        self.assertEqual(sum(not answer.replayed for answer in answers), 1)
        for answer in answers:
            self.assertEqual(answer.essence, answers[0].essence)
        self.assertEqual(answers[0].status, status)


class Http(WebCase):
    name = "http"

    def pay(self, service, key, amount=5, **headers):
        given = {**headers, **({"Idempotency-Key": key} if key is not None else {})}
        return ask(service.port, "POST", "/payments", b'{"amount": %d}' % amount, given)

    def test_what_the_draft_asks_for(self):
        service = self.serve()
        first = self.pay(service, '"8e03978e"')
        self.assertEqual((first.status, first.replayed), (201, False))
        self.assertIn("location", first.headers)
        again = self.pay(service, '"8e03978e"')
        self.assertTrue(again.replayed)
        self.assertEqual(again.essence, first.essence)
        self.assertEqual(self.pay(service, "8e03978e").essence, first.essence, "as Stripe sends it")
        self.assertEqual(self.pay(service, '"8e03978e"', 6).status, 422)
        another = self.pay(service, '"8e03978e"', **{"X-Account": "2"})
        self.assertNotEqual(another.body, first.body, "an account of its own")
        self.stop_service(service)

    def test_bad_requests_claim_nothing(self):
        service = self.serve()
        for key in (None, '""', '"a', 'a b', '"a" "b"', '"%s"' % ("x" * 256), '"\u00e4"'):
            self.assertEqual(self.pay(service, key).status, 400, key)
        for body in (b"", b"{}", b'{"amount": "5"}', b'{"amount": 5} x', b'{"amount": 5}\0', b"[5]"):
            self.assertEqual(ask(service.port, "POST", "/payments", body,
                                 {"Idempotency-Key": '"bad"'}).status, 400, body)
        self.assertEqual(self.pay(service, '"bad"').status, 201)
        self.assertEqual(ask(service.port, "GET", "/payments").status, 405)
        self.assertEqual(ask(service.port, "POST", "/else").status, 404)
        self.assertEqual(ask(service.port, "POST", "/payments", b"x" * (1024 * 1024 + 1),
                             {"Idempotency-Key": '"big"'}).status, 413)
        self.assertEqual(len(self.ledger_lines()), 2)
        self.stop_service(service)

    def test_duplicates_get_409_while_the_first_one_runs(self):
        for work_ms in patience(WORK_MS):
            services = [self.serve("--work-ms", work_ms) for _ in range(2)]
            turn = iter(range(DUPLICATES))
            key = f'"{work_ms}"'
            answers = self.in_parallel(lambda: self.pay(services[next(turn) % 2], key))
            self.assertEqual([a.status for a in answers if not a.replayed and a.status != 409], [201])
            self.assertLessEqual({answer.status for answer in answers}, {201, 409})
            for answer in answers:
                self.assertEqual("retry-after" in answer.headers, answer.status == 409)
            if not any(answer.replayed for answer in answers):  # which came too late for a 409
                break
            self.touch_ledger()
        self.assertEqual(len(self.await_ledger("end")), 1)
        first = next(answer for answer in answers if answer.status == 201)
        for service in services:
            again = self.pay(service, key)
            self.assertEqual((again.replayed, again.essence), (True, first.essence))
        self.stop_service(services[0])

    def test_kill_9_in_the_middle_of_a_payment(self):
        for lease_ms in patience(1000):
            self.touch_ledger()
            lease, key = ["--lease-ms", lease_ms, "--hold", 0], f'"{lease_ms}"'
            victim = self.serve("--work-ms", LONG_MS, *lease)
            heir = self.serve(*lease)
            with ThreadPoolExecutor(1) as pool:
                lost = pool.submit(self.pay, victim, key)
                self.await_ledger("begin payment")
                self.end(victim)
                self.assertIsNotNone(lost.exception(PATIENCE_SECONDS))
            first = self.pay(heir, key)
            answer = first if first.status != 409 else eventually(
                lambda: (lambda got: got.status != 409 and got)(self.pay(heir, key)),
                "the end of the lease", 2 * lease_ms / 1000 + PATIENCE_SECONDS)
            self.assertEqual((answer.status, answer.replayed), (201, False))
            if first.status == 409:  # until the lease had expired
                break
        tokens = [int(re.search(r"token=(\d+)", line).group(1)) for line in self.ledger_lines()]
        self.assertIn("attempt=2", self.ledger_lines()[-1])
        self.assertLess(tokens[0], tokens[-1], "what it writes to can tell the late one")

    def test_no_answer_from_idem_is_no_payment(self):
        server = Server()
        service = self.serve(server=server)
        locked = self.start(config="requirepass secret\n")
        refused = self.serve(server=locked)
        server.kill()
        server.forget()
        answer = self.pay(service, '"k"')
        self.assertEqual(answer.status, 503)
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        self.assertEqual(self.pay(refused, '"k"').status, 502)
        self.assertEqual(self.ledger_lines(), [])


class Forms(WebCase):
    def order(self, service, key, item="<b>&tea"):
        quoted = item.replace("&", "%26").replace("<", "%3C")
        body = f"item={quoted}&__idempotent_key={key}".encode()
        return ask(service.port, "POST", "/order", body,
                   {"Content-Type": "application/x-www-form-urlencoded"})

    def test_double_submit_is_one_order(self):
        self.name = "form_double_submit"
        service = self.serve("--work-ms", WORK_MS)
        page = ask(service.port, "GET", "/").body.decode()
        key = re.search(r'name="__idempotent_key" value="(\w{32})"', page).group(1)
        answers = self.in_parallel(lambda: self.order(service, key))
        self.assert_one_run_that_all_heard(answers, 201)
        self.assertIn(b"placed: &lt;b&gt;&amp;tea\n", answers[0].body)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        by_argument = ask(service.port, "POST", f"/order?__idempotent_key={key}",
                          b"item=%3Cb>%26tea", form)
        by_header = ask(service.port, "POST", "/order", b"item=%3Cb>%26tea",
                        {**form, "X-Idempotent-Key": key})
        self.assertEqual(by_argument.essence, answers[0].essence)
        self.assertEqual(by_header.essence, answers[0].essence)
        self.assertEqual(self.order(service, "x" * 300).status, 400)
        for _ in range(2):  # without a key nothing is guarded
            self.assertFalse(ask(service.port, "POST", "/order").replayed)
        self.assertEqual(len(self.ledger_lines()), 6)
        self.stop_service(service)

    def test_the_impatient_get_a_clean_408(self):
        self.name = "form_wait_408"
        for work_ms in patience(800):
            self.touch_ledger()
            service = self.serve("--work-ms", work_ms, "--wait-ms", 100)
            with ThreadPoolExecutor(1) as pool:
                first = pool.submit(self.order, service, work_ms)
                self.await_ledger("begin")
                late = self.order(service, work_ms)
                self.assertEqual(first.result().status, 201)
            if not late.replayed:  # it came while the first one ran
                break
        self.assertEqual(late.status, 408)
        self.assertIn("retry-after", late.headers)
        self.assertIn(b"Still working", late.body)
        again = self.order(service, work_ms)
        self.assertEqual((again.replayed, again.essence), (True, first.result().essence))
        self.assertEqual(len(self.ledger_lines()), 2)
        self.stop_service(service)


class Guard(WebCase):
    name = "guard_409"

    def in_time(self, method, work_ms):
        """Sends four requests at once while the lease is renewed. False: one of them came too late, or
        the machine was too slow for the lease."""
        self.touch_ledger()
        service = self.serve("--work-ms", work_ms, "--lease-ms", work_ms * 3 // 8)
        key = {"Idempotency-Key": f'"{method}{work_ms}"'}
        answers = self.in_parallel(lambda: ask(service.port, method, "/items/7", b"x", key), 4)
        self.assertLessEqual({answer.status for answer in answers}, {200, 409})
        again = ask(service.port, method, "/items/7", b"x", key)
        self.assertTrue(again.replayed)
        self.assertRegex(again.body, rb'"fencing_token": [1-9]\d+')
        self.assertEqual(ask(service.port, method, "/items/7", b"y", key).status, 422)
        self.assertEqual(ask(service.port, method, "/items/8", b"x", key).status, 422)
        self.stop_service(service)
        return (sorted(answer.status for answer in answers) == [200, 409, 409, 409]
                and len(self.ledger_lines()) == 2)

    def test_guards_unsafe_methods(self):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for work_ms in patience(WORK_MS):
                if self.in_time(method, work_ms):
                    break

    def test_a_bad_key(self):
        service = self.serve()
        self.assertEqual(ask(service.port, "PUT", "/items/7", b"", {"Idempotency-Key": '"'}).status, 400)

    def test_other_requests_are_not_guarded(self):
        service = self.serve()
        key = {"Idempotency-Key": '"k"'}
        self.assertEqual(ask(service.port, "PUT", "/items/7", b"", key).status, 200)
        self.assertEqual(ask(service.port, "GET", "/items/7", b"", key).body, b'{"item": "7"}\n')
        bodies = {ask(service.port, "PUT", "/items/7").body for _ in range(3)}
        self.assertEqual(len(bodies), 3)
        self.stop_service(service)


class Json(WebCase):
    name = "json_idempotency"

    def pay(self, service, key, amount=5):
        return ask(service.port, "POST", "/payments", b'{"amount": %d}' % amount,
                   {"X-Idempotency-Key": key} if key else {})

    def test_duplicates_wait_and_get_the_first_ones_success(self):
        service = self.serve("--work-ms", WORK_MS, "--wait-ms", 60000)
        answers = self.in_parallel(lambda: self.pay(service, "k"))
        self.assert_one_run_that_all_heard(answers, 201)
        self.assertEqual(self.pay(service, "k", 6).status, 422)
        self.assertEqual(self.pay(service, None).status, 400)
        self.assertEqual(ask(service.port, "POST", "/payments", b"{", {"X-Idempotency-Key": "b"}).status,
                         400)
        self.stop_service(service)

    def test_an_error_is_shared_but_not_kept(self):
        for work_ms in patience(WORK_MS):
            self.touch_ledger()
            service = self.serve("--work-ms", work_ms, "--wait-ms", 60000)
            answers = self.in_parallel(lambda: self.pay(service, str(work_ms), 2000000))
            if len(self.await_ledger("end")) == 1:  # all came while the first one ran
                break
        self.assert_one_run_that_all_heard(answers, 402)
        self.assertFalse(self.pay(service, str(work_ms), 2000000).replayed)
        self.assertEqual(len(self.ledger_lines()), 4)

    def test_409_when_it_takes_too_long(self):
        for work_ms in patience(800):
            self.touch_ledger()
            service = self.serve("--work-ms", work_ms, "--wait-ms", 50)
            with ThreadPoolExecutor(1) as pool:
                first = pool.submit(self.pay, service, str(work_ms))
                self.await_ledger("begin")
                late = self.pay(service, str(work_ms))
                self.assertEqual(first.result().status, 201)
            if not late.replayed:  # it came while the first one ran
                break
        self.assertEqual((late.status, "retry-after" in late.headers), (409, True))

    def test_kill_9_lets_a_waiting_duplicate_run(self):
        victim = self.serve("--work-ms", LONG_MS, "--lease-ms", 800, "--hold", 0)
        heir = self.serve("--lease-ms", 800, "--wait-ms", 60000, "--hold", 0)
        with ThreadPoolExecutor(2) as pool:
            lost = pool.submit(self.pay, victim, "k")
            self.await_ledger("begin")
            waiting = pool.submit(self.pay, heir, "k")
            victim.send_signal(signal.SIGKILL)
            self.assertIsNotNone(lost.exception(PATIENCE_SECONDS))
            self.assertEqual((waiting.result().status, waiting.result().replayed), (201, False))
        self.assertIn("attempt=2", self.ledger_lines()[-1])


FORM = "application/x-www-form-urlencoded"


class Each(WebCase):
    """Tests that hold for all services: how each is asked, and what it answers for a busy key."""

    # service -> method, path, body, header of the key, status of success, status when busy
    SERVICES = {
        "http": ("POST", "/payments", b'{"amount": 5}', "Idempotency-Key", 201, 409),
        "guard_409": ("PUT", "/items/7", b"x", "Idempotency-Key", 200, 409),
        "json_idempotency": ("POST", "/payments", b'{"amount": 5}', "X-Idempotency-Key", 201, 409),
        "form_double_submit": ("POST", "/order", b"item=tea", "X-Idempotent-Key", 201, 408),
        "form_wait_408": ("POST", "/order", b"item=tea", "X-Idempotent-Key", 201, 408),
    }

    # How their records begin: name, account, method and route. Each part is preceded by its length.
    RECORDS = {"http": "-4:POST9:/payments", "guard_409": "5:guard-3:PUT11:/items/NAME",
               "json_idempotency": "4:json-4:POST9:/payments",
               "form_double_submit": "4:form-4:POST6:/order", "form_wait_408": "4:form-4:POST6:/order"}

    def record(self, key):
        """Of nobody's account."""
        return f"{self.RECORDS[self.name]}{len(key)}:{key}"

    def services(self, *options, names=None):
        for self.name in names or self.SERVICES:
            yield self.served(*options)

    @contextlib.contextmanager
    def served(self, *options):
        with self.subTest(self.name):
            self.touch_ledger()
            service = self.serve(*options)
            yield service
            self.stop_service(service)

    def send(self, service, *keys, path=None, body=None, method=None, more=()):
        usual_method, usual_path, usual_body, header, _, _ = self.SERVICES[self.name]
        headers = [(header, key) for key in keys] + list(more)
        if self.name.startswith("form"):
            headers.append(("Content-Type", FORM))
        return ask(service.port, method or usual_method, path or usual_path,
                   usual_body if body is None else body, headers)

    @property
    def success(self):
        return self.SERVICES[self.name][4]

    @property
    def busy(self):
        return self.SERVICES[self.name][5]


class Keys(Each):
    def test_all_spellings_of_a_key_are_one_key(self):
        for served in self.services():
            with served as service:
                key = self.name
                first = self.send(service, key)
                self.assertEqual((first.status, first.replayed), (self.success, False))
                for spelling in SPELLINGS:
                    again = self.send(service, spelling.replace("k", key, 1))
                    self.assertEqual((again.replayed, again.essence), (True, first.essence), spelling)

    def test_a_malformed_key_is_400_and_not_treated_as_absent(self):
        for served in self.services():
            with served as service:
                for value in MALFORMED:
                    self.assertEqual(self.send(service, value).status, 400, value)
                self.assertEqual(self.ledger_lines(), [])

    def test_two_keys_are_400(self):
        for served in self.services():
            with served as service:
                for values in TWICE:
                    self.assertEqual(self.send(service, *values).status, 400, values)
                self.assertEqual(self.ledger_lines(), [])

    def test_a_form_has_one_key_in_one_place(self):
        field = "__idempotent_key"
        for served in self.services(names=["form_double_submit"]):
            with served as service:
                for query, body, header in (
                        ("", f"{field}=", ()), ("", f"item=tea&{field}", ()), (f"?{field}=", "", ()),
                        ("", f"{field}=k&item=tea&{field}=k", ()), (f"?{field}=k", f"{field}=k", ()),
                        ("", f"{field}=k", ["k"]), (f"?{field}=k", "", ["k"]), ("", f"{field}=k", [""]),
                        ("", f"{field}=k%00a", ()), ("", f"{field}=%c3%a4", ()), ("", f"{field}=+", ()),
                        ("", f"{field}={'x' * 256}", ())):
                    answer = self.send(service, *header, path="/order" + query, body=body.encode())
                    self.assertEqual(answer.status, 400, (query, body, header))
                # Its fields would not be read, the key among them.
                multipart = ask(service.port, "POST", "/order", b"--b\r\n\r\n--b--\r\n",
                                {"Content-Type": "multipart/form-data; boundary=b"})
                self.assertEqual(multipart.status, 415)
                self.assertEqual(self.ledger_lines(), [])


class Fingerprints(Each):
    def assert_another(self, answer):
        self.assertEqual((answer.status, answer.replayed), (422, False))

    def test_another_body_query_path_or_method_is_another_request(self):
        others = {"http": b'{"amount": 6}', "json_idempotency": b'{"amount": 6}', "guard_409": b"y"}
        for served in self.services():
            with served as service:
                key = self.name
                path = self.SERVICES[self.name][1]
                first = self.send(service, key, path=path + "?a=1")
                self.assertEqual(first.status, self.success)
                self.assertEqual(self.send(service, key, path=path + "?a=1").essence, first.essence)
                self.assert_another(self.send(service, key, path=path + "?a=1",
                                              body=others.get(self.name, b"item=coffee")))
                for query in ("", "?", "?a=2", "?a=1&b", "?a=1?"):
                    self.assert_another(self.send(service, key, path=path + query))
        for served in self.services(names=["guard_409"]):
            with served as service:
                first = self.send(service, "rest")
                self.assert_another(self.send(service, "rest", path="/items/8"))
                self.assertEqual(self.send(service, "rest").essence, first.essence)
                other = self.send(service, "rest", method="POST")
                self.assertEqual((other.status, other.replayed), (200, False), "a key of its own")

    def test_the_place_of_the_key_in_a_form_is_not_part_of_the_request(self):
        field = "__idempotent_key=k"
        for served in self.services(names=["form_double_submit"]):
            with served as service:
                first = self.send(service, "k", path="/order?a=1", body=b"item=tea&n=1")
                for query, body in ((f"?{field}&a=1", "item=tea&n=1"), (f"?a=1&{field}", "item=tea&n=1"),
                                    ("?a=1", f"{field}&item=tea&n=1"), ("?a=1", f"item=tea&{field}&n=1"),
                                    ("?a=1", f"item=tea&n=1&{field}")):
                    again = self.send(service, path="/order" + query, body=body.encode())
                    self.assertEqual((again.replayed, again.essence), (True, first.essence), (query, body))

    def test_the_boundary_of_a_multipart_body_is_not_part_of_the_request(self):
        def upload(service, boundary, *parts, quote=""):
            body = b"".join(b"--%s\r\nContent-Disposition: form-data; name=f\r\n\r\n%s\r\n"
                            % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary
            kind = f"multipart/form-data; boundary={quote}{boundary.decode()}{quote}"
            return self.send(service, "k", body=body, more=[("Content-Type", kind)])

        for served in self.services(names=["guard_409"]):
            with served as service:
                first = upload(service, b"one", b"a", b"b")
                self.assertEqual(first.status, self.success)
                for quote in ("", '"'):
                    self.assertEqual(upload(service, b"another", b"a", b"b", quote=quote).essence,
                                     first.essence)
                for parts in ((b"a", b"c"), (b"ab",), (b"a", b"b", b""), (b"b", b"a")):
                    self.assert_another(upload(service, b"one", *parts))
                    self.assert_another(upload(service, b"another", *parts))


class Kept(Each):
    """Which parts of a response later requests get. guard_409 answers what a request asks it to."""

    OF_THE_LIBRARY = ("Date", "Connection", "Transfer-Encoding", "Upgrade")  # of libmicrohttpd

    def setUp(self):
        super().setUp()
        self.name = "guard_409"

    def test_what_belongs_to_one_caller_or_one_connection_is_not_kept(self):
        for name in (name for name in NEVER_STORED if name not in self.OF_THE_LIBRARY):
            with self.subTest(name):
                service = self.serve("--header", f"{name}: for this one; alone")
                first, again = self.send(service, name), self.send(service, name)
                self.assertEqual(first.headers.pop(name.lower()), "for this one; alone")
                self.assertNotIn(name.lower(), again.headers)
                self.assertEqual((again.replayed, again.essence), (True, first.essence))

    def test_other_headers_are_kept(self):
        for name in STORED:
            with self.subTest(name):
                service = self.serve("--header", f"{name}: a: b")
                first, again = self.send(service, name), self.send(service, name)
                self.assertEqual(first.headers[name.lower()], "a: b")
                self.assertEqual((again.replayed, again.essence), (True, first.essence))

    def test_what_the_connection_header_names_is_not_kept(self):
        service = self.serve("--header", "Connection: x-other, content-TYPE")
        first, again = self.send(service, "k"), self.send(service, "k")
        self.assertIn("content-type", first.headers)
        self.assertEqual((again.replayed, "content-type" in again.headers), (True, False))

    def test_a_cookie_is_for_the_first_caller_of_a_form(self):
        for served in self.services(names=["form_double_submit", "form_wait_408"]):
            with served as service:
                first, again = self.send(service, self.name), self.send(service, self.name)
                self.assertIn("set-cookie", first.headers)
                self.assertNotIn("set-cookie", again.headers)
                self.assertEqual((again.replayed, again.essence), (True, first.essence))

    def test_temporary_answers_are_not_kept(self):
        for status in NOT_KEPT:
            with self.subTest(status):
                self.touch_ledger()
                service = self.serve("--status", status)
                for run in (1, 2):
                    answer = self.send(service, str(status))
                    self.assertEqual((answer.status, answer.replayed), (status, False))
                    self.assertEqual(len(self.ledger_lines()), 2 * run)

    def test_final_answers_are_kept(self):
        for status in KEPT:
            with self.subTest(status):
                service = self.serve("--status", status)
                first, again = self.send(service, f"k{status}"), self.send(service, f"k{status}")
                self.assertEqual((again.replayed, again.essence), (True, first.essence))

    def test_a_record_that_is_not_a_response_is_410(self):
        for number, meta in enumerate((None, b"", b"junk", b"200", b"99\n", b"600\n", b"200\nno line",
                                       b"200\nno colon\n", b"200\n: no name\n", b"200\nA: b\n\0",
                                       b"200\nA: b\nC: d")):
            with self.subTest(meta):
                self.assert_410(f"k{number}", meta)

    def assert_410(self, key, meta):
        """Has another program store under the key while the view runs."""
        for work_ms in patience(WORK_MS):
            self.touch_ledger()
            service = self.serve("--work-ms", work_ms)
            record = self.record(key)
            with ThreadPoolExecutor(1) as pool, Client(self.server) as client:
                first = pool.submit(self.send, service, key)
                token = re.search(r"token=(\d+)", self.await_ledger("begin")[0]).group(1)
                words = ["STORE", record, token, b"body"] + (["META", meta] if meta is not None else [])
                stored = client.call(*words)
                first.result()
            if stored == 0:  # otherwise the view was faster
                break
            with Client(self.server) as client:
                client.call("DEL", record)
        answer = self.send(service, key)
        self.assertEqual((answer.status, answer.replayed), (410, False))
        self.assertEqual(len(self.ledger_lines()), 2)


class Endings(Each):
    """Work that failed may have been done, unless it is known to have done nothing."""

    def test_work_that_may_have_happened_is_attempt_2_at_once(self):
        for self.name in self.SERVICES:
            with self.subTest(self.name):
                key = self.fail_after_its_work("--hold", 0)
                answer = self.send(self.serve("--hold", 0), key)
                self.assertEqual((answer.status, answer.replayed), (self.success, False))
                self.assertIn("attempt=2", self.ledger_lines()[-1], "it is told that it is not the first")

    def test_work_that_may_have_happened_waits_for_a_decision(self):
        for self.name in self.SERVICES:
            with self.subTest(self.name):
                key = self.fail_after_its_work("--hold", 1)
                before = self.ledger_lines()
                answer = self.send(self.serve("--hold", 1), key)
                self.assertEqual((answer.status, answer.headers.get("retry-after")), (409, None))
                self.assertEqual(self.ledger_lines(), before)

    def test_a_payment_holds_unless_it_is_told_otherwise(self):
        for self.name in ("http", "json_idempotency"):
            with self.subTest(self.name):
                key = self.fail_after_its_work()
                self.assertEqual(self.send(self.serve(), key).status, 409)

    def fail_after_its_work(self, *options):
        """The key. Its lease would last for long."""
        self.touch_ledger()
        failing = self.serve("--fail", 1, "--lease-ms", 600_000, *options)
        self.assertEqual(self.send(failing, self.name).status, 500)
        self.assertEqual(len(self.await_ledger("end")), 1)
        return self.name

    def test_an_answer_of_500_and_more_does_not_say_how_far_it_came(self):
        self.name = "guard_409"
        for status, attempt in ((429, 1), (503, 2)):
            for attempt in (1, attempt):
                self.assertEqual(self.send(self.serve("--status", status), f"k{status}").status, status)
                self.assertIn(f"attempt={attempt}", self.ledger_lines()[-1])

    def test_a_request_that_may_have_been_forgotten_is_412(self):
        for served in self.services():
            with served as service:
                self.assertEqual(self.send(service, LONG_AGO).status, 412)
                self.assertEqual(self.ledger_lines(), [])
                for key in UNBORN:
                    self.assertEqual(self.send(service, key).status, self.success, key)

    def test_each_account_has_its_keys(self):
        for served in self.services():
            with served as service:
                first = self.send(service, self.name, more=[("X-Account", "1")])
                other = self.send(service, self.name, more=[("X-Account", "2")])
                again = self.send(service, self.name, more=[("X-Account", "1")])
                self.assertEqual((first.replayed, other.replayed, again.replayed), (False, False, True))

    def test_work_that_has_done_nothing_is_released(self):
        for served in self.services("--lease-ms", 600_000):
            with served as service:
                os.remove(self.ledger)
                os.mkdir(self.ledger)  # the start of the work cannot be written there, so it does not start
                failed = self.send(service, self.name)
                self.assertEqual((failed.status, failed.headers.get("retry-after")), (503, "1"))
                os.rmdir(self.ledger)
                self.assertEqual(self.send(service, self.name).status, self.success)
                self.assertIn("attempt=1", self.ledger_lines()[-1])


class Failing(Each):
    """Work that is done and then fails is done once, however many wait for it: they hear of the
    failure. Whoever comes later is told that it may have happened."""

    WAITING = 10

    def test_it_is_done_once_and_the_next_one_is_attempt_2(self):
        for service, key in self.failed_at_once("--hold", 0):
            self.assertEqual(self.send(service, key).status, 500)
            self.assertIn("attempt=2", self.ledger_lines(key)[-1])

    def test_with_hold_it_is_done_once_until_somebody_has_looked(self):
        for service, key in self.failed_at_once("--hold", 1):
            self.assertEqual(self.send(service, key).status, 409)
            self.assertEqual(self.ledger_lines(key), [])
            with Client(self.server) as client:
                self.assertEqual(client.call("FETCH", self.record(key))[0], b"UNKNOWN")

    def failed_at_once(self, *options):
        """Yields each service after it has failed while many waited; its ledger is empty then."""
        for self.name in self.SERVICES:
            with self.subTest(self.name):
                self.ledger = self.path(self.name)
                os.mkfifo(self.ledger)  # the work goes on when the test reads
                service = self.serve("--fail", 1, "--lease-ms", 600_000, "--wait-ms", 60_000, *options)
                self.assert_done_once(service, self.name)
                os.remove(self.ledger)
                self.touch_ledger()
                yield service, self.name
                self.stop_service(service)

    def assert_done_once(self, service, key):
        waits = self.name not in ("http", "guard_409")
        with ThreadPoolExecutor(self.WAITING + 2) as pool, Client(self.server) as client:
            sent = [pool.submit(self.send, service, key) for _ in range(self.WAITING + 1)]
            eventually(lambda: client.call("FETCH", self.record(key)), "one has begun")
            reader = pool.submit(self.wait_for, key)
            self.server.await_blocked(1 + waits * self.WAITING, client)
            if not waits:
                eventually(lambda: sum(answer.done() for answer in sent) == self.WAITING,
                           "the others are refused")
            ledger = os.open(self.ledger, os.O_RDWR)
            answers = [answer.result() for answer in sent]
            lines = os.read(ledger, 1 << 16).decode().splitlines()
            os.close(ledger)
            status, body, meta = reader.result()[:3]
        self.assertEqual([line.split()[0] for line in lines], ["begin", "end"])
        failures = [answer for answer in answers if answer.status == 500]
        self.assertEqual(len(failures), 1 + waits * self.WAITING)
        self.assertEqual(sum(answer.replayed for answer in failures), waits * self.WAITING)
        self.assertEqual({answer.body for answer in failures}, {body})
        self.assertEqual((status, meta[:4]), (b"DONE", b"500\n"))

    def wait_for(self, key):
        with Client(self.server) as client:
            return client.call("AWAIT", self.record(key), 60_000)


if __name__ == "__main__":
    unittest.main()
