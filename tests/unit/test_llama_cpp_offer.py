"""What llama.cpp offers for a repository, by its files and GGUF metadata alone."""

import pytest

from yunmo.core import plugins
from yunmo.core.engine import Hardware, ModelDescription
from yunmo.engines.llama_cpp.kind import choose_gguf, kind

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
