"""The trainer as an engine: real steps on tiny models, stopped and continued, without a server around it."""

import json
import random
from pathlib import Path

import msgspec
import pytest
from transformers import AutoTokenizer

from tiny_texts import bert
from trained import curve, news
from yunmo.core.errors import InvalidRequest
from yunmo.core.training import (
    CheckTraining,
    ParitySample,
    Recipe,
    Train,
    TrainingCheckpoint,
    TrainingEstimate,
    TrainingNote,
    TrainingResult,
)

RECIPE = Recipe(method="classification", seed=3, epochs=2, batch_size=8, accumulation=1, learning_rate=1e-3, precision="fp32")


def rows(count: int, *, seed: int = 1, labels: tuple[str, ...] = ("bad", "good")) -> bytes:
    draw = random.Random(seed)
    words = ["the", "cat", "dog", "sun", "is", "tea", "rain", "a", "big", "house"]
    texts = []
    for _ in range(count):
        label = draw.choice(labels)
        texts.append({"text": " ".join([*draw.choices(words, k=draw.randint(2, 20)), label]), "label": label})
    return b"".join(json.dumps(text).encode() + b"\n" for text in texts)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("base")
    bert("BertModel", hidden_dropout_prob=0.1)(directory)
    return directory


@pytest.fixture
def workspace(tmp_path) -> Path:
    (tmp_path / "train.jsonl").write_bytes(rows(100))
    (tmp_path / "validation.jsonl").write_bytes(rows(20, seed=2))
    return tmp_path


async def test_a_training_that_was_stopped_twice_goes_on_bit_for_bit(base, workspace, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for name in ("train.jsonl", "validation.jsonl"):
        (other / name).write_bytes((workspace / name).read_bytes())
    whole = await news(base, workspace, Train(recipe=RECIPE))
    parts = [await news(base, other, Train(recipe=RECIPE), stop_at=at) for at in (5, 16, None)]
    assert [part[-2].is_stopped for part in parts] == [True, True, False]
    assert all(part[-2].step < 26 for part in parts[:2]), "it was stopped in the middle"
    assert curve(whole) == [step for part in parts for step in curve(part)]
    assert (workspace / "result/model.safetensors").read_bytes() == (other / "result/model.safetensors").read_bytes()


async def test_a_check_completes_the_recipe_and_tells_what_it_will_take(base, workspace):
    *_, estimate, _ = await news(base, workspace, CheckTraining(recipe=Recipe(method="classification")))
    assert isinstance(estimate, TrainingEstimate)
    assert estimate.recipe.precision in {"fp32", "bf16"}
    assert (estimate.rows, estimate.validation_rows, estimate.steps) == (100, 20, 7 * 3)
    assert estimate.step_seconds > 0
    assert estimate.memory_bytes > 0
    assert "->" in estimate.sample
    assert not (workspace / "result").exists()


async def test_the_result_is_a_repository_with_pictures_and_answers_to_compare(base, workspace):
    told = await news(base, workspace, Train(recipe=RECIPE))
    result = told[-2]
    assert isinstance(result, TrainingResult)
    assert set(result.metrics) == {"loss", "perplexity", "accuracy", "macro_f1"}
    files = {str(path.relative_to(workspace / "result")) for path in (workspace / "result").rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json", *result.plots} <= files
    samples = [msgspec.json.decode(line, type=ParitySample) for line in (workspace / "parity.jsonl").read_bytes().splitlines()]
    assert len(samples) == 32
    assert all(sample.token_ids for sample in samples)
    models = [each.model for each in told if isinstance(each, TrainingCheckpoint)]
    assert models == ["models/step-13", ""]


async def test_texts_that_were_cut_are_not_compared_with_what_reads_them_whole(base, workspace):
    recipe = msgspec.structs.replace(RECIPE, max_tokens=12, max_steps=2)
    told = await news(base, workspace, CheckTraining(recipe=recipe))
    assert any(isinstance(each, TrainingNote) and "were cut" in each.message for each in told)
    await news(base, workspace, Train(recipe=recipe))
    samples = [msgspec.json.decode(line, type=ParitySample) for line in (workspace / "parity.jsonl").read_bytes().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert len(samples) > 9
    for sample in samples:
        [text] = sample.request.texts
        assert list(sample.token_ids) == tokenizer(text)["input_ids"]


async def test_rows_of_one_label_are_refused(base, workspace):
    (workspace / "train.jsonl").write_bytes(rows(10, labels=("good",)))
    with pytest.raises(InvalidRequest, match="nothing to tell apart"):
        await news(base, workspace, CheckTraining(recipe=Recipe(method="classification")))


async def test_adapters_alone_are_the_result_unless_they_are_merged(base, workspace):
    lora = Recipe(**{**msgspec.structs.asdict(RECIPE), "lora": {"rank": 4}})
    recipe = msgspec.convert(msgspec.to_builtins(lora), Recipe)
    await news(base, workspace, Train(recipe=recipe))
    assert (workspace / "result/adapter_model.safetensors").exists()
    assert not (workspace / "result/model.safetensors").exists()
