"""EPUB: a book's pages in reading order, its contents and its title; pictures, styles and fonts stay as they are packed."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from yunmo.apps.translate.documents.archive import Archive, open_archive
from yunmo.apps.translate.documents.direction import is_right_to_left
from yunmo.apps.translate.documents.encoding import TEXT_BYTES, EncodedText, decode
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.html import html_document
from yunmo.apps.translate.documents.inline import Write, markup_writer, place
from yunmo.apps.translate.documents.markup import Piece, pieces
from yunmo.apps.translate.documents.splicing import Edit, Place, SplicedDocument, changed_units, numbered, within_limit
from yunmo.apps.translate.documents.xml import parse_xml
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest

BOOK_BYTES = 64 << 20
_PAGES = frozenset({"application/xhtml+xml", "text/html"})
_CONTENTS = "application/x-dtbncx+xml"
_OPEN_ALGORITHMS = frozenset({"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"})  # fonts that are disguised
_METADATA = frozenset({"title", "description"})
_LABELS = frozenset({"text"})


class EpubFormat:
    """EPUB 2 and 3 without copy protection."""

    name = "epub"
    extensions = (".epub",)
    media_types = ("application/epub+zip",)

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The book's title and description, its pages in the spine's order, then what else has words."""
        del options
        with open_archive(path) as archive:
            _check_protection(archive)
            package = _package(archive)
            parts = _parts(archive, package)
            size = sum(archive.size(name) for name in parts)
            if size > BOOK_BYTES:
                raise InvalidRequest(f"The book has {size:,} bytes of text, more than the {BOOK_BYTES:,} that are read: split it.")
            return EpubDocument(path, {name: _part(archive, name, kind) for name, kind in parts.items()})


class EpubDocument:
    """A book that was read; its file is read again when it is written."""

    def __init__(self, path: Path, parts: Mapping[str, SplicedDocument]) -> None:
        self._path, self._parts = path, parts
        self.units: Sequence[Unit] = list(within_limit(unit for part in parts.values() for unit in part.units))

    def write(self, translations: Mapping[str, Segment], target: str, path: Path) -> None:
        """Write the book; parts without words stay byte by byte, and in their order."""
        changed = changed_units(self.units, translations)
        with open_archive(self._path) as archive:
            archive.write(path, dict(self._translated(archive, changed, target)) if changed else {})

    def _translated(self, archive: Archive, changed: Mapping[str, Segment], target: str) -> Iterator[tuple[str, bytes]]:
        for name, part in self._parts.items():
            data = part.encoded({unit.key: changed[unit.key] for unit in part.units if unit.key in changed}, target, is_part=True)
            if data != archive.read(name):
                yield name, data


@dataclass(frozen=True, slots=True)
class _Package:
    """The book's list of parts: its own name, and its elements."""

    name: str
    root: Any

    def children(self, holder: str, name: str) -> Iterator[Any]:
        """The elements of this name in that one."""
        yield from self.root.iterfind(f"{{*}}{holder}/{{*}}{name}")

    def part(self, href: str) -> str:
        """The part that an address in the package names."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.name), unquote(href.partition("#")[0])))


def _check_protection(archive: Archive) -> None:
    if "META-INF/encryption.xml" not in archive:
        return
    root = parse_xml(archive.read("META-INF/encryption.xml"), "META-INF/encryption.xml")
    for method in root.iter("{*}EncryptionMethod"):
        if method.get("Algorithm") not in _OPEN_ALGORITHMS:
            raise InvalidRequest("The book is protected against copying and cannot be read: translate a copy without protection.")


def _package(archive: Archive) -> _Package:
    container = parse_xml(archive.read("META-INF/container.xml"), "META-INF/container.xml")
    file = next(iter(container.iter("{*}rootfile")), None)
    if file is None or not file.get("full-path"):
        raise InvalidRequest("The book does not say where its contents are (META-INF/container.xml): export it again.")
    name = file.get("full-path")
    return _Package(name, parse_xml(archive.read(name), name))


def _parts(archive: Archive, package: _Package) -> dict[str, str]:
    """The parts that have words, with their media types, in reading order."""
    items = {item.get("id"): item for item in package.children("manifest", "item") if item.get("href")}
    spine = [items[reference.get("idref")] for reference in package.children("spine", "itemref") if reference.get("idref") in items]
    parts = {package.name: "package"}
    for item in [*spine, *items.values()]:
        name, kind = package.part(item.get("href")), item.get("media-type")
        if kind in _PAGES or kind == _CONTENTS:
            if name not in archive:
                raise InvalidRequest(f"The book lacks its part {name!r}: export it again.")
            parts.setdefault(name, kind)
    return parts


def _part(archive: Archive, name: str, kind: str) -> SplicedDocument:
    if archive.size(name) > TEXT_BYTES:
        raise InvalidRequest(f"The book's part {name!r} has more than the {TEXT_BYTES:,} bytes that are read of a text: split it.")
    source = decode(archive.read(name))
    prefix = f"{name}#"
    if kind in _PAGES:
        return html_document(source, is_xml=kind != "text/html", prefix=prefix, names_language=True)
    names = _METADATA if kind == "package" else _LABELS
    edits = _package_edits if kind == "package" else _contents_edits
    found = list(pieces(source.text, is_xml=True))
    return SplicedDocument(
        source, numbered(_elements(source, found, names), prefix), lambda target: edits(found, target), "xmlcharrefreplace"
    )


def _elements(source: EncodedText, found: Sequence[Piece], names: frozenset[str]) -> Iterator[Place]:
    """The elements of these names that hold text alone."""

    def writer(written: str) -> Write:
        return markup_writer(written, is_xml=True)

    for before, piece, behind in zip(found, found[1:], found[2:], strict=False):
        name = before.name.rpartition(":")[2]
        if piece.kind == "text" and before.kind == "open" and behind.kind == "close" and name in names:
            made = place(source.text, [piece], writer, unit=Unit("", Segment(()), name if names is _METADATA else "contents"))
            if made:
                yield made


def _package_edits(found: Sequence[Piece], target: str) -> Iterator[Edit]:
    """The book's language, and the direction in which its pages turn."""
    is_told = False
    for piece, behind in zip(found, [*found[1:], found[-1]], strict=True):
        name = piece.name.rpartition(":")[2]
        if piece.kind == "open" and name == "language" and behind.kind == "text" and not is_told:
            yield Edit(behind.start, behind.end, target)
            is_told = True
        elif piece.kind == "open" and name == "package":
            yield from _changed(piece, "xml:lang", target)
        elif piece.kind == "open" and name == "spine":
            direction = "rtl" if is_right_to_left(target) else "ltr"
            yield from _changed(piece, "page-progression-direction", direction, is_added=direction == "rtl")


def _contents_edits(found: Sequence[Piece], target: str) -> Iterator[Edit]:
    root = next((piece for piece in found if piece.kind == "open"), None)
    if root:
        yield from _changed(root, "xml:lang", target)


def _changed(piece: Piece, name: str, value: str, *, is_added: bool = False) -> Iterator[Edit]:
    if attribute := piece.attribute(name):
        yield Edit(attribute.start, attribute.end, value)
    elif is_added:
        at = piece.start + 1 + len(piece.name)
        yield Edit(at, at, f' {name}="{value}"')
