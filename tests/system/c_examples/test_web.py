"""The HTTP examples in C, on a real idem-server: duplicates, other requests, kill -9, no server."""

import re
import signal
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import Server, eventually, patience
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
            lease, key = ["--lease-ms", lease_ms], f'"{lease_ms}"'
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
            if first.status == 409:  # until the lease was over
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
        by_argument = ask(service.port, "POST", f"/order?__idempotent_key={key}")
        by_header = ask(service.port, "POST", "/order", headers={"X-Idempotent-Key": key})
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
        """Four at once, and a lease that is renewed meanwhile. False: one of them came too late, or
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

    def test_guards_what_changes_something(self):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for work_ms in patience(WORK_MS):
                if self.in_time(method, work_ms):
                    break

    def test_a_bad_key(self):
        service = self.serve()
        self.assertEqual(ask(service.port, "PUT", "/items/7", b"", {"Idempotency-Key": '"'}).status, 400)

    def test_the_rest_passes_by(self):
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
        victim = self.serve("--work-ms", LONG_MS, "--lease-ms", 800)
        heir = self.serve("--lease-ms", 800, "--wait-ms", 60000)
        with ThreadPoolExecutor(2) as pool:
            lost = pool.submit(self.pay, victim, "k")
            self.await_ledger("begin")
            waiting = pool.submit(self.pay, heir, "k")
            victim.send_signal(signal.SIGKILL)
            self.assertIsNotNone(lost.exception(PATIENCE_SECONDS))
            self.assertEqual((waiting.result().status, waiting.result().replayed), (201, False))
        self.assertIn("attempt=2", self.ledger_lines()[-1])


if __name__ == "__main__":
    unittest.main()
