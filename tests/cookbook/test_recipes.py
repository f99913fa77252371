"""Each recipe of client/COOKBOOK.md: it is sent twice, killed in the middle, told that its work failed, and acts once."""
import hashlib
import hmac
import json
import os
import signal

from kitchen import Kitchen, recipes

PYTHON = "/usr/bin/python3"
PROGRAMS = ["payment.py", "settle.py", "webhook.js", "worker.py", "crontab", "form.py", "graphql.js", "price_postgres.py",
            "price_s3.js", "prices.py", "price_http.py"]


class ThePage(Kitchen):
    def test_each_recipe_of_the_page_has_its_test(self):
        self.assertEqual(sorted(recipes()), sorted(PROGRAMS))


class Payment(Kitchen):
    ORDER = json.dumps({"id": "order 17", "amount": 5})
    CHARGED = [{"order": "order 17", "amount": 5}]

    words = (PYTHON, "-m", "flask", "--app", "payment", "run", "--port", "PORT")

    def pay(self, site, key="key-1"):
        return site.send("POST", "/payments", self.ORDER, {"Content-Type": "application/json", "Idempotency-Key": key})

    def refused(self, reply, kind):
        status, _, body = reply.get()
        self.assertEqual((status, json.loads(body)["type"]), (409, "urn:idem:" + kind), body)

    def settle(self, found):
        """What the bank answers to the program that looks."""
        self.environment["OLDER_MS"] = "0"
        program = self.run_program(PYTHON, "settle.py")
        self.outside.next("GET /charges?order=order%2017").answer(found)
        program.ends()

    def left_unknown(self):
        """Its process is killed while the bank charges."""
        first, second = self.sites(2, *self.words)
        payment = self.pay(first)
        charge = self.outside.next("POST /charges")
        self.refused(self.pay(second), "in-progress")
        first.kill()
        self.assertEqual(payment.get()[0], None)
        charge.drop()
        self.lease_ends()
        self.refused(self.pay(second), "outcome-unknown")
        self.refused(self.pay(second), "outcome-unknown")
        return second

    def test_a_retry_gets_the_first_answer_whichever_process_it_reaches(self):
        first, second = self.sites(2, *self.words)
        payment = self.pay(first)
        self.outside.next("POST /charges").answer(self.CHARGED[0])
        status, _, body = payment.get()
        self.assertEqual((status, json.loads(body)), (201, self.CHARGED[0]))
        status, headers, again = self.pay(second).get()
        self.assertEqual((status, headers["Idempotent-Replayed"], again), (201, "true", body))

    def test_after_a_crash_nobody_charges_and_what_the_bank_has_becomes_the_answer(self):
        site = self.left_unknown()
        self.settle(self.CHARGED)
        status, headers, body = self.pay(site).get()
        self.assertEqual((status, headers["Content-Type"], json.loads(body)), (201, "application/json", self.CHARGED[0]))

    def test_after_a_crash_in_which_nothing_was_charged_a_retry_charges(self):
        site = self.left_unknown()
        self.settle([])
        payment = self.pay(site)
        self.outside.next("POST /charges").answer(self.CHARGED[0])
        self.assertEqual(payment.get()[0], 201)

    def test_one_that_died_before_it_asked_the_bank_is_the_first_try_again(self):
        token = self.ask("CLAIM", "pay:1", "HOLD")[1]
        self.ask("RELEASE", "pay:1", token, "UNSURE")
        self.environment["OLDER_MS"] = "0"
        self.run_program(PYTHON, "settle.py").ends()
        self.assertEqual(self.ask("EXISTS", "pay:1"), 0)

    def test_what_is_young_is_not_settled(self):
        self.left_unknown()
        self.run_program(PYTHON, "settle.py").ends()

    def test_an_answer_of_the_bank_that_is_lost_is_not_asked_for_again(self):
        site = self.site(*self.words)
        payment = self.pay(site)
        self.outside.next("POST /charges").drop()
        self.assertEqual(payment.get()[0], 500)
        self.refused(self.pay(site), "outcome-unknown")

    def test_a_declined_card_stays_declined(self):
        site = self.site(*self.words)
        payment = self.pay(site)
        self.outside.next("POST /charges").answer(status=402)
        self.assertEqual(payment.get()[0], 402)
        self.assertEqual(self.pay(site).get()[0], 402)

    def test_a_bank_that_is_closed_was_not_asked(self):
        self.environment["BANK"] = "http://127.0.0.1:1"  # nobody listens there
        closed = self.site(*self.words)
        self.assertEqual(self.pay(closed).get()[0], 503)
        self.environment["BANK"] = self.outside.url
        payment = self.pay(self.site(*self.words))
        self.outside.next("POST /charges").answer(self.CHARGED[0])
        self.assertEqual(payment.get()[0], 201)


