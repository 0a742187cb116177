"""The fields that chats and completions share: how tokens are chosen, when to stop, whether to stream."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Sampling
from yunmo.web.dialects.openai.fields import Refusal, Refusals
from yunmo.web.dialects.openai.wire import MODEL_NAME_LIMIT

CHOICES_LIMIT = 8
STOPS_LIMIT = 4
STOP_CHARACTERS_LIMIT = 1024
TOP_LOGPROBS_LIMIT = 20
LOGIT_BIASES_LIMIT = 1024
TOKENS_LIMIT = 2**31 - 1

Tokens = Annotated[int, Meta(ge=1, le=TOKENS_LIMIT)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Stop = Annotated[str, Meta(min_length=1, max_length=STOP_CHARACTERS_LIMIT)]
ModelName = Annotated[str, Meta(max_length=MODEL_NAME_LIMIT)]


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream carries besides its deltas."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class GenerationBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The root of the two bodies."""

    model: ModelName = ""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=-1, le=TOKENS_LIMIT)] | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=LOGIT_BIASES_LIMIT)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=STOPS_LIMIT)] | None = None
    n: Annotated[int, Meta(ge=1, le=CHOICES_LIMIT)] | None = None
    max_tokens: Annotated[int, Meta(ge=0, le=TOKENS_LIMIT)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None


REFUSED: Refusals = {
    "store": Refusal("answers are not kept. Leave it out or send false.", (False,)),
    "best_of": Refusal("only one candidate is made per choice. Ask for more choices with 'n'.", (1,)),
}


def sampling(body: GenerationBody, max_tokens: int | None) -> Sampling:
    """The body's sampling; what it does not say stays the model's own default."""
    stop = body.stop
    return Sampling(
        max_tokens=max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=None if body.top_k is None else max(0, body.top_k),
        min_p=body.min_p,
        # engines take 32 bits, and some read -1 as "random"; small seeds stay as they are
        seed=None if body.seed is None else body.seed % (2**31 - 1),
        stop=() if stop is None else (stop,) if isinstance(stop, str) else tuple(stop),
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
        repetition_penalty=body.repetition_penalty,
        logit_bias=_logit_bias(body.logit_bias),
    )


def includes_usage(body: GenerationBody) -> bool:
    """Whether the stream ends with its usage. Raises InvalidRequest for stream options without a stream."""
    if body.stream_options is None:
        return False
    if not body.stream:
        raise InvalidRequest("'stream_options' needs 'stream': true.", param="stream_options")
    return bool(body.stream_options.include_usage)


def _logit_bias(biases: dict[str, float] | None) -> dict[str, float] | None:
    for token in biases or ():
        if not (token.isascii() and token.isdigit() and len(token) <= 10):
            raise InvalidRequest(f"'logit_bias' maps token ids to numbers; '{token[:40]}' is no token id.", param="logit_bias")
    return biases or None
