"""Hiding: what a model must not see or change stands behind tags of ours, and is written out again in the translation."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from yunmo.apps.translate.protection import protect
from yunmo.apps.translate.segments import Segment, Tag, segment
from yunmo.apps.translate.spacing import UNSPACED
from yunmo.apps.translate.terms import Found, TermFinder

_IS_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Hidden:
    """A segment with tags of ours, and the words that stand in their place in the translation, by their ids."""

    segment: Segment
    words: Mapping[int, str]


def hide(original: Segment, kept: Collection[str], terms: TermFinder | None = None) -> Hidden:
    """The segment with its placeholders, addresses and kept words behind tags, and its terms, in whose place their translations will stand."""
    protected = protect(original, kept)
    own = {tag.id for tag in original.tags}
    words = {tag.id: tag.text for tag in protected.tags if tag.id not in own}
    if terms is None:
        return Hidden(protected, words)
    next_id = max((tag.id for tag in protected.tags), default=0) + 1
    parts: list[str | Tag] = []
    for part in protected.parts:
        if isinstance(part, Tag):
            parts.append(part)
            continue
        position = 0
        for found in terms.find(part):
            parts += [part[position : found.start], Tag(next_id, "alone", part[found.start : found.end])]
            words[next_id] = _capitalized(found, part)
            position, next_id = found.end, next_id + 1
        parts.append(part[position:])
    return Hidden(segment(parts), words)


def shown(translated: Segment, words: Mapping[int, str]) -> Segment:
    """The translation with the words for their tags, apart from the words around them where the script writes words apart."""
    parts: list[str | Tag] = []
    for part in translated.parts:
        text = words.get(part.id, part) if isinstance(part, Tag) else part
        if isinstance(text, str) and parts and isinstance(parts[-1], str) and _would_merge(parts[-1], text):
            text = " " + text
        parts.append(text)
    return segment(parts)


def _would_merge(before: str, after: str) -> bool:
    """Whether two words of letters or digits would become one."""
    return bool(before) and bool(after) and all(one.isalnum() and not _IS_UNSPACED.match(one) for one in (before[-1], after[0]))


def _capitalized(found: Found, text: str) -> str:
    """The term's translation, with a capital where the text has one that the term has not, as at the beginning of a sentence."""
    is_raised = text[found.start].isupper() and found.term[:1].islower()
    return found.translation[:1].upper() + found.translation[1:] if is_raised else found.translation
