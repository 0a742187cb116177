"""What an export leaves in the derived directory: the files' names and the facts that serving needs beside the graph."""

from pathlib import Path
from typing import Literal

import msgspec

FORMAT = 2
"""Raised when an export of an older version must be made again."""

GRAPH = "model.onnx"
GRAPH_INT8 = "model.int8.onnx"
PREPACKED = "prepacked.onnx"
TOKENIZER = "tokenizer.json"
FACTS = "export.json"
READY_GRAPH = "onnx/model.onnx"
"""Where repositories keep an ONNX graph of their own; used only if there is nothing to export."""

Head = Literal["classify", "classify-tokens", "answer", "fill-mask", "embed"]
Side = Literal["left", "right"]


class TokenizerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the reference's tokenizer knows beside its `tokenizer.json`."""

    max_tokens: int
    truncation_side: Side = "right"
    cleans_up_spaces: bool = False
    marks_subwords: bool = False
    has_token_types: bool = False
    unknown_id: int | None = None
    mask_id: int | None = None
    mask_token: str | None = None
    pad_id: int | None = None
    cls_id: int | None = None


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `export.json`.

    The errors are the largest of the fp32 graph against the reference, over inputs of several lengths; a graph that came
    ready-made has no reference and is not verified. `int8_drift` is the relative L2 error of the int8 graph's
    outputs against fp32, in the runtime that it is for, and `int8_forms` how each of its matrix products is computed (`products`).
    """

    format: int
    head: Head
    tokenizer: TokenizerFacts
    labels: tuple[str, ...] = ()
    function: Literal["softmax", "sigmoid", "none"] = "softmax"
    entailment: int | None = None
    vocabulary: int = 0
    absolute_error: float = 0.0
    relative_error: float = 0.0
    is_verified: bool = False
    int8_drift: float | None = None
    int8_forms: dict[str, str] = {}
    versions: dict[str, str] = {}


def output_names(head: Head) -> tuple[str, ...]:
    """The names of the graph's outputs for a head."""
    if head == "answer":
        return ("start_logits", "end_logits")
    return ("last_hidden_state",) if head == "embed" else ("logits",)


def read_exported(directory: Path) -> Exported | None:
    """The facts of a finished export of this format; None if it has to be made."""
    try:
        exported = msgspec.json.decode((directory / FACTS).read_bytes(), type=Exported)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return exported if exported.format == FORMAT else None
