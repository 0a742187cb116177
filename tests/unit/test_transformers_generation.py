import asyncio
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core.engine import Hardware
from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Generate, Message, OutputFormat, Sampling, TextDelta, Tool, fold
from yunmo.core.usage import Usage
from yunmo.engines.transformers.decoding import Writer
from yunmo.engines.transformers.generation import template_of
from yunmo.engines.transformers.kind import describe_directory, kind


@pytest.fixture(scope="module", params=["chat"])
def engine(request, tiny_model):
    directory = tiny_model(request.param)
    offer = kind.offer(describe_directory(directory), Hardware(cores=1, memory_bytes=8 << 30))
    loaded = kind.load(directory, directory, offer.plan, lambda _what, _share: None)
    yield loaded
    asyncio.run(loaded.close())


async def chunks(engine, request):
    """The pieces and the last usage."""
    *items, usage = [item async for item in engine.stream(request)]
    return [*(item for item in items if not isinstance(item, Usage)), usage]


async def choices(engine, request):
    return fold(request, (await chunks(engine, request))[:-1]).choices


def prompt(text="hello world", choices=1, top_logprobs=None, echo=False, **sampling):
    return Generate(prompt=text, choices=choices, top_logprobs=top_logprobs, echo=echo, sampling=Sampling(**sampling))


async def test_the_same_seed_gives_the_same_text_and_another_seed_another(engine):
    first, again, other = [(await choices(engine, prompt(max_tokens=20, temperature=1.0, seed=seed)))[0].text for seed in (5, 5, 6)]
    assert first == again != other


async def test_choices_differ_when_sampled(engine):
    texts = {choice.text for choice in await choices(engine, prompt(choices=10, max_tokens=20, temperature=1.5, seed=1))}
    assert len(texts) > 5


async def test_a_choice_is_the_same_alone_and_among_others(engine):
    many = await choices(engine, prompt(choices=3, max_tokens=10, temperature=1.0, seed=1))
    alone = await choices(engine, prompt(max_tokens=10, temperature=1.0, seed=1))
    assert many[0].text == alone[0].text


async def test_seeded_requests_at_the_same_time_do_not_disturb_each_other(engine):
    requests = [prompt(max_tokens=20, temperature=1.0, seed=seed) for seed in range(6)]
    alone = [await choices(engine, request) for request in requests]
    assert await asyncio.gather(*(choices(engine, request) for request in requests)) == alone


async def test_the_likeliest_token_alone_is_the_greedy_choice(engine):
    greedy = await choices(engine, prompt(max_tokens=12))
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        assert await choices(engine, prompt(max_tokens=12, temperature=1.0, seed=3, **narrow)) == greedy


async def test_tokens_come_one_by_one(engine):
    stream = await chunks(engine, prompt(max_tokens=16))
    assert len([chunk for chunk in stream if isinstance(chunk, TextDelta) and chunk.text]) > 8
    assert stream[-1] == Usage(input_tokens=4, output_tokens=16, characters=11)


async def test_a_stop_string_ends_the_text_and_is_left_out(engine):
    whole = (await choices(engine, prompt(max_tokens=20)))[0]
    assert whole.finish_reason == "length"
    for place in range(1, len(whole.text) - 3, 3):
        stop = whole.text[place : place + 3]
        cut = (await choices(engine, prompt(max_tokens=20, stop=(stop, "never written"))))[0]
        assert cut.text == whole.text[: whole.text.index(stop)]
        assert cut.finish_reason == "stop"


async def test_the_end_token_ends_the_text_with_stop(engine):
    choice = (await choices(engine, prompt(max_tokens=20, logit_bias={"0": 100.0})))[0]
    assert (choice.text, choice.finish_reason) == ("", "stop")


async def test_a_bias_forces_and_forbids_tokens(engine):
    forced = (await choices(engine, prompt(max_tokens=3, top_logprobs=0, logit_bias={"70": 100.0})))[0]
    assert [token.id for token in forced.logprobs] == [70, 70, 70]
    assert all(token.top == () for token in forced.logprobs)


