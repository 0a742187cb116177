"""Told routes in the database."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from yunmo.apps.translate.routes import Route
from yunmo.core.errors import InvalidRequest
from yunmo.storage.database import Database
from yunmo.storage.tables import metadata

ROUTES_PER_PROJECT = 1000

_routes = sa.Table(
    "translation_route",
    metadata,
    sa.Column("project", sa.String(96), primary_key=True),
    sa.Column("source", sa.String(35), primary_key=True),
    sa.Column("target", sa.String(35), primary_key=True),
    sa.Column("model", sa.String(255), primary_key=True),
    sa.Column("priority", sa.Integer, nullable=False),
)


class RouteStore:
    """Keeps each project's routes; those of everybody under the empty name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def writes(self) -> int:
        """As long as this number is the same, this process has changed nothing."""
        return self._database.writes

    async def seen_by(self, project: str) -> list[Route]:
        """The project's own routes and everybody's."""
        query = sa.select(_routes).where(_routes.c.project.in_((project, "")))
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [Route(**row) for row in rows]

    async def put(self, route: Route) -> None:
        """Add a route, or give it another priority. Raises InvalidRequest when its project has too many."""
        key, values = _key(route), {"priority": route.priority}
        insert = sqlite.insert if self._database.dialect == "sqlite" else postgresql.insert
        statement = insert(_routes).values(key | values).on_conflict_do_update(index_elements=list(key), set_=values)
        count = sa.select(sa.func.count()).select_from(_routes).where(_routes.c.project == route.project)

        def work(connection: sa.Connection) -> None:
            connection.execute(statement)
            if connection.execute(count).scalar_one() > ROUTES_PER_PROJECT:
                raise InvalidRequest(f"A project has at most {ROUTES_PER_PROJECT} routes of translation; remove one first.")

        await self._database.write(work)

    async def remove(self, route: Route) -> bool:
        """Whether there was such a route, of any priority; it is gone."""
        conditions = [_routes.c[name] == value for name, value in _key(route).items()]
        statement = sa.delete(_routes).where(*conditions)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount) > 0


def _key(route: Route) -> dict[str, str]:
    return {"project": route.project, "source": route.source, "target": route.target, "model": route.model}
