import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree, html

from document_trips import document, itself, pseudo, texts, written
from yunmo.apps.translate.documents.html import HtmlFormat
from yunmo.apps.translate.segments import Tag, segment
from yunmo.core.errors import InvalidRequest

PAGE = """<!DOCTYPE html>
<html lang="en">\r
<head><meta charset="utf-8"><title>Tea &amp; coffee</title>
<meta name="description" content='It&#39;s a "page"'><meta name=viewport content="width=device-width">
<style>p > a { color: red }</style><script>if (a < b && "</p>") document.write("<b>no</b>")</script></head>
<body class=main>
<!-- a comment <p>that stays</p> -->
<p>  This is a <b>bold
   claim</b>, and <a href="x?a=1&amp;b=2" title="A tip">a <i>nested</i> link</a> to <code>f(&lt;x&gt;)</code><!-- hidden -->&nbsp;here.  </p>
<p><strong>All of it</strong></p>
<ul><li>One<li>Two<br>lines<BR/><br>three</ul>
<img src="a.png" alt='The "cat"'> <input type=submit value=Send> <input type="text" value="no" placeholder="Your name">
<div translate="no">Never <p>this</p></div> <p class="x notranslate y">Nor this</p> <p>But <span translate=no>Yunmo</span> is kept</p>
<pre>let x = 1;</pre> <textarea>mine</textarea> 3.14 <p>5 &lt; 6 &copy; me</p>
<button aria-label="Close it">Close</button>
</body></html>
"""


KEPT = [
    '<meta charset="utf-8">',
    '<meta name=viewport content="width=device-width">',
    "<style>p > a { color: red }</style>",
    """<script>if (a < b && "</p>") document.write("<b>no</b>")</script>""",
    "<!-- a comment <p>that stays</p> -->",
    '<input type="text" value="no"',
    '<div translate="no">Never <p>this</p></div>',
    '<p class="x notranslate y">Nor this</p>',
    "<span translate=no>Yunmo</span>",
    "<pre>let x = 1;</pre> <textarea>mine</textarea> 3.14",
]


@pytest.fixture
def page(tmp_path):
    return document(HtmlFormat(), PAGE, tmp_path)


def skeleton(data):
    """Every element with its attributes' names, as another parser sees them, without what is translated."""
    root = html.document_fromstring(data.decode())
    return [(node.tag, sorted(node.attrib)) if isinstance(node.tag, str) else ("comment", node.text) for node in root.iter()]


def test_paragraphs_titles_and_attributes_that_people_read_are_units(page):
    assert texts(page) == [
        "Tea & coffee",
        'It\'s a "page"',
        "This is a bold claim, and a nested link to \xa0here.",
        "A tip",
        "All of it",
        "One",
        "Twolines",
        "three",
        'The "cat"',
        "Send",
        "Your name",
        "But  is kept",
        "5 < 6 © me",
        "Close it",
        "Close",
    ]


def test_inline_tags_nest_in_one_segment_and_a_line_break_breaks_no_sentence(page):
    kinds = [(tag.id, tag.kind, tag.text) for tag in page.units[2].segment.tags]
    assert kinds == [
        (1, "open", "<b>"),
        (1, "close", "</b>"),
        (2, "open", '<a href="x?a=1&amp;b=2" title="A tip">'),
        (3, "open", "<i>"),
        (3, "close", "</i>"),
        (2, "close", "</a>"),
        (4, "alone", "<code>f(&lt;x&gt;)</code>"),
        (5, "alone", "<!-- hidden -->"),
    ]


def test_a_page_that_is_translated_by_itself_is_the_same_bytes(page, tmp_path):
    assert written(page, itself(page), tmp_path, "ar") == PAGE.encode()
    assert written(page, {}, tmp_path) == PAGE.encode()


