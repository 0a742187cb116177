"""Vectors for texts or token ids: one each, or one per token."""

import numpy as np

from yunmo.core.errors import ContextTooLong, InvalidRequest
from yunmo.core.tasks import Embed, Vector, Vectors
from yunmo.core.usage import Usage
from yunmo.engines.onnx.encoder import Encoder, Work
from yunmo.engines.onnx.network import Floats, Passage
from yunmo.engines.onnx.pooling import Pooling


def embed(encoder: Encoder, pooling: Pooling, request: Embed) -> Work:
    """The vector of one input. With `dimensions`, its first numbers, again of length 1 if it was normalised."""
    (given,) = request.inputs
    passage = _read(encoder, pooling, given, truncate=request.truncate)
    ((rows,),) = yield [passage]
    normalizes = request.normalize
    if request.pooled:
        rows = pooling.pooled(rows)
        normalizes = pooling.normalizes if normalizes is None else normalizes
    if request.dimensions is not None:
        rows = _shortened(rows, request.dimensions)
    if normalizes:
        rows = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    vector = Vector(data=np.ascontiguousarray(rows, dtype="<f4").tobytes(), shape=rows.shape)
    return Vectors(vectors=(vector,)), Usage(input_tokens=len(passage.ids), characters=len(given) if isinstance(given, str) else 0)


def _read(encoder: Encoder, pooling: Pooling, given: str | tuple[int, ...], *, truncate: bool) -> Passage:
    limit = min(pooling.max_tokens or encoder.facts.tokenizer.max_tokens, encoder.facts.tokenizer.max_tokens)
    if isinstance(given, str):
        if not given:
            raise InvalidRequest("The text is empty. Send one that has something in it.", param="input")
        text = pooling.prepared(given)
        encoding = encoder.tokens.truncate(text, max_tokens=limit) if truncate else encoder.tokens.encode(text)
        passage = encoder.passage(encoding)
    else:
        passage = Passage(_checked(list(given), encoder.facts.vocabulary))
    count = len(passage.ids)
    if count > limit and not truncate:
        raise ContextTooLong(f"The input has {count} tokens, and the model reads at most {limit}. Shorten it, or let it be truncated.")
    return Passage(passage.ids[:limit], passage.types)


def _checked(ids: list[int], vocabulary: int) -> list[int]:
    if not ids:
        raise InvalidRequest("The list of token ids is empty. Send at least one.", param="input")
    for identity in ids:
        if not 0 <= identity < vocabulary:
            raise InvalidRequest(f"The token id {identity} is not in this model's vocabulary of {vocabulary}.", param="input")
    return ids


def _shortened(rows: Floats, dimensions: int) -> Floats:
    if not 1 <= dimensions <= rows.shape[-1]:
        raise InvalidRequest(f"This model's vectors have {rows.shape[-1]} dimensions; {dimensions} cannot be had.", param="dimensions")
    return rows[..., :dimensions]
