"""Marking: a segment as one text in which markers stand for its tags, for models to carry over, and the segment again from what they wrote."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from yunmo.apps.translate.segments import Segment, Tag, segment
from yunmo.apps.translate.spacing import settle

Style = Literal["xml", "words", "brackets", "ideographs"]
STYLES: tuple[Style, ...] = ("xml", "words", "brackets", "ideographs")


def mark(original: Segment, style: Style = "xml") -> str:
    """The segment for a model: `<x1>bold</x1> and <x2/>` for those that chat; `[1]bold[/1] and XYZ2`, `… [2]` or `【1】…` for small ones that copy.

    What encloses the whole (formats, immovable tags, white space) is left out. Where a text has such markers of its own, ours count on from them.
    """
    plan = _Plan.of(original, style)
    markers = plan.markers()
    texts: list[str] = []
    for part in reversed(plan.body):
        text = part if isinstance(part, str) else markers[id(part)]
        # a word before a digit would be another number's
        is_before_digit = isinstance(part, Tag) and bool(texts) and texts[-1][:1].isdigit()
        texts.append(f"[{text.removeprefix(_WORD)}]" if is_before_digit and text.startswith(_WORD) else text)
    return "".join(reversed(texts))


def unmark(text: str, original: Segment, style: Style = "xml") -> Segment | None:
    """The segment of a model's translation of `mark(original, style)`, with the original's tags; None if a marker is lost, doubled or wrongly nested.

    Forgiven are spaces in markers, capitals and full-width forms, a missing slash of a closing one, and spaces on its wrong side.
    """
    plan = _Plan.of(original, style)
    parts = plan.read(text.strip())
    if parts is None or not plan.is_whole(parts):
        return None
    return segment([*plan.lead, *settle(parts, plan.body), *plan.trail])


def pieces(original: Segment) -> tuple[str, ...]:
    """The texts between the tags, each to be translated alone: those with letters, without the white space around them."""
    return tuple(part.strip() for part in original.parts if isinstance(part, str) and _is_words(part))


def assemble(original: Segment, translations: Sequence[str]) -> Segment:
    """The segment with its `pieces` translated: its tags and white space are the original's. Raises ValueError for any other number of them."""
    expected = len(pieces(original))
    if len(translations) != expected:
        message = f"{len(translations)} translations were given for {expected} pieces"
        raise ValueError(message)
    given = iter(translations)
    return segment(_bordered(next(given), part) if isinstance(part, str) and _is_words(part) else part for part in original.parts)


@dataclass(frozen=True, slots=True)
class _Unit:
    """What one number stands for: a pair of tags, or one tag."""

    number: int
    tags: tuple[Tag, ...]
    has_words: bool = False


_Part = str | Tag
_CLOSING = r"\s{0,3}(?P<slash>[/／])?\s{0,3}"
_ENDING = r"\s{0,3}(?P<number>\d{1,4})\s{0,3}(?P<alone>[/／])?\s{0,3}"
_BRACKETED = re.compile(rf"[\[［【〔]{_CLOSING}{_ENDING}[\]］】〕]")
_WORD = "XYZ"
_WORDED = re.compile(
    r"(?:[\[［【〔]|(?P<word>(?i:xyz)))\s{0,3}(?P<slash>[/／])?\s{0,3}(?P<number>\d{1,4})(?(word)|\s{0,3}(?P<alone>[/／])?\s{0,3}[\]］】〕])"
)
# a model that writes Russian writes the letter in its own script
_PATTERNS: dict[Style, re.Pattern[str]] = {
    "xml": re.compile(rf"(?:[<＜〈‹]|&lt;){_CLOSING}[xXｘＸхХ]{_ENDING}(?:[>＞〉›]|&gt;)"),
    "words": _WORDED,
    "brackets": _BRACKETED,
    "ideographs": _BRACKETED,
}
_BROKEN_BRACKETS = re.compile(r"[\[［【〔]\s{0,3}[/／]?\s{0,3}\d|\d\s{0,3}[/／]?\s{0,3}[\]］】〕]")
_BROKEN: dict[Style, re.Pattern[str]] = {
    "xml": re.compile(r"(?:[<＜〈‹]|&lt;)\s{0,3}[/／]?\s{0,3}[xXｘＸхХ]\s{0,3}\d|[xXｘＸхХ]\d{1,4}\s{0,3}[/／]?\s{0,3}(?:[>＞〉›]|&gt;)"),
    "words": re.compile(_BROKEN_BRACKETS.pattern + r"|(?i:xyz)"),
    "brackets": _BROKEN_BRACKETS,
    "ideographs": _BROKEN_BRACKETS,
}
_FORMS: dict[Style, tuple[str, str, str]] = {
    "xml": ("<x{}>", "</x{}>", "<x{}/>"),
    "words": ("[{}]", "[/{}]", _WORD + "{}"),
    "brackets": ("[{}]", "[/{}]", "[{}]"),
    "ideographs": ("【{}】", "【/{}】", "【{}】"),
}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a segment is marked: what is left out before and behind, what is between, and what each number stands for."""

    style: Style
    lead: tuple[_Part, ...]
    body: tuple[_Part, ...]
    trail: tuple[_Part, ...]
    units: tuple[_Unit, ...]

    @staticmethod
    def of(original: Segment, style: Style) -> "_Plan":
        lead, body, trail = _peeled(original)
        own = (int(found["number"]) for part in body if isinstance(part, str) for found in _PATTERNS[style].finditer(part))
        return _Plan(style, lead, body, trail, tuple(_units(body, 1 + max(own, default=0))))

    def markers(self) -> dict[int, str]:
        """The marker of each tag of the body, by the tag's identity."""
        opening, closing, alone = _FORMS[self.style]
        written: dict[int, str] = {}
        for unit in self.units:
            forms = (alone,) if len(unit.tags) == 1 else (opening, closing)
            written.update({id(tag): form.format(unit.number) for tag, form in zip(unit.tags, forms, strict=True)})
        return written

    def read(self, text: str) -> list[_Part] | None:
        """The text with the body's tags for their markers; None if some marker is not there once, or one is there that was not given."""
        found: dict[int, list[re.Match[str]]] = {unit.number: [] for unit in self.units}
        for marker in _PATTERNS[self.style].finditer(text):
            number = int(marker["number"])
            if number in found:
                found[number].append(marker)
            elif number >= self._first:
                return None
        places: list[tuple[int, int, Tag]] = []
        for unit in self.units:
            matched = _matched(text, found[unit.number], unit)
            if matched is None:
                return None
            places += matched
        parts: list[_Part] = []
        position = 0
        for start, end, tag in sorted(places, key=lambda place: place[0]):
            parts += [text[position:start], tag]
            position = end
        return [part for part in [*parts, text[position:]] if part != ""]

    def is_whole(self, parts: Sequence[_Part]) -> bool:
        """Whether pairs nest and still enclose words, immovable tags are in their order, and no half of a marker is left in the texts."""
        texts = "\n".join(part for part in parts if isinstance(part, str))
        if _BROKEN[self.style].search(_PATTERNS[self.style].sub("", texts)) and not _BROKEN[self.style].search(self._text):
            return False
        fixed = [part for part in self.body if isinstance(part, Tag) and not part.is_movable]
        if fixed != [part for part in parts if isinstance(part, Tag) and not part.is_movable]:
            return False
        return self._is_nested(parts)

    @property
    def _first(self) -> int:
        return self.units[0].number if self.units else 10_000

    @property
    def _text(self) -> str:
        return "\n".join(part for part in self.body if isinstance(part, str))

    def _is_nested(self, parts: Sequence[_Part]) -> bool:
        by_tag = {id(tag): unit for unit in self.units if len(unit.tags) == 2 for tag in unit.tags}
        opened: list[tuple[_Unit, int]] = []
        for index, part in enumerate(parts):
            unit = by_tag.get(id(part))
            if unit is None:
                continue
            if part is unit.tags[0]:
                opened.append((unit, index))
                continue
            if not opened or opened[-1][0] is not unit:
                return False
            _, start = opened.pop()
            if unit.has_words and not any(isinstance(one, Tag) or one.strip() for one in parts[start + 1 : index]):
                return False
        return not opened


