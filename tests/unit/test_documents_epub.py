import io
import zipfile

import pytest
from lxml import etree

from document_trips import document, itself, pseudo, texts, written
from yunmo.apps.translate.documents.epub import EpubFormat
from yunmo.apps.translate.segments import segment
from yunmo.core.errors import InvalidRequest

CONTAINER = """<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PACKAGE = """<?xml version="1.0" encoding="UTF-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
  <metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
    <dc:identifier id="id">urn:x</dc:identifier><dc:title>A &amp; B</dc:title><dc:creator>Ann Author</dc:creator>
    <dc:language>en</dc:language><meta property="dcterms:modified">2020-01-01T00:00:00Z</meta>
  </metadata>
  <manifest>
    <item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
    <item id="two" href="Text/two%20b.xhtml" media-type="application/xhtml+xml"/>
    <item id="one" href="Text/one.xhtml" media-type="application/xhtml+xml"/>
    <item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>
    <item id="css" href="style.css" media-type="text/css"/><item id="img" href="i.png" media-type="image/png"/>
  </manifest>
  <spine toc="ncx"><itemref idref="one"/><itemref idref="two"/></spine>
</package>"""
PAGE = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en"{more}><head><title>{title}</title></head>
<body><h1>{title}</h1><p>Some <em>words</em>&#160;here<a epub:type="noteref" href="#n">1</a>.</p><svg><text>drawn</text></svg></body></html>"""
NAV = """<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Contents</title></head><body><nav><ol><li><a href="Text/one.xhtml">One</a></li></ol></nav></body></html>"""
NCX = """<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/" version="2005-1" xml:lang="en"><docTitle><text>A &amp; B</text></docTitle>
<navMap><navPoint id="p"><navLabel><text>One</text></navLabel><content src="Text/one.xhtml"/></navPoint></navMap></ncx>"""
PARTS = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": CONTAINER,
    "OEBPS/i.png": bytes(range(256)) * 20,
    "OEBPS/Text/two b.xhtml": PAGE.format(title="Two", more=' xml:lang="en"'),
    "OEBPS/book.opf": PACKAGE,
    "OEBPS/Text/one.xhtml": PAGE.format(title="One", more=""),
    "OEBPS/nav.xhtml": NAV,
    "OEBPS/toc.ncx": NCX,
    "OEBPS/style.css": "p { color: red }",
}


def book(**more):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (PARTS | more).items():
            if data is not None:
                archive.writestr(name, data, zipfile.ZIP_STORED if name == "mimetype" else None)
    return file.getvalue()


def parts(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_units_are_the_title_then_pages_in_the_order_of_the_spine_then_contents(tmp_path):
    read = document(EpubFormat(), book(), tmp_path)
    page = ["Some words\xa0here1."]
    assert texts(read) == ["A & B", "One", "One", *page, "Two", "Two", *page, "Contents", "One", "A & B", "One"]
    assert len({unit.key for unit in read.units}) == len(read.units)
    assert read.units[1].key == "OEBPS/Text/one.xhtml#1"


def test_a_book_that_is_translated_by_itself_is_the_same_file(tmp_path):
    data = book()
    read = document(EpubFormat(), data, tmp_path)
    assert written(read, itself(read), tmp_path, "ar") == data


def test_a_translated_book_keeps_its_parts_and_says_its_language(tmp_path):
    data = book()
    read = document(EpubFormat(), data, tmp_path)
    done = parts(written(read, pseudo(read), tmp_path, "ar"))
    assert list(done) == list(PARTS)
    for name in ("mimetype", "META-INF/container.xml", "OEBPS/i.png", "OEBPS/style.css"):
        assert done[name] == parts(data)[name]
    assert done["OEBPS/book.opf"].decode() == (
        PACKAGE.replace("A &amp; B", "AA &amp; BB").replace('xml:lang="en"', 'xml:lang="ar"').replace(">en<", ">ar<")
        .replace("<spine toc", '<spine page-progression-direction="rtl" toc')
    )  # fmt: skip
    for name in ("OEBPS/Text/one.xhtml", "OEBPS/Text/two b.xhtml", "OEBPS/nav.xhtml"):
        root = etree.fromstring(done[name])
        assert (root.get("lang"), root.get("{http://www.w3.org/XML/1998/namespace}lang"), root.get("dir")) == ("ar", "ar", "rtl")
        assert [node.tag for node in root.iter()] == [node.tag for node in etree.fromstring(parts(data)[name]).iter()]
    assert done["OEBPS/toc.ncx"].decode() == NCX.replace("A &amp; B", "AA &amp; BB").replace("One", "OOnnee").replace('"en"', '"ar"')
    assert (
        '<p>SSoommee <em>wwoorrddss</em>\xa0hheerree<a epub:type="noteref" href="#n">1</a>.</p><svg><text>drawn</text>'
        in done["OEBPS/Text/one.xhtml"].decode()
    )


def test_one_translated_page_leaves_the_words_of_the_others(tmp_path):
    read = document(EpubFormat(), book(), tmp_path)
    done = parts(written(read, {"OEBPS/Text/one.xhtml#2": segment(["Eins"])}, tmp_path, "de"))
    assert b"<h1>Eins</h1>" in done["OEBPS/Text/one.xhtml"]
    assert done["OEBPS/Text/two b.xhtml"].decode() == PARTS["OEBPS/Text/two b.xhtml"].replace('lang="en"', 'lang="de"')
    with pytest.raises(InvalidRequest, match="no unit"):
        read.write({"OEBPS/Text/three.xhtml#1": segment(["x"])}, "de", tmp_path / "out")


PROTECTED = '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#"><EncryptionMethod Algorithm="{}"/></EncryptedData></encryption>'


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"META-INF/encryption.xml": PROTECTED.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")}, "protected against copying"),
        ({"META-INF/container.xml": None}, "lacks its part 'META-INF/container.xml'"),
        ({"META-INF/container.xml": "<container/>"}, "where its contents are"),
        ({"OEBPS/book.opf": None}, "lacks its part 'OEBPS/book.opf'"),
        ({"OEBPS/Text/one.xhtml": None}, "lacks its part 'OEBPS/Text/one.xhtml'"),
        ({"OEBPS/book.opf": '<!DOCTYPE a [<!ENTITY a "b">]><package/>'}, "entities"),
        ({"OEBPS/Text/one.xhtml": b"<p>\0</p>"}, "UTF-8"),
        ({"OEBPS/Text/one.xhtml": b"<p>" + b"ab" * (9 << 20)}, "200 times"),
    ],
)
def test_a_book_that_is_damaged_protected_or_harmful_is_refused(tmp_path, more, said):
    with pytest.raises(InvalidRequest, match=said):
        document(EpubFormat(), book(**more), tmp_path)


def test_a_book_whose_fonts_are_disguised_is_read(tmp_path):
    assert document(
        EpubFormat(), book(**{"META-INF/encryption.xml": PROTECTED.format("http://www.idpf.org/2008/embedding")}), tmp_path
    ).units
