"""Answer questions about pages: found among the page's words (LayoutLM and its like), or written by a model that reads the picture (Donut)."""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yunmo.core.engine import BatchEngine, Engine, Result
from yunmo.core.errors import ContextTooLong, InvalidRequest, Unsupported
from yunmo.core.rewriting import check_text
from yunmo.core.tasks import AnswerDocument, Answers, PlacedWord, Request, Span
from yunmo.core.usage import Usage
from yunmo.engines.pictures import open_image, pixels_of
from yunmo.engines.transformers.answering import best_first
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise, Job, Threaded
from yunmo.engines.transformers.spans import Found, Window, best_spans
from yunmo.engines.transformers.text import check_top_k
from yunmo.engines.transformers.written import write_likeliest

# the values of the library's pipeline
_WINDOW_TOKENS = 512
_MAX_STRIDE_TOKENS = 256
_MAX_ANSWER_TOKENS = 15
_MOST_WRITTEN_TOKENS = 256
# at most: one in front, two in the middle (RoBERTa's way), one at the end
_SPECIAL_TOKENS = 4
MAX_WORDS = 20_000
_SIDE = 1000
_TAG = re.compile(r"<[^<>]{1,64}>")
_ANSWER_END = "</s_answer>"


def document_answerer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that mark an answer's first and last token among the words of a page."""
    if not checkpoint.tokenizer.is_fast:
        raise Unsupported("this model's tokenizer does not tell which words its tokens are of, which finding answers needs")
    return Itemwise(tasks, {AnswerDocument: _Finder(checkpoint).answer}, checkpoint.plan, _cost)


def document_answer_writer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> Engine:
    """The engine of models that read the picture of a page and write an answer."""
    return Threaded(tasks, {AnswerDocument: _Writer(checkpoint).answer}, checkpoint.plan)


