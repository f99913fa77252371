"""Memory that the host of a virtual machine has given already.

A page that the machine has never touched, or has given back to its host, costs whoever touches it
first a fault of the host: up to milliseconds for 2 MiB. That is no server's doing, and it hits the
one that runs first. So as much memory as a large case needs is touched and given back before each
case: what the kernel hands out next is backed.

It does not stay so by itself where the kernel reports free memory to its host ("free page
reporting"): two seconds later the host has it again. So that is turned off for as long as a run
lasts, where the kernel lets root do it; and how long the touching took says whether it has helped.

Only the standard library.
"""

import contextlib
import mmap
import re
import time

PAGE = 4096
HUGE = 2 << 20
SHARE_OF_AVAILABLE = 0.75  # at most: the rest is for what else runs
# The least block of free pages that is reported, as a power of two of pages. There are none of the
# orders from 11 on; some kernels take no more than 10, which leaves blocks of 4 MiB and more.
REPORTED = "/sys/module/page_reporting/parameters/page_reporting_order"
ORDERS = (11, 10)
# Zeroing a GiB takes 0.1 to 0.2 s; what the host has to give first took 2.5 s and more.
BACKED_S_PER_GIB = 0.5
TRIES = 3  # at most, until it is as fast


def field_kb(path, name):
    with open(path, encoding="ascii", errors="replace") as file:
        match = re.search(rf"^{name}:\s+(\d+) kB", file.read(), re.MULTILINE)
    return int(match.group(1)) if match else 0


def affordable(wanted):
    """As many bytes of it as may be touched, in whole huge pages."""
    available = field_kb("/proc/meminfo", "MemAvailable") << 10
    return int(min(wanted, available * SHARE_OF_AVAILABLE)) // HUGE * HUGE


def set_first_of(path, values):
    """Writes the first value that is taken; None: none is."""
    for value in values:
        with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as file:
            file.write(str(value))
            file.flush()
            return value
    return None


@contextlib.contextmanager
def kept(path=REPORTED, orders=ORDERS):
    """While it lasts the host is told of no free memory. Says what was done, or None: nothing is
    reported here, or may be changed by whom this runs as."""
    try:
        with open(path, encoding="ascii") as file:
            before = file.read().strip()
    except OSError:
        yield None
        return
    order = set_first_of(path, orders)
    try:
        yield None if order is None else f"free memory was reported to the host from order {order} on, not {before}"
    finally:
        set_first_of(path, [before])


def touch_until_fast(wanted):
    """Touches up to TRIES times, until it takes no longer than backed memory does. (touched, of
    them huge, seconds for a GiB of the last time)"""
    size, huge, pace = 0, 0, 0.0
    for _ in range(TRIES):
        began = time.monotonic()
        size, huge = touch(wanted)
        pace = (time.monotonic() - began) * 2**30 / max(size, 1)
        if pace <= BACKED_S_PER_GIB:
            break
    return size, huge, pace


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
