"""Translation within one process: CTranslate2's plans beside the transformers engine, alone and 32 at a time, greedy and with 4 beams.

`python bench/translation_inprocess.py` makes a Marian-shaped model with random weights (512 wide, 6 + 6 layers, 60 thousand tokens),
converts it as a deployment would, and has texts of mixed lengths translated into 24 tokens each, which random weights never end before.
Run it on a calm machine: differences under 20 % are ties.
"""

import asyncio
import contextlib
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from harness import keep
from tiny_tokenizers import CORPUS, sentence_pieces, write_json
from yunmo.core.engine import Plan
from yunmo.core.tasks import Request, Sampling, Translate
from yunmo.engines.ctranslate2.kind import kind as ctranslate2
from yunmo.engines.transformers.kind import describe_directory
from yunmo.engines.transformers.kind import kind as transformers
from yunmo.runtime.batching import Batched
from yunmo.serving.hardware import find_hardware

WIDTH, LAYERS, VOCABULARY = 512, 6, 60_000
WRITTEN_TOKENS = 24
TOGETHER = 32
SECONDS = 8.0

Ask = Callable[[Request], Awaitable[object]]


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        directory = marian(Path(folder) / "model")
        asyncio.run(measure(directory, Path(folder) / "derived"))


async def measure(directory: Path, derived: Path) -> None:
    description, hardware = describe_directory(directory), find_hardware()
    general = transformers.offer(description, hardware)
    own = ctranslate2.offer(description, hardware)
    assert general is not None
    assert own is not None
    figures = {}
    for plan in (general.plan, own.plan, *(offer.plan for offer in own.alternatives)):
        async with asking(plan, directory, derived) as ask:
            for beams in (1, 4):
                figures[f"{words(plan)}, {'greedy' if beams == 1 else f'{beams} beams'}"] = {
                    "alone": await sentences_per_second(ask, beams, 1),
                    f"{TOGETHER} together": await sentences_per_second(ask, beams, TOGETHER),
                }
    keep("translation_inprocess", "python bench/translation_inprocess.py", figures)


@contextlib.asynccontextmanager
async def asking(plan: Plan, directory: Path, derived: Path):
    """A loaded engine that answers whole requests, as a worker runs it."""
    if plan.engine == "transformers":
        engine = transformers.load(directory, derived, plan, lambda *_: None)

        async def ask(request: Request) -> object:
            return [chunk async for chunk in engine.stream(request)]

        yield ask
        await engine.close()
        return
    batched = Batched(ctranslate2.load(directory, derived, plan, lambda *_: None), plan)
    yield batched.answer
    await batched.close()


async def sentences_per_second(ask: Ask, beams: int, count: int) -> float:
    """With so many requests in work at a time: whole waves of them, at least one."""
    sampling = Sampling(max_tokens=WRITTEN_TOKENS, beams=beams)
    requests = [Translate(texts=(text,), sampling=sampling) for text in texts()]
    await ask(requests[0])
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        await asyncio.gather(*(ask(requests[(done + place) % len(requests)]) for place in range(count)))
        done += count
    return round(done / (time.perf_counter() - began), 2)


def texts() -> list[str]:
    """Texts of mixed lengths, log-normal, about 12 words on average."""
    random = np.random.default_rng(0)
    words = sorted({word for line in CORPUS for word in line.split()})
    return [" ".join(random.choice(words, int(length))) for length in np.clip(random.lognormal(2.4, 0.5, 64), 3, 40)]


def words(plan: Plan) -> str:
    return f"{plan.engine} {plan.precision} {plan.streams}x{plan.threads}" + (
        f", batches of {plan.batch_items}" if plan.batch_items > 1 else ""
    )


def marian(directory: Path) -> Path:
    import sentencepiece
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    directory.mkdir()
    torch.manual_seed(0)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(sentence_pieces(directory, "source").rename(directory / "source.spm")))
    (directory / "target.spm").write_bytes((directory / "source.spm").read_bytes())
    known = dict.fromkeys(["</s>", "<unk>", *map(pieces.id_to_piece, range(pieces.get_piece_size()))])
    names = [*known, *(f"▁word{number}" for number in range(VOCABULARY - len(known) - 1)), "<pad>"]
    write_json(directory / "vocab.json", {name: index for index, name in enumerate(names)})
    paths = [str(directory / name) for name in ("source.spm", "target.spm", "vocab.json")]
    MarianTokenizer(*paths, source_lang="en", target_lang="de", model_max_length=512).save_pretrained(directory)
    config = MarianConfig(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        max_position_embeddings=512,
        activation_function="swish",
        scale_embedding=True,
        pad_token_id=VOCABULARY - 1,
        decoder_start_token_id=VOCABULARY - 1,
        eos_token_id=0,
        forced_eos_token_id=0,
    )
    model = MarianMTModel(config)
    model.generation_config.update(bad_words_ids=[[VOCABULARY - 1]], max_length=512)
    model.save_pretrained(directory)
    return directory


if __name__ == "__main__":
    main()
