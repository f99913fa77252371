"""mutants.py - test_tenants.py sees it when one question about what a session may see is left out.

    mutants.py --compile "CC FLAGS" --link "CC FLAGS" --libraries "-l..." --build DIR [--some N] OBJECT ...

Each call of sight_...(), session_allows_...() and user_allows_...() in server/commands is taken as answered yes (a mutant); the
server is linked with that file, and the test has to fail on it. The objects are those of the server; the mutant's takes the place of one of
them. --some N: N of the mutants, far from each other. Exit status 1: a mutant passed.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shlex
import subprocess
import sys
import time

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


def build(options, number, path, text):
    """The server with this text in the place of the file."""
    base = f'{options.build}/{number}'
    os.makedirs(base, exist_ok=True)
    source, program = f'{base}/{os.path.basename(path)}', f'{base}/idem-server'
    with open(source, 'w', encoding='utf-8') as file:
        file.write(text)
    subprocess.run([*shlex.split(options.compile), '-w', '-c', '-o', f'{source}.o', source], check=True)
    own = [f'{source}.o' if other.endswith('/' + path[:-2] + '.o') else other for other in options.objects]
    assert own != options.objects, f'{path} is no part of the server'
    subprocess.run([*shlex.split(options.link), '-o', program, *own, *shlex.split(options.libraries)], check=True)
    return program


def judge(options, number, mutant):
    """(place, what the test said, or None if it passed, seconds)"""
    path, line, question, text = mutant
    program = build(options, number, path, text)
    begin = time.monotonic()
    run = subprocess.run([sys.executable, 'tests/system/run.py', '--failfast', *TESTS], check=False, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S,
                         env={**os.environ, 'IDEM_SERVER': program})
    said = re.findall(r'^\w*(?:Error|Exception|Closed): .*', run.stdout, re.M)
    told = (said[-1][:160] if said else run.stdout[-160:]) if run.returncode != 0 else None
    return f'{path}:{line}: {question}', told, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser()
    for option in ('compile', 'link', 'libraries', 'build'):
        parser.add_argument(f'--{option}', required=True)
    parser.add_argument('--some', type=int, default=0)
    parser.add_argument('--verbose', action='store_true')
    parser.add_argument('objects', nargs='+')
    options = parser.parse_args()
    mutants = list(places())
    if options.some:
        mutants = mutants[options.some // 2::max(1, len(mutants) // options.some)][:options.some]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda pair: judge(options, *pair), enumerate(mutants)))
    passed = [place for place, said, _ in found if said is None]
    for place, said, seconds in found:
        if options.verbose:
            print(f'{seconds:6.1f} s  {place}\n         {said}')
    for place in passed:
        print(f'FAILED: {place} can be left out, and no tenant test sees it')
    print(f'tenants: {len(found)} mutants, {len(passed)} of them passed')
    return 1 if passed or not found else 0


if __name__ == '__main__':
    sys.exit(main())
