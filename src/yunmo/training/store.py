"""SQL for certificates: how trained models compare, where they are served, with what they were in their trainer."""

from collections.abc import Callable
from datetime import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from yunmo.storage.database import Database
from yunmo.storage.tables import Time, metadata, now
from yunmo.training.state import Certificate

certificates = sa.Table(
    "certificate",
    metadata,
    sa.Column("commit", sa.String(40), primary_key=True),
    sa.Column("repository", sa.String(255), nullable=False),
    sa.Column("certificate", sa.LargeBinary, nullable=False),
    sa.Column("at", Time, nullable=False),
)
"""A commit's id names all its bytes, whatever its repository (as it was called then) is called by now."""


class CertificateStore:
    """Keeps the newest certificate of each commit."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._clock = clock

    async def find(self, commit: str) -> Certificate | None:
        """The commit's certificate; None where nobody has compared anything, as of a model that was pushed."""
        query = sa.select(certificates.c.certificate).where(certificates.c.commit == commit)
        found = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        return None if found is None else msgspec.json.decode(found, type=Certificate)

    async def save(self, repository: str, commit: str, certificate: Certificate) -> None:
        """Keep it in the place of the one before."""
        await self._database.write(lambda connection: self.save_in(connection, repository, commit, certificate))

    def save_in(self, connection: sa.Connection, repository: str, commit: str, certificate: Certificate) -> None:
        """The same in the caller's transaction."""
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        values = {"repository": repository, "certificate": msgspec.json.encode(certificate), "at": self._clock()}
        statement = insert(certificates).values(commit=commit, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["commit"], set_=values))

    async def problem(self, repository: str, commit: str) -> str | None:
        """Why the revision is not to take the place of another: it answers otherwise than it was trained. None if nothing is known against it."""
        del repository
        found = await self.find(commit)
        return found.problem if found is not None and found.samples and not found.is_passed else None
