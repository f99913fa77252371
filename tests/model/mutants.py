"""mutants.py - the model sees it when one image is not emitted, one end is not noted by a restore, or one timer is not armed.

    mutants.py --compile "CC FLAGS" --link "CC FLAGS" --libraries "-l..." --build DIR OBJECT ...

Each place in server/engine that emits an image, each where restore.c notes an end in the horizon, and each where deadlines.c
arms the timer of a slab, is left out by itself (a mutant); the model is linked with that file, and has to fail. The objects are those of the model; the mutant's takes the
place of one of them. Exit status 1: a mutant passed.
"""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import mutating  # noqa: E402

ROOM = 'server/engine'
EMITTING = ('engine.c', 'grant.c', 'keys.c')
EMIT = re.compile(r'\bemit_(?:record|response|value|absent|end|flush)\([^;]*\);')
NOTE = re.compile(r'\bnote_(?:in_horizon|ended)\([^;]*\);')
ARM = re.compile(r'\bslab_arm\([^;]*\);')
LEFT_OUT = {EMIT: '(void)engine;', NOTE: '(void)engine;', ARM: '(void)slabs;'}
STEPS = 4000000  # the rarest fails within a tenth of it
LIMIT_S = 600


def places():
    """(file, line, text of the mutant) of each mutant."""
    for name, pattern in [(name, EMIT) for name in EMITTING] + [('restore.c', NOTE), ('deadlines.c', ARM)]:
        path = f'{ROOM}/{name}'
        with open(path, encoding='utf-8') as file:
            text = file.read()
        for match in pattern.finditer(text):
            line = text.count('\n', 0, match.start()) + 1
            yield path, line, text[:match.start()] + LEFT_OUT[pattern] + text[match.end():]


def judge(options, number, mutant):
    """(place, what the model said, or None if it passed, seconds)"""
    path, line, text = mutant
    program = mutating.build(options, f'{number}/test_model', path, text)
    begin = time.monotonic()
    run = subprocess.run([program, '--seed', '1', '--steps', str(STEPS), '--shadowed', '5'], check=False, text=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=LIMIT_S)
    said = re.search(r'engine and model differ: (.*)', run.stderr)
    told = said.group(1) if said else f'exit status {run.returncode}' if run.returncode != 0 else None
    return f'{path}:{line}', told, time.monotonic() - begin


def main():
    options = mutating.parser().parse_args()
    return mutating.run(options, list(places()), judge, 'model', 'the model does not see it')


if __name__ == '__main__':
    sys.exit(main())
