"""Guesses for a masked token, as the fill-mask pipeline of transformers makes them."""

import numpy as np

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Filling, Fillings, FillMask
from yunmo.core.usage import Usage
from yunmo.engines.onnx.encode import Tokens
from yunmo.engines.onnx.encoder import Encoder, Work
from yunmo.engines.onnx.network import softmax


def fill_mask(encoder: Encoder, request: FillMask) -> Work:
    """The likeliest tokens for the one mask of a text, among `targets` if there are any."""
    if request.top_k < 1:
        raise InvalidRequest(f"top_k is {request.top_k}; ask for at least one token.", param="top_k")
    (text,) = request.texts
    encoding = encoder.tokens.encode(text)
    position = _masked(encoder.tokens, encoding.ids)
    ((logits,),) = yield [encoder.passage(encoding)]
    scores = softmax(logits[position])
    candidates = np.arange(len(scores)) if request.targets is None else _targets(encoder.tokens, request.targets)
    best = candidates[np.argsort(-scores[candidates], kind="stable")[: request.top_k]]
    row = tuple(_filling(encoder.tokens, encoding.ids, position, int(token), float(scores[token])) for token in best)
    return Fillings(rows=(row,)), Usage(input_tokens=len(encoding.ids), characters=len(text))


def _masked(tokens: Tokens, ids: list[int]) -> int:
    found = [position for position, token in enumerate(ids) if token == tokens.facts.mask_id]
    if len(found) != 1:
        raise InvalidRequest(
            f"The text has {len(found)} masks, and it must have exactly one. This model's mask is written {tokens.facts.mask_token}.",
            param="inputs",
        )
    return found[0]


def _targets(tokens: Tokens, targets: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The ids of the targets, each by name, else by the first token of its text."""
    ids = set()
    for target in targets:
        identity = tokens.identity(target)
        if identity is None:
            pieces = tokens.words(target)
            identity = pieces[0] if pieces else None
        if identity is not None:
            ids.add(identity)
    if not ids:
        raise InvalidRequest("None of the targets has a token in this model's vocabulary. Name at least one that has.", param="targets")
    return np.array(sorted(ids), dtype=np.int64)


def _filling(tokens: Tokens, ids: list[int], position: int, token: int, score: float) -> Filling:
    filled = [*ids[:position], token, *ids[position + 1 :]]
    sequence = tokens.to_text([each for each in filled if each != tokens.facts.pad_id], skip_special=True)
    return Filling(sequence=sequence, score=score, token=token, token_text=tokens.to_text([token]))
