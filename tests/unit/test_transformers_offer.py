import dataclasses
import json
import subprocess
import sys

import pytest

import tiny_models
from yunmo.core.engine import Hardware, ModelDescription
from yunmo.core.errors import EngineFailed
from yunmo.engines.transformers.kind import describe_directory, kind

MACHINE = Hardware(cores=4, memory_bytes=8 << 30)
WEIGHTS = {"model.safetensors": 1000, "config.json": 10, "tokenizer.json": 10}


def model(architecture: str | None = "BertForSequenceClassification", **more) -> ModelDescription:
    config = {"architectures": [architecture] if architecture else [], **more.pop("config", {})}
    documents = {"config.json": config, **more.pop("documents", {})}
    return ModelDescription(repository="acme/m", revision="1", files=more.pop("files", WEIGHTS), documents=documents, **more)


def offer(*args, **more):
    return kind.offer(model(*args, **more), MACHINE)


@pytest.mark.parametrize(
    ("architecture", "config", "tag", "tasks"),
    [
        ("DebertaV2ForSequenceClassification", {}, None, ("classify",)),
        (
            "BartForSequenceClassification",
            {"id2label": {"0": "contradiction", "2": "entailment"}},
            None,
            ("classify", "classify-zero-shot"),
        ),
        ("Wav2Vec2ForSequenceClassification", {"model_type": "wav2vec2"}, None, ("classify-audio",)),
        ("XLMRobertaForTokenClassification", {}, None, ("classify-tokens",)),
        ("BertForQuestionAnswering", {}, None, ("answer",)),
        ("BertForMaskedLM", {}, None, ("fill-mask",)),
        ("BertForMaskedLM", {}, "sentence-similarity", ("embed",)),
        ("Qwen3ForCausalLM", {}, "feature-extraction", ("embed",)),
        ("BertModel", {"model_type": "bert"}, None, ("embed",)),
        ("GPT2LMHeadModel", {}, None, ("generate",)),
        ("MarianMTModel", {"model_type": "marian"}, "translation", ("translate",)),
        ("BartForConditionalGeneration", {"model_type": "bart"}, None, ("summarize", "generate")),
        ("T5ForConditionalGeneration", {"model_type": "t5"}, "summarization", ("summarize", "translate", "generate")),
        ("T5ForConditionalGeneration", {"model_type": "t5"}, "text2text-generation", ("generate", "translate", "summarize")),
        (
            "T5ForConditionalGeneration",
            {"model_type": "t5", "task_specific_params": {"summarization": {"prefix": "summarize: "}}},
            "text2text-generation",
            ("summarize", "translate", "generate"),
        ),
        (
            "T5ForConditionalGeneration",
            {"model_type": "mt5", "task_specific_params": {"translation_en_to_de": {}, "translation_en_to_fr": {}}},
            "text2text-generation",
            ("translate", "summarize", "generate"),
        ),
        (
            "T5ForConditionalGeneration",
            {"model_type": "t5", "task_specific_params": {"translation_en_to_de": {}, "summarization": {}}},
            "text2text-generation",
            ("generate", "translate", "summarize"),
        ),
        (
            "T5ForConditionalGeneration",
            {"model_type": "t5", "task_specific_params": {"translation_en_to_de": {}}},
            "summarization",
            ("summarize", "translate", "generate"),
        ),
        ("T5ForConditionalGeneration", {"model_type": "t5", "task_specific_params": "x"}, None, ("translate", "summarize", "generate")),
        ("WhisperForConditionalGeneration", {"model_type": "whisper"}, None, ("transcribe",)),
        ("HubertForCTC", {"model_type": "hubert"}, None, ("transcribe",)),
        ("Mask2FormerForUniversalSegmentation", {}, None, ("segment",)),
        ("SiglipModel", {}, None, ("classify-image-zero-shot",)),
        ("VisionEncoderDecoderModel", {}, None, ("describe",)),
        ("VitsModel", {}, None, ("speak",)),
        (None, {"model_type": "vit"}, "image-classification", ("classify-image",)),
    ],
)
def test_the_architecture_and_the_card_tell_the_tasks(architecture, config, tag, tasks):
    made = offer(architecture, config=config, pipeline_tag=tag)
    assert made is not None
    assert made.tasks == tasks
    assert made.problem is None
    assert made.preference == 10


def test_a_language_model_chats_only_with_a_chat_template():
    template = {"tokenizer_config.json": {"chat_template": "{{ messages }}"}}
    assert offer("LlamaForCausalLM", documents=template).tasks == ("chat", "generate")
    assert offer("LlamaForCausalLM", files={**WEIGHTS, "chat_template.jinja": 5}).tasks == ("chat", "generate")
    assert offer("LlamaForCausalLM").tasks == ("generate",)


@pytest.mark.parametrize("architecture", ["ViTModel", "LlavaForConditionalGeneration", "SomethingElse"])
def test_what_has_no_task_of_ours_gets_no_offer(architecture):
    kinds = {"ViTModel": "vit", "LlavaForConditionalGeneration": "llava"}
    assert offer(architecture, config={"model_type": kinds.get(architecture, "")}) is None


