"""The decoders that vLLM runs with its own code: what their config.json says. No library is imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ARCHITECTURES = frozenset(
    {
        "ApertusForCausalLM", "CohereForCausalLM", "Cohere2ForCausalLM", "DeepseekForCausalLM", "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM",
        "Ernie4_5ForCausalLM", "Ernie4_5_MoeForCausalLM", "Exaone4ForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM",
        "Glm4ForCausalLM", "Glm4MoeForCausalLM", "GptOssForCausalLM", "GraniteForCausalLM", "GraniteMoeForCausalLM", "LlamaForCausalLM",
        "MiniMaxM2ForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "NemotronForCausalLM", "OlmoeForCausalLM", "Phi3ForCausalLM",
        "PhiMoEForCausalLM", "Qwen2ForCausalLM", "Qwen2MoeForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "StableLmForCausalLM",
    }
)  # fmt: skip
"""Of vLLM 0.32's registry, those whose config.json has Llama's names for its sizes."""

_CODE = ("auto_map", "custom_pipelines")


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder's sizes. `cache_numbers` are the keys and values that one token leaves in all layers together, at most."""

    vocabulary: int
    context_tokens: int
    head_size: int
    cache_numbers: int


def decoder_of(config: Mapping[str, Any]) -> Decoder | None:
    """The decoder that a config.json describes; None for other models, for quantised ones, and for those that bring code of their own."""
    if not ARCHITECTURES.intersection(config.get("architectures") or ()) or config.get("quantization_config"):
        return None
    if any(config.get(name) for name in _CODE):
        return None
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        head_size = int(config.get("head_dim") or hidden // heads)
        kv_heads = int(config.get("num_key_value_heads") or heads)
        return Decoder(
            vocabulary=int(config["vocab_size"]),
            context_tokens=int(config.get("max_position_embeddings") or 2048),
            head_size=head_size,
            cache_numbers=2 * int(config["num_hidden_layers"]) * kv_heads * head_size,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
