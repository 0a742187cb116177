"""What a real worker holds in memory: forked from its engine's template as in a server, loaded, and at work on sample requests."""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from starter_models import two_cities_recording
from yunmo.core import plugins
from yunmo.core.engine import ModelDescription, Offer, libraries_of
from yunmo.core.tasks import Classify, Embed, Request, Transcribe
from yunmo.runtime.link import Worker, WorkerSpec
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.runtime.placement.templates import Templates
from yunmo.serving.calibration.runs import answers, per_second
from yunmo.serving.calibration.samples import samples

KIB, MIB = 1 << 10, 1 << 20
LOOK_SECONDS = 10
EVERY_WORD, WORDS = 8, 60


def anonymous(pid: int) -> int:
    """Resident bytes that are of no file: what a further replica adds at most, where this one's files are mapped already."""
    return KIB * int(re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


def mapped(pid: int, name: str) -> tuple[int, int]:
    """Of the files that end with the name: resident bytes, and how many of them another process maps too."""
    resident, shared = 0, 0
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text(), flags=re.MULTILINE):
        if mapping.partition("\n")[0].endswith(name):
            resident += KIB * int(re.search(r"^Rss:\s+(\d+)", mapping, re.MULTILINE)[1])
            shared += KIB * sum(map(int, re.findall(r"^Shared_(?:Clean|Dirty):\s+(\d+)", mapping, re.MULTILINE)))  # dirty: just written
    return resident, shared


@contextlib.asynccontextmanager
async def placing(folder: Path) -> AsyncIterator[ProcessPlacement]:
    """A placement with templates, as a server has it."""
    libraries = {name: libraries_of(kind) for name, kind in plugins.engines().items()}
    templates = Templates(folder / "templates", {name: each for name, each in libraries.items() if each}, 2 << 30)
    try:
        yield ProcessPlacement(templates)
    finally:
        await templates.close()


@contextlib.asynccontextmanager
async def loaded(placement: ProcessPlacement, directory: Path, folder: Path, offer: Offer) -> AsyncIterator[Worker]:
    """A worker that has loaded the model; what is made of it is kept in the folder."""
    derived = folder / "derived" / offer.engine
    derived.mkdir(parents=True, exist_ok=True)
    spec = WorkerSpec("measured", offer.engine, directory, derived, offer.plan, folder / "log")
    placed = await placement.start(spec, lambda _step, _share: None)
    try:
        await placed.worker.load(spec)
        yield placed.worker
    finally:
        await placed.stop(5)


def usual_requests(task: str, model: ModelDescription, directory: Path) -> list[Request]:
    """A calibration's samples, and for encoders texts of words from all over the vocabulary: rows that nobody asks for are not resident."""
    made = samples(task, model)
    if task == "transcribe":
        made = [Transcribe(audio=two_cities_recording().read_bytes())]
    if task in {"embed", "classify"}:
        vocabulary = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
        words = sorted((word for word in vocabulary if word.isalnum()), key=vocabulary.__getitem__)[::EVERY_WORD]
        texts = [" ".join(words[begin : begin + WORDS]) for begin in range(0, len(words), WORDS)]
        made = [Embed(inputs=(text,)) if task == "embed" else Classify(texts=(text,)) for text in texts] + made
    return made


async def resident_at_work(worker: Worker, offer: Offer, requests: Sequence[Request], seconds: float) -> int:
    """The worker's resident bytes after answering every request, and going on for so long with all its slots in use."""
    await answers(worker, requests, offer.plan.slots)
    await per_second(worker, requests, offer.plan.slots, seconds)
    assert await worker.look(LOOK_SECONDS)
    return worker.resident_bytes
