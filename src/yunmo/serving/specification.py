"""What a deployment is to be, and what it is at the moment."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec

from yunmo.core.engine import Plan
from yunmo.core.identity import Limits

State = Literal["pending", "preparing", "loading", "ready", "idle", "failed", "draining"]

ECHO = "echo"
"""The repository name of the built-in echo model, which has no repository."""


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """A wanted deployment.

    `branch` is followed: its new commits are rolled out. None pins `revision`. `options` may choose the engine
    (`{"engine": "onnx"}`) and change fields of its plan (`{"precision": "int8", "slots": 4}`).
    """

    name: str
    project: str
    repository: str
    revision: str
    created: datetime
    branch: str | None = None
    replicas: int = 1
    is_pinned: bool = False
    is_private: bool = False
    is_automatic: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, int | None] = field(default_factory=dict)

    def ceilings(self) -> Limits:
        """The deployment's own limits."""
        return Limits(**self.limits)


class ReplicaView(msgspec.Struct, frozen=True):
    """One worker as people see it."""

    pid: int
    revision: str
    outstanding: int
    resident_bytes: int


class DeploymentView(msgspec.Struct, frozen=True):
    """A deployment as people see it: what is wanted, the state with its reason, how far loading is."""

    name: str
    project: str
    repository: str
    revision: str
    branch: str | None
    state: State
    reason: str
    progress: float
    engine: str | None
    tasks: tuple[str, ...]
    plan: Plan | None
    replicas_wanted: int
    replicas: tuple[ReplicaView, ...]
    memory_bytes: int
    waiting: int
    is_pinned: bool
    is_automatic: bool
    created: datetime
    last_used: datetime | None
    restarts: int


class Served(msgspec.Struct, frozen=True):
    """A model that answers: its deployment's name and what stands behind it at the moment."""

    name: str
    repository: str
    revision: str
    tasks: tuple[str, ...]
    pipeline_tag: str | None
    state: State
    created: int
    owner: str
