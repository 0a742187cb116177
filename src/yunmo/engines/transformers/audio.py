"""Sound: decode what strangers send, classify it, and read text aloud."""

import io
import math
import threading
import wave
from typing import Any

import numpy as np
import numpy.typing as npt

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.rewriting import check_text
from yunmo.core.tasks import ClassifyAudio, Labels, Request, Speak, Speech
from yunmo.core.usage import Usage
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise
from yunmo.engines.transformers.text import check_top_k, labels_of

MAX_SECONDS = 4 * 3600
_MAX_CHANNELS = 16
_MAX_SPOKEN_CHARACTERS = 4096
_FORMATS = "WAV, FLAC, MP3, OGG, WebM or M4A"
_MIN_SECONDS = 0.02
Samples = npt.NDArray[np.float32]


def audio_classifier(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that label a recording."""
    from transformers import AudioClassificationPipeline

    extractor = checkpoint.feature_extractor
    pipeline = AudioClassificationPipeline(model=checkpoint.model, feature_extractor=extractor)

    def classify(request: ClassifyAudio) -> Result:
        samples = decode_audio(request.audio, extractor.sampling_rate)
        top_k = min(check_top_k(request.top_k) or checkpoint.config.num_labels, checkpoint.config.num_labels)
        rows = pipeline(samples, top_k=top_k, function_to_apply=request.function)
        return Labels(rows=(labels_of(rows),)), Usage(seconds=len(samples) / extractor.sampling_rate)

    return Itemwise(tasks, {ClassifyAudio: classify}, checkpoint.plan)


def speaker(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that read text aloud."""
    if checkpoint.config.model_type != "vits":
        raise Unsupported(f"models of the type {checkpoint.config.model_type} cannot speak here; use a VITS model (MMS-TTS)")
    return Itemwise(tasks, {Speak: _Speaker(checkpoint).speak}, checkpoint.plan, _spoken_cost)


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
        with av.open(io.BytesIO(data), mode="r", metadata_errors="ignore") as container:
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


def _spoken_cost(request: Request) -> int:
    assert isinstance(request, Speak)
    return max(1, len(request.text))


class _Speaker:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._voices = int(getattr(checkpoint.config, "num_speakers", 1) or 1)
        self._noise = threading.Lock()

    def speak(self, request: Speak) -> Result:
        import torch

        text = check_text(request.text.strip(), "text")
        if len(text) > _MAX_SPOKEN_CHARACTERS:
            raise InvalidRequest(f"the text has {len(text)} characters; at most {_MAX_SPOKEN_CHARACTERS} are read aloud", param="text")
        if not 0.25 <= request.speed <= 4.0:
            raise InvalidRequest(f"speed is {request.speed}; it must be from 0.25 to 4", param="speed")
        options = {"speaker_id": self._voice(request.voice)} if self._voices > 1 else self._no_voice(request.voice)
        inputs = self._encode(text)
        # the model draws noise from the global generator: seeded, and alone with it, the same request sounds the same
        with self._noise, torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.sampling.seed or 0)
            outputs = self._checkpoint.model(**inputs, speaking_rate=self._checkpoint.config.speaking_rate * request.speed, **options)
        rate = int(self._checkpoint.config.sampling_rate)
        samples = outputs.waveform[0].float().numpy()
        usage = Usage(input_tokens=inputs["input_ids"].shape[-1], characters=len(request.text), seconds=len(samples) / rate)
        return Speech(wav=encode_wav(samples, rate), sampling_rate=rate), usage

    def _encode(self, text: str) -> Any:
        tokenizer = self._checkpoint.tokenizer
        if getattr(tokenizer, "is_uroman", False) and not text.isascii():
            raise Unsupported("this voice reads Latin letters only: send the text romanised", param="text")
        with self._checkpoint.lock:
            inputs = tokenizer(text, return_tensors="pt")
        # an utterance without one letter that the voice knows is only blanks
        if inputs["input_ids"].shape[-1] < 2:
            raise InvalidRequest("the text has no letters that this voice can read", param="text")
        return inputs

    def _voice(self, voice: str | None) -> int:
        names = getattr(self._checkpoint.config, "speaker_id_to_name", None) or {}
        by_name = {str(name): int(number) for number, name in dict(names).items()} | {str(n): n for n in range(self._voices)}
        if voice is None:
            return 0
        if voice not in by_name:
            raise InvalidRequest(f"this model has no voice {voice!r}; its voices are 0 to {self._voices - 1}", param="voice")
        return by_name[voice]

    def _no_voice(self, voice: str | None) -> dict[str, int]:
        if voice not in {None, "default", "0"}:
            raise InvalidRequest(f"this model has one voice only: leave voice out, not {voice!r}", param="voice")
        return {}
