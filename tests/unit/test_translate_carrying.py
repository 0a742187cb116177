"""Segments through scripted models that lose what is in them: a real one cannot be made to fail in each of these ways."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from yunmo.apps.translate.carrying import Carried, carry
from yunmo.apps.translate.hiding import hide, shown
from yunmo.apps.translate.interpreter import Said
from yunmo.apps.translate.orders import Issue
from yunmo.apps.translate.segments import Tag, segment
from yunmo.apps.translate.terms import TermFinder
from yunmo.core.errors import RateLimited

BOLD, END, BREAK = Tag(1, "open", "<b>"), Tag(1, "close", "</b>"), Tag(2, "alone", "<br/>")
BRACKETS = re.compile(r"\[/?\d+\]")
ANY_MARKER = re.compile(r"\[/?\d+\]|【/?\d+】")


@dataclass
class Scripted:
    """Shouts what it is given, but for what its script makes of it; `heard` is all that it was given."""

    script: Callable[[str], str] = str.upper
    styles: tuple[str, ...] = ("brackets", "ideographs")
    is_whole: bool = True
    heard: list[str] = field(default_factory=list)

    async def translate(self, texts):
        self.heard += texts
        return [Said(self.script(text), self.is_whole) for text in texts]


def numbers(source, target):
    """A check of numbers alone."""
    return [Issue("number", each) for each in re.findall(r"\d+", source.text) if each not in target.text]


def nothing(source, target):
    return []


async def test_a_segment_keeps_its_tags_around_the_words_that_they_were_around():
    model = Scripted()
    (carried,) = await carry([segment(["one ", BOLD, "two", END, BREAK, " three"])], model, nothing)
    assert carried == Carried(segment(["ONE ", BOLD, "TWO", END, BREAK, " THREE"]))
    assert model.heard == ["one [1]two[/1][2] three"]


async def test_markers_that_a_model_loses_are_sent_in_another_style():
    model = Scripted(lambda text: BRACKETS.sub("", text).upper())
    (carried,) = await carry([segment(["one ", BOLD, "two", END])], model, nothing)
    assert carried == Carried(segment(["ONE ", BOLD, "TWO", END]))
    assert len(model.heard) == 2


async def test_what_loses_every_marker_goes_piece_by_piece_and_loses_no_tag():
    model = Scripted(lambda text: ANY_MARKER.sub("", text).upper())
    (carried,) = await carry([segment(["one ", BOLD, "two", END, " three"])], model, nothing)
    assert carried == Carried(segment(["ONE ", BOLD, "TWO", END, " THREE"]))
    assert model.heard[2:] == ["one", "two", "three"]


async def test_only_what_failed_is_asked_again():
    model = Scripted(lambda text: BRACKETS.sub("", text).upper())
    whole, marked = segment(["plain words"]), segment([BOLD, "two", END, " three"])
    carried = await carry([whole, marked, whole], model, nothing)
    assert [each.issues for each in carried] == [(), (), ()]
    assert model.heard.count("plain words") == 2


async def test_a_number_that_was_lost_is_hidden_behind_a_marker():
    model = Scripted(lambda text: re.sub(r"(?<![\[【/])\d+(?![\]】])", "many", text).upper())
    (carried,) = await carry([segment(["pay 250 now"])], model, numbers)
    assert carried == Carried(segment(["PAY 250 NOW"]))
    assert model.heard == ["pay 250 now", "pay 【1】 now"]


async def test_what_cannot_be_mended_is_told_and_the_translation_with_the_fewest_issues_is_taken():
    def check(source, target):
        return [Issue("term", word) for word in ("CLOUD", "RAIN") if word not in target.text]

    def forgets(text):
        return "CLOUD [1]." if "[" in text else "SUN 【1】."

    model = Scripted(forgets)
    (carried,) = await carry([segment(["cloud and rain ", BREAK, "."])], model, check)
    assert carried == Carried(segment(["CLOUD ", BREAK, "."]), (Issue("term", "RAIN"),))
    assert len(model.heard) == 3


class Limited(Scripted):
    """Answers once."""

    async def translate(self, texts):
        if self.heard:
            raise RateLimited("too many")
        return await super().translate(texts)


async def test_where_a_limit_leaves_no_room_for_mending_the_translation_comes_with_its_issues():
    model = Limited(lambda text: re.sub(r"\d", "", text).upper())
    (carried,) = await carry([segment(["pay 250 now"])], model, numbers)
    assert carried == Carried(segment(["PAY  NOW"]), (Issue("number", "250"),))


async def test_where_nothing_came_the_limit_is_told():
    with pytest.raises(RateLimited):
        await carry([segment(["one ", BREAK, " two"])], Limited(lambda text: BRACKETS.sub("", text)), nothing)


async def test_an_empty_answer_is_never_passed_on_in_silence():
    (carried,) = await carry([segment(["hello"])], Scripted(lambda _: ""), nothing)
    assert [issue.kind for issue in carried.issues] == ["untranslated"]


async def test_an_answer_that_was_cut_off_says_so():
    (carried,) = await carry([segment(["hello"])], Scripted(is_whole=False), nothing)
    assert [issue.kind for issue in carried.issues] == ["truncated"]


def test_what_was_hidden_is_shown_again_and_tags_of_the_segment_stay():
    original = segment(["go to {place} ", BREAK, " by bus"])
    hidden = hide(original, ["bus"])
    assert [tag.text for tag in hidden.segment.tags] == ["{place}", "<br/>", "bus"]
    assert shown(hidden.segment, hidden.words) == original


def test_a_term_is_hidden_and_its_translation_shown_in_its_place_with_the_capital_of_a_sentence():
    hidden = hide(segment(["Clouds move. The cloud stays."]), (), TermFinder({"cloud": "wingu"}, "en"))
    assert [part for part in hidden.segment.parts if isinstance(part, str)] == [" move. The ", " stays."]
    assert shown(hidden.segment, hidden.words) == segment(["Wingu move. The wingu stays."])


def test_a_word_that_is_shown_again_does_not_merge_with_its_neighbours():
    hidden = hide(segment(["one cloud two"]), (), TermFinder({"cloud": "wingu"}, "en"))
    (tag,) = hidden.segment.tags
    assert shown(segment(["moja", tag, "mbili"]), hidden.words) == segment(["moja wingu mbili"])
    assert shown(segment(["一", tag, "二"]), hidden.words) == segment(["一wingu二"])
    assert shown(segment(["(", tag, ")"]), hidden.words) == segment(["(wingu)"])
