"""What an offer for a decoder is made of, whatever the engine: how much fits into the memory, and whether the model can chat."""

from collections.abc import Callable, Mapping
from typing import Any

from yunmo.core.engine import ModelDescription

_SMALLEST_CONTEXT_TOKENS = 512


def fit(needed_bytes: Callable[[int, int], int], available_bytes: int, slots: int, context_tokens: int) -> tuple[int, int]:
    """Slots and context per slot: shorter contexts before fewer slots, until it fits or nothing is left to give up."""
    while needed_bytes(slots, context_tokens) > available_bytes:
        if context_tokens > 2 * _SMALLEST_CONTEXT_TOKENS:
            context_tokens //= 2
        elif slots > 1:
            slots //= 2
        else:
            break
    return slots, context_tokens


def has_template(model: ModelDescription) -> bool:
    """Whether the repository says how a conversation becomes a prompt."""
    tokenizer: Mapping[str, Any] = model.documents.get("tokenizer_config.json") or {}
    return "chat_template.jinja" in model.files or bool(tokenizer.get("chat_template"))
