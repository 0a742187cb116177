"""Encoder-decoders on CTranslate2: what they write is what the transformers engine writes with the same model."""

import asyncio
import threading

import pytest
from engine_contract import EngineCase, EngineContract, answer

import tiny_translators
from yunmo.core.engine import Hardware, Plan
from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, Unsupported, YunmoError
from yunmo.core.tasks import Choices, Generate, Sampling, Summarize, Translate, split
from yunmo.core.usage import Usage
from yunmo.engines.ctranslate2.convert import convert
from yunmo.engines.ctranslate2.converted import FOLDER
from yunmo.engines.ctranslate2.kind import kind
from yunmo.engines.transformers.kind import describe_directory
from yunmo.engines.transformers.kind import kind as transformers
from yunmo.runtime.batching import Batched

ONE_CORE = Hardware(cores=1, memory_bytes=8 << 30)
TEXTS = ("the quick brown fox", "hello world", "my dog likes to eat fish and to sleep in the sun", "who what", "one two three")
LONG = "the quick brown fox " * 60
SHORT = Sampling(max_tokens=12)
VALID = {
    "translate": (
        Translate(texts=TEXTS[:2], source="en", target="de", sampling=SHORT),
        Translate(texts=TEXTS[2:], source="en", target="de", sampling=Sampling(max_tokens=9, beams=1)),
        Translate(texts=("hello",), source="en", target="de", sampling=Sampling(max_tokens=6, temperature=1.0, seed=5)),
    ),
    "summarize": (Summarize(texts=TEXTS[:2], sampling=SHORT), Summarize(texts=TEXTS[3:], sampling=Sampling(max_tokens=7, beams=3))),
    "generate": (
        Generate(prompt="hello world", sampling=SHORT, choices=2),
        Generate(prompt=(40, 41, 42), sampling=Sampling(max_tokens=8, temperature=1.0, seed=7), top_logprobs=2),
    ),
}
BAD = {
    "translate": (
        Translate(texts=("",), source="en", target="de"),
        Translate(texts=("a",), source="en", target="klingon"),
        Translate(texts=(LONG,), source="en", target="de"),
        Translate(texts=("a",), source="en", target="de", sampling=Sampling(beams=99)),
        Translate(texts=("a",), source="en", target="de", sampling=Sampling(beams=3, temperature=1.0)),
    ),
    "summarize": (Summarize(texts=("",)), Summarize(texts=(LONG,)), Summarize(texts=("a",), sampling=Sampling(stop=("",)))),
    "generate": (
        Generate(prompt=""),
        Generate(prompt=(10**9,)),
        Generate(prompt=LONG),
        Generate(prompt="a", choices=0),
        Generate(prompt="a", sampling=Sampling(temperature=-1.0)),
        Generate(prompt="a", sampling=Sampling(logit_bias={"x": 1.0})),
        Generate(prompt="a", top_logprobs=99),
        Generate(prompt="a", sampling=Sampling(max_tokens=0)),
        Generate(prompt="a", choices=2, sampling=Sampling(beams=2)),
    ),
}


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The directory of a tiny model and where its conversion is, by its name; each is made once, in this process because that is quick."""
    import torch

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("translators")

    def make(name):
        directory, derived = root / name, root / f"{name}-derived"
        if not directory.exists():
            tiny_translators.build(name, directory)
            (derived / FOLDER).mkdir(parents=True)
            convert(directory, derived / FOLDER)
        return directory, derived

    return make


@pytest.fixture(scope="session")
def both(model):
    """The engine and the transformers engine of a tiny model."""
    loaded = {}

    def load(name):
        if name not in loaded:
            directory, derived = model(name)
            description = describe_directory(directory)
            loaded[name] = tuple(
                each.load(directory, derived, each.offer(description, ONE_CORE).plan, lambda *_: None) for each in (kind, transformers)
            )
        return loaded[name]

    yield load
    for own, reference in loaded.values():
        own.close()
        asyncio.run(reference.close())


class TestCtranslate2(EngineContract):
    @pytest.fixture(scope="class", params=["marian", "nllb", "bart", "t5"])
    def case(self, request, model):
        directory, _ = model(request.param)
        offer = kind.offer(describe_directory(directory), ONE_CORE)
        assert (offer.problem, offer.missing) == (None, None)
        return EngineCase(
            kind=kind,
            directory=directory,
            plan=offer.plan,
            requests={task: VALID[task][0] for task in offer.tasks},
            others=[other for task in offer.tasks for other in VALID[task][1:]],
            bad=[bad for task in offer.tasks for bad in BAD[task]],
        )

    @pytest.fixture(scope="class")
    def engine(self, case, model):
        loaded = kind.load(case.directory, model(case.directory.name)[1], case.plan, lambda *_: None)
        yield loaded
        loaded.close()


GREEDY = [Sampling(max_tokens=20, beams=1), Sampling(max_tokens=20, beams=1, stop=("e",)), Sampling(max_tokens=1, beams=1)]
CHOSEN = [
    Sampling(max_tokens=9, beams=1, repetition_penalty=1.7),
    Sampling(max_tokens=9, frequency_penalty=1.5, presence_penalty=0.5),
]


@pytest.mark.parametrize("name", tiny_translators.NAMES)
def test_every_family_writes_what_the_transformers_engine_writes_and_bills_the_same(name, both):
    own, reference = both(name)
    task = own.tasks[0]
    assert own.tasks == reference.tasks
    for sampling in (*GREEDY, *CHOSEN):
        request = (
            Translate(texts=TEXTS, source="en", target="de", sampling=sampling)
            if task == "translate"
            else Summarize(texts=TEXTS, sampling=sampling)
        )
        assert asyncio.run(answer(own, request)) == asyncio.run(answer(reference, request)), sampling


@pytest.mark.parametrize("name", ["bart", "t5", "flan-t5"])
@pytest.mark.parametrize(
    "wish",
    [
        {"sampling": Sampling(max_tokens=20)},
        {"sampling": Sampling(max_tokens=30, stop=("o", "zz"))},
        {"sampling": Sampling(max_tokens=8, logit_bias={"9": 4.0, "12": -100.0})},
        {"sampling": Sampling(max_tokens=8, frequency_penalty=1.0), "choices": 2},
        {"sampling": Sampling(max_tokens=0), "echo": True},
        {"sampling": Sampling(max_tokens=8), "truncate_prompt_tokens": 2},
    ],
)
def test_prompts_are_continued_as_the_transformers_engine_continues_them(name, wish, both):
    own, reference = both(name)
    request = Generate(prompt="hello world how are you", **wish)
    assert asyncio.run(answer(own, request)) == asyncio.run(answer(reference, request))


def test_log_probabilities_are_those_of_the_transformers_engine(both):
    own, reference = both("t5")
    request = Generate(prompt="hello world", sampling=Sampling(max_tokens=6), choices=2, top_logprobs=3)
    (found, usage), (expected, billed) = (asyncio.run(answer(each, request)) for each in (own, reference))
    assert usage == billed
    for one, other in zip(found.choices, expected.choices, strict=True):
        assert [each.token for each in one.logprobs] == [each.token for each in other.logprobs]
        assert [each.logprob for each in one.logprobs] == pytest.approx([each.logprob for each in other.logprobs], abs=1e-3)
        assert [[top.id for top in each.top] for each in one.logprobs] == [[top.id for top in each.top] for each in other.logprobs]


@pytest.mark.parametrize("name", ["marian", "m2m100", "t5", "bart"])
def test_what_is_refused_is_refused_in_the_words_of_the_transformers_engine(name, both):
    own, reference = both(name)
    for task in own.tasks:
        for bad in BAD[task]:
            refusals = []
            for engine in (own, reference):
                with pytest.raises(YunmoError) as refused:
                    asyncio.run(answer(engine, bad))
                refusals.append((type(refused.value), refused.value.message, refused.value.param))
            assert refusals[0] == refusals[1], bad


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_texts_written_together_are_those_written_alone(precision, model):
    directory, derived = model("mbart")
    engine = kind.load(directory, derived, Plan(engine="ctranslate2", precision=precision, batch_items=16), lambda *_: None)
    try:
        requests = [
            Translate(texts=(text,), source="en", target=target, sampling=Sampling(max_tokens=length, beams=beams))
            for text in TEXTS
            for target, length, beams in (("de", 9, 1), ("fr", 9, 1), ("de", 14, 1), ("zh", 8, 3))
        ]
        alone = [engine.run(0, [request])[0] for request in requests]
        assert [each[0].texts for each in alone] == [each[0].texts for each in engine.run(0, requests)]
        assert len({each[0].texts for each in alone}) > 10
    finally:
        engine.close()


def test_beams_find_the_text_that_the_transformers_engine_finds_but_for_rare_ends(both):
    own, reference = both("nllb")
    same = 0
    for text in TEXTS:
        request = Translate(texts=(text,), source="en", target="de", sampling=Sampling(max_tokens=12, beams=4))
        found, expected = (asyncio.run(answer(each, request)) for each in (own, reference))
        same += found == expected
    assert same >= 4


def test_a_seed_makes_a_sampled_text_repeatable_and_each_choice_another(both):
    own, _ = both("t5")

    def tell(seed):
        sampling = Sampling(max_tokens=10, temperature=3.0, top_k=40, top_p=0.95, min_p=0.001, typical_p=0.99, seed=seed)
        return own.run(0, [Generate(prompt="hello", sampling=sampling, choices=3)])[0][0]

    first = tell(1)
    assert tell(1) == first
    assert tell(2) != first
    assert len({choice.text for choice in first.choices}) == 3


class Counting:
    """A translator that counts its runs."""

    def __init__(self, translator):
        self._translator = translator
        self.runs = 0

    def translate_batch(self, sources, **options):
        self.runs += 1
        return self._translator.translate_batch(sources, **options)


def test_what_is_likeliest_costs_one_run_and_what_is_drawn_by_a_seed_one_for_each_other_token(both, monkeypatch):
    own, _ = both("flan-t5")
    counting = Counting(own._translator)
    monkeypatch.setattr(own, "_translator", counting)
    own.run(0, [Generate(prompt="who", sampling=Sampling(max_tokens=12), top_logprobs=1)])
    assert counting.runs == 1
    own.run(0, [Generate(prompt="who", sampling=Sampling(max_tokens=12, temperature=2.0), choices=8)])
    assert counting.runs == 2
    own.run(0, [Generate(prompt="who", sampling=Sampling(max_tokens=12, temperature=2.0, seed=1))])
    assert 2 < counting.runs <= 14


def test_texts_drawn_without_a_seed_differ_from_one_another(both):
    own, _ = both("t5")
    request = Generate(prompt="hello", sampling=Sampling(max_tokens=10, temperature=3.0, top_k=50), choices=6)
    output, usage = own.run(0, [request])[0]
    assert len({choice.text for choice in output.choices}) > 1
    assert own.run(0, [request])[0][0] != output
    assert usage.output_tokens <= 60


def test_wishes_that_would_take_too_long_are_refused_and_say_what_to_leave_out(both, monkeypatch):
    own, _ = both("mbart")
    monkeypatch.setattr("yunmo.engines.ctranslate2.choosing.MOST_STEPS", 40)
    wish = Sampling(max_tokens=30, temperature=5.0, seed=1)
    good, refused = own.run(0, [Translate(texts=("hello",), source="en", target="de", sampling=each) for each in (SHORT, wish)])
    assert good[0].texts
    assert isinstance(refused, Unsupported)
    assert "max_tokens" in refused.message


def test_a_text_that_is_too_long_is_refused_or_cut_as_asked(both):
    own, reference = both("marian")
    refused = own.run(0, [Translate(texts=(LONG,))])[0]
    assert isinstance(refused, ContextTooLong)
    cut = Translate(texts=(LONG,), truncate=True, sampling=SHORT)
    assert own.run(0, [cut])[0] == asyncio.run(answer(reference, cut))


def test_no_text_is_longer_than_the_plan_allows(model):
    directory, derived = model("t5")
    short = Plan(engine="ctranslate2", precision="fp32", options={"most_output_tokens": 5})
    engine = kind.load(directory, derived, short, lambda *_: None)
    try:
        endless = Sampling(max_tokens=1_000_000)
        for requests in (
            [Translate(texts=(text,), source="en", target="de", sampling=endless) for text in TEXTS],
            [Generate(prompt=text, sampling=endless) for text in TEXTS],
        ):
            assert max(usage.output_tokens for _, usage in engine.run(0, requests)) == 5
    finally:
        engine.close()


async def test_a_cancelled_request_never_joins_a_batch(both):
    own, _ = both("marian")
    seen, go, begun = [], threading.Event(), threading.Event()

    class Watched:
        tasks = own.tasks
        cost = own.cost

        def run(self, stream, requests):
            seen.extend(request.texts[0] for request in requests)
            begun.set()
            go.wait(10)
            return own.run(stream, requests)

        def close(self):
            """The engine lives on."""

    batched = Batched(Watched(), Plan(engine="ctranslate2", batch_items=8))
    first = asyncio.create_task(batched.answer(Translate(texts=("hello world",))))
    await asyncio.to_thread(begun.wait, 10)
    given_up = asyncio.create_task(batched.answer(Translate(texts=("the quick brown fox", "who"))))
    kept = asyncio.create_task(batched.answer(Translate(texts=("one two",))))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    go.set()
    output, usage = await kept
    await first
    await batched.close()
    assert seen == ["hello world", "one two"]
    assert (output, usage) == own.run(0, [Translate(texts=("one two",))])[0]


def test_a_failing_text_fails_alone_and_says_so(both, monkeypatch):
    own, _ = both("marian")
    real = own._translator

    class Failing:
        def translate_batch(self, sources, **options):
            if any(len(source) > 12 for source in sources):
                raise RuntimeError("something in the library")
            return real.translate_batch(sources, **options)

    monkeypatch.setattr(own, "_translator", Failing())
    good, bad, other = own.run(0, [Translate(texts=(text,), sampling=SHORT) for text in ("hello", TEXTS[2], "who")])
    assert isinstance(bad, EngineFailed)
    assert "the library" not in bad.message
    assert good[0].texts
    assert other[0].texts


def test_a_task_that_the_plan_leaves_out_is_refused(model):
    directory, derived = model("t5")
    engine = kind.load(directory, derived, Plan(engine="ctranslate2", options={"tasks": ["translate"]}), lambda *_: None)
    try:
        assert engine.tasks == ("translate",)
        assert isinstance(engine.run(0, [Summarize(texts=("who",))])[0], Unsupported)
    finally:
        engine.close()


def test_a_token_that_the_model_does_not_have_is_refused(both):
    own, _ = both("bart")
    assert isinstance(own.run(0, [Generate(prompt=(399, 400))])[0], InvalidRequest)


def test_the_rows_of_a_request_are_answered_and_billed_one_by_one(both):
    own, _ = both("nllb")
    request = Translate(texts=TEXTS, source="en", target="de", sampling=SHORT)
    rows = own.run(0, split(request))
    assert all(usage.characters == len(text) for (_, usage), text in zip(rows, TEXTS, strict=True))
    whole, usage = asyncio.run(answer(own, request))
    assert len(whole.texts) == len(TEXTS)
    assert usage == sum((each for _, each in rows), Usage())
    assert not isinstance(whole, Choices)
