"""Labels of rows as numbers of a model's head."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.engines.trainer.workspace import Place


def labels_of(rows: Iterable[str], validation: Iterable[tuple[Place, str]], param: str) -> list[str]:
    """The labels in the order of their names. Raises InvalidRequest for fewer than two, and for one that only validation rows have."""
    labels = sorted(set(rows))
    if len(labels) < 2:
        raise InvalidRequest(
            f"All rows have the label {labels[0]!r}: there is nothing to tell apart." if labels else "There are no rows to learn from.",
            param=param,
        )
    known = set(labels)
    for place, label in validation:
        if label not in known:
            raise InvalidRequest(f"{place}: the label {label!r} is one that no row to learn from has.", param=param)
    return labels


def load_labelling(base: Path, auto_class: str, labels: Sequence[str], things: str, **config: Any) -> Any:
    """The base with a head for these labels: its own, if that has as many. `config` changes the base's configuration.

    Raises InvalidRequest for a base that cannot have a head for `things`.
    """
    import transformers

    try:
        return getattr(transformers, auto_class).from_pretrained(
            str(base),
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
            ignore_mismatched_sizes=True,  # a head of other labels is drawn anew
            **config,
        )
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"This base cannot be given a head that labels {things}: {error}", param="model") from error


def in_the_bases_order(labels: Sequence[str], base: Path) -> list[str]:
    """The labels as the base numbers them, if it has the same ones: its head goes on learning what it knows."""
    try:
        numbered = json.loads((base / "config.json").read_text("utf-8")).get("id2label") or {}
    except (OSError, ValueError, AttributeError):
        return list(labels)
    own = [str(numbered[number]) for number in sorted(numbered, key=int)]
    return own if sorted(own) == sorted(labels) else list(labels)
