"""Packages of Office Open XML (ECMA-376 part 2): parts, their types and links; and what a file is that is none."""

import mmap
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from yunmo.apps.translate.documents.archive import Archive
from yunmo.apps.translate.documents.office.spans import Source, Splice
from yunmo.core.errors import InvalidRequest

_COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")
_OLD_FORMATS = {"WordDocument": ".docx", "Workbook": ".xlsx", "Book": ".xlsx", "PowerPoint Document": ".pptx"}
_OTHER_FORMATS = {b"%PDF": "a PDF", b"{\\rt": "RTF", b"<htm": "HTML", b"<!DO": "HTML"}
_FAMILIES = {
    "Word": re.compile(r"wordprocessingml\.(document|template)\.main\+xml|ms-word\.(document|template)\.macroEnabled\w*\.main\+xml", re.IGNORECASE),
    "PowerPoint": re.compile(
        r"presentationml\.(presentation|slideshow|template)\.main\+xml|ms-powerpoint\.(presentation|slideshow|template)\.macroEnabled\.main\+xml", re.IGNORECASE
    ),
    "Excel": re.compile(r"spreadsheetml\.(sheet|template)\.main\+xml|ms-excel\.(sheet|template)\.macroEnabled\.main\+xml", re.IGNORECASE),
}  # fmt: skip
_TYPES, _LINKS = "[Content_Types].xml", "_rels/.rels"
MACROS = "The file holds macros, which are kept as they are."
SIGNATURE = "The file is signed; a translation of it carries no signature."


class Link(NamedTuple):
    """A link to another part: the last word of its type (`slide`, `chart`), and the part's name."""

    id: str
    kind: str
    part: str


@dataclass(frozen=True, slots=True)
class Package:
    """A package that is open for reading. `main` is the part that everything else hangs on."""

    archive: Archive
    types: Mapping[str, str]
    main: str
    names: Mapping[str, str]

    def content_type(self, part: str) -> str:
        """A part's type in small letters, empty where it has none."""
        extension = part.rpartition(".")[2].lower()
        return self.types.get("/" + part.lower(), self.types.get(extension, ""))

    def links(self, part: str) -> list[Link]:
        """The parts that a part names, in the order in which it names them."""
        folder, name = posixpath.split(part)
        links = self.names.get(posixpath.join(folder, "_rels", name + ".rels").lower())
        return _links(Source(self.archive.read(links), links), folder, self.names) if links else []

    def source(self, part: str) -> Source:
        return Source(self.archive.read(part), part)

    def notices(self) -> tuple[str, ...]:
        """What whoever translates the file should know."""
        has_macros = any(name.endswith("vbaproject.bin") for name in self.names)
        return (*([MACROS] if has_macros else []), *([SIGNATURE] if self.signature() else []))

    def signature(self) -> tuple[Source, Splice] | None:
        """The package's links, and the splice that takes the link to its signatures away, which a change would make void."""
        source = self.source(_LINKS)
        for element in source.root.children:
            if element.attributes.get("Type", "").endswith("/digital-signature/origin"):
                return source, Splice(element.span, ())
        return None


def open_package(archive: Archive, family: str) -> Package:
    """The package of a Word, Excel or PowerPoint file; InvalidRequest where it is something else."""
    names = {name.lower(): name for name in archive.names}
    if "mimetype" in names and _TYPES.lower() not in names:
        raise InvalidRequest("The file is an OpenDocument file (or an EPUB) under another name: give it the extension of what it is.")
    for needed in (_TYPES, _LINKS):
        if needed.lower() not in names:
            raise InvalidRequest(
                f"The file lacks its part {needed!r}, so that it is no {family} file: open it in {family} and save it again."
            )
    types = _content_types(Source(archive.read(names[_TYPES.lower()]), _TYPES))
    links = _links(Source(archive.read(names[_LINKS]), _LINKS), "", names)
    main = next((link.part for link in links if link.kind == "officeDocument"), None)
    if main is None:
        raise InvalidRequest(f"The file names no document in its package: open it in {family} and save it again.")
    package = Package(archive, types, main, names)
    kind = package.content_type(main)
    if not _FAMILIES[family].search(kind):
        other = next((name for name, pattern in _FAMILIES.items() if pattern.search(kind)), None)
        if other:
            raise InvalidRequest(f"The file is one of {other}, not of {family}: give it the extension of what it is.")
        raise InvalidRequest(f"The file is of the type {kind!r}, which is not read: save it as a plain {family} file.")
    return package


def check_is_archive(path: Path, family: str) -> None:
    """Raise InvalidRequest where a file is no ZIP archive, with what it is instead: encrypted, of an old format, of another kind."""
    with path.open("rb") as file:
        start = file.read(8)
        if start == _COMPOUND_FILE:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                raise InvalidRequest(_compound_file(data))
    if start.startswith(b"PK"):
        return
    if not start:
        raise InvalidRequest("The file is empty.")
    other = next((name for magic, name in _OTHER_FORMATS.items() if start.startswith(magic)), None)
    is_called = f"The file is {other} and no {family} file" if other else f"The file is no {family} file, or is damaged"
    raise InvalidRequest(f"{is_called}: open it in its own program and save it again with the right extension.")


def _compound_file(data: mmap.mmap) -> str:
    if data.find("EncryptedPackage".encode("utf-16-le")) >= 0:
        return "The file is encrypted: open it with its password, take the password away, and save it again."
    for stream, extension in _OLD_FORMATS.items():
        if data.find(stream.encode("utf-16-le")) >= 0:
            return f"The file is of the old binary format of before 2007: open it and save it as {extension}."
    return "The file is an OLE compound file and no document that is read: open it in its own program and save it in a current format."


def _content_types(source: Source) -> dict[str, str]:
    types = {}
    for element in source.root.children:
        key = element.attributes.get("PartName") or element.attributes.get("Extension", "")
        types[key.lower()] = element.attributes.get("ContentType", "").lower()
    return types


def _links(source: Source, folder: str, names: Mapping[str, str]) -> list[Link]:
    links = []
    for element in source.root.children:
        attributes = element.attributes
        if attributes.get("TargetMode") == "External":
            continue
        target = unquote(urlsplit(attributes.get("Target", "")).path)
        part = names.get(posixpath.normpath(posixpath.join("/" + folder, target)).lstrip("/").lower())
        if part:
            links.append(Link(attributes.get("Id", ""), attributes.get("Type", "").rpartition("/")[2], part))
    return links
