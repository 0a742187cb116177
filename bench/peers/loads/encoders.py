"""Classification and embedding of mixed lengths (8 to about 128 tokens, log-normal), one text a request, closed loop."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from peers import models
from peers.client import Connection, closed_loop
from peers.effort import Effort
from peers.loads.measured import Measured
from peers.sides import Side

_WARMING_SECONDS = 0.5


async def measure(sides: Sequence[Side], effort: Effort, round_number: int) -> Measured:
    """Requests per second and latencies for each task and number of clients; the first round compares the answers with PyTorch's."""
    texts = models.texts()
    found: Measured = {}
    for task in ("classify", "embed"):
        able = [side for side in sides if task in side.endpoints]
        if len(able) < len(sides):
            continue
        for side in able:
            if round_number == 0:
                found.setdefault(f"{task}, fidelity", {})[side.name] = await (
                    same_label(side, models.reference().labels) if task == "classify" else _smallest_cosine(side)
                )
            await closed_loop(side.port, side.requests(task, texts), 8, _WARMING_SECONDS)
        for clients in effort.encoder_clients:
            cell = found.setdefault(f"{task}, {clients} clients", {})
            for side in able:
                cell[side.name] = await window(side, side.requests(task, texts), clients, effort.encoder_seconds)
    return found


async def window(side: Side, requests: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    """So many clients for some seconds: answers per second, their latencies, and what failed."""
    processor = time.process_time()
    replies, took = await closed_loop(side.port, requests, clients, seconds)
    good = [reply.seconds for reply in replies if reply.is_ok]
    return {
        "requests_per_second": len(good) / took,
        "p50_ms": 1000 * statistics.median(good) if good else 0.0,
        "p99_ms": 1000 * float(np.percentile(good, 99)) if good else 0.0,
        "failed": len(replies) - len(good),
        "client_share_of_a_core": (time.process_time() - processor) / took,
    }


async def same_label(side: Side, labels: Sequence[str]) -> dict[str, float]:
    """The share of the first texts that get these labels. Raises RuntimeError for no answer."""
    answers = await _answers(side, "classify")
    return {"same_label": statistics.mean(answer == label for answer, label in zip(answers, labels, strict=True))}


async def _smallest_cosine(side: Side) -> dict[str, float]:
    ours, theirs = np.asarray(await _answers(side, "embed")), np.asarray(models.reference().vectors)
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    return {"smallest_cosine": float(cosines.min())}


async def _answers(side: Side, task: str) -> list[Any]:
    """To the texts that PyTorch answered in fp32."""
    connection, answers = Connection(side.port), []
    for request in side.requests(task, models.texts()[: models.CHECKED]):
        reply = await connection.ask(request)
        if not reply.is_ok:
            raise RuntimeError(f"{side.name} answers {task} with {reply.status}: {reply.body[:200].decode(errors='replace')}")
        answers.append(side.endpoints[task].found(reply.body))
    connection.close()
    return answers
