"""What llama.cpp offers for a repository, by its files and GGUF metadata alone."""

import msgspec
import pytest

from yunmo.core import plugins
from yunmo.core.engine import Hardware, ModelDescription
from yunmo.core.errors import InvalidRequest
from yunmo.engines.llama_cpp.families import decoder_of
from yunmo.engines.llama_cpp.files import choose_gguf
from yunmo.engines.llama_cpp.kind import kind
from yunmo.engines.transformers.kind import kind as transformers
from yunmo.serving.offers import offers

GIB = 1 << 30
MACHINE = Hardware(cores=4, memory_bytes=32 * GIB)
LLAMA = {
    "general.architecture": "llama",
    "llama.context_length": 8192,
    "llama.block_count": 30,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "llama.embedding_length": 576,
}


def description(files, gguf=None):
    return ModelDescription(repository="a/b", revision="0" * 40, files=files, gguf=gguf or {})


def offered(files, gguf=None, hardware=MACHINE):
    return kind.offer(description(files, gguf), hardware)


def test_the_kind_is_registered_under_its_name():
    assert plugins.engines()["llama_cpp"] is kind


def test_a_repository_without_gguf_is_left_to_others():
    assert offered({"model.safetensors": 1, "config.json": 1}) is None


def test_of_several_quantisations_the_eight_bit_one_is_taken():
    files = {"m-Q4_K_M.gguf": 4, "m-Q8_0.gguf": 8, "m-Q2_K.gguf": 2, "m-F16.gguf": 16}
    assert choose_gguf(files).path == "m-Q8_0.gguf"


def test_else_the_usual_four_bit_one():
    files = {"m.Q5_K_M.gguf": 5, "m.Q4_K_M.gguf": 4, "m.Q2_K.gguf": 2}
    assert choose_gguf(files).path == "m.Q4_K_M.gguf"


def test_else_the_smallest():
    files = {"m-IQ3_XS.gguf": 3, "m-f16.gguf": 16, "m-Q5_1.gguf": 5}
    chosen = choose_gguf(files)
    assert (chosen.path, chosen.quantisation) == ("m-IQ3_XS.gguf", "IQ3_XS")


def test_a_vision_projector_is_not_a_model():
    assert choose_gguf({"mmproj-m-Q8_0.gguf": 1}) is None
    assert choose_gguf({"mmproj-m-Q8_0.gguf": 1, "m-f16.gguf": 2}).path == "m-f16.gguf"


def test_a_split_model_is_opened_by_its_first_shard_and_counted_whole():
    files = {"q/m-Q8_0-00002-of-00002.gguf": 30, "q/m-Q8_0-00001-of-00002.gguf": 50}
    chosen = choose_gguf(files)
    assert chosen.path == "q/m-Q8_0-00001-of-00002.gguf"
    assert chosen.shards == ("q/m-Q8_0-00001-of-00002.gguf", "q/m-Q8_0-00002-of-00002.gguf")
    assert (chosen.size_bytes, chosen.quantisation) == (80, "Q8_0")


def test_a_split_model_with_a_missing_shard_is_no_model():
    assert choose_gguf({"m-Q8_0-00001-of-00002.gguf": 50}) is None


def test_a_language_model_chats_and_generates_in_eight_slots_of_four_thousand_tokens():
    offer = offered({"m-Q8_0.gguf": 100}, LLAMA)
    assert offer.tasks == ("chat", "generate")
    assert (offer.plan.slots, offer.plan.context_tokens, offer.plan.threads) == (8, 4096, 4)
    assert offer.plan.precision == "Q8_0"
    assert offer.files == ("m-Q8_0.gguf",)
    assert offer.plan.options == {"file": "m-Q8_0.gguf"}
    assert offer.missing is None


def test_the_context_is_never_longer_than_the_model_knows():
    assert offered({"m.gguf": 100}, LLAMA | {"llama.context_length": 2048}).plan.context_tokens == 2048


def test_memory_counts_the_file_and_the_cache_of_all_slots():
    small, large = (offered({"m.gguf": size}, LLAMA).memory_bytes for size in (100, 100 + GIB))
    assert large - small == GIB
    shorter = offered({"m.gguf": 100}, LLAMA | {"llama.context_length": 1024}).memory_bytes
    assert small - shorter == 8 * (4096 - 1024) * (30 * 3 * (64 + 64) * 2)


def test_a_small_machine_gets_shorter_contexts_before_fewer_slots():
    heavy = LLAMA | {"llama.attention.head_count_kv": 9, "llama.embedding_length": 4608}
    plan = offered({"m.gguf": 100}, heavy, Hardware(cores=2, memory_bytes=8 * GIB)).plan
    assert (plan.slots, plan.context_tokens) == (8, 1024)
    tiny = offered({"m.gguf": 100}, heavy, Hardware(cores=2, memory_bytes=2 * GIB)).plan
    assert tiny.slots < 8
    assert tiny.context_tokens >= 512


