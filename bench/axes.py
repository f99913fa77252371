"""What is measured: the cases of each axis. A case is one question put to several servers.

A case names idem's scenario; what the others are asked instead is in RECIPES. README.md says why
each recipe is a fair one.
"""

import dataclasses

import durable
import encrypted
from servers import loops_name

# What a family of servers is asked for idem's scenario; no entry: it cannot do that.
RECIPES = {
    "redis": {
        "claim": ["redis-claim"],
        "replay": ["redis-replay"],
        "store": ["redis-claim-store"],
        "job": ["redis-job", "redis-lua-job"],
        "mixed": ["redis-mixed"],
        "fill-store": ["redis-store"],
        "fill-claim": ["redis-claim"],
        "expire": ["redis-replay"],
        "idle": ["idle"],
        "wait": ["redis-push-wait", "redis-wait", "redis-stream-wait"],
        "herd": ["redis-push-herd", "redis-herd", "redis-stream-herd"],
    },
    "module": {
        "claim": ["module-claim"],
        "replay": ["module-replay"],
        "store": ["module-store"],
        "fill-store": ["module-store"],
        "fill-claim": ["module-claim"],
    },
    "memcached": {
        "claim": ["memcached-claim"],
        "replay": ["memcached-replay"],
        "fill-store": ["memcached-store"],
        "fill-claim": ["memcached-claim"],
    },
    "relay": {"wait": ["relay-wait"], "herd": ["relay-herd"]},
}
# The servers of the Redis family that have what a recipe needs beyond SET, GET and INFO.
FULL_REDIS = ("redis", "valkey")
DEEP = 64  # requests in flight from which on a replay is measured with --deep-keys
NEEDS_FULL = ("job", "mixed", "expire", "idle", "wait", "herd")
LARGE_KEYS = "200"  # of 100 KB: 20 MB, more than a core's own caches
ONE_CLIENT = "durable claim, one client"
CORES = (loops_name(1), loops_name(2))  # what the axis cores compares


@dataclasses.dataclass
class Case:
    axis: str
    name: str  # of the row
    scenario: str  # a key of RECIPES
    pipeline: int = 1
    connections: int = 50
    body_bytes: int = 100
    more: list = dataclasses.field(default_factory=list)  # options of the load
    rounds: int = 0  # at most; 0: --rounds
    amount: str = "same"  # same: as many operations as the reference does; own: `more` says it
    floors: bool = True
    floor_more: list = dataclasses.field(default_factory=list)  # options of the echoes
    once: bool = False  # a round visits each server once, not there and back
    repeats: int = 1  # measured so often on the same server and its keys
    flood: bool = False  # by the load that takes least: it has to keep several loops busy
    only: tuple = ()  # names of servers; empty: all that can
    longer: int = 1  # the reference runs so many times --seconds
    program: str = ""  # of the build or of bench/: it measures by itself; `more` are its options

    def title(self):
        by_depth = self.axis in ("steady", "job", "threads", "durable", "tls") and self.connections > 1
        return f"{self.name}, pipeline {self.pipeline}" if by_depth else self.name


def recipes(case, server):
    """[(label of the column, arguments that name the scenario)] of a server for a case."""
    if case.only and server.name not in case.only:
        return []
    if (server.data and case.axis != "durable") or (server.load and case.axis != "tls"):
        return []
    if server.family == "sync":
        return [(server.name, [])]
    if (server.family == "loops") != (case.axis in ("threads", "cores")):
        return []
    if case.flood:
        return [(server.name, ["--scenario", "flood", "--like", case.scenario])]
    if server.family in ("idem", "loops"):
        names = [case.scenario]
    elif server.family == "echo":
        if not case.floors or case.scenario not in ("claim", "replay"):
            return []
        return [(server.name, ["--scenario", "echo", "--like", case.scenario])]
    else:
        names = RECIPES[server.family].get(case.scenario, [])
        partial = server.family == "redis" and server.name not in FULL_REDIS
        if partial and case.scenario in NEEDS_FULL:
            return []
    found = []
    for name in names:
        # The column says the recipe where a server has several.
        extra = name.removeprefix(server.family + "-").rpartition("-")[0]
        label = f"{server.name} {extra}" if len(names) > 1 and extra else server.name
        if case.scenario.startswith("fill-"):
            like = case.scenario[len("fill-"):] if server.family == "idem" else name
            found.append((label, ["--scenario", "fill", "--like", like]))
        elif case.scenario == "expire":
            like = "replay" if server.family == "idem" else name
            found.append((label, ["--scenario", "expire", "--like", like]))
        else:
            found.append((label, ["--scenario", name]))
    return found


def steady_cases(options):
    keys = ["--keys", str(options.keys)]
    cases = []
    for scenario in ("claim", "replay"):
        for depth in options.pipelines:
            if scenario == "replay" and depth >= DEEP:
                continue
            cases.append(Case("steady", scenario, scenario, depth, more=keys))
    # The one that a large table slows down. Loading it takes long: each server is visited once, and
    # measured three times.
    deep = ["--keys", str(options.deep_keys), "--seconds", str(2 * options.seconds)]
    cases += [Case("steady", "replay", "replay", depth, more=deep, rounds=1, amount="own",
                   once=True, repeats=3) for depth in options.pipelines if depth >= DEEP]
    return cases


