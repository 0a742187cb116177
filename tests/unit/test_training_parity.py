"""What is compared where a model is served, what passes, and what is told of what does not."""

import asyncio
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.core.errors import InvalidRequest, Unavailable
from yunmo.core.tasks import (
    Chat,
    Choice,
    Choices,
    Classify,
    Embed,
    Entities,
    Entity,
    Filling,
    Fillings,
    Label,
    Labels,
    Message,
    Texts,
    Transcript,
    Vector,
    Vectors,
)
from yunmo.core.training import ParitySample
from yunmo.training.parity import ServedBy, certify, compare

ONNX = ServedBy("onnx", "int8")


def labels(**scores):
    return Labels(rows=(tuple(Label(name, score) for name, score in sorted(scores.items(), key=lambda pair: -pair[1])),))


def vector(*numbers):
    return Vectors(vectors=(Vector(struct.pack(f"<{len(numbers)}f", *numbers), (len(numbers),)),))


def said(text, reasoning=""):
    return Choices(choices=(Choice(text, "stop", reasoning),))


def samples(*outputs):
    requests = {Labels: Classify(texts=("a",)), Vectors: Embed(inputs=("a",)), Choices: Chat(messages=(Message("user", "a"),))}
    return [ParitySample(requests.get(type(output), Classify(texts=("a",))), output) for output in outputs]


# ------------------------------------------------------------ what passes


def test_the_same_answers_pass_whatever_they_are():
    person = Entity("PER", 0.9, "Ada", 0, 3, 1)
    for output in (
        labels(good=0.9, bad=0.1),
        vector(0.6, 0.8),
        said("four words of answer"),
        Texts(texts=("Der Zug fährt ab.",)),
        Transcript(text="We are all well", language="en", duration=1.0),
        Entities(rows=((person,),)),
        Fillings(rows=((Filling("a b", 0.7, 3, "b"),),)),
    ):
        found = compare(samples(output, output), [output, output], ONNX)
        assert found.is_passed, found
        assert (found.samples, found.engine, found.precision, found.problem) == (2, "onnx", "int8", "")
        assert found.agreement == pytest.approx(1.0)
        assert found.drift == pytest.approx(0.0, abs=1e-6)


def test_scores_of_faithful_eight_bits_pass_though_a_near_tie_is_decided_otherwise():
    trained = [labels(good=0.9, bad=0.1)] * 31 + [labels(good=0.51, bad=0.49)]
    served = [labels(good=0.88, bad=0.12)] * 31 + [labels(good=0.47, bad=0.53)]
    found = compare(samples(*trained), served)
    assert (found.is_passed, found.agreement, found.drift) == (True, 1.0, 0.04)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(-0.049, 0.049))
def test_scores_that_are_a_twentieth_off_always_pass(shares, error):
    served = [min(1.0, max(0.0, share + error)) for share in shares]
    found = compare(samples(*(labels(a=share, b=1 - share) for share in shares)), [labels(a=share, b=1 - share) for share in served])
    assert found.is_passed, found


def test_greedy_texts_pass_that_leave_each_other_half_way_now_and_then():
    whole, other = "one two three four five six seven eight", "one two three four x y z w"
    found = compare(samples(*[said(whole)] * 4), [said(whole)] * 3 + [said(other)])
    assert (found.is_passed, found.agreement, found.drift) == (True, 0.875, 0.5)


# ------------------------------------------------------------ what does not


def test_labels_whose_names_were_lost_do_not_pass():
    found = compare(samples(labels(good=0.9, bad=0.1)), [labels(LABEL_1=0.9, LABEL_0=0.1)])
    assert not found.is_passed
    assert found.problem == (
        "Where it is served, the model answers otherwise than in its trainer: agreement 0.0000 with the reference, 0.98 is asked for."
    )


def test_a_score_that_is_far_off_does_not_pass_though_the_best_label_is_the_same():
    found = compare(samples(*[labels(good=0.95, bad=0.05)] * 9), [*[labels(good=0.95, bad=0.05)] * 8, labels(good=0.7, bad=0.3)])
    assert (found.is_passed, found.agreement, found.drift) == (False, 1.0, 0.25)
    assert "error 0.2500" in found.problem


