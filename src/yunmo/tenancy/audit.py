"""The audit log: which key did which administrative act, when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yunmo.core.errors import InvalidRequest
from yunmo.core.identity import Principal
from yunmo.storage.database import Database
from yunmo.tenancy import store

_PAGE_LIMIT = 1000
_TARGET_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act: `action` is a past verb such as `key.revoked`, `target` what it was done to."""

    id: int
    at: datetime
    project: str
    key_id: str
    key_name: str
    action: str
    target: str
    detail: Mapping[str, Any]


class Audit:
    """Appends and lists; nothing here changes or deletes an entry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, principal: Principal, action: str, target: str, detail: Mapping[str, Any] | None = None) -> None:
        """Note an act; durable when this returns. Never put a key or a prompt into `detail`."""
        values = {
            "project": principal.project,
            "key_id": principal.key_id,
            "key_name": principal.key_name,
            "action": action,
            "target": target[:_TARGET_CHARACTERS],
            "detail": dict(detail or {}),
        }
        await self._database.write(lambda connection: store.insert_audit(connection, values))

    async def list(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """The newest entries first; `before` is the id of the last entry of the page before. Raises InvalidRequest."""
        if not 1 <= limit <= _PAGE_LIMIT:
            raise InvalidRequest(f"A page of the audit log has 1 to {_PAGE_LIMIT} entries.", param="limit")
        return [AuditEntry(**row) for row in await self._database.read(lambda connection: store.list_audit(connection, limit, before))]
