"""API keys: who holds one is somebody.

Only an HMAC of a key is stored. Every key in force is kept in memory by its HMAC, so identifying costs no database
read; changes by other processes are seen by asking for later revisions, twice a second.
"""

import asyncio
import hmac
import math
import secrets
import string
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import structlog

from yunmo.core.errors import InvalidRequest, NotFound, Unauthenticated, YunmoError
from yunmo.core.identity import SCOPES, Limits, Principal, Scope
from yunmo.storage.database import Database
from yunmo.storage.tables import now
from yunmo.tenancy import store
from yunmo.tenancy.projects import no_such_project

_ALPHABET = string.ascii_letters + string.digits
_RANDOM_CHARACTERS = 43  # 62^43 is just over 2^256
_ADOPTED_CHARACTERS = 16
_HINT_CHARACTERS = 7
_TOKEN_CHARACTERS = 512
_REFRESH_SECONDS = 0.4  # a revocation elsewhere must be in force within one second
_ENDED_KEPT = timedelta(days=7)
_FORGETTING_SECONDS = 3600.0
_NAME_CHARACTERS = 200
_UNKNOWN_LIMIT = 10_000
_UNKNOWN_SECONDS = 1.0
_LOOKUPS_PER_SECOND = 20.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key; `key` is its text, which is shown this once."""

    id: str
    key: str
    project: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key: `hint` is how its text starts."""

    id: str
    project: str
    name: str
    hint: str
    scopes: tuple[Scope, ...]
    limits: Limits
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Keys:
    """The API keys of every project. `defaults` are the limits of keys that have none of their own (admin keys excepted)."""

    def __init__(self, database: Database, pepper: bytes, defaults: Limits, clock: Callable[[], float] = time.time) -> None:
        if len(pepper) < 32:
            raise ValueError("The pepper needs at least 32 random bytes")
        self._database = database
        self._pepper = pepper
        self._defaults = defaults
        self._clock = clock
        self._known: dict[bytes, tuple[Principal, float | None]] = {}
        self._learned: dict[bytes, int] = {}
        self._unknown: dict[bytes, float] = {}
        self._revision = 0
        self._lookups = _LOOKUPS_PER_SECOND
        self._lookups_at = clock()

    async def identify(self, token: str) -> Principal:
        """Who holds this key. Raises Unauthenticated if it is unknown, revoked or expired."""
        digest = self._digest(token)
        found = self._known.get(digest)
        if found is None:
            found = await self._look_up(digest, len(token))
        principal, expires = found
        if expires is not None and expires <= self._clock():
            raise Unauthenticated("Invalid credentials: this API key has expired. Ask an admin for a new one.")
        return principal

    async def create(
        self, project: str, name: str, scopes: Iterable[Scope], limits: Limits | None = None, expires_at: datetime | None = None
    ) -> CreatedKey:
        """Make a key. Raises NotFound without the project, InvalidRequest for scopes or limits that cannot be."""
        token = "ym_" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
        values = self._values(token, name, scopes, limits or Limits(), expires_at)
        row = await self._database.write(lambda connection: _insert(connection, project, values))
        self._learn(row)
        return CreatedKey(row["id"], token, row["project"], name, _scopes(row), row["created_at"])

    async def adopt(self, token: str, project: str, scopes: Iterable[Scope], name: str) -> KeyInfo:
        """Put a key in force that the operator made; it takes the place of the one adopted under this name before."""
        if not _ADOPTED_CHARACTERS <= len(token) <= _TOKEN_CHARACTERS:
            raise InvalidRequest(
                f"A key of your own needs {_ADOPTED_CHARACTERS} to {_TOKEN_CHARACTERS} characters; this one has {len(token)}."
            )
        values = self._values(token, name, scopes, Limits(), None) | {"is_adopted": True, "hint": ""}
        rows = await self._database.write(lambda connection: _adopt(connection, project, values))
        for row in rows:
            self._learn(row)
        return _info(rows[-1])

    async def revoke(self, key_id: str) -> KeyInfo:
        """Take a key out of force: at once here, within a second in other processes. Raises NotFound."""
        row = await self._database.write(lambda connection: _revoke(connection, key_id))
        self._learn(row)
        return _info(row)

    async def get(self, key_id: str) -> KeyInfo:
        """The key of this id, also when it is revoked. Raises NotFound."""
        row = await self._database.read(lambda connection: store.find_key(connection, key_id))
        if row is None:
            raise _no_such_key(key_id)
        return _info(row)

    async def list(self, project: str | None = None) -> list[KeyInfo]:
        """The project's keys (None: everybody's), revoked ones too, oldest first."""
        return [_info(row) for row in await self._database.read(lambda connection: store.list_keys(connection, project))]

    async def refresh(self) -> None:
        """Learn what other processes changed."""
        rows = await self._database.read(lambda connection: store.list_changed_keys(connection, self._revision))
        for row in rows:
            self._learn(row)
            self._revision = row["revision"]

    async def forget_ended(self) -> None:
        """Drop the keys that ended a week ago: each CI login makes one."""
        before = datetime.fromtimestamp(self._clock(), UTC) - _ENDED_KEPT
        for digest in await self._database.write(lambda connection: store.delete_ended_keys(connection, before)):
            self._learned.pop(digest, None)
        self._known = {
            digest: (principal, expires)
            for digest, (principal, expires) in self._known.items()
            if expires is None or expires >= before.timestamp()
        }

    async def run(self) -> None:
        """Keep learning, and forget every hour, until cancelled."""
        forgotten_at = -math.inf
        while True:
            try:
                await self.refresh()
                if self._clock() - forgotten_at >= _FORGETTING_SECONDS:
                    forgotten_at = self._clock()
                    await self.forget_ended()
            except YunmoError as error:
                _log.warning("keys_not_refreshed", error=error.message)
            await asyncio.sleep(_REFRESH_SECONDS)

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._pepper, token.encode(errors="surrogatepass"), "sha256")

    async def _look_up(self, digest: bytes, characters: int) -> tuple[Principal, float | None]:
        """A key that another process made a moment ago. A flood of bad keys costs a bounded number of reads."""
        if characters <= _TOKEN_CHARACTERS and self._may_look_up(digest):
            row = await self._database.read(lambda connection: store.find_digest(connection, digest))
            if row is not None:
                self._learn(row)
            found = self._known.get(digest)
            if found is not None:
                return found
            if len(self._unknown) >= _UNKNOWN_LIMIT:
                self._unknown.clear()
            self._unknown[digest] = self._clock() + _UNKNOWN_SECONDS
        raise Unauthenticated("Invalid credentials: this API key is unknown or was revoked. Ask an admin for a new one.")

    def _may_look_up(self, digest: bytes) -> bool:
        moment = self._clock()
        if self._unknown.get(digest, 0.0) > moment:
            return False
        self._lookups = min(_LOOKUPS_PER_SECOND, self._lookups + max(0.0, moment - self._lookups_at) * _LOOKUPS_PER_SECOND)
        self._lookups_at = moment
        if self._lookups < 1:
            return False
        self._lookups -= 1
        return True

    def _learn(self, row: store.Row) -> None:
        digest = bytes(row["digest"])
        if self._learned.get(digest, 0) > row["revision"]:
            return  # a read that began before the last change
        self._learned[digest] = row["revision"]
        if row["revoked_at"] is not None:
            self._known.pop(digest, None)
            return
        expires = row["expires_at"]
        self._known[digest] = (self._principal(row), None if expires is None else expires.timestamp())
        self._unknown.pop(digest, None)

    def _principal(self, row: store.Row) -> Principal:
        scopes = frozenset(_scopes(row))
        own, default = _limits(row), Limits() if "admin" in scopes else self._defaults
        limits = Limits(
            default.requests_per_minute if own.requests_per_minute is None else own.requests_per_minute,
            default.tokens_per_minute if own.tokens_per_minute is None else own.tokens_per_minute,
            default.concurrent_requests if own.concurrent_requests is None else own.concurrent_requests,
        )
        return Principal(row["project"], row["id"], scopes, row["name"], limits)

    def _values(self, token: str, name: str, scopes: Iterable[Scope], limits: Limits, expires_at: datetime | None) -> dict[str, object]:
        wanted = set(scopes)
        if not wanted or not wanted <= set(SCOPES):
            raise InvalidRequest(f"A key needs one or more of the scopes {', '.join(SCOPES)}.", param="scopes")
        if len(name) > _NAME_CHARACTERS or "\0" in name:
            raise InvalidRequest(f"A key's name has at most {_NAME_CHARACTERS} characters, none of them NUL.", param="name")
        limits.check()
        if expires_at is not None:
            _check_end(expires_at)
        return {
            "id": "key_" + secrets.token_hex(12),
            "name": name,
            "digest": self._digest(token),
            "hint": token[:_HINT_CHARACTERS],
            "scopes": " ".join(scope for scope in SCOPES if scope in wanted),
            **asdict(limits),
            "is_adopted": False,
            "created_at": now(),
            "expires_at": expires_at,
        }


