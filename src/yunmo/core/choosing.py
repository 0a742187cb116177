"""How the next token is to be chosen: a request's wishes, checked, with the model's own defaults filled in."""

from dataclasses import dataclass, field
from typing import Any

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Sampling

MAX_BEAMS = 16


@dataclass(frozen=True, slots=True)
class Choosing:
    """How tokens are chosen, with every default filled in. A temperature of 0 takes the likeliest."""

    temperature: float
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = field(default_factory=dict)
    seed: int | None = None


def choosing_of(sampling: Sampling, defaults: Any, vocabulary: int) -> Choosing:
    """The request's wishes, and the model's own generation config where it has none.

    Raises InvalidRequest for values out of range.
    """
    _check(sampling)
    samples = getattr(defaults, "do_sample", None) or any((sampling.top_p, sampling.top_k, sampling.min_p, sampling.typical_p))
    temperature = sampling.temperature
    if temperature is None:
        temperature = float(getattr(defaults, "temperature", None) or 1.0) if samples else 0.0

    def pick(name: str, neutral: float) -> float:
        wish = getattr(sampling, name)
        default = getattr(defaults, name, None)
        return float(wish if wish is not None else default if default is not None else neutral)

    return Choosing(
        temperature=temperature,
        top_p=pick("top_p", 1.0),
        top_k=int(pick("top_k", 0)),
        min_p=pick("min_p", 0.0),
        typical_p=pick("typical_p", 1.0),
        repetition_penalty=pick("repetition_penalty", 1.0),
        frequency_penalty=sampling.frequency_penalty or 0.0,
        presence_penalty=sampling.presence_penalty or 0.0,
        logit_bias=_bias(sampling.logit_bias or {}, vocabulary),
        seed=sampling.seed,
    )


def beams_of(sampling: Sampling, default: int | None) -> int:
    """How many beams to search with; sampling has one. Raises Unsupported where beams and a wish exclude each other."""
    wish = sampling.beams
    sampled = (sampling.temperature or 0.0) > 0 or any((sampling.top_p, sampling.top_k, sampling.min_p, sampling.typical_p))
    biased = sampling.frequency_penalty or sampling.presence_penalty or sampling.logit_bias
    if wish is not None:
        if not 1 <= wish <= MAX_BEAMS:
            raise InvalidRequest(f"beams is {wish}; it must be from 1 to {MAX_BEAMS}", param="num_beams")
        if wish > 1 and (sampled or biased):
            raise Unsupported("beam search takes the likeliest text: leave out temperature, top_p, penalties and biases", param="num_beams")
        return wish
    return 1 if sampled or biased else default or 1


def _bias(given: dict[str, float], vocabulary: int) -> dict[int, float]:
    bias = {}
    for name, value in given.items():
        if not name.isdecimal() or int(name) >= vocabulary:
            raise InvalidRequest(f"logit_bias names {name!r}, which is not a token id of the model's {vocabulary}", param="logit_bias")
        if not -100 <= value <= 100:
            raise InvalidRequest(f"logit_bias of {name} is {value}; it must be from -100 to 100", param="logit_bias")
        bias[int(name)] = value
    return bias


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("temperature", 0.0, 100.0),
    ("top_p", 1e-6, 1.0),
    ("top_k", 0, 1_000_000),
    ("min_p", 0.0, 1.0),
    ("typical_p", 1e-6, 1.0),
    ("frequency_penalty", -2.0, 2.0),
    ("presence_penalty", -2.0, 2.0),
    ("repetition_penalty", 1e-3, 100.0),
    ("max_tokens", 0, 10_000_000),
)


def _check(sampling: Sampling) -> None:
    for name, low, high in _RANGES:
        value = getattr(sampling, name)
        if value is not None and not low <= value <= high:
            raise InvalidRequest(f"{name} is {value}; it must be from {low:g} to {high:g}", param=name)
    if any(not stop for stop in sampling.stop):
        raise InvalidRequest("a stop sequence is empty", param="stop")
