"""Describes a result before it is published: writes its card and its provenance beside the weights."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from yunmo.core.errors import YunmoError
from yunmo.core.rewriting import text_tasks
from yunmo.core.tasks import TASKS
from yunmo.core.training import PARITY_FILE, RESULT_FOLDER, VERSIONS_FILE, TrainingResult
from yunmo.hub.cards import CARD_LIMIT_BYTES, card_of
from yunmo.hub.files import Where
from yunmo.jobs.job import Job
from yunmo.storage.tables import now
from yunmo.training.card import CARD_FILE, card
from yunmo.training.provenance import PROVENANCE_FILE, Provenance, training_json
from yunmo.training.site import Site, owner_of
from yunmo.training.state import KeptModel, TrainingState
from yunmo.training.trainings import order_of


async def describe(site: Site, job: Job, name: str, state: TrainingState, result: TrainingResult) -> None:
    """Write README.md and training.json into the workspace's result, for a repository of this name."""
    root, estimate = site.workspaces.of(job), state.estimate
    assert estimate is not None
    provenance = Provenance(
        repository=name,
        job=job.id,
        order=order_of(job),
        recipe=estimate.recipe,
        result=result,
        train=state.sources["train"],
        validation=state.sources.get("validation"),
        base=state.base,
        base_commit=state.base_commit,
        base_card=await _base_card(site, job, state),
        estimate=estimate,
        epochs=tuple(KeptModel(f"step {epoch.step}", epoch.step, epoch.epoch, epoch.metrics) for epoch in state.epochs),
        rewrites_as=await asyncio.to_thread(_rewrites_as, root / RESULT_FOLDER / "config.json"),
        parity_samples=await asyncio.to_thread(_lines, root / PARITY_FILE),
        hardware=site.hardware,
        versions=await asyncio.to_thread(_versions, root / VERSIONS_FILE),
        finished_at=now(),
        address=site.address,
    )
    await asyncio.to_thread((root / RESULT_FOLDER / CARD_FILE).write_text, card(provenance), "utf-8")
    await asyncio.to_thread((root / RESULT_FOLDER / PROVENANCE_FILE).write_bytes, training_json(provenance))


async def _base_card(site: Site, job: Job, state: TrainingState) -> Mapping[str, Any]:
    """What the base's card says; nothing where it has none, or is gone by now."""
    if not state.base:
        return {}
    try:
        file = await site.hub.files.open(owner_of(job), Where("model", state.base, state.base_commit), CARD_FILE)
        return card_of(await site.hub.files.read(file.entry, file.large, 0, CARD_LIMIT_BYTES))
    except YunmoError:
        return {}


def _rewrites_as(path: Path) -> str | None:
    """What the configuration says that an encoder–decoder was published for; None where it says nothing."""
    config = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    if not config.get("is_encoder_decoder") or not config.get("task_specific_params"):
        return None
    first = text_tasks(str(config.get("model_type", "")), None, config["task_specific_params"])[0]
    return TASKS[first].pipeline_tag


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _versions(path: Path) -> dict[str, str]:
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
