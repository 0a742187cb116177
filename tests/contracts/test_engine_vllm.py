"""vLLM with tiny decoders, held against transformers, and with the real SmolLM2; skipped where vLLM is not installed (docs/guide.md, vLLM)."""

import asyncio
import contextlib
import json
import os
import re

import msgspec
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: it has an environment of its own")

from engine_contract import EngineCase, EngineContract

from starter_models import smollm2_directory
from starter_safetensors import write_smollm2
from tiny_decoders import build
from yunmo.core.engine import Plan
from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, Unavailable, Unsupported
from yunmo.core.tasks import Chat, Embed, Generate, Message, OutputFormat, Sampling, TextDelta, Tool, ToolCall, fold
from yunmo.core.usage import Usage
from yunmo.engines.vllm.decoders import ARCHITECTURES
from yunmo.engines.vllm.kind import kind

pytestmark = pytest.mark.filterwarnings("ignore")  # of vLLM's own, which differ from one machine to the next

CONTEXT_TOKENS = 256
SLOTS = 4
BATCH_TOKENS = 128
GREEDY = Sampling(max_tokens=24, temperature=0.0)
SHORT = Sampling(max_tokens=80, temperature=0.0)
PROMPT = tuple(range(5, 50))


def plan(**changes):
    options = {"device": "cpu", "batch_tokens": BATCH_TOKENS}
    return Plan(
        engine="vllm", precision="fp32", threads=os.cpu_count() or 1, options=options,
        **({"slots": SLOTS, "context_tokens": CONTEXT_TOKENS} | changes),
    )  # fmt: skip


def silent(step, share):
    del step, share


def user(text):
    return (Message("user", text),)


async def answer(engine, request):
    async with contextlib.aclosing(engine.stream(request)) as stream:
        *items, usage = [item async for item in stream]
    assert isinstance(usage, Usage)
    return fold(request, [item for item in items if not isinstance(item, Usage)]), usage


async def text(engine, request):
    return (await answer(engine, request))[0].choices[0].text


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return build("qwen2", tmp_path_factory.mktemp("qwen2"), hidden_size=128)


@pytest.fixture(scope="module")
def engine(qwen, tmp_path_factory):
    loaded = kind.load(qwen, tmp_path_factory.mktemp("derived"), plan(), silent)
    yield loaded
    asyncio.run(loaded.close())


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    directory = write_smollm2(next(smollm2_directory().glob("*.gguf")), tmp_path_factory.mktemp("smollm2"))
    loaded = kind.load(directory, tmp_path_factory.mktemp("derived"), plan(context_tokens=1024), silent)
    yield loaded
    asyncio.run(loaded.close())


class TestVllm(EngineContract):
    """What every engine promises."""

    @pytest.fixture(scope="class")
    def engine(self, engine):
        return engine

    @pytest.fixture(scope="class")
    def case(self, qwen):
        generate = Generate(prompt=PROMPT, sampling=GREEDY)
        return EngineCase(
            kind=kind,
            directory=qwen,
            plan=plan(),
            requests={"chat": Chat(messages=user("Is it so?"), sampling=GREEDY, choices=2), "generate": generate},
            bad=(
                Chat(messages=()),
                Generate(prompt=""),
                Generate(prompt=(1, 999_999)),
                Generate(prompt=PROMPT * 10),
                Generate(prompt="x", sampling=Sampling(max_tokens=0)),
                Generate(prompt="x", sampling=Sampling(temperature=-1.0)),
                Generate(prompt="x", sampling=Sampling(temperature=3.0)),
                Generate(prompt="x", sampling=Sampling(temperature=1.0, top_p=7.0)),
                Generate(prompt="x", sampling=Sampling(frequency_penalty=99.0)),
                Generate(prompt="x", sampling=Sampling(logit_bias={"9999999": 1.0})),
                Generate(prompt="x", top_logprobs=21),
                Generate(prompt="x", output_format=OutputFormat("grammar", "root = ")),
                Chat(messages=user("x"), tools=(Tool("f", parameters="3"),)),
            ),
            long=Generate(prompt=PROMPT, sampling=Sampling(max_tokens=200, temperature=0.0)),
            others=tuple(msgspec.structs.replace(generate, prompt=PROMPT[start:]) for start in (3, 7, 20)),
        )


def test_every_architecture_that_is_offered_is_one_of_vllms():
    from vllm import ModelRegistry

    assert set(ModelRegistry.get_supported_archs()) >= ARCHITECTURES


