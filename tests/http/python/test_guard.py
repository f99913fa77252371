"""What a setting's function may be and return; what becomes of a claim whose answer was lost, or whose renewal came late."""
import contextlib
import os
import threading
import unittest
from unittest import mock

import harness
import idem
from idem import protocol, renewer
from idem.claims import Claim
from idem.guard import Engine, Guard
from idem.request import View, _pieces
from idem.response import NotKept, OtherVersion, pack_meta, unpack
from idem.settings import Route, Settings, SettingsError
from shared_server import WithServer


def view(key):
    return View("POST", b"/a", b"", [("idempotency-key", key)], None)


async def coroutine_function(*_):
    return True


class WithAsync:
    async def __call__(self, *_):
        return True


class TheSettings(unittest.TestCase):
    def test_functions_that_have_to_be_awaited_are_refused(self):
        for name in ("scope", "operation", "keep", "skip", "on_event", "born"):
            for function in (coroutine_function, WithAsync()):
                with self.subTest(name), self.assertRaisesRegex(SettingsError, name):
                    Settings(**{name: function})

    def test_documents_have_a_url_and_prefixes_an_end(self):
        for settings in ({"docs_url": "https://a b"}, {"docs_url": "https://a>"}, {"docs_url": 5}, {"prefix": "p" * 257}):
            with self.subTest(settings), self.assertRaises(SettingsError):
                Settings(**settings)
        Settings(docs_url="https://example.org/a?b=c#d", prefix="p" * 256)

    def test_jobs_and_keep_have_the_same_ranges(self):
        for given in ({"ttl_ms": 32 * 86_400_000}, {"wait_ms": 60_001}, {"lease_ms": 1}, {"timeout_ms": 0}):
            with self.subTest(given), self.assertRaises(SettingsError):
                idem.Jobs(**given)
        with self.assertRaises(ValueError):
            Claim.keep(mock.Mock(), 32 * 86_400_000)


class TheFingerprint(unittest.TestCase):
    def test_a_boundary_is_what_the_package_for_node_finds_and_never_an_error(self):
        body = b'--a"\r\n1\r\n--a"--\r\n'
        for content_type, pieces in (('multipart/form-data; boundary="a\\""', 3), ('Multipart/Form-Data;charset=x;boundary=a"', 3),
                                     ("multipart/form-data", 1), ("application/json; boundary=a", 1),
                                     ("multipart/form-data; boundary*0=a; boundary*=utf-8''a", 1)):
            with self.subTest(content_type):
                self.assertEqual(len(list(_pieces(body, content_type, None))), pieces)


