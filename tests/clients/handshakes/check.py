"""Replays the handshakes of clients that cannot be installed here; README.md has the format.

It must not know any client: the transcripts do. Invariants: each file has its own server; every reply
is compared, with its type; a file in which nothing is compared fails.
"""

import ast
import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "system"))
from harness import Client, Server, encode  # noqa: E402
from steps import Failed, expect, ok  # noqa: E402

ARGUMENT = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
REST = {"<int>": r"-?\d+", "<token>": r"(?P<token>\d+)", "<any>": r"(?s:.*)"}


class Connection(Client):
    """Reads replies as the text that the transcripts are written in."""

    def text(self):
        line = self._line()
        kind, rest = chr(line[0]), line[1:].decode("latin-1")
        if kind in "+-:,#(":
            return line.decode("latin-1")
        if kind == "_" or rest == "-1":
            return "null"
        if kind in "$=":
            data = self._take(int(rest) + 2)[:-2].decode("latin-1")
            return '"' + data.replace("\r", "\\r").replace("\n", "\\n").replace("\0", "\\x00") + '"'
        if kind == "%":
            return "{" + ", ".join(f"{self.text()}: {self.text()}" for _ in range(int(rest))) + "}"
        expect(kind in "*>~", f"no reply of RESP: {line!r}")
        before = {"*": "", ">": ">", "~": "~"}[kind]
        return before + "[" + ", ".join(self.text() for _ in range(int(rest))) + "]"


def arguments(text, token):
    text = text.replace("<token>", str(token))
    return [ast.literal_eval("b" + word) if word.startswith('"') else word.encode()
            for word in ARGUMENT.findall(text)]


def pattern(text):
    parts = re.split(r"(<(?:int|token|any)>)", text)
    return re.compile("".join(REST.get(part) or re.escape(part) for part in parts))


class Transcript:
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path).partition(".")[0]
        self.connections, self.current, self.token, self.compared = {}, None, 0, 0
        with open(path, encoding="utf-8") as file:
            self.lines = file.read().splitlines()

    def run(self):
        config = [line[8:] for line in self.lines if line.startswith("config: ")]
        with Server(config="\n".join(config) + "\n") as server:
            batch = []
            for number, line in enumerate(self.lines + [""], 1):
                if batch and not line.startswith("> "):
                    self.current.send_raw(b"".join(batch))
                    batch = []
                try:
                    if line.startswith("> "):
                        batch.append(encode(*arguments(line[2:], self.token)))
                    else:
                        self.line(line, server)
                except (Failed, OSError, EOFError) as error:
                    raise Failed(f"line {number}: {error}") from error
            for name, connection in self.connections.items():
                connection.send("PING", "~end~")  # any reply before the answer to it is unexpected
                last = connection.text()
                expect("~end~" in last or "NOAUTH" in last, f"@{name}: unexpected: {last}")
                connection.close()
        expect(self.compared, "nothing is compared")

    def line(self, line, server):
        if line.startswith("@"):
            name = line[1:]
            self.current = self.connections.setdefault(name, None) or Connection(server)
            self.connections[name] = self.current
        elif line.startswith("< "):
            got = self.current.text()
            match = pattern(line[2:]).fullmatch(got)
            expect(match, f"expected {line[2:]}, got {got}")
            self.token = match.groupdict().get("token") or self.token
            self.compared += 1
        elif line == "closed":
            expect(self.current.ended(), "the connection is still open")
            self.connections = {name: connection for name, connection in self.connections.items()
                                if connection is not self.current}
        else:
            expect(not line or line.startswith(("#", "config: ")), f"not a line: {line}")


def main():
    good = True
    for path in sorted(glob.glob(os.path.join(HERE, "*.transcript"))):
        transcript = Transcript(path)
        try:
            transcript.run()
            ok(f"{transcript.name} ({transcript.compared} replies)")
        except Exception as error:  # a closed connection, a server that died: all of them failures
            print(f"not ok {transcript.name} {error!r}", flush=True)
            good = False
    return 0 if good else 1


sys.exit(main())
