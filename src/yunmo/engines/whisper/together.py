"""Several windows of a long recording heard in one batch: the weights are read once for all of them.

Each window is heard without the text before it, and once. What the ordinary way would have caught is looked for afterwards:
a window whose text repeats itself or is improbable, and speech after a window's last segment, are heard again by themselves,
at all the temperatures of the request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yunmo.engines.whisper.audio import RATE, Samples, floats, is_silent
from yunmo.engines.whisper.windows import LONGEST_SECONDS, Window, windows

_MOST_REPETITIVE = 2.4
_LEAST_PROBABLE = -1.0
"""faster-whisper's own bounds: plain text in bytes against compressed, and the mean log probability of a token."""

_UNHEARD_SECONDS = 0.6
_SHORTEST_PAUSE_MS = 160
_FRAMES_PER_SECOND = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """A segment of faster-whisper, and the second of the samples from which it counts its times."""

    origin: float
    segment: Any


def hear(model: Any, samples: Samples, wishes: Mapping[str, Any]) -> tuple[Iterator[Heard], str]:
    """One window after another, each with the text before it as its prompt; and the language."""
    segments, information = model.transcribe(floats(samples), **wishes)
    return (Heard(0.0, segment) for segment in segments), str(information.language)


def hear_together(model: Any, samples: Samples, wishes: Mapping[str, Any], size: int) -> tuple[Iterator[Heard], str]:
    """`size` windows at a time, the first one alone so that the first words come soon; and the language."""
    signal = floats(samples)
    audible = [window for window in windows(len(samples) / RATE, _speech(signal)) if not is_silent(_piece(samples, window))]
    language = wishes["language"] or (_language(model, _piece(signal, audible[0])) if audible else "")
    return _Together(model, signal, {**wishes, "language": language or None}).hear(audible, size), language


def can_be_heard_together(samples: Samples, wishes: Mapping[str, Any]) -> bool:
    """Whether there are several windows, and the request neither samples nor leaves silence out, which a batch cannot do."""
    return len(samples) > LONGEST_SECONDS * RATE and not wishes["vad_filter"] and isinstance(wishes["temperature"], tuple)


class _Together:
    def __init__(self, model: Any, signal: Any, wishes: dict[str, Any]) -> None:
        self._model = model
        self._signal = signal
        self._wishes = wishes

    def hear(self, audible: Sequence[Window], size: int) -> Iterator[Heard]:
        first = 0
        while first < len(audible):
            batch = audible[first : first + (size if first else 1)]
            found = self._hear(batch)
            for window in batch:
                yield from self._checked(window, found[_seek(window)])
            first += len(batch)

    def _hear(self, batch: Sequence[Window]) -> dict[int, list[Any]]:
        """The segments of each window, under the frame at which it begins."""
        from faster_whisper import BatchedInferencePipeline

        segments, _ = BatchedInferencePipeline(self._model).transcribe(
            self._signal,
            clip_timestamps=[{"start": window.start, "end": window.end} for window in batch],
            batch_size=len(batch),
            without_timestamps=False,
            **self._wishes,
        )
        found: dict[int, list[Any]] = {_seek(window): [] for window in batch}
        for segment in segments:
            found[segment.seek].append(segment)
        return found

    def _checked(self, window: Window, segments: Sequence[Any]) -> Iterator[Heard]:
        said = [segment for segment in segments if segment.text.strip() and segment.end > segment.start]
        if said and _looks_wrong(said):
            yield from self._again(window.start, window.end)
            return
        yield from (Heard(0.0, segment) for segment in said)
        heard_until = float(said[-1].end) if said else window.start
        if window.seconds_spoken_after(heard_until) > _UNHEARD_SECONDS:
            yield from self._again(heard_until, window.end)

    def _again(self, start: float, end: float) -> Iterator[Heard]:
        segments, _ = self._model.transcribe(self._signal[int(start * RATE) : int(end * RATE)], **self._wishes)
        return (Heard(start, segment) for segment in segments)


def _speech(signal: Any) -> list[tuple[float, float]]:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(max_speech_duration_s=LONGEST_SECONDS, min_silence_duration_ms=_SHORTEST_PAUSE_MS, speech_pad_ms=0)
    return [(span["start"] / RATE, span["end"] / RATE) for span in get_speech_timestamps(signal, options)]


def _language(model: Any, signal: Any) -> str:
    return str(model.detect_language(signal)[0]) if model.model.is_multilingual else "en"


def _piece(samples: Any, window: Window) -> Any:
    return samples[int(window.start * RATE) : int(window.end * RATE)]


def _looks_wrong(segments: Sequence[Any]) -> bool:
    from faster_whisper.transcribe import get_compression_ratio

    text = "".join(segment.text for segment in segments)
    return bool(get_compression_ratio(text) > _MOST_REPETITIVE or segments[0].avg_logprob < _LEAST_PROBABLE)


def _seek(window: Window) -> int:
    """The frame at which it begins, as faster-whisper reckons it."""
    return int(int(window.start * RATE) / RATE * _FRAMES_PER_SECOND)
