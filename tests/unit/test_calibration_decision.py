"""Which plan a calibration speaks for, and how drift is told."""

import datetime as dt
import io
import math
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yunmo.core.drift import Drift, drift
from yunmo.core.engine import ModelDescription, Plan
from yunmo.core.tasks import Choice, Choices, Entities, Entity, Label, Labels, Texts, Transcript, Vector, Vectors, task_name
from yunmo.serving.calibration.budgets import budget_of
from yunmo.serving.calibration.decision import decide
from yunmo.serving.calibration.plot import plot
from yunmo.serving.calibration.report import Calibration, Pace, Trial
from yunmo.serving.calibration.runs import unit_of
from yunmo.serving.calibration.samples import has_samples, samples

MODEL = ModelDescription("a/b", "0" * 40, {})


def test_each_aim_has_its_fastest_plan():
    many, alone = _trial(1, 400, 9.0), _trial(2, 150, 3.0)
    assert decide(_calibration(many, alone), "throughput") is many
    assert decide(_calibration(many, alone), "latency") is alone


def test_a_plan_that_drifted_or_failed_is_never_chosen():
    trials = (
        _trial(1, 100, 9),
        _trial(2, 900, 1, verdict="drifted"),
        _trial(3, 900, 1, verdict="failed"),
        _trial(4, None, None, verdict="untried"),
    )
    assert decide(_calibration(*trials), "throughput") is trials[0]
    assert decide(_calibration(*trials[1:]), "throughput") is None


def test_among_plans_of_nearly_one_pace_the_faithful_then_the_small_one_wins():
    rough, faithful = _trial(1, 103, 5, error=0.05), _trial(2, 100, 5, error=0.001)
    assert decide(_calibration(rough, faithful), "throughput") is faithful
    large, small = _trial(1, 103, 5, memory_bytes=900), _trial(2, 100, 5, memory_bytes=100)
    assert decide(_calibration(large, small), "throughput") is small
    assert decide(_calibration(_trial(1, 120, 5, error=0.05), faithful), "throughput").pace.per_second == 120


@given(
    st.lists(st.tuples(st.floats(1, 1e4), st.floats(0.1, 1e3), st.floats(0, 0.2)), min_size=1, max_size=8),
    st.sampled_from(["throughput", "latency"]),
)
def test_the_choice_is_within_a_twentieth_of_the_fastest_and_always_the_same(measured, aim):
    trials = [_trial(number, speed, time, error=error) for number, (speed, time, error) in enumerate(measured)]
    chosen = decide(_calibration(*trials), aim)
    assert chosen is decide(_calibration(*trials), aim)
    if aim == "throughput":
        assert chosen.pace.per_second >= 0.949 * max(speed for speed, _, _ in measured)
    else:
        assert chosen.pace.p50_ms <= 1.06 * min(time for _, time, _ in measured)


def test_labels_drift_by_their_logits_whatever_constant_is_added():
    one = [_labels(yes=2.0, no=-1.0), _labels(yes=-1.0, no=0.5)]
    assert drift(one, one) == Drift(1.0, 0.0, 2)
    assert drift(one, [_labels(yes=12.0, no=9.0), _labels(yes=9.0, no=10.5)]).error == 0.0
    flipped = drift(one, [_labels(yes=2.0, no=-1.0), _labels(yes=0.5, no=-1.0)])
    assert flipped.agreement == 0.5
    assert flipped.error > 0.5
    assert "agreement 0.5000" in budget_of(one[0]).problem(flipped)


def test_logits_that_are_not_numbers_are_over_any_budget():
    one = [_labels(yes=2.0, no=-1.0)]
    assert budget_of(one[0]).problem(drift(one, [_labels(yes=math.nan, no=math.nan)]))


def test_a_translation_drifts_by_the_words_that_are_others_wherever_they_are():
    reference = [Texts(texts=("Der Zug fährt heute um neun von Gleis drei ab .",)), Texts(texts=("快递晚了两天。",))]
    assert drift(reference, reference) == Drift(1.0, 0.0, 2)
    early = drift(reference[:1], [Texts(texts=("Die Bahn fährt heute um neun von Gleis drei ab .",))])
    late = drift(reference[:1], [Texts(texts=("Der Zug fährt heute um neun von Gleis drei los ,",))])
    assert early.agreement == late.agreement == pytest.approx(9 / 11, abs=1e-4)
    assert "agreement 0.8182" in budget_of(reference[0]).problem(early)
    assert drift(reference[1:], [Texts(texts=("快递晚了三天。",))]).agreement == pytest.approx(6 / 7, abs=1e-4)
    assert drift(reference[:1], [Texts(texts=("",))]).agreement == 0.0


def test_a_transcript_drifts_by_its_word_error_rate_whatever_its_signs():
    reference = [Transcript(text="We are all very well. He has never seen it", language="en", duration=9.0)]
    assert drift(reference, [_heard("we are all, very well; He has never seen it!")]) == Drift(1.0, 0.0, 1)
    wrong = drift(reference, [_heard("We are very well. He has never ever seen is")])
    assert (wrong.agreement, wrong.error) == (0.7, 0.3)
    assert "agreement 0.7000" in budget_of(reference[0]).problem(wrong)
    assert drift(reference, [_heard("")]).error == 1.0
    assert budget_of(reference[0]).problem(drift([_heard("")], [_heard("ghosts")]))


def test_what_is_counted_in_a_second_is_said_for_every_task():
    tasks = ("chat", "classify", "classify-image", "classify-audio", "transcribe")
    assert [unit_of(task) for task in tasks] == ["tokens/s", "texts/s", "images/s", "seconds of audio/s", "seconds of audio/s"]


