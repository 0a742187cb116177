"""A request's parameters, however its client sends them: in the query, as a form (also with GET), or as JSON."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.web.request import Request, invalid_field

T = TypeVar("T")

_READ = "yunmo.parameters"
_FIELDS_LIMIT = 10_000


async def read_parameters(request: Request, limit_bytes: int, lists: Collection[str] = ()) -> dict[str, Any]:
    """Every parameter by its name; those of the body go before those of the query. JSON's null is as if nothing was given.

    A form's fields of the names in `lists` are lists, of others the last counts. Files are left out. The body is read once, however often
    this is called. Raises InvalidRequest for a body that cannot be read, TooLarge past `limit_bytes`.
    """
    if _READ not in request.scope:
        request.scope[_READ] = (request.query_params.multi_items(), *await _body(request, limit_bytes))
    query, form, document = request.scope[_READ]
    found: dict[str, Any] = {}
    for items in (query, form):
        given: dict[str, list[str]] = {}
        for name, value in items:
            given.setdefault(name, []).append(value)
        found |= {name: values if name in lists else values[-1] for name, values in given.items()}
    return found | {name: value for name, value in document.items() if value is not None}


def converted(parameters: Mapping[str, Any], kind: type[T]) -> T:
    """The parameters as a struct; texts of numbers and truth values are read. Raises InvalidRequest that names the field."""
    try:
        return msgspec.convert(parameters, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from error


async def _body(request: Request, limit_bytes: int) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """The fields of a form, and those of a JSON object; one of both is empty."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        form = await request.fields(limit_bytes)
        try:
            return [(name, value) for name, value in form.multi_items() if isinstance(value, str)], {}
        finally:
            await form.close()
    body = await request.bytes(limit_bytes)
    if not body.strip():
        return [], {}
    if kind == "application/json" or kind.endswith("+json") or (not kind and body.lstrip()[:1] == b"{"):
        return [], _object(body)
    if kind in {"application/x-www-form-urlencoded", ""}:
        return _form(body), {}
    raise InvalidRequest(f"A body of the type '{kind[:80]}' is not read here. Send application/json or a form.")


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.ValidationError as error:
        raise InvalidRequest("The body must be a JSON object.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_LIMIT, errors="strict")
    except ValueError as error:
        raise InvalidRequest(f"The form cannot be read: {str(error).rstrip('.')}.") from error