def wake_cases(options):
    def case(name, scenario, connections, requests, body_bytes=100):
        return Case("wake", name, scenario, 1, connections, body_bytes,
                    ["--requests", str(requests)], amount="own")

    return [case("wait", "wait", 1, options.waits),
            case("herd", "herd", options.waiters, options.herds),
            case("herd 100 KB", "herd", options.waiters, max(options.herds // 5, 1), 100 << 10)]


def memory_cases(options):
    fill = ["--keys", str(options.fill_keys), "--lease-ms", "3600000"]

    def case(name, scenario, connections=50, more=(), only=()):
        return Case("memory", name, scenario, 1, connections, more=list(more), rounds=1,
                    amount="own", once=True, only=only)

    aged = [*fill, "--generations", "3", "--lead-seconds", str(options.lead_seconds)]
    return [case("fill-store", "fill-store", more=fill), case("fill-claim", "fill-claim", more=fill),
            case("fill-store, aged", "fill-store", more=aged, only=("idem",)),
            case("idle", "idle", options.idle)]


def expiry_cases(options):
    more = ["--keys", str(options.expire_beside), "--expiring", str(options.expiring), "--windows",
            str(options.windows), "--rate", str(options.rate)]
    return [Case("expiry", "expire", "expire", 1, more=more, rounds=1, amount="own", once=True,
                 only=("idem", "redis"))]


def engine_cases(options):
    """Of bench-engine, which needs no server."""
    return [Case("engine", "engine, expire", "engine", rounds=3, program="bench-engine",
                 more=["expire", str(options.expiring), str(options.expire_beside), "2"]),
            Case("engine", "engine, growth", "engine", rounds=1, program="bench-engine",
                 more=["pauses", str(options.growth_keys), "3"])]


def threads_cases(options):
    keys = ["--keys", str(options.keys)]
    flood = [*keys, "--seconds", str(options.seconds)]

    def case(axis, name, scenario, pipeline, only=()):
        return Case(axis, f"{scenario} {name}", scenario, pipeline, 64, more=flood, amount="own",
                    flood=True, only=only)

    # Also with more loops than CPUs: the CPU time of an operation is counted wherever it runs. A
    # load that cannot keep all loops busy would measure how often they wake up.
    cases = [case("threads", "by loops", scenario, 16) for scenario in ("claim", "replay")]
    cases.append(Case("threads", "job by loops", "job", 16, more=keys))
    return cases + [case("cores", "on two cores", scenario, 64, CORES)
                    for scenario in ("claim", "replay")]


def durable_cases(options):
    # Longer than the others: a run has many syncs, and idem does Redis' amount in a fraction of the
    # time.
    cases = [Case("durable", f"durable {name}", scenario, depth, floors=False, longer=2,
                  only=durable.NAMES)
             for name, scenario in (("claim", "claim"), ("job", "store")) for depth in (1, 16)]
    one = ["--seconds", str(options.seconds)]
    return [*cases, Case("durable", ONE_CLIENT, "claim", 1, 1, more=one, amount="own", floors=False,
                         only=(*durable.NAMES, durable.RAW_SYNC))]


def tls_cases(options):
    """The same servers in plain text are beside them: what TLS adds."""
    keys = ["--keys", str(options.keys)]
    both = (*encrypted.NAMES, "idem", "redis")
    return [Case("tls", f"tls {scenario}", scenario, depth, more=keys, floors=False, only=both)
            for scenario in ("claim", "replay") for depth in (1, 16)]


def journal_cases(options):
    """Of scripts that start idem themselves: a journal that is read again, and one that ends."""
    def case(name, *more):
        return Case("journal", name, "journal", rounds=1, program=f"{name}.py", more=list(more))

    return [case("recovery", "--keys", str(options.recovered_keys)),
            case("compaction", "--seconds", str(options.compaction_seconds), "--figures")]


def all_cases(options):
    """In the order of the report."""
    keys = ["--keys", str(options.keys)]
    rate = ["--rate", str(options.rate), "--seconds", str(max(options.seconds, 0.5))]
    cases = [
        *steady_cases(options),
        *(Case("job", "job", "job", depth) for depth in (1, 16)),
        Case("job", "mixed", "mixed", 1, more=keys),
        Case("large", "replay 100 KB", "replay", 1, 10, 100 << 10,
             ["--keys", LARGE_KEYS, "--requests", str(options.large_requests)], amount="own",
             floor_more=["--bodies", LARGE_KEYS]),
        Case("latency", f"replay at {options.rate}/s", "replay", 1, more=keys + rate, amount="own",
             floors=False),
        *wake_cases(options),
        *memory_cases(options),
        *expiry_cases(options),
        *engine_cases(options),
        *threads_cases(options),
        *durable_cases(options),
        *tls_cases(options),
        *journal_cases(options),
    ]
    return [case for case in cases if case.axis in options.axes]


AXES = ["steady", "job", "large", "latency", "wake", "memory", "expiry", "engine", "threads",
        "cores", "durable", "tls", "journal"]
