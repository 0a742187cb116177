"""Where a trained model comes from: all that its card tells people, and `training.json` tells programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from yunmo.core.engine import Hardware
from yunmo.core.training import Recipe, TrainingEstimate, TrainingResult
from yunmo.training.order import Order
from yunmo.training.state import KeptModel, Source

PROVENANCE_FILE = "training.json"
FORMAT = 1
"""Of `training.json`. It grows when a field changes its meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a model was made. `recipe` is complete, as it was carried out; `base_card` is the front matter of the base's card.

    `versions` are those of the libraries in the worker, by their packages' names. `address` is the server's, for examples of calls. `rewrites_as` is what an encoder–decoder's own configuration says that it is for, a pipeline tag.
    """

    repository: str
    job: str
    order: Order
    recipe: Recipe
    result: TrainingResult
    train: Source
    validation: Source | None = None
    base: str = ""
    base_commit: str = ""
    base_card: Mapping[str, Any] = field(default_factory=dict)
    estimate: TrainingEstimate | None = None
    epochs: tuple[KeptModel, ...] = ()
    rewrites_as: str | None = None
    parity_samples: int = 0
    hardware: Hardware
    versions: Mapping[str, str]
    finished_at: datetime
    address: str = "http://127.0.0.1:8000"

    @property
    def is_adapter(self) -> bool:
        """Whether the result is a LoRA adapter, that needs its base beside it."""
        return self.recipe.lora is not None and not self.recipe.lora.merge

    @property
    def pipeline_tag(self) -> str | None:
        """What the result is for, in the Hub's words; None where neither the method nor the base says it."""
        pretraining = self.recipe.pretraining
        if pretraining is not None:
            return _OF_OBJECTIVE[pretraining.objective]
        given = self.base_card.get("pipeline_tag")
        base_tag = given if isinstance(given, str) and given else None
        match self.recipe.method:
            case "seq2seq":
                return self.rewrites_as or base_tag
            case "embedding":
                return base_tag if base_tag in {"sentence-similarity", "feature-extraction"} else "feature-extraction"
            case method:
                return _OF_METHOD[method]


_OF_METHOD = {
    "supervised": "text-generation",
    "dpo": "text-generation",
    "classification": "text-classification",
    "token_classification": "token-classification",
    "image_classification": "image-classification",
    "speech_recognition": "automatic-speech-recognition",
}
_OF_OBJECTIVE = {"masked": "fill-mask", "causal": "text-generation", "denoising": None, "parallel": "translation"}


def training_json(provenance: Provenance) -> bytes:
    """The whole provenance as JSON; the same provenance gives the same bytes."""
    each, result = provenance, provenance.result
    record: dict[str, Any] = {
        "format": FORMAT,
        "repository": each.repository,
        "job": each.job,
        "finished_at": each.finished_at.isoformat(timespec="seconds"),
        "base": {"model": each.base, "commit": each.base_commit} if each.base else None,
        "data": {"train": _source(each.train), "validation": None if each.validation is None else _source(each.validation)},
        "order": {name: value for name, value in msgspec.to_builtins(each.order).items() if name != "extra"},
        "recipe": msgspec.to_builtins(each.recipe),
        "seed": each.recipe.seed,
        "steps": result.step,
        "tokens": result.tokens,
        "seconds": result.seconds,
        "parameters": None if each.estimate is None else each.estimate.parameters,
        "trained_parameters": None if each.estimate is None else each.estimate.trained_parameters,
        "cut_rows": None if each.estimate is None else each.estimate.cut_rows,
        "metrics": result.metrics,
        "checkpoints": msgspec.to_builtins(each.epochs),
        "parity_samples": each.parity_samples,
        "hardware": {
            "processor": each.hardware.processor,
            "cores": each.hardware.cores,
            "memory_bytes": each.hardware.memory_bytes,
            "gpu_memory_bytes": each.hardware.gpu_memory_bytes,
            "instructions": sorted(each.hardware.instructions),
        },
        "versions": dict(sorted(each.versions.items())),
    }
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _source(source: Source) -> dict[str, Any]:
    record = {"name": source.name, "kind": "data set" if source.is_data_set else "file", "rows": source.rows}
    told = {"commit": source.commit, "sha256": source.sha256, "split": source.split, "kept_back": source.kept_back}
    return record | {name: value for name, value in told.items() if value}
