import re
import time

import docx
import pytest

from office_files import (
    CHANGED,
    FIELD,
    TEXT_BOX,
    paragraph,
    parts,
    pseudo,
    rich_word_document,
    run,
    skeleton,
    translated,
    with_parts,
    word_document,
)
from yunmo.apps.translate.documents.docx import DocxFormat
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"


def read(path):
    return DocxFormat().read(path, FormatOptions())


def shown(segment):
    signs = {"open": "<{}>", "close": "</{}>", "alone": "<{}/>"}
    return "".join(part if isinstance(part, str) else signs[part.kind].format(part.id) for part in segment.parts)


def document_xml(path):
    return parts(path)["word/document.xml"].decode()


def test_a_document_without_translations_or_with_its_own_texts_stays_byte_by_byte(tmp_path):
    source = rich_word_document(tmp_path / "a.docx")
    document = read(source)
    document.write({}, "de", tmp_path / "b.docx")
    translated(document, tmp_path / "c.docx", change=lambda segment: segment)
    assert (tmp_path / "b.docx").read_bytes() == source.read_bytes()
    assert (tmp_path / "c.docx").read_bytes() == source.read_bytes()


def test_everything_that_people_read_is_a_unit(tmp_path):
    units = read(rich_word_document(tmp_path / "a.docx")).units
    assert [(unit.note, shown(unit.segment)) for unit in units] == [
        ("", "The year in short"),
        ("", "Our <1>best</1> year, with <2>new</2> customers & <friends>.<3/>Second line."),
        ("table", "Region"),
        ("table", "Sales"),
        ("table", "North"),
        ("", "Read <1>our <2>site</2></1> today."),
        ("description", "Opens the site"),
        ("", "A note<1/> in the text."),
        ("description", "A box with a motto"),
        ("text box", "Motto of the house"),
        ("", "Page <1/> of the report."),
        ("", "Go <1>elsewhere</1>."),
        ("", "It was <1>good</1><2/> weather."),
        ("header", "Confidential report"),
        ("footer", "Yours faithfully"),
        ("footnote", "See the annual report."),
        ("comment", "Is that so?"),
        ("chart", "Sales by region"),
        ("chart", "Revenue"),
        ("chart", "North"),
        ("chart", "South"),
        ("diagram", "Plan the work"),
        ("document title", "Annual review"),
    ]
    assert len({unit.key for unit in units}) == len(units)


def test_an_independent_reader_sees_the_translated_words_in_their_formats(tmp_path):
    document = docx.Document(translated(read(rich_word_document(tmp_path / "a.docx")), tmp_path / "b.docx"))
    mixed = document.paragraphs[1]
    assert mixed.text == "[OUR ][BEST][ YEAR, WITH ][NEW][ CUSTOMERS & <FRIENDS>.]\n[SECOND LINE.]"
    assert [run.text for run in mixed.runs if run.bold] == ["[BEST]"]
    assert [run.text for run in mixed.runs if run.italic] == ["[NEW]"]
    assert [cell.text for row in document.tables[0].rows for cell in row.cells] == ["[REGION]", "[SALES]", "[NORTH]", "1,234.50"]
    link = next(paragraph for paragraph in document.paragraphs if paragraph.hyperlinks).hyperlinks[0]
    assert (link.text, link.url) == ("[OUR ][SITE]", "https://example.com/")
    assert document.sections[0].header.paragraphs[0].text == "[CONFIDENTIAL REPORT]"
    assert document.core_properties.title == "[ANNUAL REVIEW]"
    assert [comment.text for comment in document.comments] == ["[IS THAT SO?]"]


