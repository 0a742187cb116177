"""Tenancy: projects, keys, logins, publishers, limits, usage and audit, gathered."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yunmo.core.identity import Limits
from yunmo.storage.database import Database
from yunmo.tenancy.audit import Audit
from yunmo.tenancy.devices import Devices
from yunmo.tenancy.keys import Keys
from yunmo.tenancy.ledger import Ledger
from yunmo.tenancy.limits import Limiter
from yunmo.tenancy.logins import Logins
from yunmo.tenancy.projects import ADMIN_PROJECT, Projects
from yunmo.tenancy.publishers import Publisher, Publishers


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Who may use this cloud, how much, and what they did; open it with `open_tenancy`."""

    projects: Projects
    keys: Keys
    limiter: Limiter
    ledger: Ledger
    audit: Audit
    logins: Logins
    publishers: Publishers

    async def run(self) -> None:
        """The background loops: learn of revoked keys, flush usage. Runs until cancelled, and flushes a last time then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keys.run(), name="keys")
            group.create_task(self.ledger.run(), name="ledger")


async def open_tenancy(
    database: Database,
    pepper: bytes,
    *,
    default_limits: Limits | None = None,
    publishers: Sequence[Publisher] = (),
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> Tenancy:
    """Gather tenancy over a migrated database: every key in force is known when this returns, and the admin project is there.

    `pepper` is the secret of the keys' HMACs; with another pepper no key is known any more. The projects that
    publishers log in to are made. Raises KeysNotRead, InvalidRequest or Conflict for a publisher that cannot be.
    """
    projects = Projects(database)
    await projects.create(ADMIN_PROJECT, by_operator=True)
    for publisher in publishers:
        await projects.create(publisher.project, by_operator=True)
    keys = Keys(database, pepper, default_limits or Limits(), clock)
    await keys.refresh()
    audit = Audit(database)
    logins = Logins(Devices(monotonic), keys, audit, clock)
    trusted = Publishers(publishers, keys, audit, clock)
    await trusted.check()
    return Tenancy(projects, keys, Limiter(monotonic), Ledger(database, clock), audit, logins, trusted)
