"""What each plan's worker holds in memory at work, beside what its offer foretold.

A worker for each plan that an engine offers is forked from its template as in a server and answers a calibration's sample requests with all
its slots in use, encoders also words from all over their vocabulary. The models are the starter catalogue's, and random ones in the shapes of BERT-base and of a Marian translator.
Kept in bench/results/memory.json; all in MiB.

    python bench/memory.py [MODEL …] [--seconds 6] [--folder KEEP_WHAT_IS_MADE_HERE]
"""

import argparse
import asyncio
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import keep
from starter_models import bergamot_directory, minilm_directory, smollm2_directory, whisper_directory
from starter_safetensors import write_smollm2
from translation_inprocess import marian
from worker_memory import MIB, anonymous, loaded, placing, resident_at_work, usual_requests
from yunmo.core import plugins
from yunmo.core.engine import Offer
from yunmo.core.tasks import Request
from yunmo.engines.transformers.kind import describe_directory
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.serving.hardware import find_hardware

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as made:
        figures = asyncio.run(_measured(options.folder or Path(made), options))
    keep("memory", " ".join(["python bench/memory.py", *map(shlex.quote, options.models)]), figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*_MODELS, []], help="which (default: all)")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--folder", type=Path)
    return parser.parse_args()


async def _measured(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    figures = {}
    async with placing(folder) as placement:
        for name in options.models or _MODELS:
            own = folder / name
            own.mkdir(parents=True, exist_ok=True)
            directory = _MODELS[name](own / "model")
            for offer, requests in _offers(directory):
                row = await _row(placement, directory, own, offer, requests, options.seconds)
                figures[f"{name}, {_words(offer)}"] = row
                print(name, _words(offer), row, flush=True)
    return figures


def _offers(directory: Path) -> Iterator[tuple[Offer, list[Request]]]:
    """Every plan of every engine that takes the model."""
    model = describe_directory(directory)
    for kind in plugins.engines().values():
        offer = kind.offer(model, find_hardware())
        if offer is not None and offer.problem is None and offer.missing is None:
            requests = usual_requests(offer.tasks[0], model, directory)
            for each in (offer, *offer.alternatives):
                yield each, requests


async def _row(
    placement: ProcessPlacement, directory: Path, folder: Path, offer: Offer, requests: list[Request], seconds: float
) -> dict[str, Any]:
    async with loaded(placement, directory, folder, offer) as worker:
        after_loading = worker.resident_bytes
        at_work = await resident_at_work(worker, offer, requests, seconds)
        own = anonymous(worker.pid)
    sizes = {
        "predicted": offer.predicted_bytes,
        "resident": at_work,
        "after loading": after_loading,
        "of no file": own,
        "claimed": offer.memory_bytes,
    }
    return {name: size // MIB for name, size in sizes.items()} | {"off": f"{offer.predicted_bytes / at_work - 1:+.0%}"}


def _words(offer: Offer) -> str:
    plan = offer.plan
    parts = (plan.engine, plan.format, plan.precision, f"{plan.streams}x{plan.threads}", f"{plan.slots} slots")
    return " ".join(part for part in (*parts, str(plan.options.get("speculation", ""))) if part)


def _bert_base(directory: Path) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(num_labels=4)).save_pretrained(directory)
    for name in _TOKENIZER_FILES:
        shutil.copyfile(minilm_directory() / name, directory / name)
    return directory


def _once(directory: Path, make: Any) -> Path:
    return directory if directory.exists() else make(directory)


_MODELS = {
    "MiniLM-L6": lambda _directory: minilm_directory(),
    "BERT-base shape": lambda directory: _once(directory, _bert_base),
    "SmolLM2-135M GGUF": lambda _directory: smollm2_directory(),
    "SmolLM2-135M": lambda directory: _once(directory, lambda own: write_smollm2(next(smollm2_directory().glob("*.gguf")), own)),
    "whisper-base": lambda _directory: whisper_directory(),
    "Bergamot en-pt": lambda _directory: bergamot_directory(),
    "Marian shape": lambda directory: _once(directory, marian),
}

if __name__ == "__main__":
    main()
