"""Decoders that learn from conversations and preferences: real steps on tiny models, and what is left is served by the engines."""

import asyncio
import json
import shutil

import msgspec
import pytest
import torch
from test_llama_cpp_conversion import answer, converted, plan
from transformers import AutoModelForCausalLM

import tiny_decoders
from trained import curve, news
from yunmo.core.engine import Adapter, Plan
from yunmo.core.errors import InvalidRequest
from yunmo.core.lora import read_lora
from yunmo.core.tasks import Chat, Generate
from yunmo.core.training import (
    CheckTraining,
    Lora,
    ParitySample,
    Recipe,
    Train,
    TrainingEstimate,
    TrainingEvaluation,
    TrainingNote,
    TrainingStep,
)
from yunmo.engines.llama_cpp.kind import kind as llama_cpp
from yunmo.engines.trainer.learner import method_of
from yunmo.engines.trainer.workspace import Workspace
from yunmo.engines.transformers.kind import kind as transformers_kind

WHOLE = {"seed": 3, "batch_size": 8, "accumulation": 1, "learning_rate": 3e-3, "precision": "fp32", "warmup": 0.0}
LORA = Lora(rank=8, alpha=16.0)
QUESTIONS = ("paris", "berlin", "the cat", "the fox", "the sun", "my dog", "the house", "a red car")
ANSWERS = ("france", "germany", "sleep in the sun", "jumps", "wonderful", "likes fish", "is wonderful", "on the street")


def conversation(question, said, **more):
    return {"messages": [{"role": "user", "content": f"what is {question}"}, {"role": "assistant", "content": said, **more}]}


def preference(question, better, worse):
    said = [[{"role": "assistant", "content": each}] for each in (better, worse)]
    return {
        "input": {"messages": [{"role": "user", "content": f"what is {question}"}]},
        "preferred_output": said[0],
        "non_preferred_output": said[1],
    }


CONVERSATIONS = [conversation(*pair) for pair in zip(QUESTIONS, ANSWERS, strict=True)]
PREFERENCES = [preference(*each) for each in zip(QUESTIONS, ANSWERS, reversed(ANSWERS), strict=True)]
PREFERRED = ("preferred", "non_preferred")
ROWS = {"supervised": CONVERSATIONS, "dpo": PREFERENCES}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return lambda name: root / name if (root / name).exists() else tiny_decoders.build(name, root / name, initializer_range=0.1)


@pytest.fixture
def base(bases):
    return bases("llama")


def templated(base, change):
    """Change the base's chat template; without one where the change is None."""
    settings = json.loads((base / "tokenizer_config.json").read_text())
    settings["chat_template"] = change(settings["chat_template"])
    (base / "tokenizer_config.json").write_text(json.dumps(settings))


def write(directory, rows, validation=()):
    directory.mkdir(exist_ok=True)
    for name, some in (("train", rows), ("validation", validation)):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return directory


def recipe(method, **more):
    return Recipe(method=method, **(WHOLE | more))


def samples(workspace):
    return [msgspec.json.decode(line, type=ParitySample) for line in (workspace / "parity.jsonl").read_bytes().splitlines()]


def metrics(told):
    return [each.metrics for each in told if isinstance(each, TrainingEvaluation)]


async def test_eight_conversations_are_learnt_until_the_model_says_them(base, tmp_path):
    workspace = write(tmp_path, CONVERSATIONS * 30, CONVERSATIONS)
    told = await news(base, workspace, Train(recipe=recipe("supervised", epochs=4)))
    steps = [each for each in told if isinstance(each, TrainingStep)]
    assert steps[-1].loss < 0.1 < steps[0].loss
    assert steps[0].token_accuracy < 0.5 < steps[-1].token_accuracy
    assert metrics(told)[-1]["token_accuracy"] == 1.0
    assert [sample.output.choices[0].text for sample in samples(workspace)] == [*ANSWERS, *ANSWERS]
    assert all(sample.output.choices[0].finish_reason == "stop" for sample in samples(workspace))


