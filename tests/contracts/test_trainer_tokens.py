"""Token classification: entities are learnt, found where they are served, and bad rows are told with their lines."""

import random

import msgspec
import pytest

from tiny_texts import bert, gpt2
from trained import check_parity, check_resume, curve, judged, news, notes, write_rows
from yunmo.core.errors import InvalidRequest
from yunmo.core.training import CheckTraining, Lora, Recipe, Train, TrainingEstimate
from yunmo.engines.onnx.kind import kind as onnx

RECIPE = Recipe(
    method="token_classification", seed=5, epochs=3, batch_size=8, accumulation=1, learning_rate=1e-2, precision="fp32", warmup=0.1
)
FILLING = ["the", "red", "car", "is", "on", "street", "fish", "seven", "wonderful"]


def rows(count: int, seed: int = 1):
    """Places and people, of one or two words: "berlin", "hello world", and "jumpz", which the tokenizer cuts into pieces."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        tokens, labels = [], []
        for _ in range(draw.randint(2, 4)):
            kind = draw.choice(["O", "O", "LOC", "PER", "PIECES"])
            words = {"O": draw.choices(FILLING, k=2), "LOC": ["berlin"], "PER": ["hello", "world"], "PIECES": ["jumpz"]}[kind]
            name = {"PIECES": "LOC"}.get(kind, kind)
            tokens += words
            labels += ["O"] * len(words) if kind == "O" else [f"B-{name}", *[f"I-{name}"] * (len(words) - 1)]
        made.append({"tokens": tokens, "labels": labels})
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    directory = tmp_path_factory.mktemp("base")
    bert("BertModel", hidden_dropout_prob=0.1, initializer_range=0.02, hidden_size=32, num_hidden_layers=1)(directory)
    return directory


@pytest.fixture
def workspace(tmp_path):
    return write_rows(tmp_path / "one", rows(96), rows(24, seed=2))


async def test_entities_are_learnt_and_found_where_the_result_is_served(base, workspace):
    told = await news(base, workspace, Train(recipe=RECIPE))
    assert set(judged(told)[-1]) == {"loss", "perplexity", "f1", "precision", "recall", "accuracy"}
    assert judged(told)[-1]["f1"] == 1.0
    await check_parity(workspace, server=onnx)
    samples = await check_parity(workspace)
    assert len(samples) == 16
    assert all(sample.token_ids for sample in samples)


async def test_a_stopped_training_goes_on_bit_for_bit(base, workspace, tmp_path):
    other = write_rows(tmp_path / "other", rows(96), rows(24, seed=2))
    await check_resume(base, workspace, other, msgspec.structs.replace(RECIPE, epochs=1), stop_at=5)


async def test_parts_of_a_step_weigh_as_much_as_the_whole(base, tmp_path):
    alike = [{"tokens": ["hello", "world"], "labels": ["B-PER", "I-PER"]}] * 8
    bert("BertForTokenClassification", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2)(tmp_path)
    steps = []
    for accumulation in (1, 4):
        workspace = write_rows(tmp_path / str(accumulation), alike)
        recipe = Recipe(
            method="token_classification", epochs=1, batch_size=8, accumulation=accumulation, learning_rate=1e-3, precision="fp32"
        )
        steps += curve(await news(tmp_path, workspace, Train(recipe=recipe)))
    assert steps[0] == pytest.approx(steps[1], rel=1e-4)


async def test_adapters_are_merged_into_the_result_and_it_is_told(base, workspace):
    recipe = Recipe(method="token_classification", epochs=1, batch_size=8, learning_rate=2e-2, lora=Lora(rank=4))
    told = await news(base, workspace, CheckTraining(recipe=recipe))
    assert "merged" in notes(told)
    estimate = next(each for each in told if isinstance(each, TrainingEstimate))
    assert 0 < estimate.trained_parameters < estimate.parameters
    await news(base, workspace, Train(recipe=estimate.recipe))
    assert not (workspace / "result/adapter_model.safetensors").exists()
    await check_parity(workspace)


async def test_what_was_learnt_in_bf16_is_answered_in_fp32_as_it_is_served(base, tmp_path):
    workspace = write_rows(tmp_path / "one", rows(32))
    await news(base, workspace, Train(recipe=msgspec.structs.replace(RECIPE, epochs=1, precision="bf16")))
    await check_parity(workspace, allowed=1e-5)


async def test_a_check_shows_words_with_labels(base, workspace):
    *_, estimate, _ = await news(base, workspace, CheckTraining(recipe=Recipe(method="token_classification")))
    assert estimate.recipe.precision in {"fp32", "bf16"}
    first = rows(1)[0]["tokens"]
    assert [pair.split("/")[0] for pair in estimate.sample.split()][:3] == first[:3]


async def test_texts_without_spaces_and_byte_pairs_are_aligned(tmp_path):
    gpt2(tmp_path)
    made = [
        {"tokens": [*"我在北京住"], "labels": ["O", "O", "B-LOC", "I-LOC", "O"]},
        {"tokens": ["in", "paris", "."], "labels": ["O", "B-LOC", "O"]},
    ]
    workspace = write_rows(tmp_path / "one", made * 8, made)
    recipe = Recipe(method="token_classification", epochs=8, batch_size=4, accumulation=1, learning_rate=1e-2, precision="fp32")
    told = await news(tmp_path, workspace, Train(recipe=recipe))
    assert judged(told)[-1]["f1"] == 1.0
    samples = await check_parity(workspace)
    assert samples[0].request.texts == ("我在北京住",)


@pytest.mark.parametrize(
    ("made", "validation", "message"),
    [
        ([{"tokens": ["a", "b"], "labels": ["O", "O"]}], [], "nothing to tell apart"),
        (rows(4), [{"tokens": ["a"], "labels": ["B-XYZ"]}], "Line 1 of the validation rows: the label 'B-XYZ'"),
        ([*rows(4), {"tokens": ["\u200b"], "labels": ["B-LOC"]}], [], "Line 5: the base's tokenizer finds nothing to read"),
    ],
)
async def test_rows_that_cannot_be_learnt_from_are_told(base, tmp_path, made, validation, message):
    workspace = write_rows(tmp_path / "one", made, validation)
    with pytest.raises(InvalidRequest, match=message):
        await news(base, workspace, CheckTraining(recipe=Recipe(method="token_classification")))
