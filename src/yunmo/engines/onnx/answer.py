"""Answers found in a context, window by window, as the question-answering pipeline of transformers 4 finds them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Answer, Answers, Span
from yunmo.core.usage import Usage
from yunmo.engines.onnx.encoder import Encoder, Work
from yunmo.engines.onnx.network import Floats, softmax

_WINDOW_TOKENS = 384
_DEFAULT_STRIDE = 128
_MOST_WINDOWS = 512
_CONTEXT = 1
_MASKED = np.float32(-10_000.0)


def answer(encoder: Encoder, request: Answer) -> Work:
    """The best spans of the context. With `handle_impossible`, the empty answer takes part with its own score."""
    windows = _windows(encoder, request)
    spans: dict[str, Span] = {}
    least_null = 1_000_000.0
    outputs = yield [encoder.passage(window) for window in windows]
    for window, (start, end) in zip(windows, outputs, strict=True):
        read = _Read(window, *_probabilities(encoder, window, start, end))
        least_null = min(least_null, read.null)
        for first, last, score in _best(read, request):
            begin, stop = _characters(window, first, last)
            text = request.context[begin:stop]
            known = spans.get(text.lower())
            # an answer found again, here or elsewhere, adds to the score of its first place
            spans[text.lower()] = (
                Span(text, score, begin, stop) if known is None else Span(known.answer, known.score + score, known.start, known.end)
            )
    found = list(spans.values())
    if request.handle_impossible:
        found.append(Span(answer="", score=least_null, start=0, end=0))
    found.sort(key=lambda span: -span.score)
    usage = Usage(input_tokens=sum(len(window.ids) for window in windows), characters=len(request.question) + len(request.context))
    return Answers(spans=tuple(found[: request.top_k])), usage


class _Read(NamedTuple):
    """One window with the probability of each token to start or end the answer, and of there being none."""

    window: Any
    starts: Floats
    ends: Floats
    null: float


def _windows(encoder: Encoder, request: Answer) -> list[Any]:
    for name, text in (("question", request.question), ("context", request.context)):
        if not text.strip():
            raise InvalidRequest(f"The {name} is empty. Send both a question and a context.", param=name)
    if request.top_k < 1:
        raise InvalidRequest(f"top_k is {request.top_k}; ask for at least one answer.", param="top_k")
    if request.max_answer_tokens < 1:
        raise InvalidRequest(f"max_answer_len is {request.max_answer_tokens}; it must be at least 1.", param="max_answer_len")
    window = min(request.max_window_tokens or _WINDOW_TOKENS, encoder.facts.tokenizer.max_tokens)
    stride = request.stride_tokens
    if stride == _DEFAULT_STRIDE:
        stride = min(stride, window // 2)
    if not 0 <= stride <= window:
        raise InvalidRequest(f"doc_stride is {stride}; it must be from 0 to less than a window's {window} tokens.", param="doc_stride")
    windows = encoder.tokens.windows(request.question, request.context, "only_second", window, stride)
    if len(windows) > _MOST_WINDOWS:
        raise InvalidRequest(
            f"The context makes {len(windows)} windows; the limit is {_MOST_WINDOWS}. Send a shorter one.", param="context"
        )
    return windows


def _probabilities(encoder: Encoder, window: Any, start: Floats, end: Floats) -> tuple[Floats, Floats, float]:
    in_context = np.array([each == _CONTEXT for each in window.sequence_ids])
    # the first token stays in the softmax: models that know unanswerable questions point there
    counts = in_context | (np.array(window.ids) == encoder.facts.tokenizer.cls_id)
    starts, ends = softmax(np.where(counts, start, _MASKED)), softmax(np.where(counts, end, _MASKED))
    null = float(starts[0] * ends[0])
    return np.where(in_context, starts, 0), np.where(in_context, ends, 0), null


def _best(read: _Read, request: Answer) -> list[tuple[int, int, float]]:
    """The likeliest (first, last, score) of a window with the last at most `max_answer_tokens` - 1 behind the first."""
    length = len(read.starts)
    width = min(request.max_answer_tokens, length)
    ends = np.concatenate([read.ends, np.zeros(width - 1, dtype=np.float32)])
    scores = read.starts[:, None] * np.lib.stride_tricks.sliding_window_view(ends, width)
    flat: NDArray[np.float32] = scores.ravel()
    count = min(request.top_k, len(flat))
    places = np.argpartition(-flat, count - 1)[:count]
    places = places[np.argsort(-flat[places], kind="stable")]
    return [(int(place // width), int(place // width + place % width), float(flat[place])) for place in places if flat[place] > 0]


def _characters(window: Any, first: int, last: int) -> tuple[int, int]:
    """The span's place in the context, widened to whole words."""
    first_word, last_word = window.token_to_word(first), window.token_to_word(last)
    begin = window.word_to_chars(first_word, _CONTEXT) if first_word is not None else None
    stop = window.word_to_chars(last_word, _CONTEXT) if last_word is not None else None
    if begin is None or stop is None:
        return window.offsets[first][0], window.offsets[last][1]
    return begin[0], stop[1]
