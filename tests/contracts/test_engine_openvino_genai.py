"""OpenVINO GenAI with tiny decoders, held against transformers, and with the real SmolLM2, held against llama.cpp."""

import asyncio
import contextlib
import json
import os
import re
import shutil
from pathlib import Path

import msgspec
import pytest
import tokenizers
from engine_contract import EngineCase, EngineContract

from starter_models import smollm2_directory
from starter_safetensors import write_smollm2
from tiny_decoders import build
from yunmo.core.engine import Hardware, ModelDescription, Plan
from yunmo.core.errors import ContextTooLong, EngineFailed, InvalidRequest, Unavailable, Unsupported
from yunmo.core.tasks import Chat, Embed, Generate, Message, OutputFormat, Sampling, TextDelta, Tool, ToolCall, fold
from yunmo.core.usage import Usage
from yunmo.engines.llama_cpp.derive import derive as derive_gguf
from yunmo.engines.llama_cpp.kind import kind as llama_cpp
from yunmo.engines.openvino_genai import gguf_files, running
from yunmo.engines.openvino_genai.kind import kind

CONTEXT_TOKENS = 256
SLOTS = 4
GREEDY = Sampling(max_tokens=24, temperature=0.0)
FAMILIES = ("llama", "llama-2", "llama-3", "llama-biased", "llama-unigram", "mistral", "qwen2", "qwen3")
PROMPT = tuple(range(5, 50))


def plan(precision="fp32", **changes):
    return Plan(
        engine="openvino_genai",
        precision=precision,
        threads=os.cpu_count() or 1,
        **({"slots": SLOTS, "context_tokens": CONTEXT_TOKENS} | changes),
    )


def silent(step, share):
    del step, share


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return build("qwen2", tmp_path_factory.mktemp("qwen2"))


@pytest.fixture(scope="module")
def engine(qwen, tmp_path_factory):
    loaded = kind.load(qwen, tmp_path_factory.mktemp("derived"), plan(), silent)
    yield loaded
    asyncio.run(loaded.close())


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    return write_smollm2(next(smollm2_directory().glob("*.gguf")), tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="module")
def real(smollm2, tmp_path_factory):
    loaded = kind.load(smollm2, tmp_path_factory.mktemp("int8"), plan("int8", context_tokens=1024), silent)
    yield loaded
    asyncio.run(loaded.close())


def user(text):
    return (Message("user", text),)


async def answer(engine, request):
    async with contextlib.aclosing(engine.stream(request)) as stream:
        *items, usage = [item async for item in stream]
    assert isinstance(usage, Usage)
    return fold(request, [item for item in items if not isinstance(item, Usage)]), usage


async def text(engine, request):
    return (await answer(engine, request))[0].choices[0].text


async def tokens_of(engine, request):
    """The ids that the engine wrote, as they came."""
    found, submit = [], engine._running.submit

    def listening(generation):
        told = generation.told

        def both(written):
            found.extend(written.tokens)
            told(written)

        generation.told = both
        submit(generation)

    engine._running.submit = listening
    try:
        await answer(engine, request)
    finally:
        engine._running.submit = submit
    return found


def test_openvino_computes_rotations_whole(qwen, engine):
    import openvino as ov
    from openvino._offline_transformations import paged_attention_transformation

    model = ov.Core().read_model(engine._running._graph / "openvino_model.xml")
    paged_attention_transformation(model)
    kinds = [each.get_rt_info()["layerType"].astype(str) for each in ov.Core().compile_model(model, "CPU").get_runtime_model().get_ops()]
    layers = json.loads((qwen / "config.json").read_text())["num_hidden_layers"]
    assert kinds.count("RoPE") == 2 * layers  # in pieces they are a third of all steps


