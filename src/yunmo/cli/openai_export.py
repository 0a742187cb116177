"""What somebody took along from OpenAI: lists of fine-tuning jobs and of files, the files themselves, and what they become here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yunmo.cli.messages import choose, say
from yunmo.cli.output import Failed

JOB_KEY = "openai_job_id"
"""The metadata by which a job that was made for one of OpenAI's is found again."""

_METHODS = ("supervised", "dpo")
_HYPERPARAMETERS = frozenset({"batch_size", "learning_rate_multiplier", "n_epochs", "beta"})
_FIELDS = ("training_file", "validation_file")
_METADATA_LIMIT = 16


@dataclass(frozen=True, slots=True)
class Export:
    """What was found: jobs as the API gives them, the names of files by their ids, and where files may be."""

    jobs: Sequence[Mapping[str, Any]]
    filenames: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """One job and the request that makes it anew; its `files` are yet to be sent. With a `problem` it cannot be made."""

    id: str
    status: str
    model: str
    body: Mapping[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)
    notes: Sequence[str] = ()
    problem: str = ""


def read_export(path: Path) -> Export:
    """A directory with the lists (*.json) and the files, or the list of jobs with its files beside it. Failed without any job."""
    documents = sorted(path.glob("*.json")) if path.is_dir() else [path]
    objects = [found for document in documents for found in _objects(_read(document))]
    jobs = {each["id"]: each for each in objects if each["object"] == "fine_tuning.job"}
    if not jobs:
        raise Failed(say("no_jobs", path=path))
    filenames = {each["id"]: each["filename"] for each in objects if each["object"] == "file" and isinstance(each.get("filename"), str)}
    oldest_first = sorted(jobs.values(), key=lambda job: job["created_at"] if isinstance(job.get("created_at"), int) else 0)
    return Export(oldest_first, filenames, path if path.is_dir() else path.parent)


def planned(export: Export, bases: Mapping[str, str], base: str | None) -> list[Plan]:
    """What each job becomes: `bases` are models here by the beginnings of OpenAI's names, `base` is for all others."""
    return [_plan(export, job, bases, base) for job in export.jobs]


def _plan(export: Export, job: Mapping[str, Any], bases: Mapping[str, str], base: str | None) -> Plan:
    model = str(job.get("model") or "")
    method, hyperparameters = _method(job)
    notes = [choose(f"left out: {name}", f"忽略：{name}") for name in hyperparameters if name not in _HYPERPARAMETERS]
    if model.startswith("ft:"):
        notes.append(choose("began with a fine-tuned model", "原任务从微调模型开始"))
    if job.get("integrations"):
        notes.append(choose("without its integrations", "不含第三方集成"))
    body = {
        "model": _base_of(model, bases) or base or "",
        "method": {"type": method, method: {"hyperparameters": _kept(hyperparameters)}},
        "suffix": _suffix(job),
        "seed": job.get("seed"),
        "metadata": _metadata(job),
    }
    files: dict[str, Path] = {}
    problem = ""
    for name in _FIELDS:
        if job.get(name):
            found = _find(export, str(job[name]))
            if found is None:
                problem = problem or say("no_export_file", file=job[name], folder=export.folder)
            else:
                files[name] = found
    if method not in _METHODS:
        problem = say("no_method", method=method)
    elif "training_file" not in files:
        problem = problem or say("no_export_file", file=job.get("training_file"), folder=export.folder)
    elif not body["model"]:
        problem = problem or say("no_base", model=model)
    given = {name: value for name, value in body.items() if value is not None}
    return Plan(str(job["id"]), str(job.get("status")), model, given, files, notes, problem)


def _method(job: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The method's name and hyperparameters; older jobs have them at the top alone."""
    method = job.get("method")
    name = str(method.get("type") or "supervised") if isinstance(method, dict) else "supervised"
    block = method.get(name) if isinstance(method, dict) else None
    inside = block.get("hyperparameters") if isinstance(block, dict) else None
    given = inside or job.get("hyperparameters")
    return name, given if isinstance(given, dict) else {}


def _kept(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hyperparameters.items() if name in _HYPERPARAMETERS and value is not None}


def _base_of(model: str, bases: Mapping[str, str]) -> str | None:
    name = model.removeprefix("ft:")
    fitting = [beginning for beginning in bases if name.startswith(beginning) or model == beginning]
    return bases[max(fitting, key=len)] if fitting else None


def _suffix(job: Mapping[str, Any]) -> str | None:
    """What was asked for, else the fourth part of ft:model:organization:suffix:id."""
    asked = job.get("user_provided_suffix")
    if isinstance(asked, str) and asked:
        return asked
    parts = str(job.get("fine_tuned_model") or "").split(":")
    return parts[3] if len(parts) >= 5 and parts[3] else None


def _metadata(job: Mapping[str, Any]) -> dict[str, str]:
    own = job.get("metadata")
    kept = list(own.items())[: _METADATA_LIMIT - 1] if isinstance(own, dict) else []
    return {**dict(kept), JOB_KEY: str(job["id"])}


def _find(export: Export, file_id: str) -> Path | None:
    """The file by its id or by the name that it had. Names are taken without their folders: the export is not trusted."""
    names = [file_id, f"{file_id}.jsonl"]
    if file_id in export.filenames:
        names.append(export.filenames[file_id])
    places = [folder / Path(name).name for folder in (export.folder, export.folder / "files") for name in names]
    return next((place for place in places if place.is_file()), None)


def _read(document: Path) -> Any:
    try:
        return json.loads(document.read_text(encoding="utf-8"))
    except OSError as error:
        raise Failed(say("unreadable_file", file=document, reason=error.strerror)) from error
    except (ValueError, RecursionError) as error:
        raise Failed(say("unreadable_file", file=document, reason=error)) from error


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Jobs and files of a list, of a page, or of a list of pages."""
    if isinstance(value, list):
        for each in value:
            yield from _objects(each)
    elif isinstance(value, dict):
        if isinstance(value.get("id"), str) and isinstance(value.get("object"), str):
            yield value
        else:
            yield from _objects(value.get("data"))
