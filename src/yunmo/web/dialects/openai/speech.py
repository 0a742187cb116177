"""POST /v1/audio/speech: a text in, a recording of it out."""

import asyncio
import io
import time
import wave
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import EngineFailed, InternalError, InvalidRequest, Unsupported
from yunmo.core.tasks import Speak, Speech
from yunmo.core.usage import Usage
from yunmo.web.dialects.openai.fields import Refusal, Refusals, read
from yunmo.web.dialects.openai.headers import answer_headers
from yunmo.web.dialects.openai.sampling import ModelName
from yunmo.web.replies import event, event_reply
from yunmo.web.request import Request
from yunmo.web.waiting import ask

INPUT_CHARACTERS_LIMIT = 4096
PCM_RATE = 24_000
"""What clients of this API take raw PCM for."""

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

_MEDIA_TYPES: dict[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_CODECS: dict[str, tuple[str, str, int]] = {
    "mp3": ("mp3", "libmp3lame", 24_000),
    "opus": ("ogg", "libopus", 48_000),
    "aac": ("adts", "aac", 24_000),
    "flac": ("flac", "flac", 24_000),
}
"""Format: FFmpeg's container, its encoder, and the sampling rate to encode at."""


class VoiceName(msgspec.Struct, forbid_unknown_fields=True):
    """A voice by its id."""

    id: str


class SpeechBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/audio/speech."""

    input: Annotated[str, Meta(min_length=1, max_length=INPUT_CHARACTERS_LIMIT)]
    model: ModelName = ""
    voice: str | VoiceName | None = None
    response_format: Format | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    stream_format: Literal["audio", "sse"] | None = None


_REFUSED: Refusals = {"instructions": Refusal("voices take no directions. Choose another 'voice'.", ("",))}


class AudioDeltaEvent(msgspec.Struct):
    """A piece of the recording; the JSON encoder writes it as base64."""

    audio: bytes
    type: str = "speech.audio.delta"


class SpeechUsage(msgspec.Struct):
    """Tokens of the text and of the recording."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class AudioDoneEvent(msgspec.Struct):
    """The end of the recording."""

    usage: SpeechUsage
    type: str = "speech.audio.done"


async def speech_handler(cloud: Cloud, request: Request) -> Response:
    """The whole recording, or with stream_format sse as events."""
    started = time.perf_counter()
    body = await read(request, SpeechBody, _REFUSED)
    if not body.model:
        raise InvalidRequest("'model' is missing. GET /v1/models lists what may be asked.", param="model")
    form: Format = body.response_format or "mp3"
    if form in _CODECS:
        await asyncio.to_thread(_encoders, form)
    voice = body.voice.id if isinstance(body.voice, VoiceName) else body.voice
    answering = await ask(cloud, request, body.model, Speak(text=body.input, voice=voice, speed=body.speed or 1.0))
    output = await answering.whole()
    if not isinstance(output, Speech):
        raise InternalError(f"The model spoke with {type(output).__name__}.")
    recording = output.wav if form == "wav" else await asyncio.to_thread(_encode, output.wav, form)
    headers = answer_headers(request, started, answering)
    if body.stream_format == "sse":
        return event_reply(_events(recording, answering.usage), headers)
    return Response(recording, headers=headers, media_type=_MEDIA_TYPES[form])


async def _events(recording: bytes, usage: Usage) -> AsyncIterator[bytes]:
    for start in range(0, len(recording), 32 * 1024):
        yield event(AudioDeltaEvent(recording[start : start + 32 * 1024]))
    yield event(AudioDoneEvent(SpeechUsage(usage.input_tokens, usage.output_tokens, usage.input_tokens + usage.output_tokens)))


def _encoders(form: str) -> Any:
    """PyAV, loaded when the first compressed recording is asked for (0.4 s). Raises Unsupported where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise Unsupported(
            f"This server writes recordings as wav and pcm only, not {form}. Ask for one of these, or install PyAV: pip install av.",
            param="response_format",
        ) from error
    return av


def _encode(wav: bytes, form: str) -> bytes:
    """The recording in another form. Raises EngineFailed when the engine's WAV is none."""
    try:
        with wave.open(io.BytesIO(wav)) as file:
            rate, samples = file.getframerate(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise EngineFailed(f"The model's recording is not a WAV file: {error}.") from error
    if form == "pcm":
        return samples if rate == PCM_RATE else _resampled(wav)
    return _compressed(wav, form)


def _resampled(wav: bytes) -> bytes:
    av = _encoders("pcm at 24 kHz")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=PCM_RATE)
    with av.open(io.BytesIO(wav)) as source:
        pieces = [frame.to_ndarray().tobytes() for heard in source.decode(audio=0) for frame in resampler.resample(heard)]
    pieces.extend(frame.to_ndarray().tobytes() for frame in resampler.resample(None))
    return b"".join(pieces)


def _compressed(wav: bytes, form: str) -> bytes:
    av = _encoders(form)
    container, codec, rate = _CODECS[form]
    target = io.BytesIO()
    with av.open(io.BytesIO(wav)) as source, av.open(target, "w", format=container) as sink:
        stream = sink.add_stream(codec, rate=rate)
        stream.layout = "mono"
        for frame in source.decode(audio=0):
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return target.getvalue()
