"""The tables of jobs and every line of SQL about them.

A claim raises the job's *fence*. Whatever a worker writes afterwards names the fence that it was given, so one that
lost its lease (it hung, or its machine was cut off) changes nothing any more, and neither does the effect that it
wanted to have in the same transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from yunmo.jobs.job import Failure, Job, JobEvent, Level, Progress, State, Wanted
from yunmo.storage.tables import BigId, Time, metadata, now

job_table = sa.Table(
    "job",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(96), nullable=False),
    sa.Column("key_id", sa.String(32), nullable=False),
    sa.Column("is_admin", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("wanted", sa.String(8), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("input", sa.JSON, nullable=False),
    sa.Column("checkpoint", sa.JSON(none_as_null=True)),
    sa.Column("progress", sa.JSON(none_as_null=True)),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.String(40)),
    sa.Column("lease_until", Time),
    sa.Column("claimed_at", Time),
    sa.Column("wake_at", Time, nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("request_digest", sa.LargeBinary(32)),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("started_at", Time),
    sa.Column("finished_at", Time),
    sa.UniqueConstraint("project", "kind", "idempotency_key"),
    sa.Index("ix_job_state", "state", "wake_at"),
    sa.Index("ix_job_project_kind", "project", "kind", "created_at"),
    sa.Index("ix_job_project_claimed", "project", "claimed_at"),
    sa.Index("ix_job_finished_at", "finished_at"),
)

event_table = sa.Table(
    "job_event",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Column("level", sa.String(8), nullable=False),
    sa.Column("type", sa.String(40), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Index("ix_job_event_job_id", "job_id", "id"),
)

Connection = sa.Connection

_job = job_table.c


def moment(connection: Connection) -> datetime:
    """The database's own time: leases that several machines hold are judged by one clock."""
    if connection.dialect.name == "sqlite":
        return now()
    at: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return at.astimezone(UTC)


# ------------------------------------------------------------ what owners do


def insert(connection: Connection, values: Mapping[str, Any]) -> Job:
    """Add a queued job."""
    at = moment(connection)
    row = {
        "state": "queued",
        "wanted": "run",
        "attempt": 0,
        "failures": 0,
        "fence": 0,
        "created_at": at,
        "wake_at": at,
        **values,
    }
    return _read(connection.execute(job_table.insert().values(row).returning(job_table)).mappings().one())


def find(connection: Connection, project: str | None, job_id: str) -> Job | None:
    """The project's job of this id; None as `project` looks in all of them."""
    row = connection.execute(sa.select(job_table).where(_job.id == job_id, *_of(project))).mappings().one_or_none()
    return None if row is None else _read(row)


def find_repeated(connection: Connection, project: str, kinds: Collection[str], idempotency_key: str) -> tuple[Job, bytes] | None:
    """The job of these kinds that was made with this key, and the digest of the request for it."""
    query = sa.select(job_table).where(_job.project == project, _job.kind.in_(kinds), _job.idempotency_key == idempotency_key)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else (_read(row), bytes(row["request_digest"]))


def page(
    connection: Connection,
    project: str | None,
    kinds: Collection[str] | None,
    states: Collection[State] | None,
    after: Job | None,
    limit: int,
) -> list[Job]:
    """The newest jobs first, those that come behind `after`."""
    query = sa.select(job_table).where(*_of(project)).order_by(_job.created_at.desc(), _job.id.desc()).limit(limit)
    if kinds is not None:
        query = query.where(_job.kind.in_(kinds))
    if states is not None:
        query = query.where(_job.state.in_(states))
    if after is not None:
        query = query.where(sa.or_(_job.created_at < after.created_at, (_job.created_at == after.created_at) & (_job.id < after.id)))
    return [_read(row) for row in connection.execute(query).mappings()]


def count_unfinished(connection: Connection, project: str) -> int:
    """How many of the project's jobs have not ended."""
    query = sa.select(sa.func.count()).where(_job.project == project, _job.state.in_(["queued", "running"]))
    return int(connection.execute(query).scalar_one())


def want(connection: Connection, project: str | None, job_id: str, wanted: Wanted) -> Job | None:
    """Say what the owner wants of a job that has not ended; None if there is none such. A queued one that is cancelled ends at once."""
    job = find(connection, project, job_id)
    if job is None or job.has_ended or (job.wanted == "cancel" and wanted != "cancel"):
        return None
    values: dict[str, Any] = {"wanted": wanted}
    if wanted == "cancel" and job.state == "queued" and job.checkpoint is None:
        values |= {"state": "cancelled", "finished_at": moment(connection)}
    elif wanted != "pause" and job.state == "queued":
        values |= {"wake_at": moment(connection), "failures": 0}
    change = job_table.update().where(_job.id == job_id, _job.state == job.state)
    return _read(connection.execute(change.values(values).returning(job_table)).mappings().one())


