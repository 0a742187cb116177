"""The examples of training data: pages, catalogues of programs, and the baseline of n-grams."""

import gettext
import io
import json
import math
import struct

import debian_faq
import glosses
import pytest
import software_pairs
from catalogues import cleaned, messages
from hypothesis import given
from hypothesis import strategies as st
from ngrams import KneserNey, of_bytes, of_words, pieces, surprise
from pages import Block, blocks, joined_lines
from test_training_splits import package

from yunmo.core.errors import InvalidRequest


def catalogue(entries, charset="UTF-8", order="<"):
    """A compiled catalogue as msgfmt writes it: sorted, each string with a zero behind it."""
    told = {"": f"Content-Type: text/plain; charset={charset}\nPlural-Forms: nplurals=1; plural=0;\n"} | entries
    pairs = sorted((key.encode(charset), value.encode(charset)) for key, value in told.items())
    start = 28 + 16 * len(pairs)
    tables, data = [b"", b""], b""
    for side in (0, 1):
        for pair in pairs:
            tables[side] += struct.pack(f"{order}2I", len(pair[side]), start + len(data))
            data += pair[side] + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return head + b"".join(tables) + data


@pytest.mark.parametrize(("charset", "order"), [("UTF-8", "<"), ("GB2312", "<"), ("UTF-8", ">")])
def test_catalogues_are_read_as_gettext_reads_them(charset, order):
    content = catalogue({"Open": "打开", "menu\x04Close": "关闭", "%d file\0%d files": "%d 个文件"}, charset, order)
    known = gettext.GNUTranslations(io.BytesIO(content))
    assert known.gettext("Open") == "打开"
    assert dict(messages(content)) == {"Open": known.gettext("Open"), "Close": known.pgettext("menu", "Close"), "%d files": "%d 个文件"}


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04" * 9, catalogue({"Open": "打开"})[:60], catalogue({"A": "甲"}).replace(b"UTF-8", b"nosuc")]
)
def test_what_is_no_catalogue_is_refused(content):
    with pytest.raises(InvalidRequest, match=r"no \.mo file"):
        list(messages(content))


@pytest.mark.parametrize(
    ("english", "chinese", "pair"),
    [
        ("_Open File...", "打开文件(_O)...", ("Open File...", "打开文件...")),
        ("E&xit", "退出(&X)", ("Exit", "退出")),
        ("~Insert", "插入(~I)", ("Insert", "插入")),
        ("Use <b>my_file</b> &amp; go", "使用 <b>my_file</b>\n并前往", ("Use my_file & go", "使用 my_file 并前往")),
        ("C & C++ files", "C & C++ 文件", ("C & C++ files", "C & C++ 文件")),
        ("one\ntwo", "第一行\n第二行", ("one two", "第一行第二行")),
        ("%s: no such file", "%s：没有这个文件", ("%s: no such file", "%s：没有这个文件")),
        ("OpenGL", "OpenGL", None),
        ("x", "大小", None),
        ("Please read the manual of this program", "Please read the manual 程序", None),
        ("long " * 200, "长" * 20, None),
    ],
)
def test_messages_lose_what_is_there_for_machines(english, chinese, pair):
    assert cleaned(english, chinese) == pair


def test_help_pages_are_aligned_by_the_names_of_their_paragraphs(tmp_path):
    english = '<p id="par_1" class="paragraph">Saves the file.</p><p id="par_2">Only <b>here</b>.</p><h1 id="hd_3">Saving</h1>'
    chinese = '<h1 id="hd_3">保存</h1><p id="par_9">多余的段落。</p><p id="par_1">保存该\n文件。</p>'
    ours = package(tmp_path / "en.tar.gz", {"help/en-US/text/a.html": english, "help/en-US/media/a.html": english})
    theirs = package(tmp_path / "zh.tar.gz", {"help/zh-CN/text/a.html": chinese, "help/zh-CN/text/b.html": chinese})
    assert list(software_pairs.help_pairs(ours, theirs)) == [("Saving", "保存"), ("Saves the file.", "保存该文件。")]


def test_held_out_programs_are_measured_on_messages_that_no_other_has():
    learned = [("Open file", "打开文件"), ("Close", "关闭")]
    held_out = [("Open File…", "打开一个文件"), ("Shut", "关闭"), ("Print", "打印")]
    assert software_pairs.unseen(held_out, learned) == [("Print", "打印")]


def test_no_program_is_both_learned_from_and_held_out():
    learned, held_out = ({source.name for source in part} for part in (software_pairs.LEARNED, software_pairs.HELD_OUT))
    assert not learned & held_out
    assert len(held_out) == len(software_pairs._HELD_OUT_NAMES)


