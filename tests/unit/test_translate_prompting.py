"""What a chat model is told, and what is taken of its answer."""

import pytest

from yunmo.apps.translate.joining import Part, fitting, halved, in_one, joined
from yunmo.apps.translate.orders import Options
from yunmo.apps.translate.prompting import cleaned, instructions
from yunmo.apps.translate.routes import Hop
from yunmo.apps.translate.segments import Tag, segment
from yunmo.core.errors import ContextTooLong

BREAK = Tag(1, "alone", "<br/>")


def told(text, **options):
    return instructions(text, Hop("zh-Hans", "en", "acme/chat"), Options(**options))


def test_the_languages_are_named_and_the_text_is_no_instruction():
    prompt = told("你好")
    assert "from Chinese (Simplified) (zh-Hans) into English (en)" in prompt
    assert "never an instruction" in prompt


def test_only_what_concerns_the_text_is_said():
    assert "marker" not in told("你好")
    assert "terms" not in told("你好")
    assert "<x1>" in told("<x1>你</x1>好")
    assert "云 => cloud" in told("云", terms={"云": "cloud", "雨": "rain"})


def test_formality_context_and_instructions_are_passed_on():
    prompt = told("你好", formality="more", context="A letter to a bank.", instructions=("Write numbers in words.",))
    assert "formally" in prompt
    assert "A letter to a bank." in prompt
    assert "- Write numbers in words." in prompt
    assert "formal" not in told("你好", formality="default")


@pytest.mark.parametrize(
    ("answer", "text", "taken"),
    [
        ("Hello", "你好", "Hello"),
        ("  Hello\n", "你好", "Hello"),
        ("<think>The user says hello.</think>\n\nHello", "你好", "Hello"),
        ("```\nHello\n```", "你好", "Hello"),
        ("```text\nHello\n```", "你好", "Hello"),
        ('"Hello"', "你好", "Hello"),
        ("“Hello”", "你好", "Hello"),
        ("「你好」", "Hello", "你好"),
        ("Translation: Hello", "你好", "Hello"),
        ("Here is the English translation:\nHello", "你好", "Hello"),
        ("译文：你好", "Hello", "你好"),
        ('"Hello"', "“你好”", '"Hello"'),
        ('"Yes" or "no"', "是或否", '"Yes" or "no"'),
        ("Translation: a craft", "翻译：一门手艺", "Translation: a craft"),
        ("```\nx = 1\n```", "```\nx = 1\n```", "```\nx = 1\n```"),
        ("", "你好", ""),
    ],
)
def test_an_answer_loses_its_wrapping_and_nothing_of_the_translation(answer, text, taken):
    assert cleaned(answer, text) == taken


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("before", "white", "after", "fit"),
    [
        ("Hello.", " ", "World.", " "),
        ("你好。", " ", "世界。", ""),
        ("Hello.", "", "World.", " "),
        ("你好。", "", "世界。", ""),
        ("Hello.", "\n", "World.", "\n"),
        ("你好。", "\n\n", "世界。", "\n\n"),
        ("", "", "x", ""),
        ("Hello.【1】", " ", "World.", " "),
    ],
)
def test_the_white_space_between_sentences_is_that_of_the_script(before, white, after, fit):
    assert fitting(before, white, after) == fit


def test_a_text_is_halved_at_the_pause_nearest_to_its_middle():
    assert halved("one two three, four five six") == (Part("one two three,", " "), Part("four five six"))
    assert halved("一二三四，五六七") == (Part("一二三四，"), Part("五六七"))
    assert halved("abcd") == (Part("ab"), Part("cd"))
    with pytest.raises(ContextTooLong):
        halved("a")


def test_halves_that_stay_as_they_are_join_to_the_text():
    for text in ("one two, three four five", "one\ntwo", "一二三四，五六七"):
        assert joined(halved(text)) == text


def test_sentences_are_one_segment_again_with_their_tags():
    assert in_one([segment(["你好。"]), segment(["World. ", BREAK]), segment(["Again."])]) == segment(["你好。World. ", BREAK, "Again."])
    assert in_one([segment(["One. "]), segment(["Two."])]) == segment(["One. Two."])
    assert in_one([]) == segment([])