@pytest.mark.parametrize("more", [{}, {"lora": LORA, "learning_rate": 1e-2}, {"precision": "bf16"}], ids=["whole", "lora", "bf16"])
async def test_a_preferred_answer_is_rewarded_more_and_more(base, tmp_path, more):
    workspace = write(tmp_path, PREFERENCES, PREFERENCES)
    told = await news(base, workspace, Train(recipe=recipe("dpo", **({"epochs": 4, "learning_rate": 1e-3} | more))))
    steps = [each for each in told if isinstance(each, TrainingStep)]
    assert steps[0].loss == pytest.approx(0.6931, abs=1e-4), "before anything is learnt both are as likely as in the base"
    judged = metrics(told)
    assert set(judged[0]) == {"loss", "preference_accuracy", "reward_margin"}
    assert [each["reward_margin"] for each in judged] == sorted(each["reward_margin"] for each in judged)
    assert judged[-1]["preference_accuracy"] == 1.0


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
def test_the_loss_of_a_preference_is_the_papers(base, tmp_path, lora):
    asked = recipe("dpo", lora=lora, beta=0.3)
    learner = method_of(asked).prepare(base, Workspace(write(tmp_path, PREFERENCES)), asked)
    with torch.no_grad():
        torch.manual_seed(0)
        for parameter in learner.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.03)

    def log_probability(model, example):
        ids, labels = example["input_ids"], example["labels"]
        logs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        return sum(logs[place - 1, label] for place, label in enumerate(labels) if label != -100)

    before = AutoModelForCausalLM.from_pretrained(base)
    losses = []
    with torch.no_grad():
        for example in learner.examples:
            ratios = [log_probability(learner.model, example[side]) - log_probability(before, example[side]) for side in PREFERRED]
            losses.append(-torch.nn.functional.logsigmoid(0.3 * (ratios[0] - ratios[1])))
        found = learner.forward(learner.model, learner.collate(learner.examples))
    assert float(found.loss) == pytest.approx(float(sum(losses) / len(losses)), abs=1e-4)
    assert float(found.loss) != pytest.approx(0.6931, abs=1e-3)


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("method", ["supervised", "dpo"])
async def test_a_training_that_stopped_within_an_epoch_goes_on_bit_for_bit(base, tmp_path, method, lora):
    more = {"epochs": 2, "batch_size": 4, "accumulation": 2, "lora": lora and msgspec.structs.replace(lora, dropout=0.1)}
    asked = Train(recipe=recipe(method, **more), base_name="acme/llama")
    one, other = (write(tmp_path / name, ROWS[method] * 2) for name in ("one", "other"))
    whole = await news(base, one, asked)
    parts = [await news(base, other, asked, stop_at=at) for at in (2, 5, None)]
    assert [part[-2].is_stopped for part in parts] == [True, True, False]
    assert curve(whole) == [step for part in parts for step in curve(part)]
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    assert (one / "result" / name).read_bytes() == (other / "result" / name).read_bytes()


@pytest.mark.parametrize("method", ["supervised", "dpo"])
async def test_parts_of_a_step_learn_what_the_whole_step_does(base, tmp_path, method):
    curves = []
    for accumulation in (1, 4):
        workspace = write(tmp_path / str(accumulation), ROWS[method])
        curves.append(curve(await news(base, workspace, Train(recipe=recipe(method, epochs=3, accumulation=accumulation)))))
    assert [step[1] for step in curves[0]] == pytest.approx([step[1] for step in curves[1]], rel=1e-3)


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("method", ["supervised", "dpo"])
async def test_layers_that_are_computed_twice_learn_the_same(base, tmp_path, method, lora):
    curves = []
    for recomputes in (False, True):
        workspace = write(tmp_path / str(recomputes), ROWS[method])
        asked = Train(recipe=recipe(method, epochs=2, lora=lora, recomputes=recomputes))
        curves.append(curve(await news(base, workspace, asked)))
    assert curves[0] == curves[1]
    assert curves[0][0][1] != curves[0][1][1]


def test_messages_of_weight_0_have_no_gradient(base, tmp_path):
    turns = CONVERSATIONS[0]["messages"]

    def gradients(first):
        rows = [{"messages": [turns[0], {**turns[1], "content": first, "weight": 0}, *CONVERSATIONS[1]["messages"]]}]
        learner = method_of(recipe("supervised")).prepare(base, Workspace(write(tmp_path, rows)), recipe("supervised"))
        batch = learner.collate(learner.examples)
        logits = learner.model(**{**batch, "labels": None}).logits
        logits.retain_grad()
        wanted = batch["labels"][:, 1:].flatten()
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), wanted, ignore_index=-100).backward()
        return logits.grad[0].abs().sum(-1), batch["labels"][0]

    gradient, labels = gradients("france")
    learnt = [place - 1 for place, label in enumerate(labels.tolist()) if label != -100]
    assert gradient.nonzero()[:, 0].tolist() == learnt
    assert learnt[0] > len(labels) // 2


