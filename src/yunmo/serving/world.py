"""What every runner works with: where models come from, where workers run, the memory they share, how long things may take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from yunmo.core.engine import Hardware, ModelDescription, Offer
from yunmo.runtime.placement.placement import Placement
from yunmo.serving.calibration.calibrations import Calibrations
from yunmo.serving.memory import MemoryBudget
from yunmo.serving.specification import DeploymentSpec


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds (settings `serving`)."""

    idle: float
    cold_wait: float
    drain: float
    hang: float


class Models(Protocol):
    """Where runners get models from (the hub, and the built-in echo)."""

    async def describe(self, spec: DeploymentSpec) -> ModelDescription: ...

    async def draft(self, spec: DeploymentSpec, name: str) -> DeploymentSpec: ...

    async def lay_out(self, spec: DeploymentSpec, files: tuple[str, ...], directory: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class World:
    """What every runner works with."""

    models: Models
    placement: Placement
    memory: MemoryBudget
    hardware: Hardware
    offers: Callable[[ModelDescription, DeploymentSpec], Sequence[Offer]]
    calibrations: Calibrations
    cache: Path
    logs: Path
    patience: Patience
    queue_limit: int
