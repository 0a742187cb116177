"""Every error in Hugging Face's words: the status and the headers from which its client chooses an exception."""

import math
from typing import NamedTuple

from yunmo.core import errors
from yunmo.core.errors import YunmoError
from yunmo.web.dialects.hf.replies import Bytes, json_bytes
from yunmo.web.request import ClientGone


class _Reply(NamedTuple):
    """Status, text generation's `error_type` and `X-Error-Code`."""

    status: int
    kind: str | None = None
    code: str | None = None


_WRONG = _Reply(422, "validation")
"""Not 400: the client takes some texts of a 400 as a hint to drop parameters and to try again by itself."""

REPLIES: dict[type[YunmoError], _Reply] = {
    errors.InvalidRequest: _WRONG,
    errors.ContextTooLong: _WRONG,
    errors.Unsupported: _WRONG,
    errors.PoisonRequest: _WRONG,
    errors.Unauthenticated: _Reply(401),
    errors.Forbidden: _Reply(403),
    errors.NotFound: _Reply(404),
    errors.ModelNotFound: _Reply(404, code="RepoNotFound"),
    errors.RepositoryNotFound: _Reply(404, code="RepoNotFound"),
    errors.RevisionNotFound: _Reply(404, code="RevisionNotFound"),
    errors.EntryNotFound: _Reply(404, code="EntryNotFound"),
    errors.Gated: _Reply(403, code="GatedRepo"),
    errors.Conflict: _Reply(409),
    errors.PreconditionFailed: _Reply(412),
    errors.TooLarge: _Reply(413, "validation"),
    errors.RateLimited: _Reply(429),
    errors.Overloaded: _Reply(503, "overloaded"),
    errors.Unavailable: _Reply(503),
    errors.DeadlineExceeded: _Reply(504, "incomplete_generation"),
    errors.InsufficientStorage: _Reply(507),
    errors.EngineFailed: _Reply(500, "generation"),
    errors.InternalError: _Reply(500),
    ClientGone: _Reply(499),
}

_HEADER_CHARACTERS = 500


def error_content(error: YunmoError) -> dict[str, str | float]:
    """The JSON of an error, also as an event inside a stream."""
    kind = _reply_of(error).kind
    content: dict[str, str | float] = {"error": error.message}
    if kind is not None:
        content["error_type"] = kind
    if isinstance(error, errors.Unavailable) and error.retry_after_seconds is not None:
        content["estimated_time"] = error.retry_after_seconds
    return content


def error_reply(error: YunmoError) -> Bytes:
    """The whole reply for an error."""
    found = _reply_of(error)
    reply = json_bytes(error_content(error), found.status)
    headers = {}
    if found.code is not None:
        headers["x-error-code"] = found.code
    if len(error.message) <= _HEADER_CHARACTERS and error.message.isascii() and error.message.isprintable():
        headers["x-error-message"] = error.message
    if found.status == 401:
        headers["www-authenticate"] = 'Bearer realm="yunmo"'
    headers |= _retry_headers(error)
    reply.add(headers)
    return reply


def _reply_of(error: YunmoError) -> _Reply:
    return next(REPLIES[kind] for kind in (*type(error).__mro__, errors.InternalError) if kind in REPLIES)


def _retry_headers(error: YunmoError) -> dict[str, str]:
    seconds = error.retry_after_seconds
    if seconds is None:
        if not isinstance(error, errors.RateLimited | errors.Overloaded):
            return {}
        seconds = 1.0
    whole = max(1, math.ceil(seconds))
    headers = {"retry-after": str(whole), "retry-after-ms": str(max(1, math.ceil(seconds * 1000)))}
    if isinstance(error, errors.RateLimited):
        headers["ratelimit"] = f'"requests";r=0;t={whole}'
    return headers
