import io
import zipfile

import pytest

from yunmo.apps.translate.documents.registry import FORMATS, format_of
from yunmo.core.errors import InvalidRequest


def zipped(**parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "format_"),
    [
        ("a.txt", "Hello", "txt"),
        ("a.md", "# Hello", "markdown"),
        ("A.HTM", "<p>x", "html"),
        ("a.csv", "a,b", "csv"),
        ("a.tsv", "a\tb", "tsv"),
        ("a.jsonl", "{}", "json"),
        ("a.txt", "WEBVTT\n\n00:01.000 --> 00:02.000\nx", "vtt"),
        ("unnamed", "1\r\n00:00:01,000 --> 00:00:02,000\r\nx", "srt"),
        ("a.srt", "WEBVTT\n", "vtt"),
        ("a", "\ufeff; made by\n[Script Info]\n", "ass"),
        ("a.xml", "<?xml version='1.0'?>\n<!-- c -->\n<xliff version='1.2'>", "xliff"),
        ("a.txt", "\n<!DOCTYPE html><html>", "html"),
        ("a.xml", "<?xml version='1.0'?><html xmlns=''>", "html"),
        ("a", '# c\n\n#, fuzzy\nmsgid ""\nmsgstr ""', "po"),
        ("a.txt", "<!DOCTYPE html>".encode("utf-16"), "html"),
        ("a.zip", zipped(mimetype="application/epub+zip"), "epub"),
        ("a.epub", zipped(**{"META-INF/container.xml": ""}), "epub"),
        ("a.docx", zipped(**{"[Content_Types].xml": "", "word/document.xml": ""}), "docx"),
        ("a.zip", zipped(**{"[Content_Types].xml": "", "ppt/presentation.xml": ""}), "pptx"),
        ("a.docx", zipped(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}), "xlsx"),
        ("a", zipped(mimetype="application/vnd.oasis.opendocument.text-template"), "odt"),
        ("a", zipped(mimetype="application/vnd.oasis.opendocument.spreadsheet"), "ods"),
        ("a", zipped(mimetype="application/vnd.oasis.opendocument.presentation"), "odp"),
        ("a.txt", "", "txt"),
        ("a.md", "<htmlish>", "markdown"),
    ],
)
def test_a_format_is_known_by_content_then_by_name(tmp_path, name, data, format_):
    (tmp_path / "file").write_bytes(data.encode() if isinstance(data, str) else data)
    assert format_of(name, tmp_path / "file").name == format_


@pytest.mark.parametrize(("name", "data"), [("a.exe", b"MZ"), ("a", b"plain words"), ("a.zip", zipped(x="y")), ("", b"")])
def test_a_file_of_no_format_is_refused_with_those_that_there_are(tmp_path, name, data):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(InvalidRequest, match=r"txt, markdown, html, .*epub"):
        format_of(name, tmp_path / "file")


def test_an_office_document_with_a_password_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    with pytest.raises(InvalidRequest, match="password"):
        format_of("a.docx", tmp_path / "file")


def test_no_two_formats_share_a_name_or_an_extension():
    names = [format_.name for format_ in FORMATS]
    extensions = [extension for format_ in FORMATS for extension in format_.extensions]
    assert len(set(names)) == len(names)
    assert len(set(extensions)) == len(extensions)
