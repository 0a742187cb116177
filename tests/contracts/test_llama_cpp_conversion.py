"""Decoders' safetensors as GGUF: what llama.cpp then reads and says is what the repository's own library reads and says."""

import asyncio
import contextlib
import dataclasses
import json
import shutil
import subprocess

import msgspec
import pytest

import tiny_decoders
from starter_models import smollm2_directory
from yunmo.core.difficult_texts import TEXTS
from yunmo.core.engine import Hardware, Plan
from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.core.tasks import Chat, Generate, Message, Sampling, fold
from yunmo.engines.llama_cpp import convert as program
from yunmo.engines.llama_cpp.converted import read_facts
from yunmo.engines.llama_cpp.engine import LlamaCppEngine
from yunmo.engines.llama_cpp.families import decoder_of
from yunmo.engines.llama_cpp.kind import kind
from yunmo.engines.llama_cpp.server import Server
from yunmo.engines.llama_cpp.vocabulary import read_vocabulary
from yunmo.engines.transformers.kind import describe_directory

CONVERTIBLE = [name for name in tiny_decoders.DECODERS if name != "llama-unigram"]
PROMPT = (7, 260, 300, 31, 270, 45, 290, 8, 310, 12, 333, 19)
GREEDY = Sampling(max_tokens=12, temperature=0.0, logit_bias={"0": -100.0, "1": -100.0, "2": -100.0})


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    root = tmp_path_factory.mktemp("decoders")

    def build(name):
        return root / name if (root / name).exists() else tiny_decoders.build(name, root / name)

    return build


def plan(precision="F32", **changes):
    return Plan(engine="llama_cpp", format="gguf", precision=precision, slots=2, threads=1, context_tokens=256, **changes)


def converted(directory, derived, precision="F32"):
    """Convert in this process, where a test can look; `kind.load` then finds it made."""
    (derived / "llama_cpp").mkdir(parents=True)
    return program.convert(directory, derived / "llama_cpp" / f"converted-{precision}.gguf", precision)


@contextlib.contextmanager
def loaded(directory, derived, its_plan):
    engine = kind.load(directory, derived, its_plan, lambda _step, _share: None)
    try:
        yield engine
    finally:
        asyncio.run(engine.close())


async def _answer(engine, request):
    async with contextlib.aclosing(engine.stream(request)) as stream:
        *items, usage = [item async for item in stream]
    return fold(request, [item for item in items if not hasattr(item, "input_tokens")]), usage


def answer(engine, request):
    return asyncio.run(_answer(engine, request))


