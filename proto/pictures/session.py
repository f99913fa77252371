#!/usr/bin/python3
"""Records session.svg: two terminals with redis-cli against a server, as they were, at the speed at which they were.

usage: session.py [--check]      (--check: record, and 1 if the file shows other words; tokens and times may differ)
The server is $IDEM_SERVER, by default build/release/idem-server. It needs redis-cli.

Nothing in the picture is written by hand but the captions: what is typed goes to redis-cli through a pseudo terminal, and
what comes back is kept with its time. The SVG shows it by CSS animations, one per moment. Who prefers less motion, and
programs that know no animation, see the whole at once.
"""

import os
import pty
import re
import select
import signal
import sys
import tempfile
import time
from xml.sax.saxutils import escape

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.append(os.path.join(HERE, "../../tests/system"))
from harness import Server  # noqa: E402
from style import picture, text  # noqa: E402

FILE = os.path.join(HERE, "session.svg")
ANSWER_SECONDS = 20                   # at most, for what must come
TYPED_EVERY_S = 0.045                 # a key
SHORT_S, LONG_S = 1.0, 1.8            # pauses in which a caption can be read
REST_S = 5.0                          # before it begins again

WIDTH, PANE_X, PANE_WIDTH, PANE_TOP = 960, (16, 488), 456, 64
LINE, COLUMNS = 17, 60
TITLE = "Two processes, one request"


class Terminal:
    """redis-cli in a pseudo terminal. What it shows is kept as (seconds since the start, text)."""

    def __init__(self, name, stage):
        self.name, self.stage, self.shown, self.events = name, stage, "", []
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # A dumb terminal: the line is edited by the kernel, which echoes keys and nothing else.
            os.environ.update(TERM="dumb")
            os.execvp("redis-cli", ["redis-cli", "-p", str(stage.port)])
        stage.terminals.append(self)
        self.until("^")

    def take(self):
        self.show(os.read(self.fd, 65536).decode().replace("\r", ""))

    def show(self, words):
        self.events.append((self.stage.now(), words))
        self.shown += words

    def until(self, answer):
        """Until this pattern and then a prompt have been shown."""
        pattern, end = re.compile(answer + r"[^>]*\S+> $"), self.stage.now() + ANSWER_SECONDS
        while not pattern.search(self.shown):
            if self.stage.now() > end:
                raise RuntimeError(f"{self.name}: no {answer!r} after {self.shown[-200:]!r}")
            self.stage.rest(0.02)

    def type(self, line):
        for key in line:
            os.write(self.fd, key.encode())
            self.stage.rest(TYPED_EVERY_S)
        os.write(self.fd, b"\n")

    def ask(self, line):
        """Types the line and awaits its answer."""
        self.type(line)
        self.until(re.escape(line) + "\n.")

    def kill(self):
        self.stage.terminals.remove(self)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


class Stage:
    """The clock, and the terminals that are looked at while it runs."""

    def __init__(self, port):
        self.port, self.terminals, self.captions, self.start = port, [], [], time.monotonic()

    def now(self):
        return time.monotonic() - self.start

    def rest(self, seconds):
        end = self.now() + seconds
        while (left := end - self.now()) > 0:
            ready, _, _ = select.select([terminal.fd for terminal in self.terminals], [], [], left)
            for terminal in self.terminals:
                if terminal.fd in ready:
                    terminal.take()

    def say(self, words, seconds):
        self.captions.append((self.now(), words))
        self.rest(seconds)


def record():
    """What both terminals showed, the captions (seconds, words), and the port."""
    with tempfile.TemporaryDirectory() as directory, Server("--dir", directory) as server:
        return play(Stage(server.address[1]))


def play(stage):
    left, right = Terminal("web-1", stage), Terminal("web-2", stage)
    stage.say("The first request: run it.", LONG_S)
    left.ask("CLAIM order-17 FP 9f86d081 BIND")
    stage.say("Its retry reaches another process. It waits.", LONG_S)
    right.type("CLAIM order-17 FP 9f86d081 WAIT 10000")
    stage.rest(LONG_S)
    stage.say("kill -9 web-1", SHORT_S)
    left.kill()
    left.show("\nKilled\n")
    right.until("CLAIMED")
    stage.say("The one that waited takes over, and knows that it is attempt 2.", LONG_S)
    token = re.search(r"\(integer\) (\d+)", right.shown).group(1)
    right.ask(f"STORE order-17 {token} paid")
    stage.say("Stored. From now on every retry gets this response.", SHORT_S)
    again = Terminal("web-1", stage)
    again.ask("CLAIM order-17 FP 9f86d081")
    stage.say("The same key for another request is refused.", SHORT_S)
    again.ask("CLAIM order-17 FP 60303ae2")
    again.kill()
    right.kill()
    return left.events + again.events, right.events, stage


def rows_of(events, port):
    """[[(seconds, text), ...] for each line], without the prompt that is left at the end."""
    rows, column = [[]], 0
    for seconds, data in events:
        for piece in re.split(r"(\n)", data.replace(f"127.0.0.1:{port}> ", "> ")):
            if piece == "\n":
                rows.append([])
                column = 0
            while piece and piece != "\n":
                rows[-1].append((seconds, piece[:COLUMNS - column]))
                column += len(rows[-1][-1][1])
                piece = piece[len(rows[-1][-1][1]):]
                if piece:
                    rows.append([])
                    column = 0
    while rows and "".join(part for _, part in rows[-1]) in ("", "> "):
        rows.pop()
    return rows


