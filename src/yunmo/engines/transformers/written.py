"""One text that a model writes: as the request wishes, or the likeliest one with how likely it is."""

import math
from typing import Any

from yunmo.core.tasks import Sampling
from yunmo.engines.transformers import decoding
from yunmo.engines.transformers.decoding import Chooser, Watcher
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Job

# what the library's own pipelines took where a model said nothing
_DEFAULT_MAX_TOKENS = 256


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


def write_likeliest(
    checkpoint: Checkpoint, inputs: dict[str, Any], job: Job, max_tokens: int | None = None, ends: frozenset[int] = frozenset()
) -> tuple[list[int], float]:
    """Let the model take its likeliest token each time: the tokens (with those it began with), and the product of their probabilities.

    `ends` are tokens that end the text besides the model's own.
    """
    model = checkpoint.model
    default = model.generation_config.max_new_tokens or _DEFAULT_MAX_TOKENS
    every_end = decoding.end_tokens(model) | ends
    config = decoding.generation_config(model, max(1, _bounded(checkpoint, max_tokens or default)), eos_token_id=sorted(every_end) or None)
    sureness = _Sureness()
    ids = model.generate(**inputs, generation_config=config, logits_processor=[sureness], stopping_criteria=[Watcher(job)])[0].tolist()
    return ids, math.exp(sureness.logprob)


class _Sureness:
    """Adds up the log probabilities of the likeliest tokens; stands last among `generate`'s logits processors."""

    def __init__(self) -> None:
        self.logprob = 0.0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """The scores as they are."""
        del input_ids
        self.logprob += float(scores[0].float().log_softmax(dim=-1).max())
        return scores


class _Both:
    """The number of beams: the task's own, else the model's."""

    def __init__(self, options: dict[str, Any], defaults: Any) -> None:
        self.num_beams = options.get("num_beams") or getattr(defaults, "num_beams", None)


def _bounded(checkpoint: Checkpoint, max_tokens: int) -> int:
    config = checkpoint.config.get_text_config(decoder=True)
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    # relative positions (T5) have no end; what they were configured with is not a limit
    relative = hasattr(config, "relative_attention_num_buckets")
    return min(max_tokens, positions - 2) if isinstance(positions, int) and positions > 2 and not relative else max_tokens


def _until_stop(text: str, stop: tuple[str, ...]) -> str:
    ends = [text.find(each) for each in stop if each in text]
    return text[: min(ends)] if ends else text
