"""What a PEFT adapter's adapter_config.json says: low-rank additions to a base's matrices, and nothing else.

A setting that would change the answer and is not known here makes the adapter unusable: one that runs and answers a
little wrong is worse than none.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yunmo.core.errors import InvalidRequest

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_HARMLESS = frozenset(
    {
        "alpha_pattern",
        "auto_mapping",
        "base_model_name_or_path",
        "bias",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
        "use_rslora",
    }
)
_NAMED = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "modules_to_save": "whole modules of its own (modules_to_save)",
    "trainable_token_indices": "tokens of its own (trainable_token_indices)",
    "target_parameters": "parameters outside of linear layers (target_parameters)",
    "layer_replication": "layers that are repeated (layer_replication)",
    "alora_invocation_tokens": "an activation by tokens (aLoRA)",
    "lora_bias": "biases of its own (lora_bias)",
}
_LEAVE_THE_BASE = (None, True, False, "gaussian", "orthogonal", "eva")
"""Ways to begin a training that leave the base as it is; PiSSA, OLoRA, CorDA and LoftQ change its weights too."""


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA adapter: the base that it names (and that one's revision), and how its additions are scaled."""

    base: str
    revision: str | None
    alpha: float
    is_rank_stabilised: bool = False
    alphas: Mapping[str, float] = field(default_factory=dict)

    def scale(self, module: str, rank: int) -> float:
        """What B·A of a module is multiplied with (LoRA, arXiv 2106.09685; with the root of the rank: arXiv 2312.03732)."""
        alpha = next((each for pattern, each in self.alphas.items() if _names(pattern, module)), self.alpha)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def read_lora(config: Mapping[str, Any]) -> Lora:
    """The adapter of an adapter_config.json. Raises InvalidRequest for any other than plain LoRA on linear layers."""
    kind = str(config.get("peft_type") or "nothing")
    if kind.upper() != "LORA":
        raise InvalidRequest(f"The adapter is of the type {kind}; only LORA can be served. Merge it into its base and push that.")
    for name, value in config.items():
        if name not in _HARMLESS and value:
            raise _unusable(f"has {_NAMED.get(name, f'the setting {name}, which is not known here')}")
    if config.get("bias", "none") != "none":
        raise _unusable("changes biases")
    if config.get("init_lora_weights") not in _LEAVE_THE_BASE:
        raise _unusable(f"changes its base's weights when it is loaded (init_lora_weights: {config['init_lora_weights']})")
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise InvalidRequest(f"The adapter's {CONFIG_FILE} names no base_model_name_or_path.")
    try:
        alpha = float(config.get("lora_alpha", 8))
        alphas = {str(pattern): float(each) for pattern, each in (config.get("alpha_pattern") or {}).items()}
        for pattern in alphas:
            _names(pattern, "")
    except (TypeError, ValueError, AttributeError, re.error):
        raise InvalidRequest(f"The adapter's {CONFIG_FILE} has a lora_alpha or an alpha_pattern that cannot be read.") from None
    revision = config.get("revision")
    return Lora(base, revision if isinstance(revision, str) and revision else None, alpha, bool(config.get("use_rslora")), alphas)


def _names(pattern: str, module: str) -> bool:
    return re.fullmatch(rf"(.*\.)?({pattern})", module) is not None


def _unusable(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The adapter {reason}; only plain LoRA on linear layers can be served. Merge it into its base and push that.")
