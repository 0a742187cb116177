"""Texts of SpreadsheetML: strings with and without formats, headers and footers with their codes (ECMA-376 part 1, 18.4.8 and 18.3.1.46)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.runs import Item, Mark, Paragraph, Run, paragraph_of
from yunmo.apps.translate.documents.office.spans import Element, Source, Splice, escaped
from yunmo.apps.translate.segments import Segment

CELL_LIMIT = 32_767

_ESCAPE = re.compile(r"_x(?![Dd][89A-Fa-f])([0-9A-Fa-f]{4})_")
_LIKE_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_HEADER_CODE = re.compile(r'(&(?:"[^"]*"|\d+|K[0-9A-Fa-f]{6}|K\d\d[+-]\d{3}|[^&]))')


@dataclass(frozen=True, slots=True)
class RichText:
    """A string of cells or of a comment; runs in different formats, or one text. How it is pronounced goes with its translation."""

    source: Source
    element: Element
    paragraph: Paragraph
    formats: Sequence[Element | None]

    @property
    def segment(self) -> Segment:
        return self.paragraph.segment

    def splices(self, translation: Segment, culture: Culture) -> list[Splice]:
        del culture
        prefix = self.source.prefix(self.element)
        runs = [item for item in self.paragraph.items(translation) if isinstance(item, Run)]
        if not self.element.child("x:r"):
            written = _text("".join(run.text for run in runs), prefix)
        else:
            written = b"".join(
                b"<" + prefix + b"r>" + self._properties(run) + _text(run.text, prefix) + b"</" + prefix + b"r>" for run in runs
            )
        return [Splice(self.element.inner, (written,))]

    def _properties(self, run: Run) -> bytes:
        properties = self.formats[run.format]
        return self.source.raw(properties.span) if properties else b""


@dataclass(frozen=True, slots=True)
class HeaderText:
    """What is printed above or below a sheet's pages; codes for places, fonts and numbers of pages are marks."""

    source: Source
    element: Element
    paragraph: Paragraph

    @property
    def segment(self) -> Segment:
        return self.paragraph.segment

    def splices(self, translation: Segment, culture: Culture) -> list[Splice]:
        del culture
        written = b""
        for item in self.paragraph.items(translation):
            if isinstance(item, Mark):
                written += b"".join(piece for piece in item.pieces if isinstance(piece, bytes))
            else:
                written += escaped(item.text.replace("&", "&&"))
        return [Splice(self.element.inner, (written,))]


def read_rich_text(source: Source, element: Element) -> RichText | None:
    """The string (`x:si`, `x:is`, `x:text`), or None where it has no word to translate."""
    items: list[Item] = []
    formats: list[Element | None] = []
    numbers: dict[bytes, int] = {}
    for child in element.children:
        text = child if child.name == "x:t" else child.child("x:t") if child.name == "x:r" else None
        properties = child.child("x:rPr")
        look = source.raw(properties.inner) if properties else b""
        if text is not None:
            if look not in numbers:
                numbers[look] = len(formats)
                formats.append(properties)
            items.append(Run(_unescaped(source.text(text)), numbers[look]))
    paragraph = paragraph_of(items)
    return RichText(source, element, paragraph, formats) if paragraph else None


def read_header_text(source: Source, element: Element) -> HeaderText | None:
    """The header or footer, or None where it has no word to translate."""
    items: list[Item] = []
    for part in _HEADER_CODE.split(source.text(element).replace("&&", "\0")):
        if part.startswith("&"):
            items.append(Mark("alone", (escaped(part),)))
        else:
            items.append(Run(part.replace("\0", "&"), 0))
    paragraph = paragraph_of(items)
    return HeaderText(source, element, paragraph) if paragraph else None


def _text(text: str, prefix: bytes) -> bytes:
    written = escaped(_LIKE_ESCAPE.sub("_x005F_", text).replace("\r", "_x000D_"))
    space = b' xml:space="preserve"' if text != text.strip() or "\n" in text or "  " in text else b""
    return b"<" + prefix + b"t" + space + b">" + written + b"</" + prefix + b"t>"


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
