"""From a request for a model that is not loaded to its first answer, over HTTP: workers forked from a template beside fresh ones.

The models are in the hub, laid out in the cache and exported; each round undeploys one and asks for it again.
One server keeps templates, the other (`serving.template_bytes=0`) starts a Python for each worker; they take turns.

    python bench/cold_start.py [--rounds 9]
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from harness import keep

CHAT = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Say one word."}], "max_tokens": 1})
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bench/minilm": ("/v1/embeddings", {"input": "The quick brown fox"}),
    "bench/smollm2": CHAT,
    "bench/smollm2-openvino": CHAT,
}
TARGETS = {"bench/minilm": 0.6, "bench/smollm2": 1.2, "bench/smollm2-openvino": 1.2}
DEPLOYED = {"bench/smollm2-openvino": {"name": "bench/smollm2-openvino", "model": "bench/smollm2", "options": {"engine": "openvino_genai"}}}
"""Wishes that are part of what is measured, for models that are not served by their repository's name."""
FORKED, FRESH = "forked from a template", "a fresh process"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    took: dict[tuple[str, str], list[float]] = {(name, how): [] for name in MODELS for how in (FORKED, FRESH)}
    with _server({}) as forking, _server({"YUNMO_SERVING__TEMPLATE_BYTES": "0"}) as spawning:
        for name in MODELS:
            for server in (forking, spawning):
                _cold(server, name)  # exports, lays out, and imports the libraries for the template
        costs = _templates(forking)
        for _ in range(rounds):
            for name in MODELS:
                took[name, FORKED].append(_cold(forking, name))
                took[name, FRESH].append(_cold(spawning, name))
    figures: dict[str, Any] = {
        "rounds": rounds,
        "load during the rounds": round(os.getloadavg()[0], 1),
        "MiB of the templates alone": costs,
    }
    for name in MODELS:
        forked, fresh = (statistics.median(took[name, how]) for how in (FORKED, FRESH))
        figures[name] = {
            f"seconds, {FORKED}": round(forked, 3),
            f"seconds, {FRESH}": round(fresh, 3),
            "best of each": [round(min(took[name, how]), 3) for how in (FORKED, FRESH)],
            "times sooner": round(fresh / forked, 2),
            "wanted, on an idle machine": TARGETS[name],
        }
    keep("cold_start", "python bench/cold_start.py", figures)


@contextlib.contextmanager
def _server(environment: dict[str, str]) -> Iterator[Any]:
    from huggingface_hub import HfApi

    from running import running_server
    from starter_models import minilm_directory, smollm2_directory

    with tempfile.TemporaryDirectory() as data, running_server(Path(data), environment) as server:
        hub = HfApi(endpoint=server.url, token=server.key)
        for name, directory in (("bench/minilm", minilm_directory()), ("bench/smollm2", smollm2_directory())):
            hub.create_repo(name)
            hub.upload_folder(folder_path=directory, repo_id=name)
        yield server


def _cold(server: Any, name: str) -> float:
    """Seconds from the request to the answer of a model that was not deployed; it is undeployed again."""
    path, body = MODELS[name]
    with server.client() as client:
        client.get("/health")  # the connection is there
        began = time.monotonic()
        if name in DEPLOYED:
            client.post("/admin/deployments", json=DEPLOYED[name]).raise_for_status()
        client.post(path, json={"model": name, **body}, timeout=300).raise_for_status()
        seconds = time.monotonic() - began
        client.delete(f"/admin/deployments/{name.replace('/', '%2F')}").raise_for_status()
    return seconds


def _templates(server: Any) -> dict[str, float]:
    """The memory that each template shares with nobody while no model is loaded."""
    found = {}
    for child in psutil.Process(server.process.pid).children():
        command = child.cmdline()
        if "yunmo.runtime.template" in command:
            found[command[-1].split(".")[2]] = round(child.memory_full_info().uss / 2**20, 1)
    return found


if __name__ == "__main__":
    main()
