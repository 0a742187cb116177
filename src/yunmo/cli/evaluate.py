"""`evaluate`: a model that is served is asked rows whose answers are known."""

import time
from typing import Annotated, Any

import typer

from yunmo.cli.deployments import pairs
from yunmo.cli.following import aligned
from yunmo.cli.messages import say
from yunmo.cli.output import Failed
from yunmo.cli.session import Session, in_path
from yunmo.cli.train import rows_at, source_of

_POLL_SECONDS = 0.5


def evaluate(  # noqa: PLR0913 (each parameter is an option of the command)
    session: Session,
    model: Annotated[str, typer.Argument(help="What clients call: a deployment, ns/name or ns/name@commit.")],
    method: Annotated[
        str,
        typer.Argument(
            help="What the rows are: supervised, classification, token_classification, seq2seq, embedding, image_classification, "
            "speech_recognition."
        ),
    ],
    rows: Annotated[str, typer.Argument(metavar="FILE|DATASET", help="The rows, as in 'yunmo train'.")],
    split: Annotated[str | None, typer.Option(help="Which split of a data set.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="Read this column as this field. Can be repeated.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the metrics.")] = True,
) -> None:
    """Ask a model rows whose right answers are known, and tell how right it was.

    用带标准答案的数据评测已部署的模型。
    """
    columns = {name: str(value) for name, value in pairs(column or [], "--column", "text=sentence").items()}
    place = rows_at(session, source_of(rows), columns) | ({} if split is None else {"split": split})
    job = session.call("POST", "/admin/evaluations", json={"model": model, "method": method, "rows": place})
    if not wait:
        session.output.result(job, say("evaluation_ordered", model=model, id=job["id"]))
        return
    with session.output.progress(model) as tell:
        while job["status"] not in {"succeeded", "failed", "cancelled"}:
            progress = job["progress"] or {}
            tell(job["status"], progress.get("done", 0) / (progress.get("total") or 1))
            time.sleep(_POLL_SECONDS)
            job = session.call("GET", f"/admin/jobs/{in_path(job['id'])}")
    if job["status"] != "succeeded":
        raise Failed(say("job_failed", id=job["id"], reason=(job["error"] or {}).get("message", job["status"])))
    session.output.result(job, "\n".join(_told(job["result"])))


def _told(result: dict[str, Any]) -> list[str]:
    lines = [say("evaluated", model=result["model"], commit=result["commit"][:12], rows=result["rows"])]
    lines += aligned([(name.replace("_", " "), f"{value:.4f}") for name, value in result["metrics"].items()])
    if result["wrong_file"]:
        lines.append(say("evaluated_wrong", file=result["wrong_file"]))
    return lines
