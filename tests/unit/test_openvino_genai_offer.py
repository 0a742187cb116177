"""What OpenVINO GenAI offers, and when a deployment may get it."""

import dataclasses

import pytest

from yunmo.core.engine import Hardware, ModelDescription, Offer, Plan
from yunmo.core.errors import InvalidRequest
from yunmo.engines.openvino_genai.kind import LACKS, kind
from yunmo.serving.offers import done_elsewhere, offers

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
FILES = {"config.json": 1, "model.safetensors": 270_000_000, "tokenizer.json": 1, "tokenizer_config.json": 1}
MACHINE = Hardware(cores=2, memory_bytes=16 << 30)


class Whole:
    """Another dedicated engine, which lacks nothing unless it is told."""

    name = "whole"

    def __init__(self, lacks=()):
        self.lacks = lacks

    def offer(self, model, hardware):
        return offer("whole", lacks=self.lacks)

    def check(self, plan):
        pass


def description(files=FILES, template="{{ messages }}", **changes):
    documents = {"config.json": CONFIG | changes, "tokenizer_config.json": {"chat_template": template}}
    return ModelDescription(repository="library/small", revision="0" * 40, files=files, documents=documents)


def names(options, whole=None):
    return [each.engine for each in offers(description(), MACHINE, {"whole": whole or Whole(), "openvino_genai": kind}, options)]


def test_a_decoder_with_its_tokenizer_is_offered_chat_and_generation():
    made = kind.offer(description(), MACHINE)
    assert made.tasks == ("chat", "generate")
    assert set(made.files) == set(FILES)
    assert made.plan.precision == "int8"
    assert made.lacks == LACKS
    assert kind.offer(description(template=None), MACHINE).tasks == ("generate",)


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["GPT2LMHeadModel"]},
        {"hidden_act": "gelu"},
        {"quantization_config": {"bits": 4}},
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
        {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True},
        {"partial_rotary_factor": 0.5, "rope_parameters": {"partial_rotary_factor": 0.5}},
        {"hidden_size": None},
    ],
)
def test_what_the_graph_would_compute_otherwise_is_left_to_other_engines(changes):
    assert kind.offer(description(**changes), MACHINE) is None


def test_without_a_tokenizer_of_its_own_nothing_is_offered():
    assert kind.offer(description({name: size for name, size in FILES.items() if name != "tokenizer.json"}), MACHINE) is None


GGUF = {
    "general.architecture": "llama",
    "llama.block_count": 30,
    "llama.context_length": 8192,
    "llama.embedding_length": 576,
    "llama.feed_forward_length": 1536,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 100_000.0,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": 49152,
    "tokenizer.chat_template": "{{ messages }}",
}


def gguf_offer(files=None, **changes):
    files = files or {"small-Q4_1.gguf": 98_000_000, "README.md": 1}
    return kind.offer(ModelDescription(repository="library/small", revision="0" * 40, files=files, gguf=GGUF | changes), MACHINE)


def test_a_gguf_is_offered_with_the_file_that_keeps_most_of_the_weights():
    offer = gguf_offer()
    assert offer.tasks == ("chat", "generate")
    assert (offer.files, offer.plan.options, offer.plan.precision) == (("small-Q4_1.gguf",), {"file": "small-Q4_1.gguf"}, "int8")
    kind.check(offer.plan)
    several = {"small-Q4_K_M.gguf": 90, "small-Q8_0.gguf": 150, "mmproj-F16.gguf": 300, "big-F16-00001-of-00002.gguf": 400}
    assert gguf_offer(several).files == ("small-Q8_0.gguf",)


@pytest.mark.parametrize(
    "changes",
    [
        {"general.architecture": "gemma3"},
        {"tokenizer.ggml.model": "llama"},
        {"tokenizer.ggml.pre": "unheard-of"},
        {"llama.rope.scaling.type": "yarn"},
        {"llama.rope.dimension_count": 32},
        {"llama.expert_count": 8},
        {"llama.block_count": None},
    ],
)
def test_a_gguf_that_would_be_read_or_computed_otherwise_is_left_to_llama_cpp(changes):
    assert gguf_offer(**changes) is None


@pytest.mark.parametrize("file", ["../other.gguf", "/etc/model.gguf", "a/../../b.gguf"])
def test_the_file_is_one_of_the_repository(file):
    with pytest.raises(InvalidRequest, match="inside the repository"):
        kind.check(Plan(engine="openvino_genai", options={"file": file}))


def test_the_memory_counts_the_cache_of_every_slot_and_shrinks_to_fit():
    large = kind.offer(description(), MACHINE)
    small = kind.offer(description(), dataclasses.replace(MACHINE, memory_bytes=1 << 30))
    assert small.plan.slots * small.plan.context_tokens < large.plan.slots * large.plan.context_tokens
    assert small.memory_bytes <= 1 << 30
    tokens = large.plan.slots * large.plan.context_tokens
    assert large.memory_bytes > tokens * 13_680  # measured: OpenVINO 2026.4 keeps so many bytes of each token of this model


def test_an_engine_that_lacks_something_is_compared_where_another_one_does_it():
    assert names({}) == ["whole", "openvino_genai"]
    assert names({"engine": "openvino_genai"}) == ["openvino_genai"]


def test_an_engine_that_lacks_what_no_other_does_stays_out_until_the_deployment_does_without_it():
    assert names({}, Whole(lacks=("logit_bias",))) == ["whole"]
    assert names({"without": ["top_logprobs"]}, Whole(lacks=("logit_bias",))) == ["whole"]
    assert names({"without": ["logit_bias"]}, Whole(lacks=("logit_bias",))) == ["whole", "openvino_genai"]


def test_what_is_done_elsewhere_is_what_one_other_offer_does():
    mine = offer("mine", lacks=("a", "b", "c"))
    assert done_elsewhere(mine, [mine, offer("other", lacks=("a",))]) == {"b", "c"}
    assert done_elsewhere(mine, [mine, offer("one", lacks=("a", "b")), offer("two", lacks=("c", "a"))]) == {"c"}
    assert done_elsewhere(offer("whole"), [mine]) == done_elsewhere(mine, [mine]) == frozenset()


def offer(engine, **fields):
    return Offer(engine=engine, tasks=("chat", "generate"), plan=Plan(engine=engine), memory_bytes=1, preference=70, **fields)


def test_it_is_taken_where_there_is_nothing_else():
    assert [each.engine for each in offers(description(), MACHINE, {"openvino_genai": kind}, {})] == ["openvino_genai"]


def test_the_option_without_is_a_list():
    with pytest.raises(InvalidRequest, match="list"):
        names({"without": "tools"})


def test_unknown_options_and_precisions_are_refused_by_name():
    for changes in ({"options": {"nonsense": 1}}, {"precision": "int4"}, {"options": {"batch_tokens": 0}}, {"streams": 2}):
        with pytest.raises(InvalidRequest, match=r"nonsense|int4|batch_tokens|streams"):
            kind.check(Plan(engine="openvino_genai", **changes))