@pytest.mark.parametrize("top", [0, 3])
async def test_it_writes_what_transformers_writes_with_the_same_log_probabilities(engine, qwen, top):
    import torch
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(qwen, dtype=torch.float32).eval()
    asked = torch.tensor([PROMPT])
    expected = reference.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=24, do_sample=False)[0]
    whole, usage = await answer(engine, Generate(prompt=PROMPT, sampling=GREEDY, top_logprobs=top))
    told = whole.choices[0].logprobs
    assert [each.id for each in told] == expected[len(PROMPT) :].tolist()
    assert (usage.input_tokens, usage.output_tokens) == (len(PROMPT), 24)
    scores = torch.log_softmax(reference(expected[None]).logits[0].float(), dim=-1).detach()
    for place, each in enumerate(told):
        here = scores[len(PROMPT) + place - 1]
        assert each.logprob == pytest.approx(float(here[each.id]), abs=2e-3)
        assert [other.logprob for other in each.top] == pytest.approx(here.topk(top).values.tolist(), abs=2e-3)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (OutputFormat("regex", r"\d{3}-\d{4} (é|快递)"), r"\d{3}-\d{4} (é|快递)"),
        (OutputFormat("grammar", 'root ::= "yes" | "no, " [a-z]{2}'), r"yes|no, [a-z]{2}"),
    ],
)
async def test_a_model_of_no_sense_writes_what_the_form_allows_and_ends_there(engine, form, expected):
    for seed in range(3):
        asked = Generate(prompt=PROMPT, sampling=Sampling(temperature=2.0, seed=seed, max_tokens=60), output_format=form)
        whole, _ = await answer(engine, asked)
        assert re.fullmatch(expected, whole.choices[0].text)
        assert whole.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (OutputFormat("json_schema", "{"), "not valid JSON"),
        (OutputFormat("json_schema", '{"type": "nonsense"}'), "nonsense"),
        (OutputFormat("json_schema", '{"type": "array", "uniqueItems": true}'), "uniqueItems"),
        (OutputFormat("json_schema", '{"$ref": "#"}'), "no text fits"),
        (OutputFormat("regex", "(a"), "parenthesis"),
        (OutputFormat("regex", "(?=a)b"), "not supported"),
        (OutputFormat("grammar", "root ::= missing"), "missing"),
        (OutputFormat("grammar", " "), "empty"),
    ],
)
async def test_a_form_that_text_cannot_be_held_to_is_refused_with_the_reason(engine, form, reason):
    with pytest.raises(InvalidRequest, match=reason):
        await answer(engine, Chat(messages=user("x"), output_format=form))


async def test_a_form_that_takes_for_ever_to_compile_is_refused_and_nobody_else_waits_for_it(engine):
    pattern = {"type": "string", "pattern": "^([a-z0-9]{1,300}-){1,50}$"}
    endless = OutputFormat("json_schema", json.dumps({"type": "object", "properties": {f"p{number}": pattern for number in range(400)}}))
    refused = asyncio.ensure_future(answer(engine, Generate(prompt=PROMPT, output_format=endless)))
    await answer(engine, Generate(prompt=PROMPT, sampling=GREEDY))
    assert not refused.done()
    with pytest.raises(InvalidRequest, match="time or memory"):
        await refused
    assert await text(engine, Generate(prompt=PROMPT, sampling=SHORT, output_format=OutputFormat("regex", "good"))) == "good"


async def test_a_seed_makes_an_answer_repeatable_also_in_company_and_none_makes_it_new(engine):
    def asked(seed):
        return Generate(prompt=PROMPT, sampling=Sampling(max_tokens=16, temperature=1.0, seed=seed))

    alone = await text(engine, asked(11))
    assert len({await text(engine, asked(seed)) for seed in (12, 13, 14)} - {alone}) >= 2
    together = await asyncio.gather(*(text(engine, asked(seed)) for seed in (12, 11, 13)))
    assert together[1] == alone
    assert await text(engine, asked(None)) != await text(engine, asked(None))


async def test_a_seed_holds_for_a_prompt_longer_than_what_a_step_reads(engine):
    asked = Generate(prompt=PROMPT * 4, sampling=Sampling(max_tokens=8, temperature=1.0, seed=3))
    assert len(asked.prompt) > BATCH_TOKENS
    first, *others = await asyncio.gather(*(text(engine, asked) for _ in range(3)))
    assert others == [first, first]


async def test_several_choices_differ_and_pay_their_prompt_once(engine):
    request = Generate(prompt=PROMPT, sampling=Sampling(max_tokens=8, temperature=1.0, seed=1), choices=SLOTS + 2)
    whole, usage = await answer(engine, request)
    assert len({choice.text for choice in whole.choices}) > 3
    assert usage.input_tokens == len(PROMPT)
    assert SLOTS + 2 <= usage.output_tokens <= 8 * (SLOTS + 2)


