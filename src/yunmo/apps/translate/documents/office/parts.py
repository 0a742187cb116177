"""Parts of Office Open XML: which of them people read, in which order, and where in them texts stand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from yunmo.apps.translate.documents.office.document import Place, Units
from yunmo.apps.translate.documents.office.drawing import read_drawing_paragraph
from yunmo.apps.translate.documents.office.namespaces import local_name
from yunmo.apps.translate.documents.office.package import Package
from yunmo.apps.translate.documents.office.spans import Element, Source
from yunmo.apps.translate.documents.office.spreadsheet import CELL_LIMIT, read_header_text, read_rich_text
from yunmo.apps.translate.documents.office.texts import attribute_text, element_text
from yunmo.apps.translate.documents.office.wordprocessing import read_word_paragraph
from yunmo.apps.translate.documents.office.workbook import folded

_READ = {
    "wordprocessingml.header+xml": "header",
    "wordprocessingml.footer+xml": "footer",
    "wordprocessingml.footnotes+xml": "footnote",
    "wordprocessingml.endnotes+xml": "endnote",
    "wordprocessingml.comments+xml": "comment",
    "drawingml.chart+xml": "chart",
    "drawingml.chartshapes+xml": "chart",
    "ms-office.chartex+xml": "chart",
    "drawingml.diagramdata+xml": "diagram",
    "ms-office.drawingml.diagramdrawing+xml": "diagram",
    "presentationml.notesslide+xml": "notes",
    "presentationml.comments+xml": "comment",
    "ms-powerpoint.comments+xml": "comment",
    "spreadsheetml.comments+xml": "comment",
    "ms-excel.threadedcomments+xml": "comment",
    "spreadsheetml.table+xml": "table",
    "officedocument.drawing+xml": "drawing",
}
"""By the end of a part's type: what to call its texts, in reading order."""
_DESCRIPTIONS = {
    "docPr": ("descr", "title"),
    "cNvPr": ("descr", "title"),
    "tblCaption": ("val",),
    "tblDescription": ("val",),
    "hyperlink": ("tooltip",),
    "dataValidation": ("promptTitle", "prompt", "errorTitle", "error"),
    "tableColumn": ("name", "totalsRowLabel"),
}
"""Attributes that people read, by their elements' local names."""
_LIMITS = {"promptTitle": 32, "prompt": 255, "errorTitle": 32, "error": 255}
_DRAWN = {"v:shape": ("alt", "title"), "v:rect": ("alt", "title"), "v:textpath": ("string",)}
_PLAIN = {"p:text", "threaded:text", "dc:title"}
_CACHES = {"strCache", "strLit", "lvl", "dlblRangeCache"}
_STRINGS = {"x:si", "x:is"}
_HEADERS = {f"x:{pages}{place}" for pages in ("odd", "even", "first") for place in ("Header", "Footer")}
_SHARED = "text without formats"


def readable_parts(package: Package, part: str, seen: set[str], note: str) -> Iterator[tuple[str, str]]:
    """A part and those that hang on it and are read, each once, with what to call their texts."""
    order = list(dict.fromkeys(_READ.values()))
    pending = [(part, note)]
    while pending:
        part, note = pending.pop()
        if part in seen:
            continue
        seen.add(part)
        yield part, note
        linked = {link.part: kind for link in package.links(part) if (kind := _kind(package, link.part))}
        ordered = sorted(linked.items(), key=lambda each: (order.index(each[1]), _natural(each[0])), reverse=True)
        pending += [(other, f"{note}, {kind}" if note else kind) for other, kind in ordered]


def title_part(package: Package) -> str | None:
    """The part with the document's title."""
    return next((name for name in package.names.values() if package.content_type(name).endswith("package.core-properties+xml")), None)


