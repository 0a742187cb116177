"""Each caller's table of routes: told ones from the database, found ones from the models that the caller may use."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from yunmo.apps.translate.abilities import Ability, abilities_of
from yunmo.apps.translate.route_store import RouteStore
from yunmo.apps.translate.routes import Found, Route, RouteTable, language_or_any
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import Listing
from yunmo.cloud.values import Served
from yunmo.core.errors import Forbidden, InvalidRequest, NotFound, YunmoError
from yunmo.core.identity import Principal

_TABLE_SECONDS = 5.0
"""How long a table stands though nothing was written by this process: another one may have."""

_TABLES_KEPT = 256
_ABILITIES_KEPT = 4096
_TRANSLATORS_LIMIT = 1000
_PRIORITY_LIMIT = 1000
_TRANSLATING_TASKS = frozenset({"translate", "chat"})


@dataclass(frozen=True, slots=True)
class _Kept:
    table: RouteTable
    writes: int
    until: float


class Routing:
    """Routes as callers see and change them."""

    def __init__(self, cloud: Cloud, store: RouteStore) -> None:
        self._cloud = cloud
        self._store = store
        self._tables: dict[tuple[str, bool, bool], _Kept] = {}
        self._abilities: dict[tuple[str, str], tuple[Ability, ...]] = {}

    async def table(self, principal: Principal) -> RouteTable:
        """The caller's routes, of models that it may use."""
        key = (principal.project, principal.is_admin, principal.may("infer"))
        kept = self._tables.get(key)
        if kept is not None and kept.writes == self._store.writes and time.monotonic() < kept.until:
            return kept.table
        writes = self._store.writes
        table = await self._read(principal)
        while len(self._tables) >= _TABLES_KEPT:
            self._tables.pop(next(iter(self._tables)))
        self._tables[key] = _Kept(table, writes, time.monotonic() + _TABLE_SECONDS)
        return table

    async def add(self, principal: Principal, wanted: Route) -> Route:
        """Keep a route, the operator's for everybody. Raises Forbidden for another project's, and why the model cannot translate."""
        route = self._owned(principal, wanted)
        if abs(route.priority) > _PRIORITY_LIMIT:
            raise InvalidRequest(f"A route's priority is from -{_PRIORITY_LIMIT} to {_PRIORITY_LIMIT}.", param="priority")
        served = await self._cloud.inference.find(principal, route.model)
        if _TRANSLATING_TASKS.isdisjoint(served.tasks):
            raise cannot_translate(served)
        named = replace(route, source=language_or_any(route.source), target=language_or_any(route.target), model=served.name)
        await self._store.put(named)
        return named

    async def remove(self, principal: Principal, wanted: Route) -> Route:
        """Forget a route. Raises NotFound if there is none."""
        route = self._owned(principal, wanted)
        if not await self._store.remove(route):
            raise NotFound(f"There is no route of {route.source} into {route.target} by '{route.model}' that is yours to remove.")
        return route

    def _owned(self, principal: Principal, wanted: Route) -> Route:
        """The route with its project: the caller's own, or for an operator the one that is named, or everybody's."""
        principal.require("write")
        if not principal.is_admin and wanted.project not in {"", principal.project}:
            raise Forbidden(f"This key may not change the routes of the project '{wanted.project}'.")
        return wanted if principal.is_admin else replace(wanted, project=principal.project)

    async def _read(self, principal: Principal) -> RouteTable:
        served = await self._cloud.inference.models(principal)
        usable = {name for each in served for name in (each.name, each.repository)}
        told = [route for route in await self._store.seen_by(principal.project) if route.model in usable]
        return RouteTable(told, await self._found(principal, served))

    async def _found(self, principal: Principal, served: Iterable[Served]) -> list[Found]:
        reader = replace(principal, scopes=principal.scopes | {"read"}) if principal.may("infer") else principal
        await self._cloud.hub.overviews.catch_up("model")
        listing = Listing("model", pipeline_tag="translation", limit=_TRANSLATORS_LIMIT)
        translators = {each.full_name for each in await self._cloud.hub.repositories.list(reader, listing)}
        found = []
        for each in served:
            if "translate" in each.tasks or (not each.tasks and each.repository in translators):
                abilities = await self._abilities_of(reader, each)
                found += [Found(each.name, ability.sources, ability.targets) for ability in abilities]
        return found

    async def _abilities_of(self, reader: Principal, served: Served) -> tuple[Ability, ...]:
        key = (served.repository, served.revision)
        if key not in self._abilities:
            try:
                ref = await self._cloud.hub.models.find(reader, *key)
                description = await self._cloud.hub.models.describe(ref)
            except YunmoError:  # gone or closed meanwhile: it translates nothing for this caller
                return ()
            while len(self._abilities) >= _ABILITIES_KEPT:
                self._abilities.pop(next(iter(self._abilities)))
            self._abilities[key] = abilities_of(description)
        return self._abilities[key]


def cannot_translate(served: Served) -> InvalidRequest:
    """The error for a model that neither translates nor chats."""
    return InvalidRequest(
        f"'{served.name}' does not translate; it does: {', '.join(served.tasks)}. Name a model for translations, or one for chats.",
        param="model",
    )
