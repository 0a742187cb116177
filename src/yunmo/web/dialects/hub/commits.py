"""Uploading: preupload and commit (specification: Hub §2.5).

A commit's body is newline-delimited JSON with small files in base64. It is read line by line, and each file is stored
before the next line is read, so that a large body costs no more memory than its largest file.
"""

from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import (
    AddFile,
    AddLargeFile,
    Candidate,
    Change,
    Operation,
    RemoveFile,
    RemoveFolder,
    Repository,
    RepositoryType,
    parse_pointer,
)
from yunmo.core.errors import InvalidRequest, TooLarge
from yunmo.web.dialects.hub.addresses import api_routes, flag, is_proposal, repository_name, repository_url
from yunmo.web.replies import json_reply
from yunmo.web.request import ClientGone, Request, invalid_field
from yunmo.web.routing import Route

T = TypeVar("T")

BODY_LIMIT_BYTES = 200 * 1024 * 1024
LINE_LIMIT_BYTES = 64 * 1024 * 1024
_OPERATIONS_LIMIT = 25_000
_SAMPLE_LIMIT_BYTES = 4096


class FileToPlan(msgspec.Struct):
    """A file that the client wants to upload."""

    path: str
    size: int
    sample: bytes = b""


class FilesToPlan(msgspec.Struct):
    """The files of a coming commit, and the .gitignore that it brings."""

    files: list[FileToPlan]
    gitIgnore: str | None = None  # noqa: N815 (the Hub's name)


class _Line(msgspec.Struct):
    key: str
    value: msgspec.Raw


class _Header(msgspec.Struct):
    summary: str = ""
    description: str | None = None
    parentCommit: str | None = None  # noqa: N815 (the Hub's name)


class _File(msgspec.Struct):
    path: str
    content: bytes
    encoding: str = "base64"


class _LargeFile(msgspec.Struct):
    path: str
    oid: str
    algo: str = "sha256"
    size: int | None = None


class _Path(msgspec.Struct):
    path: str


class CommitRoutes:
    """Routes that write."""

    def __init__(self, cloud: Cloud) -> None:
        self._hub = cloud.hub

    def routes(self) -> Iterator[Route]:
        """The routes of this group."""
        yield from api_routes("POST", "/preupload/{revision}", self.plan, "Ask how files are to be uploaded")
        yield from api_routes("POST", "/commit/{revision}", self.commit, "Commit changes to a branch")

    async def plan(self, type_: RepositoryType, request: Request) -> Response:
        """Say for each file whether it travels inside the commit or is uploaded before, and what is there now."""
        repository = await self._find(type_, request)
        wanted = await request.struct(FilesToPlan)
        candidates = [Candidate(file.path, max(file.size, 0), file.sample[:_SAMPLE_LIMIT_BYTES]) for file in wanted.files]
        decisions = await self._hub.uploads.plan(repository, request.params["revision"], candidates, wanted.gitIgnore)
        shapes = []
        for decision in decisions:
            mode = "lfs" if decision.is_large else "regular"
            shape = {"path": decision.path, "uploadMode": mode, "shouldIgnore": decision.is_ignored}
            shapes.append(shape | ({"oid": decision.oid} if decision.oid else {}))
        return json_reply({"files": shapes})

    async def commit(self, type_: RepositoryType, request: Request) -> Response:
        """Apply the body's operations in one commit."""
        repository = await self._find(type_, request)
        change = await self._read(request)
        as_proposal = flag(request, "create_pr")
        made = await self._hub.commits.commit(request.principal, repository, request.params["revision"], change, as_proposal=as_proposal)
        proposal = _proposal_url(request, repository, made.ref) if as_proposal else None
        return json_reply(
            {
                "success": True,
                "commitOid": made.commit.oid,
                "commitUrl": f"{repository_url(request, type_, repository.full_name)}/commit/{made.commit.oid}",
                "pullRequestUrl": proposal,
                "hookOutput": "",
            }
        )

    async def _find(self, type_: RepositoryType, request: Request) -> Repository:
        repositories = self._hub.repositories
        find = repositories.find_proposable if is_proposal(request) else repositories.find_writable
        return await find(request.principal, type_, repository_name(request))

    async def _read(self, request: Request) -> Change:
        staging = self._hub.uploads.staging()
        header: _Header | None = None
        operations: list[Operation] = []
        async for text in _lines(request):
            line = _decode(text, _Line)
            if line.key == "header":
                header = _decode(line.value, _Header)
                continue
            if len(operations) >= _OPERATIONS_LIMIT:
                raise TooLarge(f"A commit may have at most {_OPERATIONS_LIMIT} operations. Split it.")
            if line.key == "file":
                file = _decode(line.value, _File)
                pointer = parse_pointer(file.content)
                if pointer is not None:  # what git would have stored for a large file
                    operations.append(AddLargeFile(file.path, pointer.sha256, pointer.size))
                else:
                    operations.append(AddFile(file.path, await staging.add(file.content), len(file.content)))
            else:
                operations.append(_operation(line))
        await staging.flush()
        if header is None:
            raise InvalidRequest("The commit has no 'header' line with a summary.", param="header")
        return Change(
            title=header.summary, message=header.description or "", parent=header.parentCommit or None, operations=tuple(operations)
        )


def _operation(line: _Line) -> Operation:
    if line.key == "lfsFile":
        file = _decode(line.value, _LargeFile)
        if file.algo != "sha256":
            raise InvalidRequest(f"Large files are named by their sha256, not by {file.algo[:20]!r}.", param="algo")
        return AddLargeFile(file.path, file.oid, file.size)
    if line.key == "deletedFile":
        return RemoveFile(_decode(line.value, _Path).path)
    if line.key == "deletedFolder":
        return RemoveFolder(_decode(line.value, _Path).path.rstrip("/"))
    raise InvalidRequest(f"A commit cannot contain {line.key[:40]!r}: file, lfsFile, deletedFile and deletedFolder are known.", param="key")


def _proposal_url(request: Request, repository: Repository, ref: str) -> str:
    return f"{repository_url(request, repository.type, repository.full_name)}/discussions/{ref.rsplit('/', 1)[-1]}"


def _decode(text: bytes | bytearray | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"A line of the commit is not valid JSON: {error}.") from error


async def _lines(request: Request) -> AsyncIterator[bytearray]:
    """The body's lines; the buffer holds no more than one line and what came with its end."""
    buffer = bytearray()
    searched = total = 0
    try:
        async for piece in request.stream():
            total += len(piece)
            if total > BODY_LIMIT_BYTES:
                raise TooLarge(f"A commit's body may have {BODY_LIMIT_BYTES // 1024**2} MiB. Commit fewer files at a time.")
            buffer += piece
            while (end := buffer.find(b"\n", searched)) >= 0:
                line = buffer[:end]
                del buffer[: end + 1]
                searched = 0
                if line.strip():
                    yield line
            searched = len(buffer)
            if searched > LINE_LIMIT_BYTES:
                raise TooLarge("A file inside a commit may have about 48 MiB. Upload larger ones as large files (update huggingface_hub).")
    except ClientDisconnect as error:
        raise ClientGone("The client left during its commit.") from error
    if buffer.strip():
        yield buffer
