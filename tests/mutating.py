"""mutating.py - programs of which one file has one place changed (mutants), and whether what judges them fails.

What tests/model/mutants.py and tests/tenants/mutants.py share. A mutant is a tuple that begins with the path of a source.
"""
import argparse
import concurrent.futures
import os
import shlex
import subprocess


def parser():
    """With what says how a program is built; `objects` are those of the program."""
    made = argparse.ArgumentParser()
    for option in ('compile', 'link', 'libraries', 'build'):
        made.add_argument(f'--{option}', required=True)
    made.add_argument('--verbose', action='store_true')
    made.add_argument('objects', nargs='+')
    return made


def build(options, name, path, text):
    """The program under this name below --build, with this text in the place of the file."""
    program = f'{options.build}/{name}'
    base = os.path.dirname(program)
    os.makedirs(base, exist_ok=True)
    source = f'{base}/{os.path.basename(path)}'
    with open(source, 'w', encoding='utf-8') as file:
        file.write(text)
    subprocess.run([*shlex.split(options.compile), '-w', '-c', '-o', f'{source}.o', source], check=True)
    own = [f'{source}.o' if other.endswith('/' + path[:-2] + '.o') else other for other in options.objects]
    assert own != options.objects, f'{path} is no part of the program'
    subprocess.run([*shlex.split(options.link), '-o', program, *own, *shlex.split(options.libraries)], check=True)
    return program


def run(options, mutants, judge, who, blind):
    """judge(options, number, mutant) -> (place, what was said, or None if it passed, seconds). Returns the exit status."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda pair: judge(options, *pair), enumerate(mutants)))
    passed = [place for place, said, _ in found if said is None]
    for place, said, seconds in found:
        if options.verbose:
            print(f'{seconds:6.1f} s  {place}: {said}')
    for place in passed:
        print(f'FAILED: {place} can be left out, and {blind}')
    print(f'{who}: {len(found)} mutants, {len(passed)} of them passed')
    return 1 if passed or not found else 0
