"""What CTranslate2 offers for a repository, by its files and JSON documents alone."""

import pytest

from yunmo.core.engine import Hardware, ModelDescription, Plan
from yunmo.core.errors import InvalidRequest
from yunmo.engines.ctranslate2.kind import kind
from yunmo.engines.transformers.kind import kind as transformers
from yunmo.serving.offers import offers

MIB = 1 << 20
MACHINE = Hardware(cores=2, memory_bytes=16 << 30)
MARIAN = {"model_type": "marian", "architectures": ["MarianMTModel"], "vocab_size": 58101, "pad_token_id": 58100, "d_model": 512}
FILES = {
    "config.json": 1,
    "generation_config.json": 1,
    "model.safetensors": 300 * MIB,
    "source.spm": 1,
    "target.spm": 1,
    "vocab.json": 1,
    "pytorch_model.bin": 300 * MIB,
    "tf_model.h5": 300 * MIB,
    "README.md": 1,
    "onnx/config.json": 1,
}


def described(config, files=None, pipeline_tag=None, **documents):
    named = {f"{name}.json": value for name, value in documents.items()}
    return ModelDescription("a/b", "0" * 40, FILES if files is None else files, {"config.json": config, **named}, pipeline_tag=pipeline_tag)


def offered(config, **more):
    return kind.offer(described(config, **more), MACHINE)


def test_a_translation_model_is_offered_in_fp32_on_all_cores_and_before_the_general_engine():
    offer = offered(MARIAN)
    assert offer.tasks == ("translate",)
    assert (offer.plan.precision, offer.plan.streams, offer.plan.threads, offer.plan.batch_items) == ("fp32", 1, 2, 16)
    assert offer.preference > transformers.offer(described(MARIAN), MACHINE).preference
    assert offer.lacks == ()


def test_only_weights_configurations_and_vocabularies_are_laid_out():
    assert set(offered(MARIAN).files) == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "source.spm",
        "target.spm",
        "vocab.json",
    }


def test_eight_bits_larger_batches_and_a_batch_for_each_core_are_for_calibration():
    plans = [offer.plan for offer in offered(MARIAN).alternatives]
    assert [(plan.precision, plan.streams, plan.threads, plan.batch_items) for plan in plans] == [
        ("int8", 1, 2, 16),
        ("int8", 2, 1, 16),
        ("int8", 1, 2, 32),
        ("fp32", 2, 1, 16),
    ]
    assert all(plan.slots == plan.streams * plan.batch_items for plan in plans)


def test_eight_bits_take_less_memory():
    offer = offered(MARIAN)
    assert offer.memory_bytes > 700 * MIB
    assert offer.alternatives[0].memory_bytes < offer.memory_bytes - 200 * MIB


def test_the_general_engine_stays_behind_as_what_to_fall_back_on():
    kinds = {"ctranslate2": kind, "transformers": transformers}
    found = offers(described(MARIAN), MACHINE, kinds, {})
    assert [offer.engine for offer in found] == ["ctranslate2"] * 5 + ["transformers"]
    assert [offer.is_fallback for offer in found] == [False] * 5 + [True]
    assert [offer.engine for offer in offers(described(MARIAN), MACHINE, kinds, {"engine": "transformers"})] == ["transformers"]


@pytest.mark.parametrize(
    ("config", "tag", "tasks"),
    [
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, None, ("translate", "summarize", "generate")),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "summarization", ("summarize", "translate", "generate")),
        (
            {"model_type": "mt5", "architectures": ["MT5ForConditionalGeneration"]},
            "text2text-generation",
            ("generate", "translate", "summarize"),
        ),
        ({"model_type": "bart", "architectures": ["BartForConditionalGeneration"]}, None, ("summarize", "generate")),
        ({"model_type": "m2m_100", "architectures": ["M2M100ForConditionalGeneration"]}, None, ("translate",)),
        ({"model_type": "mbart", "architectures": ["MBartForConditionalGeneration"]}, None, ("translate",)),
        ({"model_type": "pegasus", "architectures": ["PegasusForConditionalGeneration"]}, None, ("summarize", "generate")),
    ],
)
def test_a_model_has_the_tasks_that_the_general_engine_gives_it(config, tag, tasks):
    assert offered(config, pipeline_tag=tag).tasks == tasks
    assert transformers.offer(described(config, pipeline_tag=tag), MACHINE).tasks == tasks


@pytest.mark.parametrize(
    ("changes", "generation"),
    [
        ({"architectures": ["MarianModel"]}, {}),
        ({"architectures": []}, {}),
        ({"model_type": "longt5", "architectures": ["LongT5ForConditionalGeneration"]}, {}),
        ({"share_encoder_decoder_embeddings": False}, {}),
        ({"decoder_vocab_size": 100}, {}),
        ({"pad_token_id": 0}, {}),
        ({"auto_map": {"AutoModel": "x.Y"}}, {}),
        ({"quantization_config": {"bits": 4}}, {}),
        ({"encoder_no_repeat_ngram_size": 3}, {}),
        ({}, {"num_beam_groups": 4, "diversity_penalty": 0.5}),
        ({}, {"begin_suppress_tokens": [5]}),
        ({}, {"min_new_tokens": 7}),
        ({}, ["not an object"]),
    ],
)
def test_what_would_not_come_out_the_same_is_left_to_others(changes, generation):
    assert offered(MARIAN | changes, generation_config=generation) is None


def test_settings_that_change_nothing_do_not_matter():
    neutral = {"num_beam_groups": 1, "diversity_penalty": 0.0, "begin_suppress_tokens": None, "num_beams": 6, "bad_words_ids": [[58100]]}
    assert offered(MARIAN, generation_config=neutral) is not None


def test_weights_that_are_no_safetensors_are_left_to_others():
    assert offered(MARIAN, files={"config.json": 1, "pytorch_model.bin": 5}) is None
    assert offered(MARIAN, files={"config.json": 1, "model-00001-of-00002.safetensors": 5}) is None


def test_all_shards_of_an_index_are_laid_out():
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"model.safetensors.index": {"weight_map": {"a": names[0], "b": names[1]}}}
    offer = offered(MARIAN, files=dict.fromkeys([*names, "config.json"], 5), **index)
    assert set(names) <= set(offer.files)
    assert offered(MARIAN, files={names[0]: 5, "config.json": 1}, **index) is None


@pytest.mark.parametrize(
    ("plan", "param"),
    [
        ({"options": {"beam": 4}}, "beam"),
        ({"options": {"tasks": ["chat"]}}, "tasks"),
        ({"options": {"most_output_tokens": 0}}, "most_output_tokens"),
        ({"options": {"batch_tokens": 1}}, "batch_tokens"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_by_name(plan, param):
    with pytest.raises(InvalidRequest) as refused:
        kind.check(Plan(engine="ctranslate2", **plan))
    assert refused.value.param == param
