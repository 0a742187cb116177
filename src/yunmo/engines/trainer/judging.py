"""How a model does on the validation rows."""

import math

import torch

from yunmo.core.training import Recipe
from yunmo.engines.trainer.learner import Learner


def judge(learner: Learner, recipe: Recipe) -> dict[str, float]:
    """The mean loss, its perplexity where the model computes it itself, and the task's own metrics."""
    order = sorted(range(len(learner.validation)), key=lambda index: -_length(learner.validation[index]))
    size = max(1, (recipe.batch_size or 1) // (recipe.accumulation or 1))
    total, weight = 0.0, 0
    was_training = learner.model.training
    learner.model.eval()
    found = learner.judge()
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
            for start in range(0, len(order), size):
                batch = learner.collate([learner.validation[index] for index in order[start : start + size]])
                outputs = learner.forward(learner.model, batch) if learner.forward else learner.model(**batch)
                loss = getattr(outputs, "loss", None)
                if loss is not None:
                    count = _targets(batch) if learner.forward is None else len(order[start : start + size])
                    total, weight = total + float(loss) * count, weight + count
                found.see(outputs, batch)
            metrics = found.verdict()
    finally:
        learner.model.train(was_training)
    if weight:
        loss = total / weight
        likelihood = {"perplexity": math.exp(min(loss, 700.0))} if learner.forward is None else {}
        metrics = {"loss": loss, **likelihood, **metrics}
    return {name: round(value, 6) for name, value in metrics.items()}


def _targets(batch: dict[str, torch.Tensor]) -> int:
    """What the batch's loss is the mean of: positions with a label, or rows."""
    labels = batch.get("labels")
    if labels is None:
        return int(next(iter(batch.values())).shape[0])
    return int((labels != -100).sum()) if labels.dim() > 1 else int(labels.shape[0])


def _length(example: object) -> int:
    ids = example.get("input_ids", ()) if hasattr(example, "get") else ()
    return len(ids)