def words_of(rows):
    """What must not change from recording to recording."""
    lines = ["".join(part for _, part in row) for row in rows]
    return [re.sub(r"^(\d\) \(integer\)) \d+$|\(\d+\.\d+s\)|\d{6,}", "<number>", line) for line in lines]


class Moments:
    """One animation for each time at which something appears."""

    def __init__(self, whole):
        self.whole, self.rules, self.names = whole, [], {}

    def at(self, seconds, end=None):
        key = (round(seconds, 2), end and round(end, 2))
        if key not in self.names:
            name = self.names[key] = f"m{len(self.names)}"
            shown = 100 * key[0] / self.whole
            gone = f"{100 * key[1] / self.whole:.2f}%,100%{{visibility:hidden}}" if key[1] else "100%{visibility:visible}"
            self.rules.append(f"@keyframes {name}{{0%{{visibility:hidden}}{shown:.2f}%{{visibility:visible}}{gone}}}.{name}{{animation-name:{name}}}")
        return self.names[key]


def kind_of(line):
    if line.startswith("> "):
        return "typed"
    if "CLAIMED" in line or "DONE" in line or line == "(integer) 0":
        return "good"
    if "(error)" in line or line == "Killed":
        return "bad"
    return ""


def pane(x, name, rows, height, moments):
    parts = [f'<rect class="pane" x="{x}" y="{PANE_TOP - 48}" width="{PANE_WIDTH}" height="{height + 48}" rx="8"/>',
             f'<path class="bar" d="M{x} {PANE_TOP - 18}h{PANE_WIDTH}"/>', text(x + 14, PANE_TOP - 28, name, "name")]
    y, kind, line = PANE_TOP + 4, "", ""
    for row in rows:
        goes_on = len(line) == COLUMNS  # it was too long for its row
        line = "".join(part for _, part in row)
        kind = kind if goes_on else kind_of(line)
        pieces = "".join(f'<tspan class="m {moments.at(seconds)}">{escape(part)}</tspan>' for seconds, part in joined(row))
        if pieces:
            parts.append(f'<text x="{x + 14}" y="{y}" class="t {kind}" xml:space="preserve">{pieces}</text>')
        y += LINE
    return parts


def joined(row):
    """Keys that follow each other closely appear three at a time: a third of the bytes."""
    pieces = []
    for seconds, part in row:
        if pieces and pieces[-1][1] != "> " and len(pieces[-1][1]) < 3 and len(part) == 1:
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + part)
        else:
            pieces.append((seconds, part))
    return pieces


def render(left, right, stage):
    both, captions = [rows_of(left, stage.port), rows_of(right, stage.port)], stage.captions
    whole = max(seconds for rows in both for row in rows for seconds, _ in row) + REST_S
    moments = Moments(whole)
    height = LINE * max(len(rows) for rows in both) + 10
    parts = pane(PANE_X[0], "web-1", both[0], height, moments) + pane(PANE_X[1], "web-2", both[1], height, moments)
    below = PANE_TOP + height + 34
    ends = [seconds for seconds, _ in captions[1:]] + [None]
    for number, ((seconds, words), end) in enumerate(zip(captions, ends)):
        last = " last" if end is None else ""
        parts.append(f'<text x="{WIDTH // 2}" y="{below}" text-anchor="middle" class="caption m {moments.at(seconds, end)}{last}">'
                     f"{number + 1}. {escape(words)}</text>")
    rules = ["rect.pane{fill:var(--card);stroke:var(--line)}", "path.bar{stroke:var(--line)}", "text.name{font-weight:650}",
             "text.t{font-family:var(--mono);font-size:12px}", "text.good{fill:var(--good);font-weight:600}", "text.bad{fill:var(--bad);font-weight:600}",
             "text.typed{fill:var(--blue)}", "text.caption{font-size:16px;font-weight:600}",
             # Without motion the whole is there at once; of the captions, which lie over each other, the last.
             ".caption{visibility:hidden}.caption.last{visibility:visible}",
             f"@media(prefers-reduced-motion:no-preference){{.m{{animation:{whole:.2f}s step-end infinite}}", *moments.rules, "}"]
    story = " ".join(f"{number + 1}. {words}" for number, (_, words) in enumerate(captions))
    return picture(WIDTH, below + 22, TITLE, story, rules, parts)


def shown_in(svg):
    """The words of a picture, as words_of gives them."""
    lines = re.findall(r'<text [^>]*class="t [^>]*>(.*?)</text>', svg)
    plain = [re.sub(r"<[^>]+>", "", line).replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&") for line in lines]
    return words_of([[(0, line)] for line in plain])


def main():
    drawn = render(*record())
    if sys.argv[1:] == ["--check"]:
        with open(FILE, encoding="utf-8") as file:
            kept = shown_in(file.read())
        if kept == shown_in(drawn):
            return 0
        print(f"{FILE} shows other words than a session today: make pictures", *shown_in(drawn), sep="\n  ", file=sys.stderr)
        return 1
    with open(FILE, "w", encoding="utf-8") as file:
        file.write(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
