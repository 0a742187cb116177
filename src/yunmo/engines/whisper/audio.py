"""Encoded recordings into samples, without following anything that a file refers to."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from yunmo.core.errors import InvalidRequest, TooLarge

RATE = 16_000
"""Samples per second that Whisper hears."""

Samples = npt.NDArray[np.int16]

BLOCK_SECONDS = 600
"""Features are made of one block at a time: they take ten times the memory of the samples."""

_QUIET_SECONDS = 30
_STEP_SECONDS = 0.1
_AUDIBLE = 33
_FORMATS = "wav,w64,flac,mp3,ogg,matroska,webm,mov,mp4,m4a,3gp,aac,aiff,au,caf,amr,asf,avi,mpeg,mpegts"
"""Single-file containers. Playlists (HLS, concat, …) would make FFmpeg open other files of this machine."""


def decode(data: bytes, longest_seconds: int) -> Samples:
    """Mono samples of a WAV, FLAC, MP3, OGG, WebM, M4A … file.

    Raises InvalidRequest if it is not a recording, TooLarge if it lasts longer than `longest_seconds`.
    """
    import av

    if not data:
        raise InvalidRequest("The recording is empty (0 bytes).", param="file")
    try:
        with av.open(io.BytesIO(data), mode="r", metadata_errors="ignore", options={"format_whitelist": _FORMATS}) as container:
            if not container.streams.audio:
                raise InvalidRequest("The file has no sound track.", param="file")
            samples = _limited(_resampled(container, av), longest_seconds)
    except av.FFmpegError as error:
        raise InvalidRequest(
            f"The recording cannot be decoded ({error.strerror or error}). Send WAV, FLAC, MP3, OGG, WebM or M4A.", param="file"
        ) from None
    if not len(samples):
        raise InvalidRequest("The recording has no sound in it.", param="file")
    return samples


def blocks(samples: Samples) -> Iterator[tuple[float, Samples]]:
    """The recording in pieces of at most BLOCK_SECONDS with their start in seconds, cut where it is most quiet."""
    start, size = 0, BLOCK_SECONDS * RATE
    while len(samples) - start > size:
        end = start + size
        search = samples[end - _QUIET_SECONDS * RATE : end]
        step = int(_STEP_SECONDS * RATE)
        loudness = np.abs(search.astype(np.int32)).reshape(-1, step).sum(axis=1)
        end -= len(search) - int(loudness.argmin()) * step - step // 2
        yield start / RATE, samples[start:end]
        start = end
    yield start / RATE, samples[start:]


def is_silent(samples: Samples) -> bool:
    """Whether nothing can be heard (peaks below -60 dB): Whisper would invent words, and slowly."""
    return int(np.abs(samples.astype(np.int32)).max(initial=0)) < _AUDIBLE


def floats(samples: Samples) -> npt.NDArray[np.float32]:
    """Samples between -1 and 1."""
    return samples.astype(np.float32) / 32768.0


def _resampled(container: Any, av: Any) -> Iterator[Samples]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    stream = container.streams.audio[0]
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # a damaged packet costs its own sound only
        for frame in frames:
            frame.pts = None  # broken time stamps would make the resampler refuse
            for piece in resampler.resample(frame):
                yield piece.to_ndarray()[0]
    for piece in resampler.resample(None):
        yield piece.to_ndarray()[0]


def _limited(pieces: Iterator[Samples], longest_seconds: int) -> Samples:
    kept: list[Samples] = []
    count = 0
    for piece in pieces:
        count += len(piece)
        if count > longest_seconds * RATE:
            raise TooLarge(
                f"The recording lasts longer than {longest_seconds} s. Cut it, or raise the deployment's option longest_seconds.",
                param="file",
            )
        kept.append(piece)
    return np.concatenate(kept) if kept else np.zeros(0, np.int16)
