"""`deploy`, `undeploy`, `ps`, `logs`, `calibrate`."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from yunmo.cli.messages import say
from yunmo.cli.output import Failed, size_text
from yunmo.cli.session import Session, in_path

_POLL_SECONDS = 0.2
_FOLLOW_SECONDS = 1.0
_OVERLAP_CHARACTERS = 2000
_BAR_CELLS = 24


def deploy(  # noqa: PLR0913 (each parameter is an option of the command)
    session: Session,
    model: Annotated[str, typer.Argument(help="Repository (ns/name, a bare name or an alias), or 'echo' for the built-in echo model.")],
    name: Annotated[str | None, typer.Option(help="The name that clients call (default: the repository's).")] = None,
    revision: Annotated[
        str | None, typer.Option(help="A branch, which is followed, or a tag or commit, which is kept (new: main).")
    ] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="How many workers run the model (new: 1).")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine, instead of the one that fits best.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change a field of the engine's plan; may be repeated.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="A ceiling for all callers together: requests_per_minute, tokens_per_minute or concurrent_requests; null takes it away. "
            "May be repeated.",
        ),
    ] = None,
    pin: Annotated[bool | None, typer.Option("--pin/--unpin", help="Keep the model loaded when it is unused.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the model answers.")] = True,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Wait no longer than this.")] = 600.0,
) -> None:
    """Serve a model under a name. The same again changes nothing; what is given changes the deployment, the rest stays.

    把模型部署为可调用的服务。
    """
    options = pairs(option or [], "--option", "slots=4")
    if engine:
        options["engine"] = engine
    limits = pairs(limit or [], "--limit", "requests_per_minute=60")
    given = {"revision": revision, "replicas": replicas, "pinned": pin, "options": options or None, "limits": limits or None}
    wanted = {"model": model, "name": name or model} | {field: value for field, value in given.items() if value is not None}
    view = session.call("POST", "/admin/deployments", json=wanted)
    if wait:
        view = _wait(session, view, timeout)
        text = say("deployed", name=view["name"], engine=view["engine"], tasks=", ".join(view["tasks"]), url=session.url)
    else:
        text = say("deploying", name=view["name"])
    if view.get("predicted_bytes"):
        text += "\n" + say("memory", predicted=size_text(view["predicted_bytes"]), resident=size_text(_resident(view)))
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
        "ENGINE": _engines,
        "TASKS": lambda row: ", ".join(row["tasks"]),
        "REPLICAS": lambda row: _replicas(row) if "replicas" in row else "",
        "PREDICTED": lambda row: _size(each.get("predicted_bytes") or 0 for each in _whole(row)),
        "RESIDENT": lambda row: _size(_resident(each) for each in _whole(row)),
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


def calibrate(
    session: Session,
    name: Annotated[str, typer.Argument(help="The deployment's name, or a model's to deploy it first.")],
    aim: Annotated[str | None, typer.Option(help="'throughput' (many requests at once) or 'latency' (one at a time).")] = None,
    seconds: Annotated[float | None, typer.Option(min=5, max=3600, help="Measure no longer than this (default 60).")] = None,
    show: Annotated[bool, typer.Option("--show", help="Only show what was measured before.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Write the measurements as a picture.")] = None,
) -> None:
    """Measure every plan that could serve a model on this machine, and serve with the best that is faithful.

    在本机测量模型的各种运行方案，选用最快且不失真的一种。
    """
    path = f"/admin/deployments/{in_path(name)}/calibration"
    if show:
        view = session.call("GET", path)
    else:
        view = session.call("POST", path, json={"seconds": seconds, "aim": aim})
        path = f"/admin/deployments/{in_path(view['name'])}/calibration"
        with session.output.progress(name) as tell:
            while view["state"] == "running":
                tell(view["step"], view["progress"])
                time.sleep(_POLL_SECONDS)
                view = session.call("GET", path)
    if view["state"] == "failed":
        raise Failed(say("calibration_failed", name=name, reason=view["step"]))
    if plot is not None and view["calibration"] is not None:
        plot.write_bytes(session.fetch(f"{path}.svg"))
    _show_calibration(session, view)


def _show_calibration(session: Session, view: dict[str, Any]) -> None:
    trials = view["calibration"]["trials"] if view["calibration"] else []
    fastest = max((trial["pace"]["per_second"] for trial in trials if trial["pace"]), default=1.0) or 1.0
    unit = view["calibration"]["unit"] if view["calibration"] else ""
    columns = {
        "PLAN": lambda row: ("* " if row["plan"] == view["chosen"] else "  ") + _plan_text(row["plan"]),
        unit.upper(): lambda row: f"{row['pace']['per_second']:,.1f}" if row["pace"] else "",
        "": lambda row: "█" * max(1, round(_BAR_CELLS * row["pace"]["per_second"] / fastest)) if row["pace"] else "",
        "P50 ALONE": lambda row: f"{row['pace']['p50_ms']:,.1f} ms" if row["pace"] else "",
        "AGREEMENT": lambda row: f"{row['drift']['agreement']:.2%}" if row["drift"] else "",
        "ERROR": lambda row: f"{row['drift']['error']:.4f}" if row["drift"] else "",
        "PREDICTED": lambda row: size_text(row["predicted_bytes"]) if row["predicted_bytes"] else "",
        "RESIDENT": lambda row: size_text(row["working_bytes"] or row["resident_bytes"]) if row["resident_bytes"] else "",
        "VERDICT": lambda row: row["verdict"] + (f": {row['reason']}" if row["reason"] else ""),
    }
    session.output.table(view, columns, trials)
    if trials:
        session.output.note(say("calibrated", name=view["name"], aim=view["aim"], seconds=view["calibration"]["took_seconds"]))


def _plan_text(plan: dict[str, Any]) -> str:
    return " ".join(part for part in (plan["engine"], plan["precision"], f"{plan['streams']}x{plan['threads']}") if part)


def _whole(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The deployment, and the stand-in that is loaded beside it."""
    stand_in = row.get("stand_in") or {}
    return [row, stand_in] if stand_in.get("replicas") else [row]


def _engines(row: dict[str, Any]) -> str:
    return " + ".join(each["engine"] for each in _whole(row) if each["engine"])


def _resident(row: dict[str, Any]) -> int:
    return sum(replica["resident_bytes"] for replica in row.get("replicas", ()))


def _size(sizes: Iterable[int]) -> str:
    """The sum for people; nothing for nothing."""
    total = sum(sizes)
    return size_text(total) if total else ""


def _replicas(row: dict[str, Any]) -> str:
    return f"{len(row['replicas'])}/{row['replicas_wanted']}" + (" pinned" if row["is_pinned"] else "")


def pairs(given: list[str], option: str, example: str) -> dict[str, Any]:
    """The values of KEY=VALUE options: JSON where it can be, text elsewhere."""
    found = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"'{each}' must be KEY=VALUE, such as {example}.", param_hint=option)
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


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
