#!/usr/bin/python3
"""The manual pages: idem-server.8 has the options of --help, and roff reports nothing.

    manual.py            compares, exits with 1 when a page is out of date
    manual.py --write    puts the options of `idem-server --help` into the page

The same for idem-bench.1, where idem-bench is built.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SERVER = os.environ.get("IDEM_SERVER", os.path.join(ROOT, "build/release/idem-server"))
BENCH = os.path.join(os.path.dirname(SERVER), "idem-bench")
PAGES = [os.path.join(ROOT, "client/man", name)
         for name in ("idem-server.8", "idem-once.1", "libidem.3", "idem-bench.1")]
BEGIN, END = '.\\" options\n', '.\\" /options\n'
EXAMPLE = re.compile(r"^\.SH EXAMPLES\n\.EX\n(#include.*?)^\.EE\n", re.M | re.S)


def roff(text):
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")


def options_of_help(text):
    """The part of `idem-server --help` after its first paragraphs, as roff."""
    out = []
    for line in text.splitlines():
        option = re.match(r"  (?:  |--)(\S+) (\S+(?: \S+)*)(?:\s{2,}(.*))?$", line)
        if option:
            dashes = "" if line.startswith("    ") else "\\-\\-"
            value = roff(option[2]).replace(" ", "\\~")
            out.append(f".TP\n.BI {dashes}{roff(option[1])} \\~{value}")
            if option[3]:
                out.append(roff(option[3]))
        elif re.match(r"\s{20,}\S", line):
            out.append(roff(line.strip()))
        elif re.match(r"[A-Z][A-Za-z ]+$", line):
            out.append(f".SS {line}")
    return "\n".join(out) + "\n"


def options_of_bench(text):
    """The options and scenarios of `idem-bench --help`, as roff."""
    out = []
    for line in text.splitlines():
        row = re.match(r"  ((?:--)?[a-z][a-z-]*)(?: ([A-Z]+))?\s{2,}(.*)$", line)
        if row:
            value = f"I {roff(row[1])} \\~{row[2]}" if row[2] else f" {roff(row[1])}"
            out.append(f".TP\n.B{value}\n{roff(row[3])}")
        elif line in ("options:", "scenarios:"):
            out.append(f".SS {line[:-1].capitalize()}")
    return "\n".join(out) + "\n"


def page_with(page, options):
    begin = page.index(BEGIN) + len(BEGIN)
    return page[:begin] + options + page[page.index(END):]


def complaints():
    """What roff, and mandoc where it is installed, say about the pages."""
    found = []
    for page in PAGES:
        for command in (["groff", "-man", "-Tutf8", "-ww", "-z", page],
                        ["mandoc", "-T", "lint", "-W", "warning", page]):
            try:
                result = subprocess.run(command, capture_output=True, text=True, check=False)
            except FileNotFoundError:
                if command[0] == "groff":
                    raise
                continue
            said = (result.stdout + result.stderr).strip()
            if said or result.returncode != 0:
                found.append(f"{command[0]}: {said}")
    return found


def example_of(path):
    """The example program on a page, as text for the C compiler."""
    with open(path, encoding="utf-8") as file:
        text = EXAMPLE.search(file.read()).group(1)
    return text.replace("\\-", "-").replace("\\e", "\\")


def look_at(path, options, write):
    """True when the page has these options, or has them now."""
    with open(path, encoding="utf-8") as file:
        page = file.read()
    fresh = page_with(page, options)
    if write:
        with open(path, "w", encoding="utf-8") as file:
            file.write(fresh)
    elif fresh != page:
        print(f"{path}: not the options of --help; tests/system/c_examples/manual.py --write")
        return False
    return True


def help_of(program):
    return subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout


def main():
    write = "--write" in sys.argv
    good = look_at(PAGES[0], options_of_help(help_of(SERVER)), write)
    if os.path.exists(BENCH):
        good = look_at(PAGES[3], options_of_bench(help_of(BENCH)), write) and good
    found = complaints()
    print("\n".join(found), end="\n" if found else "")
    return 0 if good and not found else 1


if __name__ == "__main__":
    sys.exit(main())
