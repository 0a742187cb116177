"""Paragraphs of formatted runs as segments, and translated segments as runs again.

Runs of one format are one text. The format that most of a paragraph has needs no tags; what differs from it stands between tags, and so do links
and other things that hold runs; breaks, fields and pictures are tags of their own. Whatever stands before the first and behind the last word stays out
of the segment.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from yunmo.apps.translate.documents.office.spans import Piece
from yunmo.apps.translate.segments import Segment, Tag, TagKind, segment
from yunmo.core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Run:
    """Text in one format; `format` numbers the formats of its paragraph."""

    text: str
    format: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What is kept as `pieces` write it: the beginning or end of something that holds runs, or a thing of its own.

    `label` is what a reader sees of it (a line break, a tab); `format` is that of the run it stands in, if it stands in one.
    """

    kind: TagKind
    pieces: tuple[Piece, ...]
    label: str = ""
    format: int | None = None


Item = Run | Mark


@dataclass(frozen=True, slots=True)
class _Enclosed:
    """What a pair of tags stands for: the format of the text inside, and the marks around it, none where the tags are the format alone."""

    format: int
    opening: Mark | None = None
    closing: Mark | None = None


@dataclass(frozen=True, slots=True)
class Paragraph:
    """The segment of a paragraph, and what is needed to make runs of its translation."""

    segment: Segment
    before: tuple[Item, ...]
    after: tuple[Item, ...]
    format: int
    enclosed: Mapping[int, _Enclosed]
    alone: Mapping[int, Mark]

    def items(self, translation: Segment) -> list[Item]:
        """The whole paragraph's runs and marks with the words of `translation`; InvalidRequest where its tags are not the segment's."""
        check_tags(self.segment, translation)
        items: list[Item] = [*self.before]
        formats = [self.format]
        for part in translation.parts:
            if isinstance(part, str):
                items.append(Run(part, formats[-1]))
            elif part.kind == "alone":
                items.append(self.alone[part.id])
            elif part.kind == "open":
                formats.append(self.enclosed[part.id].format)
                items += _present(self.enclosed[part.id].opening)
            else:
                formats.pop()
                items += _present(self.enclosed[part.id].closing)
        return _joined([*items, *self.after])


def paragraph_of(items: Sequence[Item]) -> Paragraph | None:
    """The paragraph that these runs and marks make, whose opening and closing marks nest; None where it has no word to translate."""
    merged = _without_empty_pairs(_bridged(_joined(items)))
    first, last = _bounds(merged)
    if first >= last:
        return None
    before, core, after = merged[:first], merged[first:last], merged[last:]
    if isinstance(core[0], Run):
        core[0], spaces = _split(core[0], len(core[0].text) - len(core[0].text.lstrip()), is_start=True)
        before += spaces
    if isinstance(core[-1], Run):
        core[-1], spaces = _split(core[-1], len(core[-1].text.rstrip()), is_start=False)
        after = [*spaces, *after]
    writer = _Segments(core)
    if not any(character.isalpha() for character in writer.segment.text):
        return None
    return Paragraph(writer.segment, tuple(before), tuple(after), writer.format, writer.enclosed, writer.alone)


def check_tags(source: Segment, translation: Segment) -> None:
    """Raise InvalidRequest where a translation's tags are not the source's, each once, each end behind its beginning and none across another."""
    wanted, given = (Counter((tag.id, tag.kind) for tag in each.tags) for each in (source, translation))
    if wanted != given:
        different = sorted({tag_id for tag_id, _ in (wanted - given) + (given - wanted)})
        raise InvalidRequest(
            f"The translation of {source.text[:60]!r} has other tags than its source (tags {different}): give each tag back exactly once."
        )
    opened: list[int] = []
    for tag in translation.tags:
        if tag.kind == "open":
            opened.append(tag.id)
        elif tag.kind == "close" and (not opened or opened.pop() != tag.id):
            raise InvalidRequest(
                f"In the translation of {source.text[:60]!r} the tags {tag.id} cross another pair: end each pair in the reverse order of their beginnings."
            )


