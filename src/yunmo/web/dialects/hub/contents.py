"""Folders, paths, branches, tags and histories (specification: Hub §2.3)."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from starlette.datastructures import FormData
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import BRANCH, TAG, Page, RepositoryType
from yunmo.core.errors import InvalidRequest
from yunmo.web.dialects.hub.addresses import api_routes, flag, has_body, next_page, number, repository_name
from yunmo.web.dialects.hub.shapes import commit_shape, item_shape, moment
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_TREE_PAGE = 1000
_EXPANDED_PAGE = 50
_HISTORY_PAGE = 50
_HISTORY_LIMIT = 1000
_PATHS_LIMIT = 1000
_LARGE_PAGE = 1000


class NewBranch(msgspec.Struct):
    """Where the branch starts; `main` if absent."""

    startingPoint: str | None = None  # noqa: N815 (the Hub's name)


class NewTag(msgspec.Struct):
    """A tag's name."""

    tag: str
    message: str | None = None


class Squash(msgspec.Struct):
    """The message of the only commit that is left."""

    message: str = ""


class Paths(msgspec.Struct):
    """Which paths to look at."""

    paths: list[str] | str
    expand: bool = False


class CopiedFile(msgspec.Struct):
    """A large file to copy."""

    sha256: str
    filename: str = ""
    xetHash: str | None = None  # noqa: N815 (the Hub's name)


class CopyTarget(msgspec.Struct):
    """The repository that copies."""

    name: str
    type: str = "model"


class CopiedFiles(msgspec.Struct):
    """Large files that another repository wants to refer to."""

    target: CopyTarget
    files: list[CopiedFile]


class Deletions(msgspec.Struct):
    """Large files to delete, by their sha256; without rewriting, revisions keep naming what is no longer there."""

    sha: list[str]
    rewriteHistory: bool = True  # noqa: N815 (the Hub's name)


class Batch(msgspec.Struct):
    """What is to be done to large files."""

    deletions: Deletions


