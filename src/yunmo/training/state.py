"""What a training job keeps: how far it is, and what it came to. Kept in the job as plain JSON."""

import msgspec

from yunmo.core.training import TrainingEstimate

CHECK_KIND, TRAIN_KIND, EVALUATE_KIND = "train-check", "train", "evaluate"
"""A training is queued as the first, and goes on as the second once its rows and its recipe have been tried."""


class Epoch(msgspec.Struct, frozen=True):
    """The model at the end of an epoch, kept in the workspace's folder `folder`."""

    step: int
    epoch: float
    folder: str
    metrics: dict[str, float] = {}


class Source(msgspec.Struct, frozen=True):
    """Rows that a model learnt from, or was judged by: a data set of the hub at a commit, or a file of the project's by its sha256.

    `kept_back` are those of the rows that were left for validation.
    """

    name: str
    rows: int
    commit: str = ""
    sha256: str = ""
    is_data_set: bool = False
    split: str = ""
    kept_back: int = 0


class TrainingState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The job's checkpoint. `base`, `base_commit` and `sources` pin what the names of the order meant when it was checked.

    `published` is set once the result can be called; what is left then is to compare how it is served.
    """

    estimate: TrainingEstimate | None = None
    base: str = ""
    base_commit: str = ""
    sources: dict[str, Source] = {}
    epochs: list[Epoch] = []
    has_waited: bool = False
    published: "Trained | None" = None


class KeptModel(msgspec.Struct, frozen=True):
    """A model that was published by a training: `model` is what clients call, `ns/name` or `ns/name@commit`."""

    model: str
    step: int
    epoch: float
    metrics: dict[str, float] = {}


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """How the serving engine's answers compare to the trainer's. `agreement` is a share; `drift` the largest error of a score or vector.

    `is_passed` says whether both are within their budgets; `problem` why not, or why nothing could be compared.
    """

    samples: int
    agreement: float
    drift: float
    is_passed: bool
    engine: str = ""
    precision: str = ""
    problem: str = ""


class Trained(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The job's result."""

    model: str
    repository: str
    commit: str
    step: int
    trained_tokens: int
    seconds: float
    metrics: dict[str, float] = {}
    checkpoints: list[KeptModel] = []
    result_file: str | None = None
    certificate: Certificate | None = None
