"""Trainings in this process, and what their results answer where they are served."""

import json
import warnings
from pathlib import Path

import msgspec
import numpy as np

from yunmo.core.engine import Hardware, Plan
from yunmo.core.tasks import Entities, Labels, Transcript, Vectors, fold
from yunmo.core.training import ParitySample, Recipe, StopTraining, Train, TrainingEvaluation, TrainingNote, TrainingStep
from yunmo.core.usage import Usage
from yunmo.engines.trainer.kind import kind
from yunmo.engines.transformers.kind import describe_directory
from yunmo.engines.transformers.kind import kind as transformers


def write_rows(workspace: Path, rows, validation=()) -> Path:
    """The rows as a training finds them."""
    workspace.mkdir(exist_ok=True)
    for name, some in (("train", rows), ("validation", validation)):
        if some:
            (workspace / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return workspace


async def news(base: Path, workspace: Path, request, *, stop_at: int | None = None):
    """All that a trainer tells; it is stopped in the step `stop_at`."""
    trainer = kind.load(base, workspace, Plan(engine="trainer", threads=1), lambda *_: None)
    told = []
    async for each in trainer.stream(request):
        told.append(each)
        if isinstance(each, TrainingStep) and each.step == stop_at:
            async for _ in trainer.stream(StopTraining()):
                pass
    await trainer.close()
    return told


def curve(told):
    return [(each.step, each.loss, each.gradient_norm) for each in told if isinstance(each, TrainingStep)]


def notes(told) -> str:
    return "\n".join(each.message for each in told if isinstance(each, TrainingNote))


def judged(told) -> list[dict[str, float]]:
    return [each.metrics for each in told if isinstance(each, TrainingEvaluation)]


async def check_resume(base: Path, workspace: Path, other: Path, recipe: Recipe, stop_at: int) -> None:
    """A training that was stopped tells and makes bit for bit the same as one that was not."""
    whole = await news(base, workspace, Train(recipe=recipe))
    stopped = await news(base, other, Train(recipe=recipe), stop_at=stop_at)
    rest = await news(base, other, Train(recipe=recipe))
    assert stopped[-2].is_stopped
    assert len(curve(stopped)) < len(curve(whole)) > 0
    assert curve(whole) == curve(stopped) + curve(rest)
    for weights in (workspace / "result").glob("*.safetensors"):
        assert weights.read_bytes() == (other / "result" / weights.name).read_bytes()


def parity(workspace: Path) -> list[ParitySample]:
    return [msgspec.json.decode(line, type=ParitySample) for line in (workspace / "parity.jsonl").read_bytes().splitlines()]


async def served(directory: Path, requests, derived: Path | None = None, server=transformers):
    """What an engine answers that has loaded this repository."""
    model = describe_directory(directory)
    offer = server.offer(model, Hardware(cores=1, memory_bytes=8 << 30))
    assert offer is not None
    assert offer.problem is None
    engine = server.load(directory, derived or directory, offer.plan, lambda *_: None)
    if hasattr(engine, "run"):
        found = [engine.run(0, [request])[0] for request in requests]
        engine.close()
        return [each[0] for each in found]
    answers = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "std.*degrees of freedom", UserWarning)
        for request in requests:
            chunks = [chunk async for chunk in engine.stream(request) if not isinstance(chunk, Usage)]
            answers.append(fold(request, chunks))
    await engine.close()
    return answers


async def check_parity(workspace: Path, allowed: float = 1e-3, server=transformers) -> list[ParitySample]:
    """The result answers where it is served what it answered where it was trained."""
    samples = parity(workspace)
    assert samples
    answers = await served(workspace / "result", [sample.request for sample in samples], workspace / "derived", server)
    for sample, answer in zip(samples, answers, strict=True):
        assert _distance(sample.output, answer) < allowed
    return samples


def _distance(one, other) -> float:
    assert type(one) is type(other), other
    if isinstance(one, Labels):
        scores = [{label.label: label.score for label in each.rows[0]} for each in (one, other)]
        assert scores[0].keys() == scores[1].keys()
        return max(abs(scores[0][label] - scores[1][label]) for label in scores[0])
    if isinstance(one, Entities):
        places = [[(entity.index, entity.start, entity.end, entity.word) for entity in each.rows[0]] for each in (one, other)]
        assert places[0] == places[1]
        return max(abs(first.score - second.score) for first, second in zip(one.rows[0], other.rows[0], strict=True))
    if isinstance(one, Vectors):
        return float(max(np.abs(np.frombuffer(one.vectors[0].data, "<f4") - np.frombuffer(other.vectors[0].data, "<f4"))))
    assert isinstance(one, Transcript)
    assert (one.text, one.language) == (other.text, other.language)
    return abs(one.duration - other.duration)
