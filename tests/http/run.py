#!/usr/bin/python3
"""Runs the cases against test applications (README.md).

usage: run.py [--app NAME ...] [--full NAME ...] [--sample COUNT] [--seed N] [-k TEXT] [--list] [--quiet]
  --app     only these applications, every case; default: all of apps/ that can run here
  --full    every case on these, a sample of --sample cases on the others
  -k        only cases with this text in the name

Needs IDEM_SERVER (build/release/idem-server). An application that cannot run here is SKIPPED, with the reason; with
--strict that is a failure. A case that hangs is ended and called FAILED (timeout).
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, os.pardir), os.path.join(HERE, os.pardir, "system")]
import limit  # noqa: E402
import cases_answers, cases_fate, cases_key, cases_settings, cases_stored  # noqa: E402, E401, F401
from cases import CASES  # noqa: E402
from world import World  # noqa: E402

APPS = os.path.join(HERE, "apps")
limit.LIMIT_S = float(os.environ.get("IDEM_TEST_LIMIT_S", 120))
PYTHON_NEEDS = {"flask": "flask, flask_login", "django": "django", "wsgi": "werkzeug", "starlette": "starlette, uvicorn",
                "fastapi": "fastapi, uvicorn"}


def descriptions():
    found = {}
    for name in sorted(os.listdir(APPS)):
        path = os.path.join(APPS, name, "app.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found[name] = {**json.load(file), "name": name, "directory": os.path.join(APPS, name)}
    return found


def missing(description):
    """Why this application cannot run here; None when it can."""
    program = description["command"][0]
    if not shutil.which(program):
        return f"{program} is not installed"
    check = description.get("check")  # words that succeed when its packages are there
    if check is None and description["name"] in PYTHON_NEEDS:
        check = [program, "-c", "import redis, " + PYTHON_NEEDS[description["name"]]]
    if check is None:
        return None
    done = subprocess.run(check, cwd=description["directory"], capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["its check failed"])[-1]


def run_case(world, case):
    """None, or what failed."""
    try:
        with limit.limited(case.name):
            try:
                case.function(world)
            finally:
                world.end_case()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return traceback.format_exc()
    return None


def run_app(description, chosen, quiet):
    world = World(description)
    failed = ran = 0
    began = time.monotonic()
    try:
        for case in chosen:
            if case.missing(world.features):
                continue
            ran += 1
            started = time.monotonic()
            said = run_case(world, case)
            failed += said is not None
            if said is not None or not quiet:
                result = "ok" if said is None else "FAILED"
                print(f"  {description['name']:12} {case.name} ... {result} ({time.monotonic() - started:.1f} s)",
                      flush=True)
            if said is not None:
                print(f"    row: {case.row}\n{said}", flush=True)
    finally:
        world.close()
    print(f"{description['name']:14} {ran - failed} of {ran} cases passed ({time.monotonic() - began:.0f} s)", flush=True)
    return ran, failed


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--app", action="append", default=[])
    parser.add_argument("--full", action="append", default=[])
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("-k", default="")
    for flag in ("--list", "--quiet", "--strict"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def chosen_for(name, given, rng):
    picked = [case for case in CASES if given.k in case.name]
    if not given.full or name in given.full or not given.sample:
        return picked
    sample = set(rng.sample(range(len(picked)), min(given.sample, len(picked))))
    return [case for number, case in enumerate(picked) if number in sample]


def main():
    given = arguments()
    apps = descriptions()
    if given.list:
        for case in CASES:
            print(f"{case.name:70} {case.row}")
        return 0
    unknown = set(given.app) - set(apps)
    if unknown:
        sys.exit(f"no such application: {', '.join(sorted(unknown))}; there are {', '.join(apps)}")
    names = given.app or [name for name in apps if not apps[name].get("peer")]
    seed = given.seed if given.seed is not None else random.randrange(1 << 32)
    if given.full and given.sample:
        print(f"all cases on {', '.join(given.full)}, {given.sample} on each of the others: --seed {seed}")
    bad = skipped = 0
    for name in names:
        reason = missing(apps[name])
        if reason:
            print(f"{name:14} SKIPPED: {reason}", flush=True)
            skipped += 1
            continue
        ran, failed = run_app(apps[name], chosen_for(name, given, random.Random(f"{seed}-{name}")), given.quiet)
        bad += failed
        if ran == 0:
            print(f"{name:14} FAILED: no case ran")
            bad += 1
    return 1 if bad or (skipped and given.strict) else 0


if __name__ == "__main__":
    sys.exit(main())