PAGE = """<html><head><title>No</title></head><body><div class="navheader">no</div><h1><a id="c1"></a>Chapter 1. Basics</h1>
<div class="toc"><div><p>1.1. no</p></div>no</div><h2 class="title"><a id="what"></a>1.1. What is
it?</h2><p>A <em>thing</em>.</p><ul><li><p>big</p></li><li>old</li></ul><pre>a
  b</pre><h3><a id="apt"></a>1.1.1. APT</h3><p>A tool.</p><h2><a id="empty"></a>1.2. Nothing?</h2></body></html>"""


def test_pages_are_read_block_by_block_without_navigation():
    assert [(block.tag, block.text, block.is_item) for block in blocks(PAGE)] == [
        ("h1", "Chapter 1. Basics", False),
        ("h2", "1.1. What is it?", False),
        ("p", "A thing.", False),
        ("p", "big", True),
        ("li", "old", True),
        ("pre", "a\n  b", False),
        ("h3", "1.1.1. APT", False),
        ("p", "A tool.", False),
        ("h2", "1.2. Nothing?", False),
    ]


def test_sections_are_questions_with_answers_and_titles_get_what_stands_above_them():
    found = {section.anchor: section for section in debian_faq.sections(PAGE)}
    assert {anchor: section.question for anchor, section in found.items()} == {"what": "What is it?", "apt": "What is it? – APT"}
    whole, is_cut = debian_faq.shortened(found["what"].answer, 99, len)
    assert (whole, is_cut) == ("A thing.\n- big\n- old\n\na\n  b", False)


@pytest.mark.parametrize(
    ("answer", "limit", "text"),
    [
        (["One. Two.", "Three."], 12, "One. Two."),
        (["One. Two.", "These:", "Four, five, six, seven."], 18, "One. Two."),
        (["One two. Three four. Five six."], 20, "One two. Three four."),
        (["第一句。第二句！第三句。"], 9, "第一句。第二句！"),
    ],
)
def test_long_answers_end_behind_a_paragraph_or_a_sentence(answer, limit, text):
    assert debian_faq.shortened([Block("p", each) for each in answer], limit, len) == (text, True)


def test_lines_of_chinese_are_joined_without_a_space():
    assert joined_lines("关于 Debian\n项目的\n问题。\n请看") == "关于 Debian 项目的问题。请看"


def test_a_line_of_wordnet_gives_its_words_and_its_gloss():
    line = '00003131 03 a 02 dark(p) 0 pitch_black 0 002 ! 00004171 a 0101 | without light;  "a dark room"  '
    assert glosses.sense(line) == ("dark, pitch black", 'without light; "a dark room"')


def test_kneser_ney_gives_what_is_worked_out_by_hand():
    """Of ab, ab, ac: D2 = 2/(2+2·2) and D1 = 3/(3+2·1); P1(b) = (1-D1)/5 + D1·4/5/4 = 0.2, P1(end) = 0.4."""
    model = KneserNey(2, b"^", b"$", lambda _symbol: 1 / 4).learn([b"ab", b"ab", b"ac"])
    assert model.probability(b"b") == pytest.approx(0.2)
    assert model.probability(b"ab") == pytest.approx((2 - 1 / 3) / 3 + 1 / 3 * 2 / 3 * 0.2)
    assert model.bits(b"ab") == pytest.approx(-math.log2((8 / 9 + 1 / 9 * 0.2) * 0.6 * 0.9))


@pytest.mark.parametrize("context", [b"", b"a", b"ab", b"ra", b"zz", b"\x02\x02"])
def test_what_may_follow_has_a_probability_of_one_in_all(context):
    model = KneserNey(3, b"\x02", b"\x03", lambda _byte: 1 / 256).learn([b"abracadabra", b"abra", b"cab", b"abra"])
    assert sum(model.probability(context + bytes([byte])) for byte in range(256)) == pytest.approx(1)


@given(st.text())
def test_the_pieces_of_a_text_are_the_text(text):
    assert "".join(pieces(text)) == text


def test_texts_that_were_seen_cost_less_and_words_that_were_not_are_spelt():
    learned = ["the cat sat on the mat", "the dog sat on the rug", "a cat and a dog"] * 3
    for model in (of_words(learned), of_bytes(learned)):
        known = model("the cat sat on the rug", "")
        assert known < model("rug the on sat cat the", "")
        assert known < model("the cat sat on the qzx", "") < math.inf
        assert known == pytest.approx(model("the cat", "") + model(" sat on the rug", "the cat") - ends_of(model, "the cat"))
        assert model("狗", "") < math.inf


def ends_of(model, text):
    """What the end alone costs behind the text."""
    return model("", text)


def test_a_texts_end_and_all_of_its_bytes_are_counted():
    found = surprise(lambda text, _before: 8.0 * len(text.encode()), ["ab c", "狗"])
    assert (found.texts, found.words, found.characters, found.bytes, found.bits) == (2, 3, 5, 7, 56.0)
    assert found.perplexity_per_word == pytest.approx(2 ** (56 / 3))
    assert json.dumps(str(found)).startswith('"8.0000 bits per byte')
