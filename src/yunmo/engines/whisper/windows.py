"""Where a long recording is cut so that its pieces can be heard together: in pauses, and without leaving anything out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

LONGEST_SECONDS = 30.0
"""What Whisper hears at once."""

_SEARCHED_SECONDS = 10.0
_BEFORE_SPEECH_SECONDS = 0.2

Span = tuple[float, float]
"""Beginning and end, in seconds."""


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a recording, from `start` to `end` in seconds, and the stretches of it that are spoken."""

    start: float
    end: float
    speech: tuple[Span, ...]

    def seconds_spoken_after(self, time: float) -> float:
        """How much speech there is from this time on."""
        return sum(max(0.0, end - max(begin, time)) for begin, end in self.speech)


def windows(duration: float, speech: Sequence[Span]) -> Iterator[Window]:
    """The whole recording of `duration` seconds in order, in pieces of at most 30 s that end where nobody speaks, as far as that can be."""
    start = 0.0
    while start < duration:
        end = _end(start, duration, speech)
        yield Window(start, end, tuple(_within(start, end, speech)))
        start = end


def _end(start: float, duration: float, speech: Sequence[Span]) -> float:
    """Where a window ends: in the longest pause of its last third, else in the latest one, else as far as it reaches.

    Longest, because a sentence's first words are often lost when the pause after them parts them from the rest.
    """
    limit = start + LONGEST_SECONDS
    if limit >= duration:
        return duration
    pauses = [(before[1], after[0]) for before, after in pairwise([(0.0, 0.0), *speech, (duration, duration)])]
    quiet = [(_moment(begin, end, limit), end - begin) for begin, end in pauses if begin <= limit]
    late = [each for each in quiet if each[0] >= limit - _SEARCHED_SECONDS]
    if late:
        return max(late, key=lambda each: (each[1], each[0]))[0]
    return max((moment for moment, _ in quiet if moment > start), default=limit)


def _moment(begin: float, end: float, limit: float) -> float:
    """The best moment of a pause: late, but not so late that the next word loses its beginning."""
    return min(limit, end - min(_BEFORE_SPEECH_SECONDS, (end - begin) / 2))


def _within(start: float, end: float, speech: Iterable[Span]) -> Iterator[Span]:
    for begin, finish in speech:
        if begin < end and finish > start:
            yield max(begin, start), min(finish, end)
