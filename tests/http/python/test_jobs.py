"""Jobs: the decorator and the context manager; the commands, synchronous and asynchronous."""
import asyncio
import os
import threading
import unittest.mock

import idem
from shared_server import WithServer


class TheDecorator(WithServer):
    def setUp(self):
        super().setUp()
        self.jobs = idem.Jobs(self.url, lease_ms=1_000)
        self.addCleanup(self.jobs.close)
        self.ran = []

    def once(self, work, jobs=None):
        return (jobs or self.jobs).once("test", key=lambda key: key)(work)

    def test_it_runs_once_and_gives_the_same_result(self):
        run = self.once(lambda key: self.ran.append(key) or {"number": 17, "text": "ü"})
        self.assertEqual([run(self.key), run(self.key)], [{"number": 17, "text": "ü"}] * 2)
        self.assertEqual(self.ran, [self.key])

    def test_a_task_of_celery_runs_once(self):
        import celery
        app = celery.Celery("tasks")
        app.conf.task_always_eager = True

        @app.task
        @self.jobs.once("test", key=lambda order: f"{self.key}:{order}")
        def charge(order):
            self.ran.append(order)
            return {"charged": order}
        self.assertEqual([charge.delay(17).get(), charge.delay(17).get()], [{"charged": 17}] * 2)
        self.assertEqual(self.ran, [17])

    def test_a_coroutine_runs_once(self):
        async def work(key):
            self.ran.append(key)
            await asyncio.sleep(0)
            return 5

        async def twice():
            run = self.once(work)
            return await run(self.key), await run(self.key)
        self.assertEqual(asyncio.run(twice()), (5, 5))
        self.assertEqual(len(self.ran), 1)

    def test_after_an_exception_it_is_attempt_2(self):
        attempts = []

        def fails():
            with self.jobs.claim("test", self.key) as work:
                attempts.append(work.claim.attempt)
                raise RuntimeError("no")
        for _ in range(2):
            self.assertRaises(RuntimeError, fails)
        self.assertEqual(attempts, [1, 2])

    def test_work_that_did_nothing_leaves_attempt_1(self):
        attempts = []
        for _ in range(2):
            with self.assertRaises(idem.DidNothing), self.jobs.claim("test", self.key) as work:
                attempts.append(work.claim.attempt)
                raise idem.DidNothing()
        self.assertEqual(attempts, [1, 1])

    def test_with_hold_somebody_has_to_look(self):
        jobs = idem.Jobs(self.url, hold=True)
        self.addCleanup(jobs.close)
        with self.assertRaises(RuntimeError), jobs.claim("test", self.key):
            raise RuntimeError("no")
        with self.assertRaises(idem.OutcomeUnknown) as caught, jobs.claim("test", self.key):
            self.fail("it runs")
        self.assertTrue(jobs.client.release(f"job:test:{self.key}", caught.exception.token, clear=True))
        with jobs.claim("test", self.key) as work:
            self.assertEqual(work.claim.attempt, 1)

    def test_while_it_runs_another_is_told(self):
        with self.jobs.claim("test", self.key) as work:
            with self.assertRaises(idem.InProgress) as caught, self.jobs.claim("test", self.key):
                self.fail("it runs twice")
            self.assertGreater(caught.exception.lease_left_ms, 0)
            work.result = 1

    def test_another_can_wait(self):
        waiting = idem.Jobs(self.url, wait_ms=30_000)
        self.addCleanup(waiting.close)
        results = []

        def second():
            with waiting.claim("test", self.key) as work:
                results.append((work.done, work.result))
        thread = threading.Thread(target=second)
        with self.jobs.claim("test", self.key) as work:
            thread.start()
            while self.ask("INSPECT", f"job:test:{self.key}")[19] != 1:  # waiters
                continue
            work.result = "first"
        thread.join()
        self.assertEqual(results, [(True, "first")])

    def test_a_coroutine_can_wait(self):
        waiting = idem.Jobs(self.url, wait_ms=30_000)
        self.addCleanup(waiting.close)

        async def both():
            async def second():
                async with waiting.claim("test", self.key) as work:
                    return work.result
            async with self.jobs.claim("test", self.key) as work:
                task = asyncio.ensure_future(second())
                while (await asyncio.to_thread(self.ask, "INSPECT", f"job:test:{self.key}"))[19] != 1:
                    continue
                work.result = "first"
            return await task
        self.assertEqual(asyncio.run(both()), "first")

    def test_a_coroutine_that_is_cancelled_is_unsure(self):
        async def cancelled():
            started = asyncio.Event()

            async def work():
                async with self.jobs.claim("test", self.key):
                    started.set()
                    await asyncio.Event().wait()
            task = asyncio.ensure_future(work())
            await started.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        asyncio.run(cancelled())
        self.assertEqual(self.state(f"job:test:{self.key}"), "LAPSED")

    def test_a_result_that_is_no_json_is_told(self):
        with self.assertRaises(TypeError), self.jobs.claim("test", self.key) as work:
            work.result = object()
        self.assertEqual(self.state(f"job:test:{self.key}"), "LAPSED")

    def test_a_result_that_is_too_big_is_told_and_does_not_run_again(self):
        with self.jobs.claim("test", self.key) as work, unittest.mock.patch.object(
                self.jobs.client, "send", side_effect=[idem.TooBig("it is"), 0]) as send:
            work.result = "x"
            work._end(None)
        token, words = work.claim.token, send.call_args.args[0]
        self.jobs.client.send(words)
        self.assertEqual(token, words[2])
        with self.assertRaises(idem.ResultNotKept), self.jobs.claim("test", self.key):
            self.fail("it runs")

    def test_a_claim_that_is_cancelled_before_its_answer_is_given_back(self):
        jobs = idem.Jobs(self.url, hold=True)
        self.addCleanup(jobs.close)
        asked, go_on, send = threading.Event(), threading.Event(), jobs.client.send

        def slow(words):
            reply = send(words)
            asked.set()
            go_on.wait(60)
            return reply

        async def cancelled():
            task = asyncio.ensure_future(jobs.claim("test", self.key).__aenter__())
            await asyncio.to_thread(asked.wait)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            go_on.set()
        with unittest.mock.patch.object(jobs.client, "send", slow):
            asyncio.run(cancelled())
        import harness
        harness.eventually(lambda: self.state(f"job:test:{self.key}") is None, "it is released")

    def test_stages_are_left(self):
        with self.assertRaises(RuntimeError), self.jobs.claim("test", self.key) as work:
            work.claim.set_stage("half")
            raise RuntimeError("no")
        with self.jobs.claim("test", self.key) as work:
            self.assertEqual(work.claim.stage, "half")

    def test_stages_are_left_by_a_thread_beside_the_loop(self):
        """It has nothing to await with."""
        async def work():
            async with self.jobs.claim("test", self.key) as work:
                await asyncio.to_thread(work.claim.set_stage, "half")
                raise RuntimeError("no")
        self.assertRaises(RuntimeError, asyncio.run, work())
        with self.jobs.claim("test", self.key) as work:
            self.assertEqual(work.claim.stage, "half")

    def test_a_child_that_the_work_forks_does_not_release_it(self):
        with self.jobs.claim("test", self.key) as work:
            child = os.fork()
            if child == 0:
                try:
                    raise SystemExit
                except SystemExit as error:
                    work.__exit__(SystemExit, error, None)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            self.assertEqual(self.state(f"job:test:{self.key}"), "HELD")
        self.assertEqual(self.state(f"job:test:{self.key}"), "DONE")

    def test_what_is_no_result_of_a_job_is_refused(self):
        token = self.jobs.client.claim(f"job:test:{self.key}").token
        self.jobs.client.store(f"job:test:{self.key}", token, "x")
        with self.assertRaises(idem.Mismatch), self.jobs.claim("test", self.key):
            self.fail("it runs")

    def test_two_jobs_with_one_key_are_two(self):
        for name in ("charge", "refund", "a:b", "a", "100%"):
            with self.jobs.claim(name, self.key) as work:
                self.assertFalse(work.done)
                work.result = name
        with self.jobs.claim("charge", self.key) as work:
            self.assertEqual(work.result, "charge")

    def test_no_two_names_and_keys_share_a_record(self):
        for prefix, name, key, record in (("job", "charge", "order-17", "job:charge:order-17"), ("job", "a:b", "c", "job:a%3Ab:c"),
                                          ("job", "a", "b:c", "job:a:b:c"), ("job", "100%", "k:%3A", "job:100%25:k:%3A"),
                                          ("x:y", "zahlung", "ü", "x%3Ay:zahlung:ü"), ("job", "n", 7, "job:n:7")):
            with idem.Jobs(self.url, prefix=prefix).claim(name, key):
                pass
            self.assertEqual(self.state(record), "DONE")
            self.ask("DEL", record)

    def test_keys_that_are_none_are_refused_before_anything_is_asked(self):
        jobs = idem.Jobs("redis://127.0.0.1:1")
        for key, error in (("", TypeError), (None, TypeError), (True, TypeError), (1.5, TypeError), (b"k", TypeError),
                           (object(), TypeError), ("\ud800", TypeError), ("k" * 1100, ValueError)):
            with self.subTest(key), self.assertRaises(error):
                jobs.claim("n", key)
        for name in ("", 5, None, "n" * 257):
            with self.subTest(name), self.assertRaises(ValueError):
                jobs.claim(name, "k")
            with self.subTest(name), self.assertRaises(ValueError):
                jobs.once(name, key=str)
        for prefix in ("", "p" * 257, 5):
            with self.subTest(prefix), self.assertRaises(ValueError):
                idem.Jobs(self.url, prefix=prefix)

    def test_what_is_stored_is_what_the_package_for_node_reads(self):
        with self.jobs.claim("test", self.key) as work:
            work.result = {"a": 1}
        self.assertEqual(self.ask("FETCH", f"job:test:{self.key}")[1:3], [b'{"a": 1}', b'[1,"job"]'])
        token = self.jobs.client.claim(f"job:test:{self.key}2").token
        self.jobs.client.store(f"job:test:{self.key}2", token, b"", meta=b'[1,"job"]')
        with self.jobs.claim("test", self.key + "2") as work:  # a function of Node that returned nothing
            self.assertEqual((work.done, work.result), (True, None))

    def test_without_the_server_it_does_not_run(self):
        jobs = idem.Jobs("redis://127.0.0.1:1")
        with self.assertRaises(idem.Unavailable), jobs.claim("test", self.key):
            self.fail("it runs")

    def test_the_claim_is_renewed(self):
        jobs = idem.Jobs(self.url, lease_ms=300)
        self.addCleanup(jobs.close)
        with jobs.claim("test", self.key) as work:
            threading.Event().wait(1.2)  # four leases: time is the subject
            self.assertEqual(self.state(f"job:test:{self.key}"), "HELD")
            work.result = 1
        self.assertEqual(self.state(f"job:test:{self.key}"), "DONE")


