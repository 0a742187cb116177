"""Training: an encoder against transformers' Trainer as it comes, what the platform costs, and what people who wait notice of it.

all-MiniLM-L6-v2 learns film reviews of one to a dozen sentences for one epoch. Rounds of both trainers come by turns; "useful" tokens
are those that are no padding. Then jobs of the platform do the same as the bare loop, step for step, by turns, and single texts come at
random moments (Poisson) to another MiniLM, before a training and beside it.

    python bench/training.py [--rows 2000] [--rounds 3] [--seconds 40]
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from batches import Visitors
from classification_http import mixed
from harness import keep, push_and_deploy
from sentiment import LABELS, SEED, rows, split, unseen

NAME = "bench/embedder"
RATE = 10.0


def main() -> None:
    from running import running_server
    from starter_models import minilm_directory

    warnings.simplefilter("ignore")
    options = _options()
    directory = minilm_directory()
    train, held_out = _rows(options.rows)
    bases: list[dict[str, float]] = []
    ours: list[dict[str, float]] = []
    for _ in range(options.rounds):
        bases.append(_defaults(directory, train, held_out))
        ours.append(_ours(directory, train, held_out))
    recipe = _recipe(directory, train)
    with tempfile.TemporaryDirectory() as data, running_server(Path(data)) as server:
        push_and_deploy(server, NAME, directory, pinned=True)
        visitors = Visitors(server.url, server.key, mixed(unseen(), 500))
        alone = visitors.wait(RATE, options.seconds)
        with server.client() as client:
            paces = [_paces(client, directory, train, recipe) for _ in range(options.rounds)]
            job = _submit(client, train, recipe, epochs=50)
            _wait_for_steps(client, job)
            beside = visitors.wait(RATE, options.seconds)
            client.post(f"/admin/jobs/{job}/cancel").raise_for_status()
    theirs, own = (statistics.median(each["tokens per second"] for each in rounds) for rounds in (bases, ours))
    figures = {
        "rows": len(train),
        "transformers Trainer's defaults": bases,
        "Yunmo's trainer": ours,
        "useful tokens per second, times transformers Trainer's defaults": round(own / theirs, 2),
        "accuracy, less transformers Trainer's": round(_median(ours, "accuracy") - _median(bases, "accuracy"), 4),
        "recipe": recipe,
        "seconds of the same steps on the platform": [round(platform, 2) for platform, _ in paces],
        "seconds of the same steps of the bare loop": [round(bare, 2) for _, bare in paces],
        "platform, times the bare loop": round(statistics.median(platform / bare for platform, bare in paces), 3),
        "the wait of people without a training, ms": alone,
        "their wait beside a training, ms": beside,
        "p99 beside a training, times without": round(beside["p99"] / alone["p99"], 2),
    }
    keep("training", " ".join(["python", *sys.argv]), figures, is_quick=options.quick)


def _rows(count: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    learnt, held_out = split()
    return _reviews(rows(learnt), count), _reviews(rows(held_out), count)


def _reviews(sentences: Sequence[dict[str, str]], count: int) -> list[dict[str, str]]:
    """Reviews of 6 to 110 words, log-normal around 27 as people write them: sentences of one opinion, each used once."""
    draw = random.Random(SEED)
    waiting: dict[str, list[str]] = {label: [] for label in LABELS}
    for row in sentences:
        waiting[row["label"]].append(row["text"])
    reviews: list[dict[str, str]] = []
    while len(reviews) < count and all(waiting.values()):
        label = draw.choice(LABELS)
        length = int(min(110, max(6, draw.lognormvariate(3.3, 0.8))))
        words: list[str] = []
        while len(words) < length and waiting[label]:
            words += waiting[label].pop().split()
        reviews.append({"text": " ".join(words[:length]), "label": label})
    return reviews


def _defaults(directory: Path, train: Sequence[dict[str, str]], held_out: Sequence[dict[str, str]]) -> dict[str, float]:
    """Transformers' Trainer with nothing told but where to write, as its documentation begins."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=2)
    examples = [{**tokenizer(row["text"], truncation=True, max_length=256), "labels": LABELS.index(row["label"])} for row in train]
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(out, num_train_epochs=1, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True)
        trainer = Trainer(model=model, args=arguments, train_dataset=examples, data_collator=DataCollatorWithPadding(tokenizer))
        began = time.perf_counter()
        trainer.train()
        took = time.perf_counter() - began
    model.eval()
    right = 0
    with torch.inference_mode():
        for row in held_out:
            logits = model(**tokenizer(row["text"], return_tensors="pt", truncation=True, max_length=256)).logits
            right += LABELS[int(logits.argmax())] == row["label"]
    tokens = sum(len(row["input_ids"]) for row in examples)
    return {"tokens per second": round(tokens / took, 1), "seconds": round(took, 2), "accuracy": round(right / len(held_out), 4)}


