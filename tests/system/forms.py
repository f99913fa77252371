"""Every command in many forms, from what COMMAND DOCS says of its arguments.

    DOCS -> shapes: words and slots -> forms: each slot filled with each of the values of its name

One slot is varied at a time, and one optional part is left out or put in at a time: as many forms as there are parts and
values, not their product. It must not know what a form is for, nor which values there are.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Value:
    """What fills a slot. `twin`: as long, and the same in kind, but of nobody; None: it needs none."""
    sent: bytes
    twin: bytes = None


@dataclasses.dataclass(frozen=True)
class Slot:
    name: str


def _field(node, name, default=None):
    return node.get(name.encode(), default)


def _alternatives(node):
    """The ways to write one argument that is present: lists of words and slots."""
    kind = _field(node, "type").decode()
    token = _field(node, "token")
    before = [token] if token is not None else []
    if kind == "pure-token":
        return [before]
    if kind == "oneof":
        ways = [way for child in _field(node, "arguments") for way in _alternatives(child)]
    elif kind == "block":
        ways = shapes(_field(node, "arguments"))
    else:
        ways = [[Slot(_field(node, "name").decode())]]
    ways = [before + way for way in ways]
    if "multiple" in _field(node, "flags", ()):
        ways.append(ways[0] + ways[0])
    return ways


def shapes(nodes):
    """The ways to write the arguments of a command."""
    choices = []
    for node in nodes:
        optional = "optional" in _field(node, "flags", ())
        choices.append(([[]] if optional else []) + _alternatives(node))
    least = [ways[0] for ways in choices]
    found = [least, [ways[-1] for ways in choices]]
    for place, ways in enumerate(choices):
        found += [least[:place] + [way] + least[place + 1:] for way in ways[1:]]
    unique = []
    for parts in found:
        words = [word for part in parts for word in part]
        if words not in unique:
            unique.append(words)
    return unique


class NoValues(Exception):
    """A slot of this name cannot be filled."""


def forms(words, nodes, values):
    """Lists of Value, the words of the command's name first. values(slot name) -> list of Value."""
    name = [Value(word) for word in words]
    found = []
    for shape in shapes(nodes):
        filled = [[Value(part)] if isinstance(part, bytes) else values(part.name) for part in shape]
        least = [choice[0] for choice in filled]
        found.append(name + least)
        for place, choice in enumerate(filled):
            found += [name + least[:place] + [value] + least[place + 1:] for value in choice[1:]]
    unique = {tuple(value.sent for value in form): form for form in found}
    return list(unique.values())


def of_docs(docs):
    """(words of the name, argument nodes) of each command and subcommand of a reply to COMMAND DOCS."""
    for name, doc in docs.items():
        subs = _field(doc, "subcommands", {})
        if not subs or _field(doc, "arguments"):
            yield [name], _field(doc, "arguments", [])
        elif name == b"command":
            yield [name], []
        for sub, told in subs.items():
            yield sub.split(b"|"), _field(told, "arguments", [])
