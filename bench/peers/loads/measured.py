"""What a load found in one round, and how rounds become figures."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

Figures = dict[str, float | list[float]]
"""Numbers by name; a list holds single observations, of which quantiles are told over all rounds."""

Measured = dict[str, dict[str, Figures]]
"""By cell (“classify, 8 clients”) and side."""

_DIGITS = 4


def figures(rounds: Sequence[Measured]) -> dict[str, dict[str, dict[str, float]]]:
    """The median over the rounds of each number, and the 50th and 95th percentile of what was observed singly."""
    cells = dict.fromkeys(cell for measured in rounds for cell in measured)
    return {cell: _cell([measured[cell] for measured in rounds if cell in measured]) for cell in cells}


def _cell(rounds: Sequence[Mapping[str, Figures]]) -> dict[str, dict[str, float]]:
    return {side: _side([each[side] for each in rounds if side in each]) for side in rounds[0]}


def _side(rounds: Sequence[Figures]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in rounds[0]:
        values = [each[name] for each in rounds]
        if isinstance(values[0], list):
            pooled = [observed for each in values for observed in each] or [float("nan")]
            found |= {f"{name}_p{percent}": _short(float(np.percentile(pooled, percent))) for percent in (50, 95)}
        else:
            found[name] = _short(statistics.median(values))
    return found


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
