"""What readers are told: where the chunks of a file are, with links that open exactly those bytes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from yunmo.core.errors import Forbidden, NotFound
from yunmo.hub.xet import store
from yunmo.hub.xet.hashes import digest_of
from yunmo.hub.xet.reading import Reader
from yunmo.hub.xet.reconstruction import answer_v1, answer_v2, cut, touched
from yunmo.hub.xet.tokens import AccessTicket, Signer, XorbTicket
from yunmo.storage.database import Database

_LINK_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Linked:
    """The bytes behind a link: `start` up to, not including, `end` of an object."""

    start: int
    end: int
    pieces: AsyncIterator[bytes]


class Links:
    """Reconstruction answers, and the links in them."""

    def __init__(self, database: Database, reader: Reader, signer: Signer) -> None:
        self._database = database
        self._reader = reader
        self._signer = signer

    async def reconstruction(
        self, access: AccessTicket, file: str, bounds: tuple[int, int | None], base: str, version: int
    ) -> dict[str, Any] | None:
        """How to build the bytes `bounds` (end excluded; None is the file's end) of a file of the ticket's repository.

        None when the range starts at or after the file's end. `base` is what links start with. Raises NotFound.
        """
        digest_of(file)
        found = await self._database.read(lambda connection: store.find_file_of(connection, file, access.repository_id))
        if found is None:
            raise NotFound(f"The repository holds no file with the Xet hash {file}.")
        start = bounds[0]
        end = found.size if bounds[1] is None else min(bounds[1], found.size)
        if start >= max(found.size, 1):
            return None
        end = max(start, end)
        tables = await self._reader.tables({span.xorb for _, span in touched(found.terms, start, end)})
        expires_at = self._signer.expiry(_LINK_SECONDS)

        def link(xorb: bytes, low: int, high: int) -> str:
            return f"{base}/xorbs/{self._signer.seal(XorbTicket(expires_at, xorb, low, high))}"

        def work() -> dict[str, Any]:
            plan = cut(found.terms, tables, start, end)
            return answer_v1(plan, tables, link) if version == 1 else answer_v2(plan, tables, link)

        return await asyncio.get_running_loop().run_in_executor(self._reader.worker, work)

    def open(self, text: str, bounds: tuple[int, int | None] | None) -> Linked:
        """The bytes behind a link, or those of them in `bounds`. Raises Forbidden for an expired link and for other bytes."""
        ticket = self._signer.open(text, XorbTicket)
        if ticket is None:
            raise Forbidden("This link is not valid or has expired. Ask for the file's reconstruction again.")
        start, end = ticket.start, ticket.end
        if bounds is not None:
            start = bounds[0]
            end = ticket.end if bounds[1] is None else min(bounds[1], ticket.end)
        if not ticket.start <= start < end:
            raise Forbidden("This link does not open that range of bytes.")
        return Linked(start, end, self._reader.stored(ticket.xorb, start, end))
