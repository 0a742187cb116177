"""Word documents (.docx, .docm, .dotx): body, tables, text boxes, headers, footers, notes, comments, charts, SmartArt, descriptions, title."""

import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path

from yunmo.apps.translate.documents.archive import open_archive
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.document import OfficeDocument, Splices
from yunmo.apps.translate.documents.office.package import Package, check_is_archive, open_package
from yunmo.apps.translate.documents.office.parts import PartReader, readable_parts, title_part
from yunmo.apps.translate.segments import Segment

_EAST_ASIAN = re.compile(rb"<(?:\w+:)?rFonts\b[^<>]*\s(?:\w+:)?eastAsia=\"([^\"]*)\"")


class DocxFormat:
    """The format of Word since 2007. Macros are kept; a signature is not."""

    name = "docx"
    extensions = (".docx", ".docm", ".dotx", ".dotm")
    media_types = (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
        "application/vnd.ms-word.document.macroEnabled.12",
        "application/vnd.ms-word.template.macroEnabled.12",
    )

    def read(self, path: Path, options: FormatOptions) -> OfficeDocument:
        """The document's texts: its body first, then headers, footers, notes, comments, charts and diagrams, then its title."""
        del options
        check_is_archive(path, "Word")
        with open_archive(path) as archive:
            package = open_package(archive, "Word")
            reader = PartReader(styled=_east_asian_fonts(package))
            for part, note in readable_parts(package, package.main, set(), ""):
                reader.read(package.source(part), note)
            title = title_part(package)
            if title:
                reader.read(package.source(title), "document title")
            signature, notices = package.signature(), package.notices()

        def beside(_translations: Mapping[str, Segment], _culture: Culture) -> Splices:
            return [signature] if signature else []

        return OfficeDocument(path, reader.units.units, reader.units.places, notices, beside)


def _east_asian_fonts(package: Package) -> tuple[str, ...]:
    """The East Asian fonts that styles name."""
    styles = next((link.part for link in package.links(package.main) if link.kind == "styles"), None)
    found = _EAST_ASIAN.findall(package.archive.read(styles)) if styles else []
    return tuple(dict.fromkeys(unescape(name.decode("utf-8", "replace")) for name in found))
