"""What is asked of a translation, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from yunmo.apps.translate.segments import Segment

Formality = Literal["default", "more", "less", "prefer_more", "prefer_less"]
SentenceSplitting = Literal["all", "no_newlines", "off"]
IssueKind = Literal["tag", "placeholder", "number", "url", "term", "untranslated", "truncated"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to translate. `terms` is a glossary, source term to target term; `kept` are words that stay as they are.

    `context` helps and is not translated. `model` names a deployment in place of the route table's choice.
    `instructions` are for models that can be told; with others they are refused, not passed over.
    """

    formality: Formality = "default"
    context: str = ""
    terms: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()
    splitting: SentenceSplitting = "all"
    model: str | None = None
    memory: str | None = None
    memory_threshold: int = 75


@dataclass(frozen=True, slots=True)
class Order:
    """Segments to translate between two languages (BCP 47 as `languages.py` writes them); `source` None is to be found out, for each segment.

    One that `can_wait` is a document's: it gives way to people who wait for an answer.
    """

    segments: tuple[Segment, ...]
    target: str
    source: str | None = None
    options: Options = Options()
    can_wait: bool = False


@dataclass(frozen=True, slots=True)
class Issue:
    """Something that did not come through, and that no repair could mend: `what` is the tag, number, address or term itself."""

    kind: IssueKind
    what: str


@dataclass(frozen=True, slots=True)
class Translated:
    """One segment's translation.

    `source` is the language it was translated from, `confidence` (0 to 1) how sure that is, 1 where it was told. `models` are the deployments that
    translated it, one by one: two where it went through a third language, none where a memory knew it or nothing was to translate.
    `characters` are the Unicode code points of the source's words that were counted.
    """

    segment: Segment
    source: str
    confidence: float
    characters: int
    models: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
