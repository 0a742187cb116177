from xml.etree import ElementTree as ET

import pytest

from office_files import (
    OPEN,
    open_document,
    parts,
    pseudo,
    rich_open_presentation,
    rich_open_spreadsheet,
    rich_open_text,
    skeleton,
    translated,
    with_parts,
    word_document,
)
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.opendocument import ODP, ODS, ODT
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest

T = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
KINDS = [(ODT, rich_open_text), (ODS, rich_open_spreadsheet), (ODP, rich_open_presentation)]


def read(path, kind=ODT):
    return kind.read(path, FormatOptions())


def shown(segment):
    signs = {"open": "<{}>", "close": "</{}>", "alone": "<{}/>"}
    return "".join(part if isinstance(part, str) else signs[part.kind].format(part.id) for part in segment.parts)


def units(document):
    return [(unit.note, shown(unit.segment)) for unit in document.units]


def content(path):
    return parts(path)["content.xml"].decode()


def paragraph_document(path, inner):
    return open_document(path, "text", f"<text:p>{inner}</text:p>")


@pytest.mark.parametrize(("kind", "make"), KINDS, ids=[kind.name for kind, _ in KINDS])
def test_a_document_without_translations_or_with_its_own_texts_stays_byte_by_byte(tmp_path, kind, make):
    source = make(tmp_path / "a")
    document = read(source, kind)
    document.write({}, "de", tmp_path / "b")
    translated(document, tmp_path / "c", change=lambda segment: segment)
    assert (tmp_path / "b").read_bytes() == source.read_bytes()
    assert (tmp_path / "c").read_bytes() == source.read_bytes()


def test_everything_that_people_read_in_a_text_is_a_unit(tmp_path):
    assert units(read(rich_open_text(tmp_path / "a.odt"))) == [
        ("", "The year in short"),
        ("", "Our <1>best</1> year,  with <2>new</2><3/>customers & friends.<4/>Second line."),
        ("", "Read <1>our <2>site</2></1> on page <3/> today."),
        ("", "A note<1/> in the text."),
        ("footnote", "See the report."),
        ("comment", "Is that so?"),
        ("table", "Region"),
        ("text box", "Motto of the house"),
        ("description", "A box with a motto"),
        ("header", "Confidential report"),
        ("document title", "Open letter"),
    ]


def test_a_spreadsheet_s_texts_are_units_once_and_what_formulas_look_for_stays(tmp_path):
    assert units(read(rich_open_spreadsheet(tmp_path / "a.ods"), ODS)) == [("table", "North"), ("document title", "Open letter")]
    after = content(translated(read(tmp_path / "a.ods", ODS), tmp_path / "b.ods"))
    assert after.count("<text:p>[NORTH]</text:p>") == 2
    assert all(f"<text:p>{kept}</text:p>" in after for kept in ("Open", "Go", "3", "June"))


def test_a_presentation_s_slides_are_told_apart_and_its_placeholders_stay(tmp_path):
    assert units(read(rich_open_presentation(tmp_path / "a.odp"), ODP)) == [
        ("slide 1, text box", "Welcome"),
        ("slide 1, notes, text box", "Smile"),
        ("slide 2, text box", "Goodbye"),
        ("slide 2, notes, text box", "Smile"),
        ("text box", "For internal use"),
        ("document title", "Open letter"),
    ]


@pytest.mark.parametrize(("kind", "make"), KINDS, ids=[kind.name for kind, _ in KINDS])
def test_a_translation_changes_texts_and_languages_and_nothing_else(tmp_path, kind, make):
    before = parts(make(tmp_path / "a"))
    after = parts(translated(read(tmp_path / "a", kind), tmp_path / "b"))
    assert list(before) == list(after)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"content.xml", "styles.xml", "meta.xml"}

    def seen(xml):
        """Everything but words; a span around a text that only an editor knows of may go or stay."""
        every = [
            (tag, [pair for pair in pairs if pair[0].rpartition("}")[2] not in {"language", "country"}])
            for tag, pairs, _ in skeleton(xml, set())
        ]
        return [each for each in every if each[0] not in {f"{T}span", f"{T}s"}]

    for name in changed:
        assert seen(before[name]) == seen(after[name]), name


