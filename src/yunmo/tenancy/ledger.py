"""The usage ledger: who used what, of which model commit, for which task, by the hour.

Requests are added up in memory and flushed twice a second, so a crash loses less than a second. A flush has an id that is
stored in its transaction: one that is tried again after an unknown end is counted once.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
import structlog

from yunmo.core.errors import InvalidRequest, YunmoError
from yunmo.core.usage import Usage
from yunmo.storage.database import Database
from yunmo.tenancy import store

Group = Literal["hour", "project", "key", "model", "commit", "task"]

_COLUMNS: dict[str, str] = {
    "hour": "hour",
    "project": "project",
    "key": "key_id",
    "model": "model",
    "commit": "model_commit",
    "task": "task",
}
_HOUR_SECONDS = 3600
_FLUSH_SECONDS = 0.5
_LAST_FLUSH_SECONDS = 10.0
_Key = tuple[int, str, str, str, str, str]
_log = structlog.get_logger()


class UsageEvent(msgspec.Struct, frozen=True, gc=False):
    """What one request cost whom; an aborted one counts what was done until then."""

    project: str
    key_id: str
    model: str
    commit: str
    task: str
    usage: Usage
    is_aborted: bool = False


class UsageRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sums of one group; only the fields that were grouped by are set."""

    requests: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    characters: int
    seconds: float
    aborted: int
    hour: datetime | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    commit: str | None = None
    task: str | None = None


class TokenTotals(NamedTuple):
    """Tokens that a model read and wrote for a task."""

    read: int
    written: int


class Ledger:
    """Counts usage. `record` costs a dictionary entry; `run` writes."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._counting: dict[_Key, list[int]] = {}
        self._flushing: tuple[str, list[dict[str, Any]]] | None = None
        self._totals: dict[tuple[str, str], TokenTotals] = {}
        self._turn = asyncio.Lock()

    def record(self, event: UsageEvent) -> None:
        """Count one request."""
        usage = event.usage
        key = (int(self._clock()) // _HOUR_SECONDS, event.project, event.key_id, event.model, event.commit, event.task)
        sums = self._counting.get(key)
        if sums is None:
            sums = self._counting[key] = [0] * len(store.USAGE_COUNTERS)
        sums[0] += 1
        sums[1] += usage.input_tokens
        sums[2] += usage.output_tokens
        sums[3] += usage.cached_tokens
        sums[4] += usage.characters
        sums[5] += round(usage.seconds * 1_000_000)
        sums[6] += event.is_aborted

    async def flush(self) -> None:
        """Write what was counted. When it raises, the same flush is tried again by the next call."""
        async with self._turn:
            if self._flushing is not None:
                await self._write()
            if self._counting:  # once only: under load there is always more, and a write costs the gateway time
                self._totals = self.token_totals()
                self._flushing = (secrets.token_hex(16), [_row(key, sums) for key, sums in sorted(self._counting.items())])
                self._counting = {}
                await self._write()

    def token_totals(self) -> dict[tuple[str, str], TokenTotals]:
        """The tokens counted since this process started, by model and task."""
        totals = dict(self._totals)
        for (*_, model, _, task), sums in self._counting.items():
            read, written = totals.get((model, task), (0, 0))
            totals[model, task] = TokenTotals(read + sums[1], written + sums[2])
        return totals

    async def query(
        self,
        project: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        group_by: Sequence[Group] = ("hour",),
    ) -> list[UsageRow]:
        """The sums over the hours that begin from `since` up to `until`, for one project or (None) for all of them.

        Raises InvalidRequest for an unknown group.
        """
        unknown = [group for group in group_by if group not in _COLUMNS]
        if unknown:
            raise InvalidRequest(f"Usage cannot be grouped by '{unknown[0]}'. Use {', '.join(_COLUMNS)}.", param="group_by")
        await self.flush()
        groups = list(dict.fromkeys(group_by))
        columns = [_COLUMNS[group] for group in groups]
        found = await self._database.read(lambda connection: store.sum_usage(connection, project, since, until, columns))
        return [_usage_row(row, groups) for row in found]

    async def run(self) -> None:
        """Flush twice a second until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_SECONDS)
                await self._try_flush()
        finally:
            try:
                async with asyncio.timeout(_LAST_FLUSH_SECONDS):
                    await self._try_flush()
            except TimeoutError:
                _log.error("usage_lost", groups=len(self._counting))

    async def _write(self) -> None:
        assert self._flushing is not None
        flush_id, rows = self._flushing
        await self._database.write(lambda connection: store.add_usage(connection, flush_id, rows))
        self._flushing = None

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except YunmoError as error:
            _log.warning("usage_not_flushed", error=error.message, groups=len(self._counting))


def _row(key: _Key, sums: list[int]) -> dict[str, Any]:
    hour = datetime.fromtimestamp(key[0] * _HOUR_SECONDS, UTC)
    return dict(zip(store.USAGE_KEYS, (hour, *key[1:]), strict=True)) | dict(zip(store.USAGE_COUNTERS, sums, strict=True))


def _usage_row(row: store.Row, groups: list[Group]) -> UsageRow:
    fields: dict[str, Any] = {name: int(row[name]) for name in store.USAGE_COUNTERS}
    fields["seconds"] = fields.pop("microseconds") / 1_000_000
    return UsageRow(**fields, **{group: row[_COLUMNS[group]] for group in groups})
