#!/usr/bin/env python3
"""What can be told of the sources without running them; called by `make check`.

 - Includes go down the floors only, and neighbours of one floor do not see each other (server/README.md has the picture).
 - No function is over 80 lines, no file over 900 (tests, which are tables of cases, may be longer).
 - No mutable state at file scope below main.c: two servers can live in one process.
 - Every header compiles alone, and begins by saying what it is.

Each rule is tried first on a text that breaks it, so that a check that can find nothing fails.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAX_FUNCTION_LINES = 80
MAX_FILE_LINES = 900

# Folder -> floor. A file may include its own folder and folders on lower floors; same floor, other folder: no.
FLOORS = {
    'proto': 0,
    'server/base': 1,
    'server/rules': 2,
    'server/engine': 3,
    'server/journal': 3,
    'server/ops': 3,
    'server/commands': 4,
    'server/net': 5,
    'server/module': 5,
    'server': 6,
}
# Folders outside the server, and what of the project they may include beside themselves.
OUTSIDE = {
    'client': ['proto'],
    'client/examples': ['client', 'proto'],
    'bench': ['proto', 'server/engine'],
    'tests': ['proto', 'server', 'client', 'bench'],
}
# Headers of the system that only one floor may know.
SYSTEM = {'uv.h': ['server/net', 'bench', 'client', 'client/examples', 'tests'],
          'hiredis/hiredis.h': ['client', 'client/examples', 'tests', 'bench']}


def sources():
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '*.c', '*.h'], cwd=ROOT, text=True,
                            capture_output=True, check=True).stdout.split('\n')
    return [name for name in listed if name and os.path.exists(os.path.join(ROOT, name))]


def folder_of(path):
    """The longest known folder that the path lies in."""
    known = [folder for folder in list(FLOORS) + list(OUTSIDE) if path.startswith(folder + '/')]
    return max(known, key=len) if known else None


def include_allowed(including, included):
    """Whether a file of the folder `including` may include one of `included`."""
    if including == included:
        return True
    if including in FLOORS:
        return included in FLOORS and FLOORS[included] < FLOORS[including]
    return any(included == folder or included.startswith(folder + '/') for folder in OUTSIDE[including])


def check_includes(path, text):
    including = folder_of(path)
    if including is None:
        return [f'{path}: lies in no known folder']
    found = []
    for number, line in enumerate(text.split('\n'), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^">]+)[">]', line)
        if not match:
            continue
        quote, name = match.groups()
        if quote == '<':
            if name in SYSTEM and including not in SYSTEM[name]:
                found.append(f'{path}:{number}: only {", ".join(SYSTEM[name])} may include <{name}>')
            continue
        included = folder_of(name)
        if included is None:
            found.append(f'{path}:{number}: "{name}" is not named from the root of the repository')
        elif not include_allowed(including, included):
            found.append(f'{path}:{number}: {including} must not include {included} ("{name}")')
    return found


def check_lengths(path, text):
    lines = text.split('\n')
    too_long = len(lines) > MAX_FILE_LINES and not path.startswith('tests/')
    found = [f'{path}: {len(lines)} lines, over {MAX_FILE_LINES}'] if too_long else []
    start = None
    for number, line in enumerate(lines, 1):
        if re.match(r'[A-Za-z_].*\)\s*\{$', line) or (line == '{' and start is None):
            start = number
        elif line == '}' and start is not None:
            if number - start > MAX_FUNCTION_LINES:
                found.append(f'{path}:{start}: a function of {number - start} lines, over {MAX_FUNCTION_LINES}')
            start = None
    return found


def check_state(path, text):
    """Definitions at file scope that are neither const nor functions."""
    if not path.startswith(('proto/', 'server/', 'client/')) or path == 'server/main.c' or '/examples/' in path:
        return []
    found = []
    for number, line in enumerate(text.split('\n'), 1):
        match = re.match(r'static\s+(?!const\b|inline\b|void\b)[^()=;]*?\b(\w+)\s*(\[[^\]]*\])?\s*(=.*|;)$', line)
        if match and 'const' not in line.split('=')[0] and '_Thread_local' not in line:
            found.append(f'{path}:{number}: mutable state at file scope: {line.strip()}')
    return found


def check_header(path, text):
    if not path.endswith('.h'):
        return []
    found = []
    if not text.startswith('/*'):
        found.append(f'{path}: does not begin by saying what it is')
    command = [os.environ.get('CC', 'cc'), '-std=c11', '-D_GNU_SOURCE', '-I.', '-fsyntax-only', '-x', 'c', path]
    result = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    if result.returncode != 0 and 'No such file' not in result.stderr:
        found.append(f'{path}: does not compile alone: {result.stderr.splitlines()[0]}')
    return found


CHECKS = [check_includes, check_lengths, check_state, check_header]


def try_the_checks():
    """Every rule on something that breaks it."""
    broken = [
        (check_includes, 'server/engine/x.c', '#include "server/net/loop.h"'),
        (check_includes, 'server/engine/x.c', '#include "server/ops/log.h"'),
        (check_includes, 'proto/x.h', '#include "server/rules/rules.h"'),
        (check_includes, 'server/commands/x.c', '#include <uv.h>'),
        (check_includes, 'client/x.c', '#include "server/engine/engine.h"'),
        (check_lengths, 'x.c', 'int f(void) {\n' + '  g();\n' * 90 + '}'),
        (check_state, 'server/engine/x.c', 'static int counter;'),
        (check_state, 'server/engine/x.c', 'static struct list all[3] = {0};'),
        (check_header, os.path.join(tempfile.gettempdir(), 'no-such.h'), 'int x;'),
    ]
    for check, path, text in broken:
        if not check(path, text):
            sys.exit(f'check.py: {check.__name__} does not notice {text[:60]!r} in {path}')


def main():
    try_the_checks()
    found, count = [], 0
    for path in sources():
        with open(os.path.join(ROOT, path), encoding='utf-8') as file:
            text = file.read()
        count += 1
        for check in CHECKS:
            found += check(path, text)
    for line in found:
        print(line)
    print(f'check: {count} files, {len(found)} findings')
    sys.exit(1 if found or count == 0 else 0)


if __name__ == '__main__':
    main()
