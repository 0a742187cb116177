"""Recordings of rows, and how long they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.rows import Row, Spoken
from yunmo.engines.recordings import Samples, decode_audio, seconds_of
from yunmo.engines.trainer.media import Media, Medium
from yunmo.engines.trainer.workspace import Place

MAX_SECONDS = 60.0
"""How long a recording to learn from may be; a model may hear less at a time."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was found, and its words."""

    medium: Medium
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Recordings:
    """Reads recordings as a feature extractor wants them."""

    media: Media
    extractor: Any

    @property
    def longest_seconds(self) -> float:
        """How much the model hears at a time (Whisper: half a minute)."""
        return min(MAX_SECONDS, float(getattr(self.extractor, "chunk_length", None) or MAX_SECONDS))

    def recording(self, place: Place, row: Row) -> Recording:
        """The row's recording. Raises InvalidRequest if it is not there, is none, or is too long; its words could not be cut with it."""
        assert isinstance(row, Spoken)
        medium = self.media.medium(place, row.audio)
        with self.media.told_of(medium):
            seconds = seconds_of(self.media.path(medium) or self.media.read(medium))
            if seconds > self.longest_seconds:
                raise InvalidRequest(
                    f"the recording lasts {seconds:.1f} s, and at most {self.longest_seconds:g} s are heard at a time: "
                    "cut it into parts, each with its words."
                )
        return Recording(medium, row.text, seconds)

    def read(self, recording: Recording) -> bytes:
        """The encoded recording."""
        return self.media.read(recording.medium)

    def samples(self, recording: Recording) -> Samples:
        """The recording at the rate that the model hears."""
        data = self.read(recording)
        with self.media.told_of(recording.medium):
            return decode_audio(data, self.extractor.sampling_rate)

    def features(self, recordings: Sequence[Recording], **options: Any) -> dict[str, Any]:
        """Tensors by the names of the model's arguments."""
        samples = [self.samples(each) for each in recordings]
        with torch.autocast("cpu", enabled=False):  # some extractors compute with torch, and would hear in bf16 what is judged in it
            return dict(self.extractor(samples, sampling_rate=self.extractor.sampling_rate, return_tensors="pt", **options))
