"""mutants.py - the model sees it when one image is not emitted, or one end is not noted by a restore.

    mutants.py --compile "CC FLAGS" --link "CC FLAGS" --libraries "-l..." --build DIR OBJECT ...

Each place in server/engine that emits an image, and each where restore.c notes an end in the horizon, is left out by itself
(a mutant); the model is linked with that file, and has to fail. The objects are those of the model; the mutant's takes the
place of one of them. Exit status 1: a mutant passed.
"""
import argparse
import concurrent.futures
import os
import re
import shlex
import subprocess
import sys
import time

ROOM = 'server/engine'
EMITTING = ('engine.c', 'grant.c', 'keys.c')
EMIT = re.compile(r'\bemit_(?:record|response|value|absent|end|flush)\([^;]*\);')
NOTE = re.compile(r'\bnote_(?:in_horizon|ended)\([^;]*\);')
LEFT_OUT = '(void)engine;'
STEPS = 4000000  # the rarest fails within a tenth of it
LIMIT_S = 600


def places():
    """(file, line, text of the mutant) of each mutant."""
    for name, pattern in [(name, EMIT) for name in EMITTING] + [('restore.c', NOTE)]:
        path = f'{ROOM}/{name}'
        with open(path, encoding='utf-8') as file:
            text = file.read()
        for match in pattern.finditer(text):
            line = text.count('\n', 0, match.start()) + 1
            yield path, line, text[:match.start()] + LEFT_OUT + text[match.end():]


def build(options, number, path, text):
    """The model with this text in the place of the file."""
    base = f'{options.build}/{number}'
    os.makedirs(base, exist_ok=True)
    source, program = f'{base}/{os.path.basename(path)}', f'{base}/test_model'
    with open(source, 'w', encoding='utf-8') as file:
        file.write(text)
    subprocess.run([*shlex.split(options.compile), '-w', '-c', '-o', f'{source}.o', source], check=True)
    own = [f'{source}.o' if other.endswith(path[:-2] + '.o') else other for other in options.objects]
    assert own != options.objects, f'{path} is no part of the model'
    subprocess.run([*shlex.split(options.link), '-o', program, *own, *shlex.split(options.libraries)], check=True)
    return program


def judge(options, number, mutant):
    """(place, what the model said, or None if it passed, seconds)"""
    path, line, text = mutant
    program = build(options, number, path, text)
    begin = time.monotonic()
    run = subprocess.run([program, '--seed', '1', '--steps', str(STEPS), '--shadowed', '5'], check=False, text=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=LIMIT_S)
    said = re.search(r'engine and model differ: (.*)', run.stderr)
    told = said.group(1) if said else f'exit status {run.returncode}' if run.returncode != 0 else None
    return f'{path}:{line}', told, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser()
    for option in ('compile', 'link', 'libraries', 'build'):
        parser.add_argument(f'--{option}', required=True)
    parser.add_argument('--verbose', action='store_true')
    parser.add_argument('objects', nargs='+')
    options = parser.parse_args()
    mutants = list(places())
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda pair: judge(options, *pair), enumerate(mutants)))
    passed = [place for place, said, _ in found if said is None]
    for place, said, seconds in found:
        if options.verbose:
            print(f'{seconds:6.1f} s  {place}: {said}')
    for place in passed:
        print(f'FAILED: {place} can be left out, and the model does not see it')
    print(f'model: {len(found)} mutants, {len(passed)} of them passed')
    return 1 if passed or not found else 0


if __name__ == '__main__':
    sys.exit(main())
