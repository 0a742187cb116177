"""Fine-tune a sentence encoder from the hub to tell good film reviews from bad ones, and push the result.

Usage: HF_ENDPOINT=http://127.0.0.1:8000 HF_TOKEN=ym_… python train.py [--base library/all-MiniLM-L6-v2] [--repository yunmo/sentiment-en]

This is plain PyTorch and transformers; Yunmo appears only in HF_ENDPOINT.
"""

import argparse
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

# Must stand before torch: threads that wait by spinning made a batch three times slower (5.1 s, not 1.7 s) on a busy two-core machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from huggingface_hub import ModelCard
from reviews import LABELS, Sentence, load_reviews
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
)

SEED = 20261123
SENTENCES = 6000
KEPT_LAYERS = 2
BATCH = 32
LONGEST_TOKENS = 64
LEARNING_RATE = 1e-4
WANTED_ACCURACY = 0.78

Precision = Callable[[], AbstractContextManager[object]]


def main() -> None:
    """Load, train, measure, push."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="library/all-MiniLM-L6-v2", help="repository (or directory) of the encoder")
    parser.add_argument("--repository", default="yunmo/sentiment-en", help="repository to push to")
    parser.add_argument("--no-push", action="store_true", help="only train and measure")
    wanted = parser.parse_args()

    torch.manual_seed(SEED)
    random.seed(SEED)
    learning, held_out = load_reviews(SEED)
    learning = learning[:SENTENCES]  # enough: what more would bring is not worth the minutes on two cores
    tokenizer = AutoTokenizer.from_pretrained(wanted.base)
    labels = dict(enumerate(LABELS))
    model = AutoModelForSequenceClassification.from_pretrained(
        wanted.base, id2label=labels, label2id={name: number for number, name in labels.items()}
    )
    print(f"{len(learning)} sentences to learn from, {len(held_out)} held out", flush=True)

    began = time.monotonic()
    train(model, tokenizer, learning)
    seconds = time.monotonic() - began
    accuracy = measure(model, tokenizer, held_out)
    print(f"held-out accuracy {accuracy:.3f} after {seconds:.0f} s of training")
    if accuracy < WANTED_ACCURACY:
        raise SystemExit(f"The accuracy is below {WANTED_ACCURACY}; nothing is pushed.")
    if not wanted.no_push:
        push(model, tokenizer, wanted.repository, card(wanted.base, len(learning), len(held_out), accuracy))


def train(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sentence]) -> None:
    """Adapt the upper layers in one pass. The word vectors and the lowest layers know the language already; leaving them saves a third."""
    model.base_model.embeddings.requires_grad_(False)
    model.base_model.encoder.layer[:KEPT_LAYERS].requires_grad_(False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01, fused=True)
    precision = fastest_precision(model, tokenizer, sentences)
    batches = list(batches_of_similar_length(tokenizer, sentences))
    schedule = get_linear_schedule_with_warmup(optimizer, len(batches) // 10, len(batches))
    model.train()
    total, told = 0.0, time.monotonic()
    for number, batch in enumerate(batches, 1):
        loss = step(model, tokenizer, batch, precision)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss
        if time.monotonic() - told > 10 or number == len(batches):
            told = time.monotonic()
            print(f"batch {number} of {len(batches)}, mean loss {total / number:.3f}", flush=True)


def step(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch: Sequence[Sentence], precision: Precision) -> float:
    """One forward and backward pass; the loss."""
    with precision():
        loss = model(**encode(tokenizer, batch), labels=torch.tensor([sentence.label for sentence in batch])).loss
    loss.backward()
    return float(loss.detach())


@torch.inference_mode()
def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sentence]) -> float:
    """The share of sentences whose label the model finds, in full precision."""
    model.eval()
    hits = 0
    for start in range(0, len(sentences), BATCH):
        batch = sentences[start : start + BATCH]
        found = model(**encode(tokenizer, batch)).logits.argmax(-1).tolist()
        hits += sum(label == sentence.label for label, sentence in zip(found, batch, strict=True))
    return hits / len(sentences)


def encode(tokenizer: PreTrainedTokenizerBase, batch: Sequence[Sentence]) -> dict[str, torch.Tensor]:
    """Token ids, padded to the longest of the batch."""
    return dict(
        tokenizer([sentence.text for sentence in batch], truncation=True, max_length=LONGEST_TOKENS, padding=True, return_tensors="pt")
    )


def batches_of_similar_length(tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sentence]) -> Iterator[list[Sentence]]:
    """Batches in random order, each of sentences of about the same length, so that little is spent on padding."""
    lengths = [len(ids) for ids in tokenizer([sentence.text for sentence in sentences])["input_ids"]]
    order = sorted(range(len(sentences)), key=lambda number: lengths[number] + 4 * random.random())
    starts = list(range(0, len(order), BATCH))
    random.shuffle(starts)
    for start in starts:
        yield [sentences[number] for number in order[start : start + BATCH]]


def fastest_precision(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sentence]) -> Precision:
    """Full precision, or bfloat16 where this processor computes it faster."""
    candidates: dict[str, Precision] = {
        "float32": lambda: torch.autocast("cpu", enabled=False),
        "bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    }
    seconds = {}
    for name, precision in candidates.items():
        step(model, tokenizer, sentences[:8], precision)
        began = time.monotonic()
        step(model, tokenizer, sentences[:8], precision)
        seconds[name] = time.monotonic() - began
    model.zero_grad(set_to_none=True)
    best = min(seconds, key=seconds.__getitem__)
    print(f"training in {best} (" + ", ".join(f"{name} {1000 * each:.0f} ms" for name, each in seconds.items()) + ")", flush=True)
    return candidates[best]


def push(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, repository: str, text: str) -> None:
    """The usual two calls, and a model card."""
    model.push_to_hub(repository)
    tokenizer.push_to_hub(repository)
    ModelCard(text).push_to_hub(repository)
    print(f"pushed {repository}")


def card(base: str, learned: int, held_out: int, accuracy: float) -> str:
    """The model card, with what was measured."""
    return (
        (Path(__file__).parent / "card.md")
        .read_text(encoding="utf-8")
        .format(base=base, learned=learned, held_out=held_out, accuracy=accuracy)
    )


if __name__ == "__main__":
    main()
