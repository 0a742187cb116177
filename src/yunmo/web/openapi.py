"""The description of every route: OpenAPI 3.1 at /openapi.json, and the same for people at /docs.

Nothing is written twice: routes say their summary, scope and JSON types, and each dialect shows its own errors.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from html import escape
from string import Template
from typing import Any

import msgspec
from starlette.responses import Response

from yunmo import __version__
from yunmo.core import errors
from yunmo.core.errors import YunmoError
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Dialect, Route, Router

_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\*?\}")
_SHOWN_ERRORS = (
    errors.InvalidRequest("The field 'inputs' is missing.", param="inputs"),
    errors.Unauthenticated("An API key is required."),
    errors.Forbidden("This key lacks the scope 'infer'."),
    errors.NotFound("There is no such thing."),
    errors.TooLarge("The body is larger than its limit."),
    errors.RateLimited("This key has used up its limit.", retry_after_seconds=3),
    errors.Overloaded("The queue of this deployment is full.", retry_after_seconds=1),
)
_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Yunmo API</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
nav a { margin-right: 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
details { border-bottom: 1px solid var(--line); padding: .35rem 0; }
summary { cursor: pointer; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow: auto; padding: .75rem; background: color-mix(in srgb, currentColor 6%, transparent); border-radius: .4rem; }
.method { display: inline-block; min-width: 4.2rem; font-weight: 700; }
.note { opacity: .75; }
</style>
</head>
<body>
<h1>Yunmo API <span class="note">$version</span></h1>
<p>Send your key as <code>Authorization: Bearer &lt;key&gt;</code>. For programs: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>
<nav>$contents</nav>
$sections
</body>
</html>
""")


class OpenApiPage:
    """Describes the routes of a router, and its own."""

    name = "openapi"

    def __init__(self, router: Router) -> None:
        self._router = router

    def routes(self) -> Sequence[Route]:
        """The description for programs and for people."""
        return (
            Route("GET", "/openapi.json", self._json, summary="This description, as OpenAPI 3.1"),
            Route("GET", "/docs", self._html, summary="This description, for people"),
        )

    def error(self, error: YunmoError, request: Request) -> Response:
        """Plain JSON; these two routes can only be missed."""
        del request
        return json_reply({"error": error.message}, 404 if isinstance(error, errors.NotFound) else 500)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        table = [
            (dialect, route) for dialect, route in (*self._router.table, *((self, route) for route in self.routes())) if route.is_documented
        ]
        types = list({id(kind): kind for _, route in table for kind in (route.body, route.reply) if kind is not None}.values())
        schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
        schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
        responses: dict[str, Any] = {}
        paths: dict[str, dict[str, Any]] = {}
        for dialect, route in table:
            if dialect.name not in {name.rpartition("_")[0] for name in responses}:
                responses |= _error_responses(dialect)
            names = [name for name in responses if name.rpartition("_")[0] == dialect.name]
            paths.setdefault(_template(route.path), {})[route.method.lower()] = _operation(dialect, route, schema_of, names)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Yunmo",
                "version": __version__,
                "description": "Push a model, get an API.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "tags": [{"name": name} for name in dict.fromkeys(dialect.name for dialect, _ in table)],
            "paths": paths,
            "components": {
                "schemas": components,
                "responses": responses,
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "A key made with 'yunmo key create'."}},
            },
        }

    @cached_property
    def page(self) -> str:
        """The document as one HTML page without scripts or anything from elsewhere."""
        sections = []
        tags = [tag["name"] for tag in self.document["tags"]]
        for tag in tags:
            rows = [_row(path, method, operation) for path, method, operation in self._operations() if operation["tags"] == [tag]]
            sections.append(f'<h2 id="{escape(tag)}">{escape(tag)}</h2>\n{"".join(rows)}')
        kinds = "".join(
            _details(f"<code>{escape(name)}</code>", _pre(schema))
            for name, schema in sorted(self.document["components"]["schemas"].items())
        )
        sections.append(f'<h2 id="types">types</h2>\n{kinds}')
        contents = "".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in (*tags, "types"))
        return _PAGE.substitute(version=escape(__version__), contents=contents, sections="\n".join(sections))

    def _operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield path, method, operation

    async def _json(self, _request: Request) -> Response:
        return json_reply(self.document)

    async def _html(self, _request: Request) -> Response:
        headers = {"content-security-policy": _CONTENT_POLICY, "x-content-type-options": "nosniff"}
        return Response(self.page, 200, headers, media_type="text/html")


def _operation(dialect: Dialect, route: Route, schema_of: dict[int, Any], error_names: list[str]) -> dict[str, Any]:
    """One operation; its id is its method and path, which no other has."""
    responses: dict[str, Any] = {"200": {"description": "The answer."}}
    if route.reply is not None:
        responses["200"]["content"] = {"application/json": {"schema": schema_of[id(route.reply)]}}
    responses |= {name.rpartition("_")[2]: {"$ref": f"#/components/responses/{name}"} for name in error_names}
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "tags": [dialect.name],
        "summary": route.summary,
        "security": [] if route.scope is None else [{"bearer": []}],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _PARAMETER.findall(route.path)
        ],
        "responses": responses,
    }
    if route.scope is not None:
        operation["description"] = f"The key needs the scope '{route.scope}'."
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of[id(route.body)]}}}
    return operation


def _error_responses(dialect: Dialect) -> dict[str, Any]:
    """The dialect's own words for the common errors, by status; the first of each status is shown."""
    found: dict[str, Any] = {}
    for error in _SHOWN_ERRORS:
        reply = dialect.error(error, _unasked())
        content: dict[str, Any] = {}
        if reply.headers.get("content-type", "").startswith("application/json"):
            content = {"content": {"application/json": {"example": json.loads(bytes(reply.body))}}}
        found.setdefault(f"{dialect.name}_{reply.status_code}", {"description": (type(error).__doc__ or "").strip(), **content})
    return found


def _unasked() -> Request:
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [], "scheme": "http"}
    request = Request({**scope, "server": ("localhost", 80), "root_path": ""})
    request.params = {}
    request.id = "0123456789abcdef"
    return request


def _template(path: str) -> str:
    return _PARAMETER.sub(r"{\1}", path)


def _row(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<p>{escape(operation.get('description', 'No key is needed.'))}</p>"]
    for title, holder in (("Body", operation.get("requestBody")), ("Reply", operation["responses"]["200"])):
        for kind, content in ((holder or {}).get("content") or {}).items():
            parts.append(f"<p>{title} <span class=note>{escape(kind)}</span></p>{_pre(content['schema'])}")
    heading = f"<span class=method>{escape(method.upper())}</span> <code>{escape(path)}</code> <span class=note>{escape(operation['summary'])}</span>"
    return _details(heading, "".join(parts))


def _details(heading: str, content: str) -> str:
    return f"<details><summary>{heading}</summary>{content}</details>\n"


def _pre(content: Any) -> str:
    return f"<pre>{escape(json.dumps(content, indent=2, ensure_ascii=False))}</pre>"
