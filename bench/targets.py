"""The targets, and what was measured beside each, also where it falls short.

Ratios are taken inside a round; the median of the rounds counts, and the lowest and highest are
shown with it. A target whose case, server or floor was not measured says so.
"""

import dataclasses
import statistics

from axes import CORES, LARGE, ONE_CLIENT
from durable import RAW_SYNC
from servers import UNIX

CPU = "server_cpu_ns_per_operation"


@dataclasses.dataclass
class Stat:
    middle: float
    low: float
    high: float

    def show(self, decimals=2):
        return f"{self.middle:.{decimals}f} ({self.low:.{decimals}f}..{self.high:.{decimals}f})"


def stat(values):
    return Stat(statistics.median(values), min(values), max(values)) if values else None


def per_round(cells, name, server, field):
    """The mean of each round's runs; [] when it was not measured."""
    rounds = cells.get(name, {}).get(server, [])
    return [statistics.mean(run[field] for run in pair) for pair in rounds
            if all(field in run for run in pair)]


def figure(cells, name, server, field):
    return stat(per_round(cells, name, server, field))


def windowed(cells, name, server, field):
    """Of a run that measured several times and says the lowest and highest itself."""
    middle, low, high = (per_round(cells, name, server, field + part)
                         for part in ("", "_low", "_high"))
    return Stat(statistics.median(middle), min(low), max(high)) if low else stat(middle)


def ratio(cells, name, over, under, field):
    pairs = zip(per_round(cells, name, over, field), per_round(cells, name, under, field))
    return stat([a / b for a, b in pairs if b > 0])


@dataclasses.dataclass
class Target:
    axis: str
    text: str
    limit: float
    measure: object  # cells -> Stat or None
    before: str = ""  # what was measured when the target was set
    at_least: bool = False
    decimals: int = 2
    ours: str = ""  # the server whose CPU time it is about; "": of none

    def verdict(self, found):
        """Of the median; `~` where the lowest or the highest would say otherwise."""
        met, *extremes = ((value >= self.limit) == self.at_least or value == self.limit
                          for value in (found.middle, found.low, found.high))
        return ("yes" if met else "NO") + ("" if all(e == met for e in extremes) else " ~")


def cpu_ratio(name, over, under, limit, whom, before=""):
    """CPU of `over` per CPU of `under`, at most `limit`."""
    return Target(name, f"CPU <= {limit:g} x {whom}", limit,
                  lambda cells: ratio(cells, name, over, under, CPU), before, ours=over)


def of_server(name, field, limit, text, decimals=1, before="", server="idem"):
    return Target(name, text, limit, lambda cells: windowed(cells, name, server, field), before,
                  decimals=decimals)


def of_journal(name, field, limit, text, decimals=1, at_least=False):
    return Target(name, text, limit, lambda cells: figure(cells, name, "journal", field),
                  at_least=at_least, decimals=decimals)


def between(name, over, under, field, limit, text, at_least=False):
    return Target(name, text, limit, lambda cells: ratio(cells, name, over, under, field),
                  at_least=at_least)


def list_targets():
    """The table. Of CPU time by ratios only, which hold on other machines too."""
    return [*targets_of_replays(), *targets_of_claims_and_jobs(), *targets_of_memory(),
            *targets_of_loops_and_sockets(), *targets_of_durability()]


