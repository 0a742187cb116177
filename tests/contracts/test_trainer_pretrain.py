"""Pre-training from nothing: tiny models learn toy languages in seconds, and answer where they are served as in their trainer."""

import asyncio
import dataclasses
import random
from pathlib import Path

import msgspec
import pytest
import torch
from engine_contract import answer

from trained import curve, judged, news, parity, write_rows
from yunmo.core.engine import Hardware
from yunmo.core.errors import InvalidRequest
from yunmo.core.training import CheckTraining, Recipe, Train, TrainingEstimate
from yunmo.engines.ctranslate2.convert import convert
from yunmo.engines.ctranslate2.converted import FOLDER
from yunmo.engines.ctranslate2.kind import kind as ctranslate2
from yunmo.engines.llama_cpp.kind import kind as llama_cpp
from yunmo.engines.onnx.kind import kind as onnx
from yunmo.engines.trainer.learner import method_of
from yunmo.engines.trainer.loop import train
from yunmo.engines.trainer.workspace import Workspace
from yunmo.engines.transformers.kind import describe_directory
from yunmo.engines.transformers.kind import kind as transformers

ONE_CORE = Hardware(cores=1, memory_bytes=8 << 30)
LINES = (
    "the cat sits on a mat and looks at every star",
    "some small dog runs to our river this morning",
    "云在天上走，鱼在水里游",
    "tea with rice waits until seven",
)
DICTIONARY = {
    "cat": "猫", "dog": "狗", "sun": "太阳", "moon": "月亮", "red": "红", "big": "大", "tea": "茶", "fish": "鱼", "book": "书", "rain": "雨",
    "house": "房子", "water": "水", "good": "好", "friend": "朋友", "night": "夜晚", "snow": "雪",
}  # fmt: skip


def recipe(objective, family=None, tokenizer=None, **more):
    wish = {"objective": objective}
    if family:
        wish["architecture"] = {"family": family, "hidden": 64, "layers": 1, "heads": 4, "positions": 64}
        wish["tokenizer"] = tokenizer
    given = {"method": "pretrain", "seed": 5, "precision": "fp32", "accumulation": 1, "batch_size": 32, "epochs": 1, "learning_rate": 5e-3}
    return msgspec.convert(given | more | {"pretraining": wish}, Recipe)


def plain(directory, count, validation=16):
    """The lines again and again."""
    rows = [{"text": LINES[number % len(LINES)]} for number in range(count)]
    return write_rows(directory, rows, rows[:validation])


def paired(directory, count, validation=24):
    """Words and their translations, one or two at a time."""
    draw = random.Random(1)

    def pair():
        words = draw.choices(list(DICTIONARY), k=draw.randint(1, 2))
        return {"source": " ".join(words), "target": "".join(DICTIONARY[word] for word in words)}

    return write_rows(directory, [pair() for _ in range(count)], [pair() for _ in range(validation)])


@pytest.fixture
def nothing(tmp_path_factory) -> Path:
    """The base of a model that begins with nothing."""
    return tmp_path_factory.mktemp("nothing")


async def served(kind, directory, derived, samples):
    """The served model's answers to the requests of the samples."""
    offer = kind.offer(describe_directory(directory), ONE_CORE)
    assert (offer.problem, offer.missing) == (None, None)
    engine = await asyncio.to_thread(kind.load, directory, derived, offer.plan, lambda *_: None)
    try:
        return [(await answer(engine, sample.request))[0] for sample in samples]
    finally:
        closing = engine.close()
        if closing is not None:
            await closing


async def test_a_decoder_learns_a_corpus_and_goes_on_where_it_is_served_as_in_its_trainer(nothing, tmp_path):
    plain(tmp_path, 2400)
    wish = recipe("causal", "llama", {"kind": "bpe", "size": 320}, max_tokens=32, batch_size=16)
    told = await news(nothing, tmp_path, Train(recipe=wish))
    (metrics,) = judged(told)
    assert metrics["perplexity"] < 1.5
    assert metrics["token_accuracy"] > 0.9
    assert metrics["bits_per_character"] < 0.5
    samples = parity(tmp_path)
    assert len(samples) == 16
    assert {sample.request.prompt + sample.output.choices[0].text for sample in samples} == set(LINES)
    assert all(sample.token_ids for sample in samples)
    for kind in (transformers, llama_cpp):
        assert await served(kind, tmp_path / "result", tmp_path / kind.name, samples) == [sample.output for sample in samples], kind.name


