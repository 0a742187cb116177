"""Who am I, and the small questions that clients ask of the server itself."""

from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import DEFAULT_NAMESPACE, BadCard, Listing, RepositoryType, front_matter
from yunmo.core.errors import NotFound, TooLarge, Unauthenticated
from yunmo.core.identity import Principal
from yunmo.web.dialects.hub.addresses import api_routes, repository_name
from yunmo.web.dialects.hub.shapes import moment
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_LISTED = 1000
_CARD_LIMIT_BYTES = 1024 * 1024


class CardToCheck(msgspec.Struct):
    """A README whose front matter is to be checked."""

    content: str
    repoType: str = "model"  # noqa: N815 (the Hub's name)


class IdentityRoutes:
    """Routes about the caller."""

    def __init__(self, cloud: Cloud) -> None:
        self._hub = cloud.hub
        self._keys = cloud.tenancy.keys

    def routes(self) -> Iterator[Route]:
        """The routes of this group."""
        yield Route("GET", "/api/whoami-v2", self.whoami, summary="Who the key belongs to and what it may do")
        yield Route("GET", "/api/agent-harnesses", self.harnesses, is_documented=False)
        yield Route("POST", "/api/validate-yaml", self.validate_card, summary="Check a model card's front matter", body=CardToCheck)
        yield Route("GET", "/api/settings/repositories", self.own_repositories, summary="The caller's repositories")
        yield Route("GET", "/api/organizations/{owner}/settings/repositories", self.own_repositories, is_documented=False)
        yield Route("GET", "/api/users/{owner}/overview", self.owner, summary="A namespace at a glance")
        yield Route("GET", "/api/organizations/{owner}/overview", self.owner, is_documented=False)
        yield from api_routes("GET", "/auth-check", self.may_read, "Whether the caller may read the repository's files")
        yield from api_routes("GET", "/auth-check/write", self.may_write, "Whether the caller may write to the repository")

    async def whoami(self, request: Request) -> Response:
        """Describe the key's project as a user."""
        principal = request.principal
        if principal.is_anonymous:
            raise Unauthenticated("An API key is required. Send it as 'Authorization: Bearer <key>'; make one with 'yunmo key create'.")
        organizations = [_organization(DEFAULT_NAMESPACE)] if principal.is_admin else []
        key = await self._keys.get(principal.key_id)
        token = {"displayName": principal.key_name or principal.key_id, "role": _role(principal), "createdAt": moment(key.created_at)}
        return json_reply(
            {
                "type": "user",
                "id": principal.project,
                "name": principal.project,
                "fullname": principal.project,
                "email": "",
                "emailVerified": True,
                "canPay": False,
                "isPro": False,
                "avatarUrl": "",
                "orgs": organizations,
                "auth": {"type": "access_token", "accessToken": token},
            }
        )

    async def harnesses(self, _request: Request) -> Response:
        """Every command of `hf` asks this; an error would be asked again each time."""
        return json_reply({"standardEnvVars": [], "harnesses": {}})

    async def validate_card(self, request: Request) -> Response:
        """Check the YAML at the top of a README; clients ask before each upload of one."""
        try:
            card = await request.struct(CardToCheck, _CARD_LIMIT_BYTES)
        except TooLarge as error:
            message = f"README.md is larger than {_CARD_LIMIT_BYTES // 1024**2} MiB. Move its long parts to other files and commit again."
            raise TooLarge(message) from error
        try:
            front_matter(card.content)
        except BadCard as error:
            return json_reply({"error": str(error), "errors": [{"message": str(error)}], "warnings": []}, 400)
        return json_reply({"errors": [], "warnings": []})

    async def own_repositories(self, request: Request) -> Response:
        """List what is in the caller's (or the named) namespace."""
        principal = request.principal
        if principal.is_anonymous:
            raise Unauthenticated("An API key is required to list your repositories.")
        owner = request.params.get("owner", principal.project)
        listed: list[dict[str, Any]] = []
        types: tuple[RepositoryType, ...] = ("model", "dataset")
        for type_ in types:
            found = await self._hub.repositories.list(principal, Listing(type_, author=owner, limit=_LISTED))
            overviews = await self._hub.overviews.kept(found)
            for repository in found:
                overview = overviews.get(repository.id)
                listed.append(
                    {
                        "id": repository.full_name,
                        "type": type_,
                        "updatedAt": moment(repository.updated_at),
                        "visibility": "private" if repository.is_private else "public",
                        "storage": overview.used_bytes if overview else 0,
                        "storagePercent": 0,
                    }
                )
        return json_reply(listed)

    async def owner(self, request: Request) -> Response:
        """Count what the caller may see in a namespace."""
        name = request.params["owner"]
        counts: dict[str, int] = {}
        types: tuple[RepositoryType, ...] = ("model", "dataset")
        for type_ in types:
            counts[type_] = len(await self._hub.repositories.list(request.principal, Listing(type_, author=name, limit=_LISTED)))
        if not any(counts.values()) and name != request.principal.project:
            raise NotFound(f"There is no namespace {name[:96]!r}, or nothing in it that you may see.")
        shape = {"_id": name, "user": name, "name": name, "fullname": name, "avatarUrl": "", "isPro": False, "type": "user"}
        return json_reply(shape | {"numModels": counts["model"], "numDatasets": counts["dataset"], "numSpaces": 0, "numLikes": 0})

    async def may_read(self, type_: RepositoryType, request: Request) -> Response:
        """200 if the caller may read the files."""
        await self._hub.repositories.find_readable(request.principal, type_, repository_name(request))
        return json_reply({})

    async def may_write(self, type_: RepositoryType, request: Request) -> Response:
        """200 if the caller may write."""
        await self._hub.repositories.find_writable(request.principal, type_, repository_name(request))
        return json_reply({})


def _role(principal: Principal) -> str:
    return "write" if principal.may("write") else "read"


def _organization(name: str) -> dict[str, Any]:
    return {"type": "org", "id": name, "name": name, "fullname": name, "avatarUrl": "", "isEnterprise": False, "roleInOrg": "admin"}