class ContentRoutes:
    """Routes for what is in a repository, except the files' bytes."""

    def __init__(self, cloud: Cloud) -> None:
        self._hub = cloud.hub

    def routes(self) -> Iterator[Route]:
        """The routes of this group."""
        yield from api_routes("GET", "/tree/{revision}", self.tree, "List a revision's files")
        yield from api_routes("GET", "/tree/{revision}/{path*}", self.tree, "List a folder")
        yield from api_routes("POST", "/paths-info/{revision}", self.paths, "Describe some paths")
        yield from api_routes("GET", "/safetensors-metadata/{path*}", self.tensors, "The headers of a sharded model's files")
        yield from api_routes("GET", "/refs", self.refs, "List branches and tags")
        yield from api_routes("GET", "/commits/{revision}", self.commits, "List a revision's history")
        yield from api_routes("POST", "/branch/{branch}", self.create_branch, "Create a branch")
        yield from api_routes("DELETE", "/branch/{branch}", self.delete_branch, "Delete a branch")
        yield from api_routes("POST", "/tag/{revision}", self.create_tag, "Tag a revision")
        yield from api_routes("DELETE", "/tag/{revision}", self.delete_tag, "Delete a tag")
        yield from api_routes("POST", "/super-squash/{branch}", self.squash, "Replace a branch's history by one commit")
        yield from api_routes("GET", "/lfs-files", self.large_files, "List large files")
        yield from api_routes("POST", "/lfs-files/batch", self.delete_large_files, "Delete large files from the history")
        yield from api_routes("POST", "/lfs-files/duplicate", self.lend_large_files, "Copy large files to another repository")

    async def tree(self, type_: RepositoryType, request: Request) -> Response:
        """List a folder, page by page; with `expand` also each item's last commit and security status."""
        repository = await self._hub.repositories.find(request.principal, type_, repository_name(request))
        is_expanded = flag(request, "expand")
        limit = max(number(request, "limit", _TREE_PAGE, _TREE_PAGE), 1)
        limit = min(limit, _EXPANDED_PAGE) if is_expanded else limit
        first = number(request, "cursor", 0, 10**8)
        page = await self._hub.files.list(
            repository,
            request.params["revision"],
            request.params.get("path", "").strip("/"),
            is_recursive=flag(request, "recursive"),
            window=(first, limit),
        )
        shapes = await self._shapes(page, is_expanded=is_expanded)
        headers = {"X-Repo-Commit": page.commit.oid}
        return json_reply(shapes, headers=headers | (next_page(request, cursor=str(first + limit)) if page.has_more else {}))

    async def paths(self, type_: RepositoryType, request: Request) -> Response:
        """Describe the paths that are there; Python sends a form, JavaScript sends JSON."""
        repository = await self._hub.repositories.find(request.principal, type_, repository_name(request))
        if request.headers.get("content-type", "").startswith("application/json"):
            wanted = await request.struct(Paths)
        else:
            wanted = _paths_of(await request.fields())
        names = [wanted.paths] if isinstance(wanted.paths, str) else wanted.paths
        if len(names) > _PATHS_LIMIT:
            raise InvalidRequest(f"At most {_PATHS_LIMIT} paths can be asked about at once.", param="paths")
        page = await self._hub.files.at(repository, request.params["revision"], names)
        return json_reply(await self._shapes(page, is_expanded=wanted.expand))

    async def tensors(self, type_: RepositoryType, request: Request) -> Response:
        """Every tensor's name, type and shape, by the index of a sharded model."""
        repository = await self._hub.repositories.find_readable(request.principal, type_, repository_name(request))
        found = await self._hub.tensor_headers.of(repository, request.params["path"])
        return json_reply({"headers": found.by_shard, "index": {"metadata": found.metadata}})

    async def refs(self, type_: RepositoryType, request: Request) -> Response:
        """List branches, tags and, if asked for, proposals."""
        repository = await self._hub.repositories.find(request.principal, type_, repository_name(request))
        shape: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
        if flag(request, "include_prs"):
            shape["pullRequests"] = []
        groups = {"refs/heads/": "branches", "refs/tags/": "tags", "refs/pr/": "pullRequests", "refs/convert/": "converts"}
        for ref in await self._hub.refs.list(repository):
            group = next((name for prefix, name in groups.items() if ref.name.startswith(prefix)), None)
            if group is not None and group in shape:
                shape[group].append({"name": ref.short_name, "ref": ref.name, "targetCommit": ref.oid})
        return json_reply(shape)

    async def commits(self, type_: RepositoryType, request: Request) -> Response:
        """List a revision and what came before it, newest first."""
        repository = await self._hub.repositories.find(request.principal, type_, repository_name(request))
        limit = max(number(request, "limit", _HISTORY_PAGE, _HISTORY_LIMIT), 1)
        # a page starts at a commit, not at a number: the branch may move between pages
        start = request.query_params.get("cursor") or request.params["revision"]
        found = await self._hub.commits.history(repository, start, limit + 1)
        is_formatted = "formatted" in request.query_params.getlist("expand[]") + request.query_params.getlist("expand")
        shapes = [commit_shape(commit, is_formatted=is_formatted) for commit in found[:limit]]
        return json_reply(shapes, headers=next_page(request, cursor=found[limit].oid) if len(found) > limit else None)

    async def create_branch(self, type_: RepositoryType, request: Request) -> Response:
        """Create a branch at a revision."""
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        wanted = await request.struct(NewBranch) if has_body(request) else NewBranch()
        await self._hub.refs.create(request.principal, repository, BRANCH, request.params["branch"], wanted.startingPoint)
        return json_reply({}, 201)

    async def delete_branch(self, type_: RepositoryType, request: Request) -> Response:
        """Delete a branch."""
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        await self._hub.refs.delete(request.principal, repository, BRANCH, request.params["branch"])
        return json_reply({})

    async def create_tag(self, type_: RepositoryType, request: Request) -> Response:
        """Give a revision a name for good."""
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        wanted = await request.struct(NewTag)
        await self._hub.refs.create(request.principal, repository, TAG, wanted.tag, request.params["revision"])
        return json_reply({}, 201)

    async def delete_tag(self, type_: RepositoryType, request: Request) -> Response:
        """Delete a tag; the path's last segment is its name."""
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        await self._hub.refs.delete(request.principal, repository, TAG, request.params["revision"])
        return json_reply({})

    async def squash(self, type_: RepositoryType, request: Request) -> Response:
        """Replace a branch's history by one commit."""
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        wanted = await request.struct(Squash)
        branch = request.params["branch"]
        made = await self._hub.commits.squash(request.principal, repository, branch, wanted.message or f"Super-squash branch '{branch}'")
        return json_reply({"commitOid": made.commit.oid})

    async def large_files(self, type_: RepositoryType, request: Request) -> Response:
        """List the repository's large files; for who may write, also those that only older revisions have."""
        repository = await self._hub.repositories.find_readable(request.principal, type_, repository_name(request))
        first = number(request, "cursor", 0, 10**8)
        found = await self._hub.erasure.list(request.principal, repository)
        shapes = [
            {
                "fileOid": held.file.sha256,
                "oid": held.file.sha256,
                "filename": held.path,
                "pushedAt": moment(held.added_at),
                "ref": "main" if held.is_on_main else None,
                "size": held.file.size,
            }
            for held in found[first : first + _LARGE_PAGE]
        ]
        more = len(found) > first + _LARGE_PAGE
        return json_reply(shapes, headers=next_page(request, cursor=str(first + _LARGE_PAGE)) if more else None)

    async def delete_large_files(self, type_: RepositoryType, request: Request) -> Response:
        """Delete large files by their sha256, and put other commits in the place of those that name them."""
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        wanted = (await request.struct(Batch)).deletions
        await self._hub.erasure.erase(request.principal, repository, wanted.sha, rewrites_history=wanted.rewriteHistory)
        return json_reply({"success": True})

    async def lend_large_files(self, type_: RepositoryType, request: Request) -> Response:
        """Let another repository refer to large files of this one."""
        wanted = await request.struct(CopiedFiles)
        source = await self._hub.repositories.find_readable(request.principal, type_, repository_name(request))
        if wanted.target.type not in {"model", "dataset"}:
            raise InvalidRequest("Files can be copied to models and data sets only.", param="target.type")
        target_type: RepositoryType = "dataset" if wanted.target.type == "dataset" else "model"
        target = await self._hub.repositories.find_proposable(request.principal, target_type, wanted.target.name)
        missing = await self._hub.copies.lend(source, target, {file.sha256: file.filename for file in wanted.files})
        return json_reply({"failed": [{"sha256": sha256, "error": f"{source.full_name} has no such file."} for sha256 in missing]})

    async def _shapes(self, page: Page, *, is_expanded: bool) -> Sequence[dict[str, Any]]:
        if not is_expanded:
            return [item_shape(item, page.large) for item in page.items]
        changes = await self._hub.files.last_changes(page)
        shapes = []
        for item in page.items:
            large = page.large.get(item.entry.sha256 or "")
            is_readable = not item.entry.is_folder and (item.entry.sha256 is None or large is not None)
            verdict = await self._hub.scans.verdict(item, large) if is_readable else None
            shapes.append(item_shape(item, page.large, changes.get(item.path), verdict))
        return shapes


def _paths_of(form: FormData) -> Paths:
    names = [str(value) for key in ("paths", "paths[]") for value in form.getlist(key)]
    return Paths(names, str(form.get("expand", "")).lower() in {"1", "true"})
