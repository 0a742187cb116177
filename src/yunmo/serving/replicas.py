"""One replica of a deployment: what it is to be, where its worker finds things, and what it is once it is up."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from yunmo.core.engine import Offer
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.placement import Placed
from yunmo.serving.guests import Carried
from yunmo.serving.memory import Claim
from yunmo.serving.router import Seat
from yunmo.serving.specification import DeploymentSpec
from yunmo.serving.world import Models

_SPARE_BYTES = 2 << 30
"""What a worker may take beyond twice its offer's memory before it is ended."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a replica is to be."""

    spec: DeploymentSpec
    offer: Offer
    carried: Carried

    @property
    def memory_bytes(self) -> int:
        return self.offer.memory_bytes + self.carried.memory_bytes

    @property
    def foretold(self) -> Offer:
        """The offer with the adapters' memory in its own."""
        more = self.carried.memory_bytes
        return replace(self.offer, memory_bytes=self.memory_bytes, resident_bytes=self.offer.predicted_bytes + more)


@dataclass(slots=True, eq=False)
class Replica:
    """One that is up: its place among the others, its process, its memory, and the task that waits for its end."""

    seat: Seat
    placed: Placed
    claim: Claim
    watch: "asyncio.Task[None]"
    offer: Offer

    def serves(self, wanted: Wanted) -> bool:
        """Whether it is what is wanted."""
        is_it = self.seat.revision == wanted.spec.revision and self.offer.plan == wanted.offer.plan
        return is_it and self.seat.adapters >= wanted.carried.names


async def lay_out(models: Models, cache: Path, spec: DeploymentSpec, offer: Offer) -> None:
    """Put the model's files, and its draft's, where workers look for them."""
    await models.lay_out(spec, offer.files, cache / "models" / spec.revision)
    if offer.draft is not None:
        draft = replace(spec, repository=offer.draft.repository, revision=offer.draft.revision, branch=None, options={})
        await models.lay_out(draft, offer.draft.files, cache / "models" / offer.draft.revision)


def worker_spec(cache: Path, log: Path, spec: DeploymentSpec, offer: Offer) -> WorkerSpec:
    """What a worker needs to run the deployment's model by this offer."""
    draft = offer.draft
    if draft is not None:
        derived = cache / "derived" / draft.revision / offer.engine
        draft = msgspec.structs.replace(draft, directory=str(cache / "models" / draft.revision), derived=str(derived))
    return WorkerSpec(
        name=spec.name,
        engine=offer.engine,
        directory=cache / "models" / spec.revision,
        derived=cache / "derived" / spec.revision / offer.engine,
        plan=offer.plan,
        log=log,
        memory_limit_bytes=2 * offer.memory_bytes + _SPARE_BYTES,
        draft=draft,
    )