def test_another_parser_sees_the_same_elements_after_a_translation(page, tmp_path):
    done = written(page, pseudo(page), tmp_path)
    assert skeleton(done) == skeleton(PAGE.encode())
    assert b'<p>  TThhiiss iiss aa <b>bboolldd ccllaaiimm</b>, aanndd <a href="x?a=1&amp;b=2" title="AA ttiipp">aa <i>' in done
    assert b'value="SSeenndd"' in done
    assert b'<html lang="de">\r\n' in done
    for kept in KEPT:
        assert kept in PAGE
        assert kept.encode() in done


def test_an_attribute_of_a_paragraph_that_stays_is_translated_alone(page, tmp_path):
    tip = next(unit for unit in page.units if unit.segment.text == "A tip")
    assert written(page, {tip.key: segment(['Ein "Tipp"'])}, tmp_path, "en").decode() == PAGE.replace("A tip", "Ein &quot;Tipp&quot;")


def test_tags_may_change_their_places(page, tmp_path):
    unit = page.units[2]
    b, b_, a, i, i_, a_, code, note = unit.segment.tags
    moved = segment(["", a, i, "X", i_, a_, " ", code, note, b, "Y < Z", b_])
    assert (
        b'<p>  <a href="x?a=1&amp;b=2" title="A tip"><i>X</i></a> <code>f(&lt;x&gt;)</code><!-- hidden --><b>Y &lt; Z</b>  </p>'
        in written(page, {unit.key: moved}, tmp_path)
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tags: tags[1:],
        lambda tags: [*tags, tags[0]],
        lambda tags: [*tags, Tag(9, "alone", "<script>")],
        lambda tags: [tags[1], tags[0], *tags[2:]],
        lambda tags: [tags[0], tags[2], tags[1], *tags[3:]],
    ],
)
def test_a_translation_without_its_tags_is_refused_and_nothing_is_written(page, tmp_path, spoil):
    unit = page.units[2]
    with pytest.raises(InvalidRequest, match="unit '3'"):
        page.write({unit.key: segment(["x", *spoil(list(unit.segment.tags))])}, "de", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_translation_writes_in_a_tag_is_not_taken_from_it(page, tmp_path):
    unit = page.units[6]
    (tag,) = unit.segment.tags
    done = written(page, {unit.key: segment(["a", Tag(tag.id, tag.kind, "<script>alert(1)</script>"), "b"])}, tmp_path)
    assert b"<li>a<br>b<BR/>" in done


def test_a_translation_from_right_to_left_says_so(page, tmp_path):
    done = written(page, pseudo(page), tmp_path, "fa")
    assert b'<html dir="rtl" lang="fa">' in done
    other = document(HtmlFormat(), '<html dir=rtl lang=ar xml:lang="ar"><p>نص</p></html>', tmp_path)
    assert written(other, pseudo(other), tmp_path, "en").startswith(b'<html dir="ltr" lang="en" xml:lang="en">')


def test_lines_that_break_between_chinese_characters_have_no_space_and_korean_ones_have(tmp_path):
    assert texts(document(HtmlFormat(), "<p>中文\n  断行</p><p>한국어\n문장</p><p>中文\nEnglish</p>", tmp_path)) == [
        "中文断行",
        "한국어 문장",
        "中文 English",
    ]


@pytest.mark.parametrize(
    ("encoding", "declared"), [("iso-8859-1", "iso-8859-1"), ("gb18030", "gb2312"), ("shift_jis", "shift_jis"), ("utf-16", "utf-16")]
)
def test_a_page_keeps_its_encoding_and_writes_what_it_lacks_as_references(tmp_path, encoding, declared):
    text = f'<meta charset="{declared}"><p>{"é" if encoding == "iso-8859-1" else "漢字"} a</p>'
    page = document(HtmlFormat(), text.encode(encoding), tmp_path)
    assert written(page, itself(page), tmp_path) == text.encode(encoding)
    done = written(page, {page.units[0].key: segment(["ก 😀"])}, tmp_path)
    assert html.document_fromstring(done.decode(encoding)).text_content() == "ก 😀"


def test_a_page_that_names_no_encoding_is_written_in_signs_that_every_browser_reads(tmp_path):
    page = document(HtmlFormat(), "<p>Tea</p>", tmp_path)
    assert written(page, {"1": segment(["茶"])}, tmp_path) == b"<p>&#33590;</p>"
    page = document(HtmlFormat(), "<meta charset=iso-8859-1><p>Tea</p>", tmp_path)
    assert written(page, {"1": segment(["Thé 茶"])}, tmp_path) == b"<meta charset=iso-8859-1><p>Th\xe9 &#33590;</p>"


def test_xhtml_is_still_well_formed(tmp_path):
    text = '<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en"><body><P/><p>A<br/>b &#160;c</p><script>x("a &lt; b")</script></body></html>'
    page = document(HtmlFormat(), text, tmp_path)
    done = written(page, pseudo(page, lambda text: text + "<&\x01"), tmp_path, "he")
    root = etree.fromstring(done)
    assert root.attrib["dir"] == "rtl"
    assert root[0][1].text == "A<&"


@pytest.mark.parametrize(
    "text",
    [
        "<b>" * 50_000 + "x" + "</i>" * 50_000,
        "<div>" * 100_000 + "x",
        "<" * 200_000,
        "<a b='" * 50_000,
        '<a b="c' * 50_000,
        "<!--" * 50_000,
        "<![" * 50_000,
        "<!a>" * 50_000,
        "<title>" * 50_000,
        "<code>" * 50_000 + "x",
        "&" * 200_000,
        "<p><br>" * 50_000,
        "<a " + "x " * 200_000,
    ],
    ids=lambda text: text[:8],
)
def test_a_page_that_is_made_to_do_harm_is_read_in_time_and_written_again(tmp_path, text):
    started = time.process_time()
    page = document(HtmlFormat(), text, tmp_path)
    assert written(page, itself(page), tmp_path) == text.encode()
    written(page, pseudo(page), tmp_path)
    assert time.process_time() - started < 10


def test_what_is_no_text_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="UTF-8"):
        document(HtmlFormat(), b"<p>\0\0\0</p>", tmp_path)
    with pytest.raises(InvalidRequest, match="split it"):
        document(HtmlFormat(), b" " * ((16 << 20) + 1), tmp_path)


