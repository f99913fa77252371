"""Whether a server kept its word, as its files and sockets saw it: nothing is sent before what it says is durable.

A recording (disk.py) is read twice: as the journal's batches with the place from which on each was durable, and as
what each connection was sent with the place at which the sending began. A batch is durable when a sync of its file,
that began after it was written whole, has ended; of a new file, when a sync of the directory has ended as well that
began after the file had its name. Places are in one order for all threads.

It knows the format of the journal: server/journal/format.h, server/engine/image.h.
"""

import collections
import struct

NEVER = float("inf")
SEGMENT, BATCH, IMAGE = 64, 96, 56
MAGIC = 0x6d656469
RECORD, RESPONSE, VALUE, ABSENT, END, FLUSH = 1, 2, 3, 4, 5, 6
PHASES = {1: "HELD", 2: "LAPSED", 3: "UNKNOWN"}

Image = collections.namedtuple("Image", "kind phase flags token attempt key second third place")


def images_of(records, place):
    """Every image of a batch, with the place from which on it is durable."""
    at = 0
    while at + 4 <= len(records):
        head = struct.unpack_from("<IBBHQqqIIIHHII", records, at)
        size, kind, phase_form, flags, token, _, _, _, attempt = head[:9]
        lengths = head[9], head[10], head[12], head[13]
        parts, start = [], at + IMAGE
        for length in lengths:
            parts.append(records[start:start + length])
            start += length
        if kind <= FLUSH:
            yield Image(kind, phase_form & 15, flags, token, attempt, parts[0], parts[2], parts[3], place)
        at += size


class File:
    """One file of the journal: what was written, and when it was durable."""

    def __init__(self):
        self.name, self.named_at, self.writes, self.syncs = None, -1, [], []

    def durable(self, start, end):
        """The place from which on these bytes are durable."""
        written = [place for place, at, size in self.writes if at < end and at + size > start]
        if not written:
            return NEVER
        return min((ended for began, ended in self.syncs if began > max(written)), default=NEVER)


class Journal:
    """The batches of a recording."""

    def __init__(self, notes):
        self.open, self.files, self.directory_syncs, self.data = {}, [], [], {}
        self.images, self.segments = [], 0
        for note in notes:
            getattr(self, "on_" + note.kind.replace(" ", "_"), self.ignore)(note)
        for file in self.files:
            self.read(file)

    def ignore(self, note):
        pass

    def on_opened(self, note):
        name = note.data.split(b"\0")[0].decode()
        known = [file for file in self.files if file.name == name]
        file = known[-1] if known else File()
        if not known:
            file.name, file.named_at = name, note.place
            self.files.append(file)
        self.open[note.file] = file

    def on_wrote(self, note):
        file = self.open[note.file]
        file.writes.append((note.place, note.at, note.result))
        if note.data:  # else zeros
            content = self.data.setdefault(id(file), bytearray())
            if len(content) < note.at + note.result:
                content.extend(bytes(note.at + note.result - len(content)))
            content[note.at:note.at + note.result] = note.data

    def on_sync_ended(self, note):
        if note.result == 0:
            file = self.open[note.file]
            (file.syncs if file.name.endswith(".log") or file.name == "spare" else self.directory_syncs).append(
                (note.at, note.place))

    def on_renamed(self, note):
        old, new = (name.decode() for name in note.data.split(b"\0"))
        for file in self.files:
            if file.name == old:
                file.name, file.named_at = new, note.place

    def on_removed(self, note):
        name = note.data.split(b"\0")[0].decode()
        for file in self.files:
            if file.name == name:
                file.name = name + " (removed)"

    def named(self, file):
        return min((ended for began, ended in self.directory_syncs if began > file.named_at), default=NEVER)

    def read(self, file):
        data = self.data.get(id(file), b"")
        if ".log" not in file.name or data[:8] != b"idemlog1":
            return
        self.segments += 1
        at, named = SEGMENT, self.named(file)
        while at + BATCH <= len(data):
            magic, _, _, _, size, _ = struct.unpack_from("<IHHQII", data, at)
            if magic != MAGIC:
                break
            end = at + BATCH + size
            place = max(named, file.durable(at, end))
            self.images += images_of(bytes(data[at + BATCH:end]), place)
            at += BATCH + (size + 7) // 8 * 8


def streams(notes):
    """{descriptor: [(place of the beginning, bytes)]} of all that was sent."""
    sent = collections.defaultdict(list)
    for note in notes:
        if note.kind == "sent" and note.result > 0:
            sent[note.file].append((note.at, note.data))
    return sent


class Replies:
    """The replies in one stream, each with the place at which sending its first byte began."""

    def __init__(self, pieces):
        self.data = b"".join(data for _, data in pieces)
        self.starts, self.places, at = [], [], 0
        for place, data in pieces:
            self.starts.append(at)
            self.places.append(place)
            at += len(data)
        self.at = self.piece = 0

    def place(self):
        while self.piece + 1 < len(self.starts) and self.starts[self.piece + 1] <= self.at:
            self.piece += 1
        return self.places[self.piece]

    def line(self):
        end = self.data.index(b"\r\n", self.at)
        line, self.at = self.data[self.at:end], end + 2
        return line

    def one(self):
        """One reply; errors as text."""
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind in b"+-":
            return line.decode("latin-1")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == b"-1":
                return None
            start, self.at = self.at, self.at + int(rest) + 2
            return self.data[start:self.at - 2]
        if kind == b"*":
            return None if rest == b"-1" else [self.one() for _ in range(int(rest))]
        raise AssertionError(f"not a reply: {line!r}")

    def __iter__(self):
        while self.at < len(self.data):
            place = self.place()
            yield place, self.one()


class Facts:
    """What was durable from when on, found by what a reply says."""

    def __init__(self, images):
        self.found, first = {}, {}
        for image in images:
            facts = self.facts_of(image)
            # Who deletes or releases a key for which a CLAIM waits hands it over: that is the only image.
            if image.kind == RECORD and first.setdefault(image.key, image.token) != image.token:
                facts.append(("absent", image.key.decode("latin-1")))
            for fact in facts:
                self.found[fact] = min(self.found.get(fact, NEVER), image.place)

    @staticmethod
    def facts_of(image):
        key = image.key.decode("latin-1")
        if image.kind == RECORD:
            phase = PHASES.get(image.phase, image.phase)
            return [("record", key, image.token), ("held", key), (phase, key), (phase, key, image.token),
                    ("stage", image.third), *([("gone", key)] if phase != "HELD" else [])]
        return {RESPONSE: [("body", image.second), ("done", key)], VALUE: [("value", image.second)],
                ABSENT: [("absent", key), ("gone", key)], END: [("end", key)], FLUSH: [("flush",)]}[image.kind]

    def place(self, fact):
        return self.found.get(fact, NEVER)