def test_a_translation_changes_texts_and_languages_and_nothing_else(tmp_path):
    before = parts(rich_word_document(tmp_path / "a.docx"))
    after = parts(translated(read(tmp_path / "a.docx"), tmp_path / "b.docx"))
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "word/document.xml", "word/header1.xml", "word/footer1.xml", "word/footnotes.xml", "word/comments.xml", "word/charts/chart1.xml",
        "word/diagrams/data1.xml", "word/diagrams/drawing1.xml", "docProps/core.xml",
    }  # fmt: skip
    ignored = {f"{W}lang", f"{W}rPr", f"{W}r"}

    def seen(xml):
        """Runs are written anew and name the language; all other elements are the same."""
        kept = skeleton(xml, {f"{W}t", f"{A}t", "{http://schemas.openxmlformats.org/drawingml/2006/chart}v"})
        return [
            (
                tag,
                [] if tag == f"{W}t" else [pair for pair in attributes if pair[0] not in {"lang", "descr", f"{W}tooltip"}],
                (text or "").strip(),
            )
            for tag, attributes, text in kept
            if tag not in ignored
        ]

    for name in changed - {"docProps/core.xml"}:
        assert seen(before[name]) == seen(after[name]), name


def test_both_branches_of_a_text_box_get_one_translation(tmp_path):
    document = read(word_document(tmp_path / "a.docx", paragraph(TEXT_BOX)))
    assert [unit.segment.text for unit in document.units] == ["A box with a motto", "Motto of the house"]
    assert document_xml(translated(document, tmp_path / "b.docx")).count("[MOTTO OF THE HOUSE]") == 2


def test_a_text_box_within_a_text_is_translated_with_it(tmp_path):
    document = read(word_document(tmp_path / "a.docx", paragraph(run("Before ") + TEXT_BOX + run(" behind"))))
    assert [shown(unit.segment) for unit in document.units] == ["Before <1/> behind", "A box with a motto", "Motto of the house"]
    xml = document_xml(translated(document, tmp_path / "b.docx"))
    assert xml.count("[MOTTO OF THE HOUSE]") == 2
    assert xml.index("[BEFORE ]") < xml.index("[MOTTO") < xml.index("[ BEHIND]")


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (run("Hel") + '<w:proofErr w:type="spellStart"/>' + run("lo", '<w:lang w:val="fr-FR"/>') + run(" you", "<w:noProof/>"), "Hello you"),
        (run("Mind") + "<w:r><w:tab/></w:r>" + run("the") + '<w:r><w:br w:type="page"/></w:r>' + run("gap"), "Mind<1/>the<2/>gap"),
        (run("Seen ") + run("XX-1", "<w:vanish/>") + run("only"), "Seen <1/>only"),
        ("<w:r><w:t>co</w:t><w:noBreakHyphen/><w:t>op</w:t><w:softHyphen/><w:t>erate</w:t></w:r>", "co\u2011operate"),
        ("<w:r><w:t>  Trimmed  </w:t></w:r>", "Trimmed"),
        (run("Sum ") + FIELD.format(code="= 1 + 2", result=run("three")) + run(" done"), "Sum <1/> done"),
        (FIELD.format(code="TOC", result="").replace('<w:r><w:fldChar w:fldCharType="end"/></w:r>', "") + run("Chapter"), "Chapter"),
        ('<w:fldSimple w:instr=" DATE ">' + run("May") + "</w:fldSimple>" + run(" it be"), "it be"),
        ("<w:sdt><w:sdtPr><w:text/></w:sdtPr><w:sdtContent>" + run("Name") + "</w:sdtContent></w:sdt>" + run(" of who asks"), "<1>Name</1> of who asks"),
        ("<w:sdt><w:sdtPr><w:dropDownList/></w:sdtPr><w:sdtContent>" + run("Yes") + "</w:sdtContent></w:sdt>" + run(" or no"), "or no"),
        (
            "<w:r><w:ruby><w:rubyPr/><w:rt><w:r><w:t>yún</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>云</w:t></w:r></w:rubyBase></w:ruby></w:r>" + run("模"),
            "云模",
        ),
        (CHANGED.format(inserted=run("All new"), deleted="old"), "All new"),
    ],
)  # fmt: skip
def test_what_a_paragraph_says_is_read_as_word_shows_it(tmp_path, inner, expected):
    document = read(word_document(tmp_path / "a.docx", paragraph(inner)))
    assert [shown(unit.segment) for unit in document.units] == [expected]
    translated(document, tmp_path / "b.docx")
    assert [shown(unit.segment) for unit in read(tmp_path / "b.docx").units] == [shown(pseudo(document.units[0].segment))]


