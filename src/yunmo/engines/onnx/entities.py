"""Entities in texts, with the five ways of aggregation of transformers' token-classification pipeline and their results."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Aggregation, ClassifyTokens, Entities, Entity
from yunmo.core.usage import Usage
from yunmo.engines.onnx.encoder import Encoder, Work
from yunmo.engines.onnx.network import Floats, softmax


def classify_tokens(encoder: Encoder, request: ClassifyTokens) -> Work:
    """The entities of one text. With a stride, a text of any length is read in windows; else it is cut to the model's length."""
    (text,) = request.texts
    if not text:
        raise InvalidRequest("The text is empty. Send one that has something in it.", param="inputs")
    windows = _windows(encoder, text, request)
    outputs = yield [encoder.passage(window) for window in windows]
    found: list[Entity] = []
    for window, (logits,) in zip(windows, outputs, strict=True):
        pieces = list(_pieces(encoder, text, window, softmax(logits)))
        found += [entity for entity in _aggregated(encoder, pieces, request.aggregation) if entity.label not in request.ignore_labels]
    if len(windows) > 1:
        found = _without_overlaps(found)
    tokens = sum(len(window.ids) for window in windows)
    return Entities(rows=(tuple(found),)), Usage(input_tokens=tokens, characters=len(text))


@dataclass(slots=True)
class _Piece:
    """One token of the text with its scores; later, one word with its label."""

    word: str
    scores: Floats
    start: int
    end: int
    index: int
    is_subword: bool


@dataclass(slots=True)
class _Named:
    label: str
    score: np.float32
    piece: _Piece


def _windows(encoder: Encoder, text: str, request: ClassifyTokens) -> list[Any]:
    if request.stride is None:
        return [encoder.tokens.truncate(text)]
    if request.aggregation == "none":
        raise InvalidRequest("A stride needs an aggregation strategy other than none.", param="stride")
    if not 0 <= request.stride < encoder.facts.tokenizer.max_tokens:
        raise InvalidRequest(
            f"The stride must be from 0 to less than the {encoder.facts.tokenizer.max_tokens} tokens of a window.", param="stride"
        )
    return encoder.tokens.windows(text, None, "longest_first", None, request.stride)


def _pieces(encoder: Encoder, text: str, window: Any, scores: Floats) -> Iterable[_Piece]:
    facts = encoder.facts.tokenizer
    for index, (identity, word, (start, end)) in enumerate(zip(window.ids, window.tokens, window.offsets, strict=True)):
        if window.special_tokens_mask[index]:
            continue
        written = text[start:end]
        continues = start > 0 and " " not in text[start - 1 : start + 1]
        is_subword = len(word) != len(written) if facts.marks_subwords else continues
        if identity == facts.unknown_id:
            yield _Piece(written, scores[index], start, end, index, is_subword=False)
        else:
            yield _Piece(word, scores[index], start, end, index, is_subword)


def _aggregated(encoder: Encoder, pieces: list[_Piece], aggregation: Aggregation) -> list[Entity]:
    labels = encoder.facts.labels
    if aggregation in {"none", "simple"}:
        named = [_named(labels, piece, piece.scores) for piece in pieces]
    else:
        named = [_word(encoder, word, aggregation) for word in _words(pieces)]
    if aggregation == "none":
        return [
            Entity(
                label=each.label,
                score=float(each.score),
                word=each.piece.word,
                start=each.piece.start,
                end=each.piece.end,
                index=each.piece.index,
            )
            for each in named
        ]
    return [_entity(encoder, group) for group in _groups(named)]


def _named(labels: Sequence[str], piece: _Piece, scores: Floats) -> _Named:
    best = int(scores.argmax())
    return _Named(labels[best], scores[best], piece)


def _words(pieces: list[_Piece]) -> list[list[_Piece]]:
    words: list[list[_Piece]] = []
    for piece in pieces:
        if words and piece.is_subword:
            words[-1].append(piece)
        else:
            words.append([piece])
    return words


def _word(encoder: Encoder, pieces: list[_Piece], aggregation: Aggregation) -> _Named:
    """One label for a word: of its first piece, of its surest piece, or of the average of all."""
    if aggregation == "first":
        scores = pieces[0].scores
    elif aggregation == "max":
        scores = max(pieces, key=lambda piece: piece.scores.max()).scores
    else:
        scores = np.nanmean(np.stack([piece.scores for piece in pieces]), axis=0)
    text = encoder.tokens.join([piece.word for piece in pieces])
    word = _Piece(text, scores, pieces[0].start, pieces[-1].end, pieces[0].index, is_subword=False)
    return _named(encoder.facts.labels, word, scores)


def _groups(named: list[_Named]) -> list[list[_Named]]:
    """Neighbours of one kind together; a label that begins with B- begins a group."""
    groups: list[list[_Named]] = []
    for each in named:
        begins, kind = _kind(each.label)
        if groups and not begins and _kind(groups[-1][-1].label)[1] == kind:
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def _kind(label: str) -> tuple[bool, str]:
    if label.startswith(("B-", "I-")):
        return label.startswith("B-"), label[2:]
    return False, label


def _entity(encoder: Encoder, group: list[_Named]) -> Entity:
    return Entity(
        label=group[0].label.split("-", 1)[-1],
        score=float(np.nanmean([each.score for each in group])),
        word=encoder.tokens.join([each.piece.word for each in group]),
        start=group[0].piece.start,
        end=group[-1].piece.end,
    )


def _without_overlaps(entities: list[Entity]) -> list[Entity]:
    """Of entities that windows found at the same place: the longest, or the surest of equally long ones."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda each: each.start):
        if not kept or not kept[-1].start <= entity.start < kept[-1].end:
            kept.append(entity)
        elif (entity.end - entity.start, entity.score) > (kept[-1].end - kept[-1].start, kept[-1].score):
            kept[-1] = entity
    return kept
