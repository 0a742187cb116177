"""What somebody asks for who wants a model trained."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Recipe

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


class Rows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where rows come from: a file of the project's, or a data set of the hub.

    `file` is a file's id. `repository` is `ns/name` or `ns/name@revision`; `path` the JSONL file in it (or a folder's, or a pattern's
    files; none: those that are called after `split`). `columns` renames: {field of the method: column of the data}.
    """

    file: str | None = None
    repository: str | None = None
    path: str | None = None
    split: str | None = None
    columns: dict[str, str] = {}

    def check(self, param: str) -> None:
        """Raise InvalidRequest unless exactly one source is named."""
        if (self.file is None) == (self.repository is None):
            raise InvalidRequest("Rows come either from a file or from a data set of the hub; name one of the two.", param=param)
        if self.file is not None and (self.path or self.split):
            raise InvalidRequest("A file has no path and no split; those are for data sets of the hub.", param=param)


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training as it was asked for. `base` is a model's name, or empty where the recipe builds one.

    The result is a revision of `repository`; without one it is `PROJECT/SUFFIX-OF-THE-JOB`. `validation_share` of the rows is kept
    back for validation where no rows for it are named (None: the method's habit).
    """

    base: str
    recipe: Recipe
    rows: Rows
    validation: Rows | None = None
    validation_share: Annotated[float, Meta(ge=0, lt=1)] | None = None
    repository: str | None = None
    suffix: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    metadata: dict[str, str] = {}
    extra: dict[str, Any] = {}
    """What a dialect wants to find again, as it was given to it."""

    def check(self) -> None:
        """Raise InvalidRequest, with the field, for an order that cannot be."""
        self.rows.check("rows")
        if self.validation is not None:
            self.validation.check("validation")
        if self.repository is not None and not NAME.fullmatch(self.repository):
            raise InvalidRequest(
                "The result's repository is called namespace/name, in letters, digits, '.', '_' and '-'.", param="repository"
            )
        pretraining = self.recipe.pretraining
        if (self.recipe.method == "pretrain") != (pretraining is not None):
            raise InvalidRequest("The method 'pretrain' and its block 'pretraining' come together.", param="pretraining")
        builds = pretraining is not None and pretraining.architecture is not None
        if not self.base and not builds:
            raise InvalidRequest("Name the model to begin with, or the architecture of a new one.", param="model")
        if builds and self.base:
            raise InvalidRequest("A new architecture begins with no model: leave one of the two out.", param="model")
