"""Embedding: texts that belong together find each other, and the result embeds as it was trained."""

import json
import random

import msgspec
import pytest
import torch

import tiny_models
from tiny_texts import bert
from tiny_tokenizers import words
from trained import check_parity, check_resume, judged, news, notes, served, write_rows
from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Embed
from yunmo.core.training import CheckTraining, Lora, Recipe, Train, TrainingEstimate
from yunmo.engines.onnx.kind import kind as onnx
from yunmo.engines.trainer.memory import smaller
from yunmo.engines.trainer.methods.embedding import _Compared, _Judge
from yunmo.engines.trainer.trial import _ways

RECIPE = Recipe(method="embedding", seed=2, epochs=3, batch_size=16, accumulation=1, learning_rate=1e-2, precision="fp32")
PAIRS = dict(zip(words()[::2], words()[1::2], strict=False))


def rows(count: int, seed: int = 1, *, negatives: bool = False):
    """A word and its partner, each among words that say nothing."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        (one, partner), (_, other) = draw.sample(sorted(PAIRS.items()), 2)
        row = {"anchor": f"{one} {draw.choice('abc')}", "positive": f"{draw.choice('xyz')} {partner}"}
        made.append({**row, "negative": f"x {other}"} if negatives and draw.random() < 0.5 else row)
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    directory = tmp_path_factory.mktemp("base")
    bert("BertModel", hidden_dropout_prob=0.05, initializer_range=0.02, hidden_size=32, num_hidden_layers=1)(directory)
    return directory


@pytest.fixture
def workspace(tmp_path):
    return write_rows(tmp_path / "one", rows(320, negatives=True), rows(24, seed=2))


async def test_texts_that_belong_together_find_each_other_where_the_result_is_served(base, workspace, tmp_path):
    told = await news(base, workspace, Train(recipe=RECIPE))
    *_, last = judged(told)
    assert set(last) == {"loss", "recall_at_1", "mrr"}
    untrained = Recipe(method="embedding", max_steps=1, batch_size=16, accumulation=1, learning_rate=1e-9, precision="fp32")
    (before,) = judged(await news(base, write_rows(tmp_path / "other", rows(32), rows(24, seed=2)), Train(recipe=untrained)))
    assert before["recall_at_1"] < 0.2
    assert last["mrr"] > last["recall_at_1"] > 0.5
    assert len(await check_parity(workspace)) == 16
    modules = json.loads((workspace / "result/modules.json").read_text())
    assert [module["type"].rsplit(".", 1)[-1] for module in modules] == ["Transformer", "Pooling", "Normalize"]


async def test_a_stopped_training_goes_on_bit_for_bit(base, workspace, tmp_path):
    other = write_rows(tmp_path / "other", rows(320, negatives=True), rows(24, seed=2))
    await check_resume(base, workspace, other, msgspec.structs.replace(RECIPE, epochs=1), stop_at=9)


@pytest.mark.parametrize("mode", ["cls", "lasttoken", "max"])
async def test_the_base_s_pooling_is_that_of_the_result(workspace, tmp_path, mode):
    base = tiny_models.build("sentence-embedder", tmp_path / "base")
    (base / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 16, "pooling_mode": mode}))
    modules = json.loads((base / "modules.json").read_text())[:2]
    (base / "modules.json").write_text(json.dumps(modules))
    recipe = Recipe(method="embedding", max_steps=3, batch_size=8, accumulation=1, learning_rate=1e-3, precision="fp32", lora=Lora(rank=2))
    await news(base, workspace, Train(recipe=recipe))
    samples = await check_parity(workspace)
    assert any(abs(sum(x * x for x in floats(sample.output)) - 1) > 0.01 for sample in samples), "the base does not normalise"
    assert json.loads((workspace / "result/sentence_bert_config.json").read_text())["max_seq_length"] == 32
    assert not (workspace / "result/adapter_model.safetensors").exists()
    (longest,) = await served(workspace / "result", [Embed(inputs=("fish " * 60,))])
    assert longest.vectors[0].shape == (16,)


def floats(output):
    import numpy as np

    return np.frombuffer(output.vectors[0].data, "<f4")


async def test_a_prompt_of_the_base_is_read_in_training_as_it_is_where_onnx_serves(workspace, tmp_path):
    base = tiny_models.build("sentence-embedder", tmp_path / "base")
    settings = {"prompts": {"query": "this is about "}, "default_prompt_name": "query"}
    (base / "config_sentence_transformers.json").write_text(json.dumps(settings))
    recipe = Recipe(method="embedding", max_steps=2, batch_size=8, accumulation=1, learning_rate=1e-3, precision="fp32")
    await news(base, workspace, Train(recipe=recipe))
    await check_parity(workspace, server=onnx)


async def test_a_step_is_never_computed_in_parts(base, workspace):
    told = await news(base, workspace, CheckTraining(recipe=Recipe(method="embedding", batch_size=16, lora=Lora(rank=4))))
    estimate = next(each for each in told if isinstance(each, TrainingEstimate))
    assert estimate.recipe.accumulation == 1
    assert "compares its rows" in notes(told)
    assert "merged" in notes(told)
    assert estimate.sample.startswith("cosine ")
    with pytest.raises(InvalidRequest, match="not computed in parts"):
        await news(base, workspace, CheckTraining(recipe=Recipe(method="embedding", accumulation=2)))


def test_where_a_step_takes_too_much_memory_fewer_rows_are_advised_and_no_parts():
    assert smaller(Recipe(method="embedding", batch_size=32, accumulation=1)) == "Set batch_size to 16."
    assert "accumulation 2" in smaller(Recipe(method="classification", batch_size=32, accumulation=1))
    ways = list(_ways(Recipe(method="embedding", batch_size=32)))
    assert [(way.accumulation, way.recomputes) for way in ways] == [(1, False), (1, True)]


async def test_the_same_text_is_no_negative_of_itself(base, tmp_path):
    """Rows that are all alike leave nothing to be told apart in a step: its loss is 0."""
    same = [{"anchor": "hello", "positive": "world"}] * 7
    workspace = write_rows(tmp_path / "one", [*same, {"anchor": "hello", "positive": "paris"}])
    recipe = Recipe(method="embedding", epochs=1, batch_size=8, accumulation=1, learning_rate=1e-6, precision="fp32")
    told = await news(base, workspace, Train(recipe=recipe))
    assert next(each.loss for each in told if hasattr(each, "gradient_norm")) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("made", "recipe", "message"),
    [
        ([{"anchor": "a", "positive": "b"}, {"anchor": "c", "positive": "b"}], {}, "nothing to tell apart"),
        (rows(8), {"batch_size": 1}, "set batch_size to 2"),
        (rows(8), {"max_tokens": 4096}, "reads at most 64 tokens"),
    ],
)
async def test_what_cannot_be_contrasted_is_refused(base, tmp_path, made, recipe, message):
    workspace = write_rows(tmp_path / "one", made)
    with pytest.raises(InvalidRequest, match=message):
        await news(base, workspace, CheckTraining(recipe=Recipe(method="embedding", **recipe)))


async def test_a_text_without_anything_to_read_is_told_with_its_line(tmp_path):
    workspace = write_rows(tmp_path / "one", [*rows(2), {"anchor": "hello", "positive": "  "}])
    with pytest.raises(InvalidRequest, match="Line 3: the base's tokenizer finds nothing to read"):
        await news(tiny_models.build("llama", tmp_path / "base"), workspace, CheckTraining(recipe=Recipe(method="embedding")))


def test_recall_is_that_of_whole_texts_and_what_is_as_near_counts_against_it():
    judge = _Judge()
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), dim=-1)
    ids = torch.tensor([[9, 9], [9, 9], [9, 9], [1, 2], [1, 3], [1, 2]])
    candidates = torch.stack([vectors[0], vectors[1], vectors[0]])  # the third positive is the first one's text
    judge.see(_Compared(torch.tensor(0.0), vectors, candidates), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert judge.verdict() == pytest.approx({"recall_at_1": 2 / 3, "mrr": (1 + 1 + 1 / 2) / 3})
    alike = _Judge()
    same = torch.ones(3, 2) / 2**0.5
    ids = torch.arange(12).reshape(6, 2)
    alike.see(_Compared(torch.tensor(0.0), same, same), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert alike.verdict()["recall_at_1"] == 0.0


async def test_a_base_with_modules_that_are_not_known_is_refused(workspace, tmp_path):
    base = tiny_models.build("sentence-embedder", tmp_path / "base")
    modules = json.loads((base / "modules.json").read_text())
    (base / "modules.json").write_text(
        json.dumps([*modules, {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}])
    )
    with pytest.raises(InvalidRequest, match="module Dense"):
        await news(base, workspace, CheckTraining(recipe=Recipe(method="embedding")))
