"""Carrying: segments through a model with everything in them that must arrive, mended where it did not."""

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
        try:
            said = await _asked(interpreter, [hidden[index].segment for index in left], style)
        except (RateLimited, Overloaded):
            if any(each is None for each in found):
                raise
            break  # a translation with its issues told is better than none
        for index, answer in zip(left, said, strict=True):
            if answer is None:
                continue
            new = _judged(answer, segments[index], hidden[index], check)
            best = found[index]
            if best is None or len(new.issues) < len(best.issues):
                found[index] = new
            hidden[index] = hide(segments[index], [issue.what for issue in new.issues if issue.kind in _HIDDEN_WHEN_LOST])
    return [each or Carried(source, (_untranslated(source),)) for each, source in zip(found, segments, strict=True)]


async def _asked(interpreter: Interpreter, segments: Sequence[Segment], style: Style | None) -> list[tuple[Segment, bool] | None]:
    """Each segment's translation and whether it is whole; None where the markers did not come back. Without a style it goes piece by piece."""
    if style is None:
        return await _asked_by_pieces(interpreter, segments)
    said = await interpreter.translate([mark(each, style) for each in segments])
    unmarked = [unmark(answer.text, each, style) for answer, each in zip(said, segments, strict=True)]
    return [None if each is None else (each, answer.is_whole) for each, answer in zip(unmarked, said, strict=True)]


async def _asked_by_pieces(interpreter: Interpreter, segments: Sequence[Segment]) -> list[tuple[Segment, bool] | None]:
    said = iter(await interpreter.translate([piece for each in segments for piece in pieces(each)]))
    answers: list[list[Said]] = [[next(said) for _ in pieces(each)] for each in segments]
    return [
        (assemble(each, [one.text for one in given]), all(one.is_whole for one in given))
        for each, given in zip(segments, answers, strict=True)
    ]


def _judged(answer: tuple[Segment, bool], original: Segment, hidden: Hidden, check: Check) -> Carried:
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
