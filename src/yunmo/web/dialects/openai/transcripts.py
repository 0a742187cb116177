"""The forms in which a transcript is written down: text, SRT, WebVTT, and JSON with every segment."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from yunmo.core.tasks import Transcript, TranscriptSegment


class DurationUsage(msgspec.Struct):
    """Seconds of audio that were heard."""

    seconds: float
    type: str = "duration"


class PlainTranscript(msgspec.Struct):
    """The reply of response_format json."""

    text: str
    usage: DurationUsage


class SegmentReply(msgspec.Struct):
    """A stretch of speech."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class WordReply(msgspec.Struct):
    """A word and when it was said."""

    word: str
    start: float
    end: float


class VerboseTranscript(msgspec.Struct):
    """The reply of response_format verbose_json."""

    task: str
    language: str
    duration: float
    text: str
    usage: DurationUsage
    segments: list[SegmentReply] | UnsetType = UNSET
    words: list[WordReply] | UnsetType = UNSET


def verbose(transcript: Transcript, usage: DurationUsage, *, to_english: bool, granularities: Iterable[str]) -> VerboseTranscript:
    """Everything that is known. The language is the code that the model gives; of a translation it is always English."""
    reply = VerboseTranscript(
        task="translate" if to_english else "transcribe",
        language="english" if to_english else transcript.language,
        duration=transcript.duration,
        text=transcript.text,
        usage=usage,
    )
    if "segment" in granularities:
        reply.segments = [_segment(each) for each in transcript.segments]
    if "word" in granularities:
        reply.words = [WordReply(word.word.strip(), word.start, word.end) for each in transcript.segments for word in each.words]
    return reply


def srt(transcript: Transcript) -> str:
    """SubRip: numbered cues, commas before the milliseconds."""
    cues = (
        f"{number}\n{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}\n{_cue(segment)}\n\n"
        for number, segment in enumerate(transcript.segments, 1)
    )
    return "".join(cues)


def vtt(transcript: Transcript) -> str:
    """WebVTT: https://www.w3.org/TR/webvtt1/."""
    cues = (f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n{_cue(segment)}\n\n" for segment in transcript.segments)
    return "WEBVTT\n\n" + "".join(cues)


def _segment(segment: TranscriptSegment) -> SegmentReply:
    return SegmentReply(
        segment.id,
        segment.seek,
        segment.start,
        segment.end,
        segment.text,
        segment.tokens,
        segment.temperature,
        segment.average_logprob,
        segment.compression_ratio,
        segment.no_speech_probability,
    )


def _clock(seconds: float, mark: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"


def _cue(segment: TranscriptSegment) -> str:
    """One line: an empty line would end the cue, an arrow would begin another."""
    return " ".join(segment.text.split()).replace("-->", "->")
