"""What may have run is told: by the four applications, and by `once` of README.md.

    IDEM_SERVER=path/to/idem-server /usr/bin/python3 tests/system/examples/test_promises.py

An exception proves nothing, work that holds does not run again by itself, a request that may be
forgotten does not run, and nobody is told what another caller's request did.
"""
import contextlib
import glob
import os
import re
import subprocess
import sys
import threading
import time
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

import limit  # noqa: E402
from kept import LONG_AGO, LONG_AGO_MS, UNBORN  # noqa: E402
from test_examples import (  # noqa: E402
    PATIENCE_S, REPOSITORY, WORLD, Done, Lapsed, Unknown, wait_until)
from test_flask import BODY_LIMIT, Case  # noqa: E402

from flask import Response, request  # noqa: E402
from idem.request import BadKey, born_of_header, born_of_key, record_key  # noqa: E402
from werkzeug.exceptions import HTTPException  # noqa: E402


def setUpModule():
    WORLD.start()


def tearDownModule():
    WORLD.stop()


class Promises(Case):
    """What may have run is told: to the next request, to one that is too old, never to a stranger."""

    @staticmethod
    def uuid7(unix_ms):
        rest = uuid.uuid4().hex
        return f"{unix_ms >> 16:08x}-{unix_ms & 0xffff:04x}-7{rest[:3]}-8{rest[3:6]}-{rest[6:18]}"

    def test_the_birth_of_a_key(self):
        self.assertEqual(born_of_key(LONG_AGO), LONG_AGO_MS)
        self.assertEqual(born_of_key(LONG_AGO.upper()), LONG_AGO_MS)
        self.assertEqual(born_of_key(self.uuid7(1_700_000_000_123)), 1_700_000_000_123)
        for other in (str(uuid.uuid4()), "order-7", "", *UNBORN[:-1]):
            self.assertIsNone(born_of_key(other), other)

    def test_the_birth_in_a_header(self):
        self.assertEqual(born_of_header(f" {LONG_AGO_MS}\t"), LONG_AGO_MS)
        self.assertEqual(born_of_header("Tue, 22 Feb 2022 19:22:22 GMT"), LONG_AGO_MS)
        for bad in ("", "yesterday", "-1", "1.5", "9" * 16, "Tue, 99 Feb 2022 19:22:22 GMT"):
            with self.assertRaises(BadKey, msg=bad):
                born_of_header(bad)

    def test_a_request_that_may_be_forgotten_is_412_and_does_not_run(self):
        for played in self.each():
            with played:
                app, self.key = self.make_app(born="uuid7"), LONG_AGO
                self.assertEqual((self.send(app)[0], self.runs), (412, 0))

    def test_a_request_that_cannot_be_forgotten_runs(self):
        """Its birth is known, or unknown."""
        for key in (self.uuid7(int(time.time() * 1000)), uuid.uuid4().hex, *UNBORN[:-1]):
            for played in self.each():
                with played:
                    app, self.key = self.make_app(born="uuid7"), key
                    WORLD.redis.delete(self.record)
                    self.assertEqual((self.send(app)[0], self.runs), (201, 1))
                    self.assert_replayed(self.send(app), (201, {}, b"done"))

    def test_a_birth_in_the_future_is_400(self):
        for played in self.each():
            with played:
                app, self.key = self.make_app(born="uuid7"), self.uuid7(int(time.time() * 1000) + 3_600_000)
                self.assertEqual((self.send(app)[0], self.runs), (400, 0))

    def test_a_header_tells_the_birth_if_the_application_trusts_it(self):
        old = [("Repeatability-First-Sent", "Tue, 22 Feb 2022 19:22:22 GMT")]
        for played in self.each():
            with played:
                app = self.make_app(born="Repeatability-First-Sent")
                self.assertEqual((self.send(app, headers=old)[0], self.runs), (412, 0))
                bad = [("Repeatability-First-Sent", "once")]
                self.assertEqual((self.send(app, headers=bad)[0], self.runs), (400, 0))
                self.assertEqual((self.send(self.make_app(), headers=old)[0], self.runs), (201, 1))

    def test_the_application_may_know_better(self):
        for played in self.each():
            with played:
                app, self.key = self.make_app(born=lambda _request: None), LONG_AGO
                WORLD.redis.delete(self.record)
                self.assertEqual((self.send(app)[0], self.runs), (201, 1))

    def test_work_that_is_held_does_not_run_again(self):
        def raising():
            raise TimeoutError("the bank's answer did not come")

        for view in (raising, lambda: ("gateway timeout", 504)):
            for played in self.each():
                with played:
                    app = self.make_app(view, hold=True)
                    self.assertGreaterEqual(self.send(app)[0], 500)
                    self.assertEqual((self.send(app)[0], self.runs), (409, 1))
                    self.assertIsInstance(WORLD.idem.fetch(self.record), Unknown)

    def test_each_caller_has_keys_of_its_own(self):
        for played in self.each():
            with played:
                app = self.make_app(lambda: (request.environ["REMOTE_USER"], 201))
                for caller in ("alice", "bob", "b:ob"):
                    user = {"REMOTE_USER": caller}
                    first = self.send(app, environ_overrides=user)
                    self.assertEqual(first[2].decode(), caller)
                    self.assert_replayed(self.send(app, environ_overrides=user), first)
                self.assertEqual(self.runs, 3)
                self.caller = "alice"
                self.assertIsInstance(WORLD.idem.fetch(self.record), Done)
                self.caller = None

    def test_no_caller_is_another_ones_prefix(self):
        self.assertNotEqual(record_key("n", "a", "POST", b"/o", "x:POST /o:k"),
                            record_key("n", "a:POST /o:x", "POST", b"/o", "k"))


