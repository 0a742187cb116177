"""Carrying: segments through a model with everything in them that must arrive, mended where it did not."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yunmo.apps.translate.hiding import Hidden, hide, shown
from yunmo.apps.translate.interpreter import Interpreter, Said
from yunmo.apps.translate.marking import Style, assemble, mark, pieces, unmark
from yunmo.apps.translate.orders import Issue
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import Overloaded, RateLimited

Check = Callable[[Segment, Segment], Sequence[Issue]]
"""What a translation lacks that its source has."""

_SHOWN_CHARACTERS = 40
_HIDDEN_WHEN_LOST = frozenset({"number", "url", "placeholder"})


@dataclass(frozen=True, slots=True)
class Carried:
    """A translated segment, with what is still wrong with it."""

    segment: Segment
    issues: tuple[Issue, ...] = ()


async def carry(segments: Sequence[Segment], interpreter: Interpreter, check: Check) -> list[Carried]:
    """The segments' translations, each with its own tags.

    What comes back with a marker lost, or without a number or address, is asked again: marked in another style and with what was lost hidden
    behind a marker; at last piece by piece between the tags, which cannot lose any. Of all that came the translation with the fewest issues is taken.
    Where a limit leaves no room for asking again, what came stays as it is. Raises the model's errors.
    """
    found: list[Carried | None] = [None] * len(segments)
    hidden = [Hidden(each, {}) for each in segments]
    for style in (*interpreter.styles, None):
        left = [index for index, each in enumerate(found) if each is None or _may_be_mended(each, hidden[index])]
        if not left:
            break
        asked = [(segments[index], hidden[index]) for index in left]
        try:
            answers = await _asked(interpreter, asked, style)
        except (RateLimited, Overloaded):
            if any(each is None for each in found):
                raise
            break  # a translation with its issues told is better than none
        judged = await asyncio.to_thread(_judged, asked, answers, check)
        for index, new in zip(left, judged, strict=True):
            if new is None:
                continue
            best = found[index]
            if best is None or len(new.issues) < len(best.issues):
                found[index] = new
            lost = [issue.what for issue in new.issues if issue.kind in _HIDDEN_WHEN_LOST]
            hidden[index] = hide(segments[index], lost) if lost else hidden[index]
    return [each or Carried(source, (_untranslated(source),)) for each, source in zip(found, segments, strict=True)]


_Asked = Sequence[tuple[Segment, Hidden]]
"""Segments, and as they are shown to the model."""

_Answer = tuple[Segment, bool]
"""What came of one, with the tags that were shown, and whether it is whole."""


async def _asked(interpreter: Interpreter, asked: _Asked, style: Style | None) -> list[_Answer | None]:
    """The answers; None where the markers did not come back. Without a style a segment goes piece by piece. Texts are worked on in a thread."""
    segments = [hidden.segment for _, hidden in asked]
    texts = await asyncio.to_thread(_texts, segments, style)
    said = iter(await interpreter.translate([text for each in texts for text in each]))
    return await asyncio.to_thread(_answers, segments, [[next(said) for _ in each] for each in texts], style)


def _texts(segments: Sequence[Segment], style: Style | None) -> list[Sequence[str]]:
    return [pieces(each) if style is None else (mark(each, style),) for each in segments]


def _answers(segments: Sequence[Segment], said: Sequence[Sequence[Said]], style: Style | None) -> list[_Answer | None]:
    answers: list[_Answer | None] = []
    for each, given in zip(segments, said, strict=True):
        texts = [one.text for one in given]
        translated = assemble(each, texts) if style is None else unmark(texts[0], each, style)
        answers.append(None if translated is None else (translated, all(one.is_whole for one in given)))
    return answers


def _judged(asked: _Asked, answers: Sequence[_Answer | None], check: Check) -> list[Carried | None]:
    return [answer and _as_written(answer, original, hidden, check) for (original, hidden), answer in zip(asked, answers, strict=True)]


def _as_written(answer: _Answer, original: Segment, hidden: Hidden, check: Check) -> Carried:
    translated, is_whole = answer
    written = shown(translated, hidden.words)
    issues = list(check(original, written)) if written.text.strip() else [_untranslated(original)]
    if not is_whole:
        issues.append(Issue("truncated", original.text[-_SHOWN_CHARACTERS:]))
    return Carried(written, tuple(issues))


def _untranslated(original: Segment) -> Issue:
    return Issue("untranslated", original.text[:_SHOWN_CHARACTERS])


def _may_be_mended(carried: Carried, hidden: Hidden) -> bool:
    """Whether asking again may help: something is wrong, and there are tags to mark otherwise or to go between."""
    return bool(carried.issues) and bool(hidden.segment.tags)