async def test_penalties_make_texts_less_repetitive(engine):
    def distinct(choice):
        return len({token.id for token in choice.logprobs})

    plain = (await choices(engine, prompt(max_tokens=40, top_logprobs=0, logit_bias={"70": 3.0, "71": 3.0})))[0]
    for penalty in ({"frequency_penalty": 2.0}, {"presence_penalty": 2.0}, {"repetition_penalty": 3.0}):
        varied = (await choices(engine, prompt(max_tokens=40, top_logprobs=0, logit_bias={"70": 3.0, "71": 3.0}, **penalty)))[0]
        assert distinct(varied) > distinct(plain)


async def test_logprobs_are_the_models_own(engine, tiny_model):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = tiny_model("chat")
    tokenizer, model = AutoTokenizer.from_pretrained(directory), AutoModelForCausalLM.from_pretrained(directory)
    choice = (await choices(engine, prompt(max_tokens=3, top_logprobs=4, temperature=0.5, seed=1)))[0]
    ids = tokenizer("hello world")["input_ids"]
    for token in choice.logprobs:
        with torch.inference_mode():
            expected = model(torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1)
        assert token.logprob == pytest.approx(float(expected[token.id]), abs=1e-4)
        assert [each.id for each in token.top] == expected.topk(4).indices.tolist()
        ids.append(token.id)


async def test_echo_begins_with_the_prompt_and_can_score_it_without_writing(engine):
    scored = (await choices(engine, prompt(echo=True, max_tokens=0, top_logprobs=1)))[0]
    assert scored.text == "hello world"
    assert len(scored.logprobs) == 4
    assert scored.logprobs[0].logprob == 0.0
    assert all(token.logprob < 0 for token in scored.logprobs[1:])
    written = (await choices(engine, prompt(echo=True, max_tokens=5)))[0]
    plain = (await choices(engine, prompt(max_tokens=5)))[0]
    assert written.text == "hello world" + plain.text


async def test_a_prompt_may_be_cut_to_its_last_tokens(engine):
    request = Generate(prompt="the quick brown fox hello world", truncate_prompt_tokens=4, sampling=Sampling(max_tokens=6))
    *deltas, usage = await chunks(engine, request)
    assert usage.input_tokens == 4
    assert fold(request, deltas) == fold(
        request, (await chunks(engine, Generate(prompt=" hello world", truncate_prompt_tokens=4, sampling=Sampling(max_tokens=6))))[:-1]
    )


async def test_a_prompt_that_fills_the_context_is_refused_and_text_ends_at_it(engine):
    with pytest.raises(ContextTooLong, match="128"):
        await chunks(engine, prompt("hello " * 200))
    ids = tuple([70] * 120)
    *_, usage = await chunks(engine, Generate(prompt=ids, sampling=Sampling(logit_bias={"0": -100.0})))
    assert usage.input_tokens + usage.output_tokens == 128


async def test_beams_search_for_the_likeliest_text(engine):
    request = prompt(max_tokens=6, beams=3)
    stream = await chunks(engine, request)
    assert fold(request, stream[:-1]).choices[0].finish_reason == "length"
    for more in ({"temperature": 1.0}, {"frequency_penalty": 1.0}):
        with pytest.raises(Unsupported, match="likeliest"):
            await chunks(engine, prompt(max_tokens=6, beams=3, **more))


async def test_what_this_engine_cannot_do_is_refused(engine):
    messages = (Message(role="user", content="hi"),)
    with pytest.raises(Unsupported, match="schema"):
        await chunks(engine, Chat(messages=messages, output_format=OutputFormat(kind="json")))
    with pytest.raises(Unsupported, match="tool"):
        await chunks(engine, Chat(messages=messages, tools=(Tool(name="look"),)))
    with pytest.raises(Unsupported, match="schema"):
        await chunks(engine, Generate(prompt="a", output_format=OutputFormat(kind="grammar", value="root ::= 'a'")))


