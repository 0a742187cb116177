"""What a trainer is asked to do, and what it tells while it does it.

A trainer is a worker like any other: its base model lies in its directory, and a workspace takes the place of what is derived. In the
workspace it finds `train.jsonl`, `validation.jsonl` (if there is one; rows as `core.rows` has them) and `media/`; it keeps
`checkpoints/` there, and leaves `result/` (the model as a repository), `history.jsonl` (what was told of each step) `parity.jsonl`
(`ParitySample`s) and `versions.json` (of the libraries that trained).
"""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from yunmo.core.tasks import AnyOutput, AnyRequest, Output, Request

Method = Literal[
    "supervised",
    "dpo",
    "classification",
    "token_classification",
    "seq2seq",
    "embedding",
    "image_classification",
    "speech_recognition",
    "pretrain",
]
METHODS: tuple[Method, ...] = get_args(Method)

WHOLE_BATCHES: frozenset[Method] = frozenset({"embedding"})
"""Methods that compare the rows of a step with each other: a step is never computed in parts."""

Objective = Literal["masked", "causal", "denoising", "parallel"]
Family = Literal["bert", "gpt2", "llama", "marian", "t5"]
Precision = Literal["fp32", "bf16"]

TRAIN_FILE, VALIDATION_FILE, MEDIA_FOLDER = "train.jsonl", "validation.jsonl", "media"
RESULT_FOLDER, HISTORY_FILE, PARITY_FILE, VERSIONS_FILE = "result", "history.jsonl", "parity.jsonl", "versions.json"

_Share = Annotated[float, Meta(ge=0, le=1)]
_Width = Annotated[int, Meta(ge=8, le=65536)]
_Few = Annotated[int, Meta(ge=1, le=1024)]

# ---------------------------------------------------------------- the recipe


class Lora(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Low-rank adapters in the base's place. `targets` are names of its linear layers (none: all of them); `merge` adds them to the base at the end."""

    rank: Annotated[int, Meta(ge=1, le=512)] = 16
    alpha: Annotated[float, Meta(gt=0, le=4096)] = 32.0
    dropout: _Share = 0.0
    targets: tuple[str, ...] = ()
    merge: bool = False


class Tokenizer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tokenizer to be trained on the rows; `size` is that of its vocabulary."""

    kind: Literal["bpe", "unigram", "wordpiece"] = "bpe"
    size: Annotated[int, Meta(ge=64, le=1_000_000)] = 16_000


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Transformer to be built: `hidden` wide, `layers` deep (an encoder–decoder: each half), reading up to `positions` tokens."""

    family: Family
    hidden: _Width = 256
    layers: _Few = 4
    heads: _Few = 4
    feed_forward: _Width | None = None
    positions: _Width = 512


class Pretraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to learn from plain text. Without an architecture the base model goes on; without a tokenizer it keeps its own."""

    objective: Objective
    architecture: Architecture | None = None
    tokenizer: Tokenizer | None = None


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that decides what training makes of its rows. What is None is chosen when the training is checked: by measurement, or by the method's habit.

    `batch_size` counts rows of one step, `accumulation` the parts that it is computed in. `max_tokens` cuts longer rows. The
    learning rate is multiplied by `learning_rate_multiplier`, warmed up over `warmup` of all steps, and falls to nothing.
    `beta` is DPO's. `checkpoints` come at the end of every epoch, and every `checkpoint_seconds` beside.
    """

    method: Method
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    epochs: Annotated[int, Meta(ge=1, le=1000)] | None = None
    max_steps: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    batch_size: Annotated[int, Meta(ge=1, le=4096)] | None = None
    accumulation: Annotated[int, Meta(ge=1, le=4096)] | None = None
    recomputes: bool | None = None
    learning_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    learning_rate_multiplier: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    weight_decay: _Share = 0.0
    warmup: _Share = 0.05
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    max_tokens: Annotated[int, Meta(ge=8, le=1_000_000)] | None = None
    precision: Precision | None = None
    lora: Lora | None = None
    beta: Annotated[float, Meta(gt=0, le=2)] = 0.1
    pretraining: Pretraining | None = None
    checkpoint_seconds: Annotated[float, Meta(ge=0.01, le=86400)] = 600.0


# ---------------------------------------------------------------- requests


class CheckTraining(Request, frozen=True, tag="check-training"):
    """Try the recipe: one real step, one real answer. Notes come first, then a `TrainingEstimate` with the recipe complete."""

    recipe: Recipe


class Train(Request, frozen=True, tag="train"):
    """Train by a complete recipe, from the newest checkpoint of the workspace if it has one; the last thing told is a `TrainingResult`.

    `base_name` is what the base is called in the hub (`project/name`, with `@commit` for one revision): adapters name it.
    """

    recipe: Recipe
    base_name: str = ""


class StopTraining(Request, frozen=True, tag="stop-training"):
    """Have the training of this worker end its step, write a checkpoint and tell a result that `is_stopped`. Answered with nothing."""


TrainerRequest = CheckTraining | Train | StopTraining

# ---------------------------------------------------------------- news


class TrainingNote(Output, frozen=True, tag="training-note"):
    """Something for people to know."""

    message: str
    level: Literal["info", "warning", "error"] = "info"


class TrainingStep(Output, frozen=True, tag="training-step"):
    """One step of the optimizer. `tokens` are those of this step that are no padding; `memory_bytes` is what the process holds."""

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float
    memory_bytes: int
    token_accuracy: float | None = None


class TrainingEvaluation(Output, frozen=True, tag="training-evaluation"):
    """How the model does on the validation rows: `metrics` has "loss" and the task's own by the names that `core.metrics` gives them."""

    step: int
    epoch: float
    metrics: dict[str, float]


class TrainingCheckpoint(Output, frozen=True, tag="training-checkpoint"):
    """A checkpoint is complete on the disk. `model` is its folder as a repository, inside the workspace, where it can be served by itself."""

    step: int
    epoch: float
    model: str = ""
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class TrainingEstimate(Output, frozen=True, tag="training-estimate"):
    """What the training will take, by one real step. `cut_rows` are longer than `max_tokens`; `sample` is what the model says already."""

    recipe: Recipe
    rows: int
    validation_rows: int
    tokens: int
    steps: int
    step_seconds: float
    seconds: float
    memory_bytes: int
    disk_bytes: int
    parameters: int
    trained_parameters: int
    cut_rows: int = 0
    sample: str = ""


class TrainingResult(Output, frozen=True, tag="training-result"):
    """The end. `tokens` and `seconds` are those of all attempts; `metrics` the last evaluation's. One that `is_stopped` goes on from its checkpoint."""

    step: int
    tokens: int
    seconds: float
    is_stopped: bool = False
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    plots: tuple[str, ...] = ()
    """Pictures inside `result/`."""


TrainerOutput = TrainingNote | TrainingStep | TrainingEvaluation | TrainingCheckpoint | TrainingEstimate | TrainingResult

# ---------------------------------------------------------------- parity


class ParitySample(msgspec.Struct, frozen=True):
    """What the trained model answered in its trainer, to be compared with what it answers where it is served."""

    request: AnyRequest
    output: AnyOutput
    token_ids: tuple[int, ...] = ()
