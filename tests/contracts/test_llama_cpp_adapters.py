"""LoRA adapters beside one loaded base: each says what a model says that has it in its weights, and nobody else notices."""

import asyncio
import contextlib
import functools
import itertools

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_llama_cpp_conversion import PROMPT, answer, converted, plan
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

import tiny_adapters
import tiny_decoders
from yunmo.core.engine import Adapter
from yunmo.core.errors import InvalidRequest, Unavailable
from yunmo.core.tasks import Chat, Generate, Message, OutputFormat, Sampling, TextDelta, fold
from yunmo.engines.llama_cpp.adapters import write_adapter
from yunmo.engines.llama_cpp.derive import Adapters
from yunmo.engines.llama_cpp.engine import LlamaCppEngine
from yunmo.engines.llama_cpp.kind import kind
from yunmo.engines.llama_cpp.server import Server

SCALE = 12 / 4
COUNT = 12


@functools.cache
def unwritten(base):
    """The tokens that are special, or only part of a letter: what is said without them can be compared."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    texts = [tokenizer.decode([token]) for token in range(tokenizer.get_vocab_size())]
    return tuple(token for token, text in enumerate(texts) if not (text.isascii() and text.strip().isprintable() and text.strip()))


def greedy(base):
    return Sampling(max_tokens=COUNT, temperature=0.0, logit_bias={str(token): -1000.0 for token in unwritten(base)})


def by_transformers(base, directory):
    """What the library goes on with, as tokens."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    ids = list(PROMPT)
    with torch.inference_mode():
        for _ in range(COUNT):
            logits = model(torch.tensor([ids])).logits[0, -1]
            logits[list(unwritten(base))] = -1e9
            ids.append(int(logits.argmax()))
    return tuple(ids[len(PROMPT) :])


@contextlib.contextmanager
def loaded(base, derived, adapters, slots=2):
    """By the way that workers take; the base is converted before, where no process has to be started for it."""
    _converted(base, derived)
    named = [Adapter(name, str(directory)) for name, directory in adapters.items()]
    its_plan = msgspec.structs.replace(plan(), slots=slots)
    engine = kind.load_adapted(base, derived, its_plan, lambda _step, _share: None, named)
    try:
        yield engine
    finally:
        asyncio.run(engine.close())


@contextlib.contextmanager
def loaded_exactly(base, derived, adapter):
    """With attention in 32 bits: tiny random models are undecided between tokens, and half a cache decides."""
    file = _converted(base, derived)
    write_adapter(adapter, derived / "one.gguf", [file])
    server = Server(file, plan(), is_exact=True, adapters=[derived / "one.gguf"])
    engine = LlamaCppEngine(server, plan(), ("generate",), Adapters(("one",), (derived / "one.gguf",), {}))
    try:
        yield engine
    finally:
        asyncio.run(engine.close())


def _converted(base, derived):
    file = derived / "llama_cpp" / "converted-F32.gguf"
    if not file.exists():
        converted(base, derived)
    return file


def said(engine, base, adapter=None):
    output, _ = answer(engine, Generate(prompt=PROMPT, sampling=greedy(base), adapter=adapter))
    return output.choices[0].text