@dataclass(frozen=True, slots=True)
class PartReader:
    """Reads the texts of parts into units; strings that are `sought` by the document itself stay (as `workbook.folded` writes them).

    `styled` are the East Asian fonts that the document's styles name.
    """

    units: Units = field(default_factory=Units)
    sought: frozenset[str] = frozenset()
    styled: tuple[str, ...] = ()

    def read(self, source: Source, note: str, *, with_placeholders: bool = True) -> None:
        """Read a part. `with_placeholders` is false for masters and layouts, whose placeholders show in no slide."""
        for element in source.root.descendants():
            if not with_placeholders and _is_in_placeholder(element):
                continue
            place = self._place(source, element)
            if place is not None and not self._must_stay(place, element):
                limit = CELL_LIMIT if element.name in _STRINGS else None
                self.units.add(place, _note(element, note), _scope(source, element, note), limit)
            for name in _described(element):
                text = attribute_text(source, element, name)
                if text is not None and not self._must_stay(text, element):
                    self.units.add(text, f"{note}, description" if note else "description", _SHARED, _LIMITS.get(name))

    def _place(self, source: Source, element: Element) -> Place | None:
        if element.name == "w:p":
            return read_word_paragraph(source, element, self.styled)
        if element.name == "a:p":
            return read_drawing_paragraph(source, element)
        if element.name in _STRINGS or _is_comment(source, element):
            return read_rich_text(source, element)
        if element.name in _HEADERS:
            return read_header_text(source, element)
        if element.name in _PLAIN or _is_chart_text(element):
            return element_text(source, element)
        return None

    def _must_stay(self, place: Place, element: Element) -> bool:
        is_string = element.name in _STRINGS or element.name in {"c:v", "x:tableColumn"}
        return is_string and folded(place.segment.text) in self.sought


def _is_comment(source: Source, text: Element) -> bool:
    """Whether this is a comment's text, and not one that is only there for programs that know no threads of comments."""
    comment = text.parent
    if text.name != "x:text" or comment is None:
        return False
    authors = source.root.child("x:authors")
    number = comment.attributes.get("authorId", "")
    named = authors.children if authors and number.isascii() and number.isdecimal() and len(number) < 9 else []
    author = named[int(number)] if named and int(number) < len(named) else None
    return author is None or not source.text(author).startswith("tc=")


def _is_chart_text(element: Element) -> bool:
    parent = element.parent
    above = parent.parent if parent else None
    if parent is None or above is None:
        return False
    if element.name == "c:v":
        return parent.name == "c:tx" or (parent.name == "c:pt" and local_name(above.name) in _CACHES)
    return (element.name == "cx:pt" and above.name == "cx:strDim") or (element.name == "cx:v" and parent.name == "cx:txData")


def _described(element: Element) -> tuple[str, ...]:
    names = _DRAWN.get(element.name) or _DESCRIPTIONS.get(local_name(element.name), ())
    return tuple(name for name in names if any(local_name(key) == name for key in element.attributes))


def _scope(source: Source, element: Element, note: str) -> object:
    """Equal texts are one in both branches of alternative content, in a diagram and its drawing, and where they have no formats."""
    if element.name not in {"w:p", "a:p"}:
        return _SHARED
    if note.endswith("diagram"):
        return note
    alternative = [above.span.start for above in element.ancestors() if above.name == "mc:AlternateContent"]
    return (source.name, alternative[-1]) if alternative else None


def _note(element: Element, note: str) -> str:
    around = {above.name for above in element.ancestors()}
    inside = "text box" if "w:txbxContent" in around else "table" if around & {"w:tbl", "a:tbl"} else ""
    return ", ".join(word for word in (note, inside) if word)


def _is_in_placeholder(element: Element) -> bool:
    shape = next((each for each in (element, *element.ancestors()) if each.name == "p:sp"), None)
    properties = shape.child("p:nvSpPr") if shape else None
    placing = properties.child("p:nvPr") if properties else None
    return placing is not None and placing.child("p:ph") is not None


def _kind(package: Package, part: str) -> str:
    content_type = package.content_type(part)
    return next((kind for ending, kind in _READ.items() if content_type.endswith(ending)), "")


def _natural(name: str) -> str:
    """Names in the order of their numbers: header2 before header10."""
    return re.sub(r"\d+", lambda found: found.group().zfill(9), name)