@pytest.mark.parametrize(
    ("architecture", "kind_of_model", "sense"),
    [
        ("VisualBertForQuestionAnswering", "visual_bert", "pictures"),
        ("LxmertForQuestionAnswering", "lxmert", "pictures"),
        ("TapasForSequenceClassification", "tapas", "tables"),
        ("LayoutLMForTokenClassification", "layoutlm", "pages with their layout"),
        ("LayoutLMv3ForTokenClassification", "layoutlmv3", "pictures"),
        ("BarkModel", "bark", "sound"),
        ("SeamlessM4TModel", "seamless_m4t", "sound"),
        ("SeamlessM4Tv2Model", "seamless_m4t_v2", "sound"),
        ("LlavaModel", "llava", "pictures"),
    ],
)
def test_a_model_that_takes_more_than_text_is_refused_instead_of_failing_at_its_first_call(architecture, kind_of_model, sense, tmp_path):
    from transformers import AutoConfig

    config = AutoConfig.for_model(kind_of_model)
    config.architectures = [architecture]
    config.save_pretrained(tmp_path)
    made = offer(architecture, config=json.loads((tmp_path / "config.json").read_text()))
    assert made.problem.startswith(f"{architecture} works with {sense} besides text")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *(("vilt", "answer-image"), ("blip-questions", "answer-image")),
        *((name, "answer-document") for name in ("layoutlm", "layoutlmv3", "lilt", "donut")),
        ("tapas", "answer-table"),
    ],
)
def test_a_model_that_answers_questions_about_more_than_text_has_that_task(name, task, tiny_model):
    made = kind.offer(describe_directory(tiny_model(name)), MACHINE)
    assert (made.tasks, made.problem, made.missing) == ((task,), None, None)


def test_a_donut_that_knows_no_questions_describes_unless_its_card_says_otherwise(tiny_model):
    described = describe_directory(tiny_model("donut"))
    documents = {name: content for name, content in described.documents.items() if name != "added_tokens.json"}
    silent = dataclasses.replace(described, documents=documents)
    assert kind.offer(silent, MACHINE).tasks == ("describe",)
    assert kind.offer(dataclasses.replace(silent, pipeline_tag="document-question-answering"), MACHINE).tasks == ("answer-document",)


def test_what_a_model_would_need_besides_is_named():
    assert "detectron2" in offer("LayoutLMv2ForQuestionAnswering", config={"model_type": "layoutlmv2"}).problem
    documents = {"preprocessor_config.json": {"is_vqa": True}}
    assert "font" in offer("Pix2StructForConditionalGeneration", config={"model_type": "pix2struct"}, documents=documents).problem


@pytest.mark.parametrize("name", ["classify", "classify-tokens", "answer", "fill-mask", "embed"])
def test_a_model_of_text_alone_is_not_refused_for_what_it_takes(name, tiny_model):
    assert kind.offer(describe_directory(tiny_model(name)), MACHINE).problem is None


def test_a_repository_without_a_configuration_is_not_for_this_engine():
    assert kind.offer(ModelDescription(repository="a/b", revision="1", files={"model.gguf": 5}), MACHINE) is None


def test_pickled_weights_are_refused_with_the_way_to_convert_them():
    made = offer(files={"pytorch_model.bin": 1000, "config.json": 10})
    assert "pytorch_model.bin" in made.problem
    assert "`yunmo convert " in made.problem


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"])
def test_a_repository_that_brings_code_is_refused(name):
    documents = {name: {"architectures": ["BertModel"], "model_type": "bert", "auto_map": {"AutoModel": "modeling_x.X"}}}
    made = offer("BertModel", documents=documents)
    assert "never run" in made.problem


def test_an_adapter_alone_is_refused():
    files = {"adapter_config.json": 5, "adapter_model.safetensors": 10}
    assert "merge" in kind.offer(ModelDescription(repository="a/b", revision="1", files=files), MACHINE).problem


@pytest.mark.parametrize(
    ("architecture", "documents", "words"),
    [
        ("SpeechT5ForTextToSpeech", {}, None),
        ("VitsModel", {"tokenizer_config.json": {"phonemize": True}}, "phonemizer"),
        ("BertModel", {"modules.json": [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]}, "Dense"),
    ],
)
def test_models_that_need_what_is_not_here_say_so(architecture, documents, words):
    files = {**WEIGHTS, **dict.fromkeys(documents, 5)}
    made = offer(architecture, documents=documents, files=files)
    assert (words or "speaker") in made.problem


def test_a_backbone_from_another_library_is_named_as_missing():
    assert "timm" in offer("DetrForObjectDetection", config={"use_timm_backbone": True}).missing


def test_it_lays_out_what_the_library_reads_and_neither_code_nor_pickles():
    files = {
        **WEIGHTS,
        "pytorch_model.bin": 9,
        "modeling_x.py": 9,
        "onnx/model.onnx": 9,
        "onnx/config.json": 9,
        "model.fp16.safetensors": 9,
        "1_Pooling/config.json": 9,
        "vocab.txt": 9,
        "README.md": 9,
        "chat_template.jinja": 9,
    }
    assert offer(files=files).files == (
        "1_Pooling/config.json",
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "vocab.txt",
    )