WAITING = 6


class Failing(Case):
    """Work that charges and then fails is not done again unseen: the next one is told that it is not the first, and with hold
    nobody does it before somebody has looked."""

    def ask_at_once(self, app):
        """The answers to WAITING + 1 requests; None: it ended without an answer."""
        def ask(nth):
            with contextlib.suppress(Exception, SystemExit):
                replies[nth] = self.send(app)

        replies = [None] * (WAITING + 1)
        threads = [threading.Thread(target=ask, args=(nth,)) for nth in range(WAITING + 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return replies

    def app_that_fails(self, fail, **policy):
        """Its first request charges when all the others wait."""
        self.failures = 2 if fail == self.in_the_view_and_in_its_error_page else 1
        def view():
            if self.runs == 1:
                wait_until(lambda: WORLD.waiting() == WAITING, f"{WAITING} wait")
            return "paid", 201

        app = self.make_app(view, wait_ms=60_000, **policy)
        fail(app)
        return app

    def bank(self, passed_on):
        """Its answer is lost after it has charged."""
        if self.failures:
            self.failures -= 1
            raise TimeoutError("the bank's answer did not come")
        return passed_on

    @staticmethod
    def wrap(app, wrapper):
        for endpoint, view in app.view_functions.items():
            app.view_functions[endpoint] = lambda view=view, **given: wrapper(view(**given))

    def in_the_view(self, app):
        self.wrap(app, self.bank)

    def after_the_view(self, app):
        app.after_request(self.bank)

    def in_the_view_with_a_handler(self, app):
        self.in_the_view(app)
        app.register_error_handler(Exception, lambda error: (
            error if isinstance(error, HTTPException) else ("my error page", 500)))

    def in_the_view_and_in_its_error_page(self, app):
        self.in_the_view_with_a_handler(app)
        app.after_request(self.bank)

    def in_the_response(self, app, size=1):
        def pieces():
            yield "x" * size
            yield self.bank("paid")
        self.wrap(app, lambda _paid: Response(pieces(), 201))

    def in_a_long_response(self, app):
        self.in_the_response(app, BODY_LIMIT + 1)

    def beyond_the_framework(self, app):
        """The WSGI server gets the exception, and nothing is sent."""
        self.in_the_view(app)
        app.config["PROPAGATE_EXCEPTIONS"] = True

    def that_ends_the_worker(self, app):
        def bank(passed_on):
            if self.failures:
                self.failures -= 1
                raise SystemExit("it ran for too long")
            return passed_on
        self.wrap(app, bank)

    def play(self, check, **policy):
        for fail in (self.in_the_view, self.after_the_view, self.in_the_view_with_a_handler,
                     self.in_the_view_and_in_its_error_page, self.in_the_response,
                     self.in_a_long_response, self.beyond_the_framework, self.that_ends_the_worker):
            for played in self.each():
                with played, self.subTest(fail.__name__):
                    app = self.app_that_fails(fail, **policy)
                    check(app, self.ask_at_once(app))
                    self.assert_no_renewer()

    def test_the_first_that_waits_is_attempt_2_and_the_others_get_its_answer(self):
        def check(_app, replies):
            self.assertEqual((self.runs, self.held[-1].attempt), (2, 2))
            answered = [reply for reply in replies if reply and reply[0] < 500]
            self.assertEqual(len(answered), WAITING)
            too_long = any(len(reply[2]) > BODY_LIMIT for reply in answered)
            self.assertEqual(sorted(reply[0] for reply in answered), [201] + [410 if too_long else 201] * (WAITING - 1))

        self.play(check)

    def test_with_hold_it_is_done_once_until_somebody_has_looked(self):
        def check(app, replies):
            self.assertEqual([reply[0] for reply in replies if reply].count(409), WAITING)
            self.assertIsInstance(WORLD.idem.fetch(self.record), Unknown)
            self.assertEqual((self.send(app)[0], self.runs), (409, 1))

        self.play(check, hold=True)


class Snippets(unittest.TestCase):
    """`once` of README.md with a provider that charges the card, and whose answer then times out."""

    # The test adds this to the function in each language: work that ends as argv says, run once.
    # argv: how it ends, the key, hold (0 or 1), born (0: unknown). It prints what has been done.
    WORK = {
        "python": """
import sys
way, key, hold, born = sys.argv[1], sys.argv[2], bool(int(sys.argv[3])), int(sys.argv[4])
def work():
    if way == "nothing":
        raise DidNothing("the bank is closed")
    print("charged")
    if way == "timeout":
        raise TimeoutError("the answer timed out")
    return b"paid"
try:
    print(once(key, work, born=born, hold=hold).decode())
except Exception as error:
    print(type(error).__name__)
""",
        "js": """
const [way, key, hold, born] = process.argv.slice(1);
class TimeoutError extends Error {}
async function work() {
  if (way === "nothing") throw new DidNothing("the bank is closed");
  console.log("charged");
  if (way === "timeout") throw new TimeoutError("the answer timed out");
  return "paid";
}
const name = (error) => (error.constructor === Error ? "RuntimeError" : error.constructor.name);
once(key, work, { born: Number(born), hold: Number(hold) })
  .then(console.log, (error) => console.log(name(error))).finally(() => idem.disconnect());
"""}
    # Where the program on the page begins to use its function.
    USE = {"python": "\nprint(once(", "js": "\n(async () =>"}

    def program(self, language):
        with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as page:
            block = re.search(rf"```{language}\n(.*?)```", page.read(), re.DOTALL)[1]
        function = block[:block.index(self.USE[language])]
        self.assertIn("4336", function)
        return function.replace("4336", str(WORLD.server.port())) + self.WORK[language]

    def run_once(self, way, key, hold=False, born=0):
        """The lines that it prints."""
        argv = [*self.argv, self.text, way, key, str(int(hold)), str(born)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S,
                              env={**os.environ, **self.environment})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.split()

    def check(self, argv, language):
        self.argv, self.text = argv, self.program(language)
        self.charge_once_with_hold(f"snippet-{uuid.uuid4().hex}")
        key = f"snippet-{uuid.uuid4().hex}"
        self.assertEqual(self.run_once("timeout", key), ["charged", "TimeoutError"])
        self.assertIsInstance(WORLD.idem.fetch(key), Lapsed, "it may have happened")
        self.assertEqual(WORLD.idem.claim(key).attempt, 2, "and the next one is told so")
        key = f"snippet-{uuid.uuid4().hex}"
        self.assertEqual(self.run_once("nothing", key, hold=True), ["DidNothing"])
        self.assertIsNone(WORLD.idem.fetch(key), "released")
        self.assertEqual(self.run_once("fine", key, born=1), ["Forgotten"])
        now_ms = int(time.time() * 1000)
        self.assertEqual(self.run_once("fine", key, born=now_ms), ["charged", "paid"])

    def charge_once_with_hold(self, key):
        self.assertEqual(self.run_once("timeout", key, hold=True), ["charged", "TimeoutError"])
        for _retry in range(2):
            self.assertEqual(self.run_once("fine", key, hold=True), ["RuntimeError"])
        unknown = WORLD.idem.fetch(key)
        self.assertIsInstance(unknown, Unknown, "nobody is to charge before somebody has looked")
        WORLD.idem.store(key, unknown.token, b"paid")
        self.assertEqual(self.run_once("fine", key, hold=True), ["paid"])

    environment = {}

    def test_python(self):
        self.check(["/usr/bin/python3", "-c"], "python")

    def test_node(self):
        found = glob.glob(os.path.join(REPOSITORY, "build/clients/*/node_modules/ioredis"))
        if not found:
            self.skipTest("the npm package ioredis is not installed (make test-clients)")
        self.environment = {"NODE_PATH": os.path.dirname(found[0])}
        self.check(["node", "-e"], "js")


if __name__ == "__main__":
    started = time.monotonic()
    result = unittest.main(verbosity=2, exit=False, testRunner=limit.Runner).result
    print(f"{'PASS' if result.wasSuccessful() else 'FAIL'}: promises: {result.testsRun} tests"
          f" in {time.monotonic() - started:.1f} s")
    sys.exit(not result.wasSuccessful())
