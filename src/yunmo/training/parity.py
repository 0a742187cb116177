"""How far the answers of a served model are from those that its trainer gave."""

from collections.abc import Sequence

from yunmo.core.tasks import Labels, Output
from yunmo.core.training import ParitySample
from yunmo.training.state import Certificate

_AGREEMENT = 0.98
_DRIFT = 0.05


def compare(samples: Sequence[ParitySample], outputs: Sequence[Output]) -> Certificate:
    """The certificate of these answers, sample by sample."""
    pairs = [(sample.output, output) for sample, output in zip(samples, outputs, strict=True)]
    labels = [(one, other) for one, other in pairs if isinstance(one, Labels) and isinstance(other, Labels)]
    if not labels:
        return Certificate(samples=0, agreement=0.0, drift=0.0, is_passed=False, problem="There is nothing to compare.")
    same, error = 0, 0.0
    for one, other in labels:
        same += one.rows[0][0].label == other.rows[0][0].label
        scores = {each.label: each.score for each in other.rows[0]}
        error = max(error, *(abs(each.score - scores.get(each.label, 0.0)) for each in one.rows[0]))
    agreement = same / len(labels)
    return Certificate(samples=len(labels), agreement=agreement, drift=error, is_passed=agreement >= _AGREEMENT and error <= _DRIFT)
