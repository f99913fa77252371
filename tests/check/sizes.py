"""Rules about what there is too much of: lines, state, functions that nobody needs."""
import ast
from collections import Counter

import house
from tree import room_of


def limits(path):
    for folder, ending, function, file in house.LIMITS:
        if path.startswith(folder) and path.endswith(('.c', '.h') if ending == '.[ch]' else ending):
            return function, file
    raise ValueError(path)


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def c_functions(text):
    return [(function.name, function.line, function.lines) for function in text.functions if function.defined]


def lengths(tree):
    """Functions and files stay short."""
    texts = {**{path: text.text for path, text in tree.sources.items()}, **tree.scripts}
    for path, text in sorted(texts.items()):
        most_function, most_file = limits(path)
        lines = text.count('\n')
        if lines > house.LONG_FILES.get(path, most_file):
            yield path, f'{lines} lines, over {house.LONG_FILES.get(path, most_file)}'
        if path in house.LONG_FILES and lines <= most_file:
            yield path, 'is excepted for nothing'
        for name, line, length in python_functions(text) if path in tree.scripts else c_functions(tree.sources[path]):
            if length > most_function:
                yield f'{path}:{line}', f'{name} has {length} lines, over {most_function}'


def state(tree):
    """No mutable state at file or function scope, nor per thread: two servers can live in one process."""
    for path, made in tree.objects.items():
        for name in sorted(made.mutable):
            if (path, name) not in house.STATE:
                yield path, f'{name} is mutable state'
    for path, name in house.STATE:
        if path in tree.objects and name not in tree.objects[path].mutable:
            yield path, f'{name} is excepted for nothing'


def unused(tree):
    """A file offers what another file needs, and a program, not only a test; an example shows what is public."""
    needed = set().union(*(made.needed for made in tree.objects.values()))
    words = {path: Counter(text.words()) for path, text in tree.sources.items()}
    for path, made in tree.objects.items():
        for name in sorted(made.functions | made.data):
            if name == 'main' or (path, name) in house.NAMES or (path, name) in house.UNUSED:
                continue
            if room_of(path) == 'client' and name.startswith(house.PUBLIC_PREFIX):
                if not any(name in words[user] for user in words if user.startswith(house.PUBLIC_USERS)):
                    yield path, f'{name} is public and no test or example calls it'
            elif name not in needed and words[path][name] < 2:
                yield path, f'{name} is called by no program'
            elif name not in needed and not any(name in words[user] for user in words if user[:-2] != path[:-2]):
                yield path, f'{name} is needed by no other file'
    for path, name in house.UNUSED:
        if path in tree.objects and (name in needed or name not in tree.objects[path].functions):
            yield path, f'{name} is excepted for nothing'
    yield from unused_inline(tree, words)


def unused_inline(tree, words):
    programs = [found for path, found in words.items() if room_of(path) != 'tests']
    for path, text in tree.sources.items():
        for function in text.functions if text.is_header and room_of(path) in house.OBJECT_ROOMS else []:
            name = function.name
            public = name.startswith(house.PUBLIC_PREFIX)
            if function.defined and not public and sum(found[name] for found in programs) < 2:
                yield f'{path}:{function.line}', f'{name} is called by no program'


RULES = [lengths, state, unused]
