"""Memory that the host of a virtual machine has given already.

A page that the machine has never touched, or has given back to its host, costs whoever touches it
first a fault of the host: up to milliseconds for 2 MiB. That is no server's doing, and it hits the
one that runs first. So as much memory as a large case needs is touched and given back before each
case: what the kernel hands out next is backed.

Only the standard library.
"""

import mmap
import re

PAGE = 4096
HUGE = 2 << 20
SHARE_OF_AVAILABLE = 0.75  # at most: the rest is for what else runs


def field_kb(path, name):
    with open(path, encoding="ascii", errors="replace") as file:
        match = re.search(rf"^{name}:\s+(\d+) kB", file.read(), re.MULTILINE)
    return int(match.group(1)) if match else 0


def affordable(wanted):
    """As many bytes of it as may be touched, in whole huge pages."""
    available = field_kb("/proc/meminfo", "MemAvailable") << 10
    return int(min(wanted, available * SHARE_OF_AVAILABLE)) // HUGE * HUGE


def touch(wanted):
    """Touches and gives back `wanted` bytes, or what is affordable: (touched, of them huge)."""
    size = affordable(wanted)
    if size == 0:
        return 0, 0
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        with memoryview(memory) as view:
            # Each small page: it counts where the kernel gives no huge ones.
            view[::PAGE] = b"\1" * (size // PAGE)
        huge = field_kb("/proc/self/smaps_rollup", "AnonHugePages") << 10
    return size, min(huge, size)