async def test_what_a_model_thinks_is_told_apart_from_its_answer(qwen, tmp_path):
    thinking = shutil.copytree(qwen, tmp_path / "thinking")
    (thinking / "chat_template.jinja").write_text(
        "{{ messages[0].content }}{# </think> #}{% if add_generation_prompt %} <think>\n{% endif %}"
    )
    loaded = kind.load(thinking, tmp_path / "derived", plan(), silent)
    try:
        chat = Chat(messages=user("hello"), sampling=GREEDY)
        (thought,) = (await answer(loaded, chat))[0].choices
        said = await text(loaded, Generate(prompt="hello <think>\n", sampling=GREEDY))
        assert (thought.text, thought.reasoning) == ("", said.strip())
        (form,) = (await answer(loaded, msgspec.structs.replace(chat, output_format=OutputFormat("json"))))[0].choices
        assert form.text.startswith("{")
        assert not form.reasoning
    finally:
        await loaded.close()


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_family_writes_the_tokens_that_transformers_writes(family, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    directory = build(family, tmp_path / "model")
    reference = AutoModelForCausalLM.from_pretrained(directory).eval()
    asked = torch.tensor([PROMPT])
    expected = reference.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=40, do_sample=False)[0, len(PROMPT) :]
    engine = kind.load(directory, tmp_path / "derived", plan(), silent)
    try:
        written = await tokens_of(engine, Generate(prompt=PROMPT, sampling=Sampling(max_tokens=40, temperature=0.0)))
    finally:
        await engine.close()
    assert written == expected.tolist()
    assert len(set(written)) > 10


async def test_a_penalty_keeps_tokens_from_coming_again(engine):
    plain = Generate(prompt=PROMPT, sampling=Sampling(max_tokens=100, temperature=0.0))
    usual = len(set(await tokens_of(engine, plain)))
    for name in ("frequency_penalty", "presence_penalty", "repetition_penalty"):
        strict = msgspec.structs.replace(plain, sampling=msgspec.structs.replace(plain.sampling, **{name: 2.0}))
        assert len(set(await tokens_of(engine, strict))) > usual, name


COUNTED = "1, 2, 3, 4, 5,"
CERTAIN = (
    Generate(prompt=COUNTED, sampling=Sampling(max_tokens=12, temperature=0.0)),
    Generate(prompt="Monday, Tuesday, Wednesday,", sampling=Sampling(max_tokens=4, temperature=0.0)),
    Generate(prompt="The capital of France is", sampling=Sampling(max_tokens=2, temperature=0.0)),
    Chat(messages=(Message("user", "Repeat these words: red green blue"),), sampling=Sampling(max_tokens=8, temperature=0.0)),
)


async def test_the_real_model_as_gguf_answers_as_llama_cpp_does(tmp_path):
    found, expected = (
        await answers_of(kind, smollm2_directory(), plan(), tmp_path),
        await answers_of(llama_cpp, *llama_cpp_plan(), tmp_path),
    )
    assert [whole.choices[0].text for whole, _ in found] == [whole.choices[0].text for whole, _ in expected]
    assert [usage.input_tokens for _, usage in found] == [usage.input_tokens for _, usage in expected]


def as_gguf(family, directory):
    """The tiny decoder, and its one GGUF file in a directory of its own."""
    model = build(family, directory / "model")
    made, _ = derive_gguf(model, directory / "derived", Plan(engine="llama_cpp", precision="F32", threads=2, context_tokens=256), silent)
    (directory / "gguf").mkdir()
    return model, made.rename(directory / "gguf" / "tiny.F32.gguf").parent


@pytest.mark.parametrize("family", ["llama-3", "qwen2", "qwen3"])
async def test_a_gguf_writes_the_tokens_that_transformers_writes_of_the_model_it_was_made_of(family, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    model, directory = as_gguf(family, tmp_path)
    reference = AutoModelForCausalLM.from_pretrained(model).eval()
    engine = kind.load(directory, tmp_path / "derived", plan(), silent)
    try:
        for text_ in ("It's 12345, isn't it?  OK", "快递比预计晚了两天"):
            asked = torch.tensor([tokenizers.Tokenizer.from_file(str(model / "tokenizer.json")).encode(text_).ids])
            expected = reference.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=20, do_sample=False)[
                0, asked.shape[1] :
            ]
            assert await tokens_of(engine, Generate(prompt=text_, sampling=Sampling(max_tokens=20, temperature=0.0))) == expected.tolist()
        assert "chat" in engine.tasks
    finally:
        await engine.close()