class TheGuard(WithServer):
    def guard(self, **settings):
        guard = Guard(Settings(url=self.url, **settings))
        self.addCleanup(guard.close)
        return guard

    def begun(self, guard):
        plan = guard.plan(view(self.key), self.key, b"")
        return guard.begin(plan, guard.ask(plan))

    def test_an_awaitable_is_no_answer(self):
        for name, call in (("skip", lambda guard: guard.key_of(view(self.key))), ("scope", self.begun),
                           ("operation", self.begun), ("born", self.begun)):
            guard = self.guard(**{name: lambda _: coroutine_function()})
            with self.subTest(name), self.assertRaisesRegex(TypeError, "awaitable"):
                call(guard)

    def test_a_keep_that_fails_leaves_the_claim_unsure(self):
        guard = self.guard(keep=lambda _: coroutine_function())
        claim = self.begun(guard)
        with self.assertRaisesRegex(TypeError, "awaitable"):
            guard.answered(claim, 500, [], b"")
        self.assertEqual(self.state(claim.key), "LAPSED")

    def test_only_a_response_that_every_framework_can_send_is_replayed(self):
        for status, headers, expected in ((200, [], None), (599, [], None), (199, [], OtherVersion), (600, [], OtherVersion),
                                          (999, [], OtherVersion), (999, None, NotKept), (1000, None, OtherVersion)):
            with self.subTest(status), contextlib.nullcontext() if expected is None else self.assertRaises(expected):
                self.assertEqual(unpack(b"", pack_meta(status, headers)).status, status)

    def test_another_response_is_not_kept(self):
        guard = Guard(Settings(url=self.url, keep=lambda status: True))
        plans = [guard.plan(view(self.key), self.key, b"x") for _ in range(2)]
        guard.answered(guard.begin(plans[0], guard.ask(plans[0])), 600, [("X-A", "1")], b"done")
        again = guard.begin(plans[1], guard.ask(plans[1]))
        self.assertEqual((again.status, b'"original_status": 600' in again.body), (410, True))

    def test_a_scope_is_a_text_or_a_number(self):
        for scope in (object(), b"5", True, 1.5, {"id": 5}):
            with self.subTest(scope), self.assertRaisesRegex(TypeError, "scope"):
                self.begun(self.guard(scope=lambda _: scope))
        keys = {self.begun(self.guard(scope=lambda _: scope)).key for scope in (5, None)}
        self.assertEqual(len(keys), 2)
        self.begun(self.guard(scope=lambda _: "5"))  # the same as 5: in progress

    def test_a_user_of_flask_or_django_without_an_identity_is_an_error(self):
        import types
        import flask
        import flask_login
        from idem.django import _user
        from idem.flask import user
        app = flask.Flask(__name__)
        login = flask_login.LoginManager(app)
        for identity, right in (("a", True), (None, False), (object(), False)):
            of_login = flask_login.UserMixin()
            of_login.get_id = lambda identity=identity: identity
            login.request_loader(lambda _, it=of_login: it)
            request = types.SimpleNamespace(user=types.SimpleNamespace(pk=identity, is_authenticated=True))
            with self.subTest(identity), app.test_request_context():
                for call in (user, lambda it=request: _user(it)):
                    if right:
                        self.assertEqual(call(), identity)
                    else:
                        self.assertRaisesRegex(TypeError, "scope", call)

    def test_a_handler_asks_for_less_never_for_more(self):
        for status, state in ((503, "LAPSED"), (409, None), (200, "DONE")):
            self.setUp()
            guard = self.guard()
            claim = self.begun(guard)
            claim.keep(60_000)
            guard.answered(claim, status, [], b"")
            with self.subTest(status):
                self.assertEqual(self.state(claim.key), state)

    def test_the_end_of_a_child_that_the_handler_forks_is_not_the_end_of_the_claim(self):
        for end in (lambda guard, claim: guard.raised(claim, SystemExit()), lambda guard, claim: guard.answered(claim, 500, [], b"")):
            self.setUp()
            guard = self.guard()
            claim = self.begun(guard)
            child = os.fork()
            if child == 0:
                try:
                    end(guard, claim)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            self.assertEqual(self.state(claim.key), "HELD")
            guard.answered(claim, 201, [], b"done")
            self.assertEqual(self.state(claim.key), "DONE")

    def test_no_thread_misses_a_route_while_another_makes_its_guard(self):
        """The first requests of a process may come at once."""
        guard = self.guard()
        route, making, go_on = Route({"header": "X-Key"}), threading.Event(), threading.Event()
        self.addCleanup(Route.declared.remove, route)
        for_route = guard.for_route

        def slow(route):
            making.set()
            go_on.wait(60)
            return for_route(route)
        with mock.patch.object(guard, "for_route", slow):
            first = threading.Thread(target=guard.any_route)
            first.start()
            making.wait(60)
            threading.Timer(0.2, go_on.set).start()  # a second one that waits for the first is as good
            self.assertTrue(guard.may_concern("POST", lambda name: name == "X-Key"))
            first.join()

    def test_a_claim_whose_answer_was_lost_is_given_back(self):
        guard = self.guard(hold=True)
        plan = guard.plan(view(self.key), self.key, b"")
        self.assertIsInstance(guard.ask(plan), protocol.Claimed)
        self.assertEqual(guard.begin(plan, protocol.Unavailable("lost")).status, 503)
        harness.eventually(lambda: self.state(plan.record) is None, "it is released")

    def test_a_renewal_that_came_late_is_undone(self):
        guard = self.guard(lease_ms=3_600_000)  # not by its end
        for late_first in (True, False):
            self.setUp()
            claim = self.begun(guard)
            token = claim.token
            claim.end()
            claim.ended = False
            if late_first:  # the reply is heard before that of the release, which the server had first
                claim.renewal.heard_late(1)
            ended = claim.renewal.ended_unsure

            def renewed_then_ended():
                self.ask("RENEW", claim.key, str(token))
                ended()
            claim.renewal.ended_unsure = renewed_then_ended
            guard.raised(claim, None)
            if not late_first:
                claim.renewal.heard_late(1)
            with self.subTest(late_first):
                harness.eventually(lambda: self.state(claim.key) == "LAPSED", "LAPSED again")


