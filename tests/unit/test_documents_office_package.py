import pytest

from office_files import paragraph, parts, run, translated, with_parts, word_document
from yunmo.apps.translate.documents.docx import DocxFormat
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.office.cultures import culture_of
from yunmo.core.errors import InvalidRequest

COMPOUND = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(2000)
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def read(path):
    return DocxFormat().read(path, FormatOptions())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (COMPOUND + "EncryptedPackage".encode("utf-16-le"), "encrypted: open it with its password"),
        (COMPOUND + "WordDocument".encode("utf-16-le"), "old binary format.*save it as .docx"),
        (COMPOUND + "Workbook".encode("utf-16-le"), "old binary format.*save it as .xlsx"),
        (COMPOUND + "PowerPoint Document".encode("utf-16-le"), "old binary format.*save it as .pptx"),
        (COMPOUND, "OLE compound file"),
        (b"{\\rtf1 hello}", "RTF and no Word file"),
        (b"%PDF-1.7", "a PDF and no Word file"),
        (b"", "empty"),
        (b"hello", "no Word file, or is damaged"),
        (b"PK\x03\x04 and no more", "not an archive that can be read"),
    ],
)
def test_a_file_that_is_no_document_is_refused_with_what_it_is(tmp_path, data, said):
    path = tmp_path / "a.docx"
    path.write_bytes(data)
    with pytest.raises(InvalidRequest, match=said):
        read(path)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml", "one of PowerPoint, not of Word"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml", "one of Excel, not of Word"),
        ("application/vnd.ms-excel.sheet.binary.macroenabled.main", "which is not read"),
    ],
)
def test_a_document_under_another_format_s_name_is_refused(tmp_path, other, said):
    path = word_document(tmp_path / "a.docx")
    types = parts(path)["[Content_Types].xml"].decode().replace(MAIN, other)
    with_parts(path, {"[Content_Types].xml": types.encode()})
    with pytest.raises(InvalidRequest, match=said):
        read(path)


@pytest.mark.parametrize("part", ["[Content_Types].xml", "_rels/.rels", "word/document.xml"])
def test_a_document_that_lacks_a_part_is_refused(tmp_path, part):
    path = with_parts(word_document(tmp_path / "a.docx"), {part: None})
    with pytest.raises(InvalidRequest, match="save it again"):
        read(path)


def test_a_damaged_part_is_refused(tmp_path):
    path = with_parts(word_document(tmp_path / "a.docx"), {"word/document.xml": b"<w:document"})
    with pytest.raises(InvalidRequest, match=r"word/document.xml is not well-formed"):
        read(path)


def test_parts_that_hang_on_each_other_in_a_long_row_are_read_once(tmp_path):
    path = word_document(tmp_path / "a.docx", paragraph(run("Hello")))
    names = ["word/document.xml", *(f"word/header{'9' * 5000 if number == 7 else number}²3.xml" for number in range(1500))]
    link = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r" Type="x/header" Target="/{}"/></Relationships>'
    types = parts(path)["[Content_Types].xml"].decode()
    override = '<Override PartName="/{}" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.header+xml"/>'
    added = {"[Content_Types].xml": types.replace("</Types>", "".join(map(override.format, names[1:])) + "</Types>").encode()}
    for name, following in zip(names, [*names[1:], names[1]], strict=True):
        added[f"word/_rels/{name.removeprefix('word/')}.rels"] = link.format(following).encode()
        if name != names[0]:
            added[name] = paragraph(f"<w:p>{run('Head')}</w:p>").encode()
    assert [unit.segment.text for unit in read(with_parts(path, added)).units] == ["Hello", *["Head"] * 1500]


def test_macros_are_kept_and_told(tmp_path):
    path = word_document(tmp_path / "a.docm", paragraph(run("Hello")))
    types = parts(path)["[Content_Types].xml"].decode().replace(MAIN, "application/vnd.ms-word.document.macroEnabled.main+xml")
    with_parts(path, {"[Content_Types].xml": types.encode(), "word/vbaProject.bin": b"macros"})
    document = read(path)
    assert document.notices == ("The file holds macros, which are kept as they are.",)
    after = parts(translated(document, tmp_path / "b.docm"))
    assert after["word/vbaProject.bin"] == b"macros"
    assert after["[Content_Types].xml"] == types.encode()


def test_a_signed_document_s_translation_is_not_signed(tmp_path):
    path = word_document(tmp_path / "a.docx", paragraph(run("Hello")))
    origin = '<Relationship Id="sig" Type="http://schemas.openxmlformats.org/package/2006/relationships/digital-signature/origin" Target="_xmlsignatures/origin.sigs"/>'
    links = parts(path)["_rels/.rels"].decode()
    with_parts(
        path, {"_rels/.rels": links.replace("</Relationships>", origin + "</Relationships>").encode(), "_xmlsignatures/origin.sigs": b""}
    )
    document = read(path)
    assert document.notices == ("The file is signed; a translation of it carries no signature.",)
    assert parts(translated(document, tmp_path / "b.docx"))["_rels/.rels"].decode() == links
    document.write({}, "de", tmp_path / "c.docx")
    assert origin in parts(tmp_path / "c.docx")["_rels/.rels"].decode()


@pytest.mark.parametrize(
    ("language", "name", "is_east_asian", "is_right_to_left"),
    [
        ("zh-Hans", "zh-CN", True, False),
        ("zh-Hant", "zh-TW", True, False),
        ("zh-Hant-HK", "zh-HK", True, False),
        ("en-GB", "en-GB", False, False),
        ("de", "de-DE", False, False),
        ("ar", "ar-SA", False, True),
        ("az-Arab", "az-Arab", False, True),
        ("sr-Latn", "sr-Latn", False, False),
        ("pt-BR", "pt-BR", False, False),
    ],
)
def test_languages_have_the_names_that_office_programs_know(language, name, is_east_asian, is_right_to_left):
    culture = culture_of(language)
    assert (culture.name, culture.is_east_asian, culture.is_right_to_left) == (name, is_east_asian, is_right_to_left)