FAMILIES = {"llama": "", "qwen2": "", "qwen3": "", "mistral": "<s>", "gemma3": "<bos>"}


@pytest.mark.parametrize("name", FAMILIES)
async def test_what_was_learnt_is_said_by_llama_cpp_and_transformers_as_by_the_trainer(bases, tmp_path, name):
    base = shutil.copytree(bases(name), tmp_path / "base")
    templated(base, lambda template: FAMILIES[name] + template)
    workspace = write(tmp_path, CONVERSATIONS * 30)
    await news(base, workspace, Train(recipe=recipe("supervised", epochs=4)))
    result = workspace / "result"
    converted(result, tmp_path / "derived", "F32")
    engines = [
        llama_cpp.load(result, tmp_path / "derived", plan(), lambda *_: None),
        transformers_kind.load(result, tmp_path, Plan(engine="transformers", threads=1), lambda *_: None),
    ]
    try:
        for sample in samples(workspace)[:8]:
            for engine in engines:
                output, usage = await asyncio.to_thread(answer, engine, sample.request)
                # transformers tells the space that sentence pieces begin with
                assert output.choices[0].text.strip() == sample.output.choices[0].text.strip()
                assert usage.input_tokens == len(sample.token_ids)
    finally:
        for engine in engines:
            await engine.close()


async def test_adapters_are_served_on_their_base_and_say_what_the_trainer_said(base, tmp_path):
    workspace = write(tmp_path / "work", CONVERSATIONS * 60)
    asked = Train(recipe=recipe("supervised", epochs=2, lora=LORA, learning_rate=1e-2), base_name="acme/llama@" + "a" * 40)
    await news(base, workspace, asked)
    result = workspace / "result"
    config = json.loads((result / "adapter_config.json").read_text())
    lora = read_lora(config)
    assert (lora.base, lora.revision, lora.alpha) == ("acme/llama", "a" * 40, 16.0)
    assert str(base) not in "".join(path.read_text(errors="replace") for path in result.glob("*.*"))
    assert not (result / "config.json").exists()
    derived = tmp_path / "derived"
    converted(base, derived, "F32")
    engine = llama_cpp.load_adapted(base, derived, plan(), lambda *_: None, [Adapter("mine", str(result))])
    try:
        for sample in samples(workspace):
            output, _ = await asyncio.to_thread(answer, engine, msgspec.structs.replace(sample.request, adapter="mine"))
            assert output.choices[0].text == sample.output.choices[0].text
        assert {sample.output.choices[0].text for sample in samples(workspace)} >= set(ANSWERS[:4])
    finally:
        await engine.close()


async def test_merged_adapters_are_a_whole_model_that_says_the_same(base, tmp_path):
    workspace = write(tmp_path, CONVERSATIONS * 60)
    merged = msgspec.structs.replace(LORA, merge=True)
    await news(base, workspace, Train(recipe=recipe("supervised", epochs=2, lora=merged, learning_rate=1e-2), base_name="acme/llama"))
    result = workspace / "result"
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in result.iterdir()}
    model = AutoModelForCausalLM.from_pretrained(result)
    for sample in samples(workspace)[:3]:
        ids = model.generate(torch.tensor([sample.token_ids]), max_new_tokens=1, do_sample=False)[0, -1]
        assert sample.output.choices[0].text.startswith(_tokenizer(result).decode(ids).strip() or " ")


def _tokenizer(directory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory)


async def test_a_base_without_a_template_leaves_one_with_which_it_chats(tmp_path):
    base = tiny_decoders.build("llama-biased", tmp_path / "base", initializer_range=0.1)
    templated(base, lambda _: None)
    workspace = write(tmp_path / "work", CONVERSATIONS * 30)
    told = await news(base, workspace, CheckTraining(recipe=recipe("supervised", epochs=1)))
    assert any("no chat template" in each.message for each in told if isinstance(each, TrainingNote))
    await news(base, workspace, Train(recipe=recipe("supervised", epochs=4)))
    engine = transformers_kind.load(workspace / "result", tmp_path, Plan(engine="transformers", threads=1), lambda *_: None)
    try:
        assert {"chat", "generate"} <= set(engine.tasks)
        for sample, said in zip(samples(workspace), ANSWERS * 2, strict=True):
            output, _ = await asyncio.to_thread(answer, engine, sample.request)
            assert output.choices[0].text == sample.output.choices[0].text == said
    finally:
        await engine.close()


