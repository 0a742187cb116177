"""PowerPoint presentations (.pptx, .pptm, .ppsx, .potx): slides in their order with notes, comments, tables, charts, SmartArt, descriptions; the title.

Of masters and layouts only what shows in slides: the texts that are no placeholders, of those that a slide uses.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from yunmo.apps.translate.documents.archive import open_archive
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.document import OfficeDocument, Splices
from yunmo.apps.translate.documents.office.package import Package, check_is_archive, open_package
from yunmo.apps.translate.documents.office.parts import PartReader, readable_parts, title_part
from yunmo.apps.translate.segments import Segment


class PptxFormat:
    """The format of PowerPoint since 2007. Macros are kept; a signature is not."""

    name = "pptx"
    extensions = (".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm")
    media_types = (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
        "application/vnd.openxmlformats-officedocument.presentationml.template",
        "application/vnd.ms-powerpoint.presentation.macroEnabled.12",
        "application/vnd.ms-powerpoint.slideshow.macroEnabled.12",
        "application/vnd.ms-powerpoint.template.macroEnabled.12",
    )

    def read(self, path: Path, options: FormatOptions) -> OfficeDocument:
        """The presentation's texts, slide by slide, each with its notes, comments, charts and diagrams; then what stands behind all slides."""
        del options
        check_is_archive(path, "PowerPoint")
        with open_archive(path) as archive:
            package = open_package(archive, "PowerPoint")
            reader = PartReader()
            slides = list(_slides(package))
            seen: set[str] = set()
            for number, slide in enumerate(slides, 1):
                for part, note in readable_parts(package, slide, seen, f"slide {number}"):
                    reader.read(package.source(part), note)
            for part in _backgrounds(package, slides):
                reader.read(package.source(part), "master", with_placeholders=False)
            title = title_part(package)
            if title:
                reader.read(package.source(title), "document title")
            signature, notices = package.signature(), package.notices()

        def beside(_translations: Mapping[str, Segment], _culture: Culture) -> Splices:
            return [signature] if signature else []

        return OfficeDocument(path, reader.units.units, reader.units.places, notices, beside)


def _slides(package: Package) -> Iterator[str]:
    """The parts of the slides in the order in which they are shown."""
    links = {link.id: link.part for link in package.links(package.main)}
    listed = package.source(package.main).root.child("p:sldIdLst")
    for slide in listed.children if listed else []:
        part = links.get(slide.attributes.get("r:id", ""))
        if part:
            yield part


def _backgrounds(package: Package, slides: list[str]) -> Iterator[str]:
    """The layouts of these slides and their masters, each once."""
    seen = set()
    pending = slides
    for kind in ("slideLayout", "slideMaster"):
        pending = [link.part for part in pending for link in package.links(part) if link.kind == kind]
        for part in pending:
            if part not in seen:
                seen.add(part)
                yield part
