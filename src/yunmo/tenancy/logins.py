"""Logging a device in with a key that a person has: the device gets a key of its own, and never sees the person's."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from yunmo.core.identity import Principal, Scope
from yunmo.tenancy.audit import Audit
from yunmo.tenancy.devices import Asked, Devices, Refusal
from yunmo.tenancy.keys import Keys

_KEY_LIFE = timedelta(days=90)
_GIVEN: tuple[Scope, ...] = ("infer", "read", "write")


@dataclass(frozen=True, slots=True)
class LoginKey:
    """The key that a login made; `key` is its text, which is told this once."""

    key: str
    scopes: tuple[Scope, ...]
    expires_in_seconds: int


class Logins:
    """Devices ask, people answer with a key of theirs, devices fetch their keys."""

    def __init__(self, devices: Devices, keys: Keys, audit: Audit, clock: Callable[[], float] = time.time) -> None:
        self._devices = devices
        self._keys = keys
        self._audit = audit
        self._clock = clock

    def ask(self, client_id: str) -> Asked:
        """Let a device wait for a person. Raises InvalidRequest, Overloaded."""
        return self._devices.ask(client_id)

    async def answer(self, key: str, user_code: str, *, approves: bool) -> Principal:
        """Let a device in, or turn it away, in the name of who holds `key`; returns that principal.

        The key is looked at first, so that only who has one can guess at codes. Raises Unauthenticated, NotFound, RateLimited.
        """
        principal = await self._keys.identify(key)
        self._devices.answer(principal, user_code, approves=approves)
        return principal

    async def collect(self, device_code: str, client_id: str) -> LoginKey | Refusal:
        """The new key of a device that was let in, told once; or why there is none.

        It may do what the key may that let it in, `admin` excepted, within the same limits, and ends no later.
        """
        approver = self._devices.collect(device_code, client_id)
        if not isinstance(approver, Principal):
            return approver
        allowing = await self._keys.get(approver.key_id)
        present = datetime.fromtimestamp(self._clock(), UTC)
        end = min(present + _KEY_LIFE, allowing.expires_at or datetime.max.replace(tzinfo=UTC))
        if allowing.revoked_at is not None or end <= present:
            return "access_denied"
        scopes = tuple(scope for scope in _GIVEN if approver.may(scope))
        name = f"hf auth login {approver.project} {present:%Y-%m-%d}"
        made = await self._keys.create(approver.project, name, scopes, allowing.limits, end)
        await self._audit.record(
            approver, "key.created", made.id, {"project": made.project, "scopes": list(made.scopes), "for": "hf auth login"}
        )
        return LoginKey(made.key, made.scopes, int((end - present).total_seconds()))