class Webhook(Kitchen):
    words = ("node", "webhook.js")
    EVENT = json.dumps({"order": 17})

    def setUp(self):
        super().setUp()
        self.needs_node("express", "idem-node", "ioredis")
        self.environment["WEBHOOK_SECRET"] = "secret"

    def deliver(self, site, secret=b"secret", delivery="72d3162e"):
        signature = hmac.new(secret, self.EVENT.encode(), hashlib.sha256).hexdigest()
        return site.send("POST", "/hooks", self.EVENT, {"Content-Type": "application/json", "X-GitHub-Delivery": delivery,
                                                        "X-Hub-Signature-256": "sha256=" + signature})

    def test_a_redelivery_is_answered_and_does_nothing(self):
        first, second = self.sites(2, *self.words)
        delivery = self.deliver(first)
        ship = self.outside.next("POST /ship")
        self.assertEqual(self.deliver(second).get()[0], 409)
        ship.answer()
        self.assertEqual(delivery.get()[0], 204)
        self.assertEqual(self.deliver(second).get()[0], 204)

    def test_a_forged_one_gets_no_replay(self):
        site = self.site(*self.words)
        delivery = self.deliver(site)
        self.outside.next("POST /ship").answer()
        self.assertEqual(delivery.get()[0], 204)
        self.assertEqual(self.deliver(site, b"guessed").get()[0], 401)

    def test_one_that_failed_runs_again(self):
        site = self.site(*self.words)
        for shop, answer in ((500, 502), (200, 204)):
            delivery = self.deliver(site)
            self.outside.next("POST /ship").answer(status=shop)
            self.assertEqual(delivery.get()[0], answer)

    def test_after_a_crash_the_redelivery_runs(self):
        first, second = self.sites(2, *self.words)
        self.deliver(first)
        ship = self.outside.next("POST /ship")
        first.kill()
        ship.drop()
        self.lease_ends()
        delivery = self.deliver(second)
        self.outside.next("POST /ship").answer()
        self.assertEqual(delivery.get()[0], 204)


class Worker(Kitchen):
    def deliver(self, worker):
        worker.process.stdin.write('{"order": "17"}\n')
        worker.process.stdin.flush()

    def worker(self):
        worker = self.run_program(PYTHON, "worker.py")
        self.deliver(worker)
        return worker

    def step(self, name):
        asked = self.outside.next("POST /" + name)
        self.assertEqual(json.loads(asked.body), {"order": "17"})
        return asked

    def test_a_second_delivery_does_nothing(self):
        worker = self.worker()
        for name in ("reserve", "charge", "mail"):
            self.step(name).answer()
        worker.says("done 17")
        self.deliver(worker)
        worker.says("done 17")

    def test_one_that_comes_meanwhile_is_to_be_delivered_later(self):
        worker = self.worker()
        reserve = self.step("reserve")
        self.worker().says("again 17")
        reserve.answer()
        self.step("charge").answer()
        self.step("mail").answer()
        worker.says("done 17")

    def test_the_next_worker_goes_on_where_one_died(self):
        worker = self.worker()
        self.step("reserve").answer()
        charge = self.step("charge")
        worker.kill()
        charge.drop()
        self.lease_ends()
        worker = self.worker()
        self.step("charge").answer()  # the step in which it died, with the order's number; not the one before
        self.step("mail").answer()
        worker.says("done 17")


