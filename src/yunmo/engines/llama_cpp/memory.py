"""How much memory a model takes with its cache, and how many slots of which length fit."""

from collections.abc import Mapping
from typing import Any

from yunmo.engines.chats import fitting
from yunmo.engines.llama_cpp.options import CONTEXT_TOKENS, PROMPT_CACHE_MIB, SLOTS

_MIB = 1 << 20
# The library, its compute buffers and Python: 80 MiB beside weights and cache with SmolLM2-135M; large vocabularies take more.
_OVERHEAD_BYTES = 400 * _MIB
# Fitted to SmolLM2-135M at work (`bench/memory.py`): what of it every replica holds, and the tokens kept of other prompts for each slot.
_LIBRARY_BYTES = 80 * _MIB
_USUAL_TOKENS = 128
# Where the metadata says nothing, the cache is guessed from the weights: 24 KiB a token is right for SmolLM2-135M (98 MB),
# 1/32768 of the file for models of 7 to 8 thousand million parameters with grouped attention (4.7 GB, 128 KiB).
_LEAST_CACHE_BYTES_PER_TOKEN, _MOST_CACHE_BYTES_PER_TOKEN = 24 * 1024, 512 * 1024
_FILE_BYTES_PER_CACHE_BYTE = 32768


def memory_bytes(
    gguf: Mapping[str, Any], file_bytes: int, slots: int, context_tokens: int, prompt_cache_mib: int = PROMPT_CACHE_MIB
) -> int:
    """What one replica may grow to, when the cache of prompts outside of slots is full."""
    cache = slots * context_tokens * _cache_bytes_per_token(gguf, file_bytes)
    return file_bytes + cache + prompt_cache_mib * _MIB + _OVERHEAD_BYTES


def resident_bytes(gguf: Mapping[str, Any], file_bytes: int, slots: int, context_tokens: int) -> int:
    """What one replica holds at work: llama.cpp writes to its whole cache when it loads; of prompts outside of slots it keeps a few."""
    per_token = _cache_bytes_per_token(gguf, file_bytes)
    return file_bytes + slots * (context_tokens + _USUAL_TOKENS) * per_token + _LIBRARY_BYTES


def fit(gguf: Mapping[str, Any], file_bytes: int, available_bytes: int) -> tuple[int, int]:
    """Slots and context per slot: shorter contexts before fewer slots, until it fits or nothing is left to give up."""
    context_tokens = min(_number(gguf, "context_length") or CONTEXT_TOKENS, CONTEXT_TOKENS)
    return fitting.fit(lambda slots, tokens: memory_bytes(gguf, file_bytes, slots, tokens), available_bytes, SLOTS, context_tokens)


def metadata_value(gguf: Mapping[str, Any], key: str) -> Any:
    """A value under its own name, `general.` or the architecture's prefix."""
    architecture = gguf.get("general.architecture") or gguf.get("architecture") or ""
    for name in (f"{architecture}.{key}", f"general.{key}", key):
        if name in gguf:
            return gguf[name]
    return None


def _number(gguf: Mapping[str, Any], key: str) -> int:
    """A positive number of the metadata, the largest if there is one per layer, 0 if there is none."""
    value = metadata_value(gguf, key)
    values = value if isinstance(value, list | tuple) else [value]
    return max((int(each) for each in values if isinstance(each, int | float) and each > 0), default=0)


def _cache_bytes_per_token(gguf: Mapping[str, Any], file_bytes: int) -> int:
    """Keys and values of one token in all layers, as 16-bit floats."""
    layers, heads = _number(gguf, "block_count"), _number(gguf, "attention.head_count")
    if not layers or not heads:
        guess = file_bytes // _FILE_BYTES_PER_CACHE_BYTE
        return max(_LEAST_CACHE_BYTES_PER_TOKEN, min(guess, _MOST_CACHE_BYTES_PER_TOKEN))
    head_size = _number(gguf, "embedding_length") // heads
    key_size = _number(gguf, "attention.key_length") or head_size
    value_size = _number(gguf, "attention.value_length") or head_size
    return layers * (_number(gguf, "attention.head_count_kv") or heads) * (key_size + value_size) * 2
