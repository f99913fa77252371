"""The text of /metrics, read as Prometheus reads it: families and samples. A line that is none is an error.

It must not know which metrics there are, nor how the text was fetched.
"""

import re

HELP = re.compile(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)")
TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)")
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
PARTS = {"histogram": ("_bucket", "_sum", "_count")}


class Exposition:
    """samples: (name, ((label, value), ...)) -> number; types: family -> counter, gauge or histogram."""

    def __init__(self, text):
        self.samples, self.types, self.help = {}, {}, {}
        if not text.endswith("\n"):
            raise ValueError("the last line has no end")
        family = None
        for line in text[:-1].split("\n"):
            family = self._take(line, family)

    def _take(self, line, family):
        if found := HELP.fullmatch(line):
            if found[1] in self.help:
                raise ValueError(f"two families: {line}")
            self.help[found[1]] = found[2]
            return found[1]
        if found := TYPE.fullmatch(line):
            if found[1] != family or family in self.types:
                raise ValueError(f"a type of another family: {line}")
            self.types[family] = found[2]
            return family
        found = SAMPLE.fullmatch(line)
        if not found or family not in self.types:
            raise ValueError(f"not a sample of a family: {line}")
        if found[1] not in [family + part for part in PARTS.get(self.types[family], ("",))]:
            raise ValueError(f"a sample of another family: {line}")
        labels = tuple(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
        if (found[1], labels) in self.samples:
            raise ValueError(f"a sample twice: {line}")
        self.samples[found[1], labels] = float(found[3])
        return family

    def value(self, name, **labels):
        """0 when there is none."""
        return self.samples.get((name, tuple(labels.items())), 0)

    def by(self, name, label):
        """{value of the label: number} of the samples of this name."""
        return {dict(labels)[label]: number for (each, labels), number in self.samples.items() if each == name}

    def names(self):
        """Of all samples that there can be: a family without samples has its name."""
        return {family + part for family, kind in self.types.items() for part in PARTS.get(kind, ("",))}

    def label_names(self):
        return {label for _, labels in self.samples for label, _ in labels}
