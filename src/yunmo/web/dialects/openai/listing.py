"""What the vendor's lists have in common: `after`, `limit`, and whether there is more."""

from typing import Generic, TypeVar

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.web.request import Request

T = TypeVar("T")


class Listing(msgspec.Struct, Generic[T]):
    """One page of a list; `first_id` and `last_id` are where others begin and go on."""

    data: list[T]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None
    object: str = "list"


def page_limit(request: Request, default: int, highest: int) -> int:
    """The query's `limit`. Raises InvalidRequest unless it is from 1 to `highest`."""
    text = request.query_params.get("limit")
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= highest:
        raise InvalidRequest(f"'limit' must be a whole number from 1 to {highest}.", param="limit")
    return int(text)


def check_query(request: Request, known: frozenset[str]) -> None:
    """Raise InvalidRequest for a parameter that would be passed over in silence."""
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise InvalidRequest(f"Unknown query parameter '{unknown[0][:80]}'. There are: {', '.join(sorted(known))}.", param=unknown[0][:80])
