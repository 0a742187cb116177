"""What the onnx engine offers to run, from a repository's description alone."""

import importlib.util
from dataclasses import replace

import msgspec
import pytest

from yunmo.core.engine import Hardware, ModelDescription
from yunmo.engines.onnx.families import has_shifted_positions, head_of
from yunmo.engines.onnx.kind import kind

HARDWARE = Hardware(cores=4, memory_bytes=8 << 30)
FILES = {"config.json": 600, "model.safetensors": 90 << 20, "tokenizer.json": 500_000, "vocab.txt": 200_000, "README.md": 100}
MODULES = [{"type": f"sentence_transformers.models.{name}"} for name in ("Transformer", "Pooling", "Normalize")]


def described(architecture="BertModel", model_type="bert", files=FILES, tag=None, modules=None, **config):
    documents = {"config.json": {"architectures": [architecture], "model_type": model_type, **config}}
    if modules is not None:
        documents["modules.json"] = modules
    return ModelDescription("acme/model", "c0ffee", files, documents, pipeline_tag=tag)


@pytest.mark.parametrize(
    ("architecture", "model_type", "tasks"),
    [
        ("BertForSequenceClassification", "bert", ("classify",)),
        ("DistilBertForTokenClassification", "distilbert", ("classify-tokens",)),
        ("RobertaForQuestionAnswering", "roberta", ("answer",)),
        ("XLMRobertaForMaskedLM", "xlm-roberta", ("fill-mask",)),
        ("MPNetModel", "mpnet", ("embed",)),
        ("DebertaV2ForSequenceClassification", "deberta-v2", ("classify",)),
    ],
)
def test_the_task_follows_the_architecture(architecture, model_type, tasks):
    offer = kind.offer(described(architecture, model_type), HARDWARE)
    assert offer.tasks == tasks
    assert offer.problem is None
    assert (offer.plan.streams, offer.plan.threads, offer.plan.batch_items, offer.plan.precision) == (4, 1, 1, "fp32")
    assert offer.plan.options == {"head": tasks[0]}


def test_a_model_that_knows_entailment_classifies_without_training():
    labels = {"id2label": {"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"}}
    assert kind.offer(described("BertForSequenceClassification", **labels), HARDWARE).tasks == ("classify", "classify-zero-shot")
    tagged = described("BertForSequenceClassification", tag="zero-shot-classification", **labels)
    assert kind.offer(tagged, HARDWARE).tasks == ("classify-zero-shot", "classify")


@pytest.mark.parametrize("tag", ["feature-extraction", "sentence-similarity"])
def test_a_card_or_modules_make_a_language_model_an_embedder(tag):
    assert kind.offer(described("BertForMaskedLM"), HARDWARE).tasks == ("fill-mask",)
    assert kind.offer(described("BertForMaskedLM", tag=tag), HARDWARE).tasks == ("embed",)
    assert kind.offer(described("BertForMaskedLM", modules=MODULES), HARDWARE).tasks == ("embed",)


@pytest.mark.parametrize(
    "model",
    [
        described("LlamaForCausalLM", "llama"),
        described("GPT2Model", "gpt2"),
        described("JinaBertModel", "bert"),
        described("BertLMHeadModel"),
        described(is_decoder=True),
        described(quantization_config={"bits": 4}),
        described(files={name: size for name, size in FILES.items() if name != "tokenizer.json"}),
        described(files={name: size for name, size in FILES.items() if name != "model.safetensors"}),
        described(modules=[*MODULES, {"type": "sentence_transformers.models.WordWeights"}]),
        ModelDescription("acme/model", "c0ffee", FILES),
    ],
    ids=lambda model: model.architectures[0] if model.architectures else "no config",
)
def test_what_is_not_for_it_is_left_to_others(model):
    assert kind.offer(model, HARDWARE) is None


def test_pickled_weights_are_refused_with_the_way_to_convert_them():
    files = {name: size for name, size in FILES.items() if name != "model.safetensors"} | {"pytorch_model.bin": 90 << 20}
    offer = kind.offer(described("BertForMaskedLM", files=files), HARDWARE)
    assert "pickle" in offer.problem
    assert "`yunmo convert acme/model`" in offer.problem
    assert kind.offer(described(files=FILES | {"pytorch_model.bin": 90 << 20}), HARDWARE).problem is None


