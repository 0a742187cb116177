"""Recordings from strangers: decoded with bounds, whoever serves or learns from them."""

import io
import math
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from yunmo.core.errors import InvalidRequest

MAX_SECONDS = 4 * 3600
_MAX_CHANNELS = 16
_FORMATS = "WAV, FLAC, MP3, OGG, WebM or M4A"
_CONTAINERS = "matroska,webm,mov,mp4,m4a,3gp,aac"
"""Single-file containers. Playlists (HLS, concat, …) would make FFmpeg open other files of this machine."""

_MIN_SECONDS = 0.02
Samples = npt.NDArray[np.float32]


def decode_audio(data: bytes, rate: int) -> Samples:
    """The recording in these bytes as one channel at this rate.

    Raises InvalidRequest if there is none, if it is broken, or if it is longer than 4 hours.
    """
    if not data:
        raise InvalidRequest(f"the recording is empty: send the bytes of a {_FORMATS} file", param="audio")
    samples, found_rate = _read(data)
    if len(samples) < _MIN_SECONDS * found_rate:
        raise InvalidRequest("the recording is shorter than 20 milliseconds", param="audio")
    if not np.isfinite(samples).all():
        raise InvalidRequest("the recording holds samples that are not numbers", param="audio")
    return samples if found_rate == rate else _resampled(samples, found_rate, rate)


def seconds_of(recording: Path | bytes) -> float:
    """How long the recording lasts, by its header where that says it. Raises InvalidRequest if it is none, or longer than 4 hours."""
    import soundfile

    try:
        with soundfile.SoundFile(recording if isinstance(recording, Path) else io.BytesIO(recording)) as file:
            _check_size(file.frames, file.samplerate, file.channels)
            return float(file.frames / file.samplerate)
    except soundfile.LibsndfileError:
        samples, rate = _read_container(recording.read_bytes() if isinstance(recording, Path) else recording)
        return len(samples) / rate


def encode_wav(samples: Samples, rate: int) -> bytes:
    """A WAV file (16-bit PCM, mono) of samples from -1 to 1."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(np.nan_to_num(samples), -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def _read(data: bytes) -> tuple[Samples, int]:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check_size(file.frames, file.samplerate, file.channels)
            return file.read(dtype="float32", always_2d=True).mean(axis=1), int(file.samplerate)
    except soundfile.LibsndfileError:
        return _read_container(data)


def _read_container(data: bytes) -> tuple[Samples, int]:
    """Read what libsndfile cannot (WebM, M4A) through FFmpeg, where its Python binding is installed."""
    try:
        import av
    except ImportError:
        raise InvalidRequest("the recording cannot be read: send an undamaged WAV, FLAC, MP3 or OGG file", param="audio") from None
    pieces: list[Samples] = []
    rate = 0
    try:
        with av.open(io.BytesIO(data), mode="r", metadata_errors="ignore", options={"format_whitelist": _CONTAINERS}) as container:
            stream = container.streams.audio[0]
            rate = int(stream.rate)
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
            length = 0
            for frame in container.decode(stream):
                pieces += [np.asarray(each.to_ndarray()[0], dtype=np.float32) for each in resampler.resample(frame)]
                length += frame.samples
                _check_size(length, rate, 1)
            pieces += [np.asarray(each.to_ndarray()[0], dtype=np.float32) for each in resampler.resample(None)]
    except (OSError, IndexError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise InvalidRequest(
            f"the recording cannot be read ({type(error).__name__}): send an undamaged {_FORMATS} file", param="audio"
        ) from None
    return (np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)), max(rate, 1)


def _check_size(frames: int, rate: int, channels: int) -> None:
    if channels > _MAX_CHANNELS:
        raise InvalidRequest(f"the recording has {channels} channels; at most {_MAX_CHANNELS} are read", param="audio")
    if not 1000 <= rate <= 384_000:
        raise InvalidRequest(f"the recording has {rate} samples a second; 1,000 to 384,000 are read", param="audio")
    if frames > MAX_SECONDS * rate:
        raise InvalidRequest(f"the recording is longer than {MAX_SECONDS // 3600} hours: cut it into parts", param="audio")


def _resampled(samples: Samples, found_rate: int, rate: int) -> Samples:
    from scipy.signal import resample_poly

    divisor = math.gcd(found_rate, rate)
    return np.asarray(resample_poly(samples, rate // divisor, found_rate // divisor), dtype=np.float32)
