"""Joining: texts in parts that models can read, and the translated parts as one text again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from yunmo.apps.translate.segments import Segment, Tag, segment
from yunmo.apps.translate.spacing import UNSPACED
from yunmo.core.errors import ContextTooLong

# but for the brackets that markers are written with
_IS_UNSPACED = re.compile(f"(?![【】])[{UNSPACED}“”‘’…—]")
_PAUSE = re.compile(r"(?<=[,;:，；：、。！？])\s*|\s+")


@dataclass(frozen=True, slots=True)
class Part:
    """Words with the white space behind them."""

    words: str
    behind: str = ""

    @property
    def has_letters(self) -> bool:
        return any(character.isalpha() for character in self.words)


def halved(text: str) -> tuple[Part, Part]:
    """The text in two, at the pause that is nearest to its middle, or else at the middle. Raises ContextTooLong for what cannot be halved."""
    if len(text) < 2:
        raise ContextTooLong("The model cannot read a single character of this text. Choose another model.", param="text")
    middle = len(text) // 2
    pauses = [found for found in _PAUSE.finditer(text) if found.start() > 0 and found.end() < len(text)]
    if not pauses:
        return Part(text[:middle]), Part(text[middle:])
    nearest = min(pauses, key=lambda found: abs(found.start() - middle))
    return Part(text[: nearest.start()], behind=nearest[0]), Part(text[nearest.end() :])


def joined(parts: Sequence[Part]) -> str:
    """Translated parts as one text: with the white space of the source, but for single spaces, which the script of the target has or has not."""
    text = ""
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        gap = part.behind if following is None else fitting(part.words, part.behind, following.words)
        text += part.words + gap
    return text


def in_one(sentences: Sequence[Segment]) -> Segment:
    """A segment of its translated sentences, with the white space between them that the script has."""
    parts: list[str | Tag] = []
    for each in sentences:
        first = each.parts[0] if each.parts else ""
        if parts and isinstance(parts[-1], str) and isinstance(first, str) and first:
            before, after = parts[-1].rstrip(), first.lstrip()
            white = parts[-1][len(before) :] + first[: len(first) - len(after)]
            parts[-1:] = [before + fitting(before, white, after) + after]
            parts += each.parts[1:]
        else:
            parts += each.parts
    return segment(parts)


def fitting(before: str, white: str, after: str) -> str:
    """The white space between two pieces of text, as the source has it, or as the script of the target needs it where that is one space or none."""
    if not before or not after or white not in {"", " "}:
        return white
    return "" if _IS_UNSPACED.match(before[-1]) or _IS_UNSPACED.match(after[0]) else " "
