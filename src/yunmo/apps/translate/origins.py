"""Origins: the language of each segment, as it was told or as it is found out."""

from collections.abc import Sequence
from dataclasses import dataclass

from yunmo.apps.translate.identification import Guess, identify
from yunmo.apps.translate.orders import Order

_SURE = 0.7
_AS_LIKELY = 0.3
"""This share of the likeliest one's confidence makes another language about as likely."""

_READ_CHARACTERS = 4000
UNKNOWN = "und"
"""The language of what has no letters that a language is known by."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A language (BCP 47), and how sure that is, 0 to 1."""

    language: str
    confidence: float


def origins_of(order: Order, sources: Sequence[str]) -> list[Origin]:
    """The language of each segment. Where the likeliest cannot be translated, one of `sources` is taken that is about as likely.

    A segment that is too short to be sure of is in the language of them all, if its letters may be that.
    """
    if order.source is not None:
        return [Origin(order.source, 1.0)] * len(order.segments)
    among = (*sources, order.target) if sources else ()
    texts = [each.text for each in order.segments]
    together = _likeliest("\n".join(texts)[:_READ_CHARACTERS], among) if len(texts) > 1 else None
    return [_origin(text, together, among) for text in texts]


def _origin(text: str, together: Guess | None, among: Sequence[str]) -> Origin:
    best = _likeliest(text, among)
    if best is None:
        return Origin(together.language if together else UNKNOWN, 0.0)
    if best.confidence < _SURE and together is not None:
        best = next((each for each in identify(text) if each.language == together.language), best)
    return Origin(best.language, best.confidence)


def _likeliest(text: str, among: Sequence[str]) -> Guess | None:
    guesses = identify(text)
    possible = identify(text, among) if among else ()
    if possible and possible[0].confidence >= _AS_LIKELY * guesses[0].confidence:
        return possible[0]
    return guesses[0] if guesses else None
