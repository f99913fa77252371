#!/usr/bin/env python3
"""Each rule of the check, on small houses that break it (houses.py): exactly the findings that are told
there, no more and no fewer. A rule that no house breaks fails too.
"""
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True

import run
from houses import CASES, LOG_C, SOUND, STALE
from tree import Tree

BUILT = 'build/release'
COMPILE = [os.environ.get('CC', 'cc'), '-std=c11', '-D_GNU_SOURCE', '-w', '-O2', '-fPIE', '-I.', '-c']


def object_of(root, path):
    return os.path.join(root, BUILT, path[:-2] + '.o')


def build(root, changes):
    """Writes the house and compiles it as the Makefile does."""
    files = {**SOUND, **changes}
    subprocess.run(['git', 'init', '-q', root], check=True)
    for path, text in files.items():
        os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
        with open(os.path.join(root, path), 'w', encoding='utf-8') as file:
            file.write(text)
    for path in files:
        if path.endswith('.c'):
            made = object_of(root, path)
            os.makedirs(os.path.dirname(made), exist_ok=True)
            subprocess.run([*COMPILE, '-o', made, path], cwd=root, check=True)


def remove_object(root):
    os.remove(object_of(root, LOG_C))


def age_object(root):
    os.utime(object_of(root, LOG_C), (0, 0))


STALE_CASES = [(f'{what.__name__}', {}, [('built', LOG_C, STALE)], what) for what in (remove_object, age_object)]


def failure(case):
    """What the check says of a house beside what it should, or None."""
    title, changes, expected, *spoil = case
    with tempfile.TemporaryDirectory(prefix='idem-test-') as root:
        build(root, changes)
        for step in spoil:
            step(root)
        found = run.findings(Tree(root, BUILT))
    if sorted(found) == sorted(expected):
        return None
    return '\n'.join([f'FAILED: {title}',
                      *(f'  not found  {finding}' for finding in expected if finding not in found),
                      *(f'  too much   {finding}' for finding in found if finding not in expected)])


def main():
    cases = CASES + STALE_CASES
    shown = {rule for _, _, expected, *_ in cases for rule, _, _ in expected}
    failures = [f'FAILED: no house breaks the rule {rule}' for rule in run.RULES if rule not in shown]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures += filter(None, pool.map(failure, cases))
    for text in failures:
        print(text)
    print(f'check: {len(run.RULES)} rules on {len(cases)} small houses, {len(failures)} failures')
    sys.exit(1 if failures else 0)


if __name__ == '__main__':
    main()
