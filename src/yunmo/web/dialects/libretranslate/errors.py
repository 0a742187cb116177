"""Every error as LibreTranslate says it: `{"error": "…"}`, open to pages of other sites like every reply of this dialect."""

import math

from starlette.responses import Response

from yunmo.core import errors
from yunmo.core.errors import YunmoError
from yunmo.web.replies import json_reply
from yunmo.web.request import ClientGone

STATUSES: dict[type[YunmoError], int] = {
    errors.InvalidRequest: 400,
    errors.Conflict: 400,
    errors.Unauthenticated: 403,
    errors.Forbidden: 403,
    errors.Gated: 403,
    errors.NotFound: 404,
    errors.TooLarge: 413,
    errors.RateLimited: 429,
    ClientGone: 499,
    errors.EngineFailed: 500,
    errors.InternalError: 500,
    errors.Overloaded: 503,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.InsufficientStorage: 507,
}
ANY_SITE = {"access-control-allow-origin": "*"}
"""Keys are in the request itself and never a browser's, so that any page may ask with one that it was given."""

_RETRY_SECONDS = 1.0


def error_reply(error: YunmoError) -> Response:
    """The whole reply for an error."""
    headers = dict(ANY_SITE)
    message = error.message
    if isinstance(error, errors.RateLimited):
        message = f"Slowdown: {message}"
    if isinstance(error, errors.RateLimited | errors.Overloaded) or error.retry_after_seconds is not None:
        seconds = _RETRY_SECONDS if error.retry_after_seconds is None else error.retry_after_seconds
        headers["retry-after"] = str(max(1, math.ceil(seconds)))
    status = next(STATUSES[kind] for kind in (*type(error).__mro__, errors.InternalError) if kind in STATUSES)
    return json_reply({"error": message}, status, headers)
