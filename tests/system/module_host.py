"""The module inside redis-server in the place of idem-server, for tests that know only harness.py.

IDEM_SUITE_HOST=functions is idem.lua in a redis-server without the module. IDEM_SUITE_HOST=module starts $IDEM_REDIS (redis-server) with $IDEM_MODULE (build/release/idem.so). Names of commands get
the prefix IDEM., options of the contract become arguments of the module, INFO's figures lose the module's prefix. It
must not know what a command means.
"""

import importlib
import os
import re
import signal
import socket
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REDIS = os.environ.get("IDEM_REDIS", "redis-server")
MODULE = os.path.abspath(os.environ.get("IDEM_MODULE", os.path.join(ROOT, "build/release/idem.so")))

FUNCTIONS = os.path.join(ROOT, "server/module/idem.lua")
IS_FUNCTIONS = os.environ.get("IDEM_SUITE_HOST") == "functions"
DESCRIPTION = f"{FUNCTIONS if IS_FUNCTIONS else MODULE} in {REDIS}"

COMMANDS = ("CLAIM", "STORE", "RENEW", "RELEASE", "FETCH", "WAIT", "AWAIT", "INSPECT", "CLAIMS")
# Options that redis-server itself has.
OF_REDIS = ("maxmemory", "requirepass", "enable-debug-command")
# Options of idem-server that change nothing of what a client sees.
OF_SERVER = ("threads",)
# Settings of the module that CONFIG SET changes.
OF_MODULE = ("lease", "ttl", "retention", "unknown-retention", "born-skew", "wait-max", "waiters-per-key", "waiters-total")
READY = "Ready to accept connections"
BAD_REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error:|REDIS BUG REPORT")


def name(word):
    """The name of a command as the module has it; bytes or text."""
    known = word.upper() in COMMANDS or (isinstance(word, bytes) and word.decode("latin-1").upper() in COMMANDS)
    if not known:
        return word
    return b"IDEM." + word if isinstance(word, bytes) else "IDEM." + word


def line(text):
    """A command as a person types it."""
    text = re.sub(r"^CONFIG SET (%s) " % "|".join(OF_MODULE), r"CONFIG SET idem.\1 ", text)
    word, blank, rest = text.partition(" ")
    if IS_FUNCTIONS and word.upper() in COMMANDS:
        return f"FCALL idem_{word.lower()} 1 {rest}"
    if (word, rest.lower()) == ("INFO", "idem"):
        return text + " "  # so that its figures are renamed
    return name(word) + blank + rest


def told(text):
    """A reply as idem-server words it."""
    text = re.sub(r"(arguments for ')idem[._](\w+)' (?:command|function)", r"\1\2' command", text)
    return re.sub(r"^idem_", "", text)


def raw(text):
    """Bytes of a transcript, with escapes: arrays and inline commands."""
    text = re.sub(r"\$(\d+)\\r\\n(%s)\\r\\n" % "|".join(COMMANDS),
                  lambda m: "$%d\\r\\nIDEM.%s\\r\\n" % (int(m.group(1)) + 5, m.group(2)), text)
    return re.sub(r"(^|\\n)(%s)(?= )" % "|".join(COMMANDS), r"\1IDEM.\2", text)


# What the functions have not: a step with such a word, or on a second connection, is not asked of them.
BEYOND = re.compile(r"\b(WAIT|AWAIT|BIND|BORN|INSPECT|CLAIMS|INFO|CONFIG|IDEM)\b|^@|^raw|^at once|^took", re.I)


def is_beyond(text):
    return IS_FUNCTIONS and BEYOND.search(text) is not None


def encoder(encode):
    def encode_for_module(*args):
        return encode(name(args[0]) if isinstance(args[0], (str, bytes)) else args[0], *args[1:])
    return encode_for_module


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def pairs(options, config):
    """(name, value) of all options, as flags and as lines of a file."""
    words = " ".join(map(str, options))
    found = re.findall(r"--(\S+) ?((?:(?!--)\S+ ?)*)", words)
    for text in (config or "").splitlines():
        found.append(text.partition(" ")[::2])
    return [(key, value.strip()) for key, value in found]


def launcher():
    """What the server is started through: with a module that has a sanitizer, $IDEM_SANITIZER is its runtime."""
    runtime = os.environ.get("IDEM_SANITIZER")
    if not runtime:
        return []
    return ["env", "LD_PRELOAD=" + runtime, "ASAN_OPTIONS=detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS=print_stacktrace=1"]


def arguments(options, config, port, directory):
    of_redis, of_module = [], []
    for key, value in pairs(options, config):
        if key in OF_SERVER or key == "port":
            continue
        if key in OF_REDIS:
            of_redis += ["--" + key, value]
        else:
            of_module += [key, value]
    return [*launcher(), REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory, *of_redis,
            "--enable-debug-command", "yes", *([] if IS_FUNCTIONS else ["--loadmodule", MODULE, *of_module])]


# The tests that ask what the contract promises; those of idem-server's own workings are not among them.
ACCEPTANCE = ("test_attacks", "test_born", "test_claims", "test_evidence", "test_waiting")
SKIPPED_TEST = re.compile(r"^\| `(test_\w+)\.(\w+)\.(\w+)` \| (.*?) \|$", re.M)
SKIP_ROW = re.compile(r"^\| `([\w-]+)` \| (.*?) \| .* \|$", re.M)


SKIPS = "skips of functions" if IS_FUNCTIONS else "skips"
DOCUMENT = os.path.join(ROOT, "server/module/README.md")


def table_of_skips():
    with open(DOCUMENT, encoding="utf-8") as file:
        return file.read().partition(f"<!-- {SKIPS} -->")[2].partition(f"<!-- end of {SKIPS} -->")[0]


def skip_tests():
    """Marks the tests that the documentation says are not the module's; one that is not there is an error."""
    for module, case, test, why in SKIPPED_TEST.findall(table_of_skips()):
        case = getattr(importlib.import_module(module), case)
        setattr(case, test, unittest.skip(why)(getattr(case, test)))


def skips():
    """{(transcript, step)} of what the documentation says is not the module's; the step `all`: the whole file."""
    table = table_of_skips()
    found = {(file, step) for file, steps in SKIP_ROW.findall(table)
             for step in (["all"] if steps == "all" else re.findall(r"`([^`]+)`", steps))}
    if not found:
        raise SystemExit(f"{DOCUMENT}: no table of skips")
    return found


def server_class(base):
    """A class of servers with the interface of harness.Server."""

    class ModuleServer(base):
        def _arguments(self, options, config, config_mode):
            del config_mode
            self.address = ("127.0.0.1", int(dict(pairs(options, config)).get("port", 0)) or free_port())
            return arguments(options, config, self.address[1], self.directory)

        def _await_ready(self):
            deadline = time.monotonic() + 60
            while READY not in self.log():
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError("redis-server did not become ready:\n" + self.log())
                time.sleep(0.002)
            if IS_FUNCTIONS:
                with open(FUNCTIONS, "rb") as file, self.client() as client:
                    assert client.call("FUNCTION", "LOAD", file.read()) == b"idem"

        def info(self, section="all", client=None):
            fields = super().info(section, client)
            return {key.removeprefix("idem_"): value for key, value in fields.items()}

        def stop(self):
            ended_before = self.process.poll() is not None
            if not ended_before:
                self.signal(signal.SIGTERM)
            try:
                status = self.leave()
                report = self.log()
            finally:
                self.forget()
            if ended_before or status != 0 or BAD_REPORT.search(report):
                raise AssertionError(f"redis-server left with {status}:\n{report[-4000:]}")

    return ModuleServer