class Cron(Kitchen):
    """The program that cron starts, as cron starts it: by /bin/sh, with % for \\%."""

    def setUp(self):
        super().setUp()
        line = recipes()["crontab"].strip()
        self.line = line.split(None, 5)[5].replace("\\%", "%")
        with open(os.path.join(self.folder, "send-invoices"), "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\necho "attempt $IDEM_ATTEMPT"\nexec curl -s "$SHOP/invoices" -d ""\n')
            os.chmod(file.fileno(), 0o755)

    def start(self):
        return self.run_program("/bin/sh", "-c", self.line)

    def test_one_of_two_machines_runs_it(self):
        first = self.start()
        invoices = self.outside.next("POST /invoices")
        self.start().ends(status=75)
        invoices.answer(b"sent\n")
        first.ends("attempt 1", "sent")
        self.start().ends("attempt 1", "sent")

    def test_one_that_died_is_not_run_again_by_itself(self):
        first = self.start()
        invoices = self.outside.next("POST /invoices")
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.wait()
        invoices.drop()
        self.lease_ends()
        self.start().ends(status=79)


class Form(Kitchen):
    words = (PYTHON, "-m", "flask", "--app", "form", "run", "--port", "PORT")

    def fill(self, site):
        """The body that the browser sends."""
        page = site.send("GET", "/order").get()[2].decode()
        return "__idempotent_key=%s&item=tea" % page.split('name="__idempotent_key" value="')[1].split('"')[0]

    @staticmethod
    def click(site, filled):
        return site.send("POST", "/order", filled, {"Content-Type": "application/x-www-form-urlencoded"})

    def sent_to(self, reply):
        status, headers, _ = reply.get()
        return status, headers["Location"]

    def test_a_double_click_and_a_reload_are_sent_to_one_order(self):
        sites = self.sites(2, *self.words)
        filled = self.fill(sites[0])
        clicks = [self.click(site, filled) for site in sites]
        order = self.outside.next("POST /orders")
        self.assertEqual(json.loads(order.body), {"item": "tea"})
        self.server.await_blocked(1, self.connect())
        order.answer({"order": 17})
        self.assertEqual([self.sent_to(click) for click in clicks], [(303, "/orders/17")] * 2)
        self.assertEqual(self.sent_to(self.click(sites[1], filled)), (303, "/orders/17"))

    def test_after_a_crash_the_click_that_waited_orders(self):
        sites = self.sites(2, *self.words)
        filled = self.fill(sites[0])
        self.click(sites[0], filled)
        order = self.outside.next("POST /orders")
        waiting = self.click(sites[1], filled)
        self.server.await_blocked(1, self.connect())
        sites[0].kill()
        order.drop()
        self.lease_ends()
        self.outside.next("POST /orders").answer({"order": 17})
        self.assertEqual(self.sent_to(waiting), (303, "/orders/17"))

    def test_another_page_is_another_order(self):
        site = self.site(*self.words)
        for number in (17, 18):
            click = self.click(site, self.fill(site))
            self.outside.next("POST /orders").answer({"order": number})
            self.assertEqual(self.sent_to(click), (303, "/orders/%d" % number))

    def connect(self):
        client = self.server.client()
        self.addCleanup(client.close)
        return client


class GraphQL(Kitchen):
    words = ("node", "graphql.js")
    MUTATION = 'mutation { order(item: "tea") }'
    ORDERED = {"data": {"order": 17}}

    def setUp(self):
        super().setUp()
        self.needs_node("fastify", "graphql", "idem-node", "ioredis")

    @staticmethod
    def ask_for(site, query, key="key-1"):
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        return site.send("POST", "/graphql", json.dumps({"query": query}), headers)

    def told(self, reply):
        status, _, body = reply.get()
        return status, json.loads(body)

    def test_a_mutation_runs_once(self):
        first, second = self.sites(2, *self.words)
        mutation = self.ask_for(first, self.MUTATION)
        order = self.outside.next("POST /orders")
        self.assertEqual(self.told(self.ask_for(second, self.MUTATION))[0], 409)
        order.answer({"order": 17})
        self.assertEqual(self.told(mutation), (200, self.ORDERED))
        self.assertEqual(self.told(self.ask_for(second, self.MUTATION)), (200, self.ORDERED))

    def test_a_mutation_without_a_key_does_not_run(self):
        self.assertEqual(self.told(self.ask_for(self.site(*self.words), self.MUTATION, key=None))[0], 400)

    def test_a_query_needs_no_key_and_is_not_kept(self):
        site = self.site(*self.words)
        self.assertEqual(self.told(self.ask_for(site, "{ hello }", key=None)), (200, {"data": {"hello": "hello"}}))
        self.assertEqual(self.told(self.ask_for(site, "{ hello }"))[0], 200)
        self.assertEqual(self.ask("DBSIZE"), 0)

    def test_what_is_no_graphql_is_told_and_not_kept(self):
        status, body = self.told(self.ask_for(self.site(*self.words), "mutation {"))
        self.assertEqual((status, body["errors"][0]["message"][:12]), (200, "Syntax Error"))
        self.assertEqual(self.ask("DBSIZE"), 0)

    def test_a_resolver_that_crashed_runs_again(self):
        site = self.site(*self.words)
        mutation = self.ask_for(site, self.MUTATION)
        self.outside.next("POST /orders").answer(status=500)
        self.assertEqual(self.told(mutation)[0], 500)
        mutation = self.ask_for(site, self.MUTATION)
        self.outside.next("POST /orders").answer({"order": 17})
        self.assertEqual(self.told(mutation), (200, self.ORDERED))

    def test_an_error_on_purpose_is_the_answer(self):
        site = self.site(*self.words)
        mutation = self.ask_for(site, self.MUTATION)
        self.outside.next("POST /orders").answer(status=409)
        status, body = self.told(mutation)
        self.assertEqual((status, body["errors"][0]["message"]), (200, "sold out"))
        self.assertEqual(self.told(self.ask_for(site, self.MUTATION)), (200, body))

    def test_after_a_crash_the_retry_runs(self):
        first, second = self.sites(2, *self.words)
        self.ask_for(first, self.MUTATION)
        order = self.outside.next("POST /orders")
        first.kill()
        order.drop()
        self.lease_ends()
        mutation = self.ask_for(second, self.MUTATION)
        self.outside.next("POST /orders").answer({"order": 17})
        self.assertEqual(self.told(mutation), (200, self.ORDERED))