async def test_a_penalty_and_a_bias_change_what_is_written(engine):
    plain = Generate(prompt=PROMPT, sampling=Sampling(max_tokens=60, temperature=0.0), top_logprobs=0)
    (usual,) = (await answer(engine, plain))[0].choices
    ids = [each.id for each in usual.logprobs]
    for wish in ({"frequency_penalty": 2.0}, {"presence_penalty": 2.0}, {"repetition_penalty": 2.0}):
        (strict,) = (await answer(engine, msgspec.structs.replace(plain, sampling=msgspec.structs.replace(plain.sampling, **wish))))[
            0
        ].choices
        assert len({each.id for each in strict.logprobs}) > len(set(ids)), wish
    banned = msgspec.structs.replace(plain.sampling, logit_bias={str(ids[0]): -100.0})
    (other,) = (await answer(engine, msgspec.structs.replace(plain, sampling=banned)))[0].choices
    assert ids[0] not in [each.id for each in other.logprobs]


async def test_text_ends_at_max_tokens_with_length_and_before_a_stop_text_with_stop(engine):
    plain = Generate(prompt=PROMPT, sampling=GREEDY)
    whole, usage = await answer(engine, plain)
    said = whole.choices[0].text
    assert (whole.choices[0].finish_reason, usage.output_tokens) == ("length", GREEDY.max_tokens)
    stop = said[9:13]
    stopped, usage = await answer(engine, msgspec.structs.replace(plain, sampling=msgspec.structs.replace(GREEDY, stop=(stop,))))
    assert (stopped.choices[0].text, stopped.choices[0].finish_reason) == (said[: said.index(stop)], "stop")
    assert usage.output_tokens < GREEDY.max_tokens


async def test_an_answer_ends_where_the_context_does_and_a_longer_prompt_is_refused_with_both_numbers(engine):
    whole, usage = await answer(engine, Generate(prompt=PROMPT * 5, sampling=Sampling(temperature=0.0)))
    assert whole.choices[0].finish_reason == "length"
    assert usage.input_tokens + usage.output_tokens == CONTEXT_TOKENS
    with pytest.raises(ContextTooLong, match=rf"300 tokens.*{CONTEXT_TOKENS - 1}"):
        await answer(engine, Generate(prompt=PROMPT[:30] * 10))


async def test_what_is_cancelled_is_out_of_the_engine_by_its_next_step(engine):
    vllm = engine._running._engine
    stream = engine.stream(Generate(prompt=PROMPT, sampling=Sampling(max_tokens=200, temperature=0.0)))
    while isinstance(await anext(stream), Usage):
        pass
    assert vllm.get_num_unfinished_requests() == 1
    await stream.aclose()
    await answer(engine, Generate(prompt=PROMPT, sampling=Sampling(max_tokens=1)))
    assert vllm.get_num_unfinished_requests() == 0


async def test_characters_of_several_tokens_come_whole(engine):
    request = Generate(prompt="快递比预计晚了两天", sampling=Sampling(max_tokens=60, temperature=1.5, seed=3), echo=True)
    async with contextlib.aclosing(engine.stream(request)) as stream:
        deltas = [item async for item in stream if isinstance(item, TextDelta)]
    joined = "".join(delta.text for delta in deltas)
    tokenizer = engine._text.tokenizer
    assert deltas[0].text == "快递比预计晚了两天"
    assert tokenizer.decode(tokenizer.encode(joined).ids) == joined


@pytest.mark.parametrize(("wish", "param"), [({"typical_p": 0.5}, "typical_p"), ({"beams": 2}, "beams")])
async def test_what_it_lacks_is_refused_with_where_to_find_it(engine, wish, param):
    with pytest.raises(Unsupported, match="llama_cpp") as refused:
        await answer(engine, Generate(prompt="x", sampling=Sampling(**wish)))
    assert refused.value.param == param
    with pytest.raises(Unsupported, match="embed"):
        await answer(engine, Embed(inputs=("x",)))


async def test_the_real_model_knows_paris_counts_until_a_stop_text_and_fills_a_schema(real):
    assert "Paris" in await text(real, Generate(prompt="The capital of France is", sampling=GREEDY))
    counted = Generate(prompt="1, 2, 3, 4,", sampling=Sampling(max_tokens=40, temperature=0.0, stop=("8",)))
    whole, _ = await answer(real, counted)
    assert (whole.choices[0].text.strip(), whole.choices[0].finish_reason) == ("5, 6, 7,", "stop")
    person = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}
    form = OutputFormat("json_schema", json.dumps(person))
    said = json.loads(await text(real, Chat(messages=user("Describe Ada, 36."), sampling=SHORT, output_format=form)))
    assert isinstance(said["age"], int)


WEATHER = Tool("weather", "Tells the weather.", '{"type":"object","properties":{"city":{"enum":["Paris","Rome"]}},"required":["city"]}')
TIME = Tool("time", parameters='{"type":"object","properties":{"zone":{"$ref":"#/$defs/zone"}},"$defs":{"zone":{"type":"integer"}}}')


