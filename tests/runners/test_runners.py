"""Each test runner ends a test that hangs, reports it by name as FAILED (timeout), fails, and still runs
the tests after it.

    /usr/bin/python3 tests/runners/test_runners.py      $IDEM_BUILD (build/release), $IDEM_SERVER

Where a runner can run only its own tests, the limit is so short that one of them exceeds it. `need`, which installs what they
lack, can be called by two targets at once.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
BUILD = os.path.join(ROOT, os.environ.get("IDEM_BUILD", "build/release"))
PYTHON = "/usr/bin/python3"
LIMIT_S = 1        # limit of a test that hangs
NEVER_S = 120      # limit of a runner that does not end by itself

HANGING = """
import time
import unittest

class Cases(unittest.TestCase):
    def test_a_hangs(self):
        try:
            time.sleep(1000)
        except Exception:
            pass

    def test_b_passes(self):
        print("b ran")

class Fixture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        time.sleep(1000)

    def test_is_not_reached(self):
        pass

class Last(unittest.TestCase):
    def test_c_passes(self):
        print("c ran")
"""


# Refuses to run beside itself, as apt-get does.
APT_GET = """#!/bin/sh
mkdir {directory}/running 2>/dev/null || {{ echo 'E: Could not get lock'; exit 100; }}
sleep 0.2
rmdir {directory}/running
"""


class Need(unittest.TestCase):
    def test_two_that_install_wait_for_each_other(self):
        with tempfile.TemporaryDirectory(prefix="idem-test-") as directory:
            for name, text in (("apt-get", APT_GET.format(directory=directory)), ("dpkg-query", "#!/bin/sh\n"),
                               ("sudo", "#!/bin/sh\nexec \"$@\"\n")):
                path = os.path.join(directory, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                os.chmod(path, 0o755)
            environment = {**os.environ, "PATH": directory + os.pathsep + os.environ["PATH"]}
            both = [subprocess.Popen([os.path.join(TESTS, "need"), name], env=environment, text=True, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT) for name in ("one", "another")]
            said = [each.communicate(timeout=NEVER_S)[0] for each in both]
            self.assertEqual([each.returncode for each in both], [0, 0], said)


class Runners(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, self.directory)

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def run_runner(self, *command, limit_s=LIMIT_S, **env):
        """Runs a runner that must fail; returns its output."""
        env = {**os.environ, "IDEM_TEST_LIMIT_S": str(limit_s), "PYTHONPATH": self.directory, **env}
        done = subprocess.run(command, cwd=ROOT, env=env, timeout=NEVER_S, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL)
        self.assertGreater(done.returncode, 0, done.stdout)
        return done.stdout

    def assert_lines(self, output, *regexes):
        """Checks that the output has these texts, in this order."""
        self.assertRegex(output, "(?s)" + ".*".join(regexes))

    def test_a_unit_test(self):
        output = self.run_runner(os.path.join(TESTS, "run-units"),
                                 os.path.join(BUILD, "tests/runners/hanging"),
                                 self.file("good", "#!/bin/sh\n", 0o755))
        self.assert_lines(
            output, r"FAILED \(timeout\): hangs did not end within 1 s", "FAILED: dies died: Abort",
            "FAILED: leaves", "FAILED: fails", "FAILED: its_teardown_breaks died: Abort",
            r"OK \] passes", "hanging: 6 tests, 5 failed", "units: 1 passed, 1 failed")

    def test_a_unit_program(self):
        hanging = self.file("hanging", "#!/bin/sh\nexec sleep 1000\n", 0o755)
        output = self.run_runner(os.path.join(TESTS, "run-units"), hanging,
                                 self.file("good", "#!/bin/sh\n", 0o755), IDEM_PROGRAM_LIMIT_S="1")
        self.assert_lines(output, rf"FAILED \(timeout\): {hanging} did not end within 1 s",
                          "units: 1 passed, 1 failed")

    def test_a_pattern_that_no_test_has(self):
        for runner in ("system", "cookbook"):
            output = self.run_runner(PYTHON, os.path.join(TESTS, runner, "run.py"), "-k", "test_that_nobody_has_written", limit_s=NEVER_S)
            self.assert_lines(output, "FAILED: no test has run")

    def test_a_pattern_that_begins_as_a_module_does(self):
        done = subprocess.run([PYTHON, os.path.join(TESTS, "cookbook/run.py"), "-k", "test_each_recipe_of_the_page"], cwd=ROOT,
                              timeout=NEVER_S, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("Ran 1 test in", done.stdout)

    def python_tests(self, runner):
        self.file("test_hanging.py", HANGING)
        output = self.run_runner(PYTHON, os.path.join(TESTS, runner), "test_hanging")
        self.assert_lines(
            output, r"FAILED \(timeout\): test_hanging.Cases.test_a_hangs did not end within 1 s",
            "b ran", r"FAILED \(timeout\): what comes after test_hanging.Cases.test_b_passes",
            "c ran", r"FAILED \(errors=2\)")

    def test_a_system_test(self):
        self.python_tests("system/run.py")

    def test_a_test_of_the_examples_in_c(self):
        self.python_tests("system/c_examples/run.py")

    def test_a_test_of_the_examples_in_python(self):
        output = self.run_runner(PYTHON, os.path.join(TESTS, "system/examples/test_examples.py"),
                                 "OwnViews", limit_s=0.001)
        for name in ("test_forms", "test_guard", "test_json"):
            self.assertRegex(output, rf"FAILED \(timeout\): \S*{name} did not end")
        self.assertIn("FAIL: examples: 3 tests", output)

    def test_a_transcript(self):
        hanging = self.file("hanging.transcript", "# protocols: 2\n\nsleep 1000000\n")
        good = self.file("good.transcript", "# protocols: 2\n\n> PING\nPONG\n")
        output = self.run_runner(PYTHON, os.path.join(TESTS, "wire/run.py"), hanging, good)
        self.assert_lines(output, "not ok hanging.transcript RESP2",
                          r"FAILED \(timeout\): hanging.transcript RESP2 did not end within 1 s",
                          "ok good.transcript RESP2")

    def test_a_page(self):
        hanging = self.file("hanging.md", "```redis\n-- 1000000 ms later --\n> PING\nPONG\n```\n")
        good = self.file("good.md", "```redis\n> PING\nPONG\n```\n")
        output = self.run_runner(PYTHON, os.path.join(TESTS, "docs.py"), hanging, good)
        self.assert_lines(output, r"not ok FAILED \(timeout\): \S*hanging.md did not end within 1 s",
                          r"ok \S*good.md: 1 step")

    def test_a_program_of_libidem(self):
        """Even if a child process holds its output open."""
        os.makedirs(os.path.join(self.directory, "tests/client"))
        self.file("tests/client/test_key", "#!/bin/sh\necho began\nsleep 1000\n", 0o755)
        self.file("tests/client/test_calls", "#!/bin/sh\necho '  called'\n", 0o755)
        output = self.run_runner(PYTHON, os.path.join(TESTS, "client/run.py"), self.directory,
                                 "test_key", "test_calls")
        self.assert_lines(output, r"FAILED \(timeout\): test_key did not end within 1 s",
                          r"FAIL test_key: FAILED \(timeout\)", "began", "ok   test_calls", "called")

    def test_a_client_that_people_use(self):
        output = self.run_runner(PYTHON, os.path.join(TESTS, "clients/run.py"), "--no-install",
                                 "redis-cli", limit_s=0.01)
        for protocol in ("RESP2", "RESP3"):
            self.assert_lines(output, rf"redis-cli +{protocol} .*FAILED", r"FAILED \(timeout\): it did")

    def test_a_test_of_operation(self):
        """Even if a child process holds its output open."""
        self.file("test_hangs.py", "import subprocess\nsubprocess.run(['sleep', '1000'])\n")
        self.file("test_passes.py", "import unittest\nclass One(unittest.TestCase):\n"
                  "    def test_one(self):\n        pass\n")
        output = self.run_runner(PYTHON, os.path.join(TESTS, "ops/run.py"), "--no-install",
                                 "test_hangs", "test_passes", IDEM_PROGRAM_LIMIT_S="1")
        self.assert_lines(output, r"test_hangs +FAILED \(timeout\)", r"test_passes +passed",
                          "ops: 1 passed, 1 failed, 0 skipped")

    def test_tests_of_operation_that_hang(self):
        self.file("test_hanging.py", HANGING)
        output = self.run_runner(PYTHON, os.path.join(TESTS, "ops/run.py"), "--no-install",
                                 "test_hanging")
        self.assert_lines(
            output, r"test_hanging +FAILED", r"FAILED \(timeout\): test_hanging.Cases.test_a_hangs did",
            "b ran", "c ran", "ops: 0 passed, 1 failed, 0 skipped")


if __name__ == "__main__":
    unittest.main(verbosity=2)