def test_an_independent_reader_sees_the_translated_words_in_their_spans(tmp_path):
    root = ET.fromstring(content(translated(read(rich_open_text(tmp_path / "a.odt")), tmp_path / "b.odt")))
    texts = ["".join(each.itertext()) for each in root.iter(f"{T}p")]
    assert "[OUR ][BEST][ YEAR,  WITH ][NEW][CUSTOMERS & FRIENDS.][SECOND LINE.]".replace("  ", " ") in texts
    bold = [span.text for span in root.iter(f"{T}span") if span.get(f"{T}style-name") == "T1"]
    assert bold == ["[BEST]", "[SITE]"]
    link = next(root.iter(f"{T}a"))
    assert (link.get("{http://www.w3.org/1999/xlink}href"), "".join(link.itertext())) == ("https://example.com/", "[OUR ][SITE]")


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("  Two   words\n ", "Two words"),
        ("a<text:s/><text:s text:c='3'/>b", "a    b"),
        ("a<text:s text:c='99999999999'/>b<text:s text:c='-1'/>c", "a b c"),
        ("Hel<text:span text:style-name='T3'>lo </text:span> you", "Hello you"),
        ("<text:bookmark text:name='b'/>Hello <text:bookmark text:name='c'/> you", "Hello <1/>you"),
        ("<text:span text:style-name='T1'><text:span text:style-name='T2'>all</text:span></text:span>", "all"),
        ("<text:ruby><text:ruby-base>云</text:ruby-base><text:ruby-text>yún</text:ruby-text></text:ruby>模", "云模"),
        ("soft<text:soft-page-break/>ly", "softly"),
        ("<text:span text:style-name='T1'>x<text:line-break/>y</text:span> and much more", "<1>x<2/>y</1> and much more"),
    ],
)
def test_white_space_and_spans_are_read_as_they_show(tmp_path, inner, expected):
    document = read(paragraph_document(tmp_path / "a.odt", inner))
    assert units(document)[0][1] == expected
    translated(document, tmp_path / "b.odt")
    assert units(read(tmp_path / "b.odt"))[0][1] == shown(pseudo(document.units[0].segment))


def test_a_link_stays_within_the_span_that_it_stood_in(tmp_path):
    inner = '<text:span text:style-name="T1">See <text:a xlink:href="x">it</text:a></text:span> now'
    document = read(paragraph_document(tmp_path / "a.odt", inner))
    assert units(document)[0][1] == "<1>See </1><2>it</2> now"
    wanted = '<text:span text:style-name="T1">[SEE ]</text:span><text:span text:style-name="T1"><text:a xlink:href="x">[IT]</text:a></text:span>[ NOW]'
    assert wanted in content(translated(document, tmp_path / "b.odt"))


def test_spaces_tabs_and_breaks_of_a_translation_show(tmp_path):
    document = read(paragraph_document(tmp_path / "a.odt", "Hello <text:span text:style-name='T1'>you</text:span>"))
    change = Segment(("  a  b \tc\nd ", *document.units[0].segment.parts[1:]))
    document.write({document.units[0].key: change}, "de", tmp_path / "b.odt")
    wanted = '<text:p><text:s text:c="2"/>a <text:s text:c="1"/>b <text:tab/>c<text:line-break/>d <text:span text:style-name='
    assert wanted in content(tmp_path / "b.odt")


