"""Sound: classify it, and read text aloud."""

import threading
from typing import Any

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.rewriting import check_text
from yunmo.core.tasks import ClassifyAudio, Labels, Request, Speak, Speech
from yunmo.core.usage import Usage
from yunmo.engines.recordings import decode_audio, encode_wav
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise
from yunmo.engines.transformers.text import check_top_k, labels_of

_MAX_SPOKEN_CHARACTERS = 4096


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
