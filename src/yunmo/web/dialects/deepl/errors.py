"""Every error as DeepL says it: a status from which its client chooses an exception, and texts, never objects, under `message` and `detail`."""

import math

import msgspec
from starlette.responses import Response

from yunmo.core import errors
from yunmo.core.errors import InvalidRequest, YunmoError
from yunmo.web.replies import json_reply
from yunmo.web.request import ClientGone, Request

STATUSES: dict[type[YunmoError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 403,
    errors.Forbidden: 403,
    errors.Gated: 403,
    errors.NotFound: 404,
    errors.Conflict: 400,
    errors.TooLarge: 413,
    errors.RateLimited: 429,
    errors.InsufficientStorage: 456,
    ClientGone: 499,
    errors.EngineFailed: 500,
    errors.InternalError: 500,
    errors.Overloaded: 503,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
}
_BAD_ENTRIES = "Invalid glossary entries provided"
_RETRY_SECONDS = 1.0


class NotAcceptable(InvalidRequest):
    """The client does not take the type in which alone this can be given (DeepL says 415 to it)."""

    code = InvalidRequest.code


class ErrorReply(msgspec.Struct, omit_defaults=True):
    """The body of every reply that is not a success."""

    message: str
    detail: str | None = None


def error_content(error: YunmoError) -> ErrorReply:
    """The JSON of an error; that of bad terms has their trouble in its detail."""
    if isinstance(error, InvalidRequest) and error.param == "entries":
        return ErrorReply(_BAD_ENTRIES, error.message)
    return ErrorReply(error.message)


def error_reply(error: YunmoError, request: Request) -> Response:
    """The whole reply for an error."""
    headers = {"x-trace-id": request.id}
    if isinstance(error, errors.RateLimited | errors.Overloaded) or error.retry_after_seconds is not None:
        seconds = _RETRY_SECONDS if error.retry_after_seconds is None else error.retry_after_seconds
        headers["retry-after"] = str(max(1, math.ceil(seconds)))
    return json_reply(error_content(error), _status(error), headers)


def _status(error: YunmoError) -> int:
    if isinstance(error, NotAcceptable):
        return 415
    return next(STATUSES[kind] for kind in (*type(error).__mro__, errors.InternalError) if kind in STATUSES)
