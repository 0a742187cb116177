"""A training watched: what it says, what it will take, how far it is, and what it came to."""

import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from yunmo.cli.messages import choose, say
from yunmo.cli.output import Failed, size_text
from yunmo.cli.session import UNREACHABLE, Session, in_path

AWAY_SECONDS = 300.0
"""How long a server may be away before watching ends."""

_POLL_SECONDS = 0.5
_EVENTS_AT_ONCE = 500
_ENDED = frozenset({"succeeded", "failed", "cancelled"})
_PHASES = {
    "validating": ("checking the rows", "检查数据"),
    "queued": ("waiting for its turn", "排队中"),
    "running": ("training", "训练中"),
    "paused": ("paused", "已暂停"),
}

_JSON = '-H "Content-Type: application/json" -d'
_KEY = '-H "Authorization: Bearer $YUNMO_KEY"'
_CHAT = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "…"}]})
_BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": _CHAT,
    "dpo": _CHAT,
    "embedding": ("/v1/embeddings", {"input": "…"}),
}
_FILES = {"image_classification": "picture.png", "speech_recognition": "speech.wav"}


def follow(session: Session, training: dict[str, Any]) -> Any:
    """The training when it has succeeded; Failed otherwise. Whoever stops watching does not stop it."""
    path = f"/admin/trainings/{in_path(training['id'])}"
    watched = _Watched(session, training["id"])
    try:
        with session.output.progress(f"train {training['id']}") as tell:
            while training["phase"] not in _ENDED:
                watched.look()
                tell(watched.line(training), _share(training["progress"]))
                time.sleep(_POLL_SECONDS)
                training = asked(session, path)
            watched.look()
    except KeyboardInterrupt:
        raise Failed(say("training_goes_on", id=training["id"]), "interrupted") from None
    if training["phase"] != "succeeded":
        error = training["error"] or {"code": training["phase"], "message": training["phase"]}
        raise Failed(say("job_failed", id=training["id"], reason=error["message"]), error["code"])
    return training


def told(url: str, training: dict[str, Any]) -> str:
    """What the training came to, for people: the model, how good it is, whether it is served as it was trained, and how to call it."""
    result, method = training["result"], training["order"]["recipe"]["method"]
    took = duration_text(result["seconds"])
    lines = [say("trained", model=result["model"], steps=result["step"], tokens=result["trained_tokens"], took=took)]
    lines += aligned((name.replace("_", " "), f"{value:.4g}") for name, value in result.get("metrics", {}).items())
    certificate = result.get("certificate")
    if certificate is not None:
        lines.append(_certified(certificate))
    return "\n".join([*lines, say("starter_call"), f"  {how_to_call(url, result['model'], method)}"])


def how_to_call(url: str, model: str, method: str) -> str:
    """A command that asks the model."""
    if method in _FILES:
        return f"curl {url}/models/{model} {_KEY} --data-binary @{_FILES[method]}"
    if method in _BODIES:
        path, body = _BODIES[method]
        return f"curl {url}{path} {_KEY} {_JSON} '{_written({'model': model, **body})}'"
    return f"curl {url}/models/{model} {_KEY} {_JSON} '{_written({'inputs': '…'})}'"


def estimated(estimate: dict[str, Any]) -> list[str]:
    """What a training will take, as a table for people."""
    recipe = estimate["recipe"]
    validation = estimate["validation_rows"]
    rows = f"{estimate['rows']:,}" + (f" + {validation:,} {choose('to validate', '用于验证')}" if validation else "")
    cut = estimate.get("cut_rows", 0)
    steps = f"{estimate['steps']:,} × {recipe['batch_size']} ({recipe['epochs']} {choose('epochs', '轮')})"
    share = estimate["trained_parameters"] / max(1, estimate["parameters"])
    return aligned(
        [
            (choose("rows", "行数"), rows + (f", {cut:,} {choose('are cut', '被截断')}" if cut else "")),
            (choose("tokens", "词元"), f"{estimate['tokens']:,}"),
            (choose("steps", "步数"), steps),
            (choose("time", "时间"), duration_text(estimate["seconds"])),
            (choose("memory", "内存"), size_text(estimate["memory_bytes"])),
            (choose("disk", "磁盘"), size_text(estimate["disk_bytes"])),
            (choose("parameters", "参数"), f"{estimate['trained_parameters']:,} ({share:.1%})"),
        ]
    )


def duration_text(seconds: float) -> str:
    """A time for people: 0.2 s, 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def aligned(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Two columns."""
    rows = list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    return [f"  {name:<{width}}  {value}" for name, value in rows]


def asked(session: Session, path: str, **query: Any) -> Any:
    """The server's answer. One that is away for a while, such as for an update, goes on with the training when it is back."""
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return session.call("GET", path, query=query)
        except Failed as error:
            if error.code != UNREACHABLE or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


class _Watched:
    """What has been told of a training already."""

    def __init__(self, session: Session, identity: str) -> None:
        self._session = session
        self._path = f"/admin/jobs/{in_path(identity)}/events"
        self._after = 0
        self._loss: float | None = None

    def look(self) -> None:
        """Tell what is new."""
        while page := asked(self._session, self._path, after=self._after, limit=_EVENTS_AT_ONCE)["data"]:
            for event in page:
                self._hear(event)
            self._after = page[-1]["id"]

    def line(self, training: dict[str, Any]) -> str:
        """How far it is, in a line."""
        english, chinese = _PHASES.get(training["phase"], (training["phase"], training["phase"]))
        parts = [choose(english, chinese)]
        progress = training["progress"]
        if progress is not None and training["phase"] == "running":
            total = "" if progress["total"] is None else f"/{progress['total']:,.0f}"
            parts.append(f"{progress['done']:,.0f}{total} {progress['unit']}")
            if self._loss is not None:
                parts.append(f"loss {self._loss:.4f}")
            if progress["eta"] is not None:
                parts.append(f"ETA {datetime.fromisoformat(progress['eta']).astimezone():%H:%M:%S}")
        return ", ".join(parts)

    def _hear(self, event: dict[str, Any]) -> None:
        loss = event["data"].get("train_loss")
        if event["type"] == "metrics" and loss is not None:
            self._loss = loss
        elif event["type"] == "estimate":
            self._session.output.note("\n".join(estimated(event["data"])))
        elif event["message"]:
            self._session.output.note(event["message"])


def _certified(certificate: dict[str, Any]) -> str:
    if certificate.get("problem"):
        return say("not_certified", problem=certificate["problem"])
    text = "certified" if certificate["is_passed"] else "drifted"
    engine = " ".join(each for each in (certificate.get("engine", ""), certificate.get("precision", "")) if each)
    return say(text, samples=certificate["samples"], agreement=certificate["agreement"], drift=certificate["drift"], engine=engine)


def _share(progress: dict[str, Any] | None) -> float:
    return min(1.0, progress["done"] / progress["total"]) if progress and progress["total"] else 0.0


def _written(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False)
