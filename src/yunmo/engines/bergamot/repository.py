"""What a repository of a Bergamot or Firefox model holds, told from its files' names and its metadata.json.

They are the files that https://github.com/mozilla/firefox-translations-models publishes, unpacked, at the root of the repository:

    model.enpt.intgemm.alphas.bin     the weights, in eight bits
    vocab.enpt.spm                    the tokens of both languages, or srcvocab.enja.spm and trgvocab.enja.spm
    lex.50.50.enpt.s2t.bin            the words that a word may become (optional)
    metadata.json                     {"sourceLanguage": "en", "targetLanguage": "pt"} (optional)

The languages are those of metadata.json, else those that the weights are named by.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from yunmo.core.engine import ModelDescription

METADATA = "metadata.json"
_WEIGHTS = re.compile(r"model\.(?:(.+)\.)?intgemm8?(?:\..+)?\.bin")
_VOCABULARY = re.compile(r"vocab(?:\..+)?\.spm")
_SOURCE_VOCABULARY = re.compile(r"srcvocab(?:\..+)?\.spm")
_TARGET_VOCABULARY = re.compile(r"trgvocab(?:\..+)?\.spm")
_SHORTLIST = re.compile(r"lex(?:\..+)?\.s2t\.bin")
_PACKED = (".gz", ".zst", ".xz")
_PAIR = re.compile(r"([a-z]{2})([a-z]{2})|([a-z]{3})([a-z]{3})|([a-z]{2,3})[-_]([a-z]{2,3})")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Contents:
    """The paths of one model's parts, and the languages that it translates between."""

    weights: str
    source_vocabulary: str
    target_vocabulary: str
    shortlist: str | None
    source: str
    target: str

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (self.weights, self.source_vocabulary, self.target_vocabulary, self.shortlist))))


def contents_of(model: ModelDescription) -> Contents | str | None:
    """The model's parts; what is wrong with them, for people, if it is such a model and cannot be run; None for any other model."""
    weights = _matching(_WEIGHTS, model.files)
    if not weights:
        packed = [path for path in model.files if path.endswith(_PACKED) and _WEIGHTS.fullmatch(path.rpartition(".")[0])]
        return f"{packed[0]} is packed: unpack the model's files and push them again." if packed else None
    vocabularies = _vocabularies(model.files)
    shortlists = _matching(_SHORTLIST, model.files)
    for kind, found in (("weights", weights), ("shortlist", shortlists)):
        if len(found) > 1:
            return f"there are several files of {kind} ({', '.join(found)}): push each model to a repository of its own."
    if vocabularies is None:
        return (
            "there must be one vocabulary (vocab.*.spm), or one of each language (srcvocab.*.spm and trgvocab.*.spm): push what is missing."
        )
    languages = _languages(model, weights[0])
    if languages is None:
        return f'push a {METADATA} that tells the languages: {{"sourceLanguage": "en", "targetLanguage": "pt"}}.'
    return Contents(weights[0], *vocabularies, shortlists[0] if shortlists else None, *languages)


def _vocabularies(files: Iterable[str]) -> tuple[str, str] | None:
    """The vocabulary of each language, which is mostly one for both."""
    shared = _matching(_VOCABULARY, files)
    if len(shared) == 1:
        return shared[0], shared[0]
    source, target = _matching(_SOURCE_VOCABULARY, files), _matching(_TARGET_VOCABULARY, files)
    return (source[0], target[0]) if (len(shared), len(source), len(target)) == (0, 1, 1) else None


def _languages(model: ModelDescription, weights: str) -> tuple[str, str] | None:
    told = model.documents.get(METADATA)
    if isinstance(told, dict):
        source, target = (str(told.get(name, "")) for name in ("sourceLanguage", "targetLanguage"))
        if _LANGUAGE.fullmatch(source) and _LANGUAGE.fullmatch(target):
            return source, target
    named = _WEIGHTS.fullmatch(weights)
    pair = _PAIR.fullmatch(named[1] or "") if named else None
    if pair is None:
        return None
    source, target = filter(None, pair.groups())
    return source, target


def _matching(name: re.Pattern[str], files: Iterable[str]) -> list[str]:
    return sorted(path for path in files if name.fullmatch(path))
