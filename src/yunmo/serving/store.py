"""Deployments, what they served before, and calibrations in the database."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from yunmo.serving.calibration.report import Calibration
from yunmo.serving.specification import DeploymentSpec
from yunmo.storage.database import Database
from yunmo.storage.tables import Time, metadata, now

deployments = sa.Table(
    "deployment",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("project", sa.String(96), nullable=False, index=True),
    sa.Column("repository", sa.String(255), nullable=False),
    sa.Column("branch", sa.String(255)),
    sa.Column("revision", sa.String(64), nullable=False),
    sa.Column("replicas", sa.Integer, nullable=False),
    sa.Column("is_pinned", sa.Boolean, nullable=False),
    sa.Column("is_private", sa.Boolean, nullable=False),
    sa.Column("is_automatic", sa.Boolean, nullable=False),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("limits", sa.JSON, nullable=False),
    sa.Column("created", Time, nullable=False),
)

promotions = sa.Table(
    "promotion",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("repository", sa.String(255), nullable=False),
    sa.Column("revision", sa.String(64), nullable=False),
    sa.Column("branch", sa.String(255)),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("at", Time, nullable=False),
)

calibrations = sa.Table(
    "calibration",
    metadata,
    sa.Column("repository", sa.String(255), primary_key=True),
    sa.Column("revision", sa.String(64), primary_key=True),
    sa.Column("fingerprint", sa.String(64), primary_key=True),
    sa.Column("report", sa.LargeBinary, nullable=False),
    sa.Column("at", Time, nullable=False),
)

_FIELDS = (
    "name",
    "project",
    "repository",
    "branch",
    "revision",
    "replicas",
    "is_pinned",
    "is_private",
    "is_automatic",
    "options",
    "limits",
    "created",
)


class DeploymentStore:
    """What deployments are wanted. Which of them run is in memory only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def every(self) -> list[DeploymentSpec]:
        """All deployments of all projects, for the start of the server."""
        rows = await self._database.read(lambda connection: connection.execute(sa.select(deployments)).mappings().all())
        return [DeploymentSpec(**row) for row in rows]

    async def save(self, spec: DeploymentSpec) -> None:
        """Insert or replace."""
        values = {name: getattr(spec, name) for name in _FIELDS}
        insert = sqlite.insert if self._database.dialect == "sqlite" else postgresql.insert
        statement = insert(deployments).values(values)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_=values)
        await self._database.write(lambda connection: connection.execute(statement))

    async def delete(self, project: str, name: str) -> None:
        """Forget the project's deployment of this name."""
        statement = sa.delete(deployments).where(deployments.c.project == project, deployments.c.name == name)

        def write(connection: sa.Connection) -> None:
            if connection.execute(statement).rowcount:
                connection.execute(sa.delete(promotions).where(promotions.c.name == name))

        await self._database.write(write)


@dataclass(frozen=True, slots=True)
class Place:
    """What a name stands for: a revision, by which branch if it follows one, with the options of its model."""

    repository: str
    revision: str
    branch: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """As people write it."""
        return f"{self.repository}@{self.branch or self.revision}"


class PromotionStore:
    """What each deployment's name stood for before; it goes with its deployment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, name: str) -> Place | None:
        """What the name stood for before its last promotion."""
        key = promotions.c
        query = sa.select(key.repository, key.revision, key.branch, key.options).where(key.name == name)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else Place(**row)

    async def save(self, name: str, place: Place | None) -> None:
        """Remember this in the place of what was remembered; nothing for None."""
        values = {} if place is None else asdict(place) | {"at": now()}
        insert = sqlite.insert if self._database.dialect == "sqlite" else postgresql.insert

        def write(connection: sa.Connection) -> None:
            if place is None:
                connection.execute(sa.delete(promotions).where(promotions.c.name == name))
                return
            statement = insert(promotions).values(name=name, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))

        await self._database.write(write)


class CalibrationStore:
    """What was measured, per revision and kind of machine."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, repository: str, revision: str, fingerprint: str) -> Calibration | None:
        """The calibration of this revision on this kind of machine, if there is one."""
        key = calibrations.c
        statement = sa.select(key.report).where(key.repository == repository, key.revision == revision, key.fingerprint == fingerprint)
        found = await self._database.read(lambda connection: connection.execute(statement).scalar_one_or_none())
        return None if found is None else msgspec.json.decode(found, type=Calibration)

    async def save(self, calibration: Calibration) -> None:
        """Keep it in the place of the one before."""
        at: datetime = calibration.at
        values = {"report": msgspec.json.encode(calibration), "at": at}
        key = {"repository": calibration.repository, "revision": calibration.revision, "fingerprint": calibration.fingerprint}
        insert = sqlite.insert if self._database.dialect == "sqlite" else postgresql.insert
        statement = insert(calibrations).values(key | values)
        statement = statement.on_conflict_do_update(index_elements=list(key), set_=values)
        await self._database.write(lambda connection: connection.execute(statement))
