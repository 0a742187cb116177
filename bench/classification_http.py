"""MiniLM classification over HTTP, one text a request, mixed lengths, beside the same plan in process and FastAPI + pipeline.

A sentiment head is trained first (`examples/sentiment`), so that label agreement with PyTorch fp32 means something: it is
measured over HTTP on 1,000 held-out film-review snippets. The plan is the one that calibration chooses.

    python bench/classification_http.py [--rounds 5] [--seconds 8] [--clients 32]
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import httpx

from harness import ROOT, free_port, keep, load, medians, program

CACHE = ROOT / "bench" / ".cache" / "sentiment"
SNIPPETS = 1000
TEXTS = 256
SETTLE_SECONDS = 3.0
"""The peer works off what its clients have left behind, and its threads stop spinning."""

NAME = "bench/sentiment"
sys.path.insert(0, str(ROOT / "examples" / "sentiment"))


def main() -> None:
    from huggingface_hub import HfApi
    from reviews import load_reviews

    from running import running_server

    warnings.simplefilter("ignore")
    options = _options()
    directory = _trained()
    snippets = [sentence.text for sentence in load_reviews(20261123)[1][:SNIPPETS]]
    bodies = [{"inputs": text} for text in _mixed(snippets)]
    port = free_port()
    peer = f"http://127.0.0.1:{port}/"
    rounds: dict[str, list[dict[str, float]]] = {"yunmo over HTTP": [], "FastAPI + transformers pipeline": []}
    in_process: list[float] = []
    with tempfile.TemporaryDirectory() as data, running_server(Path(data)) as server:
        hub = HfApi(endpoint=server.url, token=server.key)
        hub.create_repo(NAME)
        hub.upload_folder(folder_path=str(directory), repo_id=NAME)
        server.deploy(NAME, pinned=True)
        view = server.calibrate(NAME)
        derived = next((server.data / "cache" / "derived").glob("*/onnx"))
        url = f"{server.url}/models/{NAME}"
        agreement = _agreement(directory, snippets, asyncio.run(_labels(url, server.headers, snippets)))
        with program([sys.executable, str(ROOT / "bench/peers/servers/fastapi_pipeline.py"), str(port), str(directory)], peer):
            for _ in range(options.rounds):
                rounds["yunmo over HTTP"].append(load(url, options.clients, options.seconds, bodies, server.headers))
                in_process.append(_in_process(directory, derived, view["plan"], bodies, options.seconds))
                rounds["FastAPI + transformers pipeline"].append(load(peer, options.clients, options.seconds, bodies, {}))
                time.sleep(SETTLE_SECONDS)
    figures = {name: medians(found) for name, found in rounds.items()}
    shares = [each["requests_per_second"] / alone for each, alone in zip(rounds["yunmo over HTTP"], in_process, strict=True)]
    ours = figures["yunmo over HTTP"]["requests_per_second"]
    keep(
        "classification_http",
        "python bench/classification_http.py",
        {
            "clients": options.clients,
            "plan": {name: view["plan"][name] for name in ("engine", "format", "precision", "streams", "threads", "slots")},
            **figures,
            "the same plan in process, texts per second": round(statistics.median(in_process), 1),
            "share of in-process throughput (median of the rounds')": round(statistics.median(shares), 3),
            "each round's share": [round(share, 3) for share in shares],
            "times FastAPI + pipeline": round(ours / figures["FastAPI + transformers pipeline"]["requests_per_second"], 2),
            f"label agreement with fp32 on {SNIPPETS} snippets": agreement,
        },
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--clients", type=int, default=32)
    return parser.parse_args()


def _trained() -> Path:
    """MiniLM with the example's sentiment head, trained once per machine."""
    if not (CACHE / "model.safetensors").exists():
        import torch
        from reviews import LABELS, load_reviews
        from train import SEED, SENTENCES, train
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from starter_models import minilm_directory

        torch.manual_seed(SEED)
        random.seed(SEED)
        labels = dict(enumerate(LABELS))
        names = {name: number for number, name in labels.items()}
        tokenizer = AutoTokenizer.from_pretrained(minilm_directory())
        model = AutoModelForSequenceClassification.from_pretrained(minilm_directory(), id2label=labels, label2id=names)
        train(model, tokenizer, load_reviews(SEED)[0][:SENTENCES])
        tokenizer.save_pretrained(CACHE)
        model.save_pretrained(CACHE)
    return CACHE


def _mixed(snippets: list[str]) -> list[str]:
    """Texts of 8 to about 128 words' worth of tokens, log-normal around 36, cut from the snippets."""
    source = random.Random(7)
    words = " ".join(snippets).split()
    texts = []
    for _ in range(TEXTS):
        count = int(min(110, max(6, source.lognormvariate(3.3, 0.6))))
        begin = source.randrange(len(words) - count)
        texts.append(" ".join(words[begin : begin + count]))
    return texts


async def _labels(url: str, headers: dict[str, str], snippets: list[str]) -> list[str]:
    """The best label of each snippet, as a client gets it."""
    turn = asyncio.Semaphore(16)

    async def one(client: httpx.AsyncClient, text: str) -> str:
        async with turn:
            reply = await client.post(url, json={"inputs": text}, headers=headers)
            reply.raise_for_status()
            return str(reply.json()[0][0]["label"])

    async with httpx.AsyncClient(timeout=60) as client:
        return await asyncio.gather(*(one(client, text) for text in snippets))


def _agreement(directory: Path, snippets: list[str], found: list[str]) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    same = 0
    with torch.inference_mode():
        for text, label in zip(snippets, found, strict=True):
            logits = model(**tokenizer(text, return_tensors="pt", truncation=True)).logits
            same += model.config.id2label[int(logits.argmax())] == label
    return same / len(snippets)


def _in_process(directory: Path, derived: Path, plan: dict[str, object], bodies: list[dict[str, str]], seconds: float) -> float:
    """Texts per second of the engine alone: one thread per stream, each with a text at a time."""
    import msgspec

    from yunmo.core.engine import Plan
    from yunmo.core.tasks import Classify
    from yunmo.engines.onnx.kind import kind

    chosen = msgspec.convert(plan, Plan)
    engine = kind.load(directory, derived, chosen, lambda _step, _share: None)
    requests = [Classify(texts=(body["inputs"],)) for body in bodies]
    counts = [0] * chosen.streams
    until = time.monotonic() + seconds

    def work(stream: int) -> None:
        at = stream
        while time.monotonic() < until:
            engine.run(stream, [requests[at % len(requests)]])
            counts[stream] += 1
            at += chosen.streams

    threads = [threading.Thread(target=work, args=(stream,)) for stream in range(chosen.streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    return sum(counts) / seconds


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
