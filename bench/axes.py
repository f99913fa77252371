"""What is measured: the cases of each axis. A case is one question put to several servers.

A case names idem's scenario; what the others are asked instead is in RECIPES. README.md says why
each recipe is a fair one.
"""

import dataclasses

import durable
import encrypted
from servers import LOOPS, loops_name

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
LARGE = "replay, large table"
JOB_STEPS = 3  # CLAIM, STORE, and the CLAIM of a duplicate
FINGERPRINT_BYTES = "16"  # of the claims that fill memory
NEEDS_FULL = ("job", "mixed", "expire", "idle", "wait", "herd")
LARGE_KEYS = "200"  # of 100 KB: 20 MB, more than a core's own caches
ONE_CLIENT = "durable claim, one client"
CORES = tuple(loops_name(count) for count in LOOPS)  # what the axis cores compares
BACKED_GB = 3  # touched before each case: what the largest server of most cases takes


# Where the name of a case says how many requests are in flight.
BY_DEPTH = ("steady", "job", "unix", "loops", "durable", "tls")


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
    repeats: int = 0  # so many rounds on the same servers, which keep their keys side by side
    backed_gb: int = BACKED_GB
    flood: bool = False  # by the load that takes least: it has to keep several loops busy
    only: tuple = ()  # names of servers; empty: all that can
    longer: int = 1  # the reference runs so many times --seconds
    program: str = ""  # of the build or of bench/: it measures by itself; `more` are its options

    def title(self):
        by_depth = self.axis in BY_DEPTH and self.connections > 1
        return f"{self.name}, pipeline {self.pipeline}" if by_depth else self.name


def takes_part(case, server):
    """Servers of a kind of their own are for the axis that is about it."""
    if case.only and server.name not in case.only:
        return False
    if (server.data and case.axis != "durable") or (server.load and case.axis != "tls"):
        return False
    if bool(server.socket) != (case.axis == "unix"):
        return False
    return server.family == "sync" or (server.family == "loops") == (case.axis in ("loops", "cores"))


def steps(case, server):
    """How many servers a measurement needs, one after the other: a floor moves messages of one size,
    so a job is the sum of its steps."""
    return JOB_STEPS if server.family == "echo" and case.scenario == "job" else 1


def recipes(case, server):
    """[(label of the column, arguments that name the scenario)] of a server for a case."""
    if not takes_part(case, server):
        return []
    if server.family == "sync":
        return [(server.name, [])]
    if case.flood:
        return [(server.name, ["--scenario", "flood", "--like", case.scenario])]
    if server.family in ("idem", "loops"):
        names = [case.scenario]
    elif server.family == "echo":
        if not case.floors or case.scenario not in ("claim", "replay", "job"):
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
    cases = [Case("steady", "claim", "claim", depth, longer=2 if depth > 16 else 1)
             for depth in options.pipelines]
    return cases + [Case("steady", "replay", "replay", 1, more=keys)]


def large_table_cases(options):
    """Replays that a large table slows down. Loading one takes long: it happens once, of all servers
    side by side, and the rounds are taken on them."""
    def case(depth, keys, backed_gb):
        more = ["--keys", str(keys), "--seconds", str(options.seconds)]
        return Case("steady", LARGE, "replay", depth, more=more,
                    rounds=1, amount="own", repeats=options.large_rounds, backed_gb=backed_gb,
                    only=("idem", "redis", "pogocache", "echo"))

    return [case(16, options.middle_keys, BACKED_GB), case(64, options.deep_keys, 3 * BACKED_GB)]


def job_cases(options):
    cases = [Case("job", "job", "job", depth) for depth in (1, 16)]
    return [*cases, Case("job", "mixed", "mixed", 1, more=["--keys", str(options.keys)], rounds=1)]


def large_cases(options):
    more = ["--keys", LARGE_KEYS, "--requests", str(options.large_requests)]
    return [Case("large", "replay 100 KB", "replay", 1, 10, 100 << 10, more, amount="own",
                 floor_more=["--bodies", LARGE_KEYS])]


def unix_cases(options):
    return [Case("unix", f"unix {scenario}", scenario, 1, more=["--keys", str(options.keys)])
            for scenario in ("claim", "replay")]


def latency_cases(options):
    more = ["--keys", str(options.keys), "--rate", str(options.rate), "--seconds",
            str(max(options.seconds, 0.5))]
    return [Case("latency", f"replay at {options.rate}/s", "replay", 1, more=more, rounds=1,
                 amount="own", floors=False)]