def greedy_by_transformers(directory, prompt, count):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            logits = model(torch.tensor([ids])).logits[0, -1]
            logits[[0, 1, 2]] = -1e9
            ids.append(int(logits.argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_every_family_says_in_llama_cpp_what_it_says_in_transformers(name, decoder, tmp_path):
    directory = decoder(name)
    facts = converted(directory, tmp_path)
    assert facts.proof == "tokens and logits"
    assert facts.error < 0.001
    assert facts.texts > 30
    expected = greedy_by_transformers(directory, PROMPT, 12)
    server = Server(tmp_path / "llama_cpp" / "converted-F32.gguf", plan(), is_exact=True)
    engine = LlamaCppEngine(server, plan(), ("generate",))
    try:
        output, usage = answer(engine, Generate(prompt=PROMPT, sampling=GREEDY))
        assert output.choices[0].text.rstrip("\ufffd") == server.text(tuple(expected)).rstrip("\ufffd")  # a cut character is held back
    finally:
        asyncio.run(engine.close())
    assert usage.output_tokens == len(expected)


@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen2-yarn", "llama-biased"])
def test_half_precision_stays_within_the_stated_budget(name, decoder, tmp_path):
    directory = decoder(name)
    floats = decoder_of(json.loads((directory / "config.json").read_text())).floats
    assert converted(directory, tmp_path, floats).error < {"F16": 0.02, "BF16": 0.1}[floats]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_shards_of_half_precision_are_read_like_one_file(dtype, tmp_path):
    directory = tiny_decoders.build("llama", tmp_path / "model", dtype=dtype, shard="100KB")
    assert len(list(directory.glob("*.safetensors"))) > 1
    assert converted(directory, tmp_path / "derived").error < 0.001


def test_a_load_converts_in_a_process_of_its_own_tells_its_progress_and_keeps_what_it_made(decoder, tmp_path, monkeypatch):
    told = []
    directory = decoder("llama")
    (tmp_path / "llama_cpp" / ".making-by-one-that-was-killed").mkdir(parents=True)
    engine = kind.load(directory, tmp_path, plan("Q8_0"), lambda step, share: told.append((step, share)))
    asyncio.run(engine.close())
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert {"converting to GGUF", "comparing tokens", "comparing with the reference", "quantising", "loading"} <= {step for step, _ in told}
    made = sorted(path.name for path in (tmp_path / "llama_cpp").iterdir())
    assert made == [".lock", "converted-F16.gguf", "converted-F16.json", "converted-Q8_0.gguf"]
    assert read_facts(tmp_path / "llama_cpp" / "converted-F16.gguf").error < 0.02

    monkeypatch.setattr(subprocess, "Popen", None)
    for precision in ("Q8_0", "F16", ""):
        with loaded(directory, tmp_path, plan(precision)) as again:
            assert again.tasks == ("chat", "generate")


def test_what_cannot_be_converted_is_said_once_and_remembered(decoder, tmp_path, monkeypatch):
    directory = decoder("llama-unigram")
    for _ in range(2):
        with pytest.raises(EngineFailed, match=r"type Unigram.*transformers"):
            kind.load(directory, tmp_path, plan("F16"), lambda _step, _share: None)
        monkeypatch.setattr(subprocess, "Popen", None)
    assert not list((tmp_path / "llama_cpp").glob("*.gguf"))


def test_a_wrong_rotation_is_found_and_named(decoder, tmp_path, monkeypatch):
    def wrong(config):
        right = decoder_of(config)
        return dataclasses.replace(right, metadata=right.metadata | {"rope.freq_base": 12_000.0})

    monkeypatch.setattr(program, "decoder_of", wrong)
    with pytest.raises(EngineFailed, match=r"log probabilities in F16 are .* off those of transformers"):
        converted(decoder("llama"), tmp_path, "F16")


def test_words_cut_otherwise_are_found_and_named(decoder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        program, "read_vocabulary", lambda directory, size: dataclasses.replace(read_vocabulary(directory, size), pre="llama-bpe")
    )
    with pytest.raises(EngineFailed, match=r"as other tokens than tokenizer\.json: from the \d+th on"):
        converted(decoder("llama"), tmp_path)


def test_without_transformers_tokens_alone_are_proven_and_the_facts_say_so(decoder, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "find_spec", lambda _name: None)
    facts = converted(decoder("llama"), tmp_path)
    assert (facts.proof, facts.unproven, facts.error) == ("tokens", "transformers is not installed", None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "cutting texts into words"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer"),
        ({"model": {"type": "WordPiece"}}, "WordPiece"),
    ],
)
def test_a_strange_tokenizer_is_refused(decoder, tmp_path, change, reason):
    tokenizer = json.loads((decoder("llama") / "tokenizer.json").read_text()) | change
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InvalidRequest, match=reason):
        read_vocabulary(tmp_path, 500)


def test_a_token_that_swallows_spaces_is_refused(decoder, tmp_path):
    tokenizer = json.loads((decoder("llama") / "tokenizer.json").read_text())
    tokenizer["added_tokens"][3]["rstrip"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InvalidRequest, match="rstrip"):
        read_vocabulary(tmp_path, 500)


