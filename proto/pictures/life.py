#!/usr/bin/python3
"""Draws life.svg, the life of a request: it is claimed, waited for, abandoned, handed over, stored, replayed.

usage: life.py [--check]      (--check: 1 if the file is not what this program draws)
"""

import os
import sys

sys.dont_write_bytecode = True
from style import picture, text  # noqa: E402

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "life.svg")
WIDTH, TOP, ROW = 960, 92, 46
# Lanes, from left to right: where they stand, what they are called.
FIRST, IDEM, SECOND = 190, 480, 770
LANES = [(FIRST, "process A", "gets the request"), (IDEM, "idem", "one shared place"), (SECOND, "process B", "gets the retry")]
TITLE = "The life of a request"
DESCRIPTION = ("Process A sends CLAIM for order-17 and is told CLAIMED with token 71: it runs the work. The retry reaches process B, "
               "whose CLAIM waits. Process A stalls or crashes. When its lease ends, idem grants the claim to process B: CLAIMED, token 72, "
               "attempt 2. Process B stores the response. Process A, if it wakes up, stores too late and is told STALE. A later "
               "retry is told DONE with the stored response, byte for byte.")
RULES = ["rect.lane{fill:var(--card);stroke:var(--line)}", "line.life{stroke:var(--line);stroke-dasharray:2 4}",
         "rect.run{fill:var(--wash);stroke:var(--blue)}", "rect.wait{fill:none;stroke:var(--soft);stroke-dasharray:4 3}",
         "path.say{fill:none;stroke:var(--ink);stroke-width:1.4}", "path.tip{fill:var(--ink)}",
         "path.refused{fill:none;stroke:var(--bad);stroke-width:1.4}", "path.refused-tip{fill:var(--bad)}",
         "path.cross{fill:none;stroke:var(--bad);stroke-width:3}",
         "text.said{font-family:var(--mono);font-size:12.5px}", "text.name{font-weight:650;font-size:15px}",
         "text.note{fill:var(--soft);font-size:12.5px}", "text.good{fill:var(--good);font-weight:600}",
         "text.bad{fill:var(--bad);font-weight:600}"]


class Drawing:
    def __init__(self):
        self.parts, self.at = [], TOP

    def down(self, rows=1.0):
        self.at += rows * ROW

    def lane(self, x, name, role):
        self.parts += [f'<rect class="lane" x="{x - 95}" y="18" width="190" height="48" rx="8"/>',
                       text(x, 39, name, "name", "middle"), text(x, 56, role, "note", "middle")]

    def life(self, x, end):
        self.parts.insert(0, f'<line class="life" x1="{x}" y1="66" x2="{x}" y2="{end}"/>')

    def bar(self, x, begin, end, kind="run"):
        self.parts.append(f'<rect class="{kind}" x="{x - 6}" y="{begin}" width="12" height="{end - begin}" rx="3"/>')

    def say(self, start, end, words, kind="said", refused=False):
        """An arrow from lane to lane, with what it says."""
        step = 1 if end > start else -1
        tail, head, y = start + 8 * step, end - 9 * step, self.at
        suffix = ("refused", "refused-tip") if refused else ("say", "tip")
        self.parts += [f'<path class="{suffix[0]}" d="M{tail} {y}H{head - 6 * step}"/>',
                       f'<path class="{suffix[1]}" d="M{head} {y}l{-9 * step} -4.5v9z"/>',
                       text((start + end) / 2, y - 7, words, kind, "middle")]

    def note(self, x, words, kind="note", anchor="middle"):
        self.parts.append(text(x, self.at + 4, words, kind, anchor))

    def cross(self, x):
        self.parts.append(f'<path class="cross" d="M{x - 8} {self.at - 8}l16 16m0 -16l-16 16"/>')


def draw_begin(scene):
    """A runs the work, B waits. Where both began."""
    scene.down(0.4)
    scene.say(FIRST, IDEM, "CLAIM order-17")
    scene.down(0.7)
    scene.say(IDEM, FIRST, "CLAIMED  token 71", "said good")
    began = scene.at
    scene.note(FIRST - 16, "runs the work", anchor="end")
    scene.down(0.9)
    scene.say(SECOND, IDEM, "CLAIM order-17 WAIT 10000")
    asked = scene.at
    scene.note(SECOND + 16, "waits: nothing", anchor="start")
    scene.down(0.35)
    scene.note(SECOND + 16, "runs twice", anchor="start")
    scene.down(0.55)
    return began, asked


def draw_end(scene, began, asked):
    """A is gone; B takes over and stores; A's STORE comes too late; a retry gets B's response."""
    scene.cross(FIRST)
    scene.bar(FIRST, began, scene.at - 10)
    scene.note(FIRST - 16, "stalls, or crashes", "bad", "end")
    scene.down(0.9)
    scene.note(IDEM - 16, "its lease ends", anchor="end")
    scene.parts.append(f'<circle cx="{IDEM}" cy="{scene.at}" r="4.5" fill="var(--soft)"/>')
    scene.down(0.5)
    scene.say(IDEM, SECOND, "CLAIMED  token 72, attempt 2", "said good")
    scene.bar(SECOND, asked, scene.at - 4, "wait")
    taken = scene.at
    scene.note(SECOND + 16, "is told that A", anchor="start")
    scene.down(0.35)
    scene.note(SECOND + 16, "began: looks, runs", anchor="start")
    scene.down(0.75)
    scene.say(SECOND, IDEM, 'STORE order-17 72 "paid"')
    scene.bar(SECOND, taken, scene.at)
    scene.down(0.8)
    scene.say(FIRST, IDEM, 'STORE order-17 71 "paid"')
    scene.note(FIRST - 16, "wakes up, too late", anchor="end")
    scene.down(0.6)
    scene.say(IDEM, FIRST, "-STALE: not yours any more", "said bad", refused=True)
    scene.down(0.9)
    scene.say(FIRST, IDEM, "CLAIM order-17")
    scene.note(FIRST - 16, "a later retry", anchor="end")
    scene.down(0.6)
    scene.say(IDEM, FIRST, 'DONE  "paid"', "said good")
    scene.note(FIRST - 16, "replays, byte for byte", anchor="end")


def draw():
    scene = Drawing()
    for lane in LANES:
        scene.lane(*lane)
    draw_end(scene, *draw_begin(scene))
    end = int(scene.at + 22)
    for x, *_ in LANES:
        scene.life(x, end)
    return picture(WIDTH, end + 14, TITLE, DESCRIPTION, RULES, scene.parts)


def main():
    drawn = draw()
    if sys.argv[1:] == ["--check"]:
        with open(FILE, encoding="utf-8") as file:
            if file.read() == drawn:
                return 0
        print(f"{FILE} is not what life.py draws: make pictures", file=sys.stderr)
        return 1
    with open(FILE, "w", encoding="utf-8") as file:
        file.write(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