def spelled(engine, tokens):
    return engine._server.text(tokens)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base with two adapters, and what the library says with neither and with each in the weights."""
    root = tmp_path_factory.mktemp("adapters")
    base = tiny_decoders.build("llama", root / "base")
    adapters = {name: tiny_adapters.build(base, root / name, seed=seed) for seed, name in enumerate(("one", "two"))}
    models = {None: base} | {
        name: tiny_adapters.merged(base, adapter, root / f"merged-{name}", SCALE) for name, adapter in adapters.items()
    }
    expected = {name: by_transformers(base, model) for name, model in models.items()}
    assert len(set(expected.values())) == 3
    return base, adapters, expected, root / "derived"


@pytest.mark.parametrize("name", ["llama-3", "llama-biased", "mistral", "qwen2", "qwen3", "smollm3", "gemma", "gemma2", "gemma3"])
def test_every_family_with_an_adapter_says_what_its_merged_weights_say(name, tmp_path):
    base = tiny_decoders.build(name, tmp_path / "base")
    modules = [*tiny_adapters.LINEAR, *(["lm_head"] if name in {"llama-3", "qwen2"} else [])]
    adapter = tiny_adapters.build(base, tmp_path / "adapter", target_modules=modules)
    expected = by_transformers(base, tiny_adapters.merged(base, adapter, tmp_path / "merged", SCALE))
    with loaded_exactly(base, tmp_path, adapter) as engine:
        assert said(engine, base, "one") == spelled(engine, expected)
        assert said(engine, base) == spelled(engine, by_transformers(base, base))


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"use_rslora": True}, 12 / 4**0.5),
        ({"lora_alpha": 1}, 1 / 4),
        (
            {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 3, "self_attn.v_proj": 6}},
            dict.fromkeys(tiny_adapters.LINEAR, 3.0) | {"q_proj": 12 / 2, "down_proj": 3 / 4, "v_proj": 6 / 4},
        ),
    ],
)
def test_ranks_and_alphas_of_all_kinds_scale_as_they_do_in_training(world, tmp_path, config, scale):
    base = world[0]
    adapter = tiny_adapters.build(base, tmp_path / "adapter", **config)
    expected = by_transformers(base, tiny_adapters.merged(base, adapter, tmp_path / "merged", scale))
    with loaded_exactly(base, tmp_path, adapter) as engine:
        assert said(engine, base, "one") == spelled(engine, expected)


@pytest.mark.parametrize("slots", [1, 2])
def test_no_order_of_calls_with_one_prompt_mixes_the_caches_of_two_adapters_and_the_base(world, slots):
    base, adapters, expected, derived = world
    with loaded(base, derived, adapters, slots) as engine:
        for order in itertools.permutations([None, "one", "two", None, "one"]):
            for name in order:
                assert said(engine, base, name) == spelled(engine, expected[name]), order


def test_a_prompt_that_made_way_for_another_one_does_not_come_back_under_another_adapter(world):
    base, adapters, expected, derived = world
    with loaded(base, derived, adapters, slots=1) as engine:
        for name in (None, "two"):
            assert said(engine, base, name) == spelled(engine, expected[name])
            answer(engine, Generate(prompt="something else " * 10, sampling=greedy(base), adapter="one"))
            assert said(engine, base, "one") == spelled(engine, expected["one"])


def test_the_same_adapter_again_finds_its_prompt_in_the_cache(world):
    base, adapters, _, derived = world
    with loaded(base, derived, adapters) as engine:
        request = Generate(prompt=PROMPT, sampling=greedy(base), adapter="one")
        assert answer(engine, request)[0] == answer(engine, request)[0]
        assert answer(engine, request)[1].cached_tokens > 0


def test_calls_at_the_same_time_each_get_their_own_adapter(world):
    base, adapters, expected, derived = world

    async def ask(engine, name):
        request = Generate(prompt=PROMPT, sampling=greedy(base), adapter=name, choices=2)
        async with contextlib.aclosing(engine.stream(request)) as stream:
            deltas = [item async for item in stream if isinstance(item, TextDelta)]
        return name, [choice.text for choice in fold(request, deltas).choices]

    async def everybody(engine):
        return await asyncio.gather(*(ask(engine, name) for name in [None, "one", "two"] * 4))

    with loaded(base, derived, adapters) as engine:
        for name, texts in asyncio.run(everybody(engine)):
            assert texts == [spelled(engine, expected[name])] * 2


def test_what_is_tried_out_for_a_schema_leaves_no_trace(world):
    base, adapters, expected, derived = world
    schema = OutputFormat("json_schema", '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}')
    with loaded(base, derived, adapters) as engine:
        for name in ("one", None, "two"):
            answer(engine, Generate(prompt=PROMPT, sampling=Sampling(max_tokens=4), adapter=name, output_format=schema))
            assert said(engine, base, name) == spelled(engine, expected[name])


def test_chats_name_adapters_too(world):
    base, adapters, _, derived = world
    hello = (Message("user", "hello world"),)
    with loaded(base, derived, adapters) as engine:
        outputs = [answer(engine, Chat(messages=hello, sampling=greedy(base), adapter=name))[0] for name in (None, "one", "two")]
        assert len({output.choices[0].text for output in outputs}) == 3


def test_one_adapter_that_does_not_fit_fails_its_own_requests_only(world, tmp_path):
    base, adapters, expected, derived = world
    wider = tiny_decoders.build("llama", tmp_path / "wider", hidden_size=128)
    foreign = tiny_adapters.build(wider, tmp_path / "foreign")
    with loaded(base, derived, adapters | {"foreign": foreign}) as engine:
        assert said(engine, base, "one") == spelled(engine, expected["one"])
        with pytest.raises(InvalidRequest, match=r"down_proj it has \[4, 96\] and \[128, 4\], and the base \[64, 96\]"):
            said(engine, base, "foreign")
        with pytest.raises(Unavailable, match="not loaded"):
            said(engine, base, "unknown")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "IA3"}, "of the type IA3"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"bias": "all"}, "biases"),
        ({"future_setting": 3}, "future_setting"),
        ({"alpha_pattern": {"(": 1}}, "alpha_pattern"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embeddings"),
    ],
)
def test_adapters_that_are_more_than_low_rank_matrices_are_refused_in_plain_words(world, tmp_path, config, reason):
    base = world[0]
    adapter = tiny_adapters.build(base, tmp_path / "adapter", **config)
    with pytest.raises(InvalidRequest, match=reason):
        write_adapter(adapter, tmp_path / "made.gguf", [_converted(base, world[3])])


@pytest.mark.parametrize("damage", ["half", "no weights", "text"])
def test_a_damaged_adapter_is_refused_in_plain_words(world, tmp_path, damage):
    base, _, _, derived = world
    adapter = tiny_adapters.build(base, tmp_path / "adapter")
    weights = adapter / "adapter_model.safetensors"
    if damage == "no weights":
        weights.unlink()
    else:
        weights.write_bytes(b"no safetensors" if damage == "text" else weights.read_bytes()[:9000])
    with (
        loaded(base, derived, {tmp_path.name: adapter}) as engine,
        pytest.raises(InvalidRequest, match="has no adapter_model" if damage == "no weights" else "damaged"),
    ):
        said(engine, base, tmp_path.name)


def test_a_pair_without_its_other_half_is_refused(world, tmp_path):
    base = world[0]
    adapter = tiny_adapters.build(base, tmp_path / "adapter")
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors.pop(next(iter(tensors)))
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(InvalidRequest, match="not whole"):
        write_adapter(adapter, tmp_path / "made.gguf", [_converted(base, world[3])])
