"""The decoders that can be drawn as an OpenVINO graph: what their config.json says. No library is imported.

A configuration with an entry that the graph has no part for makes the model unknown here, so that it is left to other
engines: a model that runs and answers a little wrong is worse than none.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]

_SILU = frozenset({"silu", "swish"})
_ROTATED_BASE = 10_000.0


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder of Llama's kind. `frequencies` are the rotations of half a head, in radians per position.

    `has_qkv_bias` (Qwen 2), `has_bias` (all of attention), `has_mlp_bias` and `has_head_norms` (Qwen 3) are the parts in
    which the families differ.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    epsilon: float
    context_tokens: int
    is_tied: bool
    frequencies: tuple[float, ...]
    has_qkv_bias: bool = False
    has_output_bias: bool = False
    has_mlp_bias: bool = False
    has_head_norms: bool = False

    @property
    def parameters(self) -> int:
        """The numbers in its matrices."""
        heads = (2 * self.heads + 2 * self.kv_heads) * self.head_size
        layer = self.hidden * (heads + 3 * self.intermediate)
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.is_tied else 2)


def decoder_of(config: Config) -> Decoder | None:
    """The decoder of a config.json; None for any that the graph would not compute exactly."""
    architectures: Sequence[str] = config.get("architectures") or ()
    differences = _FAMILIES.get(architectures[0]) if len(architectures) == 1 else None
    if differences is None or any(config.get(name) for name in ("quantization_config", "auto_map", "use_sliding_window")):
        return None
    try:
        return _decoder(config, differences(config))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _decoder(config: Config, differences: Mapping[str, bool]) -> Decoder | None:
    if config.get("hidden_act", "silu") not in _SILU:
        return None
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    head_size = int(config.get("head_dim") or hidden // heads)
    context_tokens = int(config.get("max_position_embeddings") or 2048)
    frequencies = _frequencies(config, head_size)
    if frequencies is None:
        return None
    if config["architectures"][0] == "MistralForCausalLM":
        # the graph looks at everything, which is the same as long as nothing is outside the window
        context_tokens = min(context_tokens, int(config.get("sliding_window", 4096) or context_tokens))
    return Decoder(
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_size=head_size,
        intermediate=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        context_tokens=context_tokens,
        is_tied=bool(config.get("tie_word_embeddings", False)),
        frequencies=frequencies,
        **differences,
    )


def _llama(config: Config) -> Mapping[str, bool]:
    biased = bool(config.get("attention_bias"))
    return {"has_qkv_bias": biased, "has_output_bias": biased, "has_mlp_bias": bool(config.get("mlp_bias"))}


def _mistral(_config: Config) -> Mapping[str, bool]:
    return {}


def _qwen2(_config: Config) -> Mapping[str, bool]:
    return {"has_qkv_bias": True}


def _qwen3(config: Config) -> Mapping[str, bool]:
    biased = bool(config.get("attention_bias"))
    return {"has_head_norms": True, "has_qkv_bias": biased, "has_output_bias": biased}


_FAMILIES: dict[str, Callable[[Config], Mapping[str, bool]]] = {
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _mistral,
    "Qwen2ForCausalLM": _qwen2,
    "Qwen3ForCausalLM": _qwen3,
}


def _frequencies(config: Config, size: int) -> tuple[float, ...] | None:
    """What every pair of numbers turns by from one position to the next; None for a kind of scaling that is not known here."""
    rope = {"rope_theta": config.get("rope_theta"), **(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    if rope.get("partial_rotary_factor") not in {None, 1.0}:
        return None
    theta = float(rope.get("rope_theta") or _ROTATED_BASE)
    plain = [theta ** (-pair / size) for pair in range(0, size, 2)]
    match rope.get("rope_type") or rope.get("type") or "default":
        case "default":
            return tuple(plain)
        case "linear":
            return tuple(each / float(rope["factor"]) for each in plain)
        case "llama3":
            return tuple(_llama3(each, rope) for each in plain)
        case _:
            return None


def _llama3(frequency: float, rope: Config) -> float:
    """Short waves stay as they are, long ones are stretched by the factor, those between blend (Llama 3.1)."""
    factor, low, high = float(rope["factor"]), float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    waves = float(rope["original_max_position_embeddings"]) * frequency / (2 * math.pi)
    share = min(1.0, max(0.0, (waves - low) / (high - low)))
    return frequency * ((1 - share) / factor + share)
