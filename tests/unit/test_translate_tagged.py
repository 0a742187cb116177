"""Texts with tags: what is translated, what stays, and that nothing is lost."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate.segments import Segment, Tag, segment
from yunmo.apps.translate.tagged import TagRules, read_tagged
from yunmo.core.errors import InvalidRequest

XML = TagRules()
HTML = TagRules("html")
STRICT = TagRules(is_strict=True)


def shouted(text, rules=XML):
    """The text with its segments in capitals: what is not in capitals was not offered for translation."""
    tagged = read_tagged(text, rules)
    return tagged.write([segment(p.upper() if isinstance(p, str) else p for p in each.parts) for each in tagged.segments])


def texts(text, rules=XML):
    return ["".join(p if isinstance(p, str) else f"[{p.kind}]" for p in each.parts) for each in read_tagged(text, rules).segments]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Press <i>Continue</i> to go on.", ["Press [open]Continue[close] to go on."]),
        ("<doc><title>A title</title><par>One <b>two</b>.</par><par>Three</par></doc>", ["A title", "One [open]two[close].", "Three"]),
        ("Hello <b><i>World</i></b> now", ["Hello [open][open]World[close][close] now"]),
        ("<b>Hello</b>", ["Hello"]),
        ("  <p>  One two  </p>\n", ["One two"]),
        ("A<br/>B", ["A[alone]B"]),
        ("<!-- note -->Text<?pi?>", ["Text"]),
        ("<a>1 &lt; 2</a>", ["1 < 2"]),
        ("<a>…</a>", []),
        ("", []),
    ],
)
def test_xml_is_split_where_no_text_stands_beside_an_element(text, expected):
    assert texts(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>One <b>two</b></p><p>Three", ["One [open]two[close]", "Three"]),
        ("<ul><li>One<li>Two</ul>", ["One", "Two"]),
        ("<b>New</b> <i>York</i>", ["[open]New[close] [open]York[close]"]),
        ("<script>if (a < b) alert('x')</script><p>Text</p><style>p > b {}</style>", ["Text"]),
        ('Say <span translate="no">Yunmo</span> and <b class="a notranslate b">Hub</b> loud', ["Say [alone] and [alone] loud"]),
        ("Tom &amp; Jerry &copy; 10&nbsp;km", ["Tom & Jerry © 10\xa0km"]),
        ("<IMG SRC=a.png alt=x>Picture", ["[alone]Picture"]),
        ("line one<br>line two", ["line one", "line two"]),
    ],
)
def test_html_is_split_by_what_browsers_put_on_lines_of_their_own(text, expected):
    assert texts(text, HTML) == expected


def test_what_is_ignored_stays_and_what_stands_beside_it_is_one_segment():
    rules = TagRules(ignored=frozenset({"x"}))
    text = 'Hello <x id="1">do <b>not</b> touch</x>, <x id="2"></x> and <x id="3"/> <x>all</x>'
    assert shouted(text, rules) == 'HELLO <x id="1">do <b>not</b> touch</x>, <x id="2"></x> AND <x id="3"/> <x>all</x>'
    assert texts("<b>Hello</b> <x>v1</x>", rules) == ["[open]Hello[close] [alone]"]
    assert texts('<x id="1"></x> <x id="2"></x>', rules) == []


def test_tags_split_or_do_not_as_they_are_told():
    text = "<par>One</par><par>Two</par>"
    assert texts(text, TagRules(non_splitting=frozenset({"par"}))) == ["[open]One[close][open]Two[close]"]
    assert texts(text, TagRules(finds_outline=False)) == ["[open]One[close][open]Two[close]"]
    assert texts("One<cut/>two", TagRules(finds_outline=False, splitting=frozenset({"cut"}))) == ["One", "two"]


def test_only_what_was_translated_is_written_anew():
    assert shouted("<a>x &quot;y&quot; &gt;</a><b>1 &#62; 0</b>") == '<a>X "Y" &gt;</a><b>1 &#62; 0</b>'
    assert shouted("Tom & Jerry <b>a & b</b>") == "TOM &amp; JERRY <b>A &amp; B</b>"
    assert shouted("a &unknown; b") == "A &unknown; B"


@pytest.mark.parametrize(
    "text", ["<a>", "</a>", "<a></b>", "<a><b></a></b>", "a < b", "a & b", "<a b=c/>", "<a b='<'/>", "<!-- x", "<a <b/>"]
)
def test_what_is_not_well_formed_is_refused_if_the_rules_are_strict(text):
    with pytest.raises(InvalidRequest, match="Tag handling parsing failed, please check input"):
        read_tagged(text, STRICT)
    assert shouted(text).lower().replace("&lt;", "<").replace("&amp;", "&") == text.lower()


@pytest.mark.parametrize(
    "text", ["<a b='1' c=\"2\"/> x", "a &amp; &#20; b", "<a>x</a > y", "<ns:a-b.c xml:lang='en'>x</ns:a-b.c>", "<![CDATA[<a>]]> x"]
)
def test_what_is_well_formed_passes_the_strict_rules(text):
    assert read_tagged(text, STRICT).write(read_tagged(text, STRICT).segments) == text


SIGNS = """<a> </a> <b> </b> <p> </p> <x> </x> <br/> <br> < > & &amp; &zz; &#0; &#x1F600; <!-- --> <script> </script> <? ?> <![CDATA[ ]]> " ' word 词"""
PIECES = st.sampled_from([*SIGNS.split(), " ", "\n", "\x00", "<a b='", "<p class=notranslate>"])


@given(st.lists(PIECES | st.text(max_size=4)).map("".join), st.sampled_from(["xml", "html"]), st.booleans())
def test_a_text_whose_segments_come_back_as_they_are_is_the_same_to_the_byte(text, markup, finds_outline):
    rules = TagRules(markup, finds_outline=finds_outline, splitting=frozenset({"b"}), ignored=frozenset({"x"}))
    tagged = read_tagged(text, rules)
    assert tagged.write(tagged.segments) == text
    for each in tagged.segments:
        ids = [tag.id for tag in each.tags if tag.kind != "close"]
        assert len(ids) == len(set(ids))
        assert {tag.id for tag in each.tags if tag.kind == "close"} == {tag.id for tag in each.tags if tag.kind == "open"}
        assert each == Segment(segment(each.parts).parts)
        assert all(isinstance(part, str | Tag) for part in each.parts)


@pytest.mark.parametrize("piece", ["<!--", "<a>", "<a b='", "</b>", "<?", "<![CDATA[", "<script>", "&", '<a "', "<x><", "<a>t", " class='"])
def test_no_text_takes_longer_than_its_length(piece):
    text = piece * (120_000 // len(piece)) + "end</b>" * 100
    started = time.process_time()
    for markup in ("xml", "html"):
        tagged = read_tagged(text, TagRules(markup, ignored=frozenset({"x"})))
        assert tagged.write(tagged.segments) == text
    assert time.process_time() - started < 5
