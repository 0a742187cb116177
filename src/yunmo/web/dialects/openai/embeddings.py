"""POST /v1/embeddings: texts in, vectors out, as base64 or as numbers."""

import time
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import InternalError, InvalidRequest
from yunmo.core.tasks import Embed, Vectors
from yunmo.web.dialects.openai.fields import Refusals, read
from yunmo.web.dialects.openai.headers import answer_headers
from yunmo.web.dialects.openai.prompts import PromptBody, prompts_of
from yunmo.web.dialects.openai.sampling import ModelName
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.waiting import ask

INPUTS_LIMIT = 2048
DIMENSIONS_LIMIT = 65536

_REFUSED: Refusals = {}


class EmbeddingBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/embeddings."""

    input: PromptBody
    model: ModelName = ""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=DIMENSIONS_LIMIT)] | None = None
    user: str | None = None


class Embedding(msgspec.Struct):
    """One vector: numbers, or little-endian float32 that the JSON encoder writes as base64."""

    index: int
    embedding: bytes | list[float]
    object: str = "embedding"


class EmbeddingUsage(msgspec.Struct):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingReply(msgspec.Struct):
    """The reply of POST /v1/embeddings."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: str = "list"


async def embedding_handler(cloud: Cloud, request: Request) -> Response:
    """A text that is longer than the model reads is an error here, never silently cut."""
    started = time.perf_counter()
    body = await read(request, EmbeddingBody, _REFUSED)
    if not body.model:
        raise InvalidRequest("'model' is missing. GET /v1/models lists what may be asked.", param="model")
    inputs = tuple(prompts_of(body.input, "input", INPUTS_LIMIT, may_be_empty=False))
    task = Embed(inputs=inputs, truncate=False, dimensions=body.dimensions)
    answering = await ask(cloud, request, body.model, task)
    output = await answering.whole()
    if not isinstance(output, Vectors):
        raise InternalError(f"The model embedded with {type(output).__name__}.")
    read_tokens = answering.usage.input_tokens
    reply = EmbeddingReply(
        [Embedding(index, _encoded(vector.data, body.encoding_format)) for index, vector in enumerate(output.vectors)],
        answering.served.name,
        EmbeddingUsage(read_tokens, read_tokens),
    )
    return json_reply(reply, headers=answer_headers(request, started, answering))


def _encoded(data: bytes, encoding_format: str | None) -> bytes | list[float]:
    if encoding_format == "base64":
        return data
    numbers: list[float] = np.frombuffer(data, "<f4").tolist()
    return numbers
