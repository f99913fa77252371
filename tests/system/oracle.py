"""What callers may find after a server was killed: a model of the keys that one connection has for itself.

A unit is what is sent as one: a command, or MULTI ... EXEC. The model follows each unit that was answered, and checks
the answer. Of the units that were sent and not answered, the first so many have taken place, whole: `after_kill` finds
with how many of them the keys are what the server shows, and takes that over.

Times are in seconds of a clock that stands while the server is down (killing.py): a lease may not end sooner by it.
"""

import dataclasses

from harness import RespError

RETENTION_MS = 86_400_000
TTL_MS = 86_400_000
LEASE_MS = 60_000
SLACK_MS = 5  # the server's milliseconds are rounded


class Any:
    """A token that only the server knows yet."""

    def __repr__(self):
        return "any"


ANY = Any()


@dataclasses.dataclass(frozen=True)
class Key:
    """state: HELD, LAPSED, UNKNOWN, DONE or VALUE. left_ms: at `since`, at least so much of lease, TTL or retention was
    left; None: it has no end. lapses: the lease is so short that HELD may be LAPSED or UNKNOWN already."""
    state: str
    token: object = None
    attempt: int = 0
    owner: bytes = None
    stage: bytes = None
    fingerprint: bytes = None
    hold: bool = False
    nobody: bool = False
    lapses: bool = False
    lease_ms: int = LEASE_MS
    body: bytes = None
    meta: bytes = None
    left_ms: int = None
    since: float = 0.0

    def but(self, **changes):
        return dataclasses.replace(self, **changes)


def options_of(words):
    """{name: value} of options, True for those without one."""
    found, words = {}, list(words)
    while words:
        name = words.pop(0)
        found[name] = True if name in ("HOLD", "BIND", "UNSURE", "CLEAR") else words.pop(0)
    return found


class Wrong(AssertionError):
    pass


def expect(condition, command, key, reply):
    if not condition:
        raise Wrong(f"{command!r:.300} on {key!r:.400} was answered {reply!r:.300}")


# What each command leaves. reply: None when there was none.

def granted(key, options, attempt, at, reply, command):
    lease = options.get("LEASE", LEASE_MS)
    if reply is not None:
        expect(isinstance(reply, list) and reply[0] == b"CLAIMED" and reply[3] == attempt
               and reply[2] == lease and (key is None or reply[4] == key.stage), command, key, reply)
    return Key("HELD", ANY if reply is None else reply[1], attempt, options.get("OWNER"),
               key.stage if key else None, options.get("FP"), "HOLD" in options or bool(key and key.hold),
               lapses=lease < 1000, lease_ms=lease, left_ms=lease, since=at)


def claim(key, command, at, reply):
    options = options_of(command[2:])
    if key is None:
        return granted(None, options, 1, at, reply, command)
    if key.state == "HELD":
        renewed = granted(key, options, key.attempt, at, reply, command)
        expect(reply is None or key.token is ANY or reply[1] == key.token, command, key, reply)
        return renewed.but(token=key.token if reply is None else reply[1])
    if key.state == "LAPSED" or (key.state == "UNKNOWN" and options.get("TAKEOVER") == key.token):
        after = granted(key, options, key.attempt + 1, at, reply, command)
        expect(reply is None or key.token is ANY or reply[1] > key.token, command, key, reply)
        return after
    if reply is not None:
        expect(isinstance(reply, list) and reply[0] == key.state.encode(), command, key, reply)
        shown = reply[1] == (key.body if key.state == "DONE" else key.token)
        expect(shown or key.token is ANY, command, key, reply)
    return key


def lapsed(key, at):
    return key.but(state="UNKNOWN" if key.hold else "LAPSED", lapses=False,
                   left_ms=None if key.hold else RETENTION_MS, since=at)


def ended(key, options, at):
    """After RELEASE, or STORE with TTL 0."""
    if "UNSURE" in options:
        return lapsed(key, at) if key.state == "HELD" and not key.lapses else key
    if "CLEAR" in options or key.attempt == 1:
        return None
    return lapsed(key.but(token=ANY, attempt=key.attempt - 1, owner=None, nobody=True), at)


def store(key, command, at, reply):
    options = options_of(command[4:])
    expect(reply is None or reply == 0, command, key, reply)
    ttl = options.get("TTL", TTL_MS)
    if ttl == 0:
        return ended(key, options, at)
    return Key("DONE", key.token, body=command[3], meta=options.get("META"), fingerprint=key.fingerprint,
               left_ms=ttl, since=at)


def renew(key, command, at, reply):
    options = options_of(command[3:])
    lease = options.get("LEASE", key.lease_ms)
    expect(reply is None or reply == lease, command, key, reply)
    return key.but(state="HELD", stage=options.get("STAGE", key.stage), lapses=lease < 1000, lease_ms=lease,
                   left_ms=lease, since=at)


def release(key, command, at, reply):
    expect(reply is None or reply == 1, command, key, reply)
    return ended(key, options_of(command[3:]), at)


def set_value(key, command, at, reply):
    expect(reply is None or reply == "OK", command, key, reply)
    return Key("VALUE", body=command[2], left_ms=options_of(command[3:]).get("PX"), since=at)