def test_only_what_is_needed_is_laid_out():
    extra = {
        "pytorch_model.bin": 9,
        "onnx/model.onnx": 9,
        "openvino/x.json": 9,
        "tf_model.h5": 9,
        "adapter.safetensors": 9,
        "2_Dense/model.safetensors": 9,
    }
    files = kind.offer(described(files=FILES | extra), HARDWARE).files
    assert set(files) == {"config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "2_Dense/model.safetensors"}
    ready = {name: size for name, size in (FILES | extra).items() if not name.startswith("model.")} | {"onnx/model.onnx_data": 9}
    assert {"onnx/model.onnx", "onnx/model.onnx_data", "config.json"} <= set(kind.offer(described(files=ready), HARDWARE).files)


def test_the_memory_is_near_what_was_measured():
    mebibyte = 1 << 20
    two_cores = Hardware(cores=2, memory_bytes=8 << 30)
    for weights, measured in ((87, 177), (418, 517)):  # MiniLM-L6 and BERT-base on two streams
        files = {**FILES, "model.safetensors": weights * mebibyte}
        offer = kind.offer(described(files=files), two_cores)
        assert offer.predicted_bytes == pytest.approx(measured * mebibyte, rel=0.15)
        assert offer.predicted_bytes < offer.memory_bytes
    half = kind.offer(described(dtype="float16"), two_cores).memory_bytes
    assert half - kind.offer(described(), two_cores).memory_bytes == FILES["model.safetensors"]


def test_a_missing_library_is_named(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else true(name))
    assert kind.offer(described(), HARDWARE).missing == "onnxruntime is not installed; run: pip install 'yunmo[onnx]'"
    monkeypatch.undo()
    assert kind.offer(described(), HARDWARE).missing is None


def test_class_names_of_other_families_are_not_mistaken():
    assert head_of("bert", "BertForNextSentencePrediction") is None
    assert head_of("roberta", "BertModel") is None
    assert head_of("xlm-roberta", "XLMRobertaModel") == "embed"
    assert has_shifted_positions("roberta")
    assert not has_shifted_positions("bert")


def kinds(offer):
    return [(each.plan.format, each.plan.precision, each.plan.streams, each.plan.threads) for each in offer.alternatives]


def test_what_may_be_faster_depends_on_the_processor():
    old = Hardware(4, 8 << 30, instructions=frozenset({"avx2"}))
    new = Hardware(4, 8 << 30, instructions=frozenset({"avx2", "avx512f", "avx512_vnni"}))
    newest = Hardware(4, 8 << 30, instructions=new.instructions | {"avx512_bf16"})
    plans = [kind.offer(described(), hardware) for hardware in (old, new, newest)]
    assert kinds(plans[0]) == [("onnx", "int8", 4, 1), ("onnx", "fp32", 1, 4), ("onnx", "int8", 1, 4)]
    assert {each.plan.options.get("weights") for each in plans[0].alternatives if each.plan.precision == "int8"} == {"u8"}
    assert kinds(plans[1])[:2] == [("onnx", "int8", 4, 1), ("openvino", "int8", 4, 1)]
    assert "bf16" not in {each.plan.precision for each in plans[1].alternatives}
    assert [each for each in kinds(plans[2]) if each[1] == "bf16"] == [("torch", "bf16", 4, 1), ("openvino", "bf16", 1, 4)]
    pack = next(each.plan for each in plans[2].alternatives if each.plan.format == "torch")
    assert pack.slots >= 2 * pack.streams * pack.batch_items > 2 * pack.streams
    for offer in plans:
        for each in offer.alternatives:
            kind.check(each.plan)


def test_openvino_is_not_offered_where_it_is_not_installed(monkeypatch):
    hardware = Hardware(2, 8 << 30, instructions=frozenset({"avx512_vnni", "avx512_bf16"}))
    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else true(name))
    assert {each[0] for each in kinds(kind.offer(described(), hardware))} == {"onnx", "torch"}


@pytest.mark.parametrize(
    "model", [described("MPNetModel", "mpnet"), described("BertForMaskedLM"), described("ModernBertModel", "modernbert")]
)
def test_what_cannot_be_packed_is_tried_in_half_precision_by_openvino(model):
    hardware = Hardware(4, 8 << 30, instructions=frozenset({"avx512_vnni", "avx512_bf16"}))
    offered = kinds(kind.offer(model, hardware))
    assert "torch" not in {each[0] for each in offered}
    assert ("openvino", "bf16", 4, 1) in offered


def test_eight_bits_take_less_memory_but_words_stay_as_they_are():
    hardware = Hardware(2, 8 << 30, instructions=frozenset({"avx512_vnni", "avx512_bf16"}))
    mebibyte = 1 << 20
    measured = {  # at work, in MiB: MiniLM-L6 and BERT-base
        (87, 384): {
            ("torch", "bf16", 2): 615,
            ("onnx", "int8", 2): 164,
            ("openvino", "int8", 2): 326,
            ("openvino", "int8", 1): 297,
            ("openvino", "bf16", 2): 355,
        },
        (418, 768): {("onnx", "int8", 2): 268, ("openvino", "int8", 2): 559, ("openvino", "bf16", 2): 933},
    }
    for (weights, width), plans in measured.items():
        model = described(files={**FILES, "model.safetensors": weights * mebibyte}, vocab_size=30522, hidden_size=width)
        offer = kind.offer(model, hardware)
        for (form, precision, streams), resident in plans.items():
            plan = msgspec.structs.replace(offer.plan, format=form, precision=precision, streams=streams)
            assert kind.sized(replace(offer, plan=plan), model).predicted_bytes == pytest.approx(resident * mebibyte, rel=0.15), plan
        eight = next(each for each in offer.alternatives if (each.plan.format, each.plan.precision) == ("onnx", "int8"))
        assert eight.predicted_bytes < offer.predicted_bytes
