"""Every error as huggingface_hub expects it: it decides on the status and on X-Error-Code (specification: Hub §1.2)."""

import math

from starlette.responses import Response

from yunmo.cloud.repositories import RepositoryExists
from yunmo.core import errors
from yunmo.core.errors import YunmoError
from yunmo.web.dialects.hub.addresses import repository_url
from yunmo.web.replies import json_reply
from yunmo.web.request import Request

_TABLE: dict[type[YunmoError], tuple[int, str | None]] = {
    errors.RepositoryNotFound: (404, "RepoNotFound"),
    errors.ModelNotFound: (404, "RepoNotFound"),
    errors.RevisionNotFound: (404, "RevisionNotFound"),
    errors.EntryNotFound: (404, "EntryNotFound"),
    errors.NotFound: (404, None),
    errors.Gated: (403, "GatedRepo"),
    errors.Unauthenticated: (401, None),
    errors.Forbidden: (403, None),
    errors.PreconditionFailed: (412, None),
    errors.Conflict: (409, None),
    errors.TooLarge: (413, None),
    errors.InsufficientStorage: (413, None),
    errors.InvalidRequest: (400, None),
    errors.RateLimited: (429, None),
    errors.Overloaded: (429, None),
    errors.Unavailable: (503, None),
    errors.DeadlineExceeded: (504, None),
    errors.EngineFailed: (500, None),
    errors.InternalError: (500, None),
}
_HIDDEN_FROM_ANONYMOUS = ("RepoNotFound", "GatedRepo")
_BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 (a sentence that clients look for)


def error_reply(error: YunmoError, request: Request) -> Response:
    """The reply for any of our errors."""
    status, code = next((_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE), (500, None))
    message = error.message
    if code in _HIDDEN_FROM_ANONYMOUS and request.principal.is_anonymous:
        status = 401
    if isinstance(error, errors.Unauthenticated) and request.headers.get("authorization"):
        message = _BAD_TOKEN if message.startswith("Invalid credentials") else message
    headers = {"X-Error-Message": _one_line(message), "X-Yunmo-Error": error.code}
    if code is not None:
        headers["X-Error-Code"] = code
    if isinstance(error, errors.EntryNotFound) and error.commit is not None:
        headers["X-Repo-Commit"] = error.commit
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
        if isinstance(error, errors.RateLimited):
            # the form that huggingface_hub reads: draft-ietf-httpapi-ratelimit-headers-09
            headers["RateLimit"] = f'"api";r=0;t={headers["Retry-After"]}'
    content: dict[str, object] = {"error": message}
    if isinstance(error, RepositoryExists) and error.repository is not None:
        # `create_repo(exist_ok=True)` swallows the 409 and goes on with this address.
        repository = error.repository
        content |= {"url": repository_url(request, repository.type, repository.full_name), "name": repository.full_name}
    return json_reply(content, status, headers)


def _one_line(message: str) -> str:
    """What a header may carry: no line ends, no control characters, Latin-1."""
    printable = "".join(each if each.isprintable() else "?" for each in " ".join(message.split()))
    return printable.encode("latin-1", "replace").decode("latin-1")[:500]
