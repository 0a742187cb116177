"""`train`: a training ordered from the command line, its data sent along, and watched until the model is there."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from yunmo.cli.deployments import pairs
from yunmo.cli.following import follow, told
from yunmo.cli.messages import say
from yunmo.cli.output import Failed
from yunmo.cli.session import Session
from yunmo.cli.uploads import upload
from yunmo.core.errors import InvalidRequest

_Method = Annotated[
    str,
    typer.Argument(
        help="What is learnt: supervised, dpo, classification, token_classification, seq2seq, embedding, image_classification, "
        "speech_recognition, pretrain."
    ),
]
_Rows = Annotated[
    str,
    typer.Argument(
        metavar="FILE|DATASET", help="The rows: a file of this machine (JSONL, CSV, Parquet), or a data set of the hub as ns/name@revision."
    ),
]
_Validation = Annotated[str | None, typer.Option(metavar="FILE|DATASET", help="Rows to validate with, given like the others.")]
_ValidationShare = Annotated[float | None, typer.Option(min=0, max=1, help="Keep this share of the rows back for validation.")]
_Column = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=COLUMN",
        help="Read this column of the data as this field, such as text=sentence; columns that none names are left out. Can be repeated.",
    ),
]
_Lora = Annotated[int | None, typer.Option(metavar="RANK", min=1, help="Train low-rank adapters of this rank in place of the whole model.")]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any field of a recipe, such as warmup=0.1 or lora.alpha=64. Can be repeated."),
]
_Recipe = Annotated[Path | None, typer.Option(metavar="FILE", help="A recipe in YAML; the options beside it win.")]
_Wait = Annotated[bool | None, typer.Option("--wait/--no-wait", help="Watch until it has ended (the default on a terminal).")]


def train(  # noqa: PLR0913 (each parameter is an option of the command)
    session: Session,
    method: _Method,
    rows: _Rows,
    base: Annotated[str | None, typer.Option(help="The model to begin with: ns/name or ns/name@revision.")] = None,
    validation: _Validation = None,
    validation_share: _ValidationShare = None,
    split: Annotated[str | None, typer.Option(help="Which split of a data set to learn from.")] = None,
    column: _Column = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How often to go through the rows.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows of one step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest learning rate.")] = None,
    lora: _Lora = None,
    max_tokens: Annotated[int | None, typer.Option(min=8, help="Cut rows that are longer.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same model.")] = None,
    suffix: Annotated[str | None, typer.Option(help="A word for the model's name, if --to does not give it whole.")] = None,
    to: Annotated[str | None, typer.Option(metavar="NS/NAME", help="Where the model is published.")] = None,
    set_: _Set = None,
    recipe: _Recipe = None,
    wait: _Wait = None,
) -> None:
    """Train a model with your own rows. It is published in the hub and answers by its name.

    用自己的数据训练模型；结果发布到仓库，按名称即可调用。
    """
    options = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "max_tokens": max_tokens, "seed": seed}
    options["lora.rank"] = lora
    given = {name: value for name, value in options.items() if value is not None} | pairs(set_ or [], "--set", "warmup=0.1")
    made = recipe_of(method, _read_recipe(recipe), given)
    columns = {name: str(value) for name, value in pairs(column or [], "--column", "text=sentence").items()}
    sources = [source_of(text) for text in (rows, validation) if text is not None]  # looked for before any is sent
    found, *others = [rows_at(session, source, columns) for source in sources]
    order = {
        "base": base or "",
        "recipe": made,
        "rows": found | ({} if split is None else {"split": split}),
        "validation": others[0] if others else None,
        "validation_share": validation_share,
        "repository": to,
        "suffix": suffix,
    }
    training = session.call("POST", "/admin/trainings", json={name: value for name, value in order.items() if value is not None})
    is_watched = sys.stderr.isatty() and not session.output.as_json if wait is None else wait
    if not is_watched:
        session.output.result(training, say("training_ordered", id=training["id"]))
        return
    training = follow(session, training)
    session.output.result(training, told(session.url, training))


def recipe_of(method: str, document: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The recipe as plain JSON: what the document says, changed by `given` (names may have dots). Failed for one that cannot be."""
    import msgspec

    from yunmo.core.training import Recipe

    if document.get("method", method) != method:
        raise Failed(say("other_method", method=method, other=document["method"]), InvalidRequest.code)
    fields: dict[str, Any] = {**document, "method": method}
    for name, value in given.items():
        *folders, last = name.split(".")
        place = fields
        for folder in folders:
            inner = place.get(folder)
            place[folder] = dict(inner) if isinstance(inner, dict) else {}
            place = place[folder]
        place[last] = value
    try:
        recipe = msgspec.convert(fields, Recipe)
    except msgspec.ValidationError as error:
        raise Failed(say("bad_recipe", reason=str(error).replace(" - at `$.", " (").replace("`", ")")), InvalidRequest.code) from error
    made: dict[str, Any] = {name: value for name, value in msgspec.to_builtins(recipe).items() if name in fields}
    return made


def _read_recipe(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Failed(say("unreadable_file", file=path, reason=error.strerror)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Failed(say("unreadable_file", file=path, reason=error)) from error
    if not isinstance(document, dict):
        raise Failed(say("unreadable_file", file=path, reason="{field: value}"))
    return {str(name): value for name, value in document.items()}


def source_of(text: str) -> Path | str:
    """A file of this machine, or else the name of a data set; Failed for what is neither."""
    path = Path(text)
    if path.is_file():
        return path
    name = text.partition("@")[0]
    if path.exists() or name.count("/") != 1 or not all(name.split("/")):
        raise Failed(say("no_rows", data=text), InvalidRequest.code)
    return text


def rows_at(session: Session, source: Path | str, columns: dict[str, str]) -> dict[str, Any]:
    """Where the server finds the rows; a file is sent first."""
    place = {"repository": source} if isinstance(source, str) else {"file": upload(session, source)["id"]}
    return {**place, "columns": columns}
