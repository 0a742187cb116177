"""Trusted publishers: CI jobs that log in with their provider's identity token instead of a stored key (RFC 8693)."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import structlog

from yunmo.core.errors import Forbidden, InvalidRequest, Unauthenticated
from yunmo.core.identity import Principal, Scope
from yunmo.tenancy.audit import Audit
from yunmo.tenancy.issuers import Issuer, peek
from yunmo.tenancy.keys import Keys
from yunmo.tenancy.logins import LoginKey

_KEY_LIFE = timedelta(hours=1)
_NAME_CHARACTERS = 200
_RESOURCE = re.compile(r"(?:(?P<kind>datasets|spaces|kernels)/(?=[^/]+/))?(?P<project>[\w.-]{1,96})(?P<name>/[\w.-]{1,96})?", re.ASCII)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Publisher:
    """CI jobs that may log in to `project`: tokens of `issuer` for `audience` whose claims match every pattern of `claims`."""

    issuer: str
    audience: str
    claims: Mapping[str, str]
    project: str
    scopes: tuple[Scope, ...]
    jwks: Path | None = None


class Publishers:
    """The publishers that the operator declared. Only their issuers are ever asked for keys."""

    def __init__(self, publishers: Iterable[Publisher], keys: Keys, audit: Audit, clock: Callable[[], float] = time.time) -> None:
        self._publishers = tuple(publishers)
        self._issuers = {each.issuer: Issuer(each.issuer, each.jwks) for each in self._publishers}
        self._keys = keys
        self._audit = audit
        self._clock = clock

    @property
    def are_declared(self) -> bool:
        return bool(self._publishers)

    async def check(self) -> None:
        """Raise KeysNotRead for a key file that cannot be used, or an issuer that may not be asked for its keys."""
        for issuer in self._issuers.values():
            await issuer.check()

    async def log_in(self, token: str, resource: str) -> LoginKey:
        """A key of at most an hour for the job that holds this token: to write if `resource` is a repository, to read if it is a project.

        The key is the project's: it is not confined to the repository that the job named. A token may be used again while it
        is valid, since each program of a job logs in by itself and some providers mint one token for the whole job.
        Raises Unauthenticated for the token; InvalidRequest, Forbidden for the resource; Unavailable.
        """
        project, is_repository = _target(resource)
        claims = await self._prove(token)
        declared = [each for each in self._publishers if _is_published_by(each, claims)]
        if not declared:
            _log.info("job_not_declared", issuer=claims["iss"], subject=_printable(claims["sub"]))
            raise Unauthenticated(
                "The token is genuine, but no publisher is declared for this job. "
                "The operator finds its subject in the server's log, and declares jobs under [[publishers]] in yunmo.toml."
            )
        for publisher in declared:
            scopes = publisher.scopes if is_repository else tuple(scope for scope in publisher.scopes if scope == "read")
            if publisher.project.lower() == project.lower() and scopes:
                return await self._make(publisher, scopes, claims)
        raise Forbidden(
            f"This job may not log in for '{resource}'. Name a repository of its own project, as NAMESPACE/NAME or datasets/NAMESPACE/NAME, "
            "to write; or the project alone, to read."
        )

    async def _prove(self, token: str) -> dict[str, Any]:
        claimed = peek(token)["payload"].get("iss")
        issuer = self._issuers.get(claimed) if isinstance(claimed, str) else None
        if issuer is None:
            raise Unauthenticated("The token's issuer is not trusted here. The operator declares it under [[publishers]] in yunmo.toml.")
        return await issuer.verify(token, [each.audience for each in self._publishers if each.issuer == issuer.url])

    async def _make(self, publisher: Publisher, scopes: tuple[Scope, ...], claims: Mapping[str, Any]) -> LoginKey:
        subject = _printable(claims["sub"])
        name = f"CI {subject}"[:_NAME_CHARACTERS]
        end = datetime.fromtimestamp(self._clock(), UTC) + _KEY_LIFE
        made = await self._keys.create(publisher.project, name, scopes, expires_at=end)
        holder = Principal(made.project, made.id, frozenset(made.scopes), name)
        detail = {"project": made.project, "scopes": list(made.scopes), "for": "CI", "issuer": publisher.issuer, "subject": subject}
        await self._audit.record(holder, "key.created", made.id, detail)
        return LoginKey(made.key, made.scopes, int(_KEY_LIFE.total_seconds()))


def _target(resource: str) -> tuple[str, bool]:
    """The project that a resource is in, and whether it is one of its repositories."""
    named = _RESOURCE.fullmatch(resource)
    if named is None:
        raise InvalidRequest(
            "'resource' has to be NAMESPACE/NAME, datasets/NAMESPACE/NAME, or a project's name (HF_OIDC_RESOURCE).", param="resource"
        )
    if named["kind"] in {"spaces", "kernels"}:
        raise InvalidRequest(f"There are no {named['kind']} here. Name a model, a data set or a project as 'resource'.", param="resource")
    return named["project"], named["name"] is not None


def _is_published_by(publisher: Publisher, claims: Mapping[str, Any]) -> bool:
    audience = claims["aud"]
    return (
        claims["iss"] == publisher.issuer
        and publisher.audience in ([audience] if isinstance(audience, str) else audience)
        and all(isinstance(value := claims.get(name), str) and fnmatchcase(value, pattern) for name, pattern in publisher.claims.items())
    )


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:_NAME_CHARACTERS])