def test_a_gguf_whose_tokenizer_would_read_texts_otherwise_never_serves(tmp_path, monkeypatch):
    _, directory = as_gguf("qwen2", tmp_path)
    monkeypatch.setitem(gguf_files.CUTTERS, "qwen2", (r"\p{L}",))
    with pytest.raises(EngineFailed, match=r"cannot be rebuilt: to llama\.cpp .* is .* not"):
        kind.load(directory, tmp_path / "derived", plan(), silent)
    assert not list((tmp_path / "derived").rglob("*.xml"))


async def answers_of(engine_kind, directory, its_plan, derived):
    engine = engine_kind.load(directory, derived, its_plan, silent)
    try:
        return [await answer(engine, request) for request in CERTAIN]
    finally:
        await engine.close()


def llama_cpp_plan():
    directory = smollm2_directory()
    sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
    offer = llama_cpp.offer(ModelDescription(repository="library/smollm2", revision="0" * 40, files=sizes), Hardware(2, 16 << 30))
    return directory, msgspec.structs.replace(offer.plan, slots=1, context_tokens=512)


async def test_the_real_model_writes_the_tokens_that_transformers_writes(smollm2, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    engine = kind.load(smollm2, tmp_path, plan(), silent)
    reference = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()
    try:
        for prompt in ("The capital of France is", "def add(a, b):\n    return", COUNTED):
            ids = torch.tensor([engine._text.tokenizer.encode(prompt).ids])
            written = reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
            expected = engine._text.tokenizer.decode(written.tolist())
            assert await text(engine, Generate(prompt=prompt, sampling=GREEDY)) == expected
    finally:
        await engine.close()


async def test_int8_weights_know_paris_and_count_until_a_stop_text(real):
    assert "Paris" in await text(real, Generate(prompt="The capital of France is", sampling=GREEDY))
    counted = Generate(prompt="1, 2, 3, 4,", sampling=Sampling(max_tokens=40, temperature=0.0, stop=("8",)))
    whole, usage = await answer(real, counted)
    assert whole.choices[0].text.strip() == "5, 6, 7,"
    assert whole.choices[0].finish_reason == "stop"
    assert usage.output_tokens < 20


PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}
JSON_SCHEMA = OutputFormat("json_schema", json.dumps(PERSON))
SHORT = Sampling(max_tokens=80, temperature=0.0)


@pytest.mark.parametrize(
    "request_", [Chat(messages=user("Describe Ada, 36."), sampling=SHORT), Generate(prompt="Ada is 36: ", sampling=SHORT)]
)
async def test_text_follows_the_json_schema_that_is_asked_for(real, request_):
    whole, _ = await answer(real, msgspec.structs.replace(request_, output_format=JSON_SCHEMA))
    said = json.loads(whole.choices[0].text)
    assert set(said) == {"name", "age"}
    assert isinstance(said["age"], int)
    assert whole.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (OutputFormat("regex", r"\d{3}-\d{4} (é|快递)"), r"\d{3}-\d{4} (é|快递)"),
        (OutputFormat("grammar", 'root ::= "yes" | "no, " [a-z]{2}'), r"yes|no, [a-z]{2}"),
    ],
)
async def test_a_model_of_no_sense_writes_what_the_form_allows_and_ends_there(engine, form, expected):
    for seed in range(4):
        whole, _ = await answer(
            engine, Generate(prompt=PROMPT, sampling=Sampling(temperature=2.0, seed=seed, max_tokens=60), output_format=form)
        )
        assert re.fullmatch(expected, whole.choices[0].text)
        assert whole.choices[0].finish_reason == "stop"


async def test_any_json_object_begins_with_a_brace(engine):
    request = Chat(messages=user("x"), sampling=Sampling(temperature=2.0, seed=3, max_tokens=5), output_format=OutputFormat("json"))
    assert (await text(engine, request)).startswith("{")


