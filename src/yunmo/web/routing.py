"""Routes on the raw path, so that `refs%2Fpr%2F1` stays one segment (specs: Hub §0.8).

A pattern is literal segments, `{name}` for one segment and `{name*}` for all that is left.
Literal segments win over parameters; the search backtracks, so `/api/models/{name}/tree/{revision}` and
`/api/models/{namespace}/{name}` live side by side.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote

from starlette.responses import Response

from yunmo.core.errors import YunmoError
from yunmo.core.identity import Scope
from yunmo.web.request import Request

Handler = Callable[[Request], Awaitable[Response]]
KeyReader = Callable[[Request], Awaitable[str | None]]
"""Finds the key that a request came with; None if there is none."""


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `scope` is what the caller's key must have; None lets anyone in (the handler may still refuse).

    `body` and `reply` are the JSON types for the OpenAPI page. A route with `checks_key=False` has credentials of its
    own (the Xet CAS): its handler reads the Authorization header itself. `read_key` is for clients that send their key in another way.
    A route that `serves_sites` may be called by web pages of other sites: a browser adds nothing of its own that would open it.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None = None
    summary: str = ""
    body: Any = None
    reply: Any = None
    is_documented: bool = True
    checks_key: bool = True
    read_key: KeyReader | None = None
    serves_sites: bool = False


class Dialect(Protocol):
    """A vendor's HTTP: its routes, and its way to say each of our errors."""

    name: str

    def routes(self) -> Sequence[Route]: ...

    def error(self, error: YunmoError, request: Request) -> Response:
        """The reply for every error in `core.errors`."""
        ...


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    routes: dict[str, tuple[Dialect, Route, tuple[str, ...]]] = field(default_factory=dict)
    rest: dict[str, tuple[Dialect, Route, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """A found route with the path's parameters."""

    dialect: Dialect
    route: Route
    params: dict[str, str]


class Router:
    """All routes of all dialects in one trie."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._root = _Node()
        self.table: list[tuple[Dialect, Route]] = []
        self._owners: dict[str, Dialect] = {}
        for dialect in dialects:
            self.include(dialect)

    def include(self, dialect: Dialect) -> None:
        """Add a dialect's routes. Raises ValueError when one is there already."""
        for route in dialect.routes():
            self._add(dialect, route)

    def find(self, method: str, raw_path: str) -> Match | None:
        """The route for this request; None if there is none (also for a method that the path does not have)."""
        segments = raw_path.split("/")[1:]
        values: list[str] = []
        found = self._search(self._root, method, segments, 0, values)
        if found is None:
            return None
        dialect, route, names = found
        return Match(dialect, route, {name: unquote(value) for name, value in zip(names, values, strict=True)})

    def nearest(self, raw_path: str) -> Dialect:
        """The dialect to say "no such route" in: the owner of the path's first segment."""
        return self.owner(raw_path) or self.table[0][0]

    def owner(self, raw_path: str) -> Dialect | None:
        """The dialect whose routes begin with the path's first segment; None for one that is nobody's."""
        return self._owners.get(raw_path.split("/", 2)[1] if raw_path.startswith("/") else "")

    def _add(self, dialect: Dialect, route: Route) -> None:
        node = self._root
        names: list[str] = []
        self.table.append((dialect, route))
        self._owners.setdefault(route.path.split("/", 2)[1], dialect)
        for segment in route.path.split("/")[1:]:
            if segment.startswith("{") and segment.endswith("*}"):
                names.append(segment[1:-2])
                self._put(node.rest, dialect, route, names)
                return
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        self._put(node.routes, dialect, route, names)

    def _put(self, table: dict[str, tuple[Dialect, Route, tuple[str, ...]]], dialect: Dialect, route: Route, names: list[str]) -> None:
        if route.method in table:
            raise ValueError(f"{route.method} {route.path} is registered twice")
        table[route.method] = (dialect, route, tuple(names))

    def _search(
        self, node: _Node, method: str, segments: list[str], at: int, values: list[str]
    ) -> tuple[Dialect, Route, tuple[str, ...]] | None:
        if at == len(segments):
            return node.routes.get(method)
        segment = segments[at]
        literal = node.literals.get(segment)
        if literal is not None:
            found = self._search(literal, method, segments, at + 1, values)
            if found is not None:
                return found
        if node.parameter is not None and segment:
            values.append(segment)
            found = self._search(node.parameter, method, segments, at + 1, values)
            if found is not None:
                return found
            values.pop()
        rest = node.rest.get(method)
        if rest is not None and segment:
            values.append("/".join(segments[at:]))
            return rest
        return None
