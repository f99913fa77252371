"""The queue consumer and the libevent example: no message and no step runs twice, no claim is left."""

import os
import signal
import subprocess
import unittest

from harness import Server, eventually, patience
from support import PATIENCE_SECONDS, Case, example, url


class LoopCase(Case):
    program = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def start_program(self, *arguments, server=None, **settings):
        argv = [example(self.program), "--server", url(server or self.server), *arguments]
        return self.launch(argv, stdout=subprocess.PIPE, **settings)

    def name(self, key):
        return f"{self.id()}.{key}"


class Worker(LoopCase):
    program = "worker"

    def start_worker(self, *options, **settings):
        return self.start_program("--ledger", self.ledger, *options, stdin=subprocess.PIPE, **settings)

    def work(self, messages, *options, **settings):
        """What the worker reports to the queue about the messages."""
        worker = self.start_worker(*options, **settings)
        text = "".join(f"{self.name(message)} some text\n" for message in messages)
        out, _ = worker.communicate(text.encode(), timeout=PATIENCE_SECONDS)
        self.assertEqual(worker.returncode, 0)
        return out.decode().replace(self.id() + ".", "").splitlines()

    def steps(self, event="begin"):
        return [line.split()[2] for line in self.ledger_lines() if line.startswith(event)]

    def test_a_message_that_comes_twice(self):
        told = self.work(["a", "b", "a"])
        self.assertEqual(told, ["note a charge", "note a ship", "note a mail", "ack a",
                                "note b charge", "note b ship", "note b mail", "ack b", "ack a replayed"])
        self.assertEqual(self.work(["b", "a"]), ["ack b replayed", "ack a replayed"])
        self.assertEqual(self.steps("end"), ["charge", "ship", "mail"] * 2)

    def test_two_workers_with_one_message(self):
        workers = [self.start_worker("--work-ms", 100, "--wait-ms", 60000) for _ in range(4)]
        message = f"{self.name('a')}\n".encode()
        for worker in workers:
            worker.stdin.write(message)
            worker.stdin.flush()
        told = sorted(worker.communicate(timeout=PATIENCE_SECONDS)[0].decode().split("\n")[-2]
                      for worker in workers)
        name = self.name("a")
        self.assertEqual(told, [f"ack {name}"] + [f"ack {name} replayed"] * 3)
        self.assertEqual(self.steps(), ["charge", "ship", "mail"])

    def test_a_busy_message_goes_back_to_the_queue(self):
        with self.server.client() as client:
            # The key that worker.c builds: each part is preceded by its length.
            name = self.name("a")
            self.claim(client, f"6:orders{len(name)}:{name}")
        told = self.work(["a"])
        self.assertEqual(len(told), 1)
        self.assertRegex(told[0], r"^nack a busy [1-9]\d*$")

    def test_goes_on_after_the_last_step_after_kill_9(self):
        lease = ["--lease-ms", 800]
        for work_ms in patience(100):
            with open(self.ledger, "w", encoding="ascii"):
                message = f"a{work_ms}"
            worker = self.start_worker("--work-ms", work_ms, *lease)
            worker.stdin.write(f"{self.name(message)}\n".encode())
            worker.stdin.flush()
            self.assertEqual(worker.stdout.readline(),
                             f"note {self.name(message)} charge\n".encode())
            worker.send_signal(signal.SIGKILL)
            worker.wait(PATIENCE_SECONDS)
            told = self.work([message], *lease, "--wait-ms", 60000)
            if told != [f"ack {message} replayed"]:  # it was killed before the last step
                break
        self.assertEqual(told[-1], f"ack {message}")
        self.assertNotIn(f"note {message} charge", told)
        self.assertEqual(self.steps("end").count("charge"), 1)
        self.assertEqual(self.steps("end")[-2:], ["ship", "mail"])
        self.assertIn("attempt=2", self.ledger_lines()[-1])

    def test_a_step_that_fails_is_attempt_2_at_once_after_the_last_step(self):
        moved = self.path("moved")
        for work_ms in patience(300):
            message = f"a{work_ms}"
            worker = self.start_worker("--work-ms", work_ms, "--lease-ms", 600_000)
            worker.stdin.write(f"{self.name(message)}\n".encode())
            worker.stdin.flush()
            self.assertEqual(worker.stdout.readline(), f"note {self.name(message)} charge\n".encode())
            os.rename(self.ledger, moved)
            os.mkdir(self.ledger)  # the next line cannot be written there
            out, _ = worker.communicate(timeout=PATIENCE_SECONDS)
            os.rmdir(self.ledger)
            if out.decode().splitlines()[-1] == f"nack {self.name(message)} failed":
                break  # otherwise the worker was faster
        told = self.work([message], "--lease-ms", 600_000)
        self.assertEqual(told[-1], f"ack {message}")
        self.assertNotIn(f"note {message} charge", told)
        self.assertIn("attempt=2", self.ledger_lines()[-1])

    def test_a_message_that_may_have_been_forgotten_is_looked_at(self):
        self.assertEqual(self.work(["a@1700000000000"]), ["nack a FORGOTTEN"])
        self.assertEqual(self.work(["a"])[-1], "ack a")
        self.assertEqual(self.work(["a@1700000000000"]), ["ack a replayed"])

    def test_without_a_server_nothing_is_acknowledged(self):
        server = Server()
        server.kill()
        server.forget()
        self.assertEqual(self.work(["a"], server=server, stderr=subprocess.DEVNULL),
                         ["nack a UNAVAILABLE"])
        self.assertEqual(self.ledger_lines(), [])


class AsyncLibevent(LoopCase):
    program = "async_libevent"

    def finish(self, process):
        return sorted(process.communicate(timeout=PATIENCE_SECONDS)[0].decode().splitlines())

    def test_many_keys_in_one_loop(self):
        keys = [self.name(number) for number in range(50)]
        process = self.start_program(*keys)
        self.assertEqual(self.finish(process), sorted(f"{key} ran" for key in keys))
        self.assertEqual(process.returncode, 0)
        again = self.start_program(*keys)
        self.assertEqual(self.finish(again),
                         sorted(f"{key} replayed by process {process.pid}" for key in keys))

    def test_duplicates_wait_for_the_owner(self):
        for lease_ms in patience(300):
            key = self.name(lease_ms)
            processes = [self.start_program("--work-ms", 3 * lease_ms, "--lease-ms", lease_ms, key,
                                            key) for _ in range(4)]
            lines = sorted(sum((self.finish(process) for process in processes), []))
            self.assertIn(f"{key} ran", lines)
            if len(set(lines[1:])) == 1:  # no lease expired too early
                break
        self.assertEqual(lines[0], f"{key} ran")
        self.assertRegex(lines[1], r" replayed by process \d+$")

    def test_a_signal_releases_the_claims(self):
        keys = [self.name(number) for number in range(3)]
        process = self.start_program("--work-ms", 60000, *keys)
        with self.server.client() as client:
            eventually(lambda: all((client.call("FETCH", key) or [b""])[0] == b"BUSY" for key in keys),
                       what="all claimed")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(self.finish(process), [f"{key} cancelled" for key in keys])
            self.assertEqual(process.returncode, 1)
            for key in keys:
                self.claim(client, key)

    def test_a_waiting_call_ends_with_a_signal_too(self):
        key = self.name("k")
        with self.server.client() as client:
            self.claim(client, key)
            process = self.start_program(key)
            self.server.await_blocked(1, client)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(self.finish(process), [f"{key} failed CANCELLED"])


if __name__ == "__main__":
    unittest.main()