def expire(key, command, at, reply):
    expect(reply is None or reply == 1, command, key, reply)
    return key.but(left_ms=command[2], since=at)


def delete(key, command, at, reply):
    return None


AFTER = {"CLAIM": claim, "STORE": store, "RENEW": renew, "RELEASE": release, "SET": set_value,
         "PEXPIRE": expire, "DEL": delete}


def keys_of(command):
    return command[1:] if command[0] == "DEL" else command[1:2]


def apply_command(keys, command, at, reply):
    if command[0] == "FLUSHALL":
        expect(reply is None or reply == "OK", command, None, reply)
        keys.clear()
        return
    if command[0] == "DEL" and reply is not None:
        there = len({name for name in command[1:] if keys.get(name) is not None})
        expect(reply == there, command, there, reply)
    for name in keys_of(command):
        keys[name] = AFTER[command[0]](keys.get(name), command, at, reply)


def apply_unit(keys, unit, at, replies=None):
    """The keys after the unit; replies: one for each command of it, or None."""
    for command, reply in zip(unit, replies or [None] * len(unit)):
        if isinstance(reply, RespError):
            raise Wrong(f"{command!r:.300} on {keys.get(command[1]) if command[1:] else None!r:.300}: {reply}")
        apply_command(keys, command, at, reply)


# What the server shows.

def shown(inspected, fetched, value, left):
    """A Key of the replies to INSPECT, FETCH, GET and PTTL; None: absent."""
    if isinstance(inspected, RespError) or (inspected is None and isinstance(value, bytes)):
        return Key("VALUE", body=value, left_ms=None if left == -1 else left)
    if inspected is None:
        return None
    fields = dict(zip([name.decode() for name in inspected[::2]], inspected[1::2]))
    state = fields["state"].decode()
    if state == "DONE":
        return Key(state, fields["token"], body=fetched[1], meta=fetched[2], fingerprint=fields["fingerprint"],
                   left_ms=fields["ttl-left-ms"])
    return Key(state, fields["token"], fields["attempt"], fields["owner"], fields["stage"],
               fields["fingerprint"], bool(fields["hold"]),
               left_ms=fields["lease-left-ms" if state == "HELD" else "ttl-left-ms"])


SAME = ("attempt", "owner", "stage", "fingerprint", "hold", "body", "meta")


def difference(expected, seen, now, floor):
    """Why the server may not show this; None: it may. floor: a token above which new ones are."""
    if expected is None or seen is None:
        return None if expected is seen else "is absent" if seen is None else "is there"
    states = {expected.state}
    if expected.lapses:
        states.add("UNKNOWN" if expected.hold else "LAPSED")
    if seen.state not in states:
        return f"is {seen.state}"
    for field in SAME:
        if getattr(expected, field) != getattr(seen, field):
            return f"{field} is {getattr(seen, field)!r:.100}"
    if expected.token is ANY:
        if seen.token <= floor:
            return f"token {seen.token} is not above {floor}"
    elif seen.token != expected.token and expected.state != "VALUE":
        return f"token is {seen.token}"
    return end_difference(expected, seen, now)


def end_difference(expected, seen, now):
    if expected.lapses or seen.state != expected.state:
        return None
    if (expected.left_ms is None) != (seen.left_ms is None):
        return f"left is {seen.left_ms}"
    if expected.left_ms is None:
        return None
    least = expected.left_ms - (now - expected.since) * 1000 - SLACK_MS
    if not least <= seen.left_ms <= expected.left_ms:
        return f"{seen.left_ms} ms are left, at least {least:.0f} were due"
    return None


def adopted(expected, seen, at):
    """The key as the server shows it, with what it does not show as expected."""
    if seen is None:
        return None
    changes = {"since": at}
    if expected is not None:
        changes.update(nobody=expected.nobody, lease_ms=expected.lease_ms,
                       lapses=expected.lapses and seen.state == "HELD")
    return seen.but(**changes)


class Lost(AssertionError):
    """What the server shows is none of what it may show."""


def after_kill(keys, unanswered, seen, looked, floor):
    """The keys as they are now. unanswered: (unit, at) in the order in which they were sent. looked: when looking
    began and when it ended."""
    candidate, reasons = dict(keys), []
    for count in range(len(unanswered) + 1):
        if count:
            apply_unit(candidate, *unanswered[count - 1])
        names = set(candidate) | set(seen)
        wrong = [(name, why) for name in sorted(names)
                 if (why := difference(candidate.get(name), seen.get(name), looked[1], floor))]
        if not wrong:
            return {name: adopted(candidate.get(name), seen.get(name), looked[0]) for name in names}, count
        reasons.append((count, wrong, dict(candidate)))
    _, wrong, best = min(reasons, key=lambda reason: len(reason[1]))
    count = [reason[0] for reason in reasons if reason[1] is wrong][0]
    lines = [f"{name} {why}; expected {best.get(name)!r:.400}, shown {seen.get(name)!r:.400}"
             for name, why in wrong[:5]]
    raise Lost(f"with {count} of {len(unanswered)} unanswered units: {len(wrong)} keys differ:\n" + "\n".join(lines)
               + f"\nunanswered: {[unit for unit, _ in unanswered]!r:.1500}")
