"""OpenDocument files (.odt, .ods, .odp and their templates): body, notes, comments, boxes, tables, headers, footers, charts, descriptions; the title."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from yunmo.apps.translate.documents.archive import Archive, open_archive
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.document import OfficeDocument, Splices, Units
from yunmo.apps.translate.documents.office.open_text import Looks, OpenParagraph, looks_of, read_open_paragraph
from yunmo.apps.translate.documents.office.package import MACROS, SIGNATURE, check_is_archive
from yunmo.apps.translate.documents.office.spans import Element, Source, Span, Splice, attribute_span, quoted, with_attribute
from yunmo.apps.translate.documents.office.texts import element_text
from yunmo.apps.translate.documents.office.workbook import folded
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest

_MANIFEST, _SIGNATURES = "META-INF/manifest.xml", "META-INF/documentsignatures.xml"
_PLAIN = {"svg:title", "svg:desc", "dc:title"}
_SKIPPED = {"text:tracked-changes", "office:forms", "text:index-title-template"}
_NOTES = {
    "text:note": "footnote",
    "office:annotation": "comment",
    "presentation:notes": "notes",
    "style:header": "header",
    "style:footer": "footer",
    "draw:text-box": "text box",
    "table:table-cell": "table",
    "svg:title": "description",
    "svg:desc": "description",
}
_LITERAL = re.compile(r'"((?:[^"]|"")*)"')
_SOUGHT = {
    "table:filter-condition": "table:value",
    "table:data-pilot-field": "table:source-field-name",
    "table:data-pilot-member": "table:name",
}


@dataclass(frozen=True)
class OpenDocumentFormat:
    """One kind of OpenDocument file; `family` is the end of its media type."""

    name: str
    family: str
    extensions: tuple[str, ...]

    @property
    def media_types(self) -> tuple[str, ...]:
        return tuple(f"application/vnd.oasis.opendocument.{self.family}{ending}" for ending in ("", "-template"))

    def read(self, path: Path, options: FormatOptions) -> OfficeDocument:
        """The document's texts: its content, that of charts in it, headers and footers, its title."""
        del options
        check_is_archive(path, "OpenDocument")
        with open_archive(path) as archive:
            _check(archive, self)
            sources = [Source(archive.read(part), part) for part in _parts(archive)]
            signatures = Source(archive.read(_SIGNATURES), _SIGNATURES) if _SIGNATURES in archive else None
            has_macros = any(name.startswith(("Basic/", "Scripts/")) for name in archive.names)
        looks = {name: look for source in sources for name, look in looks_of(source).items()}
        reader = _PartReader(looks, frozenset(_sought(sources)))
        for source in sources:
            reader.read(source, "")
        notices = (*([MACROS] if has_macros else []), *([SIGNATURE] if signatures else []))

        def beside(_translations: Mapping[str, Segment], culture: Culture) -> Splices:
            if signatures and signatures.root.inner.start:
                yield signatures, Splice(signatures.root.inner, ())
            for source in sources:
                for splice in _languages(source, culture):
                    yield source, splice

        return OfficeDocument(path, reader.units.units, reader.units.places, notices, beside)


ODT = OpenDocumentFormat("odt", "text", (".odt", ".ott"))
ODS = OpenDocumentFormat("ods", "spreadsheet", (".ods", ".ots"))
ODP = OpenDocumentFormat("odp", "presentation", (".odp", ".otp"))


@dataclass(frozen=True, slots=True)
class _PartReader:
    looks: Looks
    sought: frozenset[str]
    units: Units = field(default_factory=Units)

    def read(self, source: Source, note: str) -> None:
        pages = 0
        for element in _shown(source.root):
            if element.name == "draw:page":
                pages += 1
                note = f"slide {pages}"
            if element.name in {"text:p", "text:h"}:
                self._add(read_open_paragraph(source, element, self.looks), element, note)
            elif element.name in _PLAIN:
                text = element_text(source, element)
                if text:
                    self.units.add(text, "document title" if element.name == "dc:title" else _note(element, note))

    def _add(self, paragraph: OpenParagraph | None, element: Element, note: str) -> None:
        """A paragraph as a unit. Cells of one text are one unit in spreadsheets and charts, where formulas and charts take them for equal."""
        if paragraph is None:
            return
        is_cell = (
            element.parent is not None and element.parent.name == "table:table-cell" and "office:value-type" in element.parent.attributes
        )
        if is_cell and folded(paragraph.segment.text) in self.sought:
            return
        scope = "cell" if is_cell and not paragraph.segment.tags else None
        self.units.add(paragraph, _note(element, note), scope)


