import pptx
import pytest

from office_files import parts, pseudo, rich_presentation, skeleton, slide_of, translated, with_parts, word_document
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.pptx import PptxFormat
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest

A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"


def read(path):
    return PptxFormat().read(path, FormatOptions())


def shown(segment):
    signs = {"open": "<{}>", "close": "</{}>", "alone": "<{}/>"}
    return "".join(part if isinstance(part, str) else signs[part.kind].format(part.id) for part in segment.parts)


def slide_xml(path):
    return parts(path)["ppt/slides/slide1.xml"].decode()


def test_a_presentation_without_translations_or_with_its_own_texts_stays_byte_by_byte(tmp_path):
    source = rich_presentation(tmp_path / "a.pptx")
    document = read(source)
    document.write({}, "de", tmp_path / "b.pptx")
    translated(document, tmp_path / "c.pptx", change=lambda segment: segment)
    assert (tmp_path / "b.pptx").read_bytes() == source.read_bytes()
    assert (tmp_path / "c.pptx").read_bytes() == source.read_bytes()


def test_everything_that_an_audience_sees_is_a_unit_in_the_order_of_the_slides(tmp_path):
    units = read(rich_presentation(tmp_path / "a.pptx")).units
    assert [(unit.note, shown(unit.segment)) for unit in units] == [
        ("slide 1", "Welcome all"),
        ("slide 1", "First point"),
        ("slide 1", "<1>A </1><2>strong</2> second point"),
        ("slide 1, description", "A red bar"),
        ("slide 1, notes", "Smile at the audience"),
        ("slide 2", "Numbers"),
        ("slide 2, table", "City"),
        ("slide 2, table", "Guests"),
        ("slide 2, table", "Rome"),
        ("slide 2", "Slide <1/>of many"),
        ("slide 2, chart", "Revenue"),
        ("slide 2, chart", "North"),
        ("slide 2, chart", "South"),
        ("master", "For internal use"),
        ("document title", "Quarterly talk"),
    ]


def test_an_independent_reader_sees_the_translated_words_in_their_formats(tmp_path):
    presentation = pptx.Presentation(str(translated(read(rich_presentation(tmp_path / "a.pptx")), tmp_path / "b.pptx")))
    first, second = presentation.slides
    assert first.shapes.title.text == "[WELCOME ALL]"
    point = first.placeholders[1].text_frame.paragraphs[1]
    assert [(run.text, run.font.bold) for run in point.runs] == [("[A ]", None), ("[STRONG]", True), ("[ SECOND POINT]", None)]
    assert point.runs[0].hyperlink.address == "https://example.com/"
    assert first.notes_slide.notes_text_frame.text == "[SMILE AT THE AUDIENCE]"
    table = next(shape for shape in second.shapes if shape.has_table).table
    assert [cell.text for row in table.rows for cell in row.cells] == ["[CITY]", "[GUESTS]", "[ROME]", "12"]
    chart = next(shape for shape in second.shapes if shape.has_chart).chart
    assert (list(chart.plots[0].categories), chart.plots[0].series[0].name) == (["[NORTH]", "[SOUTH]"], "[REVENUE]")
    assert list(chart.plots[0].series[0].values) == [3, 4]


def test_a_translation_changes_texts_and_languages_and_nothing_else(tmp_path):
    before = parts(rich_presentation(tmp_path / "a.pptx"))
    after = parts(translated(read(tmp_path / "a.pptx"), tmp_path / "b.pptx"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "ppt/slides/slide1.xml", "ppt/slides/slide2.xml", "ppt/notesSlides/notesSlide1.xml", "ppt/charts/" + chart_name(before),
        "ppt/slideMasters/slideMaster1.xml", "docProps/core.xml",
    }  # fmt: skip

    def seen(xml):
        kept = skeleton(xml, {f"{A}t", f"{C}v"})
        return [
            (tag, [pair for pair in pairs if pair[0] not in {"lang", "descr"}], (text or "").strip())
            for tag, pairs, text in kept
            if tag != f"{A}rPr"
        ]

    for name in changed - {"docProps/core.xml"}:
        assert seen(before[name]) == seen(after[name]), name


def chart_name(files):
    return next(name.rpartition("/")[2] for name in files if name.startswith("ppt/charts/chart"))


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        (
            '<a:p><a:r><a:rPr lang="en-US" dirty="0"/><a:t>Hel</a:t></a:r><a:r><a:rPr lang="de-DE" err="1"/><a:t>lo</a:t></a:r></a:p>',
            "Hello",
        ),
        ("<a:p><a:r><a:t>One</a:t></a:r><a:br/><a:r><a:t>two</a:t></a:r></a:p>", "One<1/>two"),
        ('<a:p><a:r><a:rPr b="1"/><a:t>All</a:t></a:r><a:endParaRPr/></a:p>', "All"),
        ("<a:p><a:r><a:t>a</a:t></a:r><a:r><a:rPr><a:solidFill/></a:rPr><a:t>bc</a:t></a:r></a:p>", "<1>a</1>bc"),
    ],
)
def test_runs_of_one_look_are_one_text(tmp_path, paragraph, expected):
    document = read(slide_of(tmp_path / "a.pptx", paragraph))
    assert [shown(unit.segment) for unit in document.units] == [expected]
    translated(document, tmp_path / "b.pptx")
    assert [shown(unit.segment) for unit in read(tmp_path / "b.pptx").units] == [shown(pseudo(document.units[0].segment))]


