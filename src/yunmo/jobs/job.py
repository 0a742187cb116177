"""A job: durable work that outlives the request that asked for it, and the process that does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from yunmo.core.identity import Principal, Scope

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""Where a job is. One that waits for its owner (`wanted` is "pause") is queued, too, but nobody claims it."""

Wanted = Literal["run", "pause", "cancel"]
"""What the job's owner wants of it; who works on it learns of it within a second or two."""

Level = Literal["info", "warning", "error"]

STATES: tuple[State, ...] = get_args(State)
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed, waits or is tried again: an error of `core.errors` by its code."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: `done` of `total` units (None: nobody knows how many), and when it will have ended at this pace."""

    done: float
    total: float | None = None
    unit: str = ""
    eta: datetime | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it was read. `attempt` counts claims; `failures` those that ended without getting any further.

    `fence` grows with every claim: what a worker writes counts only while it is still its own. `is_admin` says that who ordered it
    may do everything.
    """

    id: str
    project: str
    key_id: str
    is_admin: bool
    kind: str
    state: State
    wanted: Wanted
    priority: int
    input: Mapping[str, Any]
    checkpoint: Mapping[str, Any] | None
    progress: Progress | None
    result: Mapping[str, Any] | None
    error: Failure | None
    attempt: int
    failures: int
    fence: int
    created_at: datetime
    wake_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    def principal(self, *scopes: Scope) -> Principal:
        """Who the job acts for: its project with these scopes, or whoever may do everything if it was ordered by one who may."""
        return Principal(self.project, self.key_id, frozenset({"admin"} if self.is_admin else scopes))

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def is_paused(self) -> bool:
        return self.state == "queued" and self.wanted == "pause"


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job. `type` is "message" or what the kind names ("metrics"); `data` is the kind's own."""

    id: int
    at: datetime
    level: Level
    type: str
    message: str
    data: Mapping[str, Any]
