"""Projects, keys, aliases, usage and audit over HTTP."""

from datetime import datetime
from typing import Any

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import AuditEntry, CreatedKey, KeyInfo, Project, UsageRow
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.core.identity import Limits, Scope
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route


class CreateKey(msgspec.Struct, forbid_unknown_fields=True):
    """A key for a project, which is made if it is new. Without scopes the key may infer and read."""

    project: str
    name: str = ""
    scopes: tuple[Scope, ...] = ("infer", "read")
    limits: Limits = Limits()
    expires_at: datetime | None = None


class CreateProject(msgspec.Struct, forbid_unknown_fields=True):
    """A project: a tenant and its namespace in the hub."""

    name: str


class PutAlias(msgspec.Struct, forbid_unknown_fields=True):
    """The repository (`ns/name`) that the alias stands for."""

    repository: str


class Alias(msgspec.Struct):
    """A bare name and what it stands for."""

    type: str
    name: str
    repository: str


class TenancyRoutes:
    """What an operator administers."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes of this group."""
        alias = "/admin/aliases/{type}/{name}"
        return [
            Route("POST", "/admin/keys", self._create_key, "admin", "Make a key; its text is shown this once", CreateKey, CreatedKey),
            Route("GET", "/admin/keys", self._list_keys, "admin", "List keys", None, list[KeyInfo]),
            Route("DELETE", "/admin/keys/{id}", self._revoke_key, "admin", "Revoke a key", None, KeyInfo),
            Route("POST", "/admin/projects", self._create_project, "admin", "Make a project", CreateProject, Project),
            Route("GET", "/admin/projects", self._list_projects, "admin", "List projects", None, list[Project]),
            Route("PUT", alias, self._put_alias, "admin", "Let a bare name stand for a repository", PutAlias, Alias),
            Route("DELETE", alias, self._delete_alias, "admin", "Remove an alias", None, Alias),
            Route("GET", "/admin/aliases", self._list_aliases, "admin", "List aliases", None, list[Alias]),
            Route("GET", "/admin/usage", self._usage, "read", "Usage of the caller's project (the admin: of all)", None, list[UsageRow]),
            Route("GET", "/admin/audit", self._audit_log, "admin", "Administrative acts, newest first", None, list[AuditEntry]),
        ]

    async def _create_key(self, request: Request) -> Response:
        wanted = await request.struct(CreateKey)
        tenancy = self._cloud.tenancy
        await tenancy.projects.create(wanted.project, by_operator=True)
        created = await tenancy.keys.create(wanted.project, wanted.name, wanted.scopes, wanted.limits, wanted.expires_at)
        await self._record(request, "key.created", created.id, {"project": created.project, "scopes": list(created.scopes)})
        return json_reply(created, 201)

    async def _list_keys(self, request: Request) -> Response:
        return json_reply(await self._cloud.tenancy.keys.list(request.query_params.get("project")))

    async def _revoke_key(self, request: Request) -> Response:
        revoked = await self._cloud.tenancy.keys.revoke(request.params["id"])
        await self._record(request, "key.revoked", revoked.id, {"project": revoked.project})
        return json_reply(revoked)

    async def _create_project(self, request: Request) -> Response:
        wanted = await request.struct(CreateProject)
        project = await self._cloud.tenancy.projects.create(wanted.name, by_operator=True)
        await self._record(request, "project.created", project.name, {})
        return json_reply(project, 201)

    async def _list_projects(self, _request: Request) -> Response:
        return json_reply(await self._cloud.tenancy.projects.list())

    async def _put_alias(self, request: Request) -> Response:
        wanted = await request.struct(PutAlias)
        type_, name = _repository_type(request), request.params["name"]
        await self._cloud.hub.repositories.alias(request.principal, type_, name, wanted.repository)
        return json_reply(Alias(type_, name, wanted.repository))

    async def _delete_alias(self, request: Request) -> Response:
        type_, name = _repository_type(request), request.params["name"]
        found = [each for each in await self._cloud.hub.repositories.aliases(request.principal) if each[:2] == (type_, name)]
        if not found:
            raise NotFound(f"There is no alias '{name}' for a {type_}.")
        await self._cloud.hub.repositories.remove_alias(request.principal, type_, name)
        return json_reply(Alias(*found[0]))

    async def _list_aliases(self, request: Request) -> Response:
        return json_reply([Alias(*each) for each in await self._cloud.hub.repositories.aliases(request.principal)])

    async def _usage(self, request: Request) -> Response:
        query = request.query_params
        project = query.get("project") if request.principal.is_admin else request.principal.project
        groups: Any = [part for part in query.get("group_by", "model").split(",") if part]
        since, until = _moment(query.get("since"), "since"), _moment(query.get("until"), "until")
        return json_reply(await self._cloud.tenancy.ledger.query(project, since, until, groups))

    async def _audit_log(self, request: Request) -> Response:
        query = request.query_params
        before = query.get("before")
        return json_reply(
            await self._cloud.tenancy.audit.list(_number(query.get("limit", "100"), "limit"), _number(before, "before") if before else None)
        )

    async def _record(self, request: Request, action: str, target: str, detail: dict[str, Any]) -> None:
        await self._cloud.tenancy.audit.record(request.principal, action, target, detail)


def _repository_type(request: Request) -> Any:
    type_ = request.params["type"]
    if type_ not in {"model", "dataset"}:
        raise InvalidRequest("An alias is for a 'model' or a 'dataset'.", param="type")
    return type_


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidRequest(f"'{name}' must be a whole number.", param=name)
    return int(text)


def _moment(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(f"'{name}' must be an ISO 8601 time with its zone, such as 2026-11-23T00:00:00Z.", param=name) from error
    if moment.tzinfo is None:
        raise InvalidRequest(f"'{name}' needs a time zone, such as a Z at its end.", param=name)
    return moment
