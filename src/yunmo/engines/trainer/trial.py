"""One real step before the training: what it takes, and which way of computing it is the fastest here."""

import dataclasses
import math
import statistics
from collections.abc import Iterator

import msgspec
import psutil

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import WHOLE_BATCHES, Precision, Recipe, TrainingEstimate, TrainingNote
from yunmo.engines.trainer.learner import Learner
from yunmo.engines.trainer.lengths import LengthGrouped
from yunmo.engines.trainer.loop import Tell, build, steps_of
from yunmo.engines.trainer.memory import is_shortage, smaller
from yunmo.engines.trainer.workspace import Workspace

_FASTER = 0.95
"""How much of fp32's time bf16 may take to be worth its rounding."""

_TYPICAL_STEPS = 3
_SLOW_SECONDS = 3.0
"""A step that takes longer is measured once: people wait for the check."""

_NEXT_TO_NOTHING = 1e-12


def estimate(learner: Learner, workspace: Workspace, recipe: Recipe, tell: Tell) -> TrainingEstimate:
    """Try the largest step, then typical ones, and complete the recipe. Raises InvalidRequest when even the smallest way takes too much memory."""
    fitting, longest = _fitting(learner, workspace, recipe, tell)
    complete, seconds = _fastest(learner, workspace, fitting, _TYPICAL_STEPS if longest < _SLOW_SECONDS else 1)
    steps = steps_of(len(learner.examples), complete)
    parameters = sum(each.numel() for each in learner.model.parameters())
    trained = sum(each.numel() for each in learner.model.parameters() if each.requires_grad)
    learner.model.eval()
    return TrainingEstimate(
        recipe=complete,
        rows=len(learner.examples),
        validation_rows=len(learner.validation),
        tokens=int(sum(learner.lengths)) * (complete.epochs or 1),
        steps=steps,
        step_seconds=round(seconds, 4),
        seconds=round(seconds * steps, 1),
        memory_bytes=_peak_bytes(),
        disk_bytes=_disk_bytes(parameters, trained),
        parameters=parameters,
        trained_parameters=trained,
        cut_rows=learner.cut,
        sample=learner.sample()[:2000],
    )


def _fitting(learner: Learner, workspace: Workspace, recipe: Recipe, tell: Tell) -> tuple[Recipe, float]:
    """The recipe whose largest step fits into the memory, and its seconds: in more parts, then with layers computed twice, where that is left to us."""
    last: Exception | None = None
    for tried in _ways(recipe):
        try:
            seconds = _step(learner, workspace, tried)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            last = error
            continue
        if (tried.accumulation or 1) > (recipe.accumulation or 1) or tried.recomputes:
            parts = f"in {tried.accumulation} parts" if (tried.accumulation or 1) > 1 else "whole"
            tell(
                TrainingNote(
                    f"A step is computed {parts}{', layers twice' if tried.recomputes else ''}: it would not fit into the memory else."
                )
            )
        return tried, seconds
    raise InvalidRequest(f"One step takes more memory than there is. {smaller(tried)}", param="batch_size") from last


def _ways(recipe: Recipe) -> Iterator[Recipe]:
    """From the fastest to the one that takes the least memory."""
    batch_size = recipe.batch_size or 1
    most = 1 if recipe.method in WHOLE_BATCHES else batch_size
    parts = [recipe.accumulation] if recipe.accumulation else [2**power for power in range(int(math.log2(most)) + 1)]
    recomputing = [recipe.recomputes] if recipe.recomputes is not None else [False, True]
    for recomputes in recomputing:
        for accumulation in parts:
            yield msgspec.structs.replace(recipe, accumulation=accumulation, recomputes=recomputes)


def _fastest(learner: Learner, workspace: Workspace, recipe: Recipe, typical: int) -> tuple[Recipe, float]:
    """The recipe with the precision that is faster here, if that is left to us, and the seconds of a typical step."""
    precisions: list[Precision] = [recipe.precision] if recipe.precision else ["fp32", "bf16"]  # in this order: bf16 stays in the model
    took: dict[Precision, float] = {}
    for precision in precisions:
        took[precision] = _step(learner, workspace, msgspec.structs.replace(recipe, precision=precision), typical=typical)
    best: Precision = precisions[0]
    if len(took) > 1:
        best = "bf16" if took["bf16"] < _FASTER * took["fp32"] else "fp32"
    return msgspec.structs.replace(recipe, precision=best), took[best]


def _step(learner: Learner, workspace: Workspace, recipe: Recipe, *, typical: int = 0) -> float:
    """Seconds of a step, over the longest rows or over so many times those that a training meets; what it learns is next to nothing."""
    size = min(len(learner.examples), recipe.batch_size or 1)
    if not typical:
        chosen = sorted(range(len(learner.examples)), key=lambda index: -learner.lengths[index])[:size]
    else:
        chosen = list(LengthGrouped(learner.lengths, size, recipe.seed, lambda: 0))[: size * typical]
    some = dataclasses.replace(
        learner, examples=[learner.examples[index] for index in chosen], lengths=[learner.lengths[index] for index in chosen], validation=()
    )
    steps = max(1, len(chosen) // size)
    trainer = build(some, workspace, msgspec.structs.replace(recipe, learning_rate=_NEXT_TO_NOTHING, max_steps=steps))
    trainer.train()
    return statistics.median(float(entry["seconds"]) for entry in trainer.state.log_history if "loss" in entry)


def _peak_bytes() -> int:
    """The most memory that this process has held until now."""
    import resource

    return max(psutil.Process().memory_info().rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _disk_bytes(parameters: int, trained: int) -> int:
    """Room for two checkpoints and one that is written (weights, two moments each), three models of epochs, and the result."""
    weights = 4 * parameters if trained == parameters else 4 * trained
    return 3 * (weights + 8 * trained) + 4 * weights
