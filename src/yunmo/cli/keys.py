"""`key create`, `key list`, `key revoke`."""

from datetime import datetime
from typing import Annotated, get_args

import typer

from yunmo.cli.messages import say
from yunmo.cli.session import Session, in_path
from yunmo.core.identity import Scope

_Minutes = Annotated[int | None, typer.Option(min=0, help="At most so many a minute.")]


def create(  # noqa: PLR0913 (each parameter is an option of the command)
    session: Session,
    project: Annotated[str, typer.Option(help="Whose key: a project is made if it is new, and is its namespace in the hub.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help=f"What it may do: {', '.join(get_args(Scope))}; may be repeated (default infer, read).")
    ] = None,
    requests_per_minute: _Minutes = None,
    tokens_per_minute: _Minutes = None,
    concurrent_requests: Annotated[int | None, typer.Option(min=0, help="At most so many at a time.")] = None,
    expires: Annotated[datetime | None, typer.Option(help="Local time from when on it is refused.")] = None,
) -> None:
    """Make a key for a project. Its text is shown this once.

    为项目创建密钥，密钥只显示一次。
    """
    ceilings = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrent_requests": concurrent_requests,
    }
    wanted: dict[str, object] = {"project": project, "name": name, "limits": ceilings}
    if scope:
        wanted["scopes"] = _checked(scope)
    if expires is not None:
        wanted["expires_at"] = expires.astimezone().isoformat()
    made = session.call("POST", "/admin/keys", json=wanted)
    session.output.note(say("key_made", id=made["id"], project=made["project"], scopes=", ".join(made["scopes"])))
    session.output.result(made, made["key"])


def list_keys(session: Session, project: Annotated[str | None, typer.Option(help="Only this project's.")] = None) -> None:
    """List keys; only the beginning of their text is known.

    列出密钥。
    """
    listed = session.call("GET", "/admin/keys", query={"project": project})
    columns = {
        "ID": lambda row: row["id"],
        "PROJECT": lambda row: row["project"],
        "NAME": lambda row: row["name"],
        "KEY": lambda row: f"{row['hint']}…",
        "SCOPES": lambda row: ", ".join(row["scopes"]),
        "MADE": lambda row: row["created_at"][:19],
        "ENDS": lambda row: f"revoked {row['revoked_at'][:19]}" if row["revoked_at"] else (row["expires_at"] or "")[:19],
    }
    session.output.table(listed, columns, listed)


def revoke(session: Session, identity: Annotated[str, typer.Argument(metavar="ID", help="The key's id, from 'yunmo key list'.")]) -> None:
    """Revoke a key; it is refused within a second.

    吊销密钥，一秒内生效。
    """
    gone = session.call("DELETE", f"/admin/keys/{in_path(identity)}")
    session.output.result(gone, say("key_revoked", id=gone["id"], project=gone["project"]))


def _checked(scopes: list[str]) -> list[str]:
    unknown = set(scopes) - set(get_args(Scope))
    if unknown:
        raise typer.BadParameter(f"'{min(unknown)}' is none of {', '.join(get_args(Scope))}.", param_hint="--scope")
    return scopes
