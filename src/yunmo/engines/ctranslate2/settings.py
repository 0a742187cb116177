"""How a model generates unless told otherwise, and how one text is to be searched for."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from yunmo.core.choosing import Choosing
from yunmo.core.tasks import Sampling

_READ = (
    "max_new_tokens",
    "max_length",
    "do_sample",
    "temperature",
    "num_beams",
    *("top_p", "top_k", "min_p", "typical_p", "repetition_penalty"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every token that is written, whichever way it is chosen.

    `least_tokens` must be written before a text may end; `last` is what a text ends with when its length is used up.
    """

    ends: tuple[int, ...]
    most_tokens: int
    least_tokens: int = 0
    no_repeat_ngram: int = 0
    never: tuple[tuple[int, ...], ...] = ()
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """A search for the likeliest text, or with a temperature for a likely one; those that are alike may be worked on together."""

    rules: Rules
    beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    temperature: float = 0.0
    top_k: int = 0


def defaults_of(settings: dict[str, Any]) -> SimpleNamespace:
    """The settings as attributes, None for those that are not given."""
    return SimpleNamespace(**(dict.fromkeys(_READ) | settings))


def first_token(settings: dict[str, Any]) -> int | None:
    """The token that every text begins with, if there is one."""
    forced = settings.get("forced_bos_token_id")
    return int(forced) if forced is not None else None


def rules_of(settings: dict[str, Any], most_tokens: int, rows: int) -> Rules:
    """The rules of settings for a model that knows `rows` tokens."""
    never = (tuple(map(int, words)) for words in settings.get("bad_words_ids") or ())
    last = _ids(settings.get("forced_eos_token_id"))
    return Rules(
        ends=_ids(settings.get("eos_token_id")),
        most_tokens=most_tokens,
        # the library counts the token that a text begins from
        least_tokens=max(0, int(settings.get("min_length") or 0) - 1),
        no_repeat_ngram=int(settings.get("no_repeat_ngram_size") or 0),
        never=tuple(words for words in never if words and all(token < rows for token in words)),
        last=last[0] if last else None,
    )


def search_of(settings: dict[str, Any], rules: Rules, beams: int, sampling: Sampling, choosing: Choosing) -> Search | None:
    """How to search with so many beams; None if the library cannot choose tokens so."""
    if beams == 1:
        return Search(rules, temperature=choosing.temperature, top_k=choosing.top_k) if _is_plain(choosing) else None
    repetition = sampling.repetition_penalty if sampling.repetition_penalty is not None else settings.get("repetition_penalty")
    length = settings.get("length_penalty")
    return Search(rules, beams, float(1.0 if length is None else length), float(repetition or 1.0))


def _is_plain(choosing: Choosing) -> bool:
    """Whether the likeliest token is always taken, or one is drawn without any wish but for the temperature and among how many."""
    penalties = choosing.frequency_penalty or choosing.presence_penalty or choosing.repetition_penalty != 1.0
    if penalties or choosing.logit_bias:
        return False
    # the library has one generator for all requests, and takes the most likely share before the temperature
    is_seeded_or_cut = choosing.seed is not None or choosing.top_p < 1.0 or choosing.min_p > 0.0 or choosing.typical_p < 1.0
    return choosing.temperature <= 0 or not is_seeded_or_cut


def _ids(value: Any) -> tuple[int, ...]:
    return () if value is None else tuple(map(int, value)) if isinstance(value, list) else (int(value),)
