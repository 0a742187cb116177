"""Making, changing, listing and describing repositories (specification: Hub §2.2)."""

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import Gating, Listing, Overview, Repository, RepositoryType
from yunmo.core.errors import InvalidRequest, RepositoryNotFound, Unsupported
from yunmo.core.identity import Principal
from yunmo.web.dialects.hub.addresses import api_routes, flag, next_page, number, repository_name, repository_url
from yunmo.web.dialects.hub.shapes import expanded, overview_shape, repository_shape, sibling_shapes, tag_shapes
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_PAGE = 500
_PAGE_LIMIT = 1000
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_BOUND = re.compile(r"(min|max):(\d{1,6}(?:\.\d{1,3})?)([kmbt]?)", re.IGNORECASE)
_SORTS = {"lastModified": "updated_at", "createdAt": "created_at", "downloads": "downloads", "num_parameters": "parameters"}
_SORTS |= {"likes": "updated_at", "trendingScore": "updated_at"}  # nothing is liked here: all are alike
_UNKNOWN_FILTERS = ("apps", "inference", "inference_provider")


class NewRepository(msgspec.Struct):
    """What to create. Without an organisation it goes to the caller's own namespace."""

    name: str
    organization: str | None = None
    type: str | None = None
    visibility: str | None = None
    private: bool | None = None


class NamedRepository(msgspec.Struct):
    """What to delete."""

    name: str
    organization: str | None = None
    type: str | None = None


class Move(msgspec.Struct):
    """A repository's old and new full name."""

    fromRepo: str  # noqa: N815 (the Hub's name)
    toRepo: str  # noqa: N815 (the Hub's name)
    type: str | None = None


class ChangedSettings(msgspec.Struct):
    """What to change; absent fields stay."""

    private: bool | None = None
    visibility: str | None = None
    gated: Literal["auto", "manual"] | bool | None = None


class Copy(msgspec.Struct):
    """Where to copy a repository to."""

    repository: str
    visibility: str | None = None
    private: bool | None = None


