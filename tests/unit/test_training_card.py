"""What the card and the provenance of a trained model say, and that hubs and people can read them."""

import ast
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from huggingface_hub import InferenceClient, ModelCard

from yunmo.core.engine import Hardware
from yunmo.core.training import METHODS, Architecture, Lora, Pretraining, Recipe, Tokenizer, TrainingEstimate, TrainingResult
from yunmo.hub.cards import front_matter
from yunmo.training.calling import call_of
from yunmo.training.card import card
from yunmo.training.order import Order, Rows
from yunmo.training.provenance import Provenance, training_json
from yunmo.training.state import KeptModel, Source

COMMIT, DATA, SHA256 = "a" * 40, "b" * 40, "c" * 64
RECIPE = Recipe(method="classification", seed=7, epochs=3, batch_size=16, learning_rate=5e-5, precision="fp32")


def provenance(recipe=RECIPE, **changes):
    base = "" if recipe.pretraining and recipe.pretraining.architecture else "library/minilm"
    fields = {
        "repository": "acme/reviews",
        "job": "0123456789abcdef01234567",
        "order": Order(base=base, recipe=recipe, rows=Rows(repository="acme/rows"), extra={"secret": "of a dialect"}),
        "recipe": recipe,
        "base": base,
        "base_commit": COMMIT if base else "",
        "base_card": {"license": "apache-2.0", "pipeline_tag": "sentence-similarity", "language": "en"},
        "train": Source("acme/rows", 900, DATA, is_data_set=True, split="train"),
        "validation": Source("reviews.jsonl", 100, sha256=SHA256),
        "result": TrainingResult(
            step=169,
            tokens=40_500,
            seconds=4000.5,
            metrics={"loss": 0.41, "accuracy": 0.8312342, "macro_f1": 0.82},
            plots=("plots/loss.png", "plots/metrics.png"),
        ),
        "estimate": TrainingEstimate(
            recipe=recipe,
            rows=900,
            validation_rows=100,
            tokens=40_500,
            steps=169,
            step_seconds=1.0,
            seconds=169.0,
            memory_bytes=1,
            disk_bytes=1,
            parameters=22_713_986,
            trained_parameters=22_713_986,
            cut_rows=4,
        ),
        "epochs": (KeptModel(f"acme/reviews@{DATA}", 57, 1.0, {"accuracy": 0.8}),),
        "parity_samples": 32,
        "hardware": Hardware(cores=2, memory_bytes=16 * 2**30, processor="A processor"),
        "versions": {"torch": "2.13.0", "transformers": "5.1.0"},
        "finished_at": datetime(2026, 11, 30, 12, 0, tzinfo=UTC),
        "address": "http://models.example.com/",
    }
    return Provenance(**{**fields, **changes})


# ------------------------------------------------------------ front matter


def test_the_hub_reads_the_front_matter():
    front = front_matter(card(provenance()))
    assert front["base_model"] == "library/minilm"
    assert front["base_model_relation"] == "finetune"
    assert front["license"] == "apache-2.0"
    assert front["datasets"] == ["acme/rows"]
    assert front["pipeline_tag"] == "text-classification"
    assert front["library_name"] == "transformers"
    assert front["tags"] == ["yunmo", "classification"]
    assert "language" not in front


def test_hugging_faces_own_reader_finds_the_metrics():
    found = {(each.metric_type, each.metric_value, each.dataset_name) for each in ModelCard(card(provenance())).data.eval_results}
    assert found == {("accuracy", 0.831234, "reviews.jsonl"), ("f1", 0.82, "reviews.jsonl")}


def test_an_adapter_says_what_it_is_an_adapter_of():
    recipe = Recipe(method="supervised", lora=Lora(rank=8), epochs=1)
    front = front_matter(card(provenance(recipe)))
    assert (front["library_name"], front["base_model_relation"], front["pipeline_tag"]) == ("peft", "adapter", "text-generation")
    assert front["tags"] == ["yunmo", "supervised", "lora"]
    merged = front_matter(card(provenance(Recipe(method="supervised", lora=Lora(merge=True)))))
    assert (merged["library_name"], merged["base_model_relation"]) == ("transformers", "finetune")


def test_a_model_from_nothing_has_no_base():
    built = Pretraining(objective="masked", architecture=Architecture(family="bert"), tokenizer=Tokenizer())
    text = card(provenance(Recipe(method="pretrain", pretraining=built), base_card={}))
    front = front_matter(text)
    assert not front.keys() & {"base_model", "base_model_relation", "license"}
    assert front["pipeline_tag"] == "fill-mask"
    assert "bert: 4 layers of 256, 4 heads, 512 positions" in text
    assert "bpe, 16000 tokens" in text