@pytest.mark.parametrize("gguf", [{"general.architecture": "bert"}, {"architecture": "nomic-bert"}, LLAMA | {"llama.pooling_type": 1}])
def test_an_encoder_embeds(gguf):
    offer = offered({"m.gguf": 100}, gguf)
    assert offer.tasks == ("embed",)
    assert offer.plan.options["embedding"] is True


def test_a_reranker_is_told_to_come_as_safetensors():
    assert "safetensors" in offered({"m.gguf": 100}, {"general.architecture": "bert", "bert.pooling_type": 4}).problem


def test_an_image_model_in_gguf_is_none_of_its_business():
    assert offered({"m.gguf": 100}, {"general.architecture": "flux"}) is None


def test_without_xllamacpp_the_offer_says_what_to_install(monkeypatch):
    monkeypatch.setattr("yunmo.engines.llama_cpp.kind.find_spec", lambda name: None)
    assert "yunmo[llama-cpp]" in offered({"m.gguf": 100}).missing


# ------------------------------------------------------------ other ways to run it


def ways(offer):
    """The precisions and slots of the alternatives that do not speculate."""
    return [(each.plan.precision, each.plan.slots) for each in offer.alternatives if "speculation" not in each.plan.options]


def test_a_slow_kind_is_tried_in_eight_bits_and_with_other_numbers_of_slots():
    offer = offered({"m-Q4_1.gguf": 100 << 20}, LLAMA)
    assert offer.plan.precision == "Q4_1"
    assert ways(offer) == [("Q8_0", 8), ("Q8_0", 16), ("Q8_0", 4), ("Q8_0", 1)]
    assert offer.alternatives[0].memory_bytes > offer.memory_bytes
    assert all(each.plan.options == offer.plan.options for each in offer.alternatives[:-1])
    for each in offer.alternatives:
        kind.check(each.plan)


def test_speculation_is_the_last_thing_tried_and_can_be_asked_for():
    offer = offered({"m-Q4_1.gguf": 100 << 20}, LLAMA)
    last = offer.alternatives[-1].plan
    assert (last.precision, last.slots, last.options) == ("Q8_0", 8, offer.plan.options | {"speculation": "prompt_lookup"})
    kind.check(last)
    with pytest.raises(InvalidRequest, match="speculation"):
        kind.check(msgspec.structs.replace(last, options={"speculation": "magic"}))


def test_a_file_of_floats_is_tried_in_eight_bits_and_in_half_precision():
    assert ways(offered({"m-BF16.gguf": 100 << 20}, LLAMA))[:2] == [("Q8_0", 8), ("F16", 8)]
    assert ways(offered({"m-F16.gguf": 100 << 20}, LLAMA))[0] == ("Q8_0", 8)


def test_a_file_without_a_precision_in_its_name_is_known_by_its_metadata():
    offer = offered({"m.gguf": 100 << 20}, LLAMA | {"general.file_type": 3})
    assert offer.plan.precision == ""
    assert ways(offer)[0] == ("Q8_0", 8)


def test_a_packed_kind_differs_in_slots_only():
    assert ways(offered({"m-Q8_0.gguf": 100 << 20}, LLAMA)) == [("Q8_0", 16), ("Q8_0", 4), ("Q8_0", 1)]


def test_a_kind_that_nothing_is_known_of_and_an_encoder_are_run_as_they_are():
    assert ways(offered({"m-IQ3_XS.gguf": 100 << 20}, LLAMA)) == []
    assert ways(offered({"m-F16.gguf": 100 << 20}, {"general.architecture": "bert"})) == []


def test_a_large_model_is_not_loaded_five_times():
    assert ways(offered({"m-F16.gguf": 2 * GIB}, LLAMA)) == [("Q8_0", 8), ("Q8_0", 16)]


def test_what_does_not_fit_into_the_machine_is_not_tried():
    offer = offered(
        {"m-Q4_1.gguf": 100 << 20}, LLAMA, Hardware(cores=2, memory_bytes=offered({"m-Q8_0.gguf": 140 << 20}, LLAMA).memory_bytes)
    )
    assert ("Q8_0", 16) not in ways(offer)


# ------------------------------------------------------------ safetensors

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
FILES = {"config.json": 1, "tokenizer.json": 1, "tokenizer_config.json": 1, "model.safetensors": 270 << 20, "README.md": 1}


def pushed(config=None, files=FILES, **more):
    documents = {"config.json": CONFIG | (config or {}), "tokenizer_config.json": {"chat_template": "{{ messages }}"}}
    return ModelDescription(repository="a/b", revision="0" * 40, files=files, documents=documents | more.pop("documents", {}), **more)


