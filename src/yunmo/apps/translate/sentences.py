"""Sentences: where a text may be cut for a model that translates one at a time; the cut pieces joined are the text."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise

from yunmo.apps.translate import languages
from yunmo.apps.translate.orders import SentenceSplitting
from yunmo.apps.translate.protection import protect
from yunmo.apps.translate.segments import Segment, Tag, segment


def sentences(text: str, language: str, splitting: SentenceSplitting = "all") -> tuple[str, ...]:
    """The sentences of a text, each with the white space behind it. A new line ends one where `splitting` is "all"; "off" leaves the text whole.

    Chinese and Japanese are cut by rules of our own, other languages by sentencex. Nothing is cut inside a placeholder or an address.
    """
    if splitting == "off" or not text:
        return (text,) if text else ()
    return tuple(text[start:end] for start, end in pairwise((0, *_boundaries(text, language, splitting), len(text))))


def split(original: Segment, language: str, splitting: SentenceSplitting = "all") -> tuple[Segment, ...]:
    """A segment's sentences; it is never cut inside a pair of tags. Their parts, one after the other, are the segment's."""
    if splitting == "off" or not original.text:
        return (original,) if original.parts else ()
    text = "".join(part if isinstance(part, str) else _OBJECT for part in original.parts)
    allowed = sorted(set(_boundaries(text, language, splitting)) - set(_within_pairs(original)))
    cut: list[list[str | Tag]] = [[]]
    position = 0
    for part in original.parts:
        length = len(part) if isinstance(part, str) else 1
        start = 0
        inside = allowed[bisect_right(allowed, position) : bisect_right(allowed, position + length)]
        for boundary in (one - position for one in inside):
            cut[-1].append(part[start:boundary] if isinstance(part, str) else part)
            cut.append([])
            start = boundary
        if isinstance(part, str):
            cut[-1].append(part[start:])
        elif start == 0:
            cut[-1].append(part)
        position += length
    return tuple(one for one in map(segment, cut) if one.parts)


# stands for a tag while boundaries are looked for (OBJECT REPLACEMENT CHARACTER)
_OBJECT = "\ufffc"
_RULED_HERE = {"zh", "ja", "yue"}
_QUOTED = "\"'”’」』）)】》〉］]"
_ENDS = re.compile(
    rf"[。！？｡]+[{re.escape(_QUOTED)}]*"
    rf"|[；](?![{re.escape(_QUOTED)}])"
    rf"|[!?]+[{re.escape(_QUOTED)}]*(?=\s|[\u2e80-\u9fff\uff00-\uffef]|\Z)"
    r"|(?<=[\u3040-\u9fff])\.(?=\s|[\u3040-\u9fff]|\Z)"
    rf"|…+(?:[{re.escape(_QUOTED)}]+|(?=\s))"
)
_SPACE = re.compile(r"\s*")
# who said it belongs to what was said: “你去吗？”他问。
_SAID = re.compile(r"[\u4e00-\u9fff]{0,6}[说问道喊叫答叹讲想説問喊嘆講]|と[\u3040-\u9fff]")
_BRACKETS = {"（": "）", "(": ")", "【": "】", "《": "》", "「": "」", "『": "』", "“": "”"}
_FARTHEST_BRACKET = 300


def _boundaries(text: str, language: str, splitting: SentenceSplitting) -> list[int]:
    """Where sentences end inside the text, in order; each is behind the white space that follows the sentence."""
    lines = text.splitlines(keepends=True) if splitting == "all" else [text]
    found: set[int] = set()
    start = 0
    for line in lines:
        found.update(start + one for one in _sentence_ends(line, language))
        start += len(line)
        found.add(start)
    first = _behind_space(text, 0)
    if splitting == "all":
        found = set(_moved_behind_space(text, sorted(found)))
    # white space alone is no sentence
    ends = sorted(end for end in found if first < end < len(text))
    return _outside(ends, list(_unbroken(text))) if ends else []


def _behind_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


def _moved_behind_space(text: str, ends: list[int]) -> Iterator[int]:
    moved = 0
    for end in ends:
        moved = max(moved, end if end < moved else _behind_space(text, end))
        yield moved


def _outside(ends: list[int], spans: list[tuple[int, int]]) -> list[int]:
    """Those ends that are in none of the spans; both are in order."""
    starts = [start for start, _ in spans]
    kept = []
    for end in ends:
        index = bisect_left(starts, end) - 1
        if index < 0 or end >= spans[index][1]:
            kept.append(end)
    return kept


def _sentence_ends(line: str, language: str) -> Iterator[int]:
    base = languages.parse(language).base
    if base in _RULED_HERE:
        yield from _ideographic_ends(line)
        return
    import sentencex

    # a line break that ends no sentence is a space to the rules
    flat, end = re.sub(r"[\r\n]", " ", line), 0
    for sentence in sentencex.segment(base, flat):
        end += len(sentence)
        yield end


def _ideographic_ends(line: str) -> Iterator[int]:
    enclosed = _enclosed(line)
    for found in _ENDS.finditer(line):
        end = found.end()
        is_said = found[0][-1] in _QUOTED and _SAID.match(line, end)
        index = bisect_left(enclosed, (found.start(), 0)) - 1
        if not is_said and (index < 0 or end >= enclosed[index][1]):
            yield _behind_space(line, end)


def _enclosed(line: str) -> list[tuple[int, int]]:
    """Stretches in brackets and quotes, outermost, in order, none longer than a few sentences."""
    opened: list[tuple[str, int]] = []
    stretches: list[tuple[int, int]] = []
    for index, character in enumerate(line):
        if character in _BRACKETS:
            opened.append((_BRACKETS[character], index))
        elif opened and character == opened[-1][0]:
            _, start = opened.pop()
            if not opened and index - start <= _FARTHEST_BRACKET:
                stretches.append((start, index + 1))
    return stretches


def _unbroken(text: str) -> Iterator[tuple[int, int]]:
    """Where placeholders and addresses stand in a text."""
    position = 0
    for part in protect(segment([text])).parts:
        length = len(part.text) if isinstance(part, Tag) else len(part)
        if isinstance(part, Tag):
            yield position, position + length
        position += length


def _within_pairs(original: Segment) -> Iterator[int]:
    """Every position, of a text that has one character for each tag, that is inside a pair of tags or just before a closing one."""
    opened: list[int] = []
    position = 0
    closed = {tag.id for tag in original.tags if tag.kind == "close"}
    for part in original.parts:
        length = len(part) if isinstance(part, str) else 1
        if isinstance(part, Tag) and part.kind == "close" and part.id in opened:
            opened.remove(part.id)
        elif isinstance(part, Tag) and part.kind == "open" and part.id in closed:
            opened.append(part.id)
        if opened:
            yield from range(position + 1, position + length + 1)
        position += length
