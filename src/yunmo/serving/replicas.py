"""One replica of a deployment: what it is to be, where its worker finds things, and what it is once it is up."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from yunmo.core.engine import Offer
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.placement import Placed
from yunmo.serving.guests import Carried
from yunmo.serving.memory import Claim
from yunmo.serving.router import Seat
from yunmo.serving.specification import DeploymentSpec

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


def model_directory(cache: Path, spec: DeploymentSpec) -> Path:
    """Where the model's files are laid out."""
    return cache / "models" / spec.revision


def worker_spec(cache: Path, log: Path, spec: DeploymentSpec, offer: Offer) -> WorkerSpec:
    """What a worker needs to run the deployment's model by this offer."""
    return WorkerSpec(
        name=spec.name,
        engine=offer.engine,
        directory=model_directory(cache, spec),
        derived=cache / "derived" / spec.revision / offer.engine,
        plan=offer.plan,
        log=log,
        memory_limit_bytes=2 * offer.memory_bytes + _SPARE_BYTES,
    )