def targets_of_replays():
    few, many, most = "replay, pipeline 1", f"{LARGE}, pipeline 16", f"{LARGE}, pipeline 64"
    return [
        cpu_ratio(most, "idem", "pogocache", 0.45, "Pogocache, 10M keys", "0.71"),
        Target(most, "CPU <= 380 ns where the echo costs 150: 2.53 x the echo", round(380 / 150, 2),
               lambda cells: ratio(cells, most, "idem", "echo", CPU), "617 ns", ours="idem"),
        cpu_ratio(many, "idem", "pogocache", 0.65, "Pogocache, 3M keys", "0.89"),
        cpu_ratio(few, "idem", "echo", 1.1, "the echo", "1.18"),
        cpu_ratio(few, "idem", "redis", 0.8, "Redis", "0.83"),
        cpu_ratio(few, "idem", "pogocache", 1, "Pogocache"),
        Target("replay 100 KB", "CPU of a bare loop that writes 100 KB >= 0.95 x ours", 0.95,
               lambda cells: ratio(cells, "replay 100 KB", "epoll-echo", "idem", CPU), "0.84",
               at_least=True, ours="idem"),
    ]


def targets_of_claims_and_jobs():
    claims = [cpu_ratio(f"claim, pipeline {depth}", "idem", "echo", limit, "the echo", before)
              for depth, limit, before in ((64, 1.8, "2.3"), (16, 1.35, "1.47"), (1, 1.08, "1.12"))]
    return [*claims,
            cpu_ratio("job, pipeline 1", "idem", "echo", 1.08, "the echo's three round trips", "1.14"),
            cpu_ratio("job, pipeline 16", "idem", "redis", 0.22, "SET NX GET, SET, PUBLISH", "0.28")]


def targets_of_memory():
    targets = []
    for name, limit, before in (("fill-claim", 96, "126"), ("fill-store", 150, "154")):
        targets += [
            of_server(name, "worst_used_bytes_per_key", limit, f"<= {limit} bytes used, FP of 16 bytes",
                      before=before),
            Target(name, "resident <= used + 3 %", 1.03,
                   lambda cells, name=name: of_fields(cells, name, "idem", "rss_bytes_per_key",
                                                      "used_bytes_per_key"), decimals=3)]
    return [*targets,
            of_server("engine, expire", "cpu_ns_per_key", 45, "<= 45 ns CPU per expired key, engine",
                      before="55", server="engine"),
            of_server("expire", "expiry_cpu_ns_per_key", 80, "<= 80 ns CPU per expired key, server",
                      before="187"),
            of_server("expire", "expiry_alone_cpu_ns_per_key", 80, "the same, without readers")]


def targets_of_loops_and_sockets():
    one, two = CORES
    loops = [cpu_ratio(f"{scenario} by loops on one CPU, pipeline 16", two, one, 1.05,
                       "one loop, for two on one CPU", "1.07-1.16")
             for scenario in ("claim", "replay", "job")]
    sockets = [cpu_ratio(f"unix {scenario}, pipeline 1", f"idem{UNIX}", f"echo{UNIX}", 1.25,
                         "the echo on a unix socket", "4.6-5.1 us") for scenario in ("claim", "replay")]
    return [*loops, *sockets]


def targets_of_durability():
    return [cpu_ratio(f"durable claim, pipeline {depth}", "idem always", "redis always", limit,
                      "Redis' appendfsync always") for depth, limit in ((1, 0.85), (16, 0.35))]


def further_targets():
    """Set earlier, and not replaced: of what else is measured, where it is."""
    return [*further_of_waiting(), *further_of_cores(), *further_of_durability(),
            *(cpu_ratio(f"tls {scenario}, pipeline {depth}", "idem tls", "redis tls", limit,
                        "Redis with TLS")
              for scenario in ("claim", "replay") for depth, limit in ((1, 0.85), (16, 0.6)))]


def further_of_waiting():
    return [
        between("wait", "idem", "relay", "first_p50_us", 1.1, "one waiter <= 1.1 x a bare relay"),
        between("herd", "idem", "epoll-relay", "last_p50_us", 1.2,
                "the last of 1000 <= 1.2 x a bare loop of writes"),
        Target("herd 100 KB", "<= 2 bodies of user memory", 2,
               lambda cells: scaled(figure(cells, "herd 100 KB", "idem", "peak_rss_rise_bytes"),
                                    1 / (100 << 10))),
        of_server("idle", "rss_bytes_per_connection", 450, "<= 450 bytes resident"),
        of_server("expire", "bystander_p999_rise_us", 300, "bystander p99.9 up by <= 300 us"),
        of_server("expire", "memory_back_at_most_ms", 1500, "memory back within 1500 ms", 0),
        of_server("fill-store, aged", "rss_bytes_per_key", 156,
                  "<= 156 resident after 3 generations of mixed sizes"),
        of_server("engine, growth", "longest_us", 50, server="growth",
                  text="growth to 50M keys: no single pause over 50 us caused by the table"),
    ]


