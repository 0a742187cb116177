"""Yunmo as one of the sides: its models are pushed and calibrated once for this code and machine, then it is started like any other."""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import ROOT, machine, push_and_deploy
from peers import models
from peers.environments import ENVIRONMENTS
from peers.sides import START_SECONDS, Endpoint, Side

CLASSIFIER, EMBEDDER, CHAT = "bench/classifier", "bench/embedder", "bench/chat"
CALIBRATION_SECONDS = {"encoders": 120, "bert": 300, "chat": 120}
_ENDPOINTS = {
    "classify": Endpoint(f"/models/{CLASSIFIER}", '{"inputs": TEXT}', (0, 0, "label")),
    "embed": Endpoint("/v1/embeddings", f'{{"model": "{EMBEDDER}", "input": TEXT}}', ("data", 0, "embedding")),
}
_NAMES = {"classify": CLASSIFIER, "embed": EMBEDDER}
_SOURCES: dict[str, dict[str, Callable[[], Path]]] = {
    "encoders": {CLASSIFIER: models.classifier, EMBEDDER: models.embedder},
    "bert": {CLASSIFIER: models.bert},
    "chat": {CHAT: models.chat},
}
_WITHOUT = {"without": ["top_logprobs", "logit_bias"]}
"""The chats of this benchmark ask for none of these, as a deployment may say."""


@dataclass(frozen=True)
class Prepared:
    """A data directory with models that are deployed, and the plans that calibration chose."""

    kind: str
    data: Path
    plans: dict[str, Any]


def prepare(kind: str) -> Prepared:
    """Push, deploy and calibrate the `encoders`, `bert` or the `chat` model, unless that was done with this very code."""
    data = ENVIRONMENTS / "yunmo" / kind
    stamp = data / "prepared.json"
    code = _code()
    if stamp.exists():
        kept = json.loads(stamp.read_text())
        if kept["code"] == code:
            return Prepared(kind, data, kept["plans"])
    shutil.rmtree(data, ignore_errors=True)
    print(f"yunmo: pushing and calibrating {kind}", flush=True)
    plans = _pushed(kind, data)
    stamp.write_text(json.dumps({"code": code, "plans": plans}, indent=2))
    return Prepared(kind, data, plans)


@contextlib.asynccontextmanager
async def started(prepared: Prepared) -> AsyncIterator[Side]:
    """Yunmo from the start of its process to its end."""
    from running import running_server

    began = time.monotonic()
    with running_server(prepared.data) as server:
        is_chat = prepared.kind == "chat"
        side = Side(
            name="yunmo",
            port=int(server.url.rsplit(":", 1)[1]),
            endpoints={task: _ENDPOINTS[task] for task, name in _NAMES.items() if name in _SOURCES[prepared.kind]},
            pid=server.process.pid,
            headers={"Authorization": f"Bearer {server.key}"},
            chat_model=CHAT if is_chat else "",
        )
        await side.answered_first(began, START_SECONDS)
        yield side


def _pushed(kind: str, data: Path) -> dict[str, Any]:
    from running import running_server

    with running_server(data) as server:
        for name, source in _SOURCES[kind].items():
            push_and_deploy(server, name, source(), pinned=True, options=_WITHOUT if name == CHAT else {})
            server.calibrate(name, CALIBRATION_SECONDS[kind])
        return {name: _figures(server.wait_for(name, "ready", CALIBRATION_SECONDS[kind])["plan"]) for name in _SOURCES[kind]}


def _figures(plan: dict[str, Any]) -> dict[str, Any]:
    return {name: plan[name] for name in ("engine", "precision", "streams", "threads", "slots") if plan.get(name)}


def _code() -> str:
    """Names this code and processor: another one is calibrated anew."""
    found = hashlib.sha256(machine()["processor"].encode())
    for path in sorted((ROOT / "src" / "yunmo").rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()
