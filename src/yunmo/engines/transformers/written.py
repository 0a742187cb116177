"""One text that a model writes: as the request wishes, or the likeliest one with how likely it is."""

import math
from typing import Any

from yunmo.core.choosing import beams_of, choosing_of
from yunmo.core.rewriting import tokens_to_write, until_stop
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
    max_tokens = tokens_to_write(sampling, options, defaults, checkpoint.config)
    options.pop("max_length", None)
    beams = beams_of(sampling, options.pop("num_beams", None) or getattr(defaults, "num_beams", None))
    if beams == 1:
        for name in ("early_stopping", "length_penalty"):
            options.pop(name, None)
    elif sampling.repetition_penalty is not None:
        options["repetition_penalty"] = sampling.repetition_penalty
    config = decoding.generation_config(model, max_tokens, beams, **options)
    processors = []
    vocabulary = int(getattr(checkpoint.config.get_text_config(decoder=True), "vocab_size", 0) or len(checkpoint.tokenizer))
    choosing = choosing_of(sampling, defaults, vocabulary)
    if beams == 1:
        processors.append(Chooser(choosing, 1))
    ids = model.generate(**inputs, generation_config=config, logits_processor=processors, stopping_criteria=[Watcher(job)])[0].tolist()
    text = str(checkpoint.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    return ids, until_stop(text, sampling.stop)


def write_likeliest(
    checkpoint: Checkpoint, inputs: dict[str, Any], job: Job, max_tokens: int | None = None, ends: frozenset[int] = frozenset()
) -> tuple[list[int], float]:
    """Let the model take its likeliest token each time: the tokens (with those it began with), and the product of their probabilities.

    `ends` are tokens that end the text besides the model's own.
    """
    model = checkpoint.model
    wish = Sampling(max_tokens=max_tokens or model.generation_config.max_new_tokens or _DEFAULT_MAX_TOKENS)
    most = tokens_to_write(wish, {}, model.generation_config, checkpoint.config)
    every_end = decoding.end_tokens(model) | ends
    config = decoding.generation_config(model, most, eos_token_id=sorted(every_end) or None)
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
