"""mutants.py - test_tenants.py sees it when one question about what a session may see is left out.

    mutants.py --compile "CC FLAGS" --link "CC FLAGS" --libraries "-l..." --build DIR [--some N] OBJECT ...

Each call of sight_...(), session_allows_...() and user_allows_...() in server/commands is taken as answered yes (a mutant); the
server is linked with that file, and the test has to fail on it. The objects are those of the server; the mutant's takes the place of one of
them. --some N: N of the mutants, far from each other. Exit status 1: a mutant passed.
"""
import glob
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import mutating  # noqa: E402

ROOM = 'server/commands'
QUESTION = re.compile(r'\b(?:sight_\w+|session_allows_\w+|user_allows_(?:key|channel|channel_pattern|all_keys))\(')
TESTS = ('test_tenants.Counts', 'test_tenants.Tenants.test_resp3')
LIMIT_S = 300


def end_of(text, at):
    """Where the parenthesis that is open before `at` closes."""
    depth = 1
    while depth > 0:
        depth += {'(': 1, ')': -1}.get(text[at], 0)
        at += 1
    return at


def places():
    """(file, line, question, text of the mutant) of each mutant."""
    for path in sorted(glob.glob(f'{ROOM}/*.c')):
        with open(path, encoding='utf-8') as file:
            text = file.read()
        for match in QUESTION.finditer(text):
            begins = text.rfind('\n', 0, match.start()) + 1
            if re.match(r'(?:bool|static|/?\*| \*)', text[begins:]):
                continue  # a definition, or a comment
            end = end_of(text, match.end())
            line = text.count('\n', 0, match.start()) + 1
            question = ' '.join(text[match.start():end].split())
            yield path, line, question, text[:match.start()] + 'true' + text[end:]


def judge(options, number, mutant):
    """(place, what the test said, or None if it passed, seconds)"""
    path, line, question, text = mutant
    program = mutating.build(options, f'{number}/idem-server', path, text)
    begin = time.monotonic()
    run = subprocess.run([sys.executable, 'tests/system/run.py', '--failfast', *TESTS], check=False, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S,
                         env={**os.environ, 'IDEM_SERVER': program})
    said = re.findall(r'^\w*(?:Error|Exception|Closed): .*', run.stdout, re.M)
    told = (said[-1][:160] if said else run.stdout[-160:]) if run.returncode != 0 else None
    return f'{path}:{line}: {question}', told, time.monotonic() - begin


def main():
    parser = mutating.parser()
    parser.add_argument('--some', type=int, default=0)
    options = parser.parse_args()
    mutants = list(places())
    if options.some:
        mutants = mutants[options.some // 2::max(1, len(mutants) // options.some)][:options.some]
    return mutating.run(options, mutants, judge, 'tenants', 'no tenant test sees it')


if __name__ == '__main__':
    sys.exit(main())