_WORDS = st.text(st.sampled_from("ab Z.é中\n&<>\"'"), min_size=1, max_size=12).map(
    lambda text: text.replace("&", "&amp;").replace("<", "&lt;")
)
_INLINE = st.recursive(
    _WORDS | st.sampled_from(["<br>", "<img src=x alt='y z'>", "<!-- c -->", "<code>k</code>"]),
    lambda inner: st.tuples(st.sampled_from(["b", "i", "span", "a", "em"]), st.lists(inner, max_size=4)).map(
        lambda x: f"<{x[0]} title='t x'>{''.join(x[1])}</{x[0]}>"
    ),
    max_leaves=12,
)
_BLOCKS = st.recursive(
    st.lists(_INLINE, max_size=5).map(lambda parts: f"<p>{''.join(parts)}</p>"),
    lambda inner: st.tuples(st.sampled_from(["div", "ul", "section", "td"]), st.lists(inner, max_size=4)).map(
        lambda x: f"<{x[0]}>{''.join(x[1])}</{x[0]}>"
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_BLOCKS)
def test_any_page_is_the_same_bytes_by_itself_and_the_same_elements_translated(tmp_path, text):
    page = document(HtmlFormat(), text, tmp_path)
    assert written(page, itself(page), tmp_path) == text.encode()
    done = written(page, pseudo(page), tmp_path)
    assert skeleton(b"<html>" + done) == skeleton(b"<html>" + text.encode())
    words, doubled = (html.document_fromstring("<html>" + page).text_content() for page in (text, done.decode()))
    assert doubled.count("Z") == 2 * words.count("Z")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("<>/!-=\"' abp&;[]?"), max_size=60))
def test_any_soup_is_read_and_written_again(tmp_path, text):
    page = document(HtmlFormat(), text, tmp_path)
    assert written(page, itself(page), tmp_path) == text.encode()
    written(page, pseudo(page), tmp_path)
