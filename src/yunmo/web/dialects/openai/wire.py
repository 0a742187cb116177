"""What several replies share: ids, fingerprints, usage."""

import secrets

import msgspec

from yunmo.core.usage import Usage

MODEL_NAME_LIMIT = 512

_LEAST_LOGPROB = -9999.0


class PromptTokensDetails(msgspec.Struct):
    """How the prompt's tokens split."""

    cached_tokens: int = 0
    audio_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct):
    """How the answer's tokens split."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class TokenUsage(msgspec.Struct):
    """Tokens of a chat or a completion."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


def token_usage(usage: Usage) -> TokenUsage:
    """The metered usage in this vendor's words."""
    return TokenUsage(
        usage.input_tokens,
        usage.output_tokens,
        usage.input_tokens + usage.output_tokens,
        PromptTokensDetails(usage.cached_tokens),
        CompletionTokensDetails(),
    )


def new_id(prefix: str) -> str:
    """A fresh id with a readable kind: chatcmpl-…, embd-…."""
    return f"{prefix}-{secrets.token_hex(12)}"


def fingerprint(revision: str) -> str:
    """Changes when, and only when, other weights answer."""
    return f"fp_{revision[:12]}"


def finite(logprob: float) -> float:
    """JSON has no infinity; the vendor's own number for "never" is -9999."""
    return max(logprob, _LEAST_LOGPROB)