def further_of_cores():
    one, two = CORES
    targets = []
    for scenario in ("claim", "replay"):
        name = f"{scenario} on two cores"
        targets += [
            between(name, two, one, "operations_per_second", 1.7,
                    "throughput of two loops >= 1.7 x of one, load on the same two", True),
            Target(name, "the same by CPU per operation, load not counted", 1.7,
                   lambda cells, name=name: scaled(ratio(cells, name, one, two, CPU), 2),
                   at_least=True),
        ]
    return targets


def further_of_durability():
    targets = []
    for depth, of_memory, faster in ((1, 1.3, 1.2), (16, 1.5, 3)):
        name = f"durable claim, pipeline {depth}"
        targets += [cpu_ratio(name, "idem always", "idem", of_memory, "in memory only"),
                    between(name, "idem always", "redis always", "operations_per_second", faster,
                            f"throughput >= {faster} x Redis' appendfsync always", True)]
    return [
        *targets,
        Target(ONE_CLIENT, "p50 <= in memory only + 1.2 x a raw 4 KiB sync", 1.2, syncs_of_one_client),
        of_journal("recovery", "ready_s", 10, "10 million responses are back within 10 s on one core"),
        of_journal("compaction", "again_bytes", 0, "steady TTLs: no byte is appended again", 0),
        of_journal("compaction", "removed_unread", 1, "steady TTLs: segments are removed unread", 0,
                   True),
        of_journal("compaction", "slice_max_us", 1000, "no slice over 1 ms, steady TTLs", 0),
        of_journal("compaction", "kept_slice_max_us", 1000, "no slice over 1 ms, keys that stay", 0),
    ]


def of_fields(cells, name, server, over, under):
    """One field of a run per another one of the same run."""
    pairs = zip(per_round(cells, name, server, over), per_round(cells, name, server, under))
    return stat([a / b for a, b in pairs if b > 0])


def syncs_of_one_client(cells):
    """What being durable adds to one client's median, in raw syncs of the same round."""
    rounds = zip(*(per_round(cells, ONE_CLIENT, name, "latency_p50_us")
                   for name in ("idem always", "idem", RAW_SYNC)))
    return stat([(always - memory) / sync for always, memory, sync in rounds])


def scaled(found, factor):
    return Stat(found.middle * factor, found.low * factor, found.high * factor) if found else None


def rows(cells, all_axes):
    """[axis, target, before, measured, met or not] of the table; of every target when all of its
    axes were asked for."""
    found = []
    for target in list_targets():
        value = target.measure(cells)
        if value is None and all_axes:
            found.append([target.axis, target.text, target.before, "not measured", "-"])
        elif value is not None:
            found.append([target.axis, target.text, target.before, value.show(target.decimals),
                          target.verdict(value)])
    return found


def missed(cells):
    """[(axis, server)] of the table's targets about CPU time that were measured and are not met."""
    measured = [(target, target.measure(cells)) for target in list_targets() if target.ours]
    return [(target.axis, target.ours) for target, value in measured
            if value is not None and target.verdict(value).startswith("NO")]


def further_rows(cells):
    """[axis, target, measured, met or not] of those that were measured."""
    measured = [(target, target.measure(cells)) for target in further_targets()]
    return [[target.axis, target.text, value.show(target.decimals), target.verdict(value)]
            for target, value in measured if value is not None]