# ------------------------------------------------------------ what workers do


def has_due(connection: Connection, kinds: Collection[str]) -> bool:
    """Whether a job of these kinds could be claimed, but for its project's limit."""
    return connection.execute(sa.select(_job.id).where(_is_due(kinds, moment(connection))).limit(1)).first() is not None


def claim(connection: Connection, kinds: Collection[str], owner: str, lease_seconds: float, running_per_project: int) -> Job | None:
    """Take the next job of these kinds.

    Projects take turns: first the one with the fewest jobs running, then the one that was served longest ago. Of its own
    jobs a project gets the one with the highest priority, then the oldest. A job that its owner cancelled after it had
    begun is claimed once more, for its kind to leave things in order.
    """
    at = moment(connection)
    is_due = _is_due(kinds, at)
    project = connection.execute(_next_project(is_due, running_per_project)).scalar_one_or_none()
    if project is None:
        return None
    chosen = sa.select(_job.id).where(is_due, _job.project == project).order_by(_job.priority.desc(), _job.created_at, _job.id).limit(1)
    job_id = connection.execute(chosen).scalar_one()
    change = job_table.update().where(_job.id == job_id, _job.state == "queued")
    values = {
        "state": "running",
        "owner": owner,
        "lease_until": _later(at, lease_seconds),
        "claimed_at": at,
        "started_at": sa.func.coalesce(_job.started_at, sa.literal(at, Time)),
        "attempt": _job.attempt + 1,
        "failures": _job.failures + 1,
        "fence": _job.fence + 1,
    }
    return _read(connection.execute(change.values(values).returning(job_table)).mappings().one())


def _is_due(kinds: Collection[str], at: datetime) -> sa.ColumnElement[bool]:
    return (_job.state == "queued") & (_job.wake_at <= at) & _job.wanted.in_(["run", "cancel"]) & _job.kind.in_(kinds)


def _next_project(is_due: sa.ColumnElement[bool], running_per_project: int) -> sa.Select[tuple[str]]:
    other = job_table.alias()
    running = (
        sa.select(other.c.project, sa.func.count().label("running")).where(other.c.state == "running").group_by(other.c.project).subquery()
    )
    third = job_table.alias()
    due = sa.select(_job.project).where(is_due).distinct().subquery()
    served = sa.select(sa.func.max(third.c.claimed_at)).where(third.c.project == due.c.project).scalar_subquery()
    count = sa.func.coalesce(running.c.running, 0)
    return (
        sa.select(due.c.project)
        .outerjoin(running, running.c.project == due.c.project)
        .where(count < running_per_project)
        .order_by(count, served.asc().nulls_first(), due.c.project)
        .limit(1)
    )


def renew(connection: Connection, job: Job, lease_seconds: float, progress: Progress | None) -> Wanted | None:
    """Keep the lease and tell how far the job is; what its owner wants now, or None when the lease is lost."""
    values: dict[str, Any] = {"lease_until": _later(moment(connection), lease_seconds)}
    if progress is not None:
        values["progress"] = _progress(progress)
    return connection.execute(_held(job).values(values).returning(_job.wanted)).scalar_one_or_none()


def wants(connection: Connection, job_ids: Collection[str]) -> dict[str, Wanted]:
    """What the owners of these jobs want."""
    query = sa.select(_job.id, _job.wanted).where(_job.id.in_(job_ids))
    return {row.id: row.wanted for row in connection.execute(query)}


def save(connection: Connection, job: Job, checkpoint: Mapping[str, Any], progress: Progress | None) -> Wanted | None:
    """Keep how far the work is; the attempt counts as one that got further. None when the lease is lost."""
    values: dict[str, Any] = {"checkpoint": dict(checkpoint), "failures": 0}
    if progress is not None:
        values["progress"] = _progress(progress)
    return connection.execute(_held(job).values(values).returning(_job.wanted)).scalar_one_or_none()


def finish(
    connection: Connection, job: Job, state: State, result: Mapping[str, Any] | None, error: Failure | None, progress: Progress | None
) -> bool:
    """End the job; False, and nothing happens, when the lease is lost."""
    values: dict[str, Any] = {
        "state": state,
        "result": None if result is None else dict(result),
        "error": None if error is None else asdict(error),
        "owner": None,
        "lease_until": None,
        "finished_at": moment(connection),
    }
    if progress is not None:
        values["progress"] = _progress(progress)
    return connection.execute(_held(job).values(values)).rowcount == 1


