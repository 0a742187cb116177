"""Every error of ours as this vendor's reply: status, body with its four keys, and what the client may do next.

Clients decide by the status which exception to raise, and by `x-should-retry` and `retry-after-ms` whether to try again.
"""

import math
from dataclasses import dataclass

import msgspec
from starlette.responses import Response

from yunmo.core.errors import InternalError, YunmoError
from yunmo.web.replies import event, json_reply
from yunmo.web.request import Request

API_VERSION = "2020-10-01"

_DEFAULT_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How one error code looks on the wire. `retry` None: only if the error says when."""

    status: int
    type: str
    code: str | None
    retry: bool | None = False


_INVALID = "invalid_request_error"
_SERVER = "server_error"

SHAPES: dict[str, Shape] = {
    "invalid_request": Shape(400, _INVALID, None),
    "context_length_exceeded": Shape(400, _INVALID, "context_length_exceeded"),
    "unsupported": Shape(400, _INVALID, "unsupported_value"),
    "poison_request": Shape(400, _INVALID, "poison_request"),
    "unauthenticated": Shape(401, _INVALID, "invalid_api_key"),
    "forbidden": Shape(403, "permission_error", "insufficient_permissions"),
    "gated": Shape(403, "permission_error", "gated_model"),
    "not_found": Shape(404, _INVALID, "not_found"),
    "model_not_found": Shape(404, _INVALID, "model_not_found"),
    "repository_not_found": Shape(404, _INVALID, "repository_not_found"),
    "revision_not_found": Shape(404, _INVALID, "revision_not_found"),
    "entry_not_found": Shape(404, _INVALID, "entry_not_found"),
    "conflict": Shape(409, _INVALID, "conflict"),
    "precondition_failed": Shape(409, _INVALID, "precondition_failed"),
    "too_large": Shape(413, _INVALID, "request_too_large"),
    "client_gone": Shape(499, _INVALID, "client_gone"),
    "rate_limited": Shape(429, "rate_limit_error", "rate_limit_exceeded", retry=True),
    "overloaded": Shape(503, _SERVER, "overloaded", retry=True),
    "unavailable": Shape(503, _SERVER, "model_unavailable", retry=None),
    "deadline_exceeded": Shape(504, _SERVER, "deadline_exceeded"),
    "insufficient_storage": Shape(507, _SERVER, "insufficient_storage"),
    "engine_failed": Shape(500, _SERVER, "engine_failed"),
    "internal_error": Shape(500, _SERVER, "internal_error"),
}


class ErrorDetail(msgspec.Struct):
    """What went wrong; every key is always there."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(msgspec.Struct):
    """The body of every reply that is not a success."""

    error: ErrorDetail


def error_reply(error: YunmoError, request: Request) -> Response:
    """The whole reply for an error that came before the first byte."""
    shape = shape_of(error)
    headers = {"x-request-id": request.id, "openai-version": API_VERSION}
    retry_seconds = error.retry_after_seconds
    retries = retry_seconds is not None if shape.retry is None else shape.retry
    headers["x-should-retry"] = "true" if retries else "false"
    if retries:
        seconds = max(0.0, _DEFAULT_RETRY_SECONDS if retry_seconds is None else retry_seconds)
        headers["retry-after"] = str(max(1, math.ceil(seconds)))
        headers["retry-after-ms"] = str(math.ceil(seconds * 1000))
    if shape.status == 429:
        # the form that huggingface_hub reads: draft-ietf-httpapi-ratelimit-headers-09
        headers["ratelimit"] = f'"api";r=0;t={headers["retry-after"]}'
    if shape.status == 401:
        headers["www-authenticate"] = "Bearer"
    return json_reply(_body(error, shape), shape.status, headers)


def error_event(error: YunmoError) -> bytes:
    """The event that ends a stream which went wrong after its first byte."""
    return event(_body(error, shape_of(error)))


def shape_of(error: YunmoError) -> Shape:
    """The error's own shape, or its nearest ancestor's."""
    for kind in type(error).__mro__:
        shape = SHAPES.get(getattr(kind, "code", ""))
        if shape is not None:
            return shape
    return SHAPES[InternalError.code]


def _body(error: YunmoError, shape: Shape) -> ErrorReply:
    return ErrorReply(ErrorDetail(error.message, shape.type, error.param, shape.code))
