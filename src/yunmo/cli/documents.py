"""`translate file`: documents are sent, translated as jobs, and fetched."""

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from yunmo.cli.following import asked
from yunmo.cli.messages import say
from yunmo.cli.output import Failed
from yunmo.cli.session import Session, in_path
from yunmo.cli.uploads import upload

_POLL_SECONDS = 0.5
_ENDED = frozenset({"succeeded", "failed", "cancelled"})
_LOOKED_THROUGH = 200
_ISSUES_SHOWN = 5
_FORMALITIES = ("default", "more", "less", "prefer_more", "prefer_less")
_DOCUMENTS = "/admin/translation/documents"


def translate_files(  # noqa: PLR0913 (each parameter is an option of the command)
    session: Session,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Documents: .docx, .pptx, .xlsx, .html, .md, .txt, .srt and others.")
    ],
    to: Annotated[str, typer.Option(help="The language to translate into, such as zh, pt-BR or zh-Hant.")],
    source: Annotated[str | None, typer.Option("--from", help="The language to translate from (default: found out).")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR|FILE", help="Where to write (default: NAME.LANGUAGE.EXT beside the document).")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model to translate with, instead of the routes' choice.")] = None,
    formality: Annotated[str, typer.Option(help=f"{', '.join(_FORMALITIES)}: for models that can be told.")] = "default",
    glossary: Annotated[Path | None, typer.Option(metavar="FILE.tsv", help="Terms and their translations, a tab between them.")] = None,
    field: Annotated[list[str] | None, typer.Option(help="Translate this field of a JSON file alone. Can be repeated.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="Translate this column of a table alone. Can be repeated.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the translations.")] = True,
) -> None:
    """Translate documents and keep all in them but their words. Run again, it translates only what has changed.

    翻译文档并保留格式；再次运行时只翻译改动过的部分。
    """
    if formality not in _FORMALITIES:
        raise typer.BadParameter(f"'{formality}' is none of {', '.join(_FORMALITIES)}.", param_hint="--formality")
    if output is not None and len(files) > 1 and not output.is_dir():
        raise Failed(say("one_output"))
    order: dict[str, Any] = {"target": to, "source": source, "model": model, "formality": formality, "terms": _terms(glossary)}
    order |= {"fields": field or None, "columns": column or None}
    orders = [_Ordered(path, *_submitted(session, path, order)) for path in files]
    told = [_finished(session, each, output) if wait else _queued(each) for each in orders]
    failed = [each for each in told if "error" in each]
    lines = [each.pop("text") for each in told if each not in failed]
    if not failed:
        session.output.result(told, "\n".join(lines))
        return
    if lines:
        session.output.note("\n".join(lines))
    raise Failed("\n".join(say("document_failed", file=each["file"], reason=each["error"]) for each in failed), failed[0]["code"])


@dataclass(frozen=True, slots=True)
class _Ordered:
    """A document, and its job or why it has none."""

    path: Path
    job: dict[str, Any]
    error: Failed | None


def _submitted(session: Session, path: Path, order: dict[str, Any]) -> tuple[dict[str, Any], Failed | None]:
    """The document's job: the one that there is for the same document and order, or a new one, which takes over what an earlier one has."""
    try:
        marks = {"document": _digest(path), "order": hashlib.sha256(json.dumps([path.name, order]).encode()).hexdigest()}
        listed = session.call("GET", "/admin/jobs", query={"kind": "translate", "limit": _LOOKED_THROUGH})["data"]
        alike = [job for job in listed if _marks(job).get("order") == marks["order"] and job["status"] not in {"failed", "cancelled"}]
        same = next((job for job in alike if _marks(job) == marks), None)
        if same is not None and _is_kept(session, same):
            return same, None
        earlier = next((job["id"] for job in alike if job["status"] == "succeeded"), None)
        file = upload(session, path, purpose="user_data")
        return session.infer(_DOCUMENTS, {**order, "file": file["id"], "previous": earlier, "metadata": marks}), None
    except Failed as error:
        return {}, error


def _queued(ordered: _Ordered) -> dict[str, Any]:
    if ordered.error is not None:
        return _failure(ordered.path, ordered.error)
    return {"file": str(ordered.path), "job": ordered.job["id"], "text": say("document_ordered", file=ordered.path, id=ordered.job["id"])}


def _finished(session: Session, ordered: _Ordered, output: Path | None) -> dict[str, Any]:
    """What became of the document, which is beside its source now, or where it was wanted."""
    if ordered.error is not None:
        return _failure(ordered.path, ordered.error)
    try:
        job = _followed(session, ordered)
        target = _place(ordered.path, output, job["result"]["filename"])
        _write(target, session.fetch(f"{_DOCUMENTS}/{in_path(job['id'])}/result"))
    except Failed as error:
        return _failure(ordered.path, error)
    result = job["result"]
    text = say(
        "document_translated", output=target, **{name: result[name] for name in ("units", "source", "target", "characters", "reused")}
    )
    if result["issue_count"]:
        session.output.note(say("document_issues", output=target, count=result["issue_count"]))
        for issue in result["issues"][:_ISSUES_SHOWN]:
            session.output.note(f"  {issue['note'] or issue['unit']}: {issue['kind']}: {issue['what']}")
    return {"file": str(ordered.path), "job": job["id"], "output": str(target), "result": result, "text": text}


def _followed(session: Session, ordered: _Ordered) -> dict[str, Any]:
    """The job when it has succeeded; Failed otherwise. Whoever stops watching does not stop it."""
    job = ordered.job
    try:
        with session.output.progress(ordered.path.name) as tell:
            while job["status"] not in _ENDED:
                progress = job["progress"] or {}
                tell(_line(job["status"], progress), progress.get("done", 0) / (progress.get("total") or 1))
                time.sleep(_POLL_SECONDS)
                job = asked(session, f"{_DOCUMENTS}/{in_path(job['id'])}")
    except KeyboardInterrupt:
        raise Failed(say("document_ordered", file=ordered.path, id=job["id"]), "interrupted") from None
    if job["status"] != "succeeded":
        error = job["error"] or {"code": job["status"], "message": job["status"]}
        raise Failed(say("job_failed", id=job["id"], reason=error["message"]), error["code"])
    return dict(job)


def _line(status: str, progress: dict[str, Any]) -> str:
    if not progress.get("total"):
        return status
    line = f"{status}, {progress['done']:,.0f}/{progress['total']:,.0f} {progress['unit']}"
    return line if progress["eta"] is None else f"{line}, ETA {datetime.fromisoformat(progress['eta']).astimezone():%H:%M:%S}"


def _failure(path: Path, error: Failed) -> dict[str, Any]:
    return {"file": str(path), "error": str(error), "code": error.code}


def _marks(job: dict[str, Any]) -> dict[str, str]:
    return dict(job["input"].get("order", {}).get("metadata", {}))


def _is_kept(session: Session, job: dict[str, Any]) -> bool:
    """Whether the job goes on, or its translation is still there."""
    if job["status"] != "succeeded":
        return True
    try:
        session.call("GET", f"/v1/files/{in_path(job['result']['file'])}")
    except Failed:
        return False
    return True


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Failed(say("unreadable_file", file=path, reason=error.strerror)) from error


def _place(path: Path, output: Path | None, name: str) -> Path:
    """Where a translation goes; it is called after the user's own document."""
    language, ending = Path(name).stem.rpartition(".")[2], Path(name).suffix
    own = f"{path.stem}.{language}{ending}"
    if output is None:
        return path.with_name(own)
    return output / own if output.is_dir() else output


def _write(target: Path, content: bytes) -> None:
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise Failed(say("unwritable_file", file=target, reason=error.strerror)) from error


def _terms(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(say("unreadable_file", file=path, reason=error)) from error
    terms = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        term, tab, translation = line.partition("\t")
        if not tab or not term.strip() or not translation.strip():
            raise Failed(say("bad_glossary", file=path, line=number))
        terms[term.strip()] = translation.strip()
    return terms
