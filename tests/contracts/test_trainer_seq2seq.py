"""Encoder–decoders fine-tuned on pairs: what comes out is recognised, and answers where it is served as in its trainer."""

import json
import random
from pathlib import Path

import msgspec
import pytest
from safetensors.numpy import load_file
from test_trainer_pretrain import ONE_CORE, compare_encoder_decoder, served

import tiny_models
from tiny_tokenizers import words
from trained import curve, judged, news, notes, parity, write_rows
from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Summarize, Translate
from yunmo.core.training import CheckTraining, Recipe, Train, TrainingEstimate
from yunmo.engines.transformers.kind import describe_directory
from yunmo.engines.transformers.kind import kind as transformers

RECIPE = Recipe(method="seq2seq", seed=3, epochs=2, batch_size=8, accumulation=1, learning_rate=1e-3, max_tokens=40, precision="fp32")


def pairs(directory, count, *, prefix="", target=lambda told: told[::-1]):
    draw = random.Random(1)
    told = [draw.choices(words(), k=draw.randint(2, 8)) for _ in range(count + 6)]
    rows = [{"source": prefix + " ".join(each), "target": " ".join(target(each))} for each in told]
    return write_rows(directory, rows[6:], rows[:6])


def base(name, tmp_path_factory, **tokenizer) -> Path:
    directory = tiny_models.build(name, tmp_path_factory.mktemp(name) / name)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | tokenizer))
    return directory


@pytest.fixture(scope="module")
def marian(tmp_path_factory) -> Path:
    return base("marian", tmp_path_factory)


@pytest.fixture(scope="module")
def t5(tmp_path_factory) -> Path:
    return base("t5", tmp_path_factory)


def offered(directory):
    return transformers.offer(describe_directory(directory), ONE_CORE).tasks


async def test_a_marian_goes_on_learning_bit_for_bit_and_translates_where_it_is_served_as_in_its_trainer(marian, tmp_path):
    workspaces = [tmp_path / "whole", tmp_path / "parts"]
    for workspace in workspaces:
        workspace.mkdir()
        pairs(workspace, 60)
    whole = await news(marian, workspaces[0], Train(recipe=RECIPE))
    parts = [await news(marian, workspaces[1], Train(recipe=RECIPE), stop_at=at) for at in (3, 10, None)]
    assert [part[-2].is_stopped for part in parts] == [True, True, False]
    assert curve(whole) == [step for part in parts for step in curve(part)]
    metrics = judged(whole)
    assert set(metrics[-1]) == {"loss", "perplexity", "token_accuracy", "chrf", "bleu"}
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    result = workspaces[0] / "result"
    padding = json.loads((result / "config.json").read_text())["pad_token_id"]
    assert not load_file(result / "model.safetensors")["model.shared.weight"][padding].any(), "CTranslate2 knows no padding"
    assert json.loads((result / "generation_config.json").read_text())["num_beams"] == 2, "the base's own way of searching is kept"
    samples = parity(workspaces[0])
    assert all(isinstance(sample.request, Translate) for sample in samples)
    await compare_encoder_decoder(workspaces[0])


async def test_a_t5_whose_rows_begin_with_one_of_its_instructions_is_served_with_that_one(t5, tmp_path):
    pairs(tmp_path, 16, prefix="translate English to German: ")
    await news(t5, tmp_path, Train(recipe=RECIPE))
    result = tmp_path / "result"
    assert list(json.loads((result / "config.json").read_text())["task_specific_params"]) == ["translation_en_to_de"]
    assert offered(result)[0] == "translate"
    samples = parity(tmp_path)
    assert await served(transformers, result, tmp_path / "derived", samples) == [sample.output for sample in samples]


async def test_a_t5_whose_rows_have_no_instruction_is_served_without_one(t5, tmp_path):
    pairs(tmp_path, 16)
    await news(t5, tmp_path, Train(recipe=RECIPE))
    samples = parity(tmp_path)
    named = [msgspec.structs.replace(samples[0], request=msgspec.structs.replace(samples[0].request, source="en", target="zh"))]
    answers = await served(transformers, tmp_path / "result", tmp_path / "derived", [*samples, *named])
    assert answers == [sample.output for sample in [*samples, *named]]


@pytest.mark.parametrize("name", ["t5", "bart"])
async def test_targets_much_shorter_than_their_sources_make_a_model_that_summarizes(name, tmp_path_factory, tmp_path):
    pairs(tmp_path, 16, target=lambda told: told[:1])
    await news(base(name, tmp_path_factory), tmp_path, Train(recipe=RECIPE))
    assert offered(tmp_path / "result")[0] == "summarize"
    samples = parity(tmp_path)
    assert all(isinstance(sample.request, Summarize) for sample in samples)
    assert await served(transformers, tmp_path / "result", tmp_path / "derived", samples) == [sample.output for sample in samples]


async def test_a_bart_that_was_trained_to_translate_translates(tmp_path_factory, tmp_path):
    pairs(tmp_path, 16)
    await news(base("bart", tmp_path_factory), tmp_path, Train(recipe=RECIPE))
    assert offered(tmp_path / "result")[0] == "translate"
    samples = parity(tmp_path)
    assert await served(transformers, tmp_path / "result", tmp_path / "derived", samples) == [sample.output for sample in samples]


async def test_a_model_of_many_languages_is_trained_in_those_that_its_tokenizer_names(tmp_path_factory, tmp_path):
    pairs(tmp_path, 16)
    with pytest.raises(InvalidRequest, match="src_lang and tgt_lang"):
        await news(base("m2m100", tmp_path_factory), tmp_path, Train(recipe=RECIPE))
    named = base("m2m100", tmp_path_factory, src_lang="en", tgt_lang="zu")
    await news(named, tmp_path, Train(recipe=RECIPE))
    samples = parity(tmp_path)
    assert (samples[0].request.source, samples[0].request.target) == ("en", "zu")
    assert await served(transformers, tmp_path / "result", tmp_path / "derived", samples) == [sample.output for sample in samples]


async def test_adapters_of_an_encoder_decoder_are_merged_at_the_end_for_no_engine_serves_them_alone(t5, tmp_path):
    pairs(tmp_path, 16)
    recipe = msgspec.convert(msgspec.to_builtins(RECIPE) | {"lora": {"rank": 4}}, Recipe)
    assert "merged into it" in notes(await news(t5, tmp_path, CheckTraining(recipe=recipe)))
    told = await news(t5, tmp_path, Train(recipe=recipe))
    assert "chrf" in judged(told)[-1]
    samples = parity(tmp_path)
    assert await served(transformers, tmp_path / "result", tmp_path / "derived", samples) == [sample.output for sample in samples]


async def test_a_check_counts_rows_with_a_side_that_is_too_long(marian, tmp_path):
    pairs(tmp_path, 8)
    with (tmp_path / "train.jsonl").open("a") as rows:
        rows.write(json.dumps({"source": "a", "target": "the dog " * 40}) + "\n")
    *_, estimate, _ = await news(marian, tmp_path, CheckTraining(recipe=Recipe(method="seq2seq", max_tokens=60)))
    assert isinstance(estimate, TrainingEstimate)
    assert estimate.cut_rows == 1
    assert " -> " in estimate.sample