def test_metrics_that_are_no_numbers_do_not_break_the_card():
    result = TrainingResult(step=1, tokens=1, seconds=1.0, metrics={"loss": float("nan"), "accuracy": float("inf")})
    text = card(provenance(result=result))
    assert "model-index" not in front_matter(text)
    assert "| loss | nan |" in text
    json.loads(training_json(provenance(result=result)))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_card_that_its_readers_parse(method):
    pretraining = Pretraining(objective="causal") if method == "pretrain" else None
    each = provenance(Recipe(method=method, pretraining=pretraining))
    text = card(each)
    assert front_matter(text)["tags"][0] == "yunmo"
    assert ModelCard(text).data.base_model == "library/minilm"
    assert "## 中文" in text
    if code := call_of(each):
        ast.parse(code)
        assert "http://models.example.com/" in code
        for call in ast.walk(ast.parse(code)):
            if isinstance(call, ast.Attribute) and ast.unparse(call.value) == "client" and "InferenceClient" in code:
                assert hasattr(InferenceClient, call.attr)


# ------------------------------------------------------------ what people read


def test_people_read_what_it_is_made_of_and_how():
    text = card(provenance())
    for told in (
        f"`library/minilm` at the commit `{COMMIT}`",
        f"| training | `acme/rows` (train) | `{DATA}` | 900 |",
        f"| validation | `reviews.jsonl` | `{SHA256}` | 100 |",
        "| Accuracy | 0.8312 |",
        "| Macro F1 | 0.8200 |",
        "![loss](plots/loss.png)\n![metrics](plots/metrics.png)",
        "| learning rate | 5e-05 |",
        "| seed | 7 |",
        "| hardware | A processor, 2 cores, 16.0 GiB of memory |",
        "| duration | 66.7 min |",
        "| tokens | 40500 |",
        "| rows that were cut | 4 |",
        "torch 2.13.0, transformers 5.1.0",
        'InferenceClient(model="http://models.example.com/models/acme/reviews"',
        "32 answers",
    ):
        assert told in text, told
    assert "| beta |" not in text  # what the method does not use


def test_the_chinese_part_says_the_same():
    chinese = card(provenance()).partition("## 中文")[2]
    for told in (
        "文本分类模型",
        "library/minilm",
        COMMIT,
        "训练数据 `acme/rows`",
        "900 行",
        "100 行",
        "Accuracy 0.8312",
        "169 步",
        "40500 个词元",
        "随机种子 7",
    ):
        assert told in chinese, told


def test_rows_that_were_kept_back_are_told_apart_from_those_that_were_learnt():
    text = card(provenance(validation=None, train=Source("reviews.jsonl", 1000, kept_back=100)))
    assert "| training | `reviews.jsonl` |  | 900 |" in text
    assert "| validation | `reviews.jsonl` |  | 100 |" in text
    assert "did not learn from" in text


def test_a_model_that_nothing_was_kept_back_for_says_so():
    result = TrainingResult(step=1, tokens=1, seconds=1.0)
    text = card(provenance(validation=None, result=result))
    assert "is not known" in text
    assert "there were no validation rows" in text
    assert "没有验证数据" in text


def test_a_files_name_cannot_break_the_table_or_write_html():
    text = card(provenance(validation=Source("a|b`<img src=x>\n---\n# no.jsonl", 5)))
    line = next(line for line in text.splitlines() if line.startswith("| validation"))
    assert line.count("|") == 5
    assert "<img" not in text.split("\n---\n", 1)[1]
    assert "\n# no.jsonl" not in text
    assert front_matter(text)["model-index"][0]["results"][0]["dataset"]["name"] == "a|b`<img src=x> --- # no.jsonl"


# ------------------------------------------------------------ training.json


def test_programs_read_the_whole_provenance():
    each = provenance()
    record = json.loads(training_json(each))
    assert record["format"] == 1
    assert record["base"] == {"model": "library/minilm", "commit": COMMIT}
    assert record["data"]["train"] == {"name": "acme/rows", "kind": "data set", "rows": 900, "commit": DATA, "split": "train"}
    assert record["data"]["validation"] == {"name": "reviews.jsonl", "kind": "file", "rows": 100, "sha256": SHA256}
    assert record["recipe"]["learning_rate"] == 5e-05
    assert record["order"]["rows"]["repository"] == "acme/rows"
    assert (record["seed"], record["steps"], record["tokens"], record["seconds"]) == (7, 169, 40_500, 4000.5)
    assert record["metrics"]["accuracy"] == 0.8312342
    assert record["versions"]["torch"] == "2.13.0"
    assert record["hardware"]["cores"] == 2
    assert record["checkpoints"][0]["step"] == 57
    assert training_json(each) == training_json(each)


def test_what_a_dialect_keeps_for_itself_is_not_published():
    assert b"of a dialect" not in training_json(provenance())
    assert "of a dialect" not in card(provenance())


def test_a_model_from_nothing_has_no_base_in_its_provenance():
    built = Pretraining(objective="causal", architecture=Architecture(family="llama"))
    each = provenance(Recipe(method="pretrain", pretraining=built))
    assert json.loads(training_json(replace(each, base="")))["base"] is None


def test_an_encoder_decoder_is_for_what_its_configuration_says_whatever_its_base_was_for():
    made = provenance(recipe=Recipe(method="seq2seq"), base_card={"pipeline_tag": "summarization"}, rewrites_as="translation")
    assert made.pipeline_tag == "translation"
    assert provenance(recipe=Recipe(method="seq2seq"), base_card={"pipeline_tag": "summarization"}).pipeline_tag == "summarization"
