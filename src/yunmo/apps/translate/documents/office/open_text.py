"""Paragraphs of OpenDocument (`text:p`, `text:h`): read into runs and marks, and written again (OASIS OpenDocument 1.3 part 3, chapters 5 to 7)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.namespaces import local_name
from yunmo.apps.translate.documents.office.runs import Item, Mark, Paragraph, Run, paragraph_of
from yunmo.apps.translate.documents.office.spans import Element, Piece, Source, Span, Splice, Text, escaped
from yunmo.apps.translate.segments import Segment

Looks = Mapping[str, object]
"""What the styles of texts look like, by their names; None is what does not show."""

_PASSED = {"text:soft-page-break"}
_WIDTHLESS = ("text:bookmark", "text:reference-mark", "text:change")
_LABELS = {"text:tab": "\t", "text:line-break": "\n"}
_UNSEEN = {"rsid", "paragraph-rsid", "language", "country", "language-asian", "country-asian", "language-complex", "country-complex"}
_SPACES = re.compile(r"[ \t\r\n]+")
_WRITTEN = re.compile(r" +|[\t\n]|[^ \t\n]+")


@dataclass(frozen=True, slots=True)
class OpenParagraph:
    """A paragraph with words to translate; `formats` are the spans around its runs, from the outermost, that their formats number."""

    source: Source
    element: Element
    paragraph: Paragraph
    formats: Sequence[tuple[Element, ...]]

    @property
    def segment(self) -> Segment:
        return self.paragraph.segment

    def splices(self, translation: Segment, culture: Culture) -> list[Splice]:
        del culture
        prefix = self.source.prefix(self.element)
        pieces: list[Piece] = []
        ends_in_space = True
        for item in self.paragraph.items(translation):
            if isinstance(item, Mark):
                pieces += item.pieces
            else:
                opening, closing = _around(self.source, self.formats[item.format])
                pieces += [opening, _text(item.text, prefix, behind_space=ends_in_space), closing]
                ends_in_space = item.text.endswith(" ")
        return [Splice(self.element.inner, tuple(pieces))]


def read_open_paragraph(source: Source, element: Element, looks: Looks) -> OpenParagraph | None:
    """The paragraph, or None where it has no word to translate. Paragraphs within it (in notes and boxes) are not read."""
    reader = _Reader(source, looks)
    items = list(reader.content(element, ()))
    if reader.ends_in_space and items and isinstance(items[-1], Run):
        items[-1] = Run(items[-1].text.removesuffix(" "), items[-1].format)
    paragraph = paragraph_of(items)
    return OpenParagraph(source, element, paragraph, reader.formats) if paragraph else None


def looks_of(source: Source) -> dict[str, object]:
    """What the text styles of a part look like. Many of an editor's own differ only in when they were typed, or in the language."""
    looks: dict[str, object] = {}
    for element in source.root.descendants():
        if element.name == "style:style" and element.attributes.get("style:family") == "text":
            seen = [
                (key, value)
                for properties in element.children
                for key, value in sorted(properties.attributes.items())
                if local_name(key) not in _UNSEEN
            ]
            parent = element.attributes.get("style:parent-style-name", "")
            looks[element.attributes.get("style:name", "")] = (parent, *seen) if parent or seen else None
    return looks


@dataclass(slots=True)
class _Reader:
    source: Source
    looks: Looks
    formats: list[tuple[Element, ...]] = field(default_factory=list)
    numbers: dict[object, int] = field(default_factory=dict)
    ends_in_space: bool = True

    def content(self, element: Element, spans: tuple[Element, ...]) -> Iterator[Item]:
        for content in self.source.contents(element):
            if isinstance(content, Text):
                yield Run(self._collapsed(content.text), self._number(spans))
            elif content.name == "text:span":
                yield from self.content(content, (*spans, content))
            elif content.name == "text:s":
                self.ends_in_space = False
                yield Run(" " * _count(content.attributes.get("text:c", "")), self._number(spans))
            elif content.name == "text:ruby":
                base = content.child("text:ruby-base")
                yield from self.content(base, spans) if base else ()
            elif content.name in {"text:a", "text:meta"} and content.inner.start:
                opening, closing = _around(
                    self.source, spans
                )  # stay outside: LibreOffice loses links that hold a span where it had the link
                yield Mark("open", (opening, Span(content.span.start, content.inner.start)))
                yield from self.content(content, ())
                yield Mark("close", (Span(content.inner.end, content.span.end), closing))
            elif content.name not in _PASSED:
                self.ends_in_space &= content.name.startswith(_WIDTHLESS)
                opening, closing = _around(self.source, spans)
                yield Mark("alone", (opening, content.span, closing), _LABELS.get(content.name, ""), self._number(spans))

    def _collapsed(self, text: str) -> str:
        """Text with its white space as it shows: one space for many, none at the beginning."""
        text = _SPACES.sub(" ", text)
        if self.ends_in_space:
            text = text.removeprefix(" ")
        if text:
            self.ends_in_space = text.endswith(" ")
        return text

    def _number(self, spans: tuple[Element, ...]) -> int:
        names = [span.attributes.get("text:style-name", "") for span in spans]
        look = tuple(look for name in names if (look := self.looks.get(name, name)) is not None)
        if look not in self.numbers:
            self.numbers[look] = len(self.formats)
            self.formats.append(spans)
        return self.numbers[look]


def _count(written: str) -> int:
    """How many spaces an element stands for; more than a line has room for are one."""
    return int(written) if written.isascii() and written.isdecimal() and len(written) < 4 else 1


def _around(source: Source, spans: Sequence[Element]) -> tuple[bytes, bytes]:
    """The tags that open these spans, and those that close them."""
    closing = b"".join(b"</" + source.prefix(span) + b"span>" for span in reversed(spans))
    return b"".join(source.start_tag(span) for span in spans), closing


def _text(text: str, prefix: bytes, *, behind_space: bool) -> bytes:
    """Text within a paragraph; of several spaces all but the first are an element, as are tabs and line breaks."""
    elements = {"\t": b"<" + prefix + b"tab/>", "\n": b"<" + prefix + b"line-break/>"}
    written = b""
    for part in _WRITTEN.findall(text):
        if part.startswith(" "):
            kept = 0 if behind_space else 1
            written += b" " * kept
            if len(part) > kept:
                written += b"<" + prefix + b"s " + prefix + f'c="{len(part) - kept}"/>'.encode()
        else:
            written += elements.get(part) or escaped(part)
        behind_space = part.isspace()
    return written
