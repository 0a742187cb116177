import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from document_trips import document, itself, pseudo, texts, written
from yunmo.apps.translate.documents.markdown import MarkdownFormat
from yunmo.apps.translate.segments import Segment, segment
from yunmo.core.errors import InvalidRequest

README = """---
title: "Front *matter*"
---

# A *heading* with `code` #

Para with **bold
text**, [a link](http://x "T") and ![alt text](i.png),\r
a hard break  \r
next line\\
third &amp; \\* star <b>html</b><!-- note --> <https://a.b>.

> Quote line one
> continues **here**
lazy

- [ ] Task one
- Item two
  with [shortcut], [full][shortcut], [coll][] and ~~gone~~ text[^1]

   1. Ordered

| Apple | B \\| c |
|---|:-:|
| x | `a\\|b` y |

```py
code = 1
```

<div class="x">
<p title="tip">Html <i>block</i></p>
</div>

    indented code

Setext
heading
===

***

[shortcut]: http://y "title"
[coll]: http://z

[^1]: Footnote with $a_1 * b$ for $5 and $6.
"""


@pytest.fixture
def readme(tmp_path):
    return document(MarkdownFormat(), README, tmp_path)


def shape(text):
    """Markdown's tokens as another parser sees them, without words."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    found = []
    for token in markdown.parse(re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)):
        found.append(
            (token.type, token.tag, token.info, token.level, token.content if "code" in token.type or token.type == "fence" else "")
        )
        inner = [child for child in token.children or [] if child.type not in {"text", "softbreak", "text_special"}]
        found += [(child.type, tuple(child.attrs.items()), child.content if child.type != "image" else "") for child in inner]
    return found


def test_blocks_are_units_with_their_formats_as_tags(readme):
    assert texts(readme) == [
        "A heading with ",
        "Para with bold text, a link and , a hard breaknext linethird & * star html .",
        "alt text",
        "Quote line one continues here lazy",
        "Task one",
        "Item two with shortcut, full, coll and gone text",
        "Ordered",
        "Apple",
        "B | c",
        "x",
        " y",
        "tip",
        "Html block",
        "Setext heading",
        "Footnote with  for $5 and $6.",
    ]
    assert [tag.text for tag in readme.units[1].segment.tags] == [
        "**", "**", "[", '](http://x "T")', "![alt text](i.png)", "  \r\n", "\\\n", "<b>", "</b>", "<!-- note -->", "<https://a.b>",
    ]  # fmt: skip


def test_a_document_that_is_translated_by_itself_is_the_same_bytes(readme, tmp_path):
    assert written(readme, itself(readme), tmp_path) == README.encode()


def test_another_parser_sees_the_same_structure_after_a_translation(readme, tmp_path):
    done = written(readme, pseudo(readme), tmp_path).decode()
    assert shape(done) == shape(README)
    assert "# AA *hheeaaddiinngg* wwiitthh `code` #\n" in done
    assert "> QQuuoottee lliinnee oonnee ccoonnttiinnuueess **hheerree** llaazzyy\n\n" in done
    assert "[sshhoorrttccuutt][shortcut], [ffuullll][shortcut], [ccoollll][coll]" in done
    assert "| AAppppllee | BB \\| cc |" in done
    assert "[^1]: FFoooottnnoottee wwiitthh $a_1 * b$ ffoorr $5 aanndd $6." in done
    assert "![aalltt tteexxtt](i.png)," in done
    assert done.startswith(README.split("#", maxsplit=1)[0])


@pytest.mark.parametrize(
    ("text", "translation", "done"),
    [
        ("Text\n", "1. First", "1\\. First\n"),
        ("Text\n", "- item", "\\- item\n"),
        ("Text\n", "# no heading", "\\# no heading\n"),
        ("Text\n", "> no quote", "\\> no quote\n"),
        ("Text\n", "[x]: y", "\\[x]: y\n"),
        ("Text\n", "-1 is no item? It could be\n\nor two", "\\-1 is no item? It could be or two\n"),
        ("# Text\n", "1. First #", "# 1. First \\#\n"),
        ("Text\n", "a * b, snake_case and 2 < 3", "a * b, snake_case and 2 < 3\n"),
        ("Text\n", "*stars* & <b>", "\\*stars\\* \\& \\<b\\>\n"),
        ("Text\n", "&amp; `tick`", "\\&amp; \\`tick\\`\n"),
        ("| Text |\n|---|\n", "a | b", "| a \\| b |\n|---|\n"),
        ("Text  \nmore\n", None, None),
    ],
)
def test_words_that_markdown_would_read_as_signs_are_escaped_and_no_others(tmp_path, text, translation, done):
    read = document(MarkdownFormat(), text, tmp_path)
    if translation:
        assert written(read, {"1": segment([translation])}, tmp_path).decode() == done
    else:
        (tag,) = read.units[0].segment.tags
        assert written(read, {"1": segment(["a", tag, "- b"])}, tmp_path).decode() == "a  \n\\- b\n"


def test_emphasis_that_chinese_punctuation_would_undo_is_written_as_html(tmp_path):
    read = document(MarkdownFormat(), "This is **important**: do *it* ~~not~~.\n", tmp_path)
    b, b_, e, e_, s, s_ = read.units[0].segment.tags
    done = written(read, {"1": segment(["这是", b, "“重要”的。", b_, "请", e, "做", e_, s, "不", s_])}, tmp_path, "zh-Hans").decode()
    assert done == "这是<strong>“重要”的。</strong>请<em>做</em><del>不</del>\n"
    done = written(read, {"1": segment(["这是", b, "重要", b_, "的，请", e, "做", e_, s, "不", s_])}, tmp_path, "zh-Hans").decode()
    assert done == "这是**重要**的，请*做*~~不~~\n"


def test_a_link_that_is_all_of_its_paragraph_keeps_its_address(tmp_path):
    read = document(MarkdownFormat(), "- [Home page]\n- [About][]\n\n[home page]: /h\n[about]: /a\n", tmp_path)
    done = written(read, pseudo(read), tmp_path).decode()
    assert done == "- [HHoommee ppaaggee][Home page]\n- [AAbboouutt][About]\n\n[home page]: /h\n[about]: /a\n"


def test_a_picture_whose_description_is_the_name_of_its_address_keeps_it(tmp_path):
    read = document(MarkdownFormat(), "See ![Logo] and ![Cat][pic] and ![Dog](d).\n\n[logo]: l.png\n[pic]: c.png\n", tmp_path)
    assert texts(read) == ["See  and  and .", "Cat", "Dog"]
    assert written(read, pseudo(read), tmp_path).decode().startswith("SSeeee ![Logo] aanndd ![CCaatt][pic] aanndd ![DDoogg](d).\n")


def test_tags_that_markdown_cannot_write_so_are_refused(tmp_path):
    read = document(MarkdownFormat(), "See [one](a) and [two](b) here.\n", tmp_path)
    a, a_, b, b_ = read.units[0].segment.tags
    with pytest.raises(InvalidRequest, match="no way to write"):
        read.write({"1": segment(["x ", a, "y ", b, "z", b_, a_])}, "de", tmp_path / "out")
    with pytest.raises(InvalidRequest, match="lacks the tag"):
        read.write({"1": segment(["x ", a, "y", a_])}, "de", tmp_path / "out")


def test_code_between_quotes_and_items_stays(tmp_path):
    text = "> - Item\n>\n>   ```\n>   no words\n>   ```\n>\n>   <p>raw</p>\n\n\tindented\n"
    read = document(MarkdownFormat(), text, tmp_path)
    assert texts(read) == ["Item"]
    assert written(read, pseudo(read), tmp_path).decode() == text.replace("Item", "IItteemm")


def test_toml_front_matter_and_a_file_without_an_end_stay(tmp_path):
    for text in ("+++\ntitle = 'x'\n+++\nText", "---\n\n---\nText", "---\nText"):
        read = document(MarkdownFormat(), text, tmp_path)
        assert texts(read) == ["Text"]
        assert written(read, pseudo(read), tmp_path).decode() == text.replace("Text", "TTeexxtt")


@pytest.mark.parametrize(
    "text",
    ["[" * 20_000, "*a " * 20_000, "`" * 20_000 + "a", ">" * 20_000 + "a", "- " * 5_000 + "a", "[a](" * 10_000, "<b>" * 20_000, "$a " * 20_000, "|" * 20_000, "![[]()" * 5_000, "[^" * 20_000, "|a" * 5_000 + "|\n" + "|-" * 5_000 + "|", "a\n" * 20_000],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_a_document_that_is_made_to_do_harm_is_read_in_time_and_written_again(tmp_path, text):
    started = time.process_time()
    read = document(MarkdownFormat(), text, tmp_path)
    assert written(read, itself(read), tmp_path) == text.encode()
    assert time.process_time() - started < 20


_WORDS = (
    st.text(st.sampled_from("ab Zé中.,:!-1"), min_size=1, max_size=10).map(str.strip).filter(lambda text: any(c.isalpha() for c in text))
)
_SPANS = st.recursive(
    _WORDS | st.sampled_from(["`k_k`", "![z](i)", "<br>", "a\\*b", "&copy;", "<http://a.b>", "$x*y$", "a  \nb", "a\nb", "<!-- c -->", "[^1]"]),
    lambda inner: st.tuples(st.sampled_from(["**%s**", "*%s*", "~~%s~~", "[%s](u)", "<b>%s</b>", "__%s__", "[%s][r]"]), st.lists(inner, min_size=1, max_size=3)).map(lambda x: x[0] % " ".join(x[1])),
    max_leaves=8,
)  # fmt: skip
_PARAGRAPHS = st.lists(_SPANS, min_size=1, max_size=4).map(" ".join)
_ONE_LINE = _PARAGRAPHS.map(lambda text: re.sub(r"\s+", " ", text))
_DOCUMENTS = st.lists(
    _PARAGRAPHS
    | st.tuples(st.sampled_from(["# %s", "### %s ##", "%s\n---", "> %s", "- %s", "1. %s", "- a\n\n  %s", "> - %s", "| A | B |\n|---|---|\n| %s | b |"]), _ONE_LINE).map(lambda x: x[0] % x[1])
    | st.sampled_from(["```\ncode a\n```", "    code a", "<p>Html <b>a</b></p>", "***"]),
    min_size=1, max_size=5,
).map(lambda blocks: "\n\n".join([*blocks, "[r]: http://r\n"]))  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_DOCUMENTS)
def test_any_document_keeps_its_structure(tmp_path, text):
    read = document(MarkdownFormat(), text, tmp_path)
    assert written(read, itself(read), tmp_path) == text.encode()
    done = written(read, pseudo(read), tmp_path).decode()
    assert html_free(shape(done)) == html_free(shape(text))


def html_free(tokens):
    """Emphasis may have become HTML, where Markdown has no way to write it."""
    names = {
        "<strong>": "strong_open",
        "</strong>": "strong_close",
        "<em>": "em_open",
        "</em>": "em_close",
        "<del>": "s_open",
        "</del>": "s_close",
    }
    return [
        (names.get(token[-1], token[0]) if token[0] == "html_inline" else token[0], token[1:2] if token[0] == "link_open" else ())
        for token in tokens
    ]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("a b*_`[]()<>!\\#-|\n$~&;:1.>\t^"), max_size=60))
def test_any_soup_is_read_and_written_again(tmp_path, text):
    read = document(MarkdownFormat(), text, tmp_path)
    assert written(read, itself(read), tmp_path) == text.encode()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.text(st.sampled_from("a b*_`[]()<>!\\#-|$~&;:1.^é中 "), min_size=1, max_size=30).filter(lambda text: text.strip()))
def test_any_words_of_a_translation_are_read_as_these_words(tmp_path, words):
    read = document(MarkdownFormat(), "Text and **bold** text.\n", tmp_path)
    bold, bold_ = read.units[0].segment.tags
    done = written(read, {"1": Segment((f"{words} x ", bold, "b", bold_, f" y {words}"))}, tmp_path).decode()
    again = document(MarkdownFormat(), done, tmp_path)
    assert " ".join(again.units[0].segment.text.split()) == " ".join(f"{words} x b y {words}".split())
    assert [token.type for token in MarkdownIt().parse(done)] == ["paragraph_open", "inline", "paragraph_close"]