class RepositoryRoutes:
    """Routes for whole repositories."""

    def __init__(self, cloud: Cloud) -> None:
        self._hub = cloud.hub

    def routes(self) -> Iterator[Route]:
        """The routes of this group."""
        yield Route("POST", "/api/repos/create", self.create, "write", "Create a repository", NewRepository)
        yield Route("DELETE", "/api/repos/delete", self.delete, "write", "Delete a repository", NamedRepository)
        yield Route("POST", "/api/repos/move", self.move, "write", "Rename a repository", Move)
        yield from api_routes("PUT", "/settings", self.change_settings, "Change a repository's visibility or gating")
        yield from api_routes("POST", "/duplicate", self.duplicate, "Copy a repository")
        yield Route("GET", "/api/models", self.list_models, summary="List models")
        yield Route("GET", "/api/datasets", self.list_datasets, summary="List data sets")
        yield Route("GET", "/api/models-tags-by-type", self.model_tags, summary="The tags that models have")
        yield Route("GET", "/api/datasets-tags-by-type", self.dataset_tags, summary="The tags that data sets have")
        yield from api_routes("GET", "", self.info, "Describe a repository")
        yield from api_routes("GET", "/revision/{revision}", self.info, "Describe a revision")

    async def create(self, request: Request) -> Response:
        """Create a repository; 409 with its address if it is there."""
        wanted = await request.struct(NewRepository)
        type_ = _type(wanted.type)
        full_name = f"{wanted.organization}/{wanted.name}" if wanted.organization else wanted.name
        repository = await self._hub.repositories.create(
            request.principal, type_, full_name, is_private=bool(_is_private(wanted.visibility, wanted.private))
        )
        url = repository_url(request, type_, repository.full_name)
        return json_reply({"url": url, "name": repository.full_name, "id": f"{repository.id:024x}"})

    async def delete(self, request: Request) -> Response:
        """Delete a repository; the method is DELETE with a JSON body."""
        wanted = await request.struct(NamedRepository)
        await self._hub.repositories.delete(request.principal, _type(wanted.type), _own_name(request.principal, wanted))
        return json_reply({})

    async def move(self, request: Request) -> Response:
        """Rename a repository; its old name keeps leading to it."""
        wanted = await request.struct(Move)
        type_ = _type(wanted.type)
        repository = await self._hub.repositories.move(request.principal, type_, wanted.fromRepo, wanted.toRepo)
        return json_reply({"url": repository_url(request, type_, repository.full_name)})

    async def change_settings(self, type_: RepositoryType, request: Request) -> Response:
        """Make a repository private or public, gated or open."""
        wanted = await request.struct(ChangedSettings)
        if wanted.gated is True:
            raise InvalidRequest('"gated" must be "auto", "manual" or false.', param="gated")
        gated: Gating | None = "" if wanted.gated is False else wanted.gated
        repository = await self._hub.repositories.change_settings(
            request.principal, type_, repository_name(request), is_private=_is_private(wanted.visibility, wanted.private), gated=gated
        )
        visibility = "private" if repository.is_private else "public"
        return json_reply({"private": repository.is_private, "visibility": visibility, "gated": repository.gated or False})

    async def duplicate(self, type_: RepositoryType, request: Request) -> Response:
        """Copy a repository's newest files into a new one."""
        wanted = await request.struct(Copy)
        source = await self._hub.repositories.find_readable(request.principal, type_, repository_name(request))
        is_private = _is_private(wanted.visibility, wanted.private)
        copy = await self._hub.copies.duplicate(
            request.principal, source, wanted.repository, is_private=source.is_private if is_private is None else is_private
        )
        return json_reply({"url": repository_url(request, type_, copy.full_name), "filesCopyPending": False})

    async def list_models(self, request: Request) -> Response:
        """List the models that the caller may see."""
        return await self._list("model", request)

    async def list_datasets(self, request: Request) -> Response:
        """List the data sets that the caller may see."""
        return await self._list("dataset", request)

    async def model_tags(self, _request: Request) -> Response:
        """The tags of public models by type."""
        return json_reply(tag_shapes(await self._hub.overviews.tags("model")))

    async def dataset_tags(self, _request: Request) -> Response:
        """The tags of public data sets by type."""
        return json_reply(tag_shapes(await self._hub.overviews.tags("dataset")))

    async def info(self, type_: RepositoryType, request: Request) -> Response:
        """Describe a repository at a revision, `main` by default."""
        repository = await self._hub.repositories.find(request.principal, type_, repository_name(request))
        revision = request.params.get("revision", "main")
        fields = _fields(request)
        page = await self._hub.files.all(repository, revision)
        overview = await self._hub.overviews.newest(repository) if revision == "main" else None
        if overview is None or overview.commit != page.commit.oid:
            overview = await self._hub.overviews.of(repository, page)
        shape = repository_shape(repository, overview) | overview_shape(overview)
        shape["siblings"] = sibling_shapes(page, with_blobs=flag(request, "blobs"))
        if flag(request, "securityStatus") or "securityRepoStatus" in fields:
            issues, is_done = await self._hub.scans.issues(page)
            found = [{"path": path, "level": verdict.status} for path, verdict in issues]
            shape["securityRepoStatus"] = {"scansDone": is_done, "filesWithIssues": found}
        if type_ == "model":
            shape |= {"spaces": []}
        return json_reply(expanded(shape, fields) if fields else shape)

    async def _list(self, type_: RepositoryType, request: Request) -> Response:
        query = request.query_params
        if any("\0" in value for value in query.values()):
            raise InvalidRequest("A query parameter contains a NUL character.")
        unknown = next((name for name in _UNKNOWN_FILTERS if query.get(name)), None)
        if unknown is not None:
            raise Unsupported(f"Repositories cannot be filtered by {unknown!r} here. Leave it out.", param=unknown)
        sort = query.get("sort", "lastModified")
        if sort not in _SORTS:
            raise InvalidRequest(f"Repositories cannot be sorted by {sort[:40]!r}: use one of {', '.join(_SORTS)}.", param="sort")
        limit = max(number(request, "limit", _PAGE, _PAGE_LIMIT), 1)
        offset = number(request, "cursor", 0, 10**8)
        wanted = Listing(
            type_,
            author=query.get("author"),
            search=[word for text in query.getlist("search") for word in text.split()],
            tags=[tag for text in query.getlist("filter") for tag in text.split(",") if tag],
            pipeline_tag=query.get("pipeline_tag"),
            library_name=query.get("library"),
            gated=flag(request, "gated") if "gated" in query else None,
            parameters=_parameters(query.get("num_parameters", "")),
            sort=_SORTS[sort],
            is_ascending=query.get("direction") == "1",
            limit=limit,
            offset=offset,
        )
        await self._hub.overviews.catch_up(type_)
        found = await self._hub.repositories.list(request.principal, wanted)
        overviews = await self._hub.overviews.kept(found)
        shapes = [await self._listed(repository, overviews.get(repository.id), request) for repository in found[:limit]]
        return json_reply(shapes, headers=next_page(request, cursor=str(offset + limit)) if len(found) > limit else None)

    async def _listed(self, repository: Repository, overview: Overview | None, request: Request) -> dict[str, Any]:
        fields = _fields(request)
        shape = repository_shape(repository, overview)
        more = overview_shape(overview) if overview else {}
        if fields:
            shape |= more
        else:
            wanted = [name for name in ("config", "cardData") if flag(request, name) or (name == "cardData" and flag(request, "full"))]
            shape |= {name: more[name] for name in wanted if name in more}
        if flag(request, "full") or "siblings" in fields:
            shape["siblings"] = sibling_shapes(await self._hub.files.all(repository, "main"), with_blobs=False)
        return expanded(shape, fields) if fields else shape


def _type(text: str | None) -> RepositoryType:
    if text in {None, "model"}:
        return "model"
    if text == "dataset":
        return "dataset"
    raise InvalidRequest(f"Repositories of type {str(text)[:40]!r} are not supported here: use 'model' or 'dataset'.", param="type")


def _is_private(visibility: str | None, private: bool | None) -> bool | None:
    if visibility is not None:
        if visibility not in {"public", "private"}:
            raise InvalidRequest(f"The visibility must be 'public' or 'private', not {visibility[:40]!r}.", param="visibility")
        return visibility == "private"
    return private


def _own_name(principal: Principal, wanted: NamedRepository) -> str:
    if wanted.organization:
        return f"{wanted.organization}/{wanted.name}"
    if not principal.project:
        raise RepositoryNotFound(f"There is no repository {wanted.name[:200]!r}.")
    return wanted.name if "/" in wanted.name else f"{principal.project}/{wanted.name}"


def _fields(request: Request) -> frozenset[str]:
    return frozenset(request.query_params.getlist("expand") + request.query_params.getlist("expand[]"))


def _parameters(text: str) -> tuple[int | None, int | None]:
    """`min:6B,max:128B` as numbers."""
    bounds: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        match = _BOUND.fullmatch(part.strip())
        if match is None:
            raise InvalidRequest(f"{part[:40]!r} is not a bound: write for example 'min:6B,max:128B'.", param="num_parameters")
        bounds[match[1].lower()] = int(float(match[2]) * _UNITS[match[3].lower()])
    return bounds.get("min"), bounds.get("max")
