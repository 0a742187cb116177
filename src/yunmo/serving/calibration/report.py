"""What a calibration found: every plan that was tried, how fast it was, how far its answers were from the reference's."""

from datetime import datetime
from typing import Literal

import msgspec

from yunmo.core.drift import Drift
from yunmo.core.engine import Plan

Aim = Literal["throughput", "latency"]
AIMS: tuple[Aim, ...] = ("throughput", "latency")

Verdict = Literal["fit", "drifted", "failed", "untried"]


class Pace(msgspec.Struct, frozen=True):
    """How fast a plan is: `per_second` with all its slots in use (texts, pictures, seconds of audio, or tokens written), `p50_ms` of one request alone."""

    per_second: float
    p50_ms: float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One plan that was tried, or why it was not. The first of a calibration is the reference.

    Memory in bytes: what is claimed, what the engine foretold, what was resident after loading, and after all its work here
    (0 where no work was measured).
    """

    plan: Plan
    verdict: Verdict
    reason: str = ""
    memory_bytes: int = 0
    predicted_bytes: int = 0
    resident_bytes: int = 0
    working_bytes: int = 0
    load_seconds: float = 0.0
    pace: Pace | None = None
    drift: Drift | None = None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """All trials of one revision on one kind of machine. `unit` is what `per_second` counts."""

    repository: str
    revision: str
    task: str
    unit: str
    trials: tuple[Trial, ...]
    fingerprint: str
    at: datetime
    took_seconds: float
    is_complete: bool = True


class CalibrationView(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's calibration as people see it: whether one is at work, what it found, what serves because of it."""

    name: str
    state: Literal["none", "running", "done", "failed"]
    step: str
    progress: float
    aim: Aim
    chosen: Plan | None
    calibration: Calibration | None