def test_memory_is_the_weights_in_fp32_and_the_library():
    plain, half = offer(), offer(config={"dtype": "bfloat16"})
    assert half.memory_bytes - plain.memory_bytes == 1000
    assert plain.memory_bytes > 250 << 20


@pytest.mark.parametrize(
    ("architecture", "config", "plans"),
    [
        ("ViTForImageClassification", {}, [("fp32", 4, 1), ("bf16", 1, 4), ("bf16", 4, 1)]),
        ("Wav2Vec2ForSequenceClassification", {"model_type": "wav2vec2"}, [("fp32", 4, 1), ("bf16", 1, 4), ("bf16", 4, 1)]),
        ("CLIPModel", {}, [("bf16", 1, 4)]),
        ("BertForSequenceClassification", {}, []),
    ],
)
def test_pictures_and_sounds_have_plans_for_calibration_to_try(architecture, config, plans):
    machine = dataclasses.replace(MACHINE, instructions=frozenset({"avx512_bf16"}))
    offered = kind.offer(model(architecture, config=config), machine)
    assert (offered.plan.precision, offered.plan.streams, offered.plan.threads) == ("fp32", 1, 4)
    others = [each.plan for each in offered.alternatives]
    assert [(plan.precision, plan.streams, plan.threads) for plan in others] == plans
    assert all(plan.slots >= plan.streams for plan in others)


def test_bf16_is_tried_only_where_the_processor_multiplies_in_it():
    assert {each.plan.precision for each in offer("ViTForImageClassification").alternatives} == {"fp32"}


def test_shards_are_counted_and_laid_out_together():
    index = {"model.safetensors.index.json": {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}}
    files = {
        "config.json": 1,
        "model.safetensors.index.json": 1,
        "model-1.safetensors": 100,
        "model-2.safetensors": 100,
        "other.safetensors": 7,
    }
    made = offer(files=files, documents=index)
    assert "other.safetensors" not in made.files
    assert made.memory_bytes - offer(files={**files, "model-2.safetensors": 0}, documents=index).memory_bytes == 100


def load(directory, **options):
    made = kind.offer(describe_directory(directory), MACHINE)
    assert made is not None
    return kind.load(directory, directory, made.plan, lambda _what, _share: None)


def test_a_checkpoint_that_lacks_its_head_is_refused_instead_of_guessing(tmp_path):
    directory = tiny_models.build("embed", tmp_path / "m")
    config = (directory / "config.json").read_text().replace('"BertModel"', '"BertForSequenceClassification"')
    (directory / "config.json").write_text(config)
    with pytest.raises(EngineFailed, match="lacks 2 of the model's weights"):
        load(directory)


def test_an_architecture_that_the_library_does_not_have_is_named(tmp_path):
    directory = tiny_models.build("classify", tmp_path / "m")
    config = (directory / "config.json").read_text().replace("BertForSequenceClassification", "BestForSequenceClassification")
    (directory / "config.json").write_text(config)
    with pytest.raises(EngineFailed, match="does not have the architecture BestForSequenceClassification"):
        load(directory)


def test_broken_weights_are_named(tmp_path):
    directory = tiny_models.build("classify", tmp_path / "m")
    (directory / "model.safetensors").write_bytes(b"\x80\x04 not what it says")
    with pytest.raises(EngineFailed, match="could not be loaded"):
        load(directory)


def test_code_in_the_repository_is_never_imported(tmp_path):
    directory = tiny_models.build("classify", tmp_path / "m")
    canary = tmp_path / "canary"
    (directory / "modeling_x.py").write_text(f"open({str(canary)!r}, 'w')")
    (directory / "__init__.py").write_text(f"open({str(canary)!r}, 'w')")
    config = (
        (directory / "config.json").read_text().replace("{", '{"auto_map": {"AutoModel": "modeling_x.X"}, "trust_remote_code": true,', 1)
    )
    (directory / "config.json").write_text(config)
    assert "never run" in kind.offer(describe_directory(directory), MACHINE).problem
    load(directory)
    assert not canary.exists()


def test_an_offer_imports_no_model_library(tiny_model):
    program = f"""
import sys
from pathlib import Path
from yunmo.core.engine import Hardware
from yunmo.core.plugins import engines
from yunmo.engines.transformers.kind import describe_directory
offer = engines()["transformers"].offer(describe_directory(Path({str(tiny_model("chat"))!r})), Hardware(cores=2, memory_bytes=1 << 33))
assert offer.tasks == ("chat", "generate"), offer
print([name for name in ("torch", "transformers", "numpy", "jinja2", "PIL") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_an_absent_library_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setattr("yunmo.engines.transformers.kind.find_spec", lambda name: None if name == "torch" else object())
    assert offer().missing == "torch (pip install 'yunmo[transformers]')"
