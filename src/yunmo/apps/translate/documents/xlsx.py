"""Excel workbooks (.xlsx, .xlsm, .xltx): cells, table headers, comments, shapes, charts, headers and footers, prompts, descriptions; the title.

Strings that the workbook itself looks for stay: those in formulas, filters, lists to choose from and pivots. Formulas, numbers and sheet names do too.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from yunmo.apps.translate.documents.archive import open_archive
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.document import OfficeDocument, Splices
from yunmo.apps.translate.documents.office.package import Package, check_is_archive, open_package
from yunmo.apps.translate.documents.office.parts import PartReader, readable_parts, title_part
from yunmo.apps.translate.documents.office.spans import Source, Span, Splice, with_attribute
from yunmo.apps.translate.documents.office.workbook import sought_texts, tables, with_unlike_headers
from yunmo.apps.translate.segments import Segment

_ROWS = re.compile(rb"<((?:\w+:)?sheetData)\b[^<>]*(?<!/)>")
_COMPUTED_TEXT = re.compile(rb"<(?:\w+:)?c\b[^<>]*\st=[\"']str[\"']")
_BEFORE_CALCULATION = {"fileVersion", "fileSharing", "workbookPr", "workbookProtection", "bookViews", "sheets", "functionGroups", "externalReferences", "definedNames"}  # fmt: skip


class XlsxFormat:
    """The format of Excel since 2007. Macros are kept; a signature is not."""

    name = "xlsx"
    extensions = (".xlsx", ".xlsm", ".xltx", ".xltm")
    media_types = (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
        "application/vnd.ms-excel.sheet.macroEnabled.12",
        "application/vnd.ms-excel.template.macroEnabled.12",
    )

    def read(self, path: Path, options: FormatOptions) -> OfficeDocument:
        """The workbook's texts: the strings of all cells, each once however many cells have it, then what hangs on each sheet."""
        del options
        check_is_archive(path, "Excel")
        with open_archive(path) as archive:
            package = open_package(archive, "Excel")
            reader = PartReader(sought=frozenset(sought_texts(package)))
            for link in package.links(package.main):
                if link.kind == "sharedStrings":
                    reader.read(package.source(link.part), "cell")
            is_computed = False
            seen: set[str] = set()
            for name, sheet in _sheets(package):
                for part, note in readable_parts(package, sheet, seen, f"sheet {name}"):
                    data = archive.read(part)
                    is_computed |= part == sheet and _COMPUTED_TEXT.search(data) is not None
                    reader.read(_without_numbers(data, part), note)
            title = title_part(package)
            if title:
                reader.read(package.source(title), "document title")
            signature, notices, workbook = package.signature(), package.notices(), package.source(package.main)

        def beside(_translations: Mapping[str, Segment], _culture: Culture) -> Splices:
            computed = [(workbook, _computed_anew(workbook))] if is_computed else []
            return [*computed, *([signature] if signature else [])]

        listed = tables(reader.units)
        return OfficeDocument(
            path, reader.units.units, reader.units.places, notices, beside, lambda translations: with_unlike_headers(listed, translations)
        )


def _sheets(package: Package) -> Iterator[tuple[str, str]]:
    """The names and parts of the sheets in their order."""
    links = {link.id: link.part for link in package.links(package.main)}
    listed = package.source(package.main).root.child("x:sheets")
    for sheet in listed.children if listed else []:
        part = links.get(sheet.attributes.get("r:id", ""))
        if part:
            yield sheet.attributes.get("name", ""), part


def _without_numbers(data: bytes, part: str) -> Source:
    """A sheet's part; rows are passed over where their texts are all shared: there may be millions of cells."""
    rows = _ROWS.search(data) if b"inlineStr" not in data else None
    end = data.rfind(b"</" + rows[1] + b">") if rows else 0
    return Source(data, part, Span(rows.end(), end) if rows and end > rows.end() else None)


def _computed_anew(workbook: Source) -> Splice:
    """Let formulas be computed when the file is opened: what they made of texts is in the old language."""
    root = workbook.root
    found = root.child("x:calcPr")
    if found is not None:
        end = found.inner.start or found.span.end
        tag = with_attribute(workbook.start_tag(found), b"fullCalcOnLoad", "1")
        return Splice(Span(found.span.start, end), (tag,))
    before = [child for child in root.children if child.name.removeprefix("x:") in _BEFORE_CALCULATION]
    at = before[-1].span.end if before else root.inner.start
    return Splice(Span(at, at), (b"<" + workbook.prefix(root) + b'calcPr fullCalcOnLoad="1"/>',))
