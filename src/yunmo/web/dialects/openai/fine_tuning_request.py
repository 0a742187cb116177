"""The body of POST /v1/fine_tuning/jobs, and the order that it is.

OpenAI's own methods are `supervised` and `dpo`; the others are ours, with a block of their own name as OpenAI's have:
`method={"type": "classification", "classification": {"hyperparameters": {"n_epochs": 3, "lora": {"rank": 8}}}}`.
A hyperparameter is one of OpenAI's or a field of `core.training.Recipe`; "auto" leaves it to the check.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from yunmo.cloud.values import Order, Rows
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.training import METHODS, Method, Pretraining, Recipe
from yunmo.web.dialects.openai.batches import Metadata
from yunmo.web.dialects.openai.fields import Refusal

AUTO = "auto"
OPENAI_NAMES = {"n_epochs": "epochs"}
"""Hyperparameters that a recipe calls otherwise."""

REFUSED = {
    "integrations": Refusal("this server sends nothing to other services. The job's events and its result file have the metrics.", ([],)),
}
_RECIPE_FIELDS = frozenset(Recipe.__struct_fields__) - {"method", "seed", "pretraining"}
_PARAMS = {"rows": "training_file", "validation": "validation_file", "base": "model", "pretraining": "method.pretrain.pretraining"}

Text = Annotated[str, Meta(min_length=1, max_length=512)]


class Block(msgspec.Struct, forbid_unknown_fields=True):
    """How one method learns; `pretraining` is for the method `pretrain` alone."""

    hyperparameters: dict[str, Any] | None = None
    pretraining: Pretraining | None = None


class MethodBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The method and the block of its name."""

    type: str
    supervised: Block | None = None
    dpo: Block | None = None
    reinforcement: Any = None
    classification: Block | None = None
    token_classification: Block | None = None
    seq2seq: Block | None = None
    embedding: Block | None = None
    image_classification: Block | None = None
    speech_recognition: Block | None = None
    pretrain: Block | None = None


class FineTuningBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/fine_tuning/jobs.

    `training_file` and `validation_file` are ids of files, or data sets of the hub as `namespace/name@revision`. Ours are
    `training_data` and `validation_data` (what of a data set is read, in place of the two), `validation_share` (of the rows,
    kept back where nothing is named for validation) and `repository` (where the model is published).
    """

    model: Annotated[str, Meta(max_length=512)] = ""
    training_file: Text | None = None
    validation_file: Text | None = None
    suffix: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    method: MethodBody | None = None
    hyperparameters: dict[str, Any] | None = None
    metadata: Metadata | None = None
    training_data: Rows | None = None
    validation_data: Rows | None = None
    validation_share: Annotated[float, Meta(ge=0, lt=1)] | None = None
    repository: Text | None = None


def order_of(body: FineTuningBody) -> Order:
    """What is ordered. Raises InvalidRequest or Unsupported that names the field as its sender knows it."""
    method, block, where = _chosen(body)
    asked = block.hyperparameters or {}
    rows = _rows(body.training_file, body.training_data, "training")
    if rows is None:
        raise InvalidRequest(
            "'training_file' is missing. Upload a file for 'fine-tune', or name a data set as namespace/name.", param="training_file"
        )
    order = Order(
        base=body.model,
        recipe=recipe_of(method, asked, where, seed=body.seed or 0, pretraining=block.pretraining),
        rows=rows,
        validation=_rows(body.validation_file, body.validation_data, "validation"),
        validation_share=body.validation_share,
        repository=body.repository,
        suffix=body.suffix,
        metadata=body.metadata or {},
        extra={"hyperparameters": asked},
    )
    try:
        order.check()
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=param_of(error.param)) from error
    return order


def recipe_of(method: Method, asked: Mapping[str, Any], where: str, *, seed: int, pretraining: Pretraining | None) -> Recipe:
    """The recipe of these hyperparameters, which stand at `where` in the body. Raises InvalidRequest that names the one that cannot be."""
    fields: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, value in asked.items():
        field = OPENAI_NAMES.get(name, name)
        if field not in _RECIPE_FIELDS or (field == "beta" and method != "dpo"):
            raise InvalidRequest(
                f"The method '{method}' has no hyperparameter '{name[:80]}'. Check its spelling.", param=f"{where}.{name[:80]}"
            )
        if field in given:
            raise InvalidRequest(f"'{given[field]}' and '{name}' are the same; give one of them.", param=f"{where}.{name}")
        given[field] = name
        if value is not None and value != AUTO:
            fields[field] = value
    try:
        return msgspec.convert({**fields, "method": method, "seed": seed, "pretraining": pretraining}, Recipe)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        first, dot, rest = path.rstrip("`").partition(".")
        param = f"{where}.{given.get(first, first)}{dot}{rest}"
        raise InvalidRequest(f"{text} (field '{param}').", param=param) from error


def param_of(param: str | None) -> str | None:
    """A field of the order as this vendor calls it."""
    if param is None:
        return None
    first, dot, rest = param.partition(".")
    return _PARAMS.get(first, first) + ("" if first in {"rows", "validation"} else dot + rest)


def _chosen(body: FineTuningBody) -> tuple[Method, Block, str]:
    """The method with its block, and where its hyperparameters stand in the body."""
    if body.method is None:
        return "supervised", Block(body.hyperparameters), "hyperparameters"
    if body.hyperparameters:
        raise InvalidRequest("Hyperparameters belong into the method's block; leave 'hyperparameters' out.", param="hyperparameters")
    method = _known(body.method.type)
    others = [name for name in body.method.__struct_fields__ if name not in {"type", method} and getattr(body.method, name) is not None]
    if others:
        raise InvalidRequest(f"The method is '{method}', and the block '{others[0]}' another's. Leave it out.", param=f"method.{others[0]}")
    block: Block = getattr(body.method, method) or Block()
    return method, block, f"method.{method}.hyperparameters"


def _known(method: str) -> Method:
    if method == "reinforcement":
        raise Unsupported(
            "The method 'reinforcement' is not supported: this server has no graders. 'dpo' learns from preferences.", param="method.type"
        )
    for known in METHODS:
        if known == method:
            return known
    raise InvalidRequest(f"There is no method '{method[:80]}'. There are: {', '.join(METHODS)}.", param="method.type")


def _rows(file: str | None, data: Rows | None, name: str) -> Rows | None:
    if file is not None and data is not None:
        raise InvalidRequest(f"'{name}_file' and '{name}_data' say the same; give one of them.", param=f"{name}_data")
    if data is not None:
        data.check(f"{name}_data")
        return data
    if file is None:
        return None
    return Rows(repository=file) if "/" in file else Rows(file=file)
