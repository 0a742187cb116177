"""POST /v1/audio/transcriptions and /v1/audio/translations: speech in, its words out."""

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from starlette.datastructures import FormData, UploadFile
from starlette.responses import PlainTextResponse, Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Answering
from yunmo.core.errors import InternalError, InvalidRequest, Unsupported, YunmoError
from yunmo.core.tasks import Transcribe, Transcript, TranscriptSegment
from yunmo.web.dialects.openai.errors import error_event
from yunmo.web.dialects.openai.fields import Refusal, Refusals, convert
from yunmo.web.dialects.openai.headers import answer_headers
from yunmo.web.dialects.openai.sampling import ModelName, Share
from yunmo.web.dialects.openai.streams import begin_streaming
from yunmo.web.dialects.openai.transcripts import DurationUsage, PlainTranscript, srt, verbose, vtt
from yunmo.web.replies import event, event_reply, json_reply
from yunmo.web.request import Request
from yunmo.web.waiting import ask, comments

PROMPT_CHARACTERS_LIMIT = 8192
_NOT_FOR_STREAMS = frozenset({"srt", "vtt", "verbose_json"})

T = TypeVar("T", bound="TranslationForm")


class TranslationForm(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The fields of POST /v1/audio/translations beside `file`."""

    model: ModelName = ""
    prompt: Annotated[str, Meta(max_length=PROMPT_CHARACTERS_LIMIT)] | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] | None = None
    temperature: Share | None = None


class TranscriptionForm(TranslationForm, kw_only=True):
    """The fields of POST /v1/audio/transcriptions beside `file`."""

    language: Annotated[str, Meta(max_length=64)] | None = None
    timestamp_granularities: list[Literal["word", "segment"]] | None = None
    chunking_strategy: Literal["auto"] | None = None
    stream: bool | None = None


_REFUSED: Refusals = {
    "include": Refusal("transcripts come without log probabilities of tokens."),
    "languages": Refusal("name one 'language', or none to have it detected."),
    "keywords": Refusal("write them into 'prompt'."),
    "known_speaker_names": Refusal("speakers are not told apart."),
    "known_speaker_references": Refusal("speakers are not told apart."),
}


class TextDeltaEvent(msgspec.Struct):
    """New words in a stream."""

    delta: str
    type: str = "transcript.text.delta"


class TextDoneEvent(msgspec.Struct):
    """The whole text at a stream's end."""

    text: str
    usage: DurationUsage
    type: str = "transcript.text.done"


async def transcription_handler(cloud: Cloud, request: Request) -> Response:
    """The words in the language that is spoken."""
    started = time.perf_counter()
    audio, form = await _form(request, TranscriptionForm)
    granularities = form.timestamp_granularities or ["segment"]
    if form.timestamp_granularities and form.response_format != "verbose_json":
        raise InvalidRequest("'timestamp_granularities' needs 'response_format' verbose_json.", param="timestamp_granularities")
    task = Transcribe(
        audio=audio,
        language=form.language or None,
        prompt=form.prompt or None,
        temperature=form.temperature,
        word_timestamps="word" in granularities,
        skip_silence=form.chunking_strategy == "auto",
    )
    if form.stream:
        if form.response_format in _NOT_FOR_STREAMS:
            raise InvalidRequest("A stream needs 'response_format' json or text.", param="response_format")
        answering = await begin_streaming(cloud, request, form.model, task)
        return event_reply(_events(answering), answer_headers(request, started, answering), closing=answering.close)
    answering = await ask(cloud, request, form.model, task)
    transcript = await _transcript(answering)
    return _reply(transcript, form, granularities, _usage(answering, transcript.duration), answer_headers(request, started, answering))


async def translation_handler(cloud: Cloud, request: Request) -> Response:
    """The words in English."""
    started = time.perf_counter()
    audio, form = await _form(request, TranslationForm)
    task = Transcribe(audio=audio, prompt=form.prompt or None, temperature=form.temperature, to_english=True)
    answering = await ask(cloud, request, form.model, task)
    transcript = await _transcript(answering)
    return _reply(transcript, form, ["segment"], _usage(answering, transcript.duration), answer_headers(request, started, answering))


async def _form(request: Request, kind: type[T]) -> tuple[bytes, T]:
    fields = await request.fields()
    try:
        audio, values = await _values(fields)
    finally:
        await fields.close()
    form = convert(values, kind, _REFUSED)
    if not form.model:
        raise InvalidRequest("'model' is missing. GET /v1/models lists what may be asked.", param="model")
    if form.response_format == "diarized_json":
        raise Unsupported("Speakers are not told apart; ask for verbose_json.", param="response_format")
    if not audio:
        raise InvalidRequest("'file' is missing or empty. Send the recording as a multipart file.", param="file")
    return audio, form


async def _values(fields: FormData) -> tuple[bytes, dict[str, Any]]:
    """The recording and the texts; a field whose name ends in [] is a list."""
    audio = b""
    values: dict[str, Any] = {}
    for name, value in fields.multi_items():
        if isinstance(value, UploadFile):
            if name != "file":
                raise InvalidRequest(f"'{name}' must be a text, not a file.", param=name)
            audio = await value.read()
        elif name == "file":
            raise InvalidRequest("'file' must be sent as a file, with a file name.", param="file")
        elif name.endswith("[]") or name == "timestamp_granularities":
            values.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            values[name] = value
    return audio, values


async def _transcript(answering: Answering) -> Transcript:
    output = await answering.whole()
    if not isinstance(output, Transcript):
        raise InternalError(f"The model transcribed with {type(output).__name__}.")
    return output


def _usage(answering: Answering, duration: float) -> DurationUsage:
    return DurationUsage(answering.usage.seconds or duration)


def _reply(
    transcript: Transcript, form: TranslationForm, granularities: list[Any], usage: DurationUsage, headers: dict[str, str]
) -> Response:
    match form.response_format:
        case "text":
            return PlainTextResponse(transcript.text + "\n", headers=headers)
        case "srt":
            return PlainTextResponse(srt(transcript), headers=headers)
        case "vtt":
            return PlainTextResponse(vtt(transcript), headers=headers, media_type="text/vtt")
        case "verbose_json":
            to_english = not isinstance(form, TranscriptionForm)
            return json_reply(verbose(transcript, usage, to_english=to_english, granularities=granularities), headers=headers)
        case _:
            return json_reply(PlainTranscript(transcript.text, usage), headers=headers)


async def _events(answering: Answering) -> AsyncIterator[bytes]:
    """The deltas joined are the text at the end."""
    text = ""
    duration = 0.0
    try:
        async for comment in comments(answering):
            yield comment
        async for chunk in answering:
            if not isinstance(chunk, TranscriptSegment | Transcript):
                raise InternalError(f"The model's stream has a {type(chunk).__name__} in it.")
            duration = chunk.duration
            news = chunk.text if text else chunk.text.lstrip()
            if isinstance(chunk, Transcript) and text:
                continue
            text += news
            yield event(TextDeltaEvent(news))
    except YunmoError as error:
        yield error_event(error)
        return
    yield event(TextDoneEvent(text, _usage(answering, duration)))
