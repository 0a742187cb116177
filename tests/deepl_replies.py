"""What DeepL's API may answer, route by route: required fields, types and no others (specification: DeepL §3.2)."""

import re
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType
from requests.adapters import HTTPAdapter

Code = Annotated[str, Meta(pattern=r"^[A-Z]{2,3}(-[A-Z0-9]{2,4})?$")]
Base = Annotated[str, Meta(pattern=r"^[A-Z]{2,3}$")]
Lower = Annotated[str, Meta(pattern=r"^[a-z]{2,3}$")]
Tag = Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$")]
Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")]
Count = Annotated[int, Meta(ge=0)]


class Exact(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Has these fields and no others."""


class Translation(Exact):
    detected_source_language: Base
    text: str
    billed_characters: Count
    model_type_used: Literal["quality_optimized", "latency_optimized"] | UnsetType = UNSET
    tag_handling_version: Literal["v1", "v2"] | UnsetType = UNSET


class Translations(Exact):
    translations: Annotated[list[Translation], Meta(min_length=1)]


class Language(Exact):
    language: Code
    name: str
    supports_formality: bool | UnsetType = UNSET


class Usage(Exact):
    character_count: Count
    character_limit: Count
    api_key_character_count: Count
    api_key_character_limit: Count
    start_time: Moment
    end_time: Moment


class Pair(Exact):
    source_lang: Lower
    target_lang: Lower


class Pairs(Exact):
    supported_languages: list[Pair]


class Glossary(Exact):
    glossary_id: Id
    name: str
    ready: bool
    source_lang: Lower
    target_lang: Lower
    creation_time: Moment
    entry_count: Count


class Glossaries(Exact):
    glossaries: list[Glossary]


class Dictionary(Exact):
    source_lang: Lower
    target_lang: Lower
    entry_count: Count


class Multilingual(Exact):
    glossary_id: Id
    name: str
    creation_time: Moment
    dictionaries: list[Dictionary]


class Multilinguals(Exact):
    glossaries: list[Multilingual]


class Entries(Exact):
    source_lang: Lower
    target_lang: Lower
    entries: str
    entries_format: Literal["tsv"]


class EntriesList(Exact):
    dictionaries: Annotated[list[Entries], Meta(min_length=1)]


class Feature(Exact):
    status: Literal["stable"]


class ResourceLanguage(Exact):
    lang: Tag
    name: str
    status: Literal["stable"]
    usable_as_source: bool
    usable_as_target: bool
    features: dict[str, Feature]


class ResourceFeature(Exact):
    name: str
    needs_source_support: Literal[True] | UnsetType = UNSET
    needs_target_support: Literal[True] | UnsetType = UNSET


class Resource(Exact):
    name: str
    features: list[ResourceFeature]


class Detection(Exact):
    detection_status: Literal["success", "insufficient_confidence", "unsupported", "none"]
    detected_language: Tag | UnsetType = UNSET


class Detections(Exact):
    results: list[Detection]


class Instruction(Exact):
    id: Id
    label: str
    prompt: str
    source_language: Lower


class Style(Exact):
    style_id: Id
    name: str
    creation_time: Moment
    updated_time: Moment
    language: Lower
    version: Annotated[int, Meta(ge=1)]
    configured_rules: dict[str, dict[str, str]] | UnsetType = UNSET
    custom_instructions: list[Instruction] | UnsetType = UNSET


class Styles(Exact):
    style_rules: list[Style]


class Memory(Exact):
    translation_memory_id: Id
    name: str
    source_language: Tag
    target_languages: list[Tag]
    segment_count: Count
    creation_time: Moment
    updated_time: Moment


class Memories(Exact):
    translation_memories: list[Memory]


class TargetSegment(Exact):
    target_segment_id: str
    target_language: Tag
    target_text: str


class SourceSegment(Exact):
    source_segment_id: str
    source_text: str
    targets: list[TargetSegment]


class Segments(Exact):
    segments: list[SourceSegment]
    segment_count: Count
    next_page_cursor: str | UnsetType = UNSET


class Import(Exact):
    job_id: Id
    upload_url: Annotated[str, Meta(pattern="^http")]
    expires_at: Moment


class JobParameters(Exact):
    translation_memory_id: Id | UnsetType = UNSET
    display_name: str | UnsetType = UNSET


class Export(Exact):
    job_id: Id
    parameters: JobParameters


class JobError(Exact):
    message: str


class RequiredAction(Exact):
    required_action: str


class JobResult(Exact):
    status: Literal["awaiting_input", "processing", "completed", "downloaded", "failed", "expired"]
    download_url: Annotated[str, Meta(pattern="^http")] | UnsetType = UNSET
    expires_at: Moment | UnsetType = UNSET
    translation_memory_id: Id | UnsetType = UNSET
    skipped_segment_count: Count | UnsetType = UNSET
    error: JobError | UnsetType = UNSET
    status_metadata: RequiredAction | UnsetType = UNSET


class Job(Exact):
    job_id: Id
    operation: Literal["import", "export"]
    product: Literal["translation_memory"]
    parameters: JobParameters
    results: Annotated[list[JobResult], Meta(min_length=1, max_length=1)]
    creation_time: Moment
    updated_time: Moment


class Error(Exact):
    message: Annotated[str, Meta(min_length=1)]
    detail: str | UnsetType = UNSET


class DocumentHandle(Exact):
    document_id: Annotated[str, Meta(pattern=r"^[0-9A-F]{32}$")]
    document_key: Annotated[str, Meta(pattern=r"^[0-9A-F]{64}$")]


class DocumentStatus(Exact):
    document_id: Annotated[str, Meta(pattern=r"^[0-9A-F]{32}$")]
    status: Literal["queued", "translating", "done", "error"]
    seconds_remaining: Count | UnsetType = UNSET
    billed_characters: Count | UnsetType = UNSET
    error_message: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


_ONE = "/[^/]+"
SUCCESSES = (
    ("POST|GET", "/v2/translate", 200, Translations),
    ("GET", "/v2/languages", 200, list[Language]),
    ("GET", "/v2/usage", 200, Usage),
    ("GET", "/v2/glossary-language-pairs", 200, Pairs),
    ("POST", "/v2/glossaries", 201, Glossary),
    ("GET", "/v2/glossaries", 200, Glossaries),
    ("GET", f"/v2/glossaries{_ONE}", 200, Glossary),
    ("GET", f"/v2/glossaries{_ONE}/entries", 200, None),
    ("DELETE", f"/v[23]/glossaries{_ONE}(/dictionaries)?", 204, None),
    ("POST", "/v3/glossaries", 201, Multilingual),
    ("GET", "/v3/glossaries", 200, Multilinguals),
    ("GET|PATCH", f"/v3/glossaries{_ONE}", 200, Multilingual),
    ("GET", f"/v3/glossaries{_ONE}/entries", 200, EntriesList),
    ("PUT", f"/v3/glossaries{_ONE}/dictionaries", 200, Dictionary),
    ("POST", "/v2/document", 200, DocumentHandle),
    ("POST", "/v2/document/[^/]+", 200, DocumentStatus),
    ("POST", "/v2/document/[^/]+/result", 200, None),
    ("GET", "/v3/languages", 200, list[ResourceLanguage]),
    ("GET", "/v3/languages/resources", 200, list[Resource]),
    ("POST", "/v3/detect/language", 200, Detections),
    ("GET", "/v3/translation_memories", 200, Memories),
    ("POST", "/v3/translation_memories/import", 200, Import),
    ("GET", f"/v3/translation_memories/jobs{_ONE}", 200, Job),
    ("POST", f"/v3/translation_memories{_ONE}/export", {200, 202}, Export),
    ("GET", f"/v3/translation_memories{_ONE}/segments", 200, Segments),
    ("GET", f"/v3/translation_memories{_ONE}", 200, Memory),
    ("DELETE", f"/v3/translation_memories{_ONE}", 204, None),
    ("GET", "/v3/style_rules", 200, Styles),
    ("POST", "/v3/style_rules", 201, Style),
    ("GET|PATCH", f"/v3/style_rules{_ONE}", 200, Style),
    ("PUT", f"/v3/style_rules{_ONE}/configured_rules", 200, Style),
    ("POST", f"/v3/style_rules{_ONE}/custom_instructions", 201, Instruction),
    ("GET|PUT", f"/v3/style_rules{_ONE}/custom_instructions{_ONE}", 200, Instruction),
    ("DELETE", f"/v3/style_rules{_ONE}(/custom_instructions{_ONE})?", 204, None),
)
ERRORS = frozenset({400, 403, 404, 413, 415, 429, 456, 500, 503, 504})


def check(method: str, path: str, status: int, headers, content: bytes) -> None:
    """Raise unless DeepL could have answered so."""
    assert headers["x-trace-id"], f"{method} {path} has no trace"
    if status >= 400:
        assert status in ERRORS, f"{method} {path}: {status}"
        msgspec.json.decode(content, type=Error)
        return
    wanted, kind = next(
        (found for methods, pattern, *found in SUCCESSES if method in methods.split("|") and re.fullmatch(f"(/deepl)?{pattern}", path)),
        (None, None),
    )
    assert status in (wanted if isinstance(wanted, set) else {wanted}), f"{method} {path}: {status}"
    if kind is not None:
        assert headers["content-type"] == "application/json"
        msgspec.json.decode(content, type=kind)
    elif status == 204:
        assert content == b""


class Watching(HTTPAdapter):
    """Holds everything that the official client is answered against the specification; it prepares its requests apart, so that hooks see none."""

    def send(self, request, *args, **kwargs):
        response = super().send(request, *args, **kwargs)
        path = urlsplit(request.url).path
        if "/translation_memory_files/" not in path:
            content = b"" if response.ok and path.endswith("/result") else response.content  # a file streams on
            check(request.method, path, response.status_code, response.headers, content)
        return response


def moment(text: str) -> datetime:
    """A moment as the official client reads it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
