"""What a request to continue a prompt may ask for, whichever library runs the model."""

from collections.abc import Callable

from yunmo.core.errors import ContextTooLong, InvalidRequest, Unsupported
from yunmo.core.tasks import Chat, Generate

MAX_CHOICES = 128
_MAX_TOP_LOGPROBS = 20
_NO_CONTEXT_MAX_TOKENS = 1024


def check_request(request: Chat | Generate) -> None:
    """Raise Unsupported or InvalidRequest for wishes that an engine which chooses tokens by itself cannot fulfil."""
    if request.output_format is not None:
        raise Unsupported(
            "this engine cannot hold its text to a schema or grammar; deploy the model as GGUF, or ask for plain text",
            param="response_format",
        )
    if not 1 <= request.choices <= MAX_CHOICES:
        raise InvalidRequest(f"{request.choices} choices were asked for; 1 to {MAX_CHOICES} can be", param="n")
    if request.top_logprobs is not None and not 0 <= request.top_logprobs <= _MAX_TOP_LOGPROBS:
        raise InvalidRequest(f"top_logprobs is {request.top_logprobs}; it must be from 0 to {_MAX_TOP_LOGPROBS}", param="top_logprobs")
    if request.sampling.max_tokens == 0 and not (isinstance(request, Generate) and request.echo):
        raise InvalidRequest("max_tokens is 0; it must be at least 1", param="max_tokens")


def prompt_tokens(request: Generate, encode: Callable[[str], list[int]], vocabulary: int) -> tuple[list[int], int]:
    """The prompt's tokens and its characters. Raises InvalidRequest for an empty one and for ids that there are not."""
    if not request.prompt:
        raise InvalidRequest("the prompt is empty: send at least one character", param="prompt")
    if isinstance(request.prompt, str):
        prompt, characters = encode(request.prompt), len(request.prompt)
    else:
        prompt, characters = list(request.prompt), 0
        wrong = next((token for token in prompt if not 0 <= token < vocabulary), None)
        if wrong is not None:
            raise InvalidRequest(f"the token id {wrong} is not in the model's vocabulary of {vocabulary}", param="prompt")
    if request.truncate_prompt_tokens is not None:
        if request.truncate_prompt_tokens < 1:
            raise InvalidRequest("a truncated prompt must keep at least 1 token", param="truncate")
        prompt = prompt[-request.truncate_prompt_tokens :]
    return prompt, characters


def room_after(prompt: list[int], request: Chat | Generate, limit: int | None, *, has_encoder: bool) -> int | None:
    """How many tokens may follow the prompt in a context of `limit` tokens; None where there is no limit.

    A model with an encoder reads the prompt whole and writes from an empty page. Raises ContextTooLong if the prompt does
    not fit, and what `check_request` raises.
    """
    check_request(request)
    if not prompt:
        raise InvalidRequest("the prompt is empty", param="prompt")
    if limit is not None and len(prompt) > limit - (0 if has_encoder else 1):
        raise ContextTooLong(f"the prompt has {len(prompt)} tokens; this model's context has {limit}: shorten the prompt", param="prompt")
    if limit is None:
        return None
    return limit - 1 if has_encoder else limit - len(prompt)


def tokens_to_follow(wish: int | None, default: int | None, room: int | None) -> int:
    """At most how many tokens are written: the wish or the model's default, within the room."""
    default = default or (room if room is not None else _NO_CONTEXT_MAX_TOKENS)
    return min(default if wish is None else wish, room if room is not None else _NO_CONTEXT_MAX_TOKENS * 64)
