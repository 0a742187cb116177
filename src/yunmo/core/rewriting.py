"""What translating and summarizing with an encoder-decoder means, whichever library runs it."""

from dataclasses import dataclass, field
from typing import Any

from yunmo.core.errors import ContextTooLong, InvalidRequest, Unsupported
from yunmo.core.languages import Languages, Pair
from yunmo.core.tasks import Sampling, Summarize, Translate

T5_LIKE = frozenset({"t5", "mt5", "umt5", "longt5", "switch_transformers"})
_TRANSLATORS = frozenset({"marian", "m2m_100", "mbart", "fsmt", "nllb-moe"})
_REWRITING_TAGS = frozenset({"summarization", "translation"})
# what the library's own translation and summarization pipelines took where a model said nothing
_DEFAULT_MAX_TOKENS = 256
_GENERATION_NAMES = ("max_length", "min_length", "num_beams", "length_penalty", "no_repeat_ngram_size", "early_stopping")
_NO_LIMIT = 1_000_000
# these count positions from the padding's index, so that two of the configured positions are never used
_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "mpnet", "bigbird_pegasus"}


def text_tasks(model_type: str, pipeline_tag: str | None, parameters: Any) -> tuple[str, ...]:
    """The tasks of an encoder-decoder, the one it was published for first. `parameters` are its `task_specific_params`."""
    if model_type in _TRANSLATORS:
        return ("translate",)
    trained = pipeline_tag if pipeline_tag in _REWRITING_TAGS else _trained_for(parameters)
    if model_type not in T5_LIKE:
        return ("summarize", "generate") if trained != "translation" else ("translate", "generate")
    if trained == "summarization":
        return ("summarize", "translate", "generate")
    if trained is None and pipeline_tag == "text2text-generation":
        return ("generate", "translate", "summarize")
    return ("translate", "summarize", "generate")


def _trained_for(parameters: Any) -> str | None:
    """What a model was trained for by the instructions in its configuration; None if that is both, or neither."""
    instructed = parameters if isinstance(parameters, dict) else {}
    found = {"translation" if str(name).startswith("translation_") else name for name in instructed}
    known = found & _REWRITING_TAGS
    return known.pop() if len(known) == 1 else None


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a model is told beside the text: its languages or prefix, and the generation settings published for the task."""

    pair: Pair = field(default_factory=Pair)
    settings: dict[str, Any] = field(default_factory=dict)


class Rewriting:
    """How one model, known by its configuration and tokenizer, is told to translate and to summarize."""

    def __init__(self, config: Any, tokenizer: Any) -> None:
        self._languages = Languages(config, tokenizer)
        self._parameters: dict[str, Any] = getattr(config, "task_specific_params", None) or {}

    def instruction(self, request: Translate | Summarize) -> Instruction:
        """What the model is told for this request. Raises InvalidRequest for a language that it does not know."""
        if request.sampling.logit_bias and request.sampling.beams is None:
            raise Unsupported("logit_bias is for generated text only", param="logit_bias")
        if isinstance(request, Summarize):
            prefix = str((self._parameters.get("summarization") or {}).get("prefix", ""))
            return Instruction(Pair(prefix=prefix), self._settings("summarization"))
        told = self._languages.told_by(request.texts) if request.source is None and request.target is None else None
        pair = told or self._languages.pair(request.source, request.target)
        name = next(
            (name for name, values in self._parameters.items() if pair.prefix and values.get("prefix") == pair.prefix), "translation"
        )
        settings = self._settings(name)
        if pair.first_token is not None:
            settings["forced_bos_token_id"] = pair.first_token
        return Instruction(pair, settings)

    def _settings(self, task: str) -> dict[str, Any]:
        values = self._parameters.get(task) or {}
        return {name: values[name] for name in _GENERATION_NAMES if values.get(name) is not None}


def check_text(text: str, param: str) -> str:
    """The text itself; raises InvalidRequest if there is nothing in it."""
    if not text:
        raise InvalidRequest("the text is empty: send at least one character", param=param)
    return text


def check_length(count: int, limit: int | None) -> None:
    """Raise ContextTooLong when a model that reads `limit` tokens (None: any number) cannot read so many."""
    if limit is not None and count > limit:
        raise ContextTooLong(
            f"the text has {count} tokens; this model reads at most {limit}: split it, or allow truncation", param="inputs"
        )


def tokens_to_write(sampling: Sampling, settings: dict[str, Any], defaults: Any, config: Any) -> int:
    """At most how many tokens are written: the request's wish, the task's setting, or the model's; within its positions."""
    default = settings.get("max_length") or defaults.max_new_tokens or defaults.max_length or _DEFAULT_MAX_TOKENS
    wish = int(default if sampling.max_tokens is None else sampling.max_tokens)
    decoder = config.get_text_config(decoder=True)
    positions = getattr(decoder, "max_position_embeddings", None) or getattr(decoder, "n_positions", None)
    # relative positions (T5) have no end; what they were configured with is not a limit
    relative = hasattr(decoder, "relative_attention_num_buckets")
    return max(1, min(wish, positions - 2) if isinstance(positions, int) and positions > 2 and not relative else wish)


def context_tokens(config: Any, tokenizer: Any, planned: int | None) -> int | None:
    """How many tokens a model can read; None where there is no limit. `planned` is the plan's own limit."""
    config = config.get_text_config()
    positions = next(
        (getattr(config, name) for name in ("max_position_embeddings", "n_positions", "seq_length") if _limit(config, name)), None
    )
    if positions is not None and config.model_type in _OFFSET_POSITIONS:
        positions -= 2
    known = [positions, planned, _limit(tokenizer, "model_max_length")]
    return min((limit for limit in known if limit), default=None)


def until_stop(text: str, stop: tuple[str, ...]) -> str:
    """The text before the first of the stop strings."""
    ends = [text.find(each) for each in stop if each in text]
    return text[: min(ends)] if ends else text


def _limit(holder: Any, name: str) -> int | None:
    value = getattr(holder, name, None)
    return int(value) if isinstance(value, int) and 0 < value < _NO_LIMIT else None
