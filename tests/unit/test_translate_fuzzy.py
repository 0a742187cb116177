"""A translation memory at hand."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate.fuzzy import Memory, Pair
from yunmo.apps.translate.protection import protect
from yunmo.apps.translate.segments import Tag, segment

BOLD, END = Tag(1, "open", "<b>"), Tag(1, "close", "</b>")


def memory(*pairs):
    return Memory("en", "zh-Hans", (Pair(segment(source), segment(target)) for source, target in pairs))


def test_what_was_translated_before_is_found_as_it_was():
    match = memory((["Save the file"], ["保存文件"]), (["Open"], ["打开"])).match(segment(["Save the file"]), 100)
    assert (match.score, match.translation) == (100, segment(["保存文件"]))
    assert memory((["Save the file"], ["保存文件"])).match(segment(["Close the window"])) is None
    assert memory().match(segment(["Save"]), 0) is None


def test_the_later_of_two_translations_counts():
    assert memory((["Save"], ["存"]), (["Save"], ["保存"])).match(segment(["Save"])).translation.text == "保存"


@pytest.mark.parametrize(
    ("source", "target", "wanted", "translation"),
    [
        ("Page 3 of 10", "第3页，共10页", "Page 4 of 12", "第4页，共12页"),
        ("Hello {name}!", "{name}，你好！", "Hello {user}!", "{user}，你好！"),
        ("%s of %d files", "%d 个文件中的 %s", "%d of %s files", "%s 个文件中的 %d"),
        ("See https://a.com/x now", "现在请看 https://a.com/x", "See https://b.org/ now", "现在请看 https://b.org/"),
        ("Version 1.2.3", "版本 1.2.3", "Version 2.0", "版本 2.0"),
    ],
)
def test_numbers_placeholders_and_addresses_that_differ_are_put_in(source, target, wanted, translation):
    match = memory(([source], [target])).match(segment([wanted]))
    assert (match.score, match.translation.source) == (99, translation)
    assert memory(([source], [target])).match(segment([wanted]), 100) is None
    assert memory(([source], [target])).match(protect(segment([wanted]))).translation.source == translation


def test_a_number_that_the_translation_says_in_words_is_not_put_in():
    match = memory((["3 files"], ["三个文件"])).match(segment(["4 files"]))
    assert match is None or match.translation is None
    assert memory((["3 files"], ["三个文件"])).match(segment(["3 files"])).translation == segment(["三个文件"])


def test_a_number_whose_digits_the_other_language_writes_otherwise_is_not_put_in():
    known = Memory("en", "de", [Pair(segment(["100 users in all"]), segment(["insgesamt 100 Benutzer"]))])
    assert known.match(segment(["250 users in all"])).translation.text == "insgesamt 250 Benutzer"
    assert known.match(segment(["1,250 users in all"])).translation is None


def test_the_tags_of_a_match_are_those_of_the_segment_that_was_asked():
    other, other_end = Tag(7, "open", "<i>"), Tag(7, "close", "</i>")
    known = memory((["Press ", BOLD, "OK", END, " now"], ["现在按", BOLD, "确定", END]))
    match = known.match(segment(["Press ", other, "OK", other_end, " now"]))
    assert (match.score, match.translation) == (100, segment(["现在按", other, "确定", other_end]))
    assert known.match(segment(["Press OK now"]), 50).translation is None


def test_near_matches_are_told_with_their_score_and_without_a_translation():
    known = memory((["The file could not be saved to disk"], ["无法将文件保存到磁盘"]), (["Nothing alike"], ["不同"]))
    match = known.match(segment(["The file could not be saved to the disk"]), 80)
    assert match.pair.target.text == "无法将文件保存到磁盘"
    assert match.translation is None
    assert 80 <= match.score <= 98
    assert known.match(segment(["The file could not be saved to the disk"]), 99) is None


WORDS = st.lists(
    st.sampled_from(["Save ", "file ", "12 ", "{x} ", "%s ", "保存", "3.5", BOLD, END, "\ue000", "\ue001", ". "]), min_size=1, max_size=8
)


@given(st.lists(st.tuples(WORDS, WORDS), max_size=6), WORDS, st.integers(0, 100))
def test_a_match_has_the_tags_that_were_asked_and_a_score_of_the_threshold_at_least(pairs, wanted, threshold):
    match = memory(*pairs).match(segment(wanted), threshold)
    assert match is None or match.score >= threshold
    if match is not None and match.translation is not None and match.score == 99:
        assert sorted(map(repr, match.translation.tags)) == sorted(map(repr, segment(wanted).tags))


def test_a_large_memory_answers_soon():
    known = Memory(
        "en",
        "zh-Hans",
        (
            Pair(segment([f"{word} of the {other} is here"]), segment([word]))
            for word in map(chr, range(0x4E00, 0x4E64))
            for other in map(chr, range(0x5E00, 0x5EC8))
        ),
    )
    assert len(known) == 20_000
    started = time.process_time()
    for _ in range(10):
        known.match(segment(["The state of the art is there"]), 60)
    assert time.process_time() - started < 5