def _cost(request: Request) -> int:
    assert isinstance(request, AnswerDocument)
    return max(1, (len(request.question) + sum(len(word.text) for word in request.words or ())) // 4)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One stretch of a page with its question: the model's input, and of which word each of its tokens is (None outside the page)."""

    inputs: dict[str, Any]
    words: list[int | None]


class _Finder:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._sees = "pixel_values" in inspect.signature(checkpoint.model.forward).parameters
        if self._sees:
            # the words come with the request: there is no program here that reads them off a picture
            checkpoint.image_processor.apply_ocr = False

    def answer(self, request: AnswerDocument) -> Result:
        image = open_image(request.image)
        words = _checked(request)
        usage_tokens = 0
        found: list[Span] = []
        impossible = 1.0
        pixels = self._pixels(image)
        for stretch in self._stretches(request, words):
            usage_tokens += len(stretch.words)
            best, none = best_spans(self._window(stretch, pixels), request.top_k, request.max_answer_tokens or _MAX_ANSWER_TOKENS)
            impossible = min(impossible, none)
            found += [_span(words, stretch, each) for each in best]
        if request.handle_impossible:
            found.append(Span(answer="", score=impossible, start=0, end=0))
        usage = Usage(input_tokens=usage_tokens, characters=len(request.question) + sum(len(word.text) for word in words))
        return Answers(spans=tuple(best_first(found)[: request.top_k])), usage

    def _pixels(self, image: Any) -> dict[str, Any]:
        if not self._sees:
            return {}
        return {"pixel_values": pixels_of(self._checkpoint.image_processor, image)["pixel_values"]}

    def _window(self, stretch: _Stretch, pixels: dict[str, Any]) -> Window:
        dtype = self._checkpoint.model.dtype
        outputs = self._checkpoint.model(**stretch.inputs, **{name: value.to(dtype) for name, value in pixels.items()})
        # patches of the picture come behind the tokens
        count = len(stretch.words)
        return Window(
            starts=outputs.start_logits[0, :count].double().numpy(),
            ends=outputs.end_logits[0, :count].double().numpy(),
            readable=np.array([word is not None for word in stretch.words]),
        )

    def _stretches(self, request: AnswerDocument, words: Sequence[PlacedWord]) -> list[_Stretch]:
        import torch

        encoded = self._encode(request, words)
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids", "bbox") if name in encoded]
        stretches = []
        for index, encoding in enumerate(encoded.encodings):
            places = [word if part == 1 else None for word, part in zip(encoding.word_ids, encoding.sequence_ids, strict=True)]
            inputs = {name: torch.tensor([encoded[name][index]]) for name in names}
            if "bbox" not in inputs:
                inputs["bbox"] = torch.tensor([self._boxes(encoding.ids, places, words)])
            stretches.append(_Stretch(inputs, places))
        return stretches

    def _encode(self, request: AnswerDocument, words: Sequence[PlacedWord]) -> Any:
        tokenizer = self._checkpoint.tokenizer
        texts, boxes = [word.text for word in words], [list(word.box) for word in words]
        takes_boxes = "boxes" in inspect.signature(tokenizer.__call__).parameters
        if takes_boxes:
            given: dict[str, Any] = {"text": [request.question], "text_pair": [texts], "boxes": [boxes]}
        else:
            given = {"text": request.question.split(), "text_pair": texts, "is_split_into_words": True}
        size, stride = self._cut(request)
        with self._checkpoint.lock:
            return tokenizer(
                **given,
                truncation="only_second",
                max_length=size,
                stride=stride,
                return_overflowing_tokens=True,
                return_token_type_ids=True,
            )

    def _cut(self, request: AnswerDocument) -> tuple[int, int]:
        """How many tokens a window has, and how many of them the next one has too."""
        limit = min(self._checkpoint.context_tokens or _WINDOW_TOKENS, _WINDOW_TOKENS)
        size = min(request.max_window_tokens or limit, limit)
        tokens = self._question_tokens(request.question)
        room = size - tokens - _SPECIAL_TOKENS
        if room < 1:
            raise InvalidRequest(f"the question has {tokens} tokens and leaves no room in a window of {size}", param="question")
        wish = request.stride_tokens if request.stride_tokens is not None else min(size // 2, _MAX_STRIDE_TOKENS)
        return size, max(0, min(wish, room - 1))

    def _question_tokens(self, question: str) -> int:
        tokenizer = self._checkpoint.tokenizer.backend_tokenizer
        with self._checkpoint.lock:
            tokenizer.no_truncation()  # of the request before
            return len(tokenizer.encode(question, add_special_tokens=False).ids)

    def _boxes(self, ids: Sequence[int], places: Sequence[int | None], words: Sequence[PlacedWord]) -> list[list[int]]:
        separator = self._checkpoint.tokenizer.sep_token_id
        outside = ([_SIDE] * 4 if token == separator else [0] * 4 for token in ids)
        return [list(words[place].box) if place is not None else box for place, box in zip(places, outside, strict=True)]


def _span(words: Sequence[PlacedWord], stretch: _Stretch, found: Found) -> Span:
    first, last = stretch.words[found.first], stretch.words[found.last]
    assert first is not None
    assert last is not None
    return Span(answer=" ".join(word.text for word in words[first : last + 1]), score=found.score, start=first, end=last)


def _checked(request: AnswerDocument) -> tuple[PlacedWord, ...]:
    check_text(request.question.strip(), "question")
    check_top_k(request.top_k)
    if request.max_answer_tokens is not None and request.max_answer_tokens < 1:
        raise InvalidRequest("the longest answer must have at least 1 token", param="max_answer_len")
    if request.words is None:
        raise Unsupported(
            "this model reads a page's words and where they stand, and Yunmo has no program that finds them in a picture (OCR): send them "
            "as word_boxes, a list of [word, [left, top, right, bottom]] in thousandths of the page",
            param="word_boxes",
        )
    if not request.words or not any(word.text.strip() for word in request.words):
        raise InvalidRequest("word_boxes has no words: send those of the page", param="word_boxes")
    if len(request.words) > MAX_WORDS:
        raise InvalidRequest(f"word_boxes has {len(request.words):,} words; at most {MAX_WORDS:,} are read", param="word_boxes")
    for word in request.words:
        left, top, right, bottom = word.box
        if not (0 <= left <= right <= _SIDE and 0 <= top <= bottom <= _SIDE):
            raise InvalidRequest(
                f"the box {list(word.box)} is not left, top, right, bottom in thousandths of the page, each from 0 to {_SIDE}",
                param="word_boxes",
            )
    return request.words


class _Writer:
    """Donut: the question is the beginning of what it writes."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        known = checkpoint.tokenizer.convert_tokens_to_ids(_ANSWER_END)
        self._ends = frozenset([known]) if isinstance(known, int) and known != checkpoint.tokenizer.unk_token_id else frozenset()

    def answer(self, request: AnswerDocument, job: Job) -> Usage:
        image = open_image(request.image)
        check_text(request.question.strip(), "question")
        check_top_k(request.top_k)
        if request.words is not None:
            raise Unsupported("this model reads the picture itself: leave word_boxes out", param="word_boxes")
        if request.handle_impossible:
            raise Unsupported("this model always writes an answer: leave handle_impossible_answer out", param="handle_impossible_answer")
        prompt, room = self._prompt(request.question)
        read = Usage(input_tokens=prompt.shape[-1], characters=len(request.question))
        job.emit(read)
        pixels = dict(pixels_of(self._checkpoint.image_processor, image).to(self._checkpoint.model.dtype))
        max_tokens = min(room, request.max_answer_tokens or room)
        ids, probability = write_likeliest(self._checkpoint, pixels | {"decoder_input_ids": prompt}, job, max_tokens, self._ends)
        written = ids[prompt.shape[-1] :]
        job.emit(Answers(spans=(Span(answer=self._text(written), score=probability),)))
        return read + Usage(output_tokens=len(written))

    def _prompt(self, question: str) -> tuple[Any, int]:
        """The tokens of the prompt, and how many may follow."""
        text = f"<s_docvqa><s_question>{question}</s_question><s_answer>"
        with self._checkpoint.lock:
            prompt = self._checkpoint.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        decoder = self._checkpoint.config.get_text_config(decoder=True)
        limit = int(getattr(decoder, "max_position_embeddings", None) or _WINDOW_TOKENS)
        room = limit - int(prompt.shape[-1])
        if room < 1:
            raise ContextTooLong(
                f"the question has {prompt.shape[-1]} tokens; this model reads fewer than {limit}: shorten it", param="question"
            )
        return prompt, min(room, _MOST_WRITTEN_TOKENS)

    def _text(self, ids: list[int]) -> str:
        text = str(self._checkpoint.tokenizer.decode(ids, skip_special_tokens=False)).partition(_ANSWER_END)[0]
        for name in ("eos_token", "pad_token"):
            text = text.replace(getattr(self._checkpoint.tokenizer, name) or _ANSWER_END, "")
        return _TAG.sub("", text).strip()