def test_vectors_of_another_pooling_do_not_pass():
    found = compare(samples(vector(1.0, 0.0), vector(0.0, 1.0)), [vector(0.9, 0.435), vector(0.0, 1.0)])
    assert not found.is_passed
    assert found.agreement < 0.96


def test_answers_to_a_prompt_that_was_read_otherwise_do_not_pass():
    found = compare(samples(said("The package is in main."), said("Use apt.")), [said("I am a robot"), said("What do you mean?")])
    assert not found.is_passed
    assert found.agreement < 0.3


def test_thoughts_that_are_told_as_the_answer_are_seen():
    assert not compare(samples(said("yes", "one two three four")), [said("no more")]).is_passed


def test_scores_that_are_no_numbers_do_not_pass():
    found = compare(samples(labels(good=0.9, bad=0.1)), [labels(good=math.nan, bad=0.1)])
    assert not found.is_passed
    assert not compare(samples(vector(1.0, 0.0)), [vector(math.nan, 0.0)]).is_passed


def test_answers_of_another_kind_are_told():
    found = compare(samples(labels(a=1.0)), [vector(1.0)])
    assert (found.is_passed, found.problem) == (False, "Answers of the kind Vectors cannot be compared with the trainer's Labels.")


def test_answers_with_another_number_of_parts_are_told():
    two = Vectors(vectors=vector(1.0).vectors * 2)
    assert "another number of parts" in compare(samples(vector(1.0)), [two]).problem


def test_a_training_that_left_nothing_to_compare_says_so():
    found = compare([], [])
    assert (found.samples, found.is_passed, found.problem) == (0, False, "The training left no answers to compare with.")


# ------------------------------------------------------------ asking


async def test_every_sample_is_asked_of_the_model_and_the_engine_is_told():
    asked = []

    async def ask(model, request):
        asked.append((model, request))
        return labels(good=0.9, bad=0.1), ONNX

    given_ = samples(*[labels(good=0.9, bad=0.1)] * 3)
    found = await certify(ask, "acme/m", given_)
    assert (found.is_passed, found.samples, found.engine, found.precision) == (True, 3, "onnx", "int8")
    assert asked == [("acme/m", sample.request) for sample in given_]


async def test_a_model_that_is_busy_is_asked_again_after_the_time_it_names():
    waited, left = [], [Unavailable("loading", retry_after_seconds=7.0), Unavailable("loading")]

    async def ask(model, request):
        del model, request
        if left:
            raise left.pop(0)
        return labels(good=1.0), ONNX

    async def sleep(seconds):
        waited.append(seconds)

    assert (await certify(ask, "acme/m", samples(labels(good=1.0)), sleep)).is_passed
    assert waited == [7.0, 4.0]


async def test_no_more_than_a_few_are_asked_at_a_time_and_answers_keep_their_order():
    busy, most, left = 0, 0, 12

    async def ask(model, request):
        nonlocal busy, most, left
        del model
        busy, left = busy + 1, left - 1
        most = max(most, busy)
        for _ in range(left):  # the first are the slowest
            await asyncio.sleep(0)
        busy -= 1
        return vector(float(request.inputs[0]), 1.0), ONNX

    asked = [ParitySample(Embed(inputs=(str(n),)), vector(float(n), 1.0)) for n in range(12)]
    assert (await certify(ask, "acme/m", asked)).is_passed
    assert most == 4


@pytest.mark.parametrize(("error", "tries"), [(Unavailable("it cannot be loaded"), 5), (InvalidRequest("too long"), 1)])
async def test_a_model_that_never_answers_fails_with_the_reason(error, tries):
    asked = []

    async def ask(model, request):
        asked.append((model, request))
        raise error

    async def sleep(seconds):
        assert 0 < seconds <= 30

    found = await certify(ask, "acme/m", samples(labels(good=1.0)), sleep)
    assert (found.is_passed, found.samples, len(asked)) == (False, 1, tries)
    assert found.problem == f"acme/m does not answer where it is served: {error.message}"