async def test_an_encoder_learns_to_fill_masks_and_fills_them_alike_where_it_is_served(nothing, tmp_path):
    plain(tmp_path, 1200)
    told = await news(nothing, tmp_path, Train(recipe=recipe("masked", "bert", {"kind": "wordpiece", "size": 100}, epochs=3)))
    metrics = judged(told)
    assert metrics[-1]["token_accuracy"] > 0.9
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    samples = parity(tmp_path)
    for kind in (transformers, onnx):
        answers = await served(kind, tmp_path / "result", tmp_path / kind.name, samples)
        for sample, found in zip(samples, answers, strict=True):
            ours, theirs = sample.output.rows[0], found.rows[0]
            assert [each.token for each in ours[:1]] == [each.token for each in theirs[:1]]
            assert [each.score for each in ours] == pytest.approx([each.score for each in theirs], abs=1e-4)
            assert (ours[0].sequence, ours[0].token_text) == (theirs[0].sequence, theirs[0].token_text)


async def test_an_encoder_decoder_learns_to_translate_and_translates_alike_where_it_is_served(nothing, tmp_path):
    paired(tmp_path, 11_000)
    told = await news(nothing, tmp_path, Train(recipe=recipe("parallel", "marian", {"kind": "unigram", "size": 64}, learning_rate=4e-3)))
    (metrics,) = judged(told)
    assert metrics["chrf"] > 90
    assert {"loss", "perplexity", "token_accuracy", "chrf", "bleu"} == set(metrics)
    await compare_encoder_decoder(tmp_path)


async def test_a_t5_that_was_trained_on_pairs_is_asked_for_translations_without_naming_languages(nothing, tmp_path):
    paired(tmp_path, 800)
    await news(nothing, tmp_path, Train(recipe=recipe("parallel", "t5", {"kind": "unigram", "size": 160})))
    await compare_encoder_decoder(tmp_path)


async def compare_encoder_decoder(workspace):
    """Both engines of encoder–decoders answer the parity samples as the trainer did."""
    samples = parity(workspace)
    assert len({msgspec.json.encode(sample.output) for sample in samples}) > 1
    derived = workspace / "ctranslate2"
    (derived / FOLDER).mkdir(parents=True)
    convert(workspace / "result", derived / FOLDER)
    for kind in (transformers, ctranslate2):
        assert await served(kind, workspace / "result", workspace / kind.name, samples) == [each.output for each in samples], kind.name


async def test_what_denoising_teaches_is_served_as_it_was_learnt(nothing, tmp_path):
    plain(tmp_path, 800)
    told = await news(nothing, tmp_path, Train(recipe=recipe("denoising", "t5", {"kind": "bpe", "size": 420}, max_tokens=24)))
    assert judged(told)[-1]["token_accuracy"] > 0.3
    samples = parity(tmp_path)
    assert all("<extra_id_0>" in sample.request.prompt for sample in samples)
    await compare_encoder_decoder(tmp_path)


