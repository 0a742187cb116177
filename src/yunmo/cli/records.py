"""`alias set|list|remove`, `usage`, `audit`: what an operator looks up and keeps in order."""

from typing import Annotated, Any

import typer

from yunmo.cli.messages import say
from yunmo.cli.session import Session, in_path

_Type = Annotated[str, typer.Option("--type", help="What the name is for: model or dataset.")]


def set_alias(
    session: Session,
    name: Annotated[str, typer.Argument(help="A bare name, such as bert-base-uncased.")],
    repository: Annotated[str, typer.Argument(help="The repository that it stands for.")],
    kind: _Type = "model",
) -> None:
    """Let a bare name stand for a repository, so that programs that use the name run unchanged.

    为仓库设置别名，使现有程序无需修改。
    """
    alias = session.call("PUT", f"/admin/aliases/{in_path(kind)}/{in_path(name)}", json={"repository": repository})
    session.output.result(alias, say("alias_set", name=name, repository=repository))


def list_aliases(session: Session) -> None:
    """List the aliases.

    列出别名。
    """
    listed = session.call("GET", "/admin/aliases")
    session.output.table(
        listed, {"NAME": lambda row: row["name"], "TYPE": lambda row: row["type"], "REPOSITORY": lambda row: row["repository"]}, listed
    )


def remove_alias(session: Session, name: Annotated[str, typer.Argument(help="The alias.")], kind: _Type = "model") -> None:
    """Remove an alias; the repository stays.

    删除别名。
    """
    gone = session.call("DELETE", f"/admin/aliases/{in_path(kind)}/{in_path(name)}")
    session.output.result(gone, say("alias_removed", name=name))


def usage(
    session: Session,
    group_by: Annotated[str, typer.Option(help="Sum up by these, with commas: hour, project, key, model, commit, task.")] = "model",
    project: Annotated[str | None, typer.Option(help="Only this project's (for the operator; others see their own).")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on, such as 2026-11-01T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
) -> None:
    """Sum up what was used: requests, tokens, characters, seconds.

    汇总用量：请求、词元、字符、秒。
    """
    rows = session.call("GET", "/admin/usage", query={"group_by": group_by, "project": project, "since": since, "until": until})
    groups = [group for group in group_by.split(",") if group]
    counters = ("requests", "aborted", "input_tokens", "output_tokens", "cached_tokens", "characters", "seconds")
    columns = {name.upper().replace("_", " "): _cell(name) for name in (*groups, *counters)}
    session.output.table(rows, columns, rows)


def audit(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many, the newest first.")] = 50,
) -> None:
    """List administrative acts: who did what to what, and when.

    查看管理操作记录。
    """
    rows = session.call("GET", "/admin/audit", query={"limit": limit})
    columns = {
        "WHEN": lambda row: str(row["at"])[:19],
        "PROJECT": lambda row: row["project"],
        "KEY": lambda row: row["key_id"],
        "ACT": lambda row: row["action"],
        "TARGET": lambda row: row["target"],
        "DETAIL": lambda row: ", ".join(f"{name}={value}" for name, value in (row["detail"] or {}).items()),
    }
    session.output.table(rows, columns, rows)


def _cell(name: str) -> Any:
    return lambda row: round(row[name], 2) if isinstance(row.get(name), float) else row.get(name, "")