class TheRenewer(unittest.TestCase):
    class Once(renewer.Job):
        def __init__(self, client, size=0, urgent=False):
            super().__init__(client)
            self.size, self.urgent = size, urgent
            self.was_heard = threading.Event()

        def words(self):
            return ["PING"]

        def heard(self, reply):
            self.was_heard.set()

    def test_a_thread_that_could_not_start_is_tried_again(self):
        ours, client = renewer.Renewer(), mock.Mock()
        client.send_all.return_value = [1, 1]
        jobs = [self.Once(client), self.Once(client)]
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("no more")), self.assertLogs("idem"):
            ours.add(jobs[0], 0)
        ours.add(jobs[1], 0)
        for job in jobs:
            self.assertTrue(job.was_heard.wait(60))

    def test_a_server_that_hangs_delays_no_other_ones_renewals(self):
        hangs, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        bad, good = mock.Mock(url="redis://bad"), mock.Mock(url="redis://good")

        def hang(_commands):
            hangs.set()
            go_on.wait(60)
            return [1]
        bad.send_all.side_effect, good.send_all.return_value = hang, [1]
        renewer.RENEWERS.add(self.Once(bad), 0)
        self.assertTrue(hangs.wait(60))
        job = self.Once(good)
        renewer.RENEWERS.add(job, 0)
        self.assertTrue(job.was_heard.wait(10))

    def test_renewals_do_not_wait_for_responses(self):
        client, trips = mock.Mock(url="redis://big"), []

        def send_all(commands):
            trips.append(len(list(commands)))
            return [1] * trips[-1]
        client.send_all.side_effect = send_all
        ours = renewer.Renewer()
        with mock.patch("threading.Thread.start"):  # turned by hand
            jobs = [self.Once(client, renewer.TRIP_BYTES) for _ in range(3)] + [self.Once(client, urgent=True) for _ in range(2)]
            for job in jobs:
                ours.add(job, 0)
            ours._turn(ours._take())
            self.assertEqual(trips, [2, 1])
            self.assertEqual([job.was_heard.is_set() for job in jobs], [True, False, False, True, True])
            for _ in range(2):
                ours._turn(ours._take())
        self.assertEqual(trips, [2, 1, 1, 1])

    def test_a_thread_without_work_ends_and_the_next_job_has_another(self):
        client = mock.Mock(url="redis://idle")
        client.send_all.return_value = [1]
        ours = renewer.Renewer()
        with mock.patch.object(renewer, "IDLE_S", 0.01):
            for _ in range(2):
                job = self.Once(client)
                ours.add(job, 0)
                thread = ours._thread
                self.assertTrue(job.was_heard.wait(60))
                if thread is not None:
                    thread.join(60)
                harness.eventually(lambda: ours._thread is None, "its thread has ended")

    def test_a_client_that_fails_in_its_own_way_does_not_end_the_others_renewals(self):
        ours, bad, good = renewer.Renewer(), mock.Mock(), mock.Mock()
        bad.send_all.side_effect = UnicodeError("whatever")
        good.send_all.return_value = [1]
        jobs = [self.Once(bad), self.Once(good)]
        with contextlib.suppress(UnicodeError):
            ours._turn(jobs)
        self.assertEqual([job.was_heard.is_set() for job in jobs], [True, True])
