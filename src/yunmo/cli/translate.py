"""`translate text`, `translate routes list|add|remove`."""

import sys
from typing import Annotated, Any

import typer

from yunmo.cli.messages import say
from yunmo.cli.session import Session, in_path

_FORMALITIES = ("default", "more", "less", "prefer_more", "prefer_less")
_Source = Annotated[str, typer.Argument(help="The language to translate from, such as zh; '*' is every one.")]
_Target = Annotated[str, typer.Argument(help="The language to translate into, such as en; '*' is every one.")]
_Project = Annotated[str | None, typer.Option(help="Whose route it is (for the operator; without it everybody's).")]


def text(  # noqa: PLR0913 (each parameter is an option of the command)
    session: Session,
    to: Annotated[str, typer.Option(help="The language to translate into, such as zh, pt-BR or zh-Hant.")],
    words: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What to translate; without it, standard input.")] = None,
    source: Annotated[str | None, typer.Option("--from", help="The language to translate from (default: found out).")] = None,
    model: Annotated[str | None, typer.Option(help="The model to translate with, instead of the routes' choice.")] = None,
    formality: Annotated[str, typer.Option(help=f"{', '.join(_FORMALITIES)}: for models that can be told.")] = "default",
    context: Annotated[str, typer.Option(help="Words that tell what the text is about; they are not translated.")] = "",
    instruction: Annotated[list[str] | None, typer.Option(help="How to translate, for chat models. Can be repeated.")] = None,
    term: Annotated[list[str] | None, typer.Option(metavar="SOURCE=TARGET", help="How a term is translated. Can be repeated.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A word that stays as it is. Can be repeated.")] = None,
) -> None:
    """Translate a text with the models that are here.

    用本机模型翻译一段文字。
    """
    if formality not in _FORMALITIES:
        raise typer.BadParameter(f"'{formality}' is none of {', '.join(_FORMALITIES)}.", param_hint="--formality")
    given = sys.stdin.read() if words is None else words
    wanted: dict[str, Any] = {"texts": [given], "target": to, "source": source, "model": model, "formality": formality, "context": context}
    wanted |= {"instructions": instruction or [], "kept": keep or []}
    wanted |= {"terms": _terms(term or [])}
    (translated,) = session.infer("/admin/translation/texts", wanted)["translations"]
    for issue in translated["issues"]:
        session.output.note(say("translation_issue", kind=issue["kind"], what=issue["what"]))
    session.output.result(translated, translated["text"])


def list_routes(session: Session) -> None:
    """List which model translates which pair of languages: first what was told, then what models say of themselves.

    列出各语言对使用的翻译模型。
    """
    listed = session.call("GET", "/admin/translation/routes")
    rows = [each | {"is_found": False} for each in listed["told"]] + [each | {"is_found": True} for each in listed["found"]]
    columns = {
        "FROM": lambda row: ", ".join(row["sources"]) if row["is_found"] else row["source"],
        "INTO": lambda row: ", ".join(row["targets"]) if row["is_found"] else row["target"],
        "MODEL": lambda row: row["model"],
        "PRIORITY": lambda row: "" if row["is_found"] else row["priority"],
        "BY": _teller,
    }
    session.output.table(listed, columns, rows)


def add_route(
    session: Session,
    source: _Source,
    target: _Target,
    model: Annotated[str, typer.Argument(help="A deployment's or repository's name: a translation model, or a chat model.")],
    priority: Annotated[int, typer.Option(help="Of several models for one pair the one with the highest is taken.")] = 0,
    project: _Project = None,
) -> None:
    """Let a model translate a pair of languages; an operator's route is everybody's.

    指定某语言对使用的模型。
    """
    route = session.call("PUT", _path(source, target, model), json={"priority": priority, "project": project})
    session.output.result(route, say("route_added", **route))


def remove_route(
    session: Session,
    source: _Source,
    target: _Target,
    model: Annotated[str, typer.Argument(help="The model that the route names.")],
    project: _Project = None,
) -> None:
    """Forget a route; the model stays.

    删除一条翻译路由；模型保留。
    """
    route = session.call("DELETE", _path(source, target, model), query={"project": project})
    session.output.result(route, say("route_removed", **route))


def _terms(given: list[str]) -> dict[str, str]:
    terms = {}
    for each in given:
        source, equals, target = each.partition("=")
        if not source or not equals:
            raise typer.BadParameter(f"'{each}' must be SOURCE=TARGET, such as cloud=云.", param_hint="--term")
        terms[source] = target
    return terms


def _path(source: str, target: str, model: str) -> str:
    return f"/admin/translation/routes/{in_path(source)}/{in_path(target)}/{in_path(model)}"


def _teller(row: dict[str, Any]) -> str:
    if row["is_found"]:
        return say("route_found")
    return row["project"] or say("route_everybodys")
