"""Runs the tests of libidem: the programs of this directory, the header in C++, the shape of the
libraries.

    run.py BUILD [--brief] [--valgrind] [--cc CC] [--cxx CXX] [NAME ...]

BUILD is the directory of a mode (build/release).  --brief: smaller numbers, for instrumented builds.
The programs start servers of their own (IDEM_SERVER) and end them.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests"))
import limit  # noqa: E402

VALGRIND = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--fair-sched=yes",
            "--child-silent-after-fork=yes"]

# name (of the program, up to a hyphen), arguments, arguments in a brief run
PROGRAMS = [
    ("test_key", [], []),
    ("test_policy", [], []),
    ("test_calls", [], []),
    ("test_once", [], []),
    ("test_renewer", [], []),
    ("test_async", [], []),
    ("test_late", [], []),
    ("test_stranger", [], []),
    ("test_grants", [], []),
    ("test_agree", [], []),
    ("test_evidence", [], []),
    ("test_contract", [], []),
    ("test_suspend", [], []),
    ("test_tls", [], []),
    ("test_table", [], []),
    ("test_cluster", [], []),
    ("test_nodes", [], []),
    ("cut", [], ["7", "100"]),
    ("cut-tls", ["37", "30", "tls"], ["41", "100", "tls"]),
    ("crash", [], ["1000"]),
    ("crowd", [], ["8", "100"]),
    ("oom", [], []),
]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
# What the shared library may show to the world besides idem_*: nothing.
FOREIGN = re.compile(r" [TDBR] (?!idem_)\w+")


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def run_program(build, name, arguments, under):
    command = under + [os.path.join(build, "tests/client", name.partition("-")[0])] + arguments
    status, text = limit.run_group(command)
    if status is None:
        raise Failed(f"FAILED (timeout)\n{text}")
    if status != 0:
        raise Failed(f"{name} ended with {status}\n{text}")
    return [line for line in text.splitlines() if line.startswith("  ")]


def compile_only(compiler, arguments, source):
    done = subprocess.run(compiler.split() + WARNINGS + ["-fsyntax-only"] + arguments + [source],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, check=False)
    check(done.returncode == 0, f"{compiler} {source}\n{done.stdout.decode()}")


def headers(options):
    """Each header alone, in both languages and more than one standard."""
    for standard, header in (("-std=c11", "idem.h"), ("-std=c17", "idem.h"),
                             ("-std=gnu11", "idem_uv.h")):  # libuv's own header wants POSIX
        compile_only(options.cc, [standard, "-Iclient", "-Wno-unused-function", "-xc"],
                     "client/" + header)
    if shutil.which(options.cxx.split()[0]) is None:
        return ["  no C++ compiler here"]
    for standard in ("-std=c++11", "-std=c++20"):
        compile_only(options.cxx, [standard, "-Iclient"], "tests/client/header.cc")
    return []


def declared_functions():
    with open(os.path.join(ROOT, "client/idem.h"), encoding="utf-8") as header:
        return set(re.findall(r"^IDEM_API[^;]*?\b(idem_\w+)\(", header.read(), re.M))


def libraries(options):
    """The soname, the versions of the symbols, and no name of ours in a user's program but idem_*."""
    shared = os.path.join(options.build, "libidem.so.0")
    text = subprocess.check_output(["objdump", "-p", shared], text=True)
    check(re.search(r"SONAME\s+libidem\.so\.0$", text, re.M), "no soname")
    text = subprocess.check_output(["nm", "-D", "--defined-only", shared], text=True)
    check(not FOREIGN.search(text), f"foreign names in {shared}:\n{FOREIGN.findall(text)}")
    text = subprocess.check_output(["nm", "-D", "--defined-only", "--with-symbol-versions", shared], text=True)
    shown = set(re.findall(r" T (\w+)@@IDEM_0\.1$", text, re.M))
    declared = declared_functions()
    check(shown == declared, f"not both in client/idem.h and, with its version, in client/libidem.map: {shown ^ declared}")
    archive = os.path.join(options.build, "libidem.a")
    text = subprocess.check_output(["nm", "-g", "--defined-only", archive], text=True)
    check(not FOREIGN.search(text), f"foreign names in {archive}:\n{FOREIGN.findall(text)}")
    return []


# In C sources: what is not code.
NO_CODE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"", re.S)


def never_called(names, texts):
    """The names that no text calls."""
    code = "\n".join(NO_CODE.sub("", text) for text in texts)
    return {name for name in names if not re.search(rf"\b{name}\s*\(", code)}


def calls(options):
    """Every public function is called by a test or an example."""
    unused = ["/* idem_a() */ const char *s = \"idem_a()\"; // idem_a()", "idem_aa(); idem_b (1);"]
    check(never_called({"idem_a", "idem_b"}, unused) == {"idem_a"}, "a function that is not called is not found")
    texts = []
    for directory in ("tests/client", "client/examples"):
        for name in sorted(os.listdir(os.path.join(ROOT, directory))):
            if name.endswith(".c"):
                with open(os.path.join(ROOT, directory, name), encoding="utf-8") as source:
                    texts.append(source.read())
    unseen = never_called(declared_functions(), texts)
    check(not unseen, f"called by no test and no example: {', '.join(sorted(unseen))}")
    return []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--valgrind", action="store_true")
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    options = parser.parse_intermixed_args()
    under = VALGRIND if options.valgrind else []
    tests = []
    for name, arguments, brief in PROGRAMS:
        chosen = brief if options.brief else arguments
        tests.append((name, lambda name=name, chosen=chosen:
                      run_program(options.build, name, chosen, under)))
    if not options.brief:
        tests += [("headers", lambda: headers(options)), ("libraries", lambda: libraries(options)),
                  ("calls", lambda: calls(options))]
    failures = 0
    for name, test in tests:
        if options.names and name not in options.names:
            continue
        start = time.monotonic()
        try:
            with limit.limited(name):
                lines = test()
            print(f"ok   {name:12} {time.monotonic() - start:6.1f} s")
            print("".join(line + "\n" for line in lines), end="", flush=True)
        except (Failed, subprocess.SubprocessError, limit.TimedOut) as error:
            failures += 1
            print(f"FAIL {name}: {error}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
