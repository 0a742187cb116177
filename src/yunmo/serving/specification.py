"""What a deployment is to be, and what it is at the moment."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from yunmo.core.engine import Plan
from yunmo.core.identity import Limits

State = Literal["pending", "preparing", "loading", "ready", "idle", "failed", "draining"]

_PATH = re.compile(r"(?<![\w/:.)\]])/[^\s/'\"`()]+/[^\s'\"`()]+")
"""An absolute path of two parts at least. A repository's name and an address have something before their first slash."""

ECHO = "echo"
"""The repository name of the built-in echo model, which has no repository."""


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """A wanted deployment.

    `branch` is followed: its new commits are rolled out. None pins `revision`. `options` may choose the engine
    (`{"engine": "onnx"}`) and change fields of its plan (`{"precision": "int8", "slots": 4}`). `is_private` and `is_gated` are
    the repository's, looked up again and again.
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
    is_gated: bool = False
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


class DeploymentView(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as people see it: what answers under the name, and whether it does.

    How it is run and what it costs (the optional fields) is for its project and the operator. `predicted_bytes` is the memory
    that all wanted replicas hold at ordinary work, known before they are loaded; `memory_bytes` is claimed for those that are.
    `stand_in` is what answers the requests that need what its plan lacks, once there was one; what that one costs is not counted in the fields here.
    """

    name: str
    repository: str
    revision: str
    state: State
    reason: str
    progress: float
    engine: str | None
    tasks: tuple[str, ...]
    project: str | UnsetType = UNSET
    branch: str | UnsetType | None = UNSET
    plan: Plan | UnsetType | None = UNSET
    replicas_wanted: int | UnsetType = UNSET
    replicas: tuple[ReplicaView, ...] | UnsetType = UNSET
    predicted_bytes: int | UnsetType = UNSET
    memory_bytes: int | UnsetType = UNSET
    waiting: int | UnsetType = UNSET
    is_pinned: bool | UnsetType = UNSET
    is_automatic: bool | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    created: datetime | UnsetType = UNSET
    last_used: datetime | UnsetType | None = UNSET
    restarts: int | UnsetType = UNSET
    stand_in: "DeploymentView | UnsetType | None" = UNSET

    def whole(self) -> "tuple[DeploymentView, ...]":
        """This and its stand-in, if there is one."""
        return (self, self.stand_in) if isinstance(self.stand_in, DeploymentView) else (self,)

    def for_strangers(self) -> "DeploymentView":
        """What the keys of other projects may see that may call it."""
        return DeploymentView(
            name=self.name,
            repository=self.repository,
            revision=self.revision,
            state=self.state,
            reason=public_reason(self.reason),
            progress=self.progress,
            engine=self.engine,
            tasks=self.tasks,
        )


def public_reason(reason: str) -> str:
    """The reason's first line (the rest is of the log), without this machine's paths."""
    return _PATH.sub("(a file of the server)", reason.partition("\n")[0])


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
