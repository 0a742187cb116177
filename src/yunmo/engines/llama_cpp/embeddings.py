"""Vectors from a GGUF encoder."""

import math
import struct
from collections.abc import Sequence

import msgspec

from yunmo.core.errors import ContextTooLong, InvalidRequest, Unsupported
from yunmo.core.tasks import Embed, Vector, Vectors
from yunmo.core.usage import Usage
from yunmo.engines.llama_cpp.answers import ServerError, error_of
from yunmo.engines.llama_cpp.server import Server

_RAW = -1
_EUCLIDEAN = 2


def embed(server: Server, request: Embed, context_tokens: int) -> tuple[Vectors, Usage]:
    """The inputs' vectors, of unit length unless `normalize` is false. Blocks."""
    if not request.pooled:
        raise Unsupported("This engine gives one vector per text, not one per token.", param="pooled")
    if not request.inputs:
        raise InvalidRequest("There is nothing to embed.", param="inputs")
    rows = [_ids(server, each, context_tokens, truncate=request.truncate) for each in request.inputs]
    normalize = request.normalize is not False
    body = {"input": rows, "embd_normalize": _EUCLIDEAN if normalize else _RAW}
    try:
        answer = _decode(server.embed(msgspec.json.encode(body)))
    except ValueError as error:
        raise InvalidRequest(f"llama.cpp refused the request: {error}") from None
    if answer.error is not None:
        raise error_of(answer.error)
    ordered = sorted(answer.data, key=lambda item: item.index)
    vectors = tuple(_vector(item.embedding, request.dimensions, normalize=normalize) for item in ordered)
    return Vectors(vectors=vectors), Usage(input_tokens=sum(map(len, rows)))


def _ids(server: Server, given: str | tuple[int, ...], context_tokens: int, *, truncate: bool) -> list[int]:
    ids = server.tokens(given) if isinstance(given, str) else list(given)
    if len(ids) <= context_tokens:
        return ids
    if not truncate:
        raise ContextTooLong(f"The input has {len(ids)} tokens, but this deployment reads at most {context_tokens}.", param="inputs")
    # the closing special token stays, or the pooling of some encoders goes astray
    return [*ids[: context_tokens - 1], ids[-1]] if isinstance(given, str) else ids[:context_tokens]


def _vector(numbers: Sequence[float], dimensions: int | None, *, normalize: bool) -> Vector:
    if dimensions is not None and dimensions < len(numbers):
        numbers = numbers[:dimensions]
        length = math.sqrt(sum(number * number for number in numbers)) if normalize else 1.0
        numbers = [number / (length or 1.0) for number in numbers]
    return Vector(data=struct.pack(f"<{len(numbers)}f", *numbers), shape=(len(numbers),))


class _Embedding(msgspec.Struct, frozen=True):
    embedding: list[float]
    index: int = 0


class _Embeddings(msgspec.Struct, frozen=True):
    data: list[_Embedding] = []
    error: ServerError | None = None


_decode = msgspec.json.Decoder(_Embeddings).decode
