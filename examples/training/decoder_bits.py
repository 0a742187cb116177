"""The bits per byte that a decoder needs for rows held out, to be compared with the baselines of n-grams.

    python examples/training/decoder_bits.py REPOSITORY .training/glosses/valid.jsonl [--rows 1000]

REPOSITORY is a directory or a name that transformers can load. Of {"text": …} every text and its end are measured, after the token that
stands between documents; of {"messages": …} the last answer and its end, given what is before it in the model's chat template.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait by spinning are slow beside others

from ngrams import Surprise
from pages import han_characters

BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Scored:
    """A row's tokens, of which the first `given` are known, and the text that the others spell."""

    tokens: list[int]
    given: int
    text: str


def main() -> None:
    """Load, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="the decoder")
    parser.add_argument("file", type=Path, help="rows as JSON, one a line")
    parser.add_argument("--rows", type=int, help="only the first so many rows")
    parser.add_argument("--end", help="the token behind a text and before it (default: the tokenizer's end of text)")
    wanted = parser.parse_args()
    if not wanted.file.is_file():
        sys.exit(f"There is no file {wanted.file}. The scripts of this directory write one.")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(wanted.repository)
    model = AutoModelForCausalLM.from_pretrained(wanted.repository).eval()
    lines = wanted.file.read_text("utf-8").splitlines()[: wanted.rows]
    rows = [scored(json.loads(line), tokenizer, wanted.end or tokenizer.eos_token) for line in lines]
    costs = measure(model, rows)
    for language, is_chinese in (("other", False), ("Chinese", True)):
        own = [number for number, row in enumerate(rows) if bool(han_characters(row.text)) == is_chinese]
        if own:
            tell(f"{language} rows", [rows[number].text for number in own], [costs[number] for number in own])


def tell(name: str, texts: Sequence[str], costs: Sequence[tuple[float, float]]) -> None:
    """Print what the texts cost."""
    bits, of_ends = (sum(each) for each in zip(*costs, strict=True))
    print(f"{len(texts):,} {name}: {Surprise.of(texts, bits)}")
    print(f"without their ends: {Surprise.of(texts, bits - of_ends)}")


def scored(row: dict[str, Any], tokenizer: Any, end: str) -> Scored:
    """The tokens of a row, from before the first one that counts to the end."""
    mark = tokenizer.convert_tokens_to_ids(end)
    if "text" in row:
        return Scored([mark, *tokenizer(row["text"], add_special_tokens=False)["input_ids"], mark], 1, row["text"])
    messages = row["messages"]
    whole = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    known = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
    last = len(whole) - whole[::-1].index(tokenizer.eos_token_id)  # what the template writes behind the answer's end does not count
    if whole[: len(known)] != known or last <= len(known):
        sys.exit("The chat template does not end an answer with the tokenizer's end of text: its rows cannot be measured here.")
    return Scored(whole[:last], len(known), messages[-1]["content"])


def measure(model: Any, rows: Sequence[Scored]) -> list[tuple[float, float]]:
    """The bits of every row, and those of its last token alone."""
    import torch

    found: list[tuple[float, float]] = [(0.0, 0.0)] * len(rows)
    done = 0
    for batch in batches(rows):
        longest = len(rows[batch[-1]].tokens)
        padded = [rows[number].tokens + [0] * (longest - len(rows[number].tokens)) for number in batch]
        mask = [[int(place < len(rows[number].tokens)) for place in range(longest)] for number in batch]
        tokens = torch.tensor(padded)
        with torch.inference_mode():
            logits = model(input_ids=tokens, attention_mask=torch.tensor(mask)).logits[:, :-1].float()
            surprises = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0] / -math.log(2)
        for number, costs in zip(batch, surprises.tolist(), strict=True):
            own = costs[rows[number].given - 1 : len(rows[number].tokens) - 1]
            found[number] = sum(own), own[-1]
        done += len(batch)
        print(f"{done:,} of {len(rows):,} rows", file=sys.stderr, flush=True)
    return found


def batches(rows: Sequence[Scored]) -> Iterator[list[int]]:
    """Numbers of rows of about the same length, the longest last, so that little is computed for padding."""
    batch: list[int] = []
    for number in sorted(range(len(rows)), key=lambda number: len(rows[number].tokens)):
        if batch and len(rows[number].tokens) * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


if __name__ == "__main__":
    main()
