import pytest
from lxml import etree, html

from document_trips import document, itself, pseudo, written
from yunmo.apps.translate.documents.bilingual import write_bilingual
from yunmo.apps.translate.documents.format import Unit
from yunmo.apps.translate.documents.html import HtmlFormat
from yunmo.apps.translate.documents.sidecar import SidecarLanguages, merge_sidecar, write_sidecar
from yunmo.apps.translate.documents.xliff import XliffFormat
from yunmo.apps.translate.segments import Tag, segment
from yunmo.core.errors import InvalidRequest

PAGE = "<p>Hello <b>big &amp; <i>wide</i></b><br>world</p><p title='A tip'>Second</p>"
LANGUAGES = SidecarLanguages("en", "de", "a & b.html")


@pytest.fixture
def page(tmp_path):
    return document(HtmlFormat(), PAGE, tmp_path)


@pytest.fixture
def sidecar(page, tmp_path):
    write_sidecar(page.units, pseudo(page), LANGUAGES, tmp_path / "side.xlf")
    return tmp_path / "side.xlf"


def test_what_is_written_is_read_again(page, sidecar):
    assert merge_sidecar(sidecar, page.units, {}).translations == pseudo(page)
    assert merge_sidecar(sidecar, page.units, itself(page)).outdated == ()


def test_a_sidecar_is_xliff_that_our_own_format_reads(page, tmp_path):
    write_sidecar(page.units, {}, LANGUAGES, tmp_path / "side.xlf")
    read = document(XliffFormat(), (tmp_path / "side.xlf").read_bytes(), tmp_path)
    assert [unit.segment.text for unit in read.units] == [unit.segment.text for unit in page.units]
    (tmp_path / "filled.xlf").write_bytes(written(read, pseudo(read), tmp_path))
    assert merge_sidecar(tmp_path / "filled.xlf", page.units, {}).translations == pseudo(page)


def test_corrections_go_into_the_documents_layout(page, sidecar, tmp_path):
    text = sidecar.read_text()
    assert text.count(">HHeelllloo ") == 1
    sidecar.write_text(text.replace(">HHeelllloo ", ">Hallo &lt;&#x4F60; "))
    merged = merge_sidecar(sidecar, page.units, {})
    assert written(page, merged.translations, tmp_path).startswith(
        b"<p>Hallo &lt;&#20320; <b>bbiigg &amp; <i>wwiiddee</i></b><br>wwoorrlldd</p>"
    )


def test_a_unit_whose_source_has_changed_is_outdated(page, sidecar, tmp_path):
    changed = document(HtmlFormat(), PAGE.replace("Second", "Third"), tmp_path, name="changed")
    merged = merge_sidecar(sidecar, changed.units, {"3": segment(["x"])})
    assert merged.outdated == ("3",)
    assert merged.translations["3"] == segment(["x"])
    fewer = document(HtmlFormat(), "<p>Other</p>", tmp_path, name="fewer")
    assert merge_sidecar(sidecar, fewer.units, {}).outdated == ("1", "2", "3")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('<ph id="3" disp="&lt;br&gt;"/>wwoorrlldd', "wwoorrlldd", "lacks the tag"),
        ("wwoorrlldd", '<ph id="9"/>', "take it out"),
        ("wwoorrlldd", '<ph id="x"/>', "take it out"),
        ("wwoorrlldd", '<cp hex="110000"/>', "which is none"),
        ("wwoorrlldd", '<cp hex="x"/>', "which is none"),
        ("</target>", "", "well-formed"),
        ("urn:oasis:names:tc:xliff:document:2.0", "urn:other", "not XLIFF 2"),
    ],
)
def test_a_damaged_sidecar_is_refused(page, sidecar, old, new, said):
    text = sidecar.read_text()
    assert old in text
    sidecar.write_text(text.replace(old, new))
    with pytest.raises(InvalidRequest, match=said):
        merge_sidecar(sidecar, page.units, {})


def test_pairs_of_other_tools_are_read(page, sidecar):
    root = etree.parse(sidecar)
    target = next(root.iter("{*}target"))
    inner = b'Hallo <pc id="1">gro\xc3\x9f <mrk id="m1" type="term"><pc id="2">weit</pc></mrk></pc><ph id="3"/>Welt'
    new = etree.fromstring(b'<target xmlns="urn:oasis:names:tc:xliff:document:2.0">' + inner + b"</target>")
    target.getparent().replace(target, new)
    root.write(sidecar)
    unit = page.units[0]
    b, i, i_, b_, br = unit.segment.tags
    assert merge_sidecar(sidecar, page.units, {}).translations["1"] == segment(["Hallo ", b, "groß ", i, "weit", i_, b_, br, "Welt"])


def test_characters_that_xml_cannot_hold_come_through(tmp_path):
    unit = Unit("a\x02", segment(["\x01 b \ufffe", Tag(1, "alone", "\x03<x>"), "\n c \r\n\ud800"]), "note\x05")
    write_sidecar([unit], {unit.key: unit.segment}, LANGUAGES, tmp_path / "side.xlf")
    assert merge_sidecar(tmp_path / "side.xlf", [unit], {}).translations == {unit.key: unit.segment}


def test_a_bilingual_page_has_a_row_for_each_unit(page, tmp_path):
    write_bilingual("a & b", page.units, {"1": segment(["<نص>"])}, ("en", "ar"), tmp_path / "both.html")
    root = html.parse(tmp_path / "both.html")
    rows = [[cell.text_content() for cell in row] for row in root.iter("tr")]
    assert rows == [["en", "ar"], ["Hello big & wideworld", "<نص>"], ["p titleA tip", ""], ["Second", ""]]
    assert [(cell.get("lang"), cell.get("dir")) for cell in next(root.iter("tbody"))[0]] == [("en", "ltr"), ("ar", "rtl")]