def test_styles_name_the_language_of_the_translation(tmp_path):
    source = paragraph_document(tmp_path / "a.odt", "Hello")
    chinese = parts(translated(read(source), tmp_path / "b.odt", "zh-Hans"))
    assert 'fo:country="US" style:language-asian="zh" style:country-asian="CN"' in chinese["styles.xml"].decode()
    german = parts(translated(read(source), tmp_path / "c.odt", "de"))
    assert 'fo:language="de" fo:country="DE" style:language-asian="ja"' in german["styles.xml"].decode()
    assert 'officeooo:rsid="0012" fo:language="de" fo:country="DE"' in german["content.xml"].decode()
    arabic = parts(translated(read(source), tmp_path / "d.odt", "ar"))
    assert 'style:tab-stop-distance="1cm" style:writing-mode="rl-tb"/>' in arabic["styles.xml"].decode()
    assert 'style:language-complex="ar" style:country-complex="SA"' in arabic["styles.xml"].decode()


def test_charts_in_a_document_are_translated_and_formulas_are_not_read(tmp_path):
    chart = (
        f"<office:document-content {OPEN}><office:body><office:chart><chart:chart><chart:title><text:p>Sales</text:p></chart:title><table:table><table:table-row>"
        '<table:table-cell office:value-type="string"><text:p>North</text:p></table:table-cell></table:table-row></table:table></chart:chart></office:chart></office:body></office:document-content>'
    )
    formula = '<!DOCTYPE math PUBLIC "-//OpenOffice.org//DTD Modified W3C MathML 1.01//EN" "math.dtd"><math xmlns="http://www.w3.org/1998/Math/MathML"/>'
    more = {"Object 1/content.xml": chart, "Object 2/content.xml": formula}
    document = read(open_document(tmp_path / "a.odt", "text", "<text:p>Hello</text:p>", **more))
    assert [unit.segment.text for unit in document.units] == ["Hello", "Sales", "North", "Open letter"]
    after = parts(translated(document, tmp_path / "b.odt"))
    assert b"<text:p>[SALES]</text:p>" in after["Object 1/content.xml"]
    assert after["Object 2/content.xml"].decode() == formula


def test_deleted_text_stays(tmp_path):
    deleted = "<text:tracked-changes><text:changed-region text:id='c'><text:deletion><text:p>gone</text:p></text:deletion></text:changed-region></text:tracked-changes>"
    document = read(open_document(tmp_path / "a.odt", "text", f"{deleted}<text:p>he<text:change text:change-id='c'/>re</text:p>"))
    assert [shown(unit.segment) for unit in document.units] == ["he<1/>re", "Open letter"]


def test_a_signed_document_s_translation_is_not_signed_and_macros_are_told(tmp_path):
    signed = (
        f'<document-signatures xmlns="urn:oasis:names:tc:opendocument:xmlns:digitalsignature:1.0" {OPEN}><Signature/></document-signatures>'
    )
    more = {"META-INF/documentsignatures.xml": signed, "Basic/Standard/Module1.xml": "<a/>"}
    document = read(open_document(tmp_path / "a.odt", "text", "<text:p>Hello</text:p>", **more))
    assert document.notices == (
        "The file holds macros, which are kept as they are.",
        "The file is signed; a translation of it carries no signature.",
    )
    assert b"<Signature/>" not in parts(translated(document, tmp_path / "b.odt"))["META-INF/documentsignatures.xml"]


def test_encrypted_and_other_files_are_refused(tmp_path):
    source = paragraph_document(tmp_path / "a.odt", "Hello")
    with pytest.raises(InvalidRequest, match=r"no \.ods file: give it the extension"):
        read(source, ODS)
    with pytest.raises(InvalidRequest, match="no OpenDocument file"):
        read(word_document(tmp_path / "w.odt"))
    manifest = (
        parts(source)["META-INF/manifest.xml"]
        .decode()
        .replace("/></manifest:manifest>", "><manifest:encryption-data/></manifest:file-entry></manifest:manifest>")
    )
    with pytest.raises(InvalidRequest, match="encrypted: open it with its password"):
        read(with_parts(source, {"META-INF/manifest.xml": manifest.encode()}))