def test_field_codes_and_deleted_text_stay_as_they_are(tmp_path):
    source = rich_word_document(tmp_path / "a.docx")
    xml = document_xml(translated(read(source), tmp_path / "b.docx"))
    for kept in (' HYPERLINK "https://example.org/" ', " PAGE ", "<w:delText>bad</w:delText>"):
        assert kept in xml


def test_chinese_texts_name_a_font_and_a_hint_for_their_signs(tmp_path):
    source = word_document(
        tmp_path / "a.docx",
        paragraph(run("Times", '<w:rFonts w:ascii="Times New Roman"/><w:sz w:val="20"/>') + "<w:r><w:br/></w:r>" + run("plain words")),
    )
    xml = document_xml(translated(read(source), tmp_path / "b.docx", "zh-Hans"))
    assert (
        '<w:rPr><w:rFonts w:ascii="Times New Roman" w:hint="eastAsia" w:eastAsia="SimSun"/><w:sz w:val="20"/><w:lang w:eastAsia="zh-CN"/></w:rPr>'
        in xml
    )
    assert '<w:rPr><w:rFonts w:hint="eastAsia" w:eastAsia="Microsoft YaHei"/><w:lang w:eastAsia="zh-CN"/></w:rPr>' in xml


@pytest.mark.parametrize(
    ("named", "styled", "expected"),
    [
        ("", "仿宋_GB2312", '<w:rFonts w:hint="eastAsia"/>'),
        ("", "MS Mincho", '<w:rFonts w:hint="eastAsia" w:eastAsia="Microsoft YaHei"/>'),
        (' w:eastAsia="KaiTi"', "MS Mincho", '<w:rFonts w:eastAsia="KaiTi" w:hint="eastAsia"/>'),
        (' w:eastAsia="Times New Roman"', "SimSun", '<w:rFonts w:eastAsia="Microsoft YaHei" w:hint="eastAsia"/>'),
        (' w:eastAsiaTheme="minorEastAsia"', "", '<w:rFonts w:eastAsiaTheme="minorEastAsia" w:hint="eastAsia"/>'),
    ],
)
def test_a_chinese_font_is_named_only_where_the_document_names_none(tmp_path, named, styled, expected):
    source = word_document(tmp_path / "a.docx", paragraph(run("Hello", f"<w:rFonts{named}/>")))
    styles = re.sub(rb'w:eastAsia(?:Theme)?="[^"]*"', f'w:eastAsia="{styled}"'.encode(), parts(source)["word/styles.xml"])
    with_parts(source, {"word/styles.xml": styles})
    assert expected in document_xml(translated(read(source), tmp_path / "b.docx", "zh-Hans"))


def test_bold_and_large_arabic_stays_so(tmp_path):
    source = word_document(tmp_path / "a.docx", paragraph(run("Hello", '<w:b w:val="1"/><w:iCs/><w:sz w:val="40"/>')))
    wanted = (
        '<w:rPr><w:b w:val="1"/><w:bCs w:val="1"/><w:iCs/><w:sz w:val="40"/><w:szCs w:val="40"/><w:rtl/><w:lang w:bidi="ar-SA"/></w:rPr>'
    )
    assert wanted in document_xml(translated(read(source), tmp_path / "b.docx", "ar"))


def test_a_chinese_text_that_becomes_english_loses_the_hint(tmp_path):
    source = word_document(
        tmp_path / "a.docx", paragraph(run("云模", '<w:rFonts w:hint="eastAsia" w:eastAsia="宋体"/><w:lang w:eastAsia="zh-CN"/>'))
    )
    xml = document_xml(translated(read(source), tmp_path / "b.docx", "en"))
    assert '<w:rPr><w:rFonts w:eastAsia="宋体"/><w:lang w:eastAsia="zh-CN" w:val="en-US"/></w:rPr>' in xml