def test_translations_are_asked_for_in_languages_that_the_model_knows():
    def pair(config, **documents):
        model = ModelDescription(
            "a/b", "0" * 40, {}, {"config.json": config} | {f"{name}.json": value for name, value in documents.items()}
        )
        requests = samples("translate", model)
        assert len(requests) == 24
        return requests[0].source, requests[0].target, any("\u4e00" <= letter <= "\u9fff" for letter in requests[0].texts[0])

    parameters = {"translation_de_to_en": {"prefix": "x"}, "translation_en_to_ro": {"prefix": "y"}, "summarization": {}}
    assert pair({"model_type": "t5", "task_specific_params": parameters}) == ("en", "ro", False)
    assert pair({"model_type": "t5"}) == ("en", "de", False)
    assert pair({"model_type": "m2m_100"}) == ("en", "fr", False)
    assert pair({"model_type": "marian"}) == (None, None, False)
    assert pair({"model_type": "marian"}, vocab={"</s>": 0, ">>deu<<": 5}) == (None, "deu", False)
    assert pair({"model_type": "marian"}, tokenizer_config={"source_lang": "zh"}) == (None, None, True)


def test_vectors_drift_by_their_angle():
    one, turned = _vectors([1.0, 0.0]), _vectors([1.0, 1.0])
    assert drift([one], [one]).agreement == pytest.approx(1.0)
    assert drift([one], [turned]).agreement == pytest.approx(math.sqrt(0.5), abs=1e-4)
    assert budget_of(one).problem(drift([one], [turned]))


def test_entities_drift_by_token_and_a_lost_one_counts():
    person, place = Entity("PER", 0.9, "Li", 0, 2, 1), Entity("LOC", 0.8, "Xi", 3, 5, 2)
    found = drift([Entities(rows=((person, place),))], [Entities(rows=((person,),))])
    assert found.agreement == 0.5


def test_texts_agree_up_to_their_first_difference():
    assert drift([_said("one two three four")], [_said("one two 3")]).agreement == pytest.approx(8 / 18, abs=1e-4)
    assert drift([_said("same")], [_said("same")]).agreement == 1.0


@pytest.mark.parametrize(
    "task",
    [
        "classify",
        "classify-tokens",
        "classify-zero-shot",
        "answer",
        "fill-mask",
        "embed",
        "chat",
        "generate",
        "translate",
        "summarize",
        "classify-image",
        "classify-image-zero-shot",
        "classify-audio",
        "transcribe",
    ],
)
def test_samples_are_of_their_task_and_the_same_every_time(task):
    made = samples(task, MODEL)
    assert {task_name(request) for request in made} == {task}
    assert made == samples(task, MODEL)


def test_sample_texts_are_of_mixed_lengths_in_both_languages():
    texts = [request.texts[0] for request in samples("classify", MODEL)]
    lengths = sorted(len(text.split()) for text in texts if text.isascii())
    assert lengths[0] <= 10
    assert lengths[-1] >= 60
    assert 0.1 < sum(not text.isascii() for text in texts) / len(texts) < 0.4


def test_sample_pictures_are_of_mixed_sizes_and_open():
    sizes = set()
    for request in samples("classify-image", MODEL):
        with Image.open(io.BytesIO(request.image)) as picture:
            picture.load()
            sizes.add(picture.size)
    assert len(sizes) > 40
    assert min(min(size) for size in sizes) < 100
    assert max(max(size) for size in sizes) > 300


def test_sample_sounds_are_of_mixed_lengths_and_conversations_longer_than_whisper_hears_at_once():
    lengths = [_seconds(request.audio) for request in samples("classify-audio", MODEL)]
    assert min(lengths) < 2
    assert max(lengths) > 3
    assert all(30 < _seconds(request.audio) < 60 for request in samples("transcribe", MODEL))


def test_there_are_no_samples_for_a_task_without_inputs():
    assert samples("segment", MODEL) == []
    assert not has_samples("segment")
    assert has_samples("classify")
    assert has_samples("transcribe")


def test_a_masked_sample_has_the_models_own_mask():
    model = ModelDescription("a/b", "0" * 40, {}, documents={"tokenizer_config.json": {"mask_token": {"content": "<mask>"}}})
    assert all("<mask>" in request.texts[0] for request in samples("fill-mask", model))


def test_the_picture_names_every_plan_and_escapes_what_people_wrote():
    calibration = _calibration(_trial(1, 100, 5), _trial(2, None, None, verdict="failed", reason="<b>no</b>"))
    picture = plot(calibration, calibration.trials[0].plan)
    assert "chosen" in picture
    assert "<b>" not in picture
    assert picture.count("<rect") == 3


def _trial(number, speed, time, *, verdict="fit", error=0.0, memory_bytes=0, reason=""):
    pace = None if speed is None else Pace(speed, time)
    plan = Plan(engine="e", streams=number + 1)
    return Trial(plan=plan, verdict=verdict, reason=reason, memory_bytes=memory_bytes, pace=pace, drift=Drift(1.0, error, 10))


def _calibration(*trials):
    return Calibration(
        repository="a/b",
        revision="0" * 40,
        task="classify",
        unit="texts/s",
        trials=trials,
        fingerprint="f",
        at=dt.datetime.now(dt.UTC),
        took_seconds=1,
    )


def _labels(**scores):
    return Labels(rows=(tuple(Label(name, score) for name, score in sorted(scores.items(), key=lambda item: -item[1])),))


def _vectors(values):
    return Vectors(vectors=(Vector(struct.pack(f"<{len(values)}f", *values), (len(values),)),))


def _said(text):
    return Choices(choices=(Choice(text, "stop"),))


def _heard(text):
    return Transcript(text=text, language="en", duration=9.0)


def _seconds(recording):
    with wave.open(io.BytesIO(recording)) as file:
        return file.getnframes() / file.getframerate()
