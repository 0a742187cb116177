"""What can go wrong, said once, for the person who will read it.

Each error carries a stable `code`; each dialect turns the code into its own vendor's reply.
A message says what happened, to what, and what to do. No HTTP here.
"""

from typing import ClassVar


class YunmoError(Exception):
    """The root: never raised itself."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(YunmoError):
    """The request cannot be understood or asks for something that is not possible; `param` names the field."""

    code = "invalid_request"


class ContextTooLong(InvalidRequest):
    """The prompt is longer than what the model can read."""

    code = "context_length_exceeded"


class Unsupported(InvalidRequest):
    """A field or feature that would change the answer and that this model or engine does not have."""

    code = "unsupported"


class PoisonRequest(InvalidRequest):
    """The request was in flight at two crashes of its model and is not tried again."""

    code = "poison_request"


class Unauthenticated(YunmoError):
    """No key, or one that is unknown or revoked."""

    code = "unauthenticated"


class Forbidden(YunmoError):
    """The key is good but lacks the scope or the project."""

    code = "forbidden"


class NotFound(YunmoError):
    """A named thing does not exist, or may not be seen by who asks."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No deployment, alias or repository answers to this model name."""

    code = "model_not_found"


class RepositoryNotFound(NotFound):
    """No repository of this name, or none that the caller may see."""

    code = "repository_not_found"


class RevisionNotFound(NotFound):
    """The repository has no such branch, tag or commit."""

    code = "revision_not_found"


class EntryNotFound(NotFound):
    """The revision has no such file or folder; `commit` is the revision looked at."""

    code = "entry_not_found"

    def __init__(self, message: str, *, commit: str | None = None) -> None:
        super().__init__(message)
        self.commit = commit


class Gated(YunmoError):
    """The repository is gated and the caller has not been granted access."""

    code = "gated"


class Conflict(YunmoError):
    """The thing exists already or was changed meanwhile."""

    code = "conflict"


class PreconditionFailed(Conflict):
    """The branch moved since the caller looked at it."""

    code = "precondition_failed"


class TooLarge(YunmoError):
    """A body, file or header is over its limit; the message names the limit and its setting."""

    code = "too_large"


class RateLimited(YunmoError):
    """The key's own limit is used up; `retry_after_seconds` says when it is not."""

    code = "rate_limited"


class Overloaded(YunmoError):
    """The deployment's queue is full; others may still answer."""

    code = "overloaded"


class Unavailable(YunmoError):
    """The deployment cannot answer now: it failed, does not fit, or takes too long to load."""

    code = "unavailable"


class DeadlineExceeded(YunmoError):
    """The request took longer than its deadline."""

    code = "deadline_exceeded"


class InsufficientStorage(YunmoError):
    """The disk or the project's quota is full."""

    code = "insufficient_storage"


class EngineFailed(YunmoError):
    """The model itself failed on this request."""

    code = "engine_failed"


class InternalError(YunmoError):
    """A bug of ours. The request id leads to the log line."""

    code = "internal_error"


def every_error() -> tuple[type[YunmoError], ...]:
    """Every concrete error class, for the dialects' total tables."""
    found: list[type[YunmoError]] = []
    pending = list(YunmoError.__subclasses__())
    while pending:
        error = pending.pop(0)
        found.append(error)
        pending.extend(error.__subclasses__())
    return tuple(found)


def error_of(code: str, message: str, *, param: str | None = None) -> YunmoError:
    """The error with this code, as it came over the wire; an unknown code is an engine's failure."""
    for kind in every_error():
        if kind.code == code and kind is not EntryNotFound:
            return kind(message, param=param)
    return EngineFailed(message)
