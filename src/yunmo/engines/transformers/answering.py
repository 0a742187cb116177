"""Find the answer to a question in a context (extractive; the library dropped its pipeline in version 5)."""

from typing import Any

import numpy as np

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.rewriting import check_text
from yunmo.core.tasks import Answer, Answers, Request, Span
from yunmo.core.usage import Usage
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise
from yunmo.engines.transformers.spans import Found, Window, best_spans
from yunmo.engines.transformers.text import check_top_k

_WINDOW_TOKENS = 384


def answerer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that mark an answer's first and last token."""
    if not checkpoint.tokenizer.is_fast:
        raise Unsupported("this model's tokenizer does not tell where its tokens stand in the text, which finding answers needs")
    each = _Answerer(checkpoint)
    return Itemwise(tasks, {Answer: each.answer}, checkpoint.plan, _cost)


def _cost(request: Request) -> int:
    assert isinstance(request, Answer)
    return max(1, (len(request.question) + len(request.context)) // 4)


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
        encoded = self._encode(request)
        for index in range(len(encoded["input_ids"])):
            usage_tokens += len(encoded["input_ids"][index])
            best, none = best_spans(self._window(encoded, index), request.top_k, request.max_answer_tokens)
            impossible = min(impossible, none)
            found += [_span(encoded.encodings[index], each, request.context) for each in best]
        if request.handle_impossible:
            found.append(Span(answer="", score=impossible, start=0, end=0))
        usage = Usage(input_tokens=usage_tokens, characters=len(request.question) + len(request.context))
        return Answers(spans=tuple(best_first(found)[: request.top_k])), usage

    def _window(self, encoded: Any, index: int) -> Window:
        import torch

        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in encoded]
        outputs = self._checkpoint.model(**{name: torch.tensor([encoded[name][index]]) for name in names})
        return Window(
            starts=outputs.start_logits[0].double().numpy(),
            ends=outputs.end_logits[0].double().numpy(),
            readable=np.array([sequence == 1 for sequence in encoded.encodings[index].sequence_ids]),
        )

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


def best_first(spans: list[Span]) -> list[Span]:
    """The spans, each place once: windows overlap and different tokens may widen to the same words."""
    seen: set[tuple[int | None, int | None]] = set()
    kept = []
    for span in sorted(spans, key=lambda span: -span.score):
        if (span.start, span.end) not in seen:
            seen.add((span.start, span.end))
            kept.append(span)
    return kept


def _span(encoding: Any, found: Found, context: str) -> Span:
    """The span, widened to whole words."""
    start, end = _word_span(encoding, found.first)[0], _word_span(encoding, found.last)[1]
    return Span(answer=context[start:end], score=found.score, start=start, end=end)


def _word_span(encoding: Any, token: int) -> tuple[int, int]:
    """Where the word that the token is of stands in the context."""
    word = encoding.token_to_word(token)
    if word is None:
        start, end = encoding.offsets[token]
        return int(start), int(end)
    start, end = encoding.word_to_chars(word, 1)
    return int(start), int(end)
