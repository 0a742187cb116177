"""Deployments and calibrations in the database."""

from datetime import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from yunmo.serving.calibration.report import Calibration
from yunmo.serving.specification import DeploymentSpec
from yunmo.storage.database import Database
from yunmo.storage.tables import Time, metadata

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
        await self._database.write(lambda connection: connection.execute(statement))


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