@pytest.mark.parametrize("choice", ["auto", "weather"])
async def test_a_model_whose_template_knows_no_tools_calls_them(real, choice):
    asked = Chat(
        messages=user("What is the weather in Paris?"), tools=(WEATHER, TIME), tool_choice=choice, parallel_tool_calls=False, sampling=SHORT
    )
    whole, _ = await answer(real, asked)
    (call,) = whole.choices[0].tool_calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})
    assert (whole.choices[0].finish_reason, whole.choices[0].text) == ("tool_calls", "")


HERMES = (
    "{% if tools %}Tools: {% for tool in tools %}{{ tool | tojson }}{% endfor %} Call as <tool_call>{...}</tool_call>.{% endif %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ message.tool_calls | default('') }}\n{% endfor %}assistant:"
)


def with_template(qwen, directory, template):
    """The tiny model with another chat template."""
    directory.mkdir(exist_ok=True)
    for file in qwen.iterdir():
        (directory / file.name).symlink_to(file)
    (directory / "tokenizer_config.json").unlink()
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": template}))
    return directory


async def test_a_model_whose_template_knows_tools_writes_calls_in_its_own_form(qwen, tmp_path):
    caller = kind.load(with_template(qwen, tmp_path / "model", HERMES), tmp_path, plan(context_tokens=512), silent)
    try:
        messages = (
            *user("Weather?"),
            Message("assistant", tool_calls=(ToolCall("id1", "weather", '{"city":"Rome"}'),)),
            Message("tool", "sunny", tool_call_id="id1"),
        )
        asked = Chat(
            messages=messages,
            tools=(WEATHER,),
            tool_choice="required",
            parallel_tool_calls=False,
            sampling=Sampling(temperature=1.0, seed=5, max_tokens=150),
        )
        async with contextlib.aclosing(caller.stream(asked)) as stream:
            deltas = [item async for item in stream if isinstance(item, TextDelta)]
        first, *others = [call for delta in deltas for call in delta.tool_calls]
        assert first.name == "weather"
        assert json.loads("".join(call.arguments for call in others))["city"] in {"Paris", "Rome"}
        assert deltas[-1].finish_reason == "tool_calls"
        free, _ = await answer(caller, msgspec.structs.replace(asked, tool_choice="auto", sampling=GREEDY))
        assert free.choices[0].finish_reason in {"length", "tool_calls"}
        with pytest.raises(InvalidRequest, match="news"):
            await answer(caller, msgspec.structs.replace(asked, tool_choice="news"))
    finally:
        await caller.close()


async def test_an_evil_chat_template_harms_only_itself(qwen, tmp_path):
    evil = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    engine = kind.load(with_template(qwen, tmp_path / "model", evil), tmp_path, plan(), silent)
    try:
        with pytest.raises(InvalidRequest, match="time"):
            await answer(engine, Chat(messages=user("hello")))
        assert await text(engine, Generate(prompt="hello", sampling=GREEDY))
    finally:
        await engine.close()


async def test_closing_ends_what_is_under_way(qwen, tmp_path):
    engine = kind.load(qwen, tmp_path, plan(), silent)
    stream = engine.stream(Generate(prompt=PROMPT, sampling=Sampling(max_tokens=200, temperature=0.0)))
    await anext(stream)
    await engine.close()
    with pytest.raises(Unavailable):
        async for _ in stream:
            pass
    with pytest.raises(Unavailable):
        await answer(engine, Generate(prompt=PROMPT))


async def test_when_vllm_fails_everybody_is_told_and_later_requests_are_refused(qwen, tmp_path):
    engine = kind.load(qwen, tmp_path, plan(), silent)
    stream = engine.stream(Generate(prompt=PROMPT, sampling=Sampling(max_tokens=200, temperature=0.0)))
    await anext(stream)

    def broken():
        raise AssertionError("a fault of the library's")

    engine._running._engine.step = broken
    with pytest.raises(EngineFailed, match="a fault of the library"):
        async for _ in stream:
            pass
    with pytest.raises(EngineFailed, match="restart"):
        await answer(engine, Generate(prompt=PROMPT))
    await engine.close()


def test_code_that_a_repository_brings_is_never_run(qwen, tmp_path):
    directory = with_template(qwen, tmp_path / "model", HERMES)
    config = json.loads((qwen / "config.json").read_text())
    (directory / "config.json").unlink()
    (directory / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}))
    (directory / "evil.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    with pytest.raises(EngineFailed, match=r"config\.json"):
        kind.load(directory, tmp_path / "derived", plan(), silent)
    assert not (tmp_path / "run").exists()
