"""Origins: the language of each segment, as it was told or as it is found out."""

from collections.abc import Sequence
from dataclasses import dataclass

from yunmo.apps.translate.identification import Guess, identify
from yunmo.apps.translate.orders import Order

_SURE = 0.7
_READ_CHARACTERS = 4000
UNKNOWN = "und"
"""The language of what has no letters that a language is known by."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A language (BCP 47), and how sure that is, 0 to 1."""

    language: str
    confidence: float


def origins_of(order: Order, sources: Sequence[str]) -> list[Origin]:
    """The language of each segment. Of languages that are about as likely, one of `sources` is taken, which can be translated.

    A segment that is too short to be sure of is in the language of them all, if its letters may be that.
    """
    if order.source is not None:
        return [Origin(order.source, 1.0)] * len(order.segments)
    texts = [each.text for each in order.segments]
    together = identify("\n".join(texts)[:_READ_CHARACTERS], sources) if len(texts) > 1 else ()
    return [_origin(text, together, sources) for text in texts]


def _origin(text: str, together: Sequence[Guess], sources: Sequence[str]) -> Origin:
    guesses = identify(text, sources) or identify(text)
    if not guesses:
        return Origin(together[0].language if together else UNKNOWN, 0.0)
    best = guesses[0]
    if best.confidence < _SURE and together:
        common = next((each for each in guesses if each.language == together[0].language), None)
        best = common or best
    return Origin(best.language, best.confidence)