def test_texts_name_their_language_and_keep_the_end_of_the_paragraph(tmp_path):
    source = slide_of(
        tmp_path / "a.pptx", '<a:p><a:r><a:rPr lang="en-US" b="1" dirty="0"/><a:t>Hi</a:t></a:r><a:endParaRPr lang="en-US"/></a:p>'
    )
    xml = slide_xml(translated(read(source), tmp_path / "b.pptx", "zh-Hans"))
    assert '<a:p><a:r><a:rPr lang="zh-CN" b="1" altLang="en-US"/><a:t>[HI]</a:t></a:r><a:endParaRPr lang="en-US"/></a:p>' in xml


def test_arabic_turns_the_paragraph_and_its_side(tmp_path):
    source = slide_of(
        tmp_path / "a.pptx", '<a:p><a:pPr algn="l"><a:buNone/></a:pPr><a:r><a:t>Hi</a:t></a:r></a:p>', "<a:p><a:r><a:t>Ho</a:t></a:r></a:p>"
    )
    arabic = translated(read(source), tmp_path / "b.pptx", "ar")
    assert '<a:p><a:pPr algn="r" rtl="1"><a:buNone/></a:pPr><a:r><a:rPr lang="ar-SA"/><a:t>[HI]</a:t>' in slide_xml(arabic)
    assert '<a:p><a:pPr rtl="1"/><a:r><a:rPr lang="ar-SA"/><a:t>[HO]</a:t>' in slide_xml(arabic)
    assert '<a:p><a:pPr algn="l" rtl="0"><a:buNone/></a:pPr>' in slide_xml(translated(read(arabic), tmp_path / "c.pptx", "en"))


def test_a_line_break_in_a_translation_is_one_on_the_slide(tmp_path):
    source = slide_of(tmp_path / "a.pptx", '<a:p><a:r><a:rPr b="1"/><a:t>One</a:t></a:r></a:p>')
    translated(read(source), tmp_path / "b.pptx", change=lambda _: Segment(("Eins\nzwei",)))
    frame = pptx.Presentation(str(tmp_path / "b.pptx")).slides[0].shapes[0].text_frame
    assert frame.text == "Eins\vzwei"
    assert [run.font.bold for run in frame.paragraphs[0].runs] == [True, True]


def test_comments_of_both_kinds_are_units(tmp_path):
    source = slide_of(tmp_path / "a.pptx", "<a:p><a:r><a:t>Hi</a:t></a:r></a:p>")
    kept = parts(source)
    links = kept["ppt/slides/_rels/slide1.xml.rels"].decode()
    types = kept["[Content_Types].xml"].decode()
    link = '<Relationship Id="c{0}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/comments" Target="/ppt/comments/c{0}.xml"/>'
    override = '<Override PartName="/ppt/comments/c{0}.xml" ContentType="{1}"/>'
    old = '<p:cmLst xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"><p:cm authorId="0"><p:text>Too long</p:text></p:cm></p:cmLst>'
    new = (
        '<x:cmLst xmlns:x="http://schemas.microsoft.com/office/powerpoint/2018/8/main" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main">'
        "<x:cm><x:txBody><a:bodyPr/><a:p><a:r><a:t>Too short</a:t></a:r></a:p></x:txBody></x:cm></x:cmLst>"
    )
    added = {
        "ppt/slides/_rels/slide1.xml.rels": links.replace(
            "</Relationships>", link.format(1) + link.format(2) + "</Relationships>"
        ).encode(),
        "[Content_Types].xml": types.replace(
            "</Types>",
            override.format(1, "application/vnd.openxmlformats-officedocument.presentationml.comments+xml")
            + override.format(2, "application/vnd.ms-powerpoint.comments+xml")
            + "</Types>",
        ).encode(),
        "ppt/comments/c1.xml": old.encode(),
        "ppt/comments/c2.xml": new.encode(),
    }
    units = read(with_parts(source, added)).units
    assert [(unit.note, unit.segment.text) for unit in units] == [
        ("slide 1", "Hi"),
        ("slide 1, comment", "Too long"),
        ("slide 1, comment", "Too short"),
    ]


def test_a_word_document_under_the_name_of_a_presentation_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="one of Word, not of PowerPoint"):
        read(word_document(tmp_path / "a.pptx"))