def _insert(connection: store.Connection, project: str, values: dict[str, object]) -> store.Row:
    found = store.find_project(connection, project.lower())
    if found is None:
        raise no_such_project(project)
    return store.insert_key(connection, {**values, "project": found["name"]})


def _adopt(connection: store.Connection, project: str, values: dict[str, object]) -> list[store.Row]:
    """The changed keys, the adopted one last."""
    digest = cast("bytes", values["digest"])
    earlier = [row for row in store.list_adopted_keys(connection, project, str(values["name"])) if bytes(row["digest"]) != digest]
    changed = [store.update_key(connection, row["id"], {"revoked_at": now()}) for row in earlier]
    found = store.find_digest(connection, digest)
    if found is None:
        return [*changed, _insert(connection, project, values)]
    wanted = {
        "project": project,
        "name": values["name"],
        "scopes": values["scopes"],
        "is_adopted": True,
        "revoked_at": None,
        "expires_at": None,
    }
    if all(found[column] == value for column, value in wanted.items()):
        return [*changed, found]
    return [*changed, store.update_key(connection, found["id"], wanted)]


def _revoke(connection: store.Connection, key_id: str) -> store.Row:
    row = store.find_key(connection, key_id)
    if row is None:
        raise _no_such_key(key_id)
    return row if row["revoked_at"] is not None else store.update_key(connection, key_id, {"revoked_at": now()})


def _no_such_key(key_id: str) -> NotFound:
    return NotFound(f"There is no API key '{key_id}'. 'yunmo key list' shows the keys.", param="key_id")


def _info(row: store.Row) -> KeyInfo:
    return KeyInfo(
        row["id"],
        row["project"],
        row["name"],
        row["hint"],
        _scopes(row),
        _limits(row),
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
    )


def _check_end(expires_at: datetime) -> None:
    if expires_at.tzinfo is None:
        raise InvalidRequest("A key's end needs a time zone, such as 2027-01-01T00:00:00Z.", param="expires_at")
    try:
        expires_at.astimezone(UTC)
    except OverflowError as error:
        raise InvalidRequest("A key's end must lie in the years 1 to 9999 UTC.", param="expires_at") from error


def _scopes(row: store.Row) -> tuple[Scope, ...]:
    return cast("tuple[Scope, ...]", tuple(row["scopes"].split()))


def _limits(row: store.Row) -> Limits:
    return Limits(row["requests_per_minute"], row["tokens_per_minute"], row["concurrent_requests"])
