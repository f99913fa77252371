"""Rules about names and headers."""
import os
import re
import subprocess
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import house
from tree import room_of


def is_public(name):
    return name.startswith(house.PUBLIC_PREFIX)


def own_name(path, name):
    """Whether a symbol may be called so in this file."""
    if name == 'main' or (path, name) in house.NAMES or (path.startswith('client/') and is_public(name)):
        return True
    stem = path.rpartition('/')[2].rpartition('.')[0]
    return name in (stem, stem.upper()) or name.startswith((stem + '_', stem.upper() + '_'))


def prefix(tree):
    """What x.c and x.h offer is called x, or x_something; a constant X_SOMETHING."""
    for path, made in tree.objects.items():
        for name in sorted(made.functions | made.data):
            if not own_name(path, name):
                yield path, f'{name} does not begin with {tree.sources[path].stem}_'
    for path, text in tree.sources.items():
        for function in text.functions if text.is_header and room_of(path) in house.OBJECT_ROOMS else []:
            if function.defined and not own_name(path, function.name):
                yield f'{path}:{function.line}', f'{function.name} does not begin with {text.stem}_'
    for path, name in house.NAMES:
        if path in tree.objects and name not in tree.objects[path].functions | tree.objects[path].data:
            yield path, f'{name} is excepted for nothing'


def headers(tree):
    """What x.c offers is declared in x.h, which declares nothing else; a .c declares only what is static."""
    declared = defaultdict(set)  # name -> headers
    for path, text in tree.sources.items():
        if text.is_header:
            for function in text.functions:
                if not function.defined:
                    declared[function.name].add(path)
    for path, text in tree.sources.items():
        if room_of(path) not in house.OBJECT_ROOMS:
            continue
        if text.is_header:
            yield from foreign_declarations(tree, path, text)
        else:
            yield from home_of_definitions(tree, path, text, declared)


def foreign_declarations(tree, path, text):
    if path == house.PUBLIC_HEADER:
        return
    defined = {function.name for function in text.functions if function.defined}
    own = path[:-2] + '.c'
    if own in tree.sources:
        defined |= {function.name for function in tree.sources[own].functions if function.defined}
    for function in text.functions:
        if not function.defined and function.name not in defined:
            yield f'{path}:{function.line}', f'declares {function.name}, which {own} does not define'


def home_of_definitions(tree, path, text, declared):
    header = path[:-2] + '.h'
    if header in tree.sources and header not in [name for _, _, name in text.includes]:
        yield path, f'does not include {header}'
    for match in re.finditer(r'^[ \t]+extern\b', text.code, re.M):
        yield f'{path}:{text.code.count(chr(10), 0, match.start()) + 1}', 'declares what another file has'
    for function in text.functions:
        if function.static or function.name == 'main' or (path, function.name) in house.NAMES:
            continue
        where, name = f'{path}:{function.line}', function.name
        if not function.defined:
            yield where, f'a prototype of {name} in a .c'
            continue
        expected = house.PUBLIC_HEADER if path.startswith('client/') and is_public(name) else header
        # Programs that are never linked together may each have a function of this name.
        found = {other for other in declared[name]
                 if other in (header, expected) or not defines(tree, other[:-2] + '.c', name)}
        if found != {expected}:
            yield where, f'{name} is declared in {", ".join(sorted(found)) or "no header"}, not in {expected} alone'


def defines(tree, path, name):
    functions = tree.sources[path].functions if path in tree.sources else []
    return any(function.defined and function.name == name for function in functions)


def alone(tree):
    """Every header compiles alone, and begins by saying what it is."""
    paths = [path for path, text in tree.sources.items() if text.is_header]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, error in zip(paths, pool.map(lambda path: compile_alone(tree.root, path), paths)):
            if not tree.sources[path].text.startswith('/*'):
                yield path, 'does not begin by saying what it is'
            if error:
                yield path, f'does not compile alone: {error}'


def compile_alone(root, path):
    command = [os.environ.get('CC', 'cc'), '-std=c11', '-D_GNU_SOURCE', '-I.', '-fsyntax-only', '-x', 'c', path]
    result = subprocess.run(command, cwd=root, text=True, capture_output=True, check=False,
                            env={**os.environ, 'LC_ALL': 'C'})
    if result.returncode == 0 or 'No such file' in result.stderr:  # a system without this library
        return None
    return result.stderr.splitlines()[0]


RULES = [prefix, headers, alone]
