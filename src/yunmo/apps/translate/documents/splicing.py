"""Documents that are written by putting translations into their source's text, which stays as it is around them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from yunmo.apps.translate.documents.encoding import EncodedText
from yunmo.apps.translate.documents.format import Unit
from yunmo.apps.translate.documents.output import whole_file
from yunmo.apps.translate.segments import Segment, Tag, TagKind
from yunmo.core.errors import InvalidRequest

UNITS = 100_000
_NO_SPANS: Mapping[tuple[int, TagKind], tuple[int, int]] = MappingProxyType({})
_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class Edit:
    """What stands in place of the source's text from `start` to `end`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit's text stands in its source.

    `write` turns a translation, and what its tags are written as, into source text. `spans` are the places of its tags in the source: other units
    may lie inside one (an attribute of a link in a paragraph); without them a tag is written as its `text`.
    """

    unit: Unit
    start: int
    end: int
    write: Callable[[Segment, Callable[[Tag], str]], str]
    spans: Mapping[tuple[int, TagKind], tuple[int, int]] = field(default_factory=lambda: _NO_SPANS)


class SplicedDocument:
    """A text document.

    `edits` are what else the target language changes (its name, its direction), made only where something was translated. With `fills`, translations
    stand beside their sources, and one that is the same as its source is written too.
    """

    def __init__(
        self,
        source: EncodedText,
        places: Iterable[Place],
        edits: Callable[[str], Iterable[Edit]] = lambda _: (),
        errors: str = "strict",
        *,
        fills: bool = False,
    ) -> None:
        self._source, self._edits, self._errors, self._fills = source, edits, errors, fills
        self._places = sorted(within_limit(places), key=lambda place: (place.start, -place.end))
        self.units: Sequence[Unit] = [place.unit for place in self._places]

    def write(self, translations: Mapping[str, Segment], target: str, path: Path) -> None:
        """Write the document; the bytes outside of what was translated are those that were read."""
        data = self.encoded(translations, target)
        with whole_file(path) as file:
            file.write(data)

    def encoded(self, translations: Mapping[str, Segment], target: str, *, is_part: bool = False) -> bytes:
        """The document's bytes with these translations; `is_part` of one that is translated, even where none of its own units is."""
        changed = changed_units(self.units, translations, fills=self._fills)
        text = self._spliced(changed, target) if changed or is_part else self._source.text
        return self._source.encode(text, self._errors)

    def _spliced(self, changed: Mapping[str, Segment], target: str) -> str:
        edits = [
            *self._edits(target),
            *(self._edit(place, changed[place.unit.key], ()) for place in self._inner if place.unit.key in changed),
        ]
        edits.sort(key=lambda edit: edit.start)
        outer = [self._edit(place, changed[place.unit.key], edits) for place in self._places if place.spans and place.unit.key in changed]
        return applied(self._source.text, (0, len(self._source.text)), _outermost([*edits, *outer]))

    @property
    def _inner(self) -> list[Place]:
        return [place for place in self._places if not place.spans]

    def _edit(self, place: Place, translation: Segment, inner: Sequence[Edit]) -> Edit:
        own = {(tag.id, tag.kind): tag.text for tag in place.unit.segment.tags}

        def tag_text(tag: Tag) -> str:
            span = place.spans.get((tag.id, tag.kind))
            return applied(self._source.text, span, inner) if span else own[tag.id, tag.kind]

        return Edit(place.start, place.end, place.write(translation, tag_text))


def within_limit(things: Iterable[_Thing]) -> Iterator[_Thing]:
    """The same things; InvalidRequest for more of them than a document may have units, which keeps its memory within bounds."""
    for count, thing in enumerate(things):
        if count >= UNITS:
            raise InvalidRequest(f"The document has more than {UNITS:,} passages to translate: split it.")
        yield thing


def numbered(places: Iterable[Place], prefix: str = "") -> list[Place]:
    """The places in reading order, their units' keys `prefix` and a number."""
    ordered = sorted(within_limit(places), key=lambda place: (place.start, -place.end))
    return [replace(place, unit=replace(place.unit, key=f"{prefix}{number}")) for number, place in enumerate(ordered, 1)]


def in_order(escape: Callable[[str], str]) -> Callable[[Segment, Callable[[Tag], str]], str]:
    """Writes a translation part after part, its texts as `escape` writes them."""
    return lambda translation, tag_text: "".join(escape(part) if isinstance(part, str) else tag_text(part) for part in translation.parts)


def has_words(text: str) -> bool:
    """Whether there is anything to translate: a text of signs and digits alone stays as it is."""
    return any(character.isalpha() for character in text)


def changed_units(units: Sequence[Unit], translations: Mapping[str, Segment], *, fills: bool = False) -> dict[str, Segment]:
    """The translations that differ from their units (all with `fills`), their tags checked; raises InvalidRequest for a lost tag and an unknown key."""
    changed = {}
    left = dict(translations)
    for unit in units:
        translation = left.pop(unit.key, None)
        if translation is not None and (fills or translation != unit.segment):
            check_tags(unit, translation)
            changed[unit.key] = translation
    if left:
        raise InvalidRequest(f"The document has no unit {next(iter(left))!r}: translate the units of the file that is written.")
    return changed


def check_tags(unit: Unit, translation: Segment) -> None:
    """InvalidRequest where a translation's tags are not its unit's: one is lost, new or doubled, or a pair is closed before it opens or crosses another."""
    wanted = Counter((tag.id, tag.kind) for tag in unit.segment.tags)
    found = Counter((tag.id, tag.kind) for tag in translation.tags)
    if wanted != found:
        lost, new = list((wanted - found).elements()), list((found - wanted).elements())
        what = f"lacks the tag {lost[0]}" if lost else f"has the tag {new[0]} too often"
        raise InvalidRequest(f"The translation of unit {unit.key!r} {what}: it must have each tag of its source once.")
    if _is_nested(unit.segment) and not _is_nested(translation):
        raise InvalidRequest(f"The translation of unit {unit.key!r} closes its tags in another order than it opens them.")


def _is_nested(segment: Segment) -> bool:
    opened: list[int] = []
    for tag in segment.tags:
        if tag.kind == "open":
            opened.append(tag.id)
        elif tag.kind == "close" and (not opened or opened.pop() != tag.id):
            return False
    return not opened


def _outermost(edits: list[Edit]) -> list[Edit]:
    """The edits in their order without those that another one, which was made with them, covers."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept


def applied(text: str, span: tuple[int, int], edits: Sequence[Edit]) -> str:
    """The text of a span with the edits that lie in it; `edits` are sorted and do not overlap."""
    from bisect import bisect_left

    at, end = span
    pieces = []
    first = bisect_left(edits, at, key=lambda edit: edit.start)
    for edit in edits[first:]:
        if edit.end > end:
            break
        pieces += [text[at : edit.start], edit.text]
        at = edit.end
    pieces.append(text[at:end])
    return "".join(pieces)
