"""Paragraphs of DrawingML (`a:p`: slides, shapes, charts, SmartArt): read into runs and marks, and written again (ECMA-376 part 1, 21.1.2)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.runs import Item, Mark, Paragraph, Run, paragraph_of
from yunmo.apps.translate.documents.office.spans import Element, Piece, Source, Span, Splice, escaped, with_attribute
from yunmo.apps.translate.segments import Segment

_UNSEEN = {"lang", "altLang", "dirty", "err", "noProof", "smtClean", "smtId", "bmk"}
_SIDES = {"l": "r", "r": "l"}
_BREAKS = re.compile("([\n\v])")


@dataclass(frozen=True, slots=True)
class DrawingParagraph:
    """A paragraph with words to translate; `formats` are the properties that its runs' formats number."""

    source: Source
    element: Element
    paragraph: Paragraph
    formats: Sequence[Element | None]

    @property
    def segment(self) -> Segment:
        return self.paragraph.segment

    def splices(self, translation: Segment, culture: Culture) -> list[Splice]:
        prefix = self.source.prefix(self.element)
        properties, ending = self.element.child("a:pPr"), self.element.child("a:endParaRPr")
        start = properties.span.end if properties else self.element.inner.start
        end = ending.span.start if ending else self.element.inner.end
        pieces: list[Piece] = []
        tag = self._directed(properties, prefix, culture)
        if tag is not None:
            start = properties.span.start if properties else start
            pieces += [tag, *([Span(properties.inner.start, properties.span.end)] if properties and properties.inner.start else [])]
        for item in self.paragraph.items(translation):
            if isinstance(item, Mark):
                pieces += item.pieces
            else:
                pieces += self._run(item, prefix, culture)
        return [Splice(Span(start, end), tuple(pieces))]

    def _run(self, run: Run, prefix: bytes, culture: Culture) -> Iterator[bytes]:
        """A run; a break in its text is a run of its own between two."""
        properties = _properties(self.source, self.formats[run.format], prefix, culture)
        for part in _BREAKS.split(run.text):
            if part in {"\n", "\v"}:
                yield b"<" + prefix + b"br>" + properties + b"</" + prefix + b"br>"
            elif part:
                text = b"<" + prefix + b"t>" + escaped(part) + b"</" + prefix + b"t>"
                yield b"<" + prefix + b"r>" + properties + text + b"</" + prefix + b"r>"

    def _directed(self, properties: Element | None, prefix: bytes, culture: Culture) -> bytes | None:
        """The first tag of the paragraph's properties in the language's direction; None where it is right already. Sides change with the direction."""
        is_now = properties is not None and properties.attributes.get("rtl") in {"1", "true"}
        if is_now == culture.is_right_to_left:
            return None
        tag = self.source.start_tag(properties) if properties else b"<" + prefix + b"pPr/>"
        side = properties.attributes.get("algn", "") if properties else ""
        if side in _SIDES:
            tag = with_attribute(tag, b"algn", _SIDES[side])
        return with_attribute(tag, b"rtl", "1" if culture.is_right_to_left else "0")


def read_drawing_paragraph(source: Source, element: Element) -> DrawingParagraph | None:
    """The paragraph, or None where it has no word to translate."""
    reader = _Reader(source)
    paragraph = paragraph_of(list(reader.content(element)))
    return DrawingParagraph(source, element, paragraph, reader.formats) if paragraph else None


@dataclass(slots=True)
class _Reader:
    source: Source
    formats: list[Element | None] = field(default_factory=list)
    numbers: dict[object, int] = field(default_factory=dict)

    def content(self, element: Element) -> Iterator[Item]:
        for child in element.children:
            if child.name in {"a:pPr", "a:endParaRPr"}:
                continue
            number = self._number(child.child("a:rPr"))
            if child.name == "a:r":
                text = child.child("a:t")
                yield Run(self.source.text(text).replace("\n", " ") if text else "", number)
            else:
                yield Mark("alone", (child.span,), "\n" if child.name == "a:br" else "", number)

    def _number(self, properties: Element | None) -> int:
        look = _appearance(self.source, properties)
        if look not in self.numbers:
            self.numbers[look] = len(self.formats)
            self.formats.append(properties)
        return self.numbers[look]


def _appearance(source: Source, properties: Element | None) -> object:
    if properties is None:
        return ((), b"")
    seen = tuple(sorted((key, value) for key, value in properties.attributes.items() if key not in _UNSEEN))
    return seen, b"".join(source.raw(child.span) for child in properties.children)


def _properties(source: Source, properties: Element | None, prefix: bytes, culture: Culture) -> bytes:
    """A run's properties (`a:rPr`) for a text in that language: the theme has fonts for each."""
    tag = source.start_tag(properties) if properties else b"<" + prefix + b"rPr/>"
    before = properties.attributes.get("lang") if properties else None
    tag = with_attribute(tag, b"lang", culture.name)
    if culture.is_east_asian and before and not before.startswith(("zh", "ja", "ko")):
        tag = with_attribute(tag, b"altLang", before)
    for proofing in (b"dirty", b"err"):
        tag = with_attribute(tag, proofing, None)
    if properties is None or not properties.inner.start:
        return tag
    return tag + source.data[properties.inner.start : properties.span.end]
