"""`jobs list|show|logs|cancel|pause|resume|wait`."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from yunmo.cli.messages import say
from yunmo.cli.output import Failed
from yunmo.cli.session import Session, in_path

_POLL_SECONDS = 0.5
_EVENTS_AT_ONCE = 500
_ENDED = frozenset({"succeeded", "failed", "cancelled"})

_Id = Annotated[str, typer.Argument(metavar="ID", help="The job's id, from 'yunmo jobs list'.")]


def list_jobs(
    session: Session,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind, such as batch.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those: queued, running, succeeded, failed, cancelled.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="So many, the newest first.")] = 50,
) -> None:
    """List jobs, the newest first.

    列出任务，最新的在前。
    """
    page = session.call("GET", "/admin/jobs", query={"kind": kind, "state": state, "limit": limit})
    columns: dict[str, Callable[[Any], Any]] = {
        "ID": lambda row: row["id"],
        "PROJECT": lambda row: row["project"],
        "KIND": lambda row: row["kind"],
        "STATUS": lambda row: row["status"],
        "PROGRESS": lambda row: _progress_text(row["progress"]),
        "MADE": lambda row: row["created_at"][:19],
        "ERROR": lambda row: row["error"]["message"][:60] if row["error"] else "",
    }
    session.output.table(page["data"], columns, page["data"])


def show(session: Session, identity: _Id) -> None:
    """Show everything about one job.

    查看一个任务的详情。
    """
    job = session.call("GET", f"/admin/jobs/{in_path(identity)}")
    rows = [(name, value) for name, value in _lines(job) if value not in ("", None)]
    width = max(len(name) for name, _ in rows)
    session.output.result(job, "\n".join(f"{name:<{width}}  {value}" for name, value in rows))


def logs(
    session: Session,
    identity: _Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until the job has ended.")] = False,
) -> None:
    """Show what happened to a job.

    查看任务的事件。
    """
    events, after = _events(session, identity, 0)
    if session.output.as_json and not follow:
        session.output.result(events, "")
        return
    _print(session, events)
    while follow:
        has_ended = session.call("GET", f"/admin/jobs/{in_path(identity)}")["status"] in _ENDED
        events, after = _events(session, identity, after)
        _print(session, events)
        if has_ended:
            return
        time.sleep(_POLL_SECONDS)


def cancel(session: Session, identity: _Id) -> None:
    """Cancel a job; what it has done so far stays where its kind keeps it.

    取消任务。
    """
    _want(session, identity, "cancel", "job_cancelled")


def pause(session: Session, identity: _Id) -> None:
    """Have a job wait: a queued one at once, another at its next checkpoint.

    暂停任务，在下一个检查点生效。
    """
    _want(session, identity, "pause", "job_paused")


def resume(session: Session, identity: _Id) -> None:
    """Have a job that waits go on from its checkpoint.

    恢复任务，从检查点继续。
    """
    _want(session, identity, "resume", "job_resumed")


def wait(
    session: Session,
    identity: _Id,
    timeout: Annotated[float | None, typer.Option(min=0, help="Give up waiting after so many seconds; the job goes on.")] = None,
) -> None:
    """Wait until a job has ended; the exit code is 1 unless it has succeeded.

    等待任务结束；未成功时退出码为 1。
    """
    path = f"/admin/jobs/{in_path(identity)}"
    deadline = None if timeout is None else time.monotonic() + timeout
    job = session.call("GET", path)
    with session.output.progress(f"{job['kind']} {identity}") as tell:
        while job["status"] not in _ENDED:
            if deadline is not None and time.monotonic() > deadline:
                raise Failed(say("job_slow", id=identity, seconds=timeout, status=job["status"]))
            tell(f"{job['status']} {_progress_text(job['progress'])}".strip(), _share(job["progress"]))
            time.sleep(_POLL_SECONDS)
            job = session.call("GET", path)
    if job["status"] != "succeeded":
        reason = job["error"]["message"] if job["error"] else job["status"]
        raise Failed(say("job_failed", id=identity, reason=reason), job["error"]["code"] if job["error"] else job["status"])
    session.output.result(job, say("job_done", id=identity))


def _want(session: Session, identity: str, act: str, text: str) -> None:
    job = session.call("POST", f"/admin/jobs/{in_path(identity)}/{act}")
    session.output.result(job, say(text, id=identity, status=job["status"]))


def _events(session: Session, identity: str, after: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    while True:
        query = {"after": after, "limit": _EVENTS_AT_ONCE}
        page = session.call("GET", f"/admin/jobs/{in_path(identity)}/events", query=query)["data"]
        if not page:
            return found, after
        found += page
        after = page[-1]["id"]


def _print(session: Session, events: list[Any]) -> None:
    for event in events:
        session.output.result(event, f"{event['at'][:19]}  {event['level']:<7}  {event['message']}")


def _lines(job: dict[str, Any]) -> list[tuple[str, Any]]:
    times = [(name.removesuffix("_at"), (job[name] or "")[:19]) for name in ("created_at", "started_at", "finished_at")]
    return [
        ("id", job["id"]),
        ("kind", job["kind"]),
        ("project", job["project"]),
        ("status", job["status"]),
        ("progress", _progress_text(job["progress"])),
        *times,
        ("attempt", job["attempt"]),
        ("error", job["error"]["message"] if job["error"] else ""),
        *((f"input {name}", value) for name, value in job["input"].items()),
        *((f"result {name}", value) for name, value in (job["result"] or {}).items()),
    ]


def _progress_text(progress: dict[str, Any] | None) -> str:
    if progress is None:
        return ""
    total = "" if progress["total"] is None else f"/{progress['total']:,.0f}"
    eta = "" if progress["eta"] is None else f", {progress['eta'][11:19]}"
    return f"{progress['done']:,.0f}{total} {progress['unit']}{eta}"


def _share(progress: dict[str, Any] | None) -> float:
    return min(1.0, progress["done"] / progress["total"]) if progress and progress["total"] else 0.0
