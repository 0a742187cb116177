"""Translate, summarize and generate with encoder-decoder models (the library dropped these pipelines in version 5)."""

from collections.abc import Callable
from typing import Any

from yunmo.core.engine import Engine
from yunmo.core.errors import ContextTooLong, Unsupported
from yunmo.core.tasks import Generate, Request, Sampling, Summarize, Texts, Translate
from yunmo.core.usage import Usage
from yunmo.engines.transformers import decoding
from yunmo.engines.transformers.decoding import Chooser, Watcher
from yunmo.engines.transformers.generation import Generator
from yunmo.engines.transformers.languages import Languages, Pair
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Job, Threaded
from yunmo.engines.transformers.text import check_text

# what the library's own translation and summarization pipelines took where a model said nothing
_DEFAULT_MAX_TOKENS = 256
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


def write_text(checkpoint: Checkpoint, inputs: dict[str, Any], sampling: Sampling, job: Job, **options: Any) -> tuple[list[int], str]:
    """Let the model write one text from these inputs: its new tokens and what they say.

    `options` are generation settings that the model was published with; the request's own go before them.
    """
    model = checkpoint.model
    defaults = model.generation_config
    beams = decoding.beams_of(sampling, _Both(options, defaults))
    default_tokens = options.pop("max_length", None) or defaults.max_new_tokens or defaults.max_length or _DEFAULT_MAX_TOKENS
    max_tokens = _bounded(checkpoint, sampling.max_tokens if sampling.max_tokens is not None else default_tokens)
    options.pop("num_beams", None)
    if beams == 1:
        for name in ("early_stopping", "length_penalty"):
            options.pop(name, None)
    elif sampling.repetition_penalty is not None:
        options["repetition_penalty"] = sampling.repetition_penalty
    config = decoding.generation_config(model, max(1, max_tokens), beams, **options)
    processors = []
    vocabulary = int(getattr(checkpoint.config.get_text_config(decoder=True), "vocab_size", 0) or len(checkpoint.tokenizer))
    choosing = decoding.choosing_of(sampling, defaults, vocabulary)
    if beams == 1:
        processors.append(Chooser(choosing, 1))
    ids = model.generate(**inputs, generation_config=config, logits_processor=processors, stopping_criteria=[Watcher(job)])[0].tolist()
    text = str(checkpoint.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    return ids, _until_stop(text, sampling.stop)


class _Both:
    """The number of beams: the task's own, else the model's."""

    def __init__(self, options: dict[str, Any], defaults: Any) -> None:
        self.num_beams = options.get("num_beams") or getattr(defaults, "num_beams", None)


class _Rewriter:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._languages = Languages(checkpoint.config, checkpoint.tokenizer)
        self._parameters = getattr(checkpoint.config, "task_specific_params", None) or {}

    def translate(self, request: Translate, job: Job) -> Usage:
        pair = self._languages.pair(request.source, request.target)
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
            encoded = tokenizer(pair.prefix + text, return_tensors="pt", verbose=False, **cut)
        count = encoded["input_ids"].shape[-1]
        if limit is not None and count > limit:
            raise ContextTooLong(
                f"the text has {count} tokens; this model reads at most {limit}: split it, or allow truncation", param="inputs"
            )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def _options(self, task: str) -> dict[str, Any]:
        values = self._parameters.get(task) or {}
        return {name: values[name] for name in _GENERATION_NAMES if values.get(name) is not None}


def _bounded(checkpoint: Checkpoint, max_tokens: int) -> int:
    config = checkpoint.config.get_text_config(decoder=True)
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    # relative positions (T5) have no end; what they were configured with is not a limit
    relative = hasattr(config, "relative_attention_num_buckets")
    return min(max_tokens, positions - 2) if isinstance(positions, int) and positions > 2 and not relative else max_tokens


def _until_stop(text: str, stop: tuple[str, ...]) -> str:
    ends = [text.find(each) for each in stop if each in text]
    return text[: min(ends)] if ends else text
