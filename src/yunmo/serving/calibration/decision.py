"""Which plan a calibration speaks for: the fastest for the aim among those that are faithful enough. No clock, no chance."""

from collections.abc import Collection

from yunmo.core.drift import Drift
from yunmo.core.engine import Plan
from yunmo.serving.calibration.report import Aim, Calibration, Trial

_TIE = 0.05
"""Plans this close in pace are equally fast: machines are noisier than that, and fidelity and memory are not."""


def decide(calibration: Calibration, aim: Aim, among: Collection[Plan] | None = None) -> Trial | None:
    """The trial to serve with, of these plans or of all; None if none of them could be measured.

    Among the plans within 5 % of the fastest, the most faithful wins, then the smallest, then the one that was offered first.
    """
    fit = [
        trial
        for trial in calibration.trials
        if trial.verdict == "fit" and trial.pace is not None and (among is None or trial.plan in among)
    ]
    if not fit:
        return None
    fastest = max(_speed(trial, aim) for trial in fit)
    near = [trial for trial in fit if _speed(trial, aim) >= fastest * (1 - _TIE)]
    return min(near, key=lambda trial: (_error(trial.drift), trial.memory_bytes))


def trial_of(calibration: Calibration, plan: Plan) -> Trial | None:
    """The trial of this very plan."""
    return next((trial for trial in calibration.trials if trial.plan == plan), None)


def _speed(trial: Trial, aim: Aim) -> float:
    assert trial.pace is not None
    return trial.pace.per_second if aim == "throughput" else 1000 / max(trial.pace.p50_ms, 1e-6)


def _error(drift: Drift | None) -> float:
    return 0.0 if drift is None else round(drift.error, 3)
