"""`import openai`: the fine-tuning jobs of an account at OpenAI, made anew on a model of one's own."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from yunmo.cli.deployments import pairs
from yunmo.cli.messages import say
from yunmo.cli.openai_export import JOB_KEY, Plan, planned, read_export
from yunmo.cli.output import Failed
from yunmo.cli.session import Session
from yunmo.cli.uploads import upload

_JOBS = "/v1/fine_tuning/jobs"
_FILES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class _Made:
    """What became of one job: `job` is its id here."""

    plan: Plan
    state: str
    job: str = ""
    reason: str = ""


def import_openai(
    session: Session,
    path: Annotated[
        Path,
        typer.Argument(metavar="DIR|FILE", help="The export: a directory with jobs.json, files.json and the files, or the list of jobs."),
    ],
    base: Annotated[str | None, typer.Option(help="The model here to begin with, where --map names none.")] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", metavar="OPENAI=NS/NAME", help="A model here for OpenAI's of this name. Can be repeated.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also jobs that did not succeed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and ask no server.")] = False,
) -> None:
    """Make the fine-tuning jobs of an OpenAI account anew, with their files, hyperparameters, suffixes and metadata. A second run makes nothing twice.

    导入 OpenAI 的微调任务：用相同的文件与参数在自己的模型上重新训练；重复运行不会重复创建。
    """
    bases = {name: str(value) for name, value in pairs(map_ or [], "--map", "gpt-4o-mini=acme/chat").items()}
    plans = planned(read_export(path), bases, base)
    known = None if dry_run else _Files(session)
    done = [_do(session, plan, known, every=every) for plan in plans]
    columns = {
        "JOB": lambda made: made.plan.id,
        "FROM": lambda made: made.plan.model,
        "BASE": lambda made: made.plan.body["model"],
        "METHOD": lambda made: made.plan.body["method"]["type"],
        "FILES": lambda made: ", ".join(file.name for file in made.plan.files.values()),
        "STATE": lambda made: say(f"import_{made.state}"),
        "HERE": lambda made: made.job,
        "NOTES": lambda made: made.reason or ", ".join(made.plan.notes),
    }
    session.output.table([_view(made) for made in done], columns, done)
    if any(made.state == "impossible" for made in done):
        raise typer.Exit(1)


class _Files:
    """The project's files for trainings, found by what is in them: their name says its digest."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ids = self._listed()

    def send(self, path: Path) -> str:
        """The id of the file with these bytes, which is sent unless it is there."""
        try:
            with path.open("rb") as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
        except OSError as error:
            raise Failed(say("unreadable_file", file=path, reason=error.strerror)) from error
        name = f"{path.stem[:100]}.{digest[:32]}{path.suffix}"
        if name not in self._ids:
            self._ids[name] = upload(self._session, path, name)["id"]
        return self._ids[name]

    def _listed(self) -> dict[str, str]:
        ids: dict[str, str] = {}
        query: dict[str, Any] = {"purpose": "fine-tune", "limit": _FILES_AT_ONCE}
        while True:
            page = self._session.call("GET", "/v1/files", query=query)
            ids |= {file["filename"]: file["id"] for file in page["data"]}
            if not page["has_more"]:
                return ids
            query["after"] = page["data"][-1]["id"]


def _do(session: Session, plan: Plan, files: _Files | None, *, every: bool) -> _Made:
    if plan.status != "succeeded" and not every:
        return _Made(plan, "skipped", reason=plan.status)
    if plan.problem:
        return _Made(plan, "impossible", reason=plan.problem)
    if files is None:
        return _Made(plan, "possible")
    try:
        there = session.call("GET", _JOBS, query={f"metadata[{JOB_KEY}]": plan.id, "limit": 1})["data"]
        if there:
            return _Made(plan, "there", there[0]["id"])
        sent = {name: files.send(file) for name, file in plan.files.items()}
        job = session.call_once(_JOBS, {**plan.body, **sent}, plan.id)
    except Failed as error:
        return _Made(plan, "impossible", reason=str(error))
    return _Made(plan, "made", job["id"])


def _view(made: _Made) -> Mapping[str, Any]:
    files = {name: str(file) for name, file in made.plan.files.items()}
    return {
        "id": made.plan.id,
        "state": made.state,
        "job": made.job or None,
        "reason": made.reason or None,
        "notes": list(made.plan.notes),
        "body": made.plan.body,
        "files": files,
    }
