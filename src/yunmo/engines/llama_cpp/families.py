"""The decoders that can be made into a GGUF: what their config.json says, in llama.cpp's words. No library is imported.

An entry of a configuration that llama.cpp has no counterpart for makes the model unknown here, so that it is left to
other engines: a file that runs and answers a little wrong is worse than none.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Config = Mapping[str, Any]
Metadata = dict[str, int | float | str]
Floats = Literal["F32", "F16", "BF16"]

_SILU = ("silu", "swish")
_GELU = ("gelu_pytorch_tanh", "gelu")
_GEMMA2_SLIDING_EVERY, _GEMMA3_FULL_EVERY, _SMOLLM3_FULL_EVERY = 2, 6, 4
_GEMMA2_27B_LAYERS, _GEMMA3_27B_LAYERS = 46, 62


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder as its GGUF describes it; the keys of `metadata` go below the architecture's name.

    `rope_factors` divide the frequencies of rotation (Llama 3). `permutes` says that Q and K are stored for the other
    way of rotating. `norm_offset` is what the norms' weights lack of their factor. `floats` is the precision that its
    activations survive: those of Gemma 3 are beyond half precision.
    """

    architecture: str
    metadata: Metadata
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    is_tied: bool
    permutes: bool = False
    norm_offset: float = 0.0
    rope_factors: tuple[float, ...] = ()
    floats: Floats = "F16"