def test_arabic_turns_the_paragraph_and_english_turns_it_back(tmp_path):
    source = word_document(tmp_path / "a.docx", paragraph('<w:pPr><w:keepNext/><w:jc w:val="left"/></w:pPr>' + run("Hello", "<w:b/>")))
    arabic = translated(read(source), tmp_path / "b.docx", "ar")
    assert '<w:pPr><w:keepNext/><w:bidi/><w:jc w:val="left"/></w:pPr>' in document_xml(arabic)
    assert '<w:rPr><w:b/><w:bCs/><w:rtl/><w:lang w:bidi="ar-SA"/></w:rPr>' in document_xml(arabic)
    english = document_xml(translated(read(arabic), tmp_path / "c.docx", "en-GB"))
    assert "<w:bidi/>" not in english
    assert "<w:rtl/>" not in english


def test_a_line_break_in_a_translation_is_one_in_the_document(tmp_path):
    source = word_document(tmp_path / "a.docx", paragraph(run("One")))
    translated(read(source), tmp_path / "b.docx", change=lambda _: Segment(("Eins\nzwei\t drei \x07&",)))
    assert docx.Document(tmp_path / "b.docx").paragraphs[0].text == "Eins\nzwei\t drei &"


def test_strict_documents_with_other_prefixes_are_read_and_written_in_their_own_way(tmp_path):
    source = word_document(tmp_path / "a.docx")
    strict = '<d:document xmlns:d="http://purl.oclc.org/ooxml/wordprocessingml/main"><d:body><d:p><d:r><d:t>Hello</d:t></d:r></d:p></d:body></d:document>'
    with_parts(source, {"word/document.xml": strict.encode()})
    after = document_xml(translated(read(source), tmp_path / "b.docx"))
    assert after == strict.replace("<d:t>Hello", '<d:rPr><d:lang d:val="de-DE"/></d:rPr><d:t>[HELLO]')


def test_a_link_s_field_that_reaches_out_of_another_holder_is_left_as_marks(tmp_path):
    begin, rest = FIELD.format(code='HYPERLINK "x"', result=run("there")).split("</w:r>", 1)
    inner = run("Go ") + f"<w:smartTag>{begin}</w:r></w:smartTag>" + rest
    assert [shown(unit.segment) for unit in read(word_document(tmp_path / "a.docx", paragraph(inner))).units] == ["Go <1/>there"]


def test_a_paragraph_of_thousands_of_fragments_is_read_in_seconds(tmp_path):
    mark = '<w:bookmarkStart w:id="{0}" w:name="n{0}"/>'
    inner = "".join(run("a") + mark.format(number) + '<w:r><w:fldChar w:fldCharType="begin"/></w:r>' for number in range(8_000))
    body = paragraph(f"<w:body><w:p>{inner}{run('b') * 12_000}</w:p></w:body>")
    source = with_parts(word_document(tmp_path / "a.docx"), {"word/document.xml": body.encode()})
    started = time.process_time()
    assert len(read(source).units) == 1
    assert time.process_time() - started < 10


def test_unknown_units_and_foreign_tags_are_refused(tmp_path):
    document = read(word_document(tmp_path / "a.docx", paragraph(run("a ") + run("b", "<w:b/>") + run(" long", ""))))
    with pytest.raises(InvalidRequest, match="no unit 'word/other'"):
        document.write({"word/other": Segment(("x",))}, "de", tmp_path / "b.docx")
    with pytest.raises(InvalidRequest, match="other tags"):
        document.write({document.units[0].key: Segment(("x",))}, "de", tmp_path / "b.docx")
    assert not (tmp_path / "b.docx").exists()


def test_a_deeply_nested_document_and_one_with_entities_are_refused(tmp_path):
    source = word_document(tmp_path / "a.docx")
    for xml in (b"<a>" * 300, b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'):
        with_parts(source, {"word/document.xml": xml})
        with pytest.raises(InvalidRequest, match=r"nested deeper|of its own"):
            read(source)
