"""Rules about what may know what: floors, circles of files, and the picture that shows the floors."""
import os
import re
from collections import defaultdict, deque

import house
from tree import folder_of, room_of, sees

NAMES_SHOWN = 3


def built(tree):
    """Every .c of the rooms has an object that is not older: the other rules look at these."""
    return [(path, f'has no object under {tree.built} that is newer: run `make check`') for path in tree.stale]


def includes(tree):
    """Includes go down the floors, and name files from the root of the repository."""
    for path, text in tree.sources.items():
        room = room_of(path)
        if room is None:
            yield path, 'lies in no known room'
            continue
        for line, quote, name in text.includes:
            if quote == '<':
                rooms = rooms_of_system(name, [room])
                if not any(room == one or path.startswith(one + '_') or path.startswith(one + '.') for one in rooms):
                    yield f'{path}:{line}', f'only {", ".join(rooms)} may include <{name}>'
            elif name not in tree.sources:
                yield f'{path}:{line}', f'"{name}" is not named from the root of the repository'
            elif not sees(room, room_of(name)):
                yield f'{path}:{line}', f'{room} must not include {room_of(name)} ("{name}")'


def rooms_of_system(name, otherwise):
    """A header of the system, or all headers of a folder, which is written with its slash. A row may name, instead of a
    room, the beginning of its files' names."""
    return house.SYSTEM.get(name, house.SYSTEM.get(name.partition('/')[0] + '/', otherwise))


def symbols(tree):
    """Calls and data go down the floors, however they were declared."""
    for path, made in tree.objects.items():
        for name in sorted(made.needed):
            home = tree.home(name, path)
            if home is not None and not sees(room_of(path), room_of(home)):
                yield path, f'{room_of(path)} must not need {name} of {home}'


def circles(tree):
    """No circle of files in a folder, by includes and symbols together; x.c and x.h are one file."""
    ties = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))  # folder -> file -> file it knows -> by what
    for path, text in tree.sources.items():
        for _, quote, name in text.includes:
            if quote == '"' and folder_of(name) == text.folder and name in tree.sources:
                ties[text.folder][text.stem][tree.sources[name].stem].append(f'"{name.rpartition("/")[2]}"')
    for path, made in tree.objects.items():
        for name in sorted(made.needed):
            home = tree.home(name, path)
            if home is not None and folder_of(home) == folder_of(path):
                ties[folder_of(path)][tree.sources[path].stem][tree.sources[home].stem].append(name)
    for folder, known in sorted(ties.items()):
        for tied in tied_together(known):
            circle = shortest_circle(known, tied)
            steps = [f'{one} -> {other} ({shown(known[one][other])})'
                     for one, other in zip(circle, circle[1:] + circle[:1])]
            yield folder, f'a circle of files, {len(tied)} tied together: {", ".join(steps)}'


def shown(names):
    few = sorted(names, key=lambda name: name.startswith('"'))[:NAMES_SHOWN]
    return ' '.join(few) + (' ...' if len(names) > NAMES_SHOWN else '')


def way(known, begin, end):
    """The shortest way from a file to another, by those that each knows; None: there is none."""
    before, queue = {}, deque([begin])
    while queue:
        here = queue.popleft()
        for other in sorted(known[here]) if here in known else []:
            if other == here or other in before:
                continue
            before[other] = here
            if other == end:
                steps = [before[end]]
                while steps[-1] != begin:
                    steps.append(before[steps[-1]])
                return steps[::-1]
            queue.append(other)
    return None


def tied_together(known):
    """Groups of files of which each knows all others, by whatever way."""
    reach = {}
    for begin in known:
        reach[begin], queue = set(), [begin]
        while queue:
            new = [other for other in known.get(queue.pop(), {}) if other not in reach[begin]]
            reach[begin].update(new)
            queue += new
    groups = {frozenset(other for other in reach[one] if one in reach.get(other, ())) for one in known}
    return sorted((group for group in groups if len(group) > 1), key=sorted)


def shortest_circle(known, tied):
    return min((way(known, one, one) for one in sorted(tied)), key=len)


def picture(tree):
    """The picture in server/README.md tells the same floors."""
    path = 'server/README.md'
    if not os.path.exists(os.path.join(tree.root, path)):
        return
    told = dict(re.findall(r'^ *(\w+/|main\.c) +floor (\d+)', tree.read(path), re.M))
    there = {room_of(source) for source in tree.sources}
    for room, floor in house.FLOORS.items():
        name = 'main.c' if room == 'server' else room.removeprefix('server/') + '/'
        if room in there and told.get(name) != str(floor):
            yield path, f'{room} is on floor {floor}; the picture says {told.get(name)}'


RULES = [built, includes, symbols, circles, picture]