def put_back(
    connection: Connection,
    job: Job,
    *,
    wait_seconds: float = 0,
    error: Failure | None = None,
    pauses: bool = False,
    kind: str | None = None,
) -> bool:
    """Queue the job again, for later or (`pauses`) for when its owner wants it; False when the lease is lost.

    It goes on as another `kind` if one is named.

    Without an error the attempt is not held against the job: it was stopped, it did not fail.
    """
    values: dict[str, Any] = {
        "state": "queued",
        "owner": None,
        "lease_until": None,
        "wake_at": _later(moment(connection), wait_seconds),
        "error": None if error is None else asdict(error),
        "kind": kind or job.kind,
    }
    if error is None:
        values["failures"] = sa.case((_job.failures > 0, _job.failures - 1), else_=0)
    if pauses:
        values["wanted"] = sa.case((_job.wanted == "cancel", "cancel"), else_="pause")
    return connection.execute(_held(job).values(values)).rowcount == 1


def recover(connection: Connection, tries: int, *, but_for: str | None = None) -> list[Job]:
    """Take the jobs from workers whose lease has run out: they are queued again, or fail after so many tries without getting further.

    `but_for` is the only owner that lives: all others' leases have run out.
    """
    at = moment(connection)
    is_over = _job.lease_until < at if but_for is None else _job.owner != but_for
    is_lost = (_job.state == "running") & is_over
    given_up = {
        "state": "failed",
        "finished_at": at,
        "error": asdict(
            Failure("engine_failed", f"Whoever worked on this job died {tries} times without getting further. The server's log says more.")
        ),
    }
    freed: dict[str, Any] = {"owner": None, "lease_until": None}
    dead = job_table.update().where(is_lost, _job.failures >= tries, _job.wanted != "cancel").values(freed | given_up)
    again = job_table.update().where(is_lost).values(freed | {"state": "queued", "wake_at": at})
    rows = [row for change in (dead, again) for row in connection.execute(change.returning(job_table)).mappings()]
    return [_read(row) for row in rows]


# ------------------------------------------------------------ events


def tell(
    connection: Connection, job_id: str, level: Level, message: str, type_: str = "message", data: Mapping[str, Any] | None = None
) -> None:
    """Note what happened to a job."""
    values = {"job_id": job_id, "at": now(), "level": level, "type": type_, "message": message, "data": dict(data or {})}
    connection.execute(event_table.insert().values(values))


def events(connection: Connection, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """The job's events behind the one with the id `after`, oldest first."""
    query = sa.select(event_table).where(event_table.c.job_id == job_id, event_table.c.id > after).order_by(event_table.c.id).limit(limit)
    return [_event(row) for row in connection.execute(query).mappings()]


def latest_events(connection: Connection, job_id: str, before: int | None, limit: int) -> list[JobEvent]:
    """The job's events newest first, those before the one with the id `before`."""
    query = sa.select(event_table).where(event_table.c.job_id == job_id).order_by(event_table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(event_table.c.id < before)
    return [_event(row) for row in connection.execute(query).mappings()]


def delete_ended(connection: Connection, before: datetime, limit: int) -> int:
    """Forget jobs that ended before this moment, with their events, a few at a time."""
    ended = sa.select(_job.id).where(_job.finished_at < before).order_by(_job.finished_at).limit(limit)
    gone = connection.execute(ended).scalars().all()
    connection.execute(event_table.delete().where(event_table.c.job_id.in_(gone)))
    return connection.execute(job_table.delete().where(_job.id.in_(gone))).rowcount


# ------------------------------------------------------------ rows


def _held(job: Job) -> sa.Update:
    return job_table.update().where(_job.id == job.id, _job.fence == job.fence, _job.state == "running")


def _of(project: str | None) -> Sequence[sa.ColumnElement[bool]]:
    return () if project is None else (_job.project == project,)


def _later(at: datetime, seconds: float) -> datetime:
    return datetime.fromtimestamp(at.timestamp() + seconds, UTC)


def _progress(progress: Progress) -> dict[str, Any]:
    return {**asdict(progress), "eta": progress.eta.isoformat() if progress.eta else None}


def _read(row: sa.RowMapping) -> Job:
    progress, error = row["progress"], row["error"]
    if progress is not None:
        progress = Progress(**{**progress, "eta": datetime.fromisoformat(progress["eta"]) if progress["eta"] else None})
    return Job(
        **{name: row[name] for name in Job.__slots__ if name not in {"progress", "error"}},
        progress=progress,
        error=None if error is None else Failure(**error),
    )


def _event(row: sa.RowMapping) -> JobEvent:
    return JobEvent(**{name: row[name] for name in JobEvent.__slots__})
