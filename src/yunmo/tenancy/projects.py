"""Projects: the tenants. A project's name is also its namespace in the hub."""

import re
from dataclasses import dataclass
from datetime import datetime

from yunmo.core.errors import Conflict, InvalidRequest, NotFound
from yunmo.storage.database import Database
from yunmo.tenancy import store

ADMIN_PROJECT = "admin"
"""The operator's own project; its first key holds every scope."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,96}\Z")
_PATH_WORDS = frozenset(
    "api datasets spaces kernels models buckets cas oauth settings login join docs papers collections v1".split()  # noqa: SIM905  # reads better
)
_OPERATORS = frozenset({ADMIN_PROJECT, "library"})


@dataclass(frozen=True, slots=True)
class Project:
    """One tenant."""

    name: str
    created_at: datetime


class Projects:
    """The projects of this cloud. Names that differ only in case are the same project."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, *, by_operator: bool = False) -> Project:
        """Make a project, or return the one that is there. Only the operator may make `admin` and `library`.

        Raises InvalidRequest for a name that cannot be a namespace, Conflict if another project's name differs only in case.
        """
        check_name(name)
        if name.lower() in _OPERATORS and not by_operator:
            raise InvalidRequest(f"The project name '{name}' is kept for the operator. Choose another.", param="name")
        return await self._database.write(lambda connection: _create(connection, name))

    async def get(self, name: str) -> Project:
        """The project of this name, whatever its case. Raises NotFound."""
        row = await self._database.read(lambda connection: store.find_project(connection, name.lower()))
        if row is None:
            raise no_such_project(name)
        return _project(row)

    async def list(self) -> list[Project]:
        """Every project by name."""
        return [_project(row) for row in await self._database.read(store.list_projects)]


def check_name(name: str) -> None:
    """Raise InvalidRequest unless `name` can be a namespace of the hub (the rule of Hugging Face's user names)."""
    if not _NAME.match(name) or name[0] in "-." or name[-1] in "-." or "--" in name or ".." in name:
        raise InvalidRequest(
            f"'{name[:100]}' cannot name a project. Use 1 to 96 of A-Z a-z 0-9 . _ - , not starting or ending with - or . , without -- or .. .",
            param="name",
        )
    if name.lower() in _PATH_WORDS:
        raise InvalidRequest(f"'{name}' cannot name a project: it is a part of this server's own addresses. Choose another.", param="name")


def no_such_project(name: str) -> NotFound:
    """The error for a project that is not there."""
    return NotFound(f"There is no project '{name}'. It is made with its first key: 'yunmo key create --project {name}'.", param="project")


def _create(connection: store.Connection, name: str) -> Project:
    found = store.find_project(connection, name.lower())
    if found is None:
        store.insert_project(connection, name, name.lower())
        found = store.find_project(connection, name.lower())
        assert found is not None
    if found["name"] != name:
        raise Conflict(f"There is a project '{found['name']}' already; names may not differ only in case.", param="name")
    return _project(found)


def _project(row: store.Row) -> Project:
    return Project(row["name"], row["created_at"])