@dataclass(slots=True)
class _Segments:
    """Writes items as a segment."""

    items: Sequence[Item]
    parts: list[str | Tag] = field(default_factory=list)
    enclosed: dict[int, _Enclosed] = field(default_factory=dict)
    alone: dict[int, Mark] = field(default_factory=dict)
    format: int = 0
    segment: Segment = field(init=False)

    def __post_init__(self) -> None:
        self.format = self._usual_format(0, len(self.items), 0)
        self._level(0, len(self.items), self.format)
        self.segment = segment(self.parts)

    def _level(self, start: int, end: int, usual: int) -> None:
        """Items that nothing encloses but what encloses all of them. Marks wait until it is known whether the text behind them has their group's format."""
        group: tuple[int, int] | None = None
        waiting: list[Mark] = []
        at = start
        while at < end:
            item = self.items[at]
            at += 1
            if isinstance(item, Mark) and item.kind == "alone":
                waiting.append(item)
                continue
            if group and not (isinstance(item, Run) and item.format == group[1]):
                self._close(group)
                group = None
            self._place(waiting)
            if isinstance(item, Run):
                if group is None and item.format != usual:
                    group = self._open(_Enclosed(item.format))
                self.parts.append(item.text)
            else:
                closing = _match(self.items, at - 1)
                self._pair(at - 1, closing, usual)
                at = closing + 1
        if group:
            self._close(group)
        self._place(waiting)

    def _pair(self, opening: int, closing: int, usual: int) -> None:
        inner = self._usual_format(opening + 1, closing, usual)
        first, last = self.items[opening], self.items[closing]
        assert isinstance(first, Mark)
        assert isinstance(last, Mark)
        pair = self._open(_Enclosed(inner, first, last))
        self._level(opening + 1, closing, inner)
        self._close(pair)

    def _usual_format(self, start: int, end: int, otherwise: int) -> int:
        """The format of most characters; of those in pairs only where there are no others."""
        counted: Counter[int] = Counter()
        depth = 0
        for item in self.items[start:end]:
            if isinstance(item, Run):
                counted[item.format] += len(item.text) * (1 if depth else 1_000_000)
            else:
                depth += {"open": 1, "close": -1, "alone": 0}[item.kind]
        return counted.most_common(1)[0][0] if counted else otherwise

    def _open(self, enclosed: _Enclosed) -> tuple[int, int]:
        tag_id = len(self.enclosed) + len(self.alone) + 1
        self.enclosed[tag_id] = enclosed
        self.parts.append(Tag(tag_id, "open"))
        return tag_id, enclosed.format

    def _close(self, group: tuple[int, int]) -> None:
        self.parts.append(Tag(group[0], "close"))

    def _place(self, waiting: list[Mark]) -> None:
        for mark in waiting:
            tag_id = len(self.enclosed) + len(self.alone) + 1
            self.alone[tag_id] = mark
            self.parts.append(Tag(tag_id, "alone", mark.label))
        waiting.clear()


def _joined(items: Sequence[Item]) -> list[Item]:
    """Runs of one format side by side as one, marks side by side as one, empty runs gone."""
    joined: list[Item] = []
    for kind, group in groupby((item for item in items if not isinstance(item, Run) or item.text), _kind):
        same = list(group)
        if isinstance(kind, int):
            joined.append(Run("".join(item.text for item in same if isinstance(item, Run)), kind))
        elif kind == "alone":
            joined.append(_together([item for item in same if isinstance(item, Mark)]))
        else:
            joined += same
    return joined


def _kind(item: Item) -> int | TagKind:
    return item.format if isinstance(item, Run) else item.kind


def _bridged(items: Sequence[Item]) -> list[Item]:
    """Spaces between two texts of one format take that format: it cannot be seen on them."""
    bridged = list(items)
    for at in range(1, len(items) - 1):
        before, item, after = bridged[at - 1], items[at], items[at + 1]
        if all(isinstance(each, Run) for each in (before, item, after)) and isinstance(item, Run) and item.text.isspace():
            assert isinstance(before, Run)
            assert isinstance(after, Run)
            if before.format == after.format:
                bridged[at] = replace(item, format=before.format)
    return _joined(bridged)


def _without_empty_pairs(items: Sequence[Item]) -> list[Item]:
    """Pairs that hold no text as things of their own."""
    kept: list[Item] = []
    for item in items:
        kept.append(item)
        if isinstance(item, Mark) and item.kind == "close":
            at = next(at for at in range(len(kept) - 2, -1, -1) if not _is_alone(kept[at]))
            marks = [mark for mark in kept[at:] if isinstance(mark, Mark)]
            if marks[0].kind == "open" and len(marks) == len(kept) - at:
                kept[at:] = [_together(marks)]
    return _joined(kept)


def _together(marks: Sequence[Mark]) -> Mark:
    formats = {mark.format for mark in marks}
    pieces = tuple(piece for mark in marks for piece in mark.pieces)
    return Mark("alone", pieces, "".join(mark.label for mark in marks), formats.pop() if len(formats) == 1 else None)


def _bounds(items: Sequence[Item]) -> tuple[int, int]:
    """From the first to behind the last item that belongs to the words; pairs around all of them do not."""
    first, last = 0, len(items)
    while True:
        while first < last and _is_outside(items[first]):
            first += 1
        while last > first and _is_outside(items[last - 1]):
            last -= 1
        if first == last:
            return first, last
        opening = items[first]
        if isinstance(opening, Run) or _match(items, first) != last - 1:
            return first, last
        first, last = first + 1, last - 1


def _is_outside(item: Item) -> bool:
    return item.text.isspace() if isinstance(item, Run) else _is_alone(item)


def _is_alone(item: Item) -> bool:
    return isinstance(item, Mark) and item.kind == "alone"


def _match(items: Sequence[Item], opening: int) -> int:
    """Where the pair ends that begins at `opening`."""
    depth = 0
    for at in range(opening, len(items)):
        item = items[at]
        if isinstance(item, Mark):
            depth += {"open": 1, "close": -1, "alone": 0}[item.kind]
            if depth == 0 and item.kind == "close":
                return at
    raise InvalidRequest("A paragraph has a pair without an end: open the document in its own program and save it again.")


def _split(run: Run, at: int, *, is_start: bool) -> tuple[Run, list[Item]]:
    """A run without its outer spaces, and these."""
    left, right = run.text[:at], run.text[at:]
    word, spaces = (right, left) if is_start else (left, right)
    return replace(run, text=word), ([replace(run, text=spaces)] if spaces else [])


def _present(mark: Mark | None) -> Iterator[Mark]:
    if mark is not None:
        yield mark