def test_merges_that_llama_cpp_would_add_to_are_refused(decoder, tmp_path):
    tokenizer = json.loads((decoder("llama-2") / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InvalidRequest, match="merges"):
        read_vocabulary(tmp_path, 2000)


def test_weights_that_do_not_fit_are_refused(decoder, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(decoder("llama"), directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(InvalidRequest, match=r"blk\.2\.attn_q"):
        converted(directory, tmp_path / "derived")


def test_smollm2s_own_tokenizer_is_read_alike_by_both_and_by_its_gguf(tmp_path):
    directory = _smollm2_tokenizer(tmp_path / "model")
    facts = converted(directory, tmp_path, "F16")
    assert facts.texts > 60
    (gguf,) = smollm2_directory().glob("*.gguf")
    servers = [Server(path, plan()) for path in (gguf, tmp_path / "llama_cpp" / "converted-F16.gguf")]
    try:
        for text in TEXTS:
            assert servers[0].tokens(text) == servers[1].tokens(text), text
    finally:
        for server in servers:
            server.close()


def test_decomposed_letters_are_composed_for_a_tokenizer_that_does_so(decoder, tmp_path):
    directory = decoder("qwen2")
    converted(directory, tmp_path)
    with loaded(directory, tmp_path, plan()) as engine:
        composed, apart = (answer(engine, Generate(prompt=text, sampling=GREEDY))[1] for text in ("caf\u00e9", "cafe\u0301"))
    assert composed.input_tokens == apart.input_tokens


def test_the_repositorys_template_and_way_of_choosing_tokens_are_kept(tmp_path):
    directory = tiny_decoders.build("llama", tmp_path / "model")
    hello = Chat(messages=(Message("user", "hello world"),), sampling=Sampling(max_tokens=8))
    converted(directory, tmp_path / "greedy")
    with loaded(directory, tmp_path / "greedy", plan()) as engine:
        texts = {answer(engine, msgspec.structs.replace(hello, sampling=Sampling(max_tokens=8, seed=seed)))[0] for seed in range(4)}
        assert len(texts) == 1
        assert engine._server.prompt({"messages": [{"role": "user", "content": "hello"}]}) == "<|user|> hello<|end|><|assistant|> "

    generation = {"do_sample": True, "temperature": 5.0, "eos_token_id": [1, 3]}
    (directory / "generation_config.json").write_text(json.dumps(generation))
    converted(directory, tmp_path / "sampled")
    with loaded(directory, tmp_path / "sampled", plan()) as engine:
        texts = {answer(engine, msgspec.structs.replace(hello, sampling=Sampling(max_tokens=8, seed=seed)))[0] for seed in range(4)}
        assert len(texts) > 1
        ended = answer(engine, Generate(prompt=PROMPT, sampling=Sampling(max_tokens=8, logit_bias={"3": 1000.0})))
        assert ended[0].choices[0].finish_reason == "stop"


def test_without_a_template_it_only_generates(tmp_path):
    directory = tiny_decoders.build("llama", tmp_path / "model")
    (directory / "tokenizer_config.json").write_text("{}")
    converted(directory, tmp_path)
    with loaded(directory, tmp_path, plan()) as engine:
        assert engine.tasks == ("generate",)
    assert kind.offer(describe_directory(directory), Hardware(cores=2, memory_bytes=8 << 30)).tasks == ("generate",)


def test_a_four_bit_gguf_is_packed_anew_in_eight_bits_and_says_the_same(tmp_path):
    directory = smollm2_directory()
    (gguf,) = directory.glob("*.gguf")
    counting = Generate(prompt="1, 2, 3, 4, 5, 6,", sampling=Sampling(max_tokens=12, temperature=0.0))
    texts = []
    for precision in ("Q4_1", "Q8_0"):
        with loaded(directory, tmp_path, plan(precision, options={"file": gguf.name})) as engine:
            texts.append(answer(engine, counting)[0].choices[0].text)
    assert texts[0] == texts[1]
    (made,) = (tmp_path / "llama_cpp").glob("*.gguf")
    assert made.stat().st_size > 1.3 * gguf.stat().st_size


def _smollm2_tokenizer(directory):
    """A tiny model with the tokenizer that SmolLM2's GGUF holds, as its tokenizer.json was."""
    import gguf
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    (path,) = smollm2_directory().glob("*.gguf")
    fields = gguf.GGUFReader(path).fields
    tokens, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges"))
    types = fields["tokenizer.ggml.token_type"].contents()
    backend = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, [tuple(each.split(" ")) for each in merges]))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, normalized=False) for token, kind in zip(tokens, types, strict=True) if kind == 3])
    directory.mkdir()
    backend.save(str(directory / "tokenizer.json"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory
