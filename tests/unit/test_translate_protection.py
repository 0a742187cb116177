"""What a translation leaves as it is becomes tags."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate.protection import protect, protected
from yunmo.apps.translate.segments import Tag, segment
from yunmo.core.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello {name}, you have {0} of {1:.2f} {}", ["{name}", "{0}", "{1:.2f}", "{}"]),
        ("你好{name}，共{{count}}条", ["{name}", "{{count}}"]),
        ("Pay ${amount} to #{user}", ["${amount}", "#{user}"]),
        ("%s of %d files (%1$s, %(size)s, %-5.2f, %%)", ["%s", "%d", "%1$s", "%(size)s", "%-5.2f", "%%"]),
        ("正在复制“%s”到%2$s的第%d页", ["%s", "%2$s", "%d"]),
        ("Copied %1 of %n files, %L2 left", ["%1", "%n", "%L2"]),
        ("50% off, 100% sure, 5 % de marge, 100%d", []),
        ("%complete and %age are words", []),
        ("Hi %{user}, set %PATH% or $HOME", ["%{user}", "%PATH%", "$HOME"]),
        ("Costs $5 and $US", ["$US"]),
        ("请访问https://example.com/a?b=c查看", ["https://example.com/a?b=c"]),
        ("See https://example.com/a_(b). Or (www.example.org)!", ["https://example.com/a_(b)", "www.example.org"]),
        ("Open example.com/docs, not e.g.this or file.name", ["example.com/docs"]),
        ("Mail a.b+c@example.co.uk, or 写信给me@example.com吧", ["a.b+c@example.co.uk", "me@example.com"]),
        ("Run `rm -rf x` or ``a `b` c``", ["`rm -rf x`", "``a `b` c``"]),
        ("Use `this' or `that' and `more'", []),
        (
            'A <b>bold</b> word<br/> <a href="x.html">here</a> <0>z</0>',
            ["<b>", "</b>", "<br/>", '<a href="x.html">', "</a>", "<0>", "</0>"],
        ),
        ("if a <b and c> d, use <file>", []),
        ("{n, plural, one {# item of {x}} other {# items}} left", ["{n, plural, one {# item of {x}} other {# items}}"]),
        ("{n, number} and {d, date, short}", ["{n, number}", "{d, date, short}"]),
        ("{n, plural, one {", []),
        ("__NAME__ is __private_name__", ["__NAME__", "__private_name__"]),
        ("http:// alone, {not this one}, 注意{：}", []),
    ],
)
def test_placeholders_addresses_and_code_are_found_and_the_rest_is_text(text, found):
    assert list(protected(text)) == found
    assert protect(segment([text])).source == text


def test_kept_words_are_found_whole_and_the_longest_first():
    assert protected("Yunmo Cloud and Yunmo, not Yunmoed or yunmo", ["Yunmo", "Yunmo Cloud"]) == ("Yunmo Cloud", "Yunmo")
    assert protected("云模是云模平台的名字，C++很好", ["云模", "云模平台", "C++"]) == ("云模", "云模平台", "C++")
    assert protected("用Yunmo训练", ["Yunmo"]) == ("Yunmo",)


def test_too_many_kept_words_are_refused():
    assert protected("w4999", [f"w{number}" for number in range(5000)]) == ("w4999",)
    with pytest.raises(InvalidRequest, match="5001 words"):
        protected("w", [f"w{number}" for number in range(5001)])


def test_tags_that_were_there_stay_and_new_ones_get_new_ids():
    original = segment([Tag(7, "open", "<b>"), "Hello {name}", Tag(7, "close", "</b>"), " %s"])
    assert protect(original).parts == (
        Tag(7, "open", "<b>"),
        "Hello ",
        Tag(8, "alone", "{name}"),
        Tag(7, "close", "</b>"),
        " ",
        Tag(9, "alone", "%s"),
    )


def test_protecting_twice_changes_nothing_more():
    once = protect(segment(["Open https://example.com with `x` and {y}"]))
    assert protect(once) == once


@given(st.text(alphabet="ab中 {}%$<>`'\"/:.@()[],#0189sdwh_\n!", max_size=80))
def test_no_character_is_lost_whatever_the_text(text):
    result = protect(segment([text]))
    assert result.source == text
    assert all(tag.text and tag.kind == "alone" for tag in result.tags)
    assert len({tag.id for tag in result.tags}) == len(result.tags)


@pytest.mark.parametrize(
    "text",
    ["{" * 20_000, "`" * 20_000, "a." * 20_000, "%(" * 20_000, "<a " * 20_000, "x@" * 20_000, "{{" + "a" * 40_000, "{a,plural," * 4_000],
)
def test_hostile_texts_take_no_more_than_their_length_s_time(text):
    started = time.process_time()
    assert protect(segment([text])).source == text
    assert time.process_time() - started < 5
