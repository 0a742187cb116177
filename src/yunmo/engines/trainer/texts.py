"""Texts as a model reads them: the tokenizer of a base, rows cut to what is read, batches padded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Recipe

IGNORED = -100
"""The label of a position that nothing is learnt from."""


def load_tokenizer(base: Path) -> Any:
    """The base's tokenizer. Raises InvalidRequest where it has none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(base), local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"The base has no tokenizer that can be loaded: {error}", param="model") from error


def limit_of(config: Any, tokenizer: Any, recipe: Recipe) -> int:
    """How many tokens of a row are read: what the recipe says, at most what the model can. Raises InvalidRequest for more."""
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    stated = tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None
    offset = 2 if getattr(config, "model_type", "") in {"roberta", "xlm-roberta", "camembert"} else 0
    most = min((each for each in (positions and positions - offset, stated) if each), default=None)
    if recipe.max_tokens is None:
        return min(most or 512, 512)
    if most is not None and recipe.max_tokens > most:
        raise InvalidRequest(f"This model reads at most {most} tokens, not {recipe.max_tokens}.", param="max_tokens")
    return recipe.max_tokens


def pad(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """One tensor of rows padded at the end: (rows, longest)."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


def padded(examples: Sequence[Mapping[str, Any]], tokenizer: Any) -> dict[str, torch.Tensor]:
    """What an encoder reads of these rows: ids, the mask of what is no padding, and token types where the tokenizer makes them."""
    batch = {
        "input_ids": pad([example["input_ids"] for example in examples], tokenizer.pad_token_id or 0),
        "attention_mask": pad([[1] * len(example["input_ids"]) for example in examples], 0),
    }
    if "token_type_ids" in examples[0]:
        batch["token_type_ids"] = pad([example["token_type_ids"] for example in examples], 0)
    return batch


def count_unpadded(batch: Mapping[str, torch.Tensor]) -> int:
    """Positions of the batch that are no padding."""
    return int(batch["attention_mask"].sum())
