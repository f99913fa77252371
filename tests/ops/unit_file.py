"""A systemd unit as a test sees it: sections of (name, value), and the system calls that its filter allows.

It must not know which unit.
"""

import subprocess


class Unit:
    def __init__(self, path):
        self.settings = []  # (section, name, value), in the order of the file
        section = None
        with open(path, encoding="utf-8") as file:
            for line in file:
                line = line.strip()
                if line.startswith("["):
                    section = line.strip("[]")
                elif line and not line.startswith(("#", ";")):
                    name, _, value = line.partition("=")
                    self.settings.append((section, name.strip(), value.strip()))

    def all(self, name):
        return [value for _, known, value in self.settings if known == name]

    def get(self, name, default=None):
        values = self.all(name)
        return values[-1] if values else default

    def seconds(self, name):
        text = self.get(name)
        scale = {"min": 60, "s": 1}.get(text.lstrip("0123456789"), 1)
        return int("".join(c for c in text if c.isdigit())) * scale


def system_calls(group):
    """The names in a group like @system-service, and in the groups that it has."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True,
                            check=True).stdout.splitlines()[1:]
    names = set()
    for word in (line.strip() for line in listed):
        if word.startswith("@"):
            names |= system_calls(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return names


def allowed_calls(unit):
    """What SystemCallFilter= leaves: the first line allows, one that begins with ~ takes away."""
    allowed = set(system_calls("@default"))
    for value in unit.all("SystemCallFilter"):
        named = set()
        for word in value.lstrip("~").split():
            named |= system_calls(word) if word.startswith("@") else {word}
        allowed = allowed - named if value.startswith("~") else allowed | named
    return allowed
