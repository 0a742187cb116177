"""Find the answer to a question in a context (extractive; the library dropped its pipeline in version 5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Answer, Answers, Request, Span
from yunmo.core.usage import Usage
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise
from yunmo.engines.transformers.text import check_text, check_top_k

_WINDOW_TOKENS = 384
_MASKED = -10_000.0
_Scores = npt.NDArray[np.float64]


def answerer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that mark an answer's first and last token."""
    if not checkpoint.tokenizer.is_fast:
        raise Unsupported("this model's tokenizer does not tell where its tokens stand in the text, which finding answers needs")
    each = _Answerer(checkpoint)
    return Itemwise(tasks, {Answer: each.answer}, checkpoint.plan, _cost)


def _cost(request: Request) -> int:
    assert isinstance(request, Answer)
    return max(1, (len(request.question) + len(request.context)) // 4)


@dataclass(frozen=True, slots=True)
class _Window:
    """One stretch of the context with its question: logits, which tokens may hold an answer, and where each stands."""

    starts: _Scores
    ends: _Scores
    allowed: npt.NDArray[np.bool_]
    readable: npt.NDArray[np.bool_]
    spans: list[tuple[int, int]]


class _Answerer:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def answer(self, request: Answer) -> Result:
        check_text(request.question, "question")
        check_text(request.context, "context")
        check_top_k(request.top_k)
        if request.max_answer_tokens < 1:
            raise InvalidRequest("the longest answer must have at least 1 token", param="max_answer_len")
        usage_tokens = 0
        found: list[Span] = []
        impossible = 1.0
        for window, tokens in self._windows(request):
            usage_tokens += tokens
            starts, ends = _probabilities(window)
            impossible = min(impossible, float(starts[0] * ends[0]))
            starts[0] = ends[0] = 0.0
            found += _best_spans(window, starts, ends, request)
        if request.handle_impossible:
            found.append(Span(answer="", score=impossible, start=0, end=0))
        found.sort(key=lambda span: -span.score)
        usage = Usage(input_tokens=usage_tokens, characters=len(request.question) + len(request.context))
        return Answers(spans=tuple(_distinct(found)[: request.top_k])), usage

    def _windows(self, request: Answer) -> Iterator[tuple[_Window, int]]:
        import torch

        encoded = self._encode(request)
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in encoded]
        for index in range(len(encoded["input_ids"])):
            outputs = self._checkpoint.model(**{name: torch.tensor([encoded[name][index]]) for name in names})
            encoding = encoded.encodings[index]
            in_context = np.array([sequence == 1 for sequence in encoding.sequence_ids])
            allowed = in_context.copy()
            # the first token stands for "there is no answer" in models that were trained with such questions
            allowed[0] = True
            window = _Window(
                starts=outputs.start_logits[0].double().numpy(),
                ends=outputs.end_logits[0].double().numpy(),
                allowed=allowed,
                readable=in_context,
                spans=[_word_span(encoding, token) if is_context else (0, 0) for token, is_context in enumerate(in_context)],
            )
            yield window, len(encoded["input_ids"][index])

    def _encode(self, request: Answer) -> Any:
        tokenizer = self._checkpoint.tokenizer
        limit = self._checkpoint.context_tokens or _WINDOW_TOKENS
        size = min(request.max_window_tokens or _WINDOW_TOKENS, limit)
        with self._checkpoint.lock:
            question_tokens = len(tokenizer(request.question, add_special_tokens=False)["input_ids"])
        room = size - question_tokens - tokenizer.num_special_tokens_to_add(pair=True)
        if room < 1:
            raise InvalidRequest(f"the question has {question_tokens} tokens and leaves no room in a window of {size}", param="question")
        stride = min(request.stride_tokens, size // 2, room - 1)
        if stride < 0:
            raise InvalidRequest("doc_stride must be 0 or more", param="doc_stride")
        with self._checkpoint.lock:
            return tokenizer(
                request.question,
                request.context,
                truncation="only_second",
                max_length=size,
                stride=stride,
                return_overflowing_tokens=True,
            )


def _word_span(encoding: Any, token: int) -> tuple[int, int]:
    """Where the word that the token is of stands in the context."""
    word = encoding.token_to_word(token)
    if word is None:
        start, end = encoding.offsets[token]
        return int(start), int(end)
    start, end = encoding.word_to_chars(word, 1)
    return int(start), int(end)


def _probabilities(window: _Window) -> tuple[_Scores, _Scores]:
    starts = np.where(window.allowed, window.starts, _MASKED)
    ends = np.where(window.allowed, window.ends, _MASKED)
    starts, ends = np.exp(starts - starts.max()), np.exp(ends - ends.max())
    return starts / starts.sum(), ends / ends.sum()


def _best_spans(window: _Window, starts: _Scores, ends: _Scores, request: Answer) -> list[Span]:
    """The likeliest spans of at most the allowed length, widened to whole words."""
    candidates = np.tril(np.triu(np.outer(starts, ends)), request.max_answer_tokens - 1)
    order = np.argsort(-candidates, axis=None, kind="stable")[: request.top_k]
    spans = []
    for first, last in zip(*np.unravel_index(order, candidates.shape), strict=True):
        if first > last or not (window.readable[first] and window.readable[last]):
            continue
        start, end = window.spans[first][0], window.spans[last][1]
        spans.append(Span(answer=request.context[start:end], score=float(candidates[first, last]), start=start, end=end))
    return spans


def _distinct(spans: list[Span]) -> list[Span]:
    """The spans, each place once: windows overlap and different tokens may widen to the same words."""
    seen: set[tuple[int, int]] = set()
    kept = []
    for span in spans:
        if (span.start, span.end) not in seen:
            seen.add((span.start, span.end))
            kept.append(span)
    return kept
