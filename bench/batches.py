"""Batches: how many are taken durably in a second, how fast ten thousand texts are embedded, and what people who wait notice of it.

all-MiniLM-L6-v2 with the plan that calibration chooses. The batch is held against the same plan in process, measured before and
after it. Beside the batch, single texts come at random moments (Poisson), as they do before it without one.

    python bench/batches.py [--texts 10000] [--rate 10] [--seconds 40]
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from bare_encoder import BareEncoder
from classification_http import mixed
from harness import keep, load, push_and_deploy
from sentiment import unseen
from yunmo.core.tasks import Embed

NAME = "bench/embedder"
CALIBRATION_SECONDS = 120.0
SUBMITTERS = 32
SUBMIT_SECONDS = 5.0
BARE_TEXTS = 1500
SEED = 20261130


def main() -> None:
    from running import running_server
    from starter_models import minilm_directory

    warnings.simplefilter("ignore")
    options = _options()
    directory = minilm_directory()
    texts = mixed(unseen(), options.texts)
    with tempfile.TemporaryDirectory() as data, running_server(Path(data), {"YUNMO_JOBS__WAITING_PER_PROJECT": "1000000"}) as server:
        push_and_deploy(server, NAME, directory, pinned=True)
        plan = server.calibrate(NAME, CALIBRATION_SECONDS)["plan"]
        exported = next((server.data / "cache" / "derived").glob("*/onnx"))
        bare = BareEncoder(directory, exported, plan, [Embed(inputs=(text,)) for text in texts])
        with server.client() as client:
            alone = Visitors(server.url, server.key, texts).wait(options.rate, options.seconds)
            before = bare.seconds_for(0, BARE_TEXTS)
            took = _ended(client, _begin(client, texts))
            after = bare.seconds_for(0, BARE_TEXTS)
            beside, answered = _beside(client, server, texts, options)
            submits = _submits(client, server, texts[0])
        bare.close()
    in_process = 2 * BARE_TEXTS / (before + after)
    figures = {
        "plan": {name: plan[name] for name in ("engine", "format", "precision", "streams", "threads", "slots")},
        "texts": len(texts),
        "texts per second in a batch": round(len(texts) / took, 1),
        "texts per second of the same plan in process": round(in_process, 1),
        "share of in-process throughput": round(len(texts) / took / in_process, 3),
        "people who wait, a second": options.rate,
        "their wait without a batch, ms": alone,
        "their wait beside a batch, ms": beside,
        "p99 beside a batch, times without": round(beside["p99"] / alone["p99"], 2),
        "texts per second of the batch beside them": answered,
        f"batches taken durably, a second ({SUBMITTERS} clients)": submits,
    }
    keep("batches", " ".join(["python", *sys.argv]), figures, is_quick=options.quick)


class Visitors:
    """People who each embed one text, at moments that know nothing of each other."""

    def __init__(self, url: str, key: str, texts: Sequence[str]) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {key}"}
        self._texts = texts

    def wait(self, rate: float, seconds: float) -> dict[str, float]:
        """The median and the 99th percentile of their waits in milliseconds; the same moments and texts each time."""
        return asyncio.run(self._wait(rate, seconds))

    async def _wait(self, rate: float, seconds: float) -> dict[str, float]:
        chance = random.Random(SEED)
        waits: list[float] = []
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=120) as client:

            async def visit(text: str) -> None:
                began = time.perf_counter()
                (await client.post("/v1/embeddings", json={"model": NAME, "input": text})).raise_for_status()
                waits.append(1000 * (time.perf_counter() - began))

            await visit(self._texts[0])
            waits.clear()
            async with asyncio.TaskGroup() as group:
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    await asyncio.sleep(chance.expovariate(rate))
                    group.create_task(visit(chance.choice(self._texts)))
        waits.sort()
        return {"p50": round(statistics.median(waits), 1), "p99": round(waits[int(0.99 * len(waits))], 1), "visits": len(waits)}


def _begin(client: httpx.Client, texts: Sequence[str]) -> str:
    rows = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/embeddings", "body": {"model": NAME, "input": text}}
        for number, text in enumerate(texts)
    ]
    content = "\n".join(json.dumps(row) for row in rows).encode()
    file = client.post("/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"}).raise_for_status().json()
    return str(client.post("/v1/batches", json=_batch(file["id"])).raise_for_status().json()["id"])


def _batch(file: str) -> dict[str, Any]:
    return {"input_file_id": file, "endpoint": "/v1/embeddings", "completion_window": "24h"}


def _ended(client: httpx.Client, batch: str) -> float:
    """How many seconds the batch takes, from its submission on."""
    began = time.monotonic()
    while (view := client.get(f"/v1/batches/{batch}").json())["status"] != "completed":
        if view["status"] in {"failed", "expired", "cancelled"}:
            raise SystemExit(f"The batch has {view['status']}: {view['errors']}")
        time.sleep(0.05)
    took = time.monotonic() - began
    if view["request_counts"]["failed"]:
        raise SystemExit(f"{view['request_counts']['failed']} lines of the batch failed.")
    return took


def _beside(client: httpx.Client, server: Any, texts: Sequence[str], options: argparse.Namespace) -> tuple[dict[str, float], float]:
    """The waits beside a batch, and how many of its texts were answered a second meanwhile."""
    batch = _begin(client, texts)
    while client.get(f"/v1/batches/{batch}").json()["request_counts"]["completed"] == 0:
        time.sleep(0.05)
    first, began = client.get(f"/v1/batches/{batch}").json()["request_counts"]["completed"], time.monotonic()
    waits = Visitors(server.url, server.key, texts).wait(options.rate, options.seconds)
    view = client.get(f"/v1/batches/{batch}").json()
    pace = (view["request_counts"]["completed"] - first) / (time.monotonic() - began)
    if view["status"] != "in_progress" and not options.quick:
        raise SystemExit("The batch ended before the people did: give it more texts.")
    if view["status"] == "in_progress":
        client.post(f"/v1/batches/{batch}/cancel").raise_for_status()
    return waits, round(pace, 1)


def _submits(client: httpx.Client, server: Any, text: str) -> float:
    """Batches of one line that are taken in a second, each durable before it is answered; they wait for their turn."""
    content = json.dumps({"custom_id": "0", "method": "POST", "url": "/v1/embeddings", "body": {"model": NAME, "input": text}}).encode()
    file = client.post("/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"}).raise_for_status().json()
    taken = load(f"{server.url}/v1/batches", SUBMITTERS, SUBMIT_SECONDS, [_batch(file["id"])], server.headers)
    if taken["failed"]:
        raise SystemExit(f"{taken['failed']} batches were refused.")
    return round(taken["requests_per_second"], 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=10.0, help="people who come a second")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long they come")
    parser.add_argument("--quick", action="store_true", help="a smoke run of few texts; nothing is kept in bench/results")
    options = parser.parse_args()
    if options.quick:
        options.texts, options.seconds = BARE_TEXTS, 5.0
    return options


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
