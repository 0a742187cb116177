"""Which format a file is of: what is in it counts more than its name."""

import re
from pathlib import Path, PurePath

from yunmo.apps.translate.documents.archive import Archive, open_archive
from yunmo.apps.translate.documents.docx import DocxFormat
from yunmo.apps.translate.documents.encoding import encoding_of
from yunmo.apps.translate.documents.epub import EpubFormat
from yunmo.apps.translate.documents.format import Format
from yunmo.apps.translate.documents.gettext import GettextFormat
from yunmo.apps.translate.documents.html import HtmlFormat
from yunmo.apps.translate.documents.json_file import JsonFormat
from yunmo.apps.translate.documents.markdown import MarkdownFormat
from yunmo.apps.translate.documents.opendocument import ODP, ODS, ODT
from yunmo.apps.translate.documents.plain import PlainFormat
from yunmo.apps.translate.documents.pptx import PptxFormat
from yunmo.apps.translate.documents.subtitles import SRT, VTT, AssFormat
from yunmo.apps.translate.documents.table import CSV, TSV
from yunmo.apps.translate.documents.xliff import XliffFormat
from yunmo.apps.translate.documents.xlsx import XlsxFormat
from yunmo.core.errors import InvalidRequest

FORMATS: tuple[Format, ...] = (
    PlainFormat(),
    MarkdownFormat(),
    HtmlFormat(),
    DocxFormat(),
    PptxFormat(),
    XlsxFormat(),
    ODT,
    ODP,
    ODS,
    SRT,
    VTT,
    AssFormat(),
    GettextFormat(),
    XliffFormat(),
    JsonFormat(),
    CSV,
    TSV,
    EpubFormat(),
)

_HEAD_BYTES = 8192
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BEGINNINGS = (
    ("vtt", re.compile(r"WEBVTT(?:\s|\Z)")),
    ("srt", re.compile(r"\s*\d+[ \t]*(?:\r\n|\r|\n)\s*\d{1,2}:\d{2}:\d{2}[,.]\d{1,3}\s*-->")),
    ("ass", re.compile(r"\s*(?:;[^\r\n]*\s+)*+\[Script Info\]", re.IGNORECASE)),
    ("xliff", re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:[^-]|-(?!->))*+-->\s*)*+<(?:\w+:)?xliff[\s>]")),
    ("html", re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:[^-]|-(?!->))*+-->\s*)*+<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)),
    ("po", re.compile(r'(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))*+[ \t]*(?:msgctxt|msgid)[ \t]+"')),
)
_OPEN_DOCUMENTS = {"text": "odt", "spreadsheet": "ods", "presentation": "odp"}
_OFFICE_FOLDERS = {"word/": "docx", "ppt/": "pptx", "xl/": "xlsx"}


def format_of(name: str, path: Path) -> Format:
    """The format of the file at `path` that its owner calls `name`; InvalidRequest for a file of none, which says those that there are."""
    found = _by_content(path) or _by_extension(name)
    if found is None:
        raise InvalidRequest(
            f"The file {name!r} is of no format that is translated: send {', '.join(format_.name for format_ in FORMATS)}."
        )
    return found


def _by_extension(name: str) -> Format | None:
    extension = PurePath(name).suffix.lower()
    return next((format_ for format_ in FORMATS if extension in format_.extensions), None)


def _by_content(path: Path) -> Format | None:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_OLE):
        raise InvalidRequest("The file is an Office document that is old or has a password: save it as docx, pptx or xlsx without one.")
    if head.startswith(b"PK\x03\x04"):
        with open_archive(path) as archive:
            return _named(_kind_of(archive))
    return _named("pdf" if b"%PDF-" in head[:1024] else _kind_of_text(head))


def _named(name: str | None) -> Format | None:
    return next((format_ for format_ in FORMATS if format_.name == name), None)


def _kind_of(archive: Archive) -> str | None:
    """The kind of document that an archive holds."""
    if "mimetype" in archive and archive.size("mimetype") < 200:
        kind = archive.read("mimetype").decode("ascii", "replace").strip()
        if kind == "application/epub+zip":
            return "epub"
        return _OPEN_DOCUMENTS.get(kind.removeprefix("application/vnd.oasis.opendocument.").removesuffix("-template"))
    if "[Content_Types].xml" in archive:
        return next((kind for folder, kind in _OFFICE_FOLDERS.items() if any(name.startswith(folder) for name in archive.names)), None)
    return "epub" if "META-INF/container.xml" in archive else None


def _kind_of_text(head: bytes) -> str | None:
    try:
        encoding, mark = encoding_of(head)
    except InvalidRequest:
        return None
    text = head[len(mark) :].decode(encoding, "ignore")
    return next((name for name, beginning in _BEGINNINGS if beginning.match(text)), None)