def _peeled(original: Segment) -> tuple[tuple[_Part, ...], tuple[_Part, ...], tuple[_Part, ...]]:
    """What encloses the whole before, the rest, and what encloses it behind: pairs around all of it, immovable tags, white space."""
    parts: list[_Part] = list(original.parts)
    start, end = 0, len(parts)
    while start < end:
        first, last = parts[start], parts[end - 1]
        if _is_border(first):
            start += 1
        elif _is_border(last):
            end -= 1
        elif isinstance(first, Tag) and isinstance(last, Tag) and (first.kind, last.kind) == ("open", "close") and first.id == last.id:
            start, end = start + 1, end - 1
        else:
            break
    body = parts[start:end]
    before = after = ""
    if body and isinstance(body[0], str):
        before, body[0] = _split_lead(body[0])
    if body and isinstance(body[-1], str):
        kept = body[-1].rstrip()
        after, body[-1] = body[-1][len(kept) :], kept
    return (*parts[:start], before), tuple(body), (after, *parts[end:])


def _is_border(part: _Part) -> bool:
    return not part.strip() if isinstance(part, str) else part.kind == "alone" and not part.is_movable


def _split_lead(text: str) -> tuple[str, str]:
    kept = text.lstrip()
    return text[: len(text) - len(kept)], kept


def _units(body: Sequence[_Part], first: int) -> Iterator[_Unit]:
    """The body's tags, numbered as they come; those that pair and nest are one unit, all others are each alone."""
    tags = {index: part for index, part in enumerate(body) if isinstance(part, Tag)}
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for index, tag in tags.items():
        if tag.kind == "open":
            opened.append(index)
        elif tag.kind == "close":
            partner = next((one for one in reversed(opened) if tags[one].id == tag.id), None)
            if partner is not None:
                del opened[opened.index(partner) :]
                pairs[partner] = index
    closings = set(pairs.values())
    for number, index in enumerate((index for index in tags if index not in closings), first):
        end = pairs.get(index, index)
        has_words = any(isinstance(one, str) and one.strip() for one in body[index + 1 : end])
        yield _Unit(number, (tags[index],) if end == index else (tags[index], tags[end]), has_words)


def _matched(text: str, markers: Sequence[re.Match[str]], unit: _Unit) -> list[tuple[int, int, Tag]] | None:
    """Where a unit's tags are in the text: start, end, tag. None unless each is there once."""
    if len(unit.tags) == 1:
        is_pair = len(markers) == 2 and bool(markers[1]["slash"]) and not text[markers[0].end() : markers[1].start()].strip()
        if len(markers) == 1 or is_pair:
            return [(markers[0].start(), markers[-1].end(), unit.tags[0])]
        return None
    if len(markers) != 2 or markers[0]["slash"] or any(marker["alone"] for marker in markers):
        return None
    return [(marker.start(), marker.end(), tag) for marker, tag in zip(markers, unit.tags, strict=True)]


def _is_words(text: str) -> bool:
    return any(character.isalpha() for character in text)


def _bordered(translation: str, original: str) -> str:
    before, kept = _split_lead(original)
    return before + translation.strip() + kept[len(kept.rstrip()) :]
