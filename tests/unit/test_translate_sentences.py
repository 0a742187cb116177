"""Where texts are cut into sentences."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate.segments import Tag, segment
from yunmo.apps.translate.sentences import sentences, split

BOLD, END, NAME = Tag(1, "open", "<b>"), Tag(1, "close", "</b>"), Tag(2, "alone", "{name}")


@pytest.mark.parametrize(
    ("language", "text", "cut"),
    [
        ("zh-Hans", "他说：“你好。我是王。”然后走了。用v1.2版。", ["他说：“你好。我是王。”", "然后走了。", "用v1.2版。"]),
        ("zh-Hant", "「你去嗎？」他問。我……不知道。", ["「你去嗎？」他問。", "我……不知道。"]),
        (
            "zh-Hans",
            "好！真的吗？！ 访问https://a.com/?x=1。下一句；再一句",
            ["好！", "真的吗？！ ", "访问https://a.com/?x=1。", "下一句；", "再一句"],
        ),
        ("zh-Hans", "（见第1章。另见第2章。）Node.js很好.是的. 完", ["（见第1章。另见第2章。）", "Node.js很好.", "是的. ", "完"]),
        ("ja", "「行きますか？」と彼は聞いた。はい。", ["「行きますか？」と彼は聞いた。", "はい。"]),
        (
            "en",
            "Mr. Smith paid $3.50 at 5 p.m. He left. See https://a.com/x?b. Ok",
            ["Mr. Smith paid $3.50 at 5 p.m. ", "He left. ", "See https://a.com/x?b. ", "Ok"],
        ),
        ("de", "Am 3. Mai kam z.B. Dr. Müller. Er ging.", ["Am 3. Mai kam z.B. Dr. Müller. ", "Er ging."]),
        ("pt-BR", "O Sr. Silva chegou. Tudo bem?", ["O Sr. Silva chegou. ", "Tudo bem?"]),
        ("ko", "안녕하세요. 반갑습니다!", ["안녕하세요. ", "반갑습니다!"]),
        ("hi", "नमस्ते। आप कैसे हैं?", ["नमस्ते। ", "आप कैसे हैं?"]),
        ("en", "", []),
        ("en", "  \n ", ["  \n "]),
    ],
)
def test_sentences_end_where_readers_see_it(language, text, cut):
    assert list(sentences(text, language)) == cut


def test_new_lines_end_sentences_unless_told_otherwise():
    text = "The first line\nand the second.\n\n  Third\r\n"
    assert sentences(text, "en") == ("The first line\n", "and the second.\n\n  ", "Third\r\n")
    assert sentences(text, "en", "no_newlines") == ("The first line\nand the second.\n\n  ", "Third\r\n")
    assert sentences(text, "en", "off") == (text,)


def test_a_segment_is_not_cut_inside_a_format():
    original = segment(["Hi. ", BOLD, "Bold one. Two.", END, " Next one. ", NAME, " is here. End"])
    assert [one.parts for one in split(original, "en")] == [
        ("Hi. ",),
        (BOLD, "Bold one. Two.", END, " Next one. "),
        (NAME, " is here. "),
        ("End",),
    ]
    assert split(original, "en", "off") == (original,)


@given(
    st.lists(
        st.sampled_from(
            ["Hello. ", "你好。", "“真的？”", "\n", " ", "a.b ", "...", "%s", "{x. y}", "?! ", "（", "）", "Dr. ", "😀。", "\r\n"]
        ),
        max_size=12,
    ),
    st.sampled_from(["en", "zh-Hans", "ja", "th", "fr"]),
    st.sampled_from(["all", "no_newlines", "off"]),
)
def test_the_pieces_joined_are_the_text(words, language, splitting):
    text = "".join(words)
    cut = sentences(text, language, splitting)
    assert "".join(cut) == text
    assert all(piece.strip() for piece in cut) or len(cut) == 1
    parts = [NAME if word == "%s" else BOLD if word == "（" else END if word == "）" else word for word in words]
    halves = split(segment(parts), language, splitting)
    assert segment(part for half in halves for part in half.parts) == segment(parts)


@pytest.mark.parametrize(
    "text", ["\n" * 100_000, "你好。" * 50_000, "（" * 100_000, "“" * 1000 + "。 " * 50_000, "a. " * 50_000, "{a. " * 20_000]
)
def test_long_texts_take_no_more_than_their_length_s_time(text):
    started = time.process_time()
    assert "".join(sentences(text, "zh-Hans")) == text
    assert time.process_time() - started < 5
