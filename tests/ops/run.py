#!/usr/bin/python3
"""Runs the tests of this directory, which need what `make test` does not install: each tests/ops/test_X.py
by itself, for a limited time.

usage: run.py [--strict] [--no-install] [--list] [test_X ...]
  --strict      a test that cannot run here is a failure; otherwise it is SKIPPED, with the reason
  --no-install  does not call apt-get or npm for what is missing

A test is a module of unittest (this file gives it `harness` and `limit` to import) and skips by
self.skipTest. The file `need` names its packages. It gets IDEM_SERVER, IDEM_BUILD and NODE_PATH. This
file must not know what is tested. Invariants: a test that hangs is ended with all its children and
called FAILED (timeout), and the tests after it run; the last line says what passed, failed and was
skipped.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build/ops")
PYTHON = "/usr/bin/python3"
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(ROOT, "tests/system"), os.path.join(ROOT, "tests")]
import limit  # noqa: E402

# These limits end what hangs, not what is slow.
MODULE_SECONDS = float(os.environ.get("IDEM_PROGRAM_LIMIT_S", 900))
INSTALL_SECONDS = 900
SKIPPED = re.compile(r"\.\.\. skipped ['\"](.*)['\"]$", re.M)


class Unavailable(Exception):
    """What a test needs cannot be had here. The text is the reason."""


# ---- what a test needs ----

def needs(name):
    """(Debian packages, npm packages as NAME@VERSION) of test_NAME."""
    with open(os.path.join(HERE, "need"), encoding="ascii") as file:
        for line in file:
            test, colon, words = line.partition(":")
            if colon and "test_" + test == name:
                words = words.split()
                return ([word for word in words if not word.startswith("npm:")],
                        [word[4:] for word in words if word.startswith("npm:")])
    return [], []


def installed(packages):
    told = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Status}\\n", *packages],
                          capture_output=True, text=True)
    have = {line.split()[0] for line in told.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package in have]


def stop_services(packages):
    """Debian's packages start their services, on a machine that has an init. A test starts what it needs
    itself, on a port of its own."""
    if os.path.isdir("/run/systemd/system"):
        for package in packages:
            subprocess.run(["systemctl", "disable", "--now", package], capture_output=True)


def install_debian(packages, may_install):
    missing = [package for package in packages if package not in installed(packages)]
    if not missing:
        return
    if not may_install:
        raise Unavailable("not installed: " + " ".join(missing))
    print("    installing: " + " ".join(missing), flush=True)
    try:
        done = subprocess.run([os.path.join(ROOT, "tests/need"), *missing], capture_output=True,
                              text=True, timeout=INSTALL_SECONDS)
    except (subprocess.TimeoutExpired, OSError):
        raise Unavailable("packages cannot be had: " + " ".join(missing)) from None
    if done.returncode != 0:
        raise Unavailable("packages cannot be installed: " + " ".join(missing))
    stop_services(missing)


def install_npm(spec, may_install):
    name, _, version = spec.rpartition("@")
    manifest = os.path.join(BUILD, "node_modules", name, "package.json")
    if os.path.exists(manifest):
        return
    if not may_install:
        raise Unavailable(f"not installed: {spec}")
    if not shutil.which("npm"):
        install_debian(["nodejs", "npm"], may_install)
    os.makedirs(BUILD, exist_ok=True)
    print("    installing: " + spec, flush=True)
    # Saved, or the next one would remove it. Their scripts do not run: playwright's would fetch a browser.
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts",
               "--loglevel=error", "--prefix", BUILD, spec]
    try:
        subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    if not os.path.exists(manifest):
        raise Unavailable(f"npm could not install {name} {version}")


def prepare(name, may_install):
    debian, npm = needs(name)
    if debian:
        install_debian(debian, may_install)
    for spec in npm:
        install_npm(spec, may_install)


# ---- one test ----

def environment():
    return dict(os.environ, LC_ALL="C.UTF-8", PYTHONDONTWRITEBYTECODE="1", IDEM_OPS=BUILD,
                NODE_PATH=os.path.join(BUILD, "node_modules"))


def run_module(name):
    """The tests of a module have each a time of their own, so one that hangs usually hides no other.
    (result, what it printed); result: "passed", "FAILED", "FAILED (timeout)" or "SKIPPED: why"."""
    os.environ.update(environment())
    limit.LIMIT_S = MODULE_SECONDS
    with limit.limited(name):
        status, said = limit.run_group([PYTHON, os.path.join(HERE, "run.py"), "--module", name])
    if status is None:
        return "FAILED (timeout)", said
    if status != 0:
        return "FAILED", said
    reasons = list(dict.fromkeys(SKIPPED.findall(said)))
    return ("SKIPPED: " + "; ".join(reasons) if reasons else "passed"), said


def run_test(name, may_install):
    try:
        prepare(name, may_install)
    except Unavailable as reason:
        return f"SKIPPED: {reason}", "", 0.0
    began = time.monotonic()
    result, said = run_module(name)
    return result, said, time.monotonic() - began


def shown(said):
    """What a test measured, and what it says of itself."""
    return "".join(f"    {line}\n" for line in re.findall(r"measured: .*|^# .*", said, re.M))


# ---- all ----

def arguments():
    parser = argparse.ArgumentParser(description="idem in operation")
    parser.add_argument("names", nargs="*", metavar="test_X")
    for flag in ("--strict", "--no-install", "--list"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--module", help=argparse.SUPPRESS)
    return parser.parse_args()


def modules():
    return sorted(name[:-3] for name in os.listdir(HERE)
                  if name.startswith("test_") and name.endswith(".py"))


def main():
    given = arguments()
    if given.module:
        return limit.main("ops", [given.module])
    if given.list:
        print("\n".join(modules()))
        return 0
    results = {"passed": 0, "FAILED": 0, "SKIPPED": 0}
    began = time.monotonic()
    for name in given.names or modules():
        result, said, took = run_test(name, not given.no_install)
        print(f"{name:20} {result} ({took:.1f} s)", flush=True)
        print(shown(said) if not result.startswith("FAILED") else said, end="", flush=True)
        results[re.match(r"\w+", result).group(0)] += 1
    print(f"ops: {results['passed']} passed, {results['FAILED']} failed, {results['SKIPPED']} skipped "
          f"({time.monotonic() - began:.0f} s)")
    return 1 if results["FAILED"] or (results["SKIPPED"] and given.strict) else 0


if __name__ == "__main__":
    sys.exit(main())
