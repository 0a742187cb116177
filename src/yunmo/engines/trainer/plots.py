"""Pictures of how a model was learnt, for its card."""

import json
from typing import Any

from yunmo.core.training import HISTORY_FILE
from yunmo.engines.trainer.workspace import Workspace

_FOLDER = "plots"
_SMOOTHED = 0.9


def draw(workspace: Workspace) -> tuple[str, ...]:
    """Draw the loss, and each of the task's metrics together, into the result. Paths inside of it."""
    history = [json.loads(line) for line in (workspace.root / HISTORY_FILE).read_text().splitlines()]
    steps = [entry for entry in history if "loss" in entry]
    evaluations = [entry for entry in history if "evaluation" in entry]
    (workspace.result / _FOLDER).mkdir(parents=True, exist_ok=True)
    drawn = [_loss(workspace, steps, evaluations)]
    names = sorted({name for entry in evaluations for name in entry["evaluation"]} - {"loss", "perplexity"})
    if names:
        drawn.append(_metrics(workspace, evaluations, names))
    return tuple(drawn)


def _loss(workspace: Workspace, steps: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> str:
    figure, axes = _figure("step", "loss (cross-entropy)")
    numbers = [entry["step"] for entry in steps]
    axes.plot(numbers, [entry["loss"] for entry in steps], color="#9ecae1", linewidth=0.8, label="of a step")
    axes.plot(numbers, _smooth([entry["loss"] for entry in steps]), color="#08519c", label="of steps, smoothed")
    judged = [entry for entry in evaluations if "loss" in entry["evaluation"]]
    if judged:
        axes.plot(
            [entry["step"] for entry in judged],
            [entry["evaluation"]["loss"] for entry in judged],
            "o-",
            color="#d94801",
            label="validation",
        )
    axes.legend()
    return _saved(workspace, figure, "loss.png")


def _metrics(workspace: Workspace, evaluations: list[dict[str, Any]], names: list[str]) -> str:
    figure, axes = _figure("step", "validation")
    for name in names:
        found = [entry for entry in evaluations if name in entry["evaluation"]]
        axes.plot([entry["step"] for entry in found], [entry["evaluation"][name] for entry in found], "o-", label=name.replace("_", " "))
    axes.legend()
    return _saved(workspace, figure, "metrics.png")


def _smooth(values: list[float]) -> list[float]:
    smoothed: list[float] = []
    for value in values:
        smoothed.append(value if not smoothed else _SMOOTHED * smoothed[-1] + (1 - _SMOOTHED) * value)
    return smoothed


def _figure(x: str, y: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes


def _saved(workspace: Workspace, figure: Any, name: str) -> str:
    path = f"{_FOLDER}/{name}"
    figure.savefig(workspace.result / path, dpi=120, metadata={"Software": None})
    return path
