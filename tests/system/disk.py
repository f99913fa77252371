"""A disk under a server that can be watched and that fails on demand: tests/journal/recorder.c, preloaded.

    disk = Disk(directory)                     the library, and the file that it shares with the server
    Server(..., env=disk.env)
    disk.set(sync_errno=errno.EIO, sync_times=1)
    for note in disk.notes(): ...

It must not know what the server writes (recording.py does).
"""

import collections
import mmap
import os
import struct
import subprocess

import harness

CONTROL_BYTES = 4096
ALWAYS = 0xffffffff
# As struct control of recorder.c, after the 8 bytes of `end`.
FIELDS = ("sync_errno", "sync_times", "zeros_errno", "zeros_times", "swallow", "sync_delay_us", "write_errno",
          "write_times", "write_most", "eintr_times", "room_errno", "room_refused", "syncs", "failed")
KINDS = ("", "opened", "closed", "wrote", "sync began", "sync ended", "renamed", "removed", "send began", "sent")

# place: where it stands in the order; at: of `... ended` and `sent` the place of what began.
Note = collections.namedtuple("Note", "place kind file result at data")


def build(directory):
    """Compiles the library; returns its path."""
    path = os.path.join(directory, "recorder.so")
    source = os.path.join(harness.ROOT, "tests/journal/recorder.c")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", path, source],
                   check=True)
    return path


class Disk:
    """notes_bytes: room for notes; 0: nothing is noted."""

    def __init__(self, library, path, journal, notes_bytes=0):
        with open(path, "wb") as file:
            file.truncate(CONTROL_BYTES + notes_bytes)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), CONTROL_BYTES + notes_bytes)
        self.env = {"LD_PRELOAD": library, "IDEM_TEST_DISK": path, "IDEM_TEST_DIR": journal}

    def set(self, **values):
        for name, value in values.items():
            struct.pack_into("<I", self.map, 8 + 4 * FIELDS.index(name), value)

    def get(self, name):
        return struct.unpack_from("<I", self.map, 8 + 4 * FIELDS.index(name))[0]

    def mark(self):
        """The place of the next note."""
        return struct.unpack_from("<Q", self.map, 0)[0]

    def notes(self):
        """All, in order; the server has ended, or stands still."""
        place, end = 0, self.mark()
        while place < end:
            head = struct.unpack_from("<IIiiQQ", self.map, CONTROL_BYTES + place)
            size, kind, file, result, at, length = head
            assert size, "a note that was not finished"
            start = CONTROL_BYTES + place + 32
            yield Note(place, KINDS[kind], file, result, at, bytes(self.map[start:start + length]))
            place += size