def test_a_decoder_in_safetensors_is_offered_in_half_precision_before_the_general_engine():
    offer = kind.offer(pushed(), MACHINE)
    assert (offer.tasks, offer.plan.precision, offer.plan.format) == (("chat", "generate"), "F16", "gguf")
    assert offer.preference > transformers.offer(pushed(), MACHINE).preference
    assert set(offer.files) == set(FILES) - {"README.md"}
    assert ways(offer) == [("Q8_0", 8), ("Q8_0", 16), ("Q8_0", 4), ("Q8_0", 1)]
    assert 270 << 20 < offer.memory_bytes < 2 * GIB


def test_the_general_engine_is_what_is_fallen_back_on():
    kinds = {"llama_cpp": kind, "transformers": transformers}
    *rivals, last = offers(pushed(), MACHINE, kinds, {})
    assert {each.engine for each in rivals} == {"llama_cpp"}
    assert not any(each.is_fallback for each in rivals)
    assert (last.engine, last.is_fallback) == ("transformers", True)
    assert [each.engine for each in offers(pushed(), MACHINE, kinds, {"engine": "llama_cpp", "precision": "Q4_0"})] == ["llama_cpp"] * 5
    assert [each.engine for each in offers(pushed(), MACHINE, kinds, {"engine": "transformers"})] == ["transformers"]


def test_a_deployments_options_change_what_memory_is_foretold():
    kinds = {"llama_cpp": kind}
    sizes = [offers(pushed(), MACHINE, kinds, options)[0] for options in ({}, {"slots": 1}, {"precision": "Q8_0"}, {"prompt_cache_mib": 0})]
    usual, narrow, small, forgetful = sizes
    assert narrow.predicted_bytes < usual.predicted_bytes
    assert small.predicted_bytes < usual.predicted_bytes
    assert (usual.memory_bytes - forgetful.memory_bytes, usual.predicted_bytes) == (256 << 20, forgetful.predicted_bytes)


def test_shards_are_taken_if_all_are_there():
    index = {"documents": {"model.safetensors.index.json": {"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}}}
    files = {"config.json": 1, "tokenizer.json": 1, "model.safetensors.index.json": 1, "model-1.safetensors": 9, "model-2.safetensors": 9}
    assert "model-2.safetensors" in kind.offer(pushed(files=files, **index), MACHINE).files
    assert kind.offer(pushed(files={name: 1 for name in files if name != "model-2.safetensors"}, **index), MACHINE) is None


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["GPT2LMHeadModel"]},
        {"architectures": ["LlamaForSequenceClassification"]},
        {"architectures": []},
        {"quantization_config": {"quant_method": "gptq"}},
        {"auto_map": {"AutoModel": "x.py"}},
        {"hidden_act": "gelu"},
        {"rope_scaling": {"rope_type": "longrope", "factor": 4.0}},
        {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}},
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        {"hidden_size": None},
        {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True},
        {"architectures": ["Qwen3ForCausalLM"], "attention_bias": True},
        {"architectures": ["SmolLM3ForCausalLM"], "no_rope_layer_interval": 3},
        {"architectures": ["Gemma2ForCausalLM"], "query_pre_attn_scalar": 144},
        {"architectures": ["Gemma3ForCausalLM"], "sliding_window_pattern": 2},
        {"architectures": ["Gemma3ForCausalLM"], "layer_types": ["full_attention"] * 30},
        {"architectures": ["GemmaForCausalLM"], "tie_word_embeddings": False},
    ],
)
def test_what_would_not_come_out_the_same_is_left_to_others(config):
    assert kind.offer(pushed(config), MACHINE) is None


def test_embedders_and_models_without_a_fast_tokenizer_are_left_to_others():
    assert kind.offer(pushed(files=FILES | {"modules.json": 1}), MACHINE) is None
    assert kind.offer(pushed(pipeline_tag="feature-extraction"), MACHINE) is None
    assert kind.offer(pushed(files={name: 1 for name in FILES if name != "tokenizer.json"}), MACHINE) is None


def test_a_mistral_reads_no_further_than_its_window():
    decoder = decoder_of(CONFIG | {"architectures": ["MistralForCausalLM"], "sliding_window": 1024})
    assert decoder.metadata["context_length"] == 1024


def test_llama_3s_long_waves_are_stretched_and_its_short_ones_are_not():
    rope = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    factors = decoder_of(CONFIG | {"rope_scaling": rope, "rope_theta": 500_000.0}).rope_factors
    assert (factors[0], factors[-1]) == (1.0, 8.0)
    assert sorted(factors) == list(factors)


def test_a_precision_that_nobody_writes_is_refused():
    plan = kind.offer(pushed(), MACHINE).plan
    with pytest.raises(InvalidRequest, match="Q4_K_M"):
        kind.check(msgspec.structs.replace(plan, precision="Q4_K_M"))
    kind.check(msgspec.structs.replace(plan, precision="Q4_K_M", options={"file": "m-Q4_K_M.gguf"}))
