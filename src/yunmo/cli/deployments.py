"""`deploy`, `undeploy`, `ps`, `logs`."""

import json
import time
from typing import Annotated, Any

import typer

from yunmo.cli.messages import say
from yunmo.cli.output import Failed, size_text
from yunmo.cli.session import Session, in_path

_POLL_SECONDS = 0.2
_FOLLOW_SECONDS = 1.0
_OVERLAP_CHARACTERS = 2000


def deploy(  # noqa: PLR0913 (each parameter is an option of the command)
    session: Session,
    model: Annotated[str, typer.Argument(help="Repository (ns/name, a bare name or an alias), or 'echo' for the built-in echo model.")],
    name: Annotated[str | None, typer.Option(help="The name that clients call (default: the repository's).")] = None,
    revision: Annotated[str, typer.Option(help="A branch, which is followed, or a tag or commit, which is kept.")] = "main",
    replicas: Annotated[int, typer.Option(min=1, help="How many workers run the model.")] = 1,
    engine: Annotated[str | None, typer.Option(help="The engine, instead of the one that fits best.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change a field of the engine's plan; may be repeated.")
    ] = None,
    pin: Annotated[bool, typer.Option("--pin/--unpin", help="Keep the model loaded when it is unused.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the model answers.")] = True,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Wait no longer than this.")] = 600.0,
) -> None:
    """Serve a model under a name. The same again changes nothing; other options change the deployment.

    把模型部署为可调用的服务。
    """
    options = _options(option or [])
    if engine:
        options["engine"] = engine
    wanted = {"model": model, "name": name or model, "revision": revision, "replicas": replicas, "pinned": pin, "options": options}
    view = session.call("POST", "/admin/deployments", json=wanted)
    if wait:
        view = _wait(session, view, timeout)
        text = say("deployed", name=view["name"], engine=view["engine"], tasks=", ".join(view["tasks"]), url=session.url)
    else:
        text = say("deploying", name=view["name"])
    session.output.result(view, text)


def undeploy(session: Session, name: Annotated[str, typer.Argument(help="The deployment's name.")]) -> None:
    """Stop serving a model; requests in work finish first. The repository stays.

    下线一个部署；模型仓库保留。
    """
    gone = session.call("DELETE", f"/admin/deployments/{in_path(name)}")
    session.output.result(gone, say("undeployed", name=name))


def ps(session: Session) -> None:
    """List the deployments with their state and what they cost.

    列出所有部署及其状态。
    """
    listed = session.call("GET", "/admin/deployments")["data"]
    columns = {
        "NAME": lambda row: row["name"],
        "STATE": lambda row: row["state"] if row["state"] in {"ready", "idle", "failed"} else f"{row['state']} {row['progress']:.0%}",
        "MODEL": lambda row: f"{row['repository']}@{row['revision'][:7]}",
        "ENGINE": lambda row: row["engine"],
        "TASKS": lambda row: ", ".join(row["tasks"]),
        "REPLICAS": lambda row: f"{len(row['replicas'])}/{row['replicas_wanted']}" + (" pinned" if row["is_pinned"] else ""),
        "MEMORY": lambda row: size_text(row["memory_bytes"]),
        "REASON": lambda row: row["reason"],
    }
    session.output.table(listed, columns, listed)


def logs(
    session: Session,
    name: Annotated[str, typer.Argument(help="The deployment's name.")],
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=1, help="Only the last so many lines.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Show the end of what a deployment's workers printed.

    查看部署的日志。
    """
    path = f"/admin/deployments/{in_path(name)}/logs"
    answer = session.call("GET", path)
    text = answer["log"] if lines is None else "".join(answer["log"].splitlines(keepends=True)[-lines:])
    session.output.result(answer | {"log": text}, text.rstrip("\n"))
    seen = answer["log"]
    while follow and not session.output.as_json:
        time.sleep(_FOLLOW_SECONDS)
        now = session.call("GET", path)["log"]
        typer.echo(_news(seen, now), nl=False)
        seen = now


def _options(given: list[str]) -> dict[str, Any]:
    options = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"'{each}' must be KEY=VALUE, such as slots=4.", param_hint="--option")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options


def _wait(session: Session, view: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    """Watch the deployment until it is ready; Failed when it cannot be or takes too long."""
    deadline = time.monotonic() + timeout_seconds
    with session.output.progress(view["name"]) as tell:
        while view["state"] != "ready":
            if view["state"] == "failed":
                raise Failed(say("deploy_failed", name=view["name"], reason=view["reason"]))
            if time.monotonic() > deadline:
                raise Failed(say("deploy_slow", name=view["name"], seconds=timeout_seconds, state=view["state"], reason=view["reason"]))
            tell(view["reason"] or view["state"], view["progress"])
            time.sleep(_POLL_SECONDS)
            view = session.call("GET", f"/admin/deployments/{in_path(view['name'])}")
    return view


def _news(seen: str, now: str) -> str:
    """What `now` has after the end of `seen`; both are windows at the end of one growing text."""
    if now.startswith(seen):
        return now[len(seen) :]
    end = seen[-_OVERLAP_CHARACTERS:]
    found = now.rfind(end)
    return now if found < 0 else now[found + len(end) :]
