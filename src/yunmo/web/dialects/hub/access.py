"""Gated repositories, and tokens for the Xet store (specification: Hub §2.6, §3.1)."""

from collections.abc import Iterator
from typing import Literal

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import AccessRequest, Repository, RepositoryType, RequestStatus
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.web.base_url import base_url
from yunmo.web.dialects.hub.addresses import api_routes, file_routes, is_proposal, repository_name
from yunmo.web.dialects.hub.shapes import moment
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_STATUSES: dict[str, RequestStatus] = {"pending": "pending", "accepted": "accepted", "rejected": "rejected"}


class Grant(msgspec.Struct):
    """The project that is given access."""

    user: str


class Handling(msgspec.Struct):
    """What becomes of a request, named by its project or id."""

    status: Literal["pending", "accepted", "rejected"]
    user: str | None = None
    requestId: str | None = None  # noqa: N815 (the Hub's name)
    rejectionReason: str | None = None  # noqa: N815 (the Hub's name)


class AccessRoutes:
    """Routes about rights."""

    def __init__(self, cloud: Cloud) -> None:
        self._hub = cloud.hub

    def routes(self) -> Iterator[Route]:
        """The routes of this group."""
        yield from api_routes("POST", "/user-access-request/grant", self.grant, "Give a project access to a gated repository")
        yield from api_routes("POST", "/user-access-request/handle", self.handle, "Accept or reject a request for access")
        yield from api_routes("GET", "/user-access-request/{status}", self.requests, "List requests for access")
        yield from file_routes("POST", "/ask-access", self.ask, "Ask for access to a gated repository")
        yield from api_routes("GET", "/xet-read-token/{revision}", self.read_token, "A token to download large files")
        yield from api_routes("GET", "/xet-write-token/{revision}", self.write_token, "A token to upload large files")

    async def grant(self, type_: RepositoryType, request: Request) -> Response:
        """Give a project access."""
        wanted = await request.struct(Grant)
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        await self._hub.access.grant(request.principal, repository, wanted.user)
        return json_reply({})

    async def handle(self, type_: RepositoryType, request: Request) -> Response:
        """Accept, reject or reopen a request."""
        wanted = await request.struct(Handling)
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        project = wanted.user or await self._project(request, repository, wanted.requestId)
        await self._hub.access.decide(request.principal, repository, project, wanted.status, wanted.rejectionReason)
        return json_reply({})

    async def requests(self, type_: RepositoryType, request: Request) -> Response:
        """List the requests in one state."""
        status = _STATUSES.get(request.params["status"])
        if status is None:
            raise NotFound("Requests for access are 'pending', 'accepted' or 'rejected'.")
        repository = await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        return json_reply([_shape(each) for each in await self._hub.access.list(request.principal, repository, status)])

    async def ask(self, type_: RepositoryType, request: Request) -> Response:
        """Ask for access in the name of the caller's project."""
        repository = await self._hub.repositories.find(request.principal, type_, repository_name(request))
        return json_reply({"status": await self._hub.access.ask(request.principal, repository)})

    async def read_token(self, type_: RepositoryType, request: Request) -> Response:
        """A token to read the repository's large files; who may not read the files gets none."""
        repository = await self._hub.repositories.find_readable(request.principal, type_, repository_name(request))
        return self._token(request, repository, write=False)

    async def write_token(self, type_: RepositoryType, request: Request) -> Response:
        """A token to upload large files; the revision may be `None` when a pull request is to be made."""
        repositories = self._hub.repositories
        find = repositories.find_proposable if is_proposal(request) else repositories.find_writable
        repository = await find(request.principal, type_, repository_name(request))
        return self._token(request, repository, write=True)

    def _token(self, request: Request, repository: Repository, *, write: bool) -> Response:
        token = self._hub.large.grant(request.principal, repository.id, repository.full_name, repository.type, write)
        url = f"{base_url(request)}/cas/{self._hub.large.epoch}"
        headers = {  # Python reads the headers, Rust reads the body
            "X-Xet-Cas-Url": url,
            "X-Xet-Access-Token": token.access_token,
            "X-Xet-Token-Expiration": str(token.expires_at),
            "Cache-Control": "no-store",
        }
        return json_reply({"casUrl": url, "exp": token.expires_at, "accessToken": token.access_token}, headers=headers)

    async def _project(self, request: Request, repository: Repository, identity: str | None) -> str:
        if identity is None:
            raise InvalidRequest("Say whose request it is: 'user' or 'requestId'.", param="user")
        for status in _STATUSES.values():
            for each in await self._hub.access.list(request.principal, repository, status):
                if str(each.id) == identity:
                    return each.project
        raise NotFound(f"There is no request for access {identity[:40]!r}.")


def _shape(request: AccessRequest) -> dict[str, object]:
    return {
        "requestId": str(request.id),
        "status": request.status,
        "timestamp": moment(request.created_at),
        "user": {"user": request.project, "fullname": request.project, "email": None},
    }