class TheCommands(WithServer):
    def test_both_clients_say_the_same(self):
        client = idem.Idem(self.url)
        self.addCleanup(client.close)
        sync = self.commands_of(client)

        async def call_all():
            other = idem.AsyncIdem(self.url)
            try:
                return [await value if asyncio.iscoroutine(value) else value for value in self.calls_of(other)]
            finally:
                await other.close()
        self.key += "a"
        self.assertEqual(sync, [self.shape(value) for value in asyncio.run(call_all())])

    def commands_of(self, client):
        return [self.shape(value) for value in self.calls_of(client)]

    def calls_of(self, client):
        with self.server.client() as raw:
            token = raw.call("CLAIM", self.key + "t", "FP", "f")[1]
        yield client.claim(self.key, fingerprint=b"f")
        yield client.claim(self.key, fingerprint=b"f", wait_ms=50)
        yield client.renew(self.key + "t", token, stage="s")
        yield client.store(self.key + "t", token, b"\0body", meta="m")
        yield client.claim(self.key + "t", fingerprint=b"f")
        yield client.fetch(self.key + "t", fingerprint=b"f")
        yield client.fetch(self.key + "none")
        yield client.release(self.key + "t", token)

    @staticmethod
    def shape(value):
        return (type(value).__name__, getattr(value, "body", None), getattr(value, "meta", None))

    def test_a_call_that_is_cancelled_leaves_no_answer_to_the_next(self):
        """Also with versions of redis-py that keep the connection then (before 4.5.3)."""
        from redis.asyncio.connection import Connection
        self.ask("CLAIM", self.key)
        asked = asyncio.Event()

        async def keeps_it(connection, *_args, **_rest):
            asked.set()
            return await connection._parser.read_response()

        async def main():
            client = idem.AsyncIdem(self.url)
            with unittest.mock.patch.object(Connection, "read_response", keeps_it):
                first = asyncio.ensure_future(client.send(["IDEM.WAIT", self.key, 500]))  # its answer comes later
                await asked.wait()
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
            try:
                return await client.send(["ECHO", "of the second"])
            finally:
                await client.close()
        self.assertEqual(asyncio.run(main()), b"of the second")

    def test_a_call_that_is_interrupted_leaves_no_answer_to_the_next(self):
        """By the exception of a signal or of a time limit, just before it awaits the answer."""
        class Interrupted(BaseException):
            pass
        self.ask("CLAIM", self.key)
        client = idem.Idem(self.url)
        self.addCleanup(client.close)
        client.fetch(self.key)  # so that it is connected
        with unittest.mock.patch("redis.connection.Connection.read_response", side_effect=Interrupted), \
                self.assertRaises(Interrupted):
            client.send(["IDEM.WAIT", self.key, 500])  # its answer comes later
        self.assertEqual(client.send(["ECHO", "of the second"]), b"of the second")

    def test_many_calls_at_once_have_connections_of_their_own(self):
        async def main():
            client = idem.AsyncIdem(self.url)
            try:
                return await asyncio.gather(*[client.send(["ECHO", str(number)]) for number in range(50)])
            finally:
                await client.close()
        self.assertEqual(asyncio.run(main()), [b"%d" % number for number in range(50)])

    def test_refusals_are_told_apart(self):
        client = idem.Idem(self.url)
        self.addCleanup(client.close)
        token = client.claim(self.key, fingerprint=b"f").token
        for kind, call in (
                (idem.Mismatch, lambda: client.claim(self.key, fingerprint=b"g")),
                (idem.Stale, lambda: client.store(self.key, token + 1, "x")),
                (idem.Forgotten, lambda: client.claim(self.key + "b", born_ms=1)),
                (idem.BornAhead, lambda: client.claim(self.key + "c", born_ms=1 << 60)),
                (idem.TooBig, lambda: client.claim("k" * 2000)),
                (idem.IdemError, lambda: client.claim(self.key, lease_ms=-1))):
            with self.subTest(kind.__name__):
                self.assertRaises(kind, call)
        self.assertRaises(idem.Unavailable, idem.Idem("redis://127.0.0.1:1").fetch, "k")
