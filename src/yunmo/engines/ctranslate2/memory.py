"""How much memory one replica takes, estimated from the sizes of its files and its configuration."""

from collections.abc import Mapping
from typing import Any

from yunmo.core.engine import ModelDescription

_MIB = 1 << 20
# measured: a process that has torch, transformers and CTranslate2 imported and a tiny model loaded holds 275 MB
_OVERHEAD_BYTES = 350 * _MIB
_VOCABULARY_SHARE = 8
"""A fast tokenizer in memory, for each byte of its file."""
_EIGHT_BIT_SHARE = 0.27
"""Of fp32: a byte for each weight, a scale for each row, and norms and biases as they are."""
_HALF_TYPES = frozenset({"float16", "bfloat16"})
_BEAMS = 5
_TYPICAL_TOKENS = 128
_FLOAT_BYTES = 4


def memory_bytes(model: ModelDescription, weights: tuple[str, ...], precision: str, texts: int) -> int:
    """The estimate for a plan that works on so many texts at a time, over all its streams."""
    config = model.config
    stored = sum(model.files[path] for path in weights)
    full = stored * 2 if (config.get("dtype") or config.get("torch_dtype")) in _HALF_TYPES else stored
    kept = full if precision == "fp32" else int(_EIGHT_BIT_SHARE * full)
    vocabulary = _VOCABULARY_SHARE * model.files.get("tokenizer.json", 0)
    return _OVERHEAD_BYTES + kept + vocabulary + texts * _text_bytes(config)


def _text_bytes(config: Mapping[str, Any]) -> int:
    """The caches of one text's beams, for itself and for what was read, and the scores of its next token."""
    width = int(config.get("d_model") or 512)
    layers = int(config.get("decoder_layers") or config.get("num_decoder_layers") or config.get("num_layers") or 6)
    caches = layers * width * 2 * (_BEAMS * _TYPICAL_TOKENS + _TYPICAL_TOKENS)
    scores = 2 * _BEAMS * int(config.get("vocab_size") or 32_000)
    return _FLOAT_BYTES * (caches + scores)