def wake_cases(options):
    def case(name, scenario, connections, requests, body_bytes=100):
        return Case("wake", name, scenario, 1, connections, body_bytes,
                    ["--requests", str(requests)], rounds=1, amount="own")

    return [case("wait", "wait", 1, options.waits),
            case("herd", "herd", options.waiters, options.herds),
            case("herd 100 KB", "herd", options.waiters, max(options.herds // 5, 1), 100 << 10)]


def filling(axis, name, scenario, options, more=(), only=()):
    fill = ["--keys", str(options.fill_keys), "--lease-ms", "3600000", "--fingerprint-bytes",
            FINGERPRINT_BYTES]
    return Case(axis, name, scenario, 1, more=[*fill, *more], rounds=1, amount="own", once=True,
                only=only)


def memory_cases(options):
    return [filling("memory", "fill-store", "fill-store", options),
            filling("memory", "fill-claim", "fill-claim", options),
            Case("memory", "idle", "idle", 1, options.idle, rounds=1, amount="own", once=True)]


def aged_cases(options):
    more = ["--generations", "3", "--lead-seconds", str(options.lead_seconds)]
    return [filling("aged", "fill-store, aged", "fill-store", options, more, ("idem",))]


def expiry_cases(options):
    more = ["--keys", str(options.expire_beside), "--expiring", str(options.expiring), "--windows",
            str(options.windows), "--rate", str(options.rate)]
    return [Case("expiry", "expire", "expire", 1, more=more, rounds=1, amount="own", once=True,
                 only=("idem", "redis"))]


def engine_cases(options):
    """Of bench-engine, which needs no server."""
    return [Case("engine", "engine, expire", "engine", rounds=3, program="bench-engine",
                 more=["expire", str(options.expiring), str(options.expire_beside), "2"])]


def growth_cases(options):
    return [Case("growth", "engine, growth", "engine", rounds=1, program="bench-engine",
                 more=["pauses", str(options.growth_keys), "3"])]


def flooding(axis, name, scenario, pipeline, options):
    more = ["--keys", str(options.keys), "--seconds", str(options.seconds)]
    return Case(axis, f"{scenario} {name}", scenario, pipeline, 64, more=more, amount="own",
                flood=True)


def loops_cases(options):
    """All loops on one CPU: what more of them cost in calls, locks and wake-ups, without what moves
    between caches. The flood keeps them busy, so that a wake-up brings as many requests to each."""
    cases = [flooding("loops", "by loops on one CPU", scenario, 16, options)
             for scenario in ("claim", "replay")]
    return [*cases, Case("loops", "job by loops on one CPU", "job", 16)]


def cores_cases(options):
    return [flooding("cores", "on two cores", scenario, 64, options)
            for scenario in ("claim", "replay")]


def durable_cases(options):
    # Longer than the others: a run has many syncs, and idem does Redis' amount in a fraction of the
    # time.
    def case(name, scenario, depth, rounds):
        return Case("durable", f"durable {name}", scenario, depth, floors=False, longer=2,
                    rounds=rounds, only=durable.NAMES)

    one = ["--seconds", str(options.seconds)]
    return [*(case("claim", "claim", depth, 0) for depth in (1, 16)),
            *(case("job", "store", depth, 1) for depth in (1, 16)),
            Case("durable", ONE_CLIENT, "claim", 1, 1, more=one, amount="own", floors=False,
                 rounds=1, only=(*durable.NAMES, durable.RAW_SYNC))]


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


# In the order of the report: axis -> the functions that make its cases.
AXES = {
    "steady": (steady_cases, large_table_cases), "job": (job_cases,), "unix": (unix_cases,),
    "large": (large_cases,), "loops": (loops_cases,), "durable": (durable_cases,),
    "memory": (memory_cases,), "expiry": (expiry_cases,), "engine": (engine_cases,),
    "latency": (latency_cases,), "wake": (wake_cases,),
    "aged": (aged_cases,), "growth": (growth_cases,), "cores": (cores_cases,), "tls": (tls_cases,),
    "journal": (journal_cases,),
}
# What the table of targets needs, and waking and latency. The others are measured when they are named.
USUAL = ["steady", "job", "unix", "large", "loops", "durable", "memory", "expiry", "engine",
         "latency", "wake"]


def all_cases(options):
    return [case for axis, makers in AXES.items() if axis in options.axes
            for make in makers for case in make(options)]
