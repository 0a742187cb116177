"""A translation memory at hand: what was translated before, found again as it was, with other numbers and placeholders, or nearly."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from yunmo.apps.translate.integrity import check
from yunmo.apps.translate.protection import protect
from yunmo.apps.translate.segments import Segment, Tag, TagKind, segment


@dataclass(frozen=True, slots=True)
class Pair:
    """A segment and its translation."""

    source: Segment
    target: Segment


@dataclass(frozen=True, slots=True)
class Match:
    """What a memory knows of a segment: the pair it holds, how near that is (100 the same, 99 but for numbers and placeholders, less nearly).

    `translation` is the whole translation of the segment that was asked, with its own tags, numbers and placeholders; None where the match is only near.
    """

    pair: Pair
    score: int
    translation: Segment | None = None


class Memory:
    """Pairs of one source and one target language (BCP 47). Of two with the same source the later counts.

    A look for near matches compares with every source: some 20 ms for 100,000 of a sentence each, so ask away from an event loop.
    """

    def __init__(self, source_language: str, target_language: str, pairs: Iterable[Pair] = ()) -> None:
        self._languages = (source_language, target_language)
        self._entries: dict[str, dict[tuple[str, ...], _Entry]] = {}
        self._latest: dict[str, _Entry] = {}
        for pair in pairs:
            self.add(pair)

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._entries.values())

    def add(self, pair: Pair) -> None:
        entry = _entry(pair)
        if not entry.source.skeleton.strip():
            return
        self._entries.setdefault(entry.source.skeleton, {})[entry.source.values] = entry
        self._latest[entry.source.skeleton] = entry

    def match(self, wanted: Segment, threshold: int = 75) -> Match | None:
        """The best match whose score is at least the threshold (0 to 100); None without one."""
        form = _form(wanted)
        same = self._entries.get(form.skeleton, {})
        entry = same.get(form.values)
        if entry is not None and (translation := entry.translation(form)) is not None:
            return Match(entry.pair, 100, translation)
        if threshold <= 99:
            for entry in reversed(same.values()):
                translation = entry.translation(form)
                if translation is not None and not check(wanted, translation, *self._languages):
                    return Match(entry.pair, 99, translation)
        return self._near(form, threshold)

    def _near(self, form: "_Form", threshold: int) -> Match | None:
        from rapidfuzz import fuzz, process

        if threshold >= 99 or not form.skeleton.strip():
            return None
        found = process.extractOne(form.skeleton, self._latest.keys(), scorer=fuzz.ratio, score_cutoff=threshold)
        return Match(self._latest[found[0]].pair, min(98, int(found[1]))) if found else None


_NUMBER = re.compile(r"\d+(?:[.,:/\u00a0\u202f-]\d+)*")
# private-use characters stand for a number, a placeholder, and the tags of formats
_NUMBER_MARK, _PLACEHOLDER_MARK = "\ue000", "\ue001"
_MARKS = re.compile("[\ue000-\ue004]")
_TAG_MARKS = {"open": "\ue002", "close": "\ue003", "alone": "\ue004"}


@dataclass(frozen=True, slots=True)
class _Form:
    """A segment as its words with marks for what may differ, and what stands at the marks.

    `values` are the numbers and placeholders as they are written; a format's tag has none, it may differ. `written` is each slot as the segment has
    it: a placeholder that was text in it is text.
    """

    parts: tuple[str | Tag, ...]
    skeleton: str
    slots: tuple[str | Tag, ...]
    values: tuple[str, ...]
    written: tuple[str | Tag, ...]

    @property
    def has_tags(self) -> bool:
        return any(isinstance(one, Tag) for one in self.written)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A pair with the places of the source's slots in the target; `places` is None where they cannot be told."""

    pair: Pair
    source: _Form
    places: tuple[str | int, ...] | None

    def translation(self, wanted: _Form) -> Segment | None:
        """The target with the wanted segment's slots in place of the source's."""
        if self.places is not None:
            return segment(part if isinstance(part, str) else wanted.written[part] for part in self.places)
        is_same = wanted.values == self.source.values and (not wanted.has_tags or wanted.parts == self.source.parts)
        return self.pair.target if is_same else None


def _entry(pair: Pair) -> _Entry:
    source, target = _form(pair.source), _form(pair.target)
    own = {(tag.id, tag.kind) for tag in pair.source.tags}
    left = list(enumerate(source.slots))
    places: list[str | int] = []
    for part in target.parts:
        if not _is_slot(part):
            places.append(str(part))
            continue
        index = next((index for index, slot in left if _is_equal(slot, part, own)), None)
        if index is None:
            return _Entry(pair, source, None)
        left = [(other, slot) for other, slot in left if other != index]
        places.append(index)
    return _Entry(pair, source, None if left else tuple(places))


def _is_slot(part: str | Tag) -> bool:
    return isinstance(part, Tag) or _NUMBER.fullmatch(part) is not None


def _is_equal(slot: str | Tag, part: str | Tag, own: Collection[tuple[int, TagKind]]) -> bool:
    """Whether a slot of the source is what stands in the target: the same tag, the same placeholder, the same digits."""
    if isinstance(slot, str) or isinstance(part, str):
        return slot == part
    if (slot.id, slot.kind) in own:
        return (slot.id, slot.kind) == (part.id, part.kind)
    return slot.text == part.text and slot.kind == part.kind == "alone"


def _form(original: Segment) -> _Form:
    own = {tag.id for tag in original.tags}
    parts: list[str | Tag] = []
    for part in protect(original).parts:
        parts += [part] if isinstance(part, Tag) else _with_numbers_apart(part)
    slots = tuple(part for part in parts if _is_slot(part))
    values = tuple(slot if isinstance(slot, str) else "" if slot.id in own and not _is_placeholder(slot) else slot.text for slot in slots)
    skeleton = "".join(_mark(part, own) for part in parts)
    written = tuple(slot if isinstance(slot, str) or slot.id in own else slot.text for slot in slots)
    return _Form(tuple(parts), " ".join(skeleton.split()), slots, values, written)


def _mark(part: str | Tag, own: set[int]) -> str:
    if isinstance(part, str):
        return _NUMBER_MARK if _is_slot(part) else _MARKS.sub("\ufffd", part)
    return _PLACEHOLDER_MARK if part.id not in own or _is_placeholder(part) else _TAG_MARKS[part.kind]


def _is_placeholder(tag: Tag) -> bool:
    """Whether a tag that the segment came with is a placeholder that had been protected before."""
    return tag.kind == "alone" and _is_protected(tag.text)


@lru_cache(maxsize=4096)
def _is_protected(text: str) -> bool:
    return bool(text) and not protect(segment([text])).text


def _with_numbers_apart(text: str) -> Iterator[str]:
    position = 0
    for found in _NUMBER.finditer(text):
        if found.start() > position:
            yield text[position : found.start()]
        yield found[0]
        position = found.end()
    if position < len(text):
        yield text[position:]
