"""Translate, summarize and generate with encoder-decoder models (the library dropped these pipelines in version 5)."""

from collections.abc import Callable
from typing import Any

from yunmo.core.engine import Engine
from yunmo.core.languages import Pair
from yunmo.core.rewriting import Rewriting, check_length, check_text
from yunmo.core.tasks import Generate, Request, Summarize, Texts, Translate
from yunmo.core.usage import Usage
from yunmo.engines.transformers.generation import Generator
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Job, Threaded
from yunmo.engines.transformers.written import write_text


def encoder_decoder(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> Engine:
    """The engine of models that read a text and write another."""
    rewriter = _Rewriter(checkpoint)
    answers: dict[type[Request], Callable[[Any, Job], Usage]] = {
        Translate: rewriter.rewrite,
        Summarize: rewriter.rewrite,
        Generate: Generator(checkpoint).generate,
    }
    return Threaded(tasks, answers, checkpoint.plan)


class _Rewriter:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._rewriting = Rewriting(checkpoint.config, checkpoint.tokenizer)

    def rewrite(self, request: Translate | Summarize, job: Job) -> Usage:
        told = self._rewriting.instruction(request)
        texts, usage = [], Usage()
        for text in request.texts:
            if job.is_cancelled:
                break
            inputs = self._encode(told.pair, check_text(text, "inputs"), request.truncate)
            usage += Usage(input_tokens=inputs["input_ids"].shape[-1], characters=len(text))
            job.emit(usage)
            ids, rewritten = write_text(self._checkpoint, inputs, request.sampling, job, **told.settings)
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
            encoded = tokenizer(pair.told(text), return_tensors="pt", verbose=False, **cut)
        check_length(encoded["input_ids"].shape[-1], limit)
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}