async def test_an_end_of_turn_that_the_base_does_not_stop_at_becomes_one(tmp_path):
    base = tiny_decoders.build("llama", tmp_path / "base", initializer_range=0.1)
    templated(base, lambda template: template.replace("eos_token", "'<|im|>'"))
    workspace = write(tmp_path / "work", CONVERSATIONS)
    await news(base, workspace, Train(recipe=recipe("supervised", epochs=1)))
    assert json.loads((workspace / "result/generation_config.json").read_text())["eos_token_id"] == [1, 3]
    told = await news(base, workspace, CheckTraining(recipe=Recipe(method="supervised", lora=LORA)))
    assert any("with <|im|>, and the base does not stop there" in each.message for each in told if isinstance(each, TrainingNote))


@pytest.mark.parametrize("method", ["supervised", "dpo"])
async def test_a_check_tells_of_rows_that_are_cut_or_left_out_and_answers_once(base, tmp_path, method):
    long = " ".join(["wonderful"] * 60)
    rows = {"supervised": [conversation("paris", long), conversation(long, "france")]}
    rows["dpo"] = [preference("paris", long, "france"), preference(long, "france", "germany")]
    workspace = write(tmp_path, [*ROWS[method], *rows[method]])
    told = await news(base, workspace, CheckTraining(recipe=Recipe(method=method, max_tokens=32)))
    notes = [each.message for each in told if isinstance(each, TrainingNote)]
    assert any("2 rows are longer than 32 tokens" in note for note in notes)
    assert any("1 rows" in note and "left out" in note for note in notes)
    estimate = told[-2]
    assert isinstance(estimate, TrainingEstimate)
    assert (estimate.rows, estimate.cut_rows) == (9, 2)
    assert estimate.sample.startswith("what is paris -> ")


async def test_a_row_that_the_template_refuses_is_told_with_its_line(tmp_path):
    base = tiny_decoders.build("llama", tmp_path / "base")
    templated(base, lambda template: template + "{% if 'fox' in messages[0].content %}{{ raise_exception('no foxes') }}{% endif %}")
    for method, rows in ROWS.items():
        with pytest.raises(InvalidRequest, match=r"^Line 4: The model's chat template refuses.*no foxes"):
            await news(base, write(tmp_path / method, rows), Train(recipe=recipe(method, epochs=1)))


async def test_adapters_that_no_engine_would_serve_are_told_at_the_check(base, tmp_path):
    import tiny_models

    workspace = write(tmp_path / "work", CONVERSATIONS)
    for directory, expected in ((base, []), (tiny_models.build("gpt2", tmp_path / "gpt2"), ["fan_in_fan_out"])):
        told = await news(directory, workspace, CheckTraining(recipe=Recipe(method="supervised", lora=LORA)))
        notes = [each.message for each in told if isinstance(each, TrainingNote) and "on their base" in each.message]
        assert len(notes) == len(expected)
        assert all(word in note for word, note in zip(expected, notes, strict=True))


@pytest.mark.parametrize("name", ["embed", "fill-mask", "t5", "bart"])
async def test_a_base_that_is_no_decoder_is_refused(tmp_path, name):
    import tiny_models

    base = tiny_models.build(name, tmp_path / "base")
    with pytest.raises(InvalidRequest, match="decoder"):
        await news(base, write(tmp_path / "work", CONVERSATIONS), CheckTraining(recipe=Recipe(method="supervised")))


def test_the_prompts_that_are_compared_are_chats_at_temperature_0(base, tmp_path):
    learner = method_of(recipe("dpo")).prepare(base, Workspace(write(tmp_path, PREFERENCES * 3)), recipe("dpo"))
    asked = learner.parity()
    assert len(asked) == 16
    assert all(isinstance(each.request, Chat) and not isinstance(each.request, Generate) for each in asked)
    assert {(each.request.sampling.temperature, each.request.sampling.max_tokens) for each in asked} == {(0.0, 24)}
