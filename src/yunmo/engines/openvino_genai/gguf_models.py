"""The decoders in GGUF files that can be drawn as a graph: what their metadata says. No library is imported."""

import re
from collections.abc import Mapping
from typing import Any

from yunmo.engines.openvino_genai.families import Decoder

Metadata = Mapping[str, Any]

ARCHITECTURES = ("llama", "qwen2", "qwen3")
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_FAVOURITES = ("Q8_0", "F16", "BF16", "F32")

CUTTERS: dict[str, tuple[str, ...]] = {
    "gpt-2": ("ByteLevel",),
    "smollm": ("Digits", "ByteLevel"),
    "qwen2": (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",),
    "llama-bpe": (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",),
}
"""How texts are cut into words under llama.cpp's name for it: regular expressions, or steps of the library's own."""


def chosen(files: Mapping[str, int]) -> str | None:
    """The file to read: the one that keeps most of the weights; None if there is none in one piece."""
    whole = [path for path in files if path.lower().endswith(".gguf") and "mmproj" not in path.lower() and not _PART.search(path)]

    def rank(path: str) -> tuple[int, int, str]:
        place = next((index for index, name in enumerate(_FAVOURITES) if name in path.upper()), len(_FAVOURITES))
        return place, -files[path], path

    return min(whole, key=rank, default=None)


def decoder_of(metadata: Metadata, factors: tuple[float, ...] = ()) -> Decoder | None:
    """The decoder that the metadata describes; None for any that the graph would not compute exactly.

    `factors` are what the file's own tensor divides the frequencies of rotation by (Llama 3).
    """
    architecture = metadata.get("general.architecture")
    if (
        architecture not in ARCHITECTURES
        or metadata.get("tokenizer.ggml.model") != "gpt2"
        or metadata.get("tokenizer.ggml.pre") not in CUTTERS
    ):
        return None
    tokens = metadata.get("tokenizer.ggml.tokens")
    own = {"vocab_size": tokens if isinstance(tokens, int) else len(tokens or ())} | {
        name.removeprefix(f"{architecture}."): value for name, value in metadata.items() if name.startswith(f"{architecture}.")
    }
    try:
        return _decoder(str(architecture), own, factors)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _decoder(architecture: str, own: Metadata, factors: tuple[float, ...]) -> Decoder | None:
    hidden, heads = int(own["embedding_length"]), int(own["attention.head_count"])
    size = int(own.get("attention.key_length") or hidden // heads)
    scaling = own.get("rope.scaling.type") or "none"
    rotated = int(own.get("rope.dimension_count") or size)
    if (
        scaling not in {"none", "linear"}
        or rotated != size
        or int(own.get("attention.value_length") or size) != size
        or own.get("expert_count")
    ):
        return None
    stretch = float(own.get("rope.scaling.factor") or 1.0) if scaling == "linear" else 1.0
    base = float(own.get("rope.freq_base") or 10_000.0)
    divisors = factors or (1.0,) * (size // 2)
    return Decoder(
        layers=int(own["block_count"]),
        hidden=hidden,
        heads=heads,
        kv_heads=int(own.get("attention.head_count_kv") or heads),
        head_size=size,
        intermediate=int(own["feed_forward_length"]),
        vocabulary=int(own["vocab_size"]),
        epsilon=float(own["attention.layer_norm_rms_epsilon"]),
        context_tokens=int(own["context_length"]),
        is_tied=False,
        frequencies=tuple(base ** (-2 * pair / size) / stretch / divisors[pair] for pair in range(size // 2)),
        has_qkv_bias=architecture == "qwen2",
        has_head_norms=architecture == "qwen3",
    )
