"""What is told of acts on whole repositories, for whoever keeps a record of them."""

from collections.abc import Mapping
from typing import Any, Protocol

from yunmo.core.identity import Principal


class Record(Protocol):
    """Notes that a caller did `action` (a past verb such as `repository.deleted`) to `target`."""

    async def __call__(self, principal: Principal, action: str, target: str, detail: Mapping[str, Any] | None = None) -> None: ...


async def no_record(principal: Principal, action: str, target: str, detail: Mapping[str, Any] | None = None) -> None:
    """Keep no record: for a hub without an audit log."""
    del principal, action, target, detail