@pytest.mark.parametrize(
    ("objective", "family", "tokenizer"),
    [
        ("masked", "bert", {"kind": "wordpiece", "size": 100}),
        ("causal", "gpt2", {"kind": "bpe", "size": 280}),
        ("denoising", "t5", {"kind": "bpe", "size": 420}),
        ("parallel", "marian", {"kind": "bpe", "size": 270}),
    ],
)
async def test_one_that_was_stopped_in_the_middle_of_two_epochs_goes_on_bit_for_bit(objective, family, tokenizer, nothing, tmp_path):
    workspaces = [tmp_path / "whole", tmp_path / "parts"]
    for workspace in workspaces:
        workspace.mkdir()
        (paired if objective == "parallel" else plain)(workspace, 90, 4)
    wish = recipe(objective, family, tokenizer, max_tokens=16, batch_size=8, epochs=3)
    whole = await news(nothing, workspaces[0], Train(recipe=wish))
    steps = curve(whole)[-1][0]
    stops = (steps // 6, steps // 2 + 1, None)
    parts = [await news(nothing, workspaces[1], Train(recipe=wish), stop_at=at) for at in stops]
    assert [part[-2].is_stopped for part in parts] == [True, True, False]
    assert curve(whole) == [step for part in parts for step in curve(part)]
    one, other = (workspace / "result" for workspace in workspaces)
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert (one / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()
    assert judged(whole) == [each for part in parts for each in judged(part)]


async def test_what_is_hidden_differs_from_epoch_to_epoch(nothing, tmp_path):
    plain(tmp_path, 32, 0)
    wish = recipe("masked", "bert", {"kind": "wordpiece", "size": 100}, epochs=2)
    learner, seen = method_of(wish).prepare(nothing, Workspace(tmp_path), wish), []
    collate = learner.collate

    def watched(examples):
        batch = collate(examples)
        seen.append({int(each["draw"][1]): ids for each, ids in zip(examples, batch["input_ids"], strict=True)})
        return batch

    train(dataclasses.replace(learner, collate=watched), Workspace(tmp_path), wish, lambda _: None, lambda: False)
    first, second = seen
    assert first.keys() == second.keys()
    assert any(not torch.equal(first[row], second[row]) for row in first)


async def test_a_base_goes_on_learning_by_the_objective_of_its_kind(nothing, tmp_path, tmp_path_factory):
    plain(tmp_path, 64)
    await news(nothing, tmp_path, Train(recipe=recipe("causal", "gpt2", {"kind": "bpe", "size": 280}, max_tokens=32)))
    workspace = plain(tmp_path_factory.mktemp("more"), 64)
    told = await news(tmp_path / "result", workspace, Train(recipe=recipe("causal", max_tokens=32, epochs=2)))
    before, after = judged(told)
    assert after["loss"] < before["loss"]
    assert (workspace / "result/tokenizer.json").read_bytes() == (tmp_path / "result/tokenizer.json").read_bytes()


async def test_a_decoder_of_few_positions_is_asked_for_no_more_than_it_has(nothing, tmp_path):
    plain(tmp_path, 64)
    wish = recipe("causal", "gpt2", {"kind": "bpe", "size": 280})
    few = msgspec.structs.replace(wish.pretraining.architecture, positions=12)
    wish = msgspec.structs.replace(wish, pretraining=msgspec.structs.replace(wish.pretraining, architecture=few))
    await news(nothing, tmp_path, Train(recipe=wish))
    samples = parity(tmp_path)
    assert await served(transformers, tmp_path / "result", tmp_path / "derived", samples) == [sample.output for sample in samples]


async def test_a_check_of_a_model_that_begins_with_nothing_tells_its_size(nothing, tmp_path):
    plain(tmp_path, 200)
    wish = msgspec.structs.replace(recipe("causal", "llama", {"kind": "bpe", "size": 320}), batch_size=None, learning_rate=None)
    *_, estimate, _ = await news(nothing, tmp_path, CheckTraining(recipe=wish))
    assert isinstance(estimate, TrainingEstimate)
    assert estimate.parameters == 320 * 64 + 64 * 64 * 4 + 3 * 64 * 192 + 3 * 64
    assert (estimate.recipe.learning_rate, estimate.recipe.batch_size, estimate.cut_rows) == (5e-4, 32, 0)
    assert " -> " in estimate.sample


BERT = {"family": "bert", "hidden": 64, "heads": 4}
WORDS = {"kind": "wordpiece", "size": 100}


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"pretraining": None}, "pretraining", "needs its objective"),
        ({"pretraining": {"objective": "causal", "architecture": BERT}}, "pretraining.architecture.family", "only llama and gpt2"),
        ({"pretraining": {"objective": "denoising", "architecture": BERT | {"family": "marian"}}}, "pretraining.architecture.family", "t5"),
        (
            {"pretraining": {"objective": "masked", "architecture": BERT | {"heads": 5}, "tokenizer": WORDS}},
            "pretraining.architecture.heads",
            "5",
        ),
        ({"pretraining": {"objective": "masked", "tokenizer": WORDS}}, "pretraining.tokenizer", "new architecture"),
        ({"pretraining": {"objective": "masked", "architecture": BERT}}, "pretraining.tokenizer", "have one trained"),
        (
            {"pretraining": {"objective": "masked", "architecture": BERT, "tokenizer": WORDS | {"size": 5000}}},
            "pretraining.tokenizer.size",
            "too few pieces for a vocabulary of 5000: ask for at most",
        ),
        ({"pretraining": {"objective": "masked", "architecture": BERT, "tokenizer": WORDS}, "lora": {}}, "lora", "no base"),
        ({"pretraining": {"objective": "masked", "architecture": BERT, "tokenizer": WORDS}, "max_tokens": 600}, "max_tokens", "512"),
        ({"pretraining": {"objective": "causal"}}, "model", "no tokenizer"),
    ],
)
async def test_what_cannot_be_trained_is_refused_with_the_field(change, param, said, nothing, tmp_path):
    plain(tmp_path, 40)
    with pytest.raises(InvalidRequest, match=said) as refused:
        await news(nothing, tmp_path, CheckTraining(recipe=msgspec.convert({"method": "pretrain"} | change, Recipe)))
    assert refused.value.param == param
