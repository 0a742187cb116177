"""Translate, summarize and generate with encoder-decoder models (the library dropped these pipelines in version 5)."""

from collections.abc import Callable
from typing import Any

from yunmo.core.engine import Engine
from yunmo.core.errors import ContextTooLong, Unsupported
from yunmo.core.tasks import Generate, Request, Summarize, Texts, Translate
from yunmo.core.usage import Usage
from yunmo.engines.transformers.generation import Generator
from yunmo.engines.transformers.languages import Languages, Pair
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Job, Threaded
from yunmo.engines.transformers.text import check_text
from yunmo.engines.transformers.written import write_text

_GENERATION_NAMES = ("max_length", "min_length", "num_beams", "length_penalty", "no_repeat_ngram_size", "early_stopping")


def encoder_decoder(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> Engine:
    """The engine of models that read a text and write another."""
    rewriter = _Rewriter(checkpoint)
    answers: dict[type[Request], Callable[[Any, Job], Usage]] = {
        Translate: rewriter.translate,
        Summarize: rewriter.summarize,
        Generate: Generator(checkpoint).generate,
    }
    return Threaded(tasks, answers, checkpoint.plan)


class _Rewriter:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._languages = Languages(checkpoint.config, checkpoint.tokenizer)
        self._parameters = getattr(checkpoint.config, "task_specific_params", None) or {}

    def translate(self, request: Translate, job: Job) -> Usage:
        told = self._languages.told_by(request.texts) if request.source is None and request.target is None else None
        pair = told or self._languages.pair(request.source, request.target)
        name = next(
            (name for name, values in self._parameters.items() if pair.prefix and values.get("prefix") == pair.prefix), "translation"
        )
        return self._rewrite(request, pair, self._options(name), job)

    def summarize(self, request: Summarize, job: Job) -> Usage:
        prefix = str((self._parameters.get("summarization") or {}).get("prefix", ""))
        return self._rewrite(request, Pair(prefix=prefix), self._options("summarization"), job)

    def _rewrite(self, request: Translate | Summarize, pair: Pair, options: dict[str, Any], job: Job) -> Usage:
        if request.sampling.logit_bias and request.sampling.beams is None:
            raise Unsupported("logit_bias is for generated text only", param="logit_bias")
        if pair.first_token is not None:
            options["forced_bos_token_id"] = pair.first_token
        texts, usage = [], Usage()
        for text in request.texts:
            if job.is_cancelled:
                break
            inputs = self._encode(pair, check_text(text, "inputs"), request.truncate)
            usage += Usage(input_tokens=inputs["input_ids"].shape[-1], characters=len(text))
            job.emit(usage)
            ids, rewritten = write_text(self._checkpoint, inputs, request.sampling, job, **options)
            usage += Usage(output_tokens=len(ids) - 1)
            texts.append(rewritten.strip())
        job.emit(Texts(texts=tuple(texts)))
        return usage

    def _encode(self, pair: Pair, text: str, truncate: bool) -> dict[str, Any]:
        tokenizer, limit = self._checkpoint.tokenizer, self._checkpoint.context_tokens
        cut: dict[str, Any] = {"truncation": True, "max_length": limit} if truncate and limit else {"truncation": False}
        with self._checkpoint.lock:
            if pair.source is not None:
                tokenizer.src_lang = pair.source
            told = text if text.startswith(pair.prefix) else pair.prefix + text
            encoded = tokenizer(told, return_tensors="pt", verbose=False, **cut)
        count = encoded["input_ids"].shape[-1]
        if limit is not None and count > limit:
            raise ContextTooLong(
                f"the text has {count} tokens; this model reads at most {limit}: split it, or allow truncation", param="inputs"
            )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def _options(self, task: str) -> dict[str, Any]:
        values = self._parameters.get(task) or {}
        return {name: values[name] for name in _GENERATION_NAMES if values.get(name) is not None}