@pytest.mark.parametrize(
    ("form", "reason", "param"),
    [
        (OutputFormat("json_schema", "{"), "not valid JSON", "response_format"),
        (OutputFormat("json_schema", '{"type": "nonsense"}'), "nonsense", "response_format"),
        (OutputFormat("json_schema", '{"type": "array", "uniqueItems": true}'), "uniqueItems", "response_format"),
        (OutputFormat("json_schema", '{"$ref": "#"}'), "no text fits", "response_format"),
        (OutputFormat("json_schema", json.dumps({"enum": ["x" * 300_000]})), "the most", "response_format"),
        (OutputFormat("regex", "(a"), "parenthesis", "output_format"),
        (OutputFormat("regex", "(?=a)b"), "not supported", "output_format"),
        (OutputFormat("grammar", "root ::= missing"), "missing", "output_format"),
        (OutputFormat("grammar", " "), "empty", "output_format"),
    ],
)
async def test_a_form_that_text_cannot_be_held_to_is_refused_with_the_reason(engine, form, reason, param):
    with pytest.raises(InvalidRequest, match=reason) as refused:
        await answer(engine, Chat(messages=user("x"), output_format=form))
    assert refused.value.param == param


async def test_a_form_that_takes_for_ever_to_compile_is_refused_and_nobody_else_waits_for_it(engine):
    endless = OutputFormat("regex", "([a-z ]{1,3000}[0-9]{1,3000}){1,300}")
    refused = asyncio.ensure_future(answer(engine, Generate(prompt=PROMPT, output_format=endless)))
    await answer(engine, Generate(prompt=PROMPT, sampling=GREEDY))
    assert not refused.done()
    with pytest.raises(InvalidRequest, match="time or memory"):
        await refused
    assert await text(engine, Generate(prompt=PROMPT, sampling=SHORT, output_format=OutputFormat("regex", "good"))) == "good"


async def test_grammars_do_not_fill_the_memory_over_time(engine, monkeypatch):
    monkeypatch.setattr(running, "_GRAMMARS", 2)
    loads, load = [], engine._running._load

    def counted():
        loads.append(len(engine._running._active))
        return load()

    monkeypatch.setattr(engine._running, "_load", counted)
    asked = [Generate(prompt=PROMPT, sampling=SHORT, output_format=OutputFormat("regex", f"form {number}")) for number in range(12)]
    assert [await text(engine, each) for each in asked] == [f"form {number}" for number in range(12)]
    assert len(loads) >= 3
    assert not any(loads)


WEATHER = Tool("weather", "Tells the weather.", '{"type":"object","properties":{"city":{"enum":["Paris","Rome"]}},"required":["city"]}')
TIME = Tool("time", parameters='{"type":"object","properties":{"zone":{"$ref":"#/$defs/zone"}},"$defs":{"zone":{"type":"integer"}}}')


@pytest.mark.parametrize("choice", ["auto", "required", "weather"])
async def test_a_model_whose_template_knows_no_tools_calls_them(real, choice):
    asked = Chat(
        messages=user("What is the weather in Paris?"), tools=(WEATHER, TIME), tool_choice=choice, parallel_tool_calls=False, sampling=SHORT
    )
    whole, _ = await answer(real, asked)
    (call,) = whole.choices[0].tool_calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})
    assert (whole.choices[0].finish_reason, whole.choices[0].text) == ("tool_calls", "")
    cut, _ = await answer(real, msgspec.structs.replace(asked, sampling=msgspec.structs.replace(SHORT, max_tokens=20)))
    assert cut.choices[0].finish_reason == "length"
    assert not cut.choices[0].text


HERMES = (
    "{% if tools %}Tools: {% for tool in tools %}{{ tool | tojson }}{% endfor %} Call as <tool_call>{...}</tool_call>.{% endif %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ message.tool_calls | default('') }}\n{% endfor %}assistant:"
)


@pytest.fixture(scope="module")
def caller(qwen, tmp_path_factory):
    """A model whose own template teaches calls of tools."""
    directory = tmp_path_factory.mktemp("caller")
    for file in qwen.iterdir():
        (directory / file.name).symlink_to(file)
    (directory / "tokenizer_config.json").unlink()
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": HERMES}))
    loaded = kind.load(directory, tmp_path_factory.mktemp("derived"), plan(context_tokens=512), silent)
    yield loaded
    asyncio.run(loaded.close())


