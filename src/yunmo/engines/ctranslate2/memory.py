"""How much memory one replica takes, estimated from the sizes of its files and its configuration."""

from collections.abc import Mapping
from typing import Any

from yunmo.core.engine import ModelDescription, Plan

_MIB = 1 << 20
_OVERHEAD_BYTES = 350 * _MIB
# Fitted to a Marian model, 512 wide, at work (`bench/memory.py`): Python with the libraries and the tokenizer, and one stream's work.
_LIBRARY_BYTES = 212 * _MIB
_STREAM_BYTES_PER_WIDTH = 200 << 10
_VOCABULARY_SHARE = 8
"""A fast tokenizer in memory, for each byte of its file."""
_EIGHT_BIT_SHARE = 0.27
"""Of fp32: a byte for each weight, a scale for each row, and norms and biases as they are."""
_HALF_TYPES = frozenset({"float16", "bfloat16"})
_BEAMS = 5
_TYPICAL_TOKENS = 128
_FLOAT_BYTES = 4


def memory_bytes(model: ModelDescription, weights: tuple[str, ...], plan: Plan) -> int:
    """What a replica may grow to: long texts with five beams each in all its streams."""
    texts = plan.streams * plan.batch_items
    return _OVERHEAD_BYTES + _kept_bytes(model, weights, plan.precision) + texts * _text_bytes(model.config)


def resident_bytes(model: ModelDescription, weights: tuple[str, ...], plan: Plan) -> int:
    """What a replica holds at work on texts of usual lengths."""
    work = plan.streams * _width(model.config) * _STREAM_BYTES_PER_WIDTH
    return _LIBRARY_BYTES + _kept_bytes(model, weights, plan.precision) + work


def _kept_bytes(model: ModelDescription, weights: tuple[str, ...], precision: str) -> int:
    config = model.config
    stored = sum(model.files[path] for path in weights)
    full = stored * 2 if (config.get("dtype") or config.get("torch_dtype")) in _HALF_TYPES else stored
    kept = full if precision in {"", "fp32"} else int(_EIGHT_BIT_SHARE * full)
    return kept + _VOCABULARY_SHARE * model.files.get("tokenizer.json", 0)


def _width(config: Mapping[str, Any]) -> int:
    return int(config.get("d_model") or 512)


def _text_bytes(config: Mapping[str, Any]) -> int:
    """The caches of one text's beams, for itself and for what was read, and the scores of its next token."""
    width = _width(config)
    layers = int(config.get("decoder_layers") or config.get("num_decoder_layers") or config.get("num_layers") or 6)
    caches = layers * width * 2 * (_BEAMS * _TYPICAL_TOKENS + _TYPICAL_TOKENS)
    scores = 2 * _BEAMS * int(config.get("vocab_size") or 32_000)
    return _FLOAT_BYTES * (caches + scores)