@pytest.mark.parametrize(
    "sampling",
    [{"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}, {"min_p": 2.0}, {"typical_p": 0.0}, {"frequency_penalty": 3.0}, {"repetition_penalty": 0.0},
     {"temperature": float("nan")}, {"logit_bias": {"99999999": 1.0}}, {"logit_bias": {"5": 101.0}}, {"beams": 0}],
)  # fmt: skip
async def test_values_out_of_range_are_refused_by_name(engine, sampling):
    with pytest.raises(InvalidRequest) as refused:
        await chunks(engine, prompt(max_tokens=1, **sampling))
    assert refused.value.param in {*sampling, "num_beams"}


async def test_a_failure_of_the_model_is_that_requests_alone_and_leaks_nothing(engine, monkeypatch):
    model = engine._answers[Generate].__self__._model

    def fail(*_args, **_more):
        raise RuntimeError("secret text of a person")

    with monkeypatch.context() as patch:
        patch.setattr(model, "generate", fail)
        with pytest.raises(EngineFailed) as failed:
            await chunks(engine, prompt(max_tokens=2))
    assert "secret" not in failed.value.message
    assert await choices(engine, prompt(max_tokens=2))


class Page:
    """What a writer writes on."""

    is_cancelled = False

    def __init__(self):
        self.pieces = []

    def emit(self, piece):
        self.pieces.append(piece)


@settings(max_examples=200, deadline=None)
@given(data=st.text(alphabet="abé☃😀", max_size=20), stop=st.lists(st.text(alphabet="abé☃", min_size=1, max_size=3), max_size=2))
def test_text_is_written_in_whole_characters_up_to_the_first_stop(data, stop):
    page = Page()
    writer = Writer(page, 0, lambda ids: bytes(ids).decode("utf-8", errors="replace"), [], stop)
    for byte in data.encode():
        if not writer.is_finished:
            writer.add(byte)
    writer.finish("length")
    ends = [data.find(each) for each in stop if each in data]
    # of stops that overlap, the one that is complete first ends the text
    complete = [(data.find(each) + len(each), data.find(each)) for each in stop if each in data]
    expected = data[: min(complete)[1]] if ends else data
    written = "".join(piece.text for piece in page.pieces)
    assert written == expected or (len({end for end, _ in complete}) < len(complete) and written == data[: min(ends)])
    assert page.pieces[-1].finish_reason == ("stop" if ends else "length")


async def test_leaving_a_stream_stops_the_model_within_a_token(engine, monkeypatch):
    model = engine._answers[Generate].__self__._model
    steps = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *args, **more: (steps.append(1), forward(*args, **more))[1])
    stream = engine.stream(prompt(max_tokens=100, logit_bias={"0": -100.0}))
    while isinstance(await anext(stream), Usage):
        pass
    seen = len(steps)
    await stream.aclose()
    stopped = len(steps)
    assert stopped < 100
    assert stopped - seen <= 3
    await choices(engine, prompt(max_tokens=2))
    assert len(steps) == stopped + 2


async def test_a_request_that_waits_for_a_thread_can_leave_at_once(engine, monkeypatch):
    model = engine._answers[Generate].__self__._model
    begun, go_on, generate = threading.Semaphore(0), threading.Event(), model.generate

    def wait(*args, **more):
        begun.release()
        go_on.wait(30)
        return generate(*args, **more)

    monkeypatch.setattr(model, "generate", wait)
    busy = [asyncio.create_task(choices(engine, prompt(max_tokens=2))) for _ in range(2)]
    for _ in busy:
        await asyncio.to_thread(begun.acquire, timeout=30)
    waiting = asyncio.create_task(choices(engine, prompt(max_tokens=2)))
    await asyncio.wait([waiting], timeout=0.05)
    waiting.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await waiting
    go_on.set()
    assert all(await asyncio.gather(*busy))
    assert not begun.acquire(blocking=False)


@pytest.mark.parametrize(
    ("templates", "chosen"),
    [({"tool_use": "t", "default": "d"}, "d"), ([{"name": "default", "template": "d"}], "d"), ("only", "only"), (None, None), ({}, None)],
)
def test_the_default_template_is_taken_where_there_are_several(templates, chosen):
    assert template_of(SimpleNamespace(chat_template=templates)) == chosen
