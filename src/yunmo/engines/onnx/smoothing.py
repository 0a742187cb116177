"""How strongly to smooth the inputs of each product before eight-bit rounding: what leaves the least error in its own output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yunmo.engines.onnx.network import Floats
from yunmo.engines.onnx.products import Choice, Form, Site, quantized_weight

_STRENGTHS = (None, 0.35, 0.5, 0.65, 0.8)
_PASSAGES = 4
_CHANNELS = 128
_SMALLEST = 1e-5

Activations = Mapping[str, Sequence[Floats]]
"""The rows that each tensor had, text by text."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A form of a site with its best smoothing, and the relative error of the site's own outputs then."""

    choice: Choice
    error: float


def fit(site: Site, forms: Sequence[Form], activations: Activations, weights: Mapping[str, Floats]) -> dict[Form, Fitted]:
    """The strength of smoothing (0.5 shares the range evenly between activations and weights) that suits this site, form by form."""
    largest = np.max([np.abs(rows).reshape(-1, rows.shape[-1]).max(axis=0) for name in site.inputs for rows in activations[name]], axis=0)
    heaviest = np.max([np.abs(weights[name]).max(axis=1) for name in site.weights], axis=0)
    some = [weights[name][:, :: max(1, weights[name].shape[1] // _CHANNELS)] for name in site.weights]
    texts = [rows.reshape(-1, rows.shape[-1]) for name in site.inputs for rows in activations[name][:_PASSAGES]]
    tried: dict[Form, list[Fitted]] = {form: [] for form in forms}
    for strength in _STRENGTHS:
        smoothing = None if strength is None else _smoothing(largest, heaviest, strength)
        rounded = [values * scales for values, scales in (quantized_weight(weight, smoothing) for weight in some)]
        for form in forms:
            tried[form].append(Fitted(Choice(form, smoothing), _error(form, smoothing, texts, list(zip(some, rounded, strict=True)))))
    return {form: min(found, key=lambda each: each.error) for form, found in tried.items()}


def _smoothing(largest: Floats, heaviest: Floats, strength: float) -> Floats:
    """Around 1 on the (geometric) average, so that numbers stay of their size."""
    raw = np.log(np.maximum(largest, _SMALLEST)) * strength - np.log(np.maximum(heaviest, _SMALLEST)) * (1 - strength)
    smoothing: Floats = np.exp(raw - raw.mean()).astype(np.float32)
    return smoothing


def _error(form: Form, smoothing: Floats | None, texts: Sequence[Floats], weights: Sequence[tuple[Floats, Floats]]) -> float:
    given = np.concatenate(texts)
    found = np.concatenate([_rounded(rows if smoothing is None else rows / smoothing, form) for rows in texts])
    wrong = right = 0.0
    for weight, rounded in weights:
        expected = given @ weight
        wrong += float(np.square(found @ rounded - expected).sum())
        right += float(np.square(expected).sum())
    return float(np.sqrt(wrong / max(right, 1e-30)))


def _rounded(rows: Floats, form: Form) -> Floats:
    if form == "weights":
        return rows
    if form == "tensor":
        steps = np.maximum(rows.max(initial=0) - rows.min(initial=0), np.float32(1e-7)) / 255
    else:
        steps = np.maximum(np.abs(rows).max(axis=-1, keepdims=True), np.float32(1e-7)) / 127
    rounded: Floats = (np.rint(rows / steps) * steps).astype(np.float32)
    return rounded
