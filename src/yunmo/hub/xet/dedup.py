"""Answers to "who has this chunk?": whole files at once, from repositories that the asker may read.

The answer means something only to those who hold the chunks already (specification: Hub §3.3, §7.8).
"""

import asyncio
from typing import Any

import sqlalchemy as sa

from yunmo.hub.store.tables import repository
from yunmo.hub.xet import store
from yunmo.hub.xet.hashes import digest_of
from yunmo.hub.xet.reading import Reader
from yunmo.hub.xet.reconstruction import merged, spans_of
from yunmo.hub.xet.shards import Offer, write_offer
from yunmo.hub.xet.store import StoredFile
from yunmo.hub.xet.tokens import AccessTicket, Signer
from yunmo.storage.database import Database

_FILES = 4
_XORBS = 256
"""At most 16 GiB are offered at once; what follows is found by the file's later chunks."""

_WEEK_SECONDS = 7 * 24 * 3600


class Dedup:
    """The global index of chunks."""

    def __init__(self, database: Database, reader: Reader, signer: Signer) -> None:
        self._database = database
        self._reader = reader
        self._signer = signer

    async def answer(self, chunk: str, ticket: AccessTicket) -> bytes | None:
        """A shard that names the xorbs of files with this chunk; None if the holder of the ticket may see none."""
        digest_of(chunk)
        readable = _readable(ticket)
        files, holders = await self._database.read(lambda connection: store.files_with_chunk(connection, chunk, readable, _FILES))
        if not files:
            return None
        ranges = _ranges(files, {digest_of(xorb) for xorb in holders})
        tables = await self._reader.tables(ranges.keys())
        expires_at = self._signer.expiry(_WEEK_SECONDS)
        key = self._signer.key_for(f"dedup {ticket.project} {expires_at // _WEEK_SECONDS}")
        offers = [
            Offer(xorb, tables[xorb], merged(found))
            for xorb, found in ranges.items()
            if xorb in tables and xorb not in self._reader.damaged
        ]
        return await asyncio.get_running_loop().run_in_executor(self._reader.worker, write_offer, offers, key, expires_at)


def _readable(ticket: AccessTicket) -> sa.Select[Any]:
    everyones = sa.and_(repository.c.is_private.is_(sa.false()), repository.c.gated == "", repository.c.is_disabled.is_(sa.false()))
    allowed = [repository.c.id == ticket.repository_id, everyones]
    if ticket.is_admin:
        allowed.append(sa.true())
    elif ticket.may_read_project:
        allowed.append(repository.c.namespace == ticket.project)
    return sa.select(repository.c.id).where(sa.or_(*allowed))


def _ranges(files: list[StoredFile], holders: set[bytes]) -> dict[bytes, list[tuple[int, int]]]:
    """The chunks to offer, by xorb: each file from the asked chunk on, then what is before it."""
    ranges: dict[bytes, list[tuple[int, int]]] = {}
    for file in files:
        spans = spans_of(file.terms)
        begin = next((at for at, span in enumerate(spans) if span.xorb in holders), 0)
        for span in spans[begin:] + spans[:begin]:
            if span.xorb in ranges or len(ranges) < _XORBS:
                ranges.setdefault(span.xorb, []).append((span.first, span.last))
    return ranges
