"""A growing text with models that are scripted to change their mind; the clock is the test's."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.apps.translate.realtime import OPEN_CHARACTERS, Bounds, Realtime, Shown
from yunmo.core.errors import InvalidRequest, TooLarge

SPEECH = "The train leaves at nine. It will arrive at noon in Lisbon. Please take your seats now! Thank you."


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


async def shout(text):
    return text.upper()


def fickle(seed):
    """Says the last two words otherwise every time, and all of a sentence that has ended alike."""
    draw = random.Random(seed)

    async def translate(text):
        words = text.upper().split()
        if text.endswith((".", "!")):
            return " ".join(words)
        return " ".join([*words[:-2], *(f"{word}{draw.randrange(3)}" for word in words[-2:])])

    return translate


async def run(session, clock, text=SPEECH, seconds=0.4):
    """Give the text word by word; everything that was shown."""
    seen = []
    for word in text.split(" "):
        seen.append(await session.hear(word + " "))
        clock.now += seconds
    seen.append(await session.end())
    return seen


async def test_sentences_that_have_ended_are_concluded_and_never_change():
    clock = Clock()
    seen = await run(Realtime(fickle(1), "en", Bounds(max_lag_ms=0), clock), clock)
    for before, after in pairwise(seen):
        assert after.concluded.startswith(before.concluded)
    assert seen[-1] == Shown(SPEECH.upper(), "")


async def test_without_erasure_nothing_that_was_shown_is_ever_taken_back():
    clock = Clock()
    session = Realtime(fickle(2), "en", Bounds(max_erasure=0), clock)
    seen = await run(session, clock)
    assert {each.tentative for each in seen} == {""}
    assert session.measured.normalized_erasure == 0
    assert 0 < session.measured.average_lag_ms < 3000


async def test_more_erasure_buys_less_lag():
    measured = []
    for bounds in (Bounds(max_erasure=0), Bounds(max_erasure=1.0), Bounds(max_lag_ms=0)):
        clock = Clock()
        session = Realtime(fickle(3), "en", bounds, clock)
        await run(session, clock)
        measured.append(session.measured)
    assert measured[0].average_lag_ms > measured[1].average_lag_ms > measured[2].average_lag_ms
    assert measured[0].normalized_erasure <= measured[1].normalized_erasure < measured[2].normalized_erasure


async def test_a_steady_model_is_shown_before_its_sentence_ends_and_takes_nothing_back():
    clock = Clock()
    session = Realtime(shout, "en", Bounds(max_erasure=1.0), clock)
    seen = await run(session, clock)
    assert any(each.tentative for each in seen)
    assert session.measured.normalized_erasure == 0


async def test_words_that_wait_too_long_are_shown_though_nothing_more_comes():
    clock = Clock()
    session = Realtime(shout, "en", Bounds(max_lag_ms=1000), clock)
    assert (await session.hear("The train leaves")).tentative == ""
    clock.now += 0.5
    assert (await session.hear("")).tentative == ""
    clock.now += 0.6
    assert (await session.hear("")).tentative == "THE TRAIN LEAVES"


async def test_chinese_is_counted_by_its_characters_and_written_without_spaces():
    async def translate(text):
        return {"Hello.": "你好。", "World.": "世界。"}.get(text, "你")

    session = Realtime(translate, "en", Bounds(max_erasure=0), Clock())
    await session.hear("Hello. World.")
    assert (await session.end()).concluded == "你好。世界。"
    assert session.measured.tokens == 6


async def test_line_breaks_stay():
    session = Realtime(shout, "en", Bounds(max_erasure=0), Clock())
    await session.hear("One.\nTwo.  Three.")
    assert (await session.end()).concluded == "ONE.\nTWO. THREE."


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.sampled_from(["a", "be", "sea.", "deep!", "easy", "\n"]), max_size=40),
    erasure=st.sampled_from([0.0, 0.1, 0.5, 2.0]),
    seed=st.integers(0, 99),
)
async def test_the_bound_of_erasure_is_kept_at_every_moment_whatever_the_model_says(words, erasure, seed):
    draw = random.Random(seed)

    async def wild(text):
        return " ".join(draw.choice("xyz") for _ in text.split())

    clock = Clock()
    session = Realtime(wild, "en", Bounds(max_erasure=erasure), clock)
    before = Shown("", "")
    for word in words:
        clock.now += 0.1
        after = await session.hear(word + " ")
        assert after.concluded.startswith(before.concluded)
        assert session.measured.normalized_erasure <= erasure
        before = after
    await session.end()
    assert session.measured.normalized_erasure <= erasure


async def test_a_sentence_that_does_not_end_is_refused():
    session = Realtime(shout, "en", Bounds(max_erasure=0), Clock())
    with pytest.raises(TooLarge, match=str(OPEN_CHARACTERS)):
        await session.hear("word " * OPEN_CHARACTERS)


@pytest.mark.parametrize("given", [{}, {"max_erasure": 0.1, "max_lag_ms": 5}, {"max_erasure": -1}, {"max_lag_ms": -1}])
def test_bounds_that_cannot_be_are_refused(given):
    with pytest.raises(InvalidRequest):
        Bounds(**given)
