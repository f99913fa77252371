"""The settings of the middleware: names, defaults, ranges. What is unknown or out of range is an error at start.

Durations are whole milliseconds, sizes bytes. client/python/README.md has the table for users.
"""
from __future__ import annotations

import dataclasses
import inspect
import re
from dataclasses import dataclass
from typing import Any, Callable, Collection, Dict, FrozenSet, List, Mapping, Optional, Tuple, Union

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
DAY_MS = 86_400_000
MIB = 1024 * 1024
PREFIX_LIMIT = 256  # characters; the server's keys have at most 1,024 bytes
_URL = re.compile(r"[!#-;=?-~]+")  # visible ASCII that stands between the < and > of a Link


class SettingsError(ValueError):
    """A setting that is unknown or out of range."""


@dataclass(frozen=True)
class Settings:
    """One set of settings. `request` in the functions is the framework's own object."""
    url: Optional[str] = None
    prefix: str = "http"
    methods: Collection[str] = frozenset({"POST", "PATCH"})
    header: str = "Idempotency-Key"
    required: bool = False
    scope: Optional[Callable[[Any], Optional[str]]] = None
    operation: Optional[Callable[[Any], Tuple[str, str]]] = None
    wait_ms: int = 0
    max_waiting: int = 256
    busy_status: int = 409
    lease_ms: int = 15_000
    renew_for_ms: int = 600_000
    ttl_ms: int = DAY_MS
    hold: bool = False
    born: Union[str, Callable[[Any], Optional[int]], None] = None
    keep: Optional[Callable[[int], bool]] = None
    body_limit: int = MIB
    request_limit: int = 16 * MIB
    drop_headers: Collection[str] = frozenset()
    fail_open: bool = False
    timeout_ms: int = 2_000
    problem_base: str = "urn:idem:"
    docs_url: Optional[str] = None
    skip: Optional[Callable[[Any], bool]] = None
    on_event: Optional[Callable[[str, Dict[str, Any]], None]] = None

    def __post_init__(self) -> None:
        for name in _RANGES:
            check_range(name, getattr(self, name))
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} has to be True or False, not {getattr(self, name)!r}")
        for name in _FUNCTIONS:
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise SettingsError(f"{name} has to be a function, not {getattr(self, name)!r}")
        for name in (*_FUNCTIONS, "born"):
            if _is_coroutine_function(getattr(self, name)):
                raise SettingsError(f"{name} has to be a plain function, not a coroutine function")
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str) or not getattr(self, name).isprintable():
                raise SettingsError(f"{name} has to be a text, not {getattr(self, name)!r}")
        if len(self.prefix) > PREFIX_LIMIT:
            raise SettingsError(f"prefix has at most {PREFIX_LIMIT} characters")
        if self.docs_url is not None and not (isinstance(self.docs_url, str) and _URL.fullmatch(self.docs_url)):
            raise SettingsError(f"docs_url has to be a URL, not {self.docs_url!r}")
        if not _is_token(self.header):
            raise SettingsError(f"header has to be the name of a header, not {self.header!r}")
        if self.born is not None and not callable(self.born) and not (
                isinstance(self.born, str) and _is_token(self.born)):
            raise SettingsError(f'born has to be "uuid7", the name of a header or a function, not {self.born!r}')
        if self.busy_status not in (408, 409):
            raise SettingsError(f"busy_status has to be 409 or 408, not {self.busy_status!r}")
        object.__setattr__(self, "methods", _names("methods", self.methods, str.upper))
        object.__setattr__(self, "drop_headers", _names("drop_headers", self.drop_headers, str.lower))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Settings":
        return cls().but(given)

    def but(self, given: Mapping[str, Any]) -> "Settings":
        """These with others in their place. Raises SettingsError."""
        unknown = sorted(set(given) - _NAMES)
        if unknown:
            raise SettingsError(f"no such setting: {', '.join(unknown)}")
        return dataclasses.replace(self, **given)

    def for_route(self, given: Mapping[str, Any]) -> "Settings":
        """What is one a process cannot differ between routes."""
        fixed = sorted(set(given) & PER_PROCESS)
        if fixed:
            raise SettingsError(f"not a setting of a route: {', '.join(fixed)}")
        return self.but(given)


# The lowest and highest that make sense; the highest of time are the server's caps.
_RANGES = {
    "wait_ms": (0, 60_000),
    "max_waiting": (0, 100_000),
    "lease_ms": (300, 3_600_000),
    "renew_for_ms": (0, DAY_MS),
    "ttl_ms": (0, 31 * DAY_MS),
    "body_limit": (0, 512 * MIB),
    "request_limit": (0, 512 * MIB),
    "timeout_ms": (1, 600_000),
}


def check_range(name: str, value: Any) -> None:
    """Raises SettingsError."""
    low, high = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingsError(f"{name} has to be a whole number from {low} to {high}, not {value!r}")


def _is_coroutine_function(value: Any) -> bool:
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
               for each in (value, getattr(value, "__call__", None)))


_FLAGS = ("required", "hold", "fail_open")
_FUNCTIONS = ("scope", "operation", "keep", "skip", "on_event")
_TEXTS = ("prefix", "problem_base", "header")
_NAMES = {field.name for field in dataclasses.fields(Settings)}
PER_PROCESS = frozenset({"url", "timeout_ms", "max_waiting"})
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _is_token(text: Any) -> bool:
    return isinstance(text, str) and text != "" and set(text) <= _TOKEN


def _names(setting: str, given: Any, folded: Callable[[str], str]) -> FrozenSet[str]:
    if isinstance(given, str) or not isinstance(given, Collection) or not all(map(_is_token, given)):
        raise SettingsError(f"{setting} has to be a list of names, not {given!r}")
    return frozenset(map(folded, given))


class Route:
    """What the decorator `idempotent` leaves at a view."""

    declared: List["Route"] = []  # of this process; it only grows, with the program

    def __init__(self, given: Mapping[str, Any]) -> None:
        Settings().for_route(given)  # an error at import, not at the first request
        self.given = dict(given)
        self.declared.append(self)


_MARK = "__idem_route__"


def idempotent(**given: Any) -> Callable[[Any], Any]:
    """Settings of one view: `@idempotent(required=True, wait_ms=10_000)`. Raises SettingsError."""
    route = Route(given)

    def mark(view: Any) -> Any:
        setattr(view, _MARK, route)
        return view

    return mark


def route_of(view: Any) -> Optional[Route]:
    return getattr(view, _MARK, None)
