"""Addresses of the Hub's HTTP: the routes for both kinds of repository, bare and namespaced, and absolute links back to us."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from urllib.parse import quote, urlencode

from starlette.responses import Response

from yunmo.cloud.repositories import PROPOSAL, RepositoryType
from yunmo.web.base_url import base_url
from yunmo.web.request import Request
from yunmo.web.routing import Route

API_NAMES: dict[RepositoryType, str] = {"model": "models", "dataset": "datasets"}
FILE_PREFIXES: dict[RepositoryType, str] = {"model": "", "dataset": "/datasets"}

TypedHandler = Callable[[RepositoryType, Request], Awaitable[Response]]


def api_routes(method: str, tail: str, handler: TypedHandler, summary: str) -> Iterator[Route]:
    """Routes below `/api/{type}/{repository}` for each type, with and without a namespace."""
    for type_, plural in API_NAMES.items():
        yield from _both(method, f"/api/{plural}", tail, partial(handler, type_), summary)


def file_routes(method: str, tail: str, handler: TypedHandler, summary: str) -> Iterator[Route]:
    """Routes below `/{repository}` (models) and `/datasets/{repository}`."""
    for type_, prefix in FILE_PREFIXES.items():
        yield from _both(method, prefix, tail, partial(handler, type_), summary)


def repository_name(request: Request) -> str:
    """The repository that the path names: `namespace/name`, or a bare name."""
    namespace = request.params.get("namespace")
    name = request.params["name"]
    return f"{namespace}/{name}" if namespace else name


def repository_url(request: Request, type_: RepositoryType, full_name: str) -> str:
    """The repository's own address; always with its namespace, since clients refuse bare ones."""
    return f"{base_url(request)}{FILE_PREFIXES[type_]}/{full_name}"


def api_url(request: Request, type_: RepositoryType, full_name: str, tail: str) -> str:
    """An address below the repository's API."""
    return f"{base_url(request)}/api/{API_NAMES[type_]}/{full_name}{tail}"


def next_page(request: Request, **cursor: str) -> dict[str, str]:
    """The Link header to the next page: the present address with another cursor."""
    raw_path = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    path = raw_path.decode("latin-1").partition("?")[0]
    query = [(key, value) for key, value in request.query_params.multi_items() if key not in cursor]
    return {"Link": f'<{base_url(request)}{path}?{urlencode([*query, *cursor.items()])}>; rel="next"'}


def flag(request: Request, name: str) -> bool:
    """Whether a query parameter is switched on."""
    return request.query_params.get(name, "").lower() in {"1", "true"}


def is_proposal(request: Request) -> bool:
    """Whether what is sent goes to a pull request, a new one or one that is there."""
    return flag(request, "create_pr") or request.params["revision"].startswith(PROPOSAL)


def has_body(request: Request) -> bool:
    """Whether the request brings anything: some clients send no body where they have no choices to tell."""
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def number(request: Request, name: str, default: int, most: int) -> int:
    """A query parameter that is a natural number, at most `most`."""
    text = request.query_params.get(name, "")
    return min(int(text), most) if text.isdecimal() and len(text) < 10 else default


def _both(method: str, prefix: str, tail: str, handler: Callable[[Request], Awaitable[Response]], summary: str) -> Iterator[Route]:
    for repository in ("{name}", "{namespace}/{name}"):
        yield Route(method, f"{prefix}/{repository}{tail}", handler, summary=summary, is_documented=repository != "{name}")
