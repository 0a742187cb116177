"""Deployments in the database."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

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
