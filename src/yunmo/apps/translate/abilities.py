"""Which languages a model translates between, by what its repository says of itself."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from yunmo.apps.translate.languages import parse
from yunmo.core.engine import ModelDescription
from yunmo.core.errors import InvalidRequest
from yunmo.core.languages import ANY_PAIR, instructions

_MANY_TO_MANY = re.compile(r"(M2M100|NllbMoe|MBart)\w*")
_OWN_CODE = re.compile(r"(?:__)?([a-z]{2,3}(?:_[A-Z][a-z]{3}|_[A-Z]{2})?)(?:__)?")
_BERGAMOT_FILE = re.compile(r"(?:^|/)model\.([a-z]{2})([a-z]{2})\.")
_NAMED_PAIR = re.compile(r"(?:^|[-_.])([a-z]{2,3})(?:[-_]?(?:to|2)[-_]?|[-_])([a-z]{2,3})$")


@dataclass(frozen=True, slots=True)
class Ability:
    """Each of the sources is translated into each of the targets but itself."""

    sources: frozenset[str]
    targets: frozenset[str]


def abilities_of(model: ModelDescription) -> tuple[Ability, ...]:
    """What the model is known to translate; empty where nothing says it. What its tokenizer says goes before what people wrote."""
    for find in (_instructed, _told_by_tokens, _told_by_tokenizer, _told_by_metadata, _named_by_files, _trained, _named, _carded):
        found = tuple(each for each in find(model) if each.sources and each.targets)
        if found:
            return found
    return ()


def _instructed(model: ModelDescription) -> Iterable[Ability]:
    """T5's instructions, one for each pair."""
    parameters = model.config.get("task_specific_params")
    pairs = instructions(parameters) if isinstance(parameters, dict) else {}
    known = [(_code(source), _code(target)) for source, target in pairs if (source, target) != ANY_PAIR]
    return [_pair(source, target) for source, target in known if source and target]


def _told_by_tokens(model: ModelDescription) -> Iterable[Ability]:
    """Models from many languages into many have a token for each: `zho_Hans`, `zh_CN`, `__zh__`."""
    if not any(_MANY_TO_MANY.fullmatch(name) for name in model.architectures):
        return []
    tokens = _special_tokens(model)
    codes = [code for token in tokens if (match := _OWN_CODE.fullmatch(token)) and (code := _code(match[1]))]
    every = frozenset(_without_region(code) for code in codes)  # mBART's `de_DE` is any German
    return [Ability(every, every)] if len(every) > 1 else []


def _special_tokens(model: ModelDescription) -> list[str]:
    for path in ("special_tokens_map.json", "tokenizer_config.json"):
        document = model.documents.get(path)
        for name in ("additional_special_tokens", "extra_special_tokens"):
            given = document.get(name) if isinstance(document, dict) else None
            if given:
                values = given.values() if isinstance(given, dict) else given
                return [str(each.get("content") if isinstance(each, dict) else each) for each in values]
    return []


def _told_by_tokenizer(model: ModelDescription) -> Iterable[Ability]:
    """A Marian's tokenizer names its two languages; of a model with several targets the card knows them."""
    document = model.documents.get("tokenizer_config.json")
    given = document if isinstance(document, dict) else {}
    source, target = _code(given.get("source_lang")), _code(given.get("target_lang"))
    return [_pair(source, target)] if source and target else []


def _told_by_metadata(model: ModelDescription) -> Iterable[Ability]:
    """Firefox's models are published with a `metadata.json` that names the two languages."""
    document = model.documents.get("metadata.json")
    given = document if isinstance(document, dict) else {}
    source, target = _code(given.get("sourceLanguage")), _code(given.get("targetLanguage"))
    return [_pair(source, target)] if source and target else []


def _named_by_files(model: ModelDescription) -> Iterable[Ability]:
    """Bergamot's files are called after their pair: `model.enzh.intgemm.alphas.bin`."""
    pairs = {(match[1], match[2]) for path in model.files if (match := _BERGAMOT_FILE.search(path))}
    known = [(_code(source), _code(target)) for source, target in sorted(pairs)]
    return [_pair(source, target) for source, target in known if source and target]


def _trained(model: ModelDescription) -> Iterable[Ability]:
    """A model that was trained here on columns called after languages (`--column source=en --column target=zh`)."""
    columns: Any = model.documents.get("training.json")
    for name in ("order", "rows", "columns"):
        columns = columns.get(name) if isinstance(columns, dict) else None
    given = columns if isinstance(columns, dict) else {}
    source, target = _code(given.get("source")), _code(given.get("target"))
    return [_pair(source, target)] if source and target else []


def _named(model: ModelDescription) -> Iterable[Ability]:
    """`opus-mt-en-zh`, `translate-en_pt`, `en-to-de`; a name that ends otherwise says nothing."""
    match = _NAMED_PAIR.search(model.repository.rpartition("/")[2].lower())
    source, target = (_code(match[1]), _code(match[2])) if match else (None, None)
    return [_pair(source, target)] if source and target and source != target else []


def _carded(model: ModelDescription) -> Iterable[Ability]:
    """The card's `language`: two are the source and the target, as is the custom, more are all into all."""
    codes = [code for each in model.languages if (code := _code(each))]
    if len(codes) == 2:
        return [_pair(*codes)]
    return [Ability(frozenset(codes), frozenset(codes))] if len(codes) > 2 else []


def _pair(source: str, target: str) -> Ability:
    return Ability(frozenset((source,)), frozenset((target,)))


def _without_region(code: str) -> str:
    language = parse(code)
    return "-".join(part for part in (language.base, language.script) if part)


def _code(given: Any) -> str | None:
    """The canonical code of a language, or None for what is none."""
    try:
        return parse(given).code if isinstance(given, str) else None
    except InvalidRequest:
        return None
