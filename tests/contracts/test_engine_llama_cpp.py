"""llama.cpp with a real model (SmolLM2-135M-Instruct): what is promised is what comes."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from engine_contract import EngineCase, EngineContract

from starter_models import smollm2_directory
from yunmo.core.engine import Hardware, ModelDescription, Plan
from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Classify, Embed, Generate, Message, OutputFormat, Sampling, TextDelta, Tool, ToolCall, fold
from yunmo.core.usage import Usage
from yunmo.engines.llama_cpp.kind import kind

CONTEXT_TOKENS = 1024
SLOTS = 8
GREEDY = Sampling(max_tokens=24, temperature=0.0)
WEATHER = Tool("get_weather", "The weather of a city.", '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}')
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "size": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["city", "size"],
    "additionalProperties": False,
}


def plan(**changes):
    directory = smollm2_directory()
    files = {path.name: path.stat().st_size for path in directory.iterdir()}
    model = ModelDescription(repository="library/smollm2", revision="0" * 40, files=files)
    offer = kind.offer(model, Hardware(cores=os.cpu_count() or 1, memory_bytes=16 << 30))
    return msgspec.structs.replace(offer.plan, slots=SLOTS, context_tokens=CONTEXT_TOKENS, **changes)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    told = []
    loaded = kind.load(smollm2_directory(), tmp_path_factory.mktemp("derived"), plan(), lambda step, share: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0
    yield loaded
    asyncio.run(loaded.close())


def user(text):
    return (Message("user", text),)


async def chunks(engine, request):
    """The chunks and the usage, which must come last."""
    async with contextlib.aclosing(engine.stream(request)) as stream:
        *items, usage = [item async for item in stream]
    assert isinstance(usage, Usage)
    output = [item for item in items if not isinstance(item, Usage)]
    assert all(isinstance(each, TextDelta) for each in output)
    return output, usage


async def answer(engine, request):
    output, usage = await chunks(engine, request)
    return fold(request, output), usage


async def text(engine, request):
    whole, _ = await answer(engine, request)
    return whole.choices[0].text


def listening_ports():
    """The TCP ports that this process listens on."""
    mine = {str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in mine]


async def until_busy(engine, slots, deadline_seconds=5.0):
    async with asyncio.timeout(deadline_seconds):
        while await asyncio.to_thread(engine._server.busy_slots) != slots:  # noqa: ASYNC110 - llama.cpp tells nobody when a slot changes
            await asyncio.sleep(0.005)


async def test_a_chat_answers_in_english_token_by_token(engine):
    output, usage = await chunks(engine, Chat(messages=user("Write one sentence about the sea."), sampling=GREEDY))
    said = "".join(delta.text for delta in output)
    assert re.search(r"\b(the|a|is|of)\b", said)
    assert said.isascii()
    assert "<|im" not in said
    assert len(output) > 8
    assert usage.output_tokens >= 8
    assert usage.input_tokens > len(["Write", "one", "sentence", "about", "the", "sea."])


async def test_the_same_chat_again_takes_its_prompt_from_the_cache(engine):
    request = Chat(messages=user("Tell me about lighthouses and the people who keep them."), sampling=GREEDY)
    await chunks(engine, request)
    _, usage = await chunks(engine, request)
    assert usage.cached_tokens >= usage.input_tokens - 2 > 0


async def test_a_system_message_reaches_the_model(engine):
    plain = await answer(engine, Chat(messages=user("Hello"), sampling=GREEDY))
    piracy = (Message("system", "You are a pirate. Speak of treasure."), *user("Hello"))
    other = await answer(engine, Chat(messages=piracy, sampling=GREEDY))
    assert plain[0] != other[0]


async def test_a_seed_makes_an_answer_repeatable_and_another_seed_another_one(engine):
    async def tell(seed):
        return await text(engine, Generate(prompt="Once upon a time", sampling=Sampling(max_tokens=16, temperature=1.0, seed=seed)))

    first = await tell(11)
    assert await tell(11) == first
    assert len({await tell(seed) for seed in (12, 13, 14)} - {first}) >= 2


async def test_several_choices_differ_and_pay_their_prompt_once(engine):
    request = Chat(messages=user("Invent a name."), sampling=Sampling(max_tokens=8, temperature=1.0, seed=1), choices=SLOTS + 2)
    whole, usage = await answer(engine, request)
    assert len(whole.choices) == SLOTS + 2
    assert len({choice.text for choice in whole.choices}) > 3
    assert usage.input_tokens < 60
    assert SLOTS + 2 <= usage.output_tokens <= 8 * (SLOTS + 2)


async def test_generation_stops_before_a_stop_text(engine):
    whole, _ = await answer(engine, Generate(prompt="1, 2, 3, 4,", sampling=Sampling(max_tokens=40, temperature=0.0, stop=("8",))))
    assert "8" not in whole.choices[0].text
    assert "7" in whole.choices[0].text
    assert whole.choices[0].finish_reason == "stop"


async def test_generation_ends_at_max_tokens_with_length(engine):
    whole, usage = await answer(engine, Generate(prompt="1, 2, 3, 4,", sampling=Sampling(max_tokens=5, temperature=0.0)))
    assert whole.choices[0].finish_reason == "length"
    assert usage.output_tokens == 5


async def test_token_ids_and_their_text_are_the_same_prompt(engine):
    ids = await asyncio.to_thread(engine._server.tokens, "The sun rises in the")
    as_ids = await text(engine, Generate(prompt=tuple(ids), sampling=GREEDY))
    assert as_ids == await text(engine, Generate(prompt="The sun rises in the", sampling=GREEDY))


async def test_echo_puts_the_prompt_before_each_choice(engine):
    request = Generate(prompt="Two plus two", sampling=Sampling(max_tokens=2, seed=3), choices=2, echo=True)
    whole, _ = await answer(engine, request)
    assert all(choice.text.startswith("Two plus two") for choice in whole.choices)


async def test_a_shortened_prompt_keeps_its_end(engine):
    request = Generate(prompt="word " * 3000 + "1, 2, 3,", sampling=GREEDY, truncate_prompt_tokens=9)
    whole, usage = await answer(engine, request)
    assert usage.input_tokens == 9
    assert "4" in whole.choices[0].text


async def test_log_probabilities_come_with_as_many_alternatives_as_asked(engine):
    request = Chat(messages=user("Say yes."), sampling=Sampling(max_tokens=6, temperature=0.0), top_logprobs=3)
    whole, usage = await answer(engine, request)
    tokens = whole.choices[0].logprobs
    assert "".join(token.token for token in tokens).startswith(whole.choices[0].text)
    assert usage.output_tokens - 1 <= len(tokens) <= usage.output_tokens
    for token in tokens:
        assert len(token.top) == 3
        assert token.logprob <= 0
        assert token.logprob == max(other.logprob for other in token.top)


async def test_a_penalty_keeps_words_from_coming_again(engine):
    chant = Generate(prompt="la la la la la la la la la la la la la la", sampling=Sampling(max_tokens=16, temperature=0.0))
    for name in ("frequency_penalty", "presence_penalty", "repetition_penalty"):
        strict = msgspec.structs.replace(chant, sampling=msgspec.structs.replace(chant.sampling, **{name: 2.0}))
        assert _variety(await text(engine, strict)) > _variety(await text(engine, chant)), name


def _variety(said):
    return len(set(said))


async def test_a_biased_token_is_never_said(engine):
    prompt = "The capital of France is"
    first = await answer(engine, Generate(prompt=prompt, sampling=Sampling(max_tokens=1, temperature=0.0), top_logprobs=0))
    banned = first[0].choices[0].logprobs[0]
    sampling = Sampling(max_tokens=1, temperature=0.0, logit_bias={str(banned.id): -100.0})
    assert await text(engine, Generate(prompt=prompt, sampling=sampling)) != banned.token


@pytest.mark.parametrize(
    "request_",
    [
        Chat(messages=user("Name a city."), output_format=OutputFormat("json_schema", json.dumps(CITY))),
        Generate(prompt="A city: ", output_format=OutputFormat("json_schema", json.dumps(CITY))),
    ],
    ids=["chat", "generate"],
)
async def test_text_is_held_to_a_json_schema(engine, request_):
    request = msgspec.structs.replace(request_, sampling=Sampling(max_tokens=120, temperature=0.0))
    found = json.loads(await text(engine, request))
    assert set(found) == {"city", "size"}
    assert isinstance(found["city"], str)
    assert isinstance(found["size"], int)


async def test_text_is_held_to_a_grammar(engine):
    form = OutputFormat("grammar", 'root ::= "maybe" | "never"')
    assert await text(engine, Chat(messages=user("Is it so?"), output_format=form, sampling=GREEDY)) in {"maybe", "never"}
    assert await text(engine, Generate(prompt="Is it so?", output_format=form, sampling=GREEDY)) in {"maybe", "never"}


@pytest.mark.parametrize(
    "request_",
    [
        Generate(prompt="x", output_format=OutputFormat("json_schema", '{"not": {"type": "string"}}'), sampling=GREEDY),
        Generate(prompt="x", output_format=OutputFormat("grammar", 'root ::= "open'), sampling=GREEDY),
        Chat(messages=user("x"), output_format=OutputFormat("json_schema", '{"$ref": "#/nowhere"}'), sampling=GREEDY),
        Generate(prompt=(10**9,), sampling=GREEDY),
        Generate(prompt="", sampling=GREEDY),
    ],
)
async def test_a_form_or_prompt_that_cannot_be_kept_is_refused_and_not_ignored(engine, request_):
    with pytest.raises(InvalidRequest):
        await chunks(engine, request_)


async def test_a_required_tool_is_called_with_arguments_of_its_schema(engine):
    request = Chat(
        messages=user("What is the weather in Paris?"), tools=(WEATHER,), tool_choice="get_weather", sampling=Sampling(max_tokens=80)
    )
    whole, _ = await answer(engine, request)
    choice = whole.choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.tool_calls
    assert call.name == "get_weather"
    assert isinstance(json.loads(call.arguments)["city"], str)


async def test_the_answer_of_a_tool_is_read(engine):
    turns = (
        *user("What is the weather in Paris?"),
        Message("assistant", tool_calls=(ToolCall("call_1", "get_weather", '{"city":"Paris"}'),)),
        Message("tool", "It rains frogs.", tool_call_id="call_1"),
    )
    without = await answer(engine, Chat(messages=turns[:1], sampling=GREEDY))
    assert await answer(engine, Chat(messages=turns, sampling=GREEDY)) != without


async def test_a_prompt_longer_than_a_slot_is_refused_with_both_numbers(engine):
    for request in (Chat(messages=user("word " * 2000)), Generate(prompt="word " * 2000)):
        with pytest.raises(ContextTooLong, match=rf"20\d\d tokens.*{CONTEXT_TOKENS}"):
            await chunks(engine, request)


async def test_conversations_at_the_same_time_do_not_mix(engine):
    requests = [
        Generate(
            prompt=f"The number {number} written ten times is {number}, {number}, {number},",
            sampling=Sampling(max_tokens=9, temperature=0.0),
        )
        for number in range(11, 11 + SLOTS)
    ]
    together = await asyncio.gather(*(text(engine, request) for request in requests))
    for number, said in zip(range(11, 11 + SLOTS), together, strict=True):
        assert set(re.findall(r"\d\d+", said)) == {str(number)}


async def test_leaving_a_stream_frees_its_slot_within_a_few_tokens(engine):
    stream = engine.stream(Generate(prompt="Count slowly: 1, 2,", sampling=Sampling(max_tokens=900, temperature=0.0)))
    for _ in range(3):
        await anext(stream)
    assert await asyncio.to_thread(engine._server.busy_slots) == 1
    await stream.aclose()
    await until_busy(engine, 0, 0.3)


async def test_a_cancelled_request_ends_while_its_prompt_is_being_read(engine):
    task = asyncio.create_task(chunks(engine, Generate(prompt="slow " * 1000, sampling=Sampling(max_tokens=1))))
    await until_busy(engine, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_busy(engine, 0, 20.0)
    assert await text(engine, Generate(prompt="1, 2, 3,", sampling=GREEDY))


async def test_a_task_that_the_model_has_not_is_refused(engine):
    with pytest.raises(Unsupported):
        await chunks(engine, Classify(texts=("x",)))


async def test_no_tcp_port_is_opened_and_nothing_is_written_to_the_terminal(engine, capfd):
    await chunks(engine, Chat(messages=user("A secret word: xylophone"), sampling=GREEDY))
    assert capfd.readouterr() == ("", "")
    assert await asyncio.to_thread(listening_ports) == []


_LOADED_AND_CLOSED = """
import sys
from pathlib import Path
from yunmo.core.engine import Plan
from yunmo.engines.llama_cpp.server import Server