async def test_with_the_choice_none_tools_are_as_if_they_were_not_there(caller):
    plain = Chat(messages=user("Say hello."), sampling=GREEDY)
    with_tools = msgspec.structs.replace(plain, tools=(WEATHER,), tool_choice="none")
    assert await answer(caller, with_tools) == await answer(caller, plain)


async def test_a_model_whose_template_knows_tools_writes_calls_in_its_own_form(caller):
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
    assert first.id.startswith("call_")
    assert len(others) > 2, "the arguments come in pieces"
    assert {call.index for call in others} == {0}
    assert json.loads("".join(call.arguments for call in others))["city"] in {"Paris", "Rome"}
    assert deltas[-1].finish_reason == "tool_calls"
    assert not any(delta.text for delta in deltas)


async def test_tools_that_cannot_be_called_are_refused_by_name(caller, engine):
    for each in (caller, engine):
        bad = Tool("bad", parameters='{"type":"nonsense"}')
        with pytest.raises(InvalidRequest, match="nonsense") as refused:
            await answer(each, Chat(messages=user("x"), tools=(bad,), tool_choice="required"))
        assert refused.value.param == "tools"
        with pytest.raises(InvalidRequest, match="news"):
            await answer(each, Chat(messages=user("x"), tools=(WEATHER,), tool_choice="news"))
        with pytest.raises(Unsupported, match="together"):
            await answer(each, Chat(messages=user("x"), tools=(WEATHER,), output_format=OutputFormat("json")))


async def test_log_probabilities_are_those_of_transformers_also_under_penalties_and_forms(engine, qwen):
    import torch
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(qwen).eval()
    for changes in (
        {},
        {"sampling": Sampling(max_tokens=12, temperature=0.7, seed=4, top_k=20, top_p=0.9, frequency_penalty=1.0)},
        {"output_format": OutputFormat("regex", "[a-z]{4}")},
    ):
        whole, usage = await answer(engine, Generate(prompt=PROMPT, **({"sampling": GREEDY} | changes), top_logprobs=0))
        told = whole.choices[0].logprobs
        ids = [*PROMPT, *(each.id for each in told)]
        expected = torch.log_softmax(reference(torch.tensor([ids])).logits[0].float(), dim=-1).detach()
        for place, each in enumerate(told):
            assert each.logprob == pytest.approx(float(expected[len(PROMPT) + place - 1, each.id]), abs=2e-3)
            assert each.top == ()
        assert len(told) in {usage.output_tokens, usage.output_tokens - 1}


async def test_characters_of_several_tokens_come_whole(engine):
    request = Generate(prompt="快递比预计晚了两天", sampling=Sampling(max_tokens=60, temperature=1.5, seed=3), echo=True)
    async with contextlib.aclosing(engine.stream(request)) as stream:
        deltas = [item async for item in stream if isinstance(item, TextDelta)]
    assert deltas[0].text == "快递比预计晚了两天"
    joined = "".join(delta.text for delta in deltas)
    ids = engine._text.tokenizer.encode(joined).ids
    assert engine._text.tokenizer.decode(ids) == joined


async def test_a_seed_makes_an_answer_repeatable_also_in_company(engine):
    def asked(seed):
        return Generate(prompt=PROMPT, sampling=Sampling(max_tokens=16, temperature=1.0, seed=seed))

    alone = await text(engine, asked(11))
    assert len({await text(engine, asked(seed)) for seed in (12, 13, 14)} - {alone}) >= 2
    together = await asyncio.gather(*(text(engine, asked(seed)) for seed in (12, 11, 13)))
    assert together[1] == alone


async def test_several_choices_differ_and_pay_their_prompt_once(engine):
    request = Generate(prompt=PROMPT, sampling=Sampling(max_tokens=8, temperature=1.0, seed=1), choices=SLOTS + 2)
    whole, usage = await answer(engine, request)
    assert len({choice.text for choice in whole.choices}) > 3
    assert usage.input_tokens == len(PROMPT)
    assert SLOTS + 2 <= usage.output_tokens <= 8 * (SLOTS + 2)
    unseeded = msgspec.structs.replace(request, sampling=Sampling(max_tokens=8, temperature=1.0))
    assert await answer(engine, unseeded) != await answer(engine, unseeded)