def _shown(root: Element) -> Iterator[Element]:
    """Every element that shows, in order; not what changes deleted, what masters hold a place for, nor the text of cells that is made of a value."""
    pending = root.children[::-1]
    while pending:
        element = pending.pop()
        if element.name not in _SKIPPED and not _is_computed(element) and not _is_placeholder(element):
            yield element
            pending.extend(element.children[::-1])


def _is_computed(element: Element) -> bool:
    cell = element.parent
    if element.name != "text:p" or cell is None or cell.name not in {"table:table-cell", "table:covered-table-cell"}:
        return False
    attributes = cell.attributes
    is_string = attributes.get("office:value-type", "string") == "string"
    return "table:formula" in attributes or "office:string-value" in attributes or not is_string


def _is_placeholder(element: Element) -> bool:
    return "presentation:class" in element.attributes and any(above.name == "style:master-page" for above in element.ancestors())


def _note(element: Element, note: str) -> str:
    words = [_NOTES.get(above.name.removesuffix("-left").removesuffix("-first"), "") for above in (element, *element.ancestors())]
    return ", ".join(dict.fromkeys(word for word in (note, *reversed(words)) if word))


def _check(archive: Archive, wanted: OpenDocumentFormat) -> None:
    """Raise InvalidRequest where the archive is no OpenDocument file of this kind, or is encrypted."""
    if "mimetype" not in archive or "content.xml" not in archive:
        raise InvalidRequest(
            "The file is no OpenDocument file: it has no mimetype or no content. Save it again, or give it the right extension."
        )
    media_type = archive.read("mimetype").decode("ascii", "replace").strip()
    if media_type not in wanted.media_types:
        raise InvalidRequest(
            f"The file is of the type {media_type!r} and no {wanted.extensions[0]} file: give it the extension of what it is."
        )
    if _MANIFEST in archive and b"encryption-data" in archive.read(_MANIFEST):
        raise InvalidRequest("The file is encrypted: open it with its password, take the password away, and save it again.")


def _parts(archive: Archive) -> Iterator[str]:
    """The parts with texts: the content, that of embedded objects that are documents (formulas are not), styles, and what is said of the document."""
    yield "content.xml"
    for name in archive.names:
        if name.endswith("/content.xml") and b"document-content" in archive.read(name)[:4096]:
            yield name
    yield from (name for name in ("styles.xml", "meta.xml") if name in archive)


def _sought(sources: list[Source]) -> Iterator[str]:
    """Strings that formulas compare with, filters choose, and pivots name, as `folded` writes them."""
    for source in sources:
        for element in source.root.descendants():
            code = element.attributes.get("table:formula", "") + element.attributes.get("table:condition", "")
            yield from (folded(literal.replace('""', '"')) for literal in _LITERAL.findall(code))
            name = _SOUGHT.get(element.name)
            if name and name in element.attributes:
                yield folded(element.attributes[name])


def _languages(source: Source, culture: Culture) -> Iterator[Splice]:
    """The language of every style that names one for texts of its kind of script; direction of the usual paragraph."""
    ending = "-asian" if culture.is_east_asian else "-complex" if culture.is_right_to_left else ""
    language, _, country = culture.name.partition("-")
    names = {"language" + ending: language, "country" + ending: country or "none"}
    for element in source.root.descendants():
        tag = changed = source.start_tag(element)
        if element.name == "style:text-properties":
            for name, value in names.items():
                found = attribute_span(changed, name.encode())
                changed = changed[: found.start] + quoted(value) + changed[found.end :] if found else changed
        elif element.name == "style:paragraph-properties" and culture.is_right_to_left and _is_usual(element):
            changed = with_attribute(changed, source.prefix(element) + b"writing-mode", "rl-tb")
        if changed != tag:
            yield Splice(Span(element.span.start, element.span.start + len(tag)), (changed,))


def _is_usual(properties: Element) -> bool:
    return properties.parent is not None and properties.parent.name == "style:default-style"