def _ours(directory: Path, train: Sequence[dict[str, str]], held_out: Sequence[dict[str, str]]) -> dict[str, float]:
    """The trainer with nothing told but the method and one epoch: the check chooses the rest."""
    from yunmo.core.training import Recipe, Train, TrainingEstimate
    from yunmo.engines.trainer import running

    with tempfile.TemporaryDirectory() as root:
        workspace = Path(root)
        for name, sentences in (("train", train), ("validation", held_out)):
            (workspace / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in sentences))
        news: list[Any] = []
        running.check(directory, workspace, Recipe(method="classification", epochs=1), news.append)
        recipe = next(each for each in news if isinstance(each, TrainingEstimate)).recipe
        news.clear()
        running.run(directory, workspace, Train(recipe=recipe), news.append, lambda: False)
    result = news[-1]
    return {
        "tokens per second": round(result.tokens / result.seconds, 1),
        "seconds": result.seconds,
        "accuracy": round(result.metrics["accuracy"], 4),
    }


def _recipe(directory: Path, train: Sequence[dict[str, str]]) -> dict[str, Any]:
    """The recipe that the check chooses, for the platform and the bare loop alike."""
    import msgspec

    from yunmo.core.training import Recipe, TrainingEstimate
    from yunmo.engines.trainer import running

    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "train.jsonl").write_text("\n".join(json.dumps(row) for row in train))
        news: list[Any] = []
        running.check(directory, Path(root), Recipe(method="classification", epochs=1), news.append)
    recipe = msgspec.to_builtins(next(each for each in news if isinstance(each, TrainingEstimate)).recipe)
    return {name: value for name, value in recipe.items() if value is not None and name not in {"method", "epochs"}}


def _paces(client: httpx.Client, directory: Path, train: Sequence[dict[str, str]], recipe: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the same steps on the platform and in the bare loop."""
    platform = _pace(_metrics(client, _submit(client, train, recipe, epochs=1)))
    return platform["seconds"], _bare_pace(directory, train, recipe, platform)


def _submit(client: httpx.Client, train: Sequence[dict[str, str]], recipe: dict[str, Any], epochs: int) -> str:
    content = "\n".join(json.dumps(row) for row in train).encode()
    file = client.post("/v1/files", files={"file": ("rows.jsonl", content)}, data={"purpose": "fine-tune"}).raise_for_status().json()
    order = {
        "base": NAME,
        "recipe": {**recipe, "method": "classification", "epochs": epochs},
        "rows": {"file": file["id"]},
        "validation_share": 0.0,
    }
    return str(client.post("/admin/trainings", json=order).raise_for_status().json()["id"])


def _metrics(client: httpx.Client, job: str) -> list[dict[str, Any]]:
    """The job's steps, as they were told, once it has ended."""
    while (view := client.get(f"/admin/jobs/{job}").raise_for_status().json())["status"] not in {"succeeded", "failed", "cancelled"}:
        time.sleep(2)
    if view["status"] != "succeeded":
        raise SystemExit(f"The training has {view['status']}: {view['error']}")
    events = client.get(f"/admin/jobs/{job}/events", params={"limit": 1000}).raise_for_status().json()["data"]
    return [event for event in events if event["type"] == "metrics" and "train_loss" in event["data"]]


def _pace(events: Sequence[dict[str, Any]]) -> dict[str, float]:
    """From the first told step to the last."""
    from datetime import datetime

    first, last = events[0], events[-1]
    seconds = (datetime.fromisoformat(last["at"]) - datetime.fromisoformat(first["at"])).total_seconds()
    return {"first": first["data"]["step"], "last": last["data"]["step"], "seconds": seconds}


def _bare_pace(directory: Path, train: Sequence[dict[str, str]], recipe: dict[str, Any], steps: dict[str, float]) -> float:
    """Seconds of the same steps in transformers' Trainer with the same rows in the same order, and nobody who is told."""
    import msgspec
    from transformers import TrainerCallback

    from yunmo.core.training import Recipe
    from yunmo.engines.trainer import loop
    from yunmo.engines.trainer.learner import method_of
    from yunmo.engines.trainer.workspace import Workspace

    ends: dict[int, float] = {}

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            ends[state.global_step] = time.perf_counter()

    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "train.jsonl").write_text("\n".join(json.dumps(row) for row in train))
        complete = msgspec.convert({**recipe, "method": "classification", "epochs": 1}, Recipe)
        learner = method_of(complete).prepare(directory, Workspace(Path(root)), complete)
        loop.build(learner, Workspace(Path(root)), complete, Clock()).train()
    return ends[int(steps["last"])] - ends[int(steps["first"])]


def _wait_for_steps(client: httpx.Client, job: str) -> None:
    while not (client.get(f"/admin/jobs/{job}").raise_for_status().json()["progress"] or {}).get("done"):
        time.sleep(0.5)


def _median(rounds: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40.0, help="how long people come")
    parser.add_argument("--quick", action="store_true", help="a smoke run of few rows; nothing is kept in bench/results")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.rounds, options.seconds = 200, 1, 5.0
    return options


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
