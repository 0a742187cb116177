"""Which products of a graph to compute in eight bits, so that its own outputs stay within a budget at the least cost.

Every site is turned on alone in one session that has all forms of all sites, and the graph's outputs are compared with those of
fp32. Errors of different sites add up as squares, near enough to choose by; the choice is then tried as a whole, and made more
careful until it is within the budget. The work is bounded by a count of multiplications, not by a clock, so that the same graph
always gets the same choice.
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yunmo.engines.onnx.graphs import read_graph, write_graph
from yunmo.engines.onnx.network import Floats, Network, OnnxNetwork, Passage
from yunmo.engines.onnx.products import Choice, Form, Site, find_sites, switch, with_switches
from yunmo.engines.onnx.smoothing import Activations, Fitted, fit

ERROR_BUDGET = 0.025
"""The relative error of outputs to stay within: a trained head of two classes kept 99.5 % of its labels up to 0.027."""

_FORMS: tuple[Form, ...] = ("tensor", "row")
# of a product, in units of the fastest form's (measured at 37 rows on AVX-512 VNNI)
_COSTS: Mapping[Form, float] = {"tensor": 1.0, "row": 1.5, "full": 3.0}
_PASSAGES_EACH = 10
_MOST_MULTIPLICATIONS = 2e11
_FEWEST_MEASURED = 4
_ATTEMPTS = 6

Forms = dict[str, Form]


@dataclass(frozen=True, slots=True)
class Trials:
    """What choices are tried on. Outputs are compared without their mean where only differences count, as before a softmax."""

    graph: Path
    passages: Sequence[Passage]
    outputs: tuple[str, ...]
    is_centred: bool

    def answers(self, network: Network, count: int | None = None, switches: Mapping[str, float] | None = None) -> Floats:
        """All outputs for the first passages, as one row of numbers."""
        found = []
        for passage in self.passages[:count]:
            more: dict[str, Any] = {} if switches is None else {"switches": switches}
            for values in network.forward(passage.ids, passage.types, *self.outputs, **more):
                centred = values - values.mean(axis=-1, keepdims=True) if self.is_centred and values.shape[-1] > 1 else values
                found.append(centred.ravel())
        return np.concatenate(found)


def relative_error(expected: Floats, found: Floats) -> float:
    """The L2 norm of the difference, in units of the expected numbers'."""
    return float(np.linalg.norm(expected - found) / max(float(np.linalg.norm(expected)), 1e-30))


def choose(trials: Trials, threads: int) -> dict[str, Choice]:
    """The cheapest choice by site name whose outputs are within the budget, or the most careful one that was tried."""
    fitted = fit_sites(trials, _FORMS, threads)
    sites = find_sites(read_graph(trials.graph))
    both = {site.name: [fitted[site.name][form].choice for form in _FORMS] for site in sites}
    with tempfile.TemporaryDirectory(dir=trials.graph.parent) as folder:
        graph = Path(folder) / "switched.onnx"
        write_graph(with_switches(read_graph(trials.graph), both), graph)
        forms = _forms(trials, OnnxNetwork(graph, threads), sites, fitted)
    return {name: Choice("full") if form == "full" else fitted[name][form].choice for name, form in forms.items()}


def fit_sites(trials: Trials, forms: Sequence[Form], threads: int) -> dict[str, dict[Form, Fitted]]:
    """Every site in every one of these forms, smoothed as suits it, by site name."""
    import onnx

    model = read_graph(trials.graph)
    sites = find_sites(model)
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    activations = _observed(trials, model, sites, threads)
    return {site.name: fit(site, forms, activations, weights) for site in sites}


def _observed(trials: Trials, model: Any, sites: Sequence[Site], threads: int) -> Activations:
    import onnx

    names = tuple(dict.fromkeys(name for site in sites for name in site.inputs))
    known = {each.name for each in model.graph.output}
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in known)
    with tempfile.TemporaryDirectory(dir=trials.graph.parent) as folder:
        graph = Path(folder) / "observed.onnx"
        write_graph(model, graph)
        network = OnnxNetwork(graph, threads)
        runs = [network.forward(passage.ids, passage.types, *names) for passage in trials.passages]
    return {name: [run[place] for run in runs] for place, name in enumerate(names)}


def _forms(trials: Trials, network: OnnxNetwork, sites: Sequence[Site], fitted: Mapping[str, Mapping[Form, Fitted]]) -> Forms:
    weights = _multiplications(trials.graph, sites)
    errors = _errors(trials, network, sites, fitted, sum(weights.values()))
    expected = trials.answers(network, switches={})
    aim = ERROR_BUDGET
    forms: Forms = {}
    for _ in range(_ATTEMPTS):
        forms = _cheapest(sites, weights, errors, aim)
        used = {switch(site, forms[site.name]): 1.0 for site in sites if forms[site.name] != "full"}
        found = relative_error(expected, trials.answers(network, switches=used))
        if found <= ERROR_BUDGET:
            break
        aim *= min(0.9, ERROR_BUDGET / found)
    return forms


def _multiplications(graph: Path, sites: Sequence[Site]) -> dict[str, int]:
    """Per token, by site name."""
    model = read_graph(graph)
    sizes = {each.name: int(np.prod(each.dims)) for each in model.graph.initializer}
    weight_of = {node.name: node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    return {site.name: sum(sizes[weight_of[product]] for product in site.products) for site in sites}


def _errors(
    trials: Trials, network: OnnxNetwork, sites: Sequence[Site], fitted: Mapping[str, Mapping[Form, Fitted]], multiplications: int
) -> dict[tuple[str, Form], float]:
    """The outputs' error with one site in one form, which is the site's own error times how much the outputs feel it.

    Where there are too many sites to measure how much, those with the least errors of their own count as usual.
    """
    expected = trials.answers(network, _PASSAGES_EACH, {})
    tokens = sum(len(passage.ids) for passage in trials.passages[:_PASSAGES_EACH])
    affordable = int(_MOST_MULTIPLICATIONS / max(multiplications * tokens * (1 + len(_FORMS)), 1))
    order = sorted(sites, key=lambda site: -fitted[site.name]["tensor"].error)
    measured = order[: max(_FEWEST_MEASURED, affordable)]
    felt = {}
    for site in measured:
        found = trials.answers(network, _PASSAGES_EACH, {switch(site, "tensor"): 1.0})
        felt[site.name] = relative_error(expected, found) / max(fitted[site.name]["tensor"].error, 1e-9)
    usual = statistics.median(felt.values()) if felt else 0.0
    return {(site.name, form): felt.get(site.name, usual) * fitted[site.name][form].error for site in sites for form in _FORMS}


def _cheapest(sites: Sequence[Site], weights: Mapping[str, int], errors: Mapping[tuple[str, Form], float], aim: float) -> Forms:
    """Begin with the fastest form everywhere, then make careful what takes most error away for its cost."""
    forms: Forms = {site.name: "tensor" for site in sites}
    squares = {name: errors[name, "tensor"] ** 2 for name in forms}
    while sum(squares.values()) > aim**2:
        steps = [
            ((squares[name] - square) / (weights[name] * (_COSTS[form] - _COSTS[now])), name, form, square)
            for name, now in forms.items()
            for form, square in _careful(name, errors)
            if _COSTS[form] > _COSTS[now] and square < squares[name]
        ]
        if not steps:
            break
        _, name, form, square = max(steps)
        forms[name], squares[name] = form, square
    return forms


def _careful(name: str, errors: Mapping[tuple[str, Form], float]) -> tuple[tuple[Form, float], ...]:
    return ("row", errors[name, "row"] ** 2), ("full", 0.0)
