"""How each output looks to Hugging Face's client (specification: Hugging Face Inference wire details)."""

import binascii
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from yunmo.core.tasks import (
    Answers,
    Detections,
    Entities,
    Fillings,
    Labels,
    Masks,
    Output,
    Span,
    Speech,
    TableAnswer,
    Texts,
    Transcript,
    Vector,
    Vectors,
)
from yunmo.web.dialects.hf.bodies import ChunkReply, TranscriptReply

_encode = msgspec.json.Encoder().encode
_JSON = (b"content-type", b"application/json")
_NO_ANSWER = Span("", 0.0, 0, 0)


class Bytes(Response):
    """A finished reply whose headers cost next to nothing to build: this is the fast lane."""

    def __init__(self, body: bytes, content_type: tuple[bytes, bytes] = _JSON, status: int = 200) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [(b"content-length", b"%d" % len(body)), content_type]

    def add(self, headers: Mapping[str, str]) -> None:
        """Add headers."""
        self.raw_headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def json_bytes(content: Any, status: int = 200) -> Bytes:
    """`content` as a JSON reply."""
    return Bytes(_encode(content), status=status)


def label_rows(output: Output) -> Bytes:
    """text-classification: a list inside a list, also for one text."""
    assert isinstance(output, Labels)
    return Bytes(_encode(output.rows))


def labels(output: Output) -> Bytes:
    """The labels of one input: a flat list."""
    assert isinstance(output, Labels)
    return Bytes(_encode(output.rows[0]))


def entities(output: Output, *, is_list: bool, is_grouped: bool) -> Bytes:
    """token-classification: `entity_group` for spans, `entity` and `index` for single tokens."""
    assert isinstance(output, Entities)
    name = "entity_group" if is_grouped else "entity"
    rows = []
    for row in output.rows:
        found = []
        for entity in row:
            item: dict[str, Any] = {name: entity.label, "score": entity.score}
            if not is_grouped and entity.index is not None:
                item["index"] = entity.index
            item |= {"word": entity.word, "start": entity.start, "end": entity.end}
            found.append(item)
        rows.append(found)
    return json_bytes(rows if is_list else rows[0])


def answers(output: Output, *, is_list: bool) -> Bytes:
    """question-answering: one answer, or a list where more than one was asked for."""
    assert isinstance(output, Answers)
    if is_list:
        return json_bytes(output.spans)
    return json_bytes(output.spans[0] if output.spans else _NO_ANSWER)


def image_answers(output: Output) -> Bytes:
    """visual-question-answering: a list, best first."""
    assert isinstance(output, Labels)
    return json_bytes([{"answer": label.label, "score": label.score} for label in output.rows[0]])


def document_answers(output: Output) -> Bytes:
    """document-question-answering: a list, also of one; `start` and `end` are null where the answer was written and not found."""
    assert isinstance(output, Answers)
    return json_bytes(output.spans)


def table_answer(output: Output) -> Bytes:
    """table-question-answering: `aggregator` only where the model has one."""
    assert isinstance(output, TableAnswer)
    item: dict[str, Any] = {"answer": output.answer, "cells": output.cells, "coordinates": output.coordinates}
    return json_bytes(item if output.aggregator is None else item | {"aggregator": output.aggregator})


def fillings(output: Output, *, is_list: bool) -> Bytes:
    """fill-mask: the token's text is `token_str`."""
    assert isinstance(output, Fillings)
    rows = [
        [{"score": each.score, "token": each.token, "token_str": each.token_text, "sequence": each.sequence} for each in row]
        for row in output.rows
    ]
    return json_bytes(rows if is_list else rows[0])


def texts(output: Output, *, name: str, also: str | None = None) -> Bytes:
    """summarization, translation, image-to-text: a list of objects with the text under `name`, and under another if need be."""
    assert isinstance(output, Texts)
    return json_bytes([{name: text} if also is None else {name: text, also: text} for text in output.texts])


def vectors(output: Output, *, as_base64: bool) -> Bytes:
    """feature-extraction: one list of numbers per input (a list of lists for one that is not pooled)."""
    assert isinstance(output, Vectors)
    if as_base64:
        return json_bytes([binascii.b2a_base64(vector.data, newline=False).decode() for vector in output.vectors])
    return json_bytes([_numbers(vector) for vector in output.vectors])


def similarities(output: Output) -> Bytes:
    """sentence-similarity: the cosine of the first vector with each of the others."""
    import numpy as np

    assert isinstance(output, Vectors)
    rows = np.stack([np.frombuffer(vector.data, "<f4") for vector in output.vectors]).astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return json_bytes((rows[1:] @ rows[0]).tolist())


def detections(output: Output) -> Bytes:
    """object-detection."""
    assert isinstance(output, Detections)
    return json_bytes(output.objects)


def masks(output: Output) -> Bytes:
    """image-segmentation: each mask is a PNG in base64; a score only where the model gives one."""
    assert isinstance(output, Masks)
    found = []
    for mask in output.segments:
        item: dict[str, Any] = {"label": mask.label, "mask": binascii.b2a_base64(mask.png, newline=False).decode()}
        if mask.score is not None:
            item["score"] = mask.score
        found.append(item)
    return json_bytes(found)


def transcript(output: Output, *, timestamps: bool | str | None) -> Bytes:
    """automatic-speech-recognition: the text, and its stretches (or words) where timestamps were asked for."""
    assert isinstance(output, Transcript)
    if not timestamps:
        return json_bytes(TranscriptReply(output.text))
    if timestamps == "word":
        chunks = [ChunkReply(word.word, (word.start, word.end)) for segment in output.segments for word in segment.words]
    else:
        chunks = [ChunkReply(segment.text, (segment.start, segment.end)) for segment in output.segments]
    return json_bytes(TranscriptReply(output.text, chunks))


def speech(output: Output) -> Bytes:
    """text-to-speech: the WAV file itself."""
    assert isinstance(output, Speech)
    return Bytes(output.wav, (b"content-type", b"audio/wav"))


def _numbers(vector: Vector) -> Any:
    if len(vector.shape) == 1:
        return memoryview(vector.data).cast("f").tolist()
    return memoryview(vector.data).cast("f", list(vector.shape)).tolist()