async def test_text_ends_at_max_tokens_with_length_and_before_a_stop_text_with_stop(engine):
    plain = Generate(prompt=PROMPT, sampling=GREEDY)
    whole, usage = await answer(engine, plain)
    said = whole.choices[0].text
    assert whole.choices[0].finish_reason == "length"
    assert usage.output_tokens == GREEDY.max_tokens
    stop = said[9:13]
    stopped, usage = await answer(engine, msgspec.structs.replace(plain, sampling=msgspec.structs.replace(GREEDY, stop=(stop,))))
    assert stopped.choices[0].text == said[: said.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"
    assert usage.output_tokens < GREEDY.max_tokens


async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(engine):
    with pytest.raises(ContextTooLong, match=rf"300 tokens.*{CONTEXT_TOKENS - 1}"):
        await answer(engine, Generate(prompt=PROMPT[:30] * 10))
    shortened = Generate(prompt=PROMPT[:30] * 10, sampling=GREEDY, truncate_prompt_tokens=9)
    assert (await answer(engine, shortened))[1].input_tokens == 9


async def test_an_answer_ends_where_the_context_does(engine):
    whole, usage = await answer(engine, Generate(prompt=PROMPT * 5, sampling=Sampling(temperature=0.0)))
    assert whole.choices[0].finish_reason == "length"
    assert usage.input_tokens + usage.output_tokens == CONTEXT_TOKENS


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Generate(prompt="x", top_logprobs=2), "top_logprobs"),
        (Generate(prompt="x", sampling=Sampling(logit_bias={"3": 1.0})), "logit_bias"),
        (Generate(prompt="x", sampling=Sampling(typical_p=0.5)), "typical_p"),
        (Generate(prompt="x", sampling=Sampling(beams=2)), "beams"),
    ],
)
async def test_what_it_lacks_is_refused_with_where_to_find_it(engine, request_, param):
    with pytest.raises(Unsupported, match="llama_cpp") as refused:
        await answer(engine, request_)
    assert refused.value.param == param


async def test_an_evil_chat_template_harms_only_itself(qwen, tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    for file in qwen.iterdir():
        (directory / file.name).symlink_to(file)
    (directory / "tokenizer_config.json").unlink()
    evil = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    for template, reason in (
        (evil, "time"),
        ("{{ ''.__class__.__mro__ }}", "Security"),
        ("{{ raise_exception('no system') }}", "no system"),
    ):
        (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": template}))
        engine = kind.load(directory, tmp_path / "derived", plan(), silent)
        try:
            with pytest.raises(InvalidRequest, match=reason):
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


def test_weights_that_do_not_fit_their_configuration_are_refused(qwen, tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    for file in qwen.iterdir():
        (directory / file.name).symlink_to(file)
    config = json.loads((qwen / "config.json").read_text())
    (directory / "config.json").unlink()
    (directory / "config.json").write_text(json.dumps(config | {"intermediate_size": 80}))
    with pytest.raises(EngineFailed, match=r"mlp\.gate_proj\.weight has the shape"):
        kind.load(directory, tmp_path / "derived", plan(), silent)
    assert not list(Path(tmp_path / "derived").rglob("*.xml"))


async def test_it_has_no_other_task(engine):
    with pytest.raises(Unsupported, match="embed"):
        await answer(engine, Embed(inputs=("x",)))


class TestOpenVinoGenAi(EngineContract):
    """What every engine promises."""

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
                Generate(prompt="x", sampling=Sampling(temperature=1.0, top_p=7.0)),
                Generate(prompt="x", sampling=Sampling(frequency_penalty=99.0)),
                Generate(prompt="x", output_format=OutputFormat("grammar", "root = ")),
                Chat(messages=user("x"), tools=(Tool("f", parameters="3"),)),
            ),
            long=Generate(prompt=PROMPT, sampling=Sampling(max_tokens=200, temperature=0.0)),
            others=tuple(msgspec.structs.replace(generate, prompt=PROMPT[start:]) for start in (3, 7, 20)),
        )
