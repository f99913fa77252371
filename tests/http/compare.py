#!/usr/bin/python3
"""Runs the cases that ask for nothing that only idem has on every application, other libraries included, and writes the table of
COMPARISON.md.

usage: compare.py [--write] [--app NAME ...]
  --write   replaces the table in COMPARISON.md; otherwise it is printed
  --app     only these applications

What did not pass is shown with the first line of what was seen. Nothing in the table is written by hand. An application that cannot
run here is left out, and said so.
"""
import argparse
import os
import re
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
import run  # noqa: E402
from cases import CASES  # noqa: E402
from world import World  # noqa: E402

PAGE = os.path.join(HERE, "COMPARISON.md")
BEGIN, END = "<!-- comparison: begin -->", "<!-- comparison: end -->"
SEEN_CHARACTERS = 60  # of what was seen instead, in a footnote


def outcome(world, case):
    """'yes', '-' where the application lacks a feature, or what was seen instead."""
    if case.missing(world.features):
        return "-"
    said = run.run_case(world, case)
    if said is None:
        return "yes"
    last = said.strip().splitlines()[-1]
    seen = re.sub(r"^\w*(?:Error|TimedOut|Cut): ", "", last)
    return seen if len(seen) <= SEEN_CHARACTERS else seen[:SEEN_CHARACTERS] + "..."


def outcomes(description, cases):
    world = World(description)
    try:
        return [outcome(world, case) for case in cases]
    finally:
        world.close()


def escaped(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def table(cases, columns):
    notes = []
    lines = ["| case | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for number, case in enumerate(cases):
        cells = []
        for name in columns:
            result = columns[name][number]
            if result not in ("yes", "-"):
                notes.append(f"{len(notes) + 1}. {name}: `{escaped(result)}`")
                result = f"no ({len(notes)})"
            cells.append(result)
        lines.append(f"| {case.name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    passed = [f"{results.count('yes')} of {len(results) - results.count('-')}" for results in columns.values()]
    lines.append("| **passed** | " + " | ".join(passed) + " |")
    return "\n".join(lines + ["", "What was seen instead:", ""] + notes) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--app", action="append", default=[])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    cases = [case for case in CASES if "idem" not in case.needs]
    columns = {}
    for name, description in run.descriptions().items():
        if given.app and name not in given.app:
            continue
        reason = run.missing(description)
        if reason:
            print(f"{name} is left out: {reason}", file=sys.stderr)
            continue
        columns[description["adapter"]] = outcomes(description, cases)
        print(f"{name}: {columns[description['adapter']].count('yes')} of {len(cases)}", file=sys.stderr, flush=True)
    text = table(cases, columns)
    if not given.write:
        print(text)
        return
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{text}{END}{after}")


if __name__ == "__main__":
    main()
