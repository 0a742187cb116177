"""What DeepL's clients send for translations and are answered, field by field. Fields that nobody knows are passed over."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from yunmo.apps.translate.orders import Formality

TEXTS_LIMIT = 50
BODY_LIMIT_BYTES = 128 * 1024
INSTRUCTIONS_LIMIT = 10
INSTRUCTION_CHARACTERS = 300
GLOSSARIES_LIMIT = 5

ModelType = Literal["quality_optimized", "prefer_quality_optimized", "latency_optimized"]
Names = list[str] | str
Instruction = Annotated[str, Meta(max_length=INSTRUCTION_CHARACTERS)]


class TranslateBody(msgspec.Struct, kw_only=True):
    """The body of POST /v2/translate. `model`, which DeepL does not have, names the deployment that is to translate."""

    text: list[str] | str = []
    target_lang: str = ""
    source_lang: str | None = None
    context: str = ""
    split_sentences: Literal["0", "1", "nonewlines"] | None = None
    preserve_formatting: bool = False
    formality: Formality = "default"
    glossary_id: str | None = None
    glossary_ids: Annotated[list[str], Meta(max_length=GLOSSARIES_LIMIT)] | str = []
    style_id: str | None = None
    translation_memory_id: str | None = None
    translation_memory_threshold: Annotated[int, Meta(ge=0, le=100)] = 75
    custom_instructions: Annotated[list[Instruction], Meta(max_length=INSTRUCTIONS_LIMIT)] = []
    tag_handling: Literal["xml", "html"] | None = None
    tag_handling_version: Literal["v1", "v2"] | None = None
    outline_detection: bool = True
    non_splitting_tags: Names = []
    splitting_tags: Names = []
    ignore_tags: Names = []
    model_type: ModelType | None = None
    show_billed_characters: bool = True
    model: str | None = None


LISTS = frozenset({"text", "glossary_ids", "custom_instructions", "non_splitting_tags", "splitting_tags", "ignore_tags"})
"""Fields that a form may have several times."""


class Translation(msgspec.Struct, kw_only=True):
    """One text's translation; the client cannot do without its billed characters."""

    detected_source_language: str
    text: str
    billed_characters: int
    model_type_used: str | UnsetType = UNSET
    tag_handling_version: str | UnsetType = UNSET


class TranslateReply(msgspec.Struct):
    """The reply of POST /v2/translate: in the texts' order."""

    translations: list[Translation]


class DocumentBody(msgspec.Struct, kw_only=True):
    """The fields of POST /v2/document beside the file. `model`, which DeepL does not have, names the deployment that is to translate."""

    target_lang: str
    source_lang: str | None = None
    filename: str | None = None
    output_format: str | None = None
    formality: Formality = "default"
    glossary_id: str | None = None
    glossary_ids: str = ""
    style_id: str | None = None
    translation_memory_id: str | None = None
    model: str | None = None


class DocumentHandle(msgspec.Struct):
    """What a document is known by, and what opens it; its key is told this once."""

    document_id: str
    document_key: str


class DocumentKey(msgspec.Struct):
    """The body of the requests for one document."""

    document_key: str


class DocumentStatus(msgspec.Struct):
    """How far a document is. The client asks until it is `done`: never `downloaded`, which it would wait for the end of."""

    document_id: str
    status: Literal["queued", "translating", "done", "error"]
    seconds_remaining: int | UnsetType = UNSET
    billed_characters: int | UnsetType = UNSET
    error_message: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


class LanguageReply(msgspec.Struct):
    """One language of GET /v2/languages; formality is told of targets only."""

    language: str
    name: str
    supports_formality: bool | UnsetType = UNSET


class DictionaryReply(msgspec.Struct):
    """A dictionary without its terms."""

    source_lang: str
    target_lang: str
    entry_count: int


class MultilingualGlossaryReply(msgspec.Struct):
    """A glossary of /v3/glossaries."""

    glossary_id: str
    name: str
    creation_time: str
    dictionaries: list[DictionaryReply]


class MultilingualGlossaryList(msgspec.Struct):
    """The project's glossaries."""

    glossaries: list[MultilingualGlossaryReply]


class GlossaryReply(msgspec.Struct):
    """A glossary of one dictionary, as /v2/glossaries has them."""

    glossary_id: str
    name: str
    ready: bool
    source_lang: str
    target_lang: str
    creation_time: str
    entry_count: int


class GlossaryList(msgspec.Struct):
    """The project's glossaries of one dictionary."""

    glossaries: list[GlossaryReply]


class DictionaryBody(msgspec.Struct):
    """Terms of one pair of languages, as tab- or comma-separated values."""

    source_lang: str
    target_lang: str
    entries: str
    entries_format: str = "tsv"


class GlossaryBody(DictionaryBody, kw_only=True):
    """The body of POST /v2/glossaries."""

    name: str


class MultilingualGlossaryBody(msgspec.Struct):
    """The body of POST /v3/glossaries."""

    name: str
    dictionaries: list[DictionaryBody]


class GlossaryChange(msgspec.Struct):
    """The body of PATCH /v3/glossaries/{id}: another name, terms to add to one dictionary, or both."""

    name: str | None = None
    dictionaries: list[DictionaryBody] = []


class EntriesReply(msgspec.Struct):
    """A dictionary's terms."""

    source_lang: str
    target_lang: str
    entries: str
    entries_format: str = "tsv"


class EntriesList(msgspec.Struct):
    """The reply of GET /v3/glossaries/{id}/entries."""

    dictionaries: list[EntriesReply]


class LanguagePair(msgspec.Struct):
    """Two languages that a glossary may be for."""

    source_lang: str
    target_lang: str


class LanguagePairs(msgspec.Struct):
    """The reply of GET /v2/glossary-language-pairs."""

    supported_languages: list[LanguagePair]


class UsageReply(msgspec.Struct):
    """Characters of this calendar month (UTC). Nothing here limits them, which is told as DeepL tells it: by a number that nobody reaches."""

    character_count: int
    character_limit: int
    api_key_character_count: int
    api_key_character_limit: int
    start_time: str
    end_time: str


class Feature(msgspec.Struct, frozen=True):
    """What a resource can do with a language."""

    status: str


class LanguageOfResource(msgspec.Struct):
    """One language of GET /v3/languages; `lang` is BCP 47."""

    lang: str
    name: str
    status: str
    usable_as_source: bool
    usable_as_target: bool
    features: dict[str, Feature]


class FeatureReply(msgspec.Struct, omit_defaults=True):
    """On which of its two languages a feature depends."""

    name: str
    needs_source_support: bool | None = None
    needs_target_support: bool | None = None


class Resource(msgspec.Struct):
    """One resource of GET /v3/languages/resources."""

    name: str
    features: list[FeatureReply]


class DetectBody(msgspec.Struct):
    """The body of POST /v3/detect/language."""

    text: Annotated[list[str], Meta(min_length=1, max_length=TEXTS_LIMIT)]


class Detection(msgspec.Struct, omit_defaults=True):
    """What a text is written in, if that is sure enough."""

    detection_status: Literal["success", "insufficient_confidence", "unsupported", "none"]
    detected_language: str | None = None


class Detections(msgspec.Struct):
    """The reply of POST /v3/detect/language, in the texts' order."""

    results: list[Detection]
