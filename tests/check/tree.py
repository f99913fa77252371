"""The sources of a repository and the objects made of them, read once for all rules."""
import os
import subprocess
from collections import defaultdict

import house
import objects
import source


class Tree:
    """Sources by path; objects by the path of their .c; `built` is build/release or the like."""

    def __init__(self, root, built):
        self.root, self.built = root, built
        listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '*.c', '*.h', '*.py'], cwd=root,
                                text=True, capture_output=True, check=True).stdout.split('\n')
        paths = sorted(path for path in set(listed) if path and os.path.exists(os.path.join(root, path)))
        texts = {path: self.read(path) for path in paths}
        self.sources = {path: source.parse(path, text) for path, text in texts.items() if not path.endswith('.py')}
        self.scripts = {path: text for path, text in texts.items() if path.endswith('.py')}
        self.objects, self.stale = self.read_objects()
        self.homes = defaultdict(list)  # symbol -> the .c files that define it
        for path, found in self.objects.items():
            for name in found.functions | found.data:
                if (path, name) not in house.NAMES:
                    self.homes[name].append(path)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding='utf-8') as file:
            return file.read()

    def read_objects(self):
        """Objects of all .c files of the rooms; and the files whose object is not there or older."""
        found, stale = {}, []
        for path in self.sources:
            if not path.endswith('.c') or room_of(path) not in house.OBJECT_ROOMS:
                continue
            made = os.path.join(self.root, self.built, path[:-2] + '.o')
            if not os.path.exists(made) or os.path.getmtime(made) < os.path.getmtime(os.path.join(self.root, path)):
                stale.append(path)
            else:
                found[made] = path
        told = objects.read(sorted(found))
        return {path: told[made] for made, path in found.items()}, stale

    def home(self, name, path):
        """The .c that defines what the object of `path` needs: of several, one of its own folder. None: not ours."""
        homes = self.homes.get(name, [])
        own = [home for home in homes if folder_of(home) == folder_of(path)]
        seen = [home for home in homes if sees(room_of(path), room_of(home))]
        return (own or seen or homes or [None])[0]


def folder_of(path):
    return path.rpartition('/')[0]


def room_of(path):
    """The longest known folder that the path lies in."""
    known = [room for room in [*house.FLOORS, *house.OUTSIDE] if path.startswith(room + '/')]
    return max(known, key=len) if known else None


def sees(room, other):
    """Whether a file of `room` may know one of `other`."""
    if room == other:
        return True
    if room in house.FLOORS:
        return other in house.FLOORS and house.FLOORS[other] < house.FLOORS[room]
    seen = house.OUTSIDE.get(room, [])
    return other in seen or (room == 'tests' and other.split('/')[0] in seen)
