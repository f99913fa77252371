"""What the compiler made of a .c: the symbols of its object, as readelf tells them.

Not nm: objects that can be optimised as a whole hold two symbol tables, and nm, which loads gcc's plugin, may show the
one without sections. Data is mutable when its section can be written once the loader is done: not so .data.rel.ro,
where constants with addresses in them lie.
"""
import re
import subprocess
from dataclasses import dataclass, field

SYMBOL = re.compile(r'\s*\d+: [0-9a-f]+\s+\S+ (\w+)\s+(\w+)\s+\w+\s+(?:\[[^]]*\]\s+)?(\w+) ?(\S*)')
SECTION = re.compile(r'\s*\[\s*(\d+)\] (\S+)\s+\S+\s+[0-9a-f]{16} [0-9a-f]+ [0-9a-f]+ [0-9a-f]+\s+([A-Za-z]*)')


@dataclass
class Object:
    functions: set = field(default_factory=set)  # defined, visible outside
    data: set = field(default_factory=set)       # the same
    needed: set = field(default_factory=set)     # defined elsewhere
    mutable: set = field(default_factory=set)    # data that can be written, static too


def read(paths):
    """Path -> Object."""
    found, current, writable = {}, None, {}
    if not paths:
        return found
    told = subprocess.run(['readelf', '-sSW', *paths], text=True, capture_output=True, check=True).stdout
    if len(paths) == 1:
        told = f'File: {paths[0]}\n' + told
    for line in told.split('\n'):
        if line.startswith('File: '):
            current, writable = found.setdefault(line[6:].strip(), Object()), {}
        elif match := SECTION.match(line):
            number, name, flags = match.groups()
            writable[number] = 'W' in flags and not name.startswith('.data.rel.ro')
        elif match := SYMBOL.match(line):
            note(current, writable, *match.groups())
    return found


def note(current, writable, kind, binding, section, name):
    if not name or name.startswith('__gnu_lto') or (binding != 'LOCAL' and '.' in name):  # gcc's own
        return
    if section == 'UND':
        current.needed.add(name)
        return
    if kind in ('OBJECT', 'TLS', 'COMMON') and (writable.get(section) or section == 'COM'):
        current.mutable.add(re.sub(r'\.\d+$', '', name))  # a function's own: name.0
    if binding in ('GLOBAL', 'WEAK'):
        (current.functions if kind == 'FUNC' else current.data).add(name)
