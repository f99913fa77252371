"""What is measured: the cases of each axis. A case is one question put to several servers.

A case names idem's scenario; what the others are asked instead is in RECIPES. README.md says why
each recipe is a fair one.
"""

import dataclasses

# What a family of servers is asked for idem's scenario; no entry: it cannot do that.
RECIPES = {
    "redis": {
        "claim": ["redis-claim"],
        "replay": ["redis-replay"],
        "job": ["redis-job", "redis-lua-job"],
        "mixed": ["redis-mixed"],
        "fill-store": ["redis-store"],
        "fill-claim": ["redis-claim"],
        "expire": ["redis-replay"],
        "idle": ["idle"],
        "wait": ["redis-push-wait", "redis-wait", "redis-stream-wait"],
        "herd": ["redis-push-herd", "redis-herd", "redis-stream-herd"],
    },
    "memcached": {
        "claim": ["memcached-claim"],
        "replay": ["memcached-replay"],
        "fill-store": ["memcached-store"],
        "fill-claim": ["memcached-claim"],
    },
    "relay": {"wait": ["relay-wait"], "herd": ["relay-herd"]},
}
# Of the Redis family, who has what a recipe needs beyond SET, GET and INFO.
FULL_REDIS = ("redis", "valkey")
DEEP = 64  # requests in flight from which on a replay is measured with --deep-keys
NEEDS_FULL = ("job", "mixed", "expire", "idle", "wait", "herd")


@dataclasses.dataclass
class Case:
    axis: str
    name: str  # of the row
    scenario: str  # a key of RECIPES
    pipeline: int = 1
    connections: int = 50
    body_bytes: int = 100
    more: list = dataclasses.field(default_factory=list)  # options of the load
    rounds: int = 0  # 0: --rounds
    amount: str = "same"  # same: as many operations as the reference does; else: none added
    floors: bool = True

    def title(self):
        return f"{self.name}, pipeline {self.pipeline}" if self.amount == "same" else self.name


def recipes(case, server):
    """[(label of the column, arguments that name the scenario)] of a server for a case."""
    if (server.family == "loops") != (case.axis == "threads"):
        return []
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


def all_cases(options):
    """In the order of the report."""
    keys = ["--keys", str(options.keys)]
    cases = []
    for scenario in ("claim", "replay"):
        for depth in options.pipelines:
            # The deepest replay is the one that a large table slows down; loading it takes long.
            large = scenario == "replay" and depth >= DEEP
            cases.append(Case("steady", scenario, scenario, depth, rounds=2 if large else 0,
                              more=["--keys", str(options.deep_keys)] if large else keys))
    cases += [Case("job", "job", "job", depth) for depth in (1, 16)]
    cases += [Case("job", "mixed", "mixed", 1, more=keys)]
    cases.append(Case("large", "replay 100 KB", "replay", 1, 10, 100 << 10,
                      ["--keys", "200", "--requests", str(options.large_requests)],
                      amount="own"))
    rate = ["--rate", str(options.rate), "--seconds", str(max(options.seconds, 0.5))]
    cases.append(Case("latency", f"replay at {options.rate}/s", "replay", 1, more=keys + rate,
                      amount="own", floors=False))
    cases.append(Case("wake", "wait", "wait", 1, 1, more=["--requests", str(options.waits)],
                      amount="own"))
    cases.append(Case("wake", "herd", "herd", 1, options.waiters,
                      more=["--requests", str(options.herds)], amount="own"))
    cases.append(Case("wake", "herd 100 KB", "herd", 1, options.waiters, 100 << 10,
                      ["--requests", str(max(options.herds // 5, 1))], 1, "own"))
    fill = ["--keys", str(options.fill_keys), "--lease-ms", "3600000"]
    for name in ("fill-store", "fill-claim"):
        cases.append(Case("memory", name, name, 1, more=fill, rounds=1, amount="own"))
    aged = [*fill, "--generations", "3", "--lead-seconds", str(options.lead_seconds)]
    cases.append(Case("memory", "fill-store, aged", "fill-store", 1, more=aged, rounds=1,
                      amount="own"))
    cases.append(Case("memory", "idle", "idle", 1, options.idle, rounds=1, amount="own"))
    cases.append(Case("expiry", "expire", "expire", 1, rounds=options.expire_rounds, amount="own",
                      more=["--keys", str(options.expire_beside), "--expiring",
                            str(options.expiring), "--lead-seconds", str(options.lead_seconds),
                            "--rate", str(options.rate)]))
    # Also with more loops than CPUs: the CPU time of an operation is counted wherever it runs.
    cases += [Case("threads", f"{scenario} by loops", scenario, 16, more=keys)
              for scenario in ("claim", "replay", "job")]
    return [case for case in cases if case.axis in options.axes]


AXES = ["steady", "job", "large", "latency", "wake", "memory", "expiry", "threads"]
