"""Which view of Starlette or FastAPI a request will reach, before the application routes to it: its settings are needed first.

The routes are looked for behind other middleware, mounts and routers. Where that fails (an application behind a plain function,
a path that is changed on the way) a view with settings must not run without them: the scope watches where the request gets.
"""
from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

from .settings import Route, route_of

# Where middleware keeps what it is around.
_INNER = ("app", "_app", "application", "inner")
_DEPTH = 100  # of middleware around middleware
_PARTIAL, _FULL = 1, 2  # starlette.routing.Match: another method; all


def _routes(app: Any) -> Any:
    """The routes of an application or router, through the middleware around it; None: it shows none."""
    for _ in range(_DEPTH):
        routes = getattr(app, "routes", None) or getattr(getattr(app, "router", None), "routes", None)
        if routes:
            return routes
        app = next((value for value in (getattr(app, name, None) for name in _INNER) if callable(value)), None)
        if app is None:
            return None
    return None


def _route_at(endpoint: Any, scope: Any) -> Optional[Route]:
    """Of a view, or of a class of views its method's own."""
    found = route_of(getattr(endpoint, scope["method"].lower(), None)) if isinstance(endpoint, type) else None
    return found or route_of(endpoint)


class Found(NamedTuple):
    """Settings that `idempotent` has left at a view."""
    route: Optional[Route] = None  # of the view that will run
    seen: Optional[Route] = None  # of the one that is routed to, also if that only says 405: its path is the right one


def find_route(scope: Any, inner: Any) -> Found:
    """inner: what the middleware is around."""
    here = _route_at(scope.get("endpoint"), scope)  # it is around a route
    if here is not None:
        return Found(here, here)
    return _below(_routes(inner) or _routes(scope.get("app")), scope)


def _below(routes: Any, scope: Any) -> Found:
    """As a router does: the first that matches; without one the first whose path does."""
    other_method: Optional[Found] = None
    for route in routes or ():
        match, child = route.matches(scope)
        if match.value == _FULL:
            endpoint = child.get("endpoint")
            found = _route_at(endpoint, scope)
            return Found(found, found) if found else _below(_routes(endpoint), {**scope, **child})
        if match.value == _PARTIAL and other_method is None:
            other_method = Found(None, _route_at(child.get("endpoint"), scope))
    return other_method or Found()


class WatchedScope(dict):  # type: ignore[type-arg]
    """A scope that is told to which view the application routes: of one whose settings were not found it raises. What is set in
    it is set outside too, where middleware looks for the route afterwards."""

    def __init__(self, outside: Any, seen: Optional[Route], before: Callable[[], None]) -> None:
        super().__init__(outside)
        self._outside, self._seen, self._before = outside, seen, before

    def own(self, values: Any) -> None:
        """What is not set outside."""
        super().update(values)

    def update(self, *args: Any, **rest: Any) -> None:
        super().update(*args, **rest)
        self._outside.update(*args, **rest)
        self._look()

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self._outside[name] = value
        if name == "endpoint":
            self._look()

    def _look(self) -> None:
        endpoint = self.get("endpoint")
        route = _route_at(endpoint, self)
        if route is not None and route is not self._seen:
            self._before()
            raise RuntimeError(f"the settings that @idempotent gives to {getattr(endpoint, '__name__', endpoint)!r} were not seen:"
                               " add the middleware with app.add_middleware, or around the application itself")