def decoder_of(config: Config) -> Decoder | None:
    """The decoder of a config.json; None for any that would not come out exactly the same."""
    architectures = list(config.get("architectures") or [])
    describe = _FAMILIES.get(architectures[0]) if len(architectures) == 1 else None
    if describe is None or any(config.get(name) for name in ("quantization_config", "auto_map", "use_bidirectional_attention")):
        return None
    try:
        return describe(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _llama(config: Config) -> Decoder | None:
    decoder = _plain("llama", config, tied=False)
    return _rotated(replace(decoder, permutes=True), _rope(config), 10_000.0) if _uses(config, _SILU) else None


def _mistral(config: Config) -> Decoder | None:
    decoder = _llama(config)
    window = config.get("sliding_window", 4096)
    if decoder is None or not window:
        return decoder
    # llama.cpp's Llama looks at everything, which is the same as long as nothing is outside the window
    return replace(decoder, metadata=decoder.metadata | {"context_length": min(int(decoder.metadata["context_length"]), int(window))})


def _qwen2(config: Config) -> Decoder | None:
    if config.get("use_sliding_window") or not _uses(config, _SILU):
        return None
    return _rotated(_plain("qwen2", config, tied=False), _rope(config), 10_000.0)


def _qwen3(config: Config) -> Decoder | None:
    if config.get("use_sliding_window") or config.get("attention_bias") or not _uses(config, _SILU):
        return None
    return _rotated(_plain("qwen3", config, tied=False, head_size=128), _rope(config), 10_000.0)


def _smollm3(config: Config) -> Decoder | None:
    layers = int(config["num_hidden_layers"])
    usual = [int((layer + 1) % _SMOLLM3_FULL_EVERY != 0) for layer in range(layers)]
    if (
        list(config.get("no_rope_layers") or usual)[:layers] != usual
        or config.get("no_rope_layer_interval", _SMOLLM3_FULL_EVERY) != _SMOLLM3_FULL_EVERY
        or any(config.get(name) for name in ("use_sliding_window", "attention_bias", "mlp_bias"))
        or not _uses(config, _SILU)
    ):
        return None
    return _rotated(replace(_plain("smollm3", config, tied=True), permutes=True), _rope(config), 2_000_000.0)


def _gemma(config: Config) -> Decoder | None:
    decoder = _gemma_like("gemma", config)
    return _rotated(decoder, _rope(config), 10_000.0) if decoder else None


def _gemma2(config: Config) -> Decoder | None:
    decoder = _gemma_like("gemma2", config)
    caps = config.get("attn_logit_softcapping", 50.0), config.get("final_logit_softcapping", 30.0)
    if decoder is None or not all(caps) or not _slides(config, decoder.layers, _GEMMA2_SLIDING_EVERY):
        return None
    if not _has_usual_scale(config, decoder, _GEMMA2_27B_LAYERS):
        return None
    more: Metadata = {
        "attn_logit_softcapping": float(caps[0]),
        "final_logit_softcapping": float(caps[1]),
        "attention.sliding_window": int(config.get("sliding_window", 4096)),
    }
    return _rotated(replace(decoder, metadata=decoder.metadata | more), _rope(config), 10_000.0)


def _gemma3(config: Config) -> Decoder | None:
    decoder = _gemma_like("gemma3", config)
    if decoder is None or config.get("attn_logit_softcapping") or config.get("final_logit_softcapping"):
        return None
    pattern = config.get("sliding_window_pattern", config.get("_sliding_window_pattern", _GEMMA3_FULL_EVERY))
    if pattern != _GEMMA3_FULL_EVERY or not _slides(config, decoder.layers, _GEMMA3_FULL_EVERY):
        return None
    if not _has_usual_scale(config, decoder, _GEMMA3_27B_LAYERS):
        return None
    ropes = config.get("rope_parameters") or {}
    local = ropes.get("sliding_attention") or {}
    if local.get("rope_type", "default") != "default":
        return None
    more: Metadata = {
        "attention.sliding_window": int(config.get("sliding_window", 4096)),
        "rope.freq_base_swa": float(local.get("rope_theta") or config.get("rope_local_base_freq") or 10_000.0),
    }
    whole = ropes.get("full_attention") or _rope(config)
    return _rotated(replace(decoder, metadata=decoder.metadata | more, floats="BF16"), whole, 1_000_000.0)


def _gemma_like(architecture: str, config: Config) -> Decoder | None:
    activation = config.get("hidden_activation") or config.get("hidden_act") or _GELU[0]
    decoder = _plain(architecture, config, tied=True, head_size=256)
    if activation not in _GELU or config.get("attention_bias") or not decoder.is_tied:
        return None
    return replace(decoder, norm_offset=1.0)


def _plain(architecture: str, config: Config, *, tied: bool, head_size: int | None = None) -> Decoder:
    """What all decoders have; `tied` and `head_size` are the library's defaults for the family."""
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    head_size = int(config.get("head_dim") or head_size or hidden // heads)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    metadata: Metadata = {
        "block_count": int(config["num_hidden_layers"]),
        "context_length": int(config.get("max_position_embeddings") or 2048),
        "embedding_length": hidden,
        "feed_forward_length": int(config["intermediate_size"]),
        "attention.head_count": heads,
        "attention.head_count_kv": kv_heads,
        "attention.key_length": head_size,
        "attention.value_length": head_size,
        "attention.layer_norm_rms_epsilon": float(config.get("rms_norm_eps", 1e-6)),
        "rope.dimension_count": head_size,
        "vocab_size": int(config["vocab_size"]),
    }
    return Decoder(
        architecture=architecture,
        metadata=metadata,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocabulary=int(config["vocab_size"]),
        is_tied=bool(config.get("tie_word_embeddings", tied)),
    )


def _uses(config: Config, activations: tuple[str, ...]) -> bool:
    return config.get("hidden_act", activations[0]) in activations


def _slides(config: Config, layers: int, full_every: int) -> bool:
    """Whether the layers look at a window as llama.cpp expects: all but every so-manieth."""
    types = config.get("layer_types")
    usual = ["sliding_attention" if (layer + 1) % full_every else "full_attention" for layer in range(layers)]
    return types is None or list(types) == usual


def _has_usual_scale(config: Config, decoder: Decoder, layers_of_largest: int) -> bool:
    """llama.cpp scales queries by the head's size, but those of the 27B models by the width of the model per head."""
    scalar = config.get("query_pre_attn_scalar", 256)
    if decoder.layers == layers_of_largest:
        return bool(scalar == int(decoder.metadata["embedding_length"]) // decoder.heads)
    return bool(scalar == decoder.head_size)


def _rope(config: Config) -> Config:
    scaling = config.get("rope_scaling") or {}
    return {"rope_theta": config.get("rope_theta"), **scaling, **(config.get("rope_parameters") or {})}


def _rotated(decoder: Decoder, rope: Config, default_theta: float) -> Decoder | None:
    """The decoder with its rotation; None for a kind of scaling that llama.cpp does otherwise."""
    if rope.get("partial_rotary_factor") not in {None, 1.0}:
        return None
    theta = float(rope.get("rope_theta") or default_theta)
    metadata: Metadata = decoder.metadata | {"rope.freq_base": theta}
    match rope.get("rope_type") or rope.get("type") or "default":
        case "default":
            return replace(decoder, metadata=metadata)
        case "linear":
            scaled: Metadata = {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
            return replace(decoder, metadata=metadata | scaled)
        case "yarn":
            return _with_yarn(replace(decoder, metadata=metadata), rope)
        case "llama3" if decoder.architecture in {"llama", "smollm3"}:
            return replace(decoder, metadata=metadata, rope_factors=_llama3_factors(rope, theta, decoder.head_size))
        case _:
            return None


def _with_yarn(decoder: Decoder, rope: Config) -> Decoder | None:
    if any(rope.get(name) is not None for name in ("attention_factor", "mscale", "mscale_all_dim")) or rope.get("truncate", True) is False:
        return None
    original = rope.get("original_max_position_embeddings") or decoder.metadata["context_length"]
    scaled: Metadata = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": float(rope["factor"]),
        "rope.scaling.original_context_length": int(original),
        "rope.scaling.yarn_beta_fast": float(rope.get("beta_fast") or 32.0),
        "rope.scaling.yarn_beta_slow": float(rope.get("beta_slow") or 1.0),
    }
    return replace(decoder, metadata=decoder.metadata | scaled)


def _llama3_factors(rope: Config, theta: float, size: int) -> tuple[float, ...]:
    """What each frequency is divided by: nothing for short waves, the factor for long ones, a blend between (Llama 3.1)."""
    factor, low, high = float(rope["factor"]), float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    original = float(rope["original_max_position_embeddings"])
    factors = []
    for pair in range(0, size, 2):
        wavelength = 2 * math.pi * theta ** (pair / size)
        share = min(1.0, max(0.0, (original / wavelength - low) / (high - low)))
        factors.append(1 / ((1 - share) / factor + share))
    return tuple(factors)


_FAMILIES: dict[str, Callable[[Config], Decoder | None]] = {
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _mistral,
    "Qwen2ForCausalLM": _qwen2,
    "Qwen3ForCausalLM": _qwen3,
    "SmolLM3ForCausalLM": _smollm3,
    "GemmaForCausalLM": _gemma,
    "Gemma2ForCausalLM": _gemma2,
    "Gemma3ForCausalLM": _gemma3,
}