for _ in range(10):
    Server(Path(sys.argv[1]), Plan(engine="llama_cpp", slots=1, threads=1, context_tokens=128)).close()
"""


def test_a_model_that_is_closed_as_soon_as_it_is_loaded_ends():
    # in a process of its own: one that waits inside llama.cpp cannot be interrupted
    model = next(smollm2_directory().glob("*.gguf"))
    subprocess.run([sys.executable, "-c", _LOADED_AND_CLOSED, str(model)], timeout=120, check=True)


async def test_closing_ends_what_is_under_way(tmp_path):
    loaded = kind.load(smollm2_directory(), tmp_path, plan(), lambda step, share: None)
    stream = loaded.stream(Generate(prompt="Count: 1, 2,", sampling=Sampling(max_tokens=900, temperature=0.0)))
    while isinstance(await anext(stream), Usage):
        pass
    await asyncio.wait_for(loaded.close(), 5)
    rest = [item async for item in stream]
    assert len(rest) < 900


async def test_a_damaged_file_fails_to_load_with_its_name(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(EngineFailed, match=r"broken\.gguf"):
        kind.load(tmp_path, tmp_path, Plan(engine="llama_cpp"), lambda step, share: None)


async def test_a_model_with_pooling_embeds_texts_to_unit_vectors_near_their_like(tmp_path):
    options = {"embedding": True, "pooling": "mean"}
    small = msgspec.structs.replace(plan(), slots=2, context_tokens=128)
    embedder = kind.load(smollm2_directory(), tmp_path, msgspec.structs.replace(small, options=small.options | options), lambda *_: None)
    try:
        assert embedder.tasks == ("embed",)
        request = Embed(
            inputs=("The cat sleeps on the sofa.", "A cat is sleeping on a couch.", "Taxes are due in April. " * 40), dimensions=64
        )
        vectors, usage = [item async for item in embedder.stream(request)]
        rows = [memoryview(vector.data).cast("f").tolist() for vector in vectors.vectors]
        assert [vector.shape for vector in vectors.vectors] == [(64,)] * 3
        assert all(abs(sum(number * number for number in row) - 1) < 1e-4 for row in rows)
        near, far = (sum(a * b for a, b in zip(rows[0], row, strict=True)) for row in rows[1:])
        assert near > far
        assert 128 < usage.input_tokens < 160
        with pytest.raises(ContextTooLong):
            [item async for item in embedder.stream(Embed(inputs=("tax " * 300,), truncate=False))]
    finally:
        await embedder.close()


class TestLlamaCpp(EngineContract):
    """What every engine promises; the prompts leave the model little choice, since batches of other sizes round otherwise."""

    @pytest.fixture(scope="class")
    def case(self):
        count = Generate(prompt="1, 2, 3, 4, 5, 6,", sampling=Sampling(max_tokens=8, temperature=0.0))
        form = OutputFormat("grammar", 'root ::= "maybe"')
        return EngineCase(
            kind=kind,
            directory=smollm2_directory(),
            plan=plan(),
            requests={"chat": Chat(messages=user("Is it so?"), output_format=form, sampling=GREEDY), "generate": count},
            bad=(
                Chat(messages=()),
                Generate(prompt="x", sampling=Sampling(beams=3)),
                Generate(prompt="word " * 2000),
                Generate(prompt="x", output_format=OutputFormat("grammar", "root ::= (")),
            ),
            long=Generate(prompt="1, 2, 3, 4,", sampling=Sampling(max_tokens=900, temperature=0.0)),
            others=tuple(msgspec.structs.replace(count, prompt=f"{n}, {n}, {n}, {n}, {n},") for n in (10, 20, 30, 40)),
        )
