"""The adapters that a base's replicas carry beside it."""

import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from yunmo.core.engine import Adapter
from yunmo.core.errors import Conflict, YunmoError
from yunmo.core.lora import CONFIG_FILE, WEIGHTS_FILE
from yunmo.serving.specification import DeploymentSpec
from yunmo.serving.world import Models

_MOST_GUESTS = 32
_RETRY_SECONDS = 60.0
_BYTES_PER_BYTE = 2
"""Matrices are held in 32 bits, whatever they are stored in."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Carried:
    """Adapters whose files are laid out, and the memory that they take."""

    adapters: tuple[Adapter, ...] = ()
    memory_bytes: int = 0

    @property
    def names(self) -> frozenset[str]:
        return frozenset(adapter.name for adapter in self.adapters)


class Guests:
    """The wanted adapters of one base by their deployments' names, and why they could not be carried of late."""

    def __init__(self) -> None:
        self._specs: dict[str, DeploymentSpec] = {}
        self._before: dict[str, DeploymentSpec] = {}
        self._problem = ""
        self._failed_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._specs)

    @property
    def problem(self) -> str:
        """Why they could not be carried a moment ago; empty if it is time to try (again)."""
        return self._problem if time.monotonic() - self._failed_at < _RETRY_SECONDS else ""

    def add(self, spec: DeploymentSpec) -> bool:
        """Carry this adapter from the next replica on; whether that is news. Raises Conflict if there are too many."""
        before = self._specs.get(spec.name)
        if before is not None and before.revision == spec.revision:
            return False
        if before is None and len(self._specs) >= _MOST_GUESTS:
            raise Conflict(f"The base of '{spec.name}' carries {_MOST_GUESTS} adapters already, which is the most. Undeploy one of them.")
        if before is not None:
            self._before[spec.name] = before
        self._specs[spec.name] = spec
        self._problem = ""
        return True

    def remove(self, name: str) -> None:
        """Replicas that start from now on do without this deployment's adapter."""
        self._specs.pop(name, None)
        self._before.pop(name, None)

    def failed(self, problem: str) -> None:
        """The replicas that were to carry them did not come up."""
        self._problem, self._failed_at = problem, time.monotonic()

    async def lay_out(self, models: Models, cache: Path) -> Carried:
        """Put the adapters' files where workers look for them; one whose files are gone is left out.

        The revision that another one follows is carried once more, for requests that wait for it.
        """
        found: dict[str, Adapter] = {}
        size = 0
        for spec in [*self._specs.values(), *self._before.values()]:
            directory = cache / "models" / spec.revision
            try:
                files = (await models.describe(spec)).files
                await models.lay_out(spec, (CONFIG_FILE, WEIGHTS_FILE), directory)
            except YunmoError as error:
                _log.warning("adapter_not_laid_out", deployment=spec.name, error=error.message)
                continue
            if spec.revision not in found:
                found[spec.revision] = Adapter(spec.revision, str(directory))
                size += _BYTES_PER_BYTE * files[WEIGHTS_FILE]
        self._before.clear()
        return Carried(tuple(found.values()), size)
