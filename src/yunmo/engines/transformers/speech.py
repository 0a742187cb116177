"""Write down speech: with Whisper and its kin, or with models that spell it letter by letter (CTC)."""

from collections.abc import Sequence
from typing import Any

from yunmo.core.choosing import MAX_BEAMS
from yunmo.core.engine import Engine
from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.tasks import Transcribe, Transcript, TranscriptSegment, Word
from yunmo.core.usage import Usage
from yunmo.engines.recordings import Samples, decode_audio
from yunmo.engines.transformers.decoding import Watcher
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Job, Threaded

_WINDOW_SECONDS = 30.0
_PAUSE_SECONDS = 0.8


def speech_writer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> Engine:
    """The engine of encoder-decoder models that transcribe."""
    return Threaded(tasks, {Transcribe: _Writer(checkpoint).transcribe}, checkpoint.plan)


def speech_speller(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> Engine:
    """The engine of models that give a letter to each 20 milliseconds."""
    return Threaded(tasks, {Transcribe: _Speller(checkpoint).transcribe}, checkpoint.plan)


def _pipeline(checkpoint: Checkpoint) -> Any:
    from transformers import AutomaticSpeechRecognitionPipeline

    return AutomaticSpeechRecognitionPipeline(
        model=checkpoint.model, tokenizer=checkpoint.tokenizer, feature_extractor=checkpoint.feature_extractor
    )


class _Writer:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._pipeline = _pipeline(checkpoint)
        self._checkpoint = checkpoint
        self._rate = int(checkpoint.feature_extractor.sampling_rate)
        self._is_whisper = checkpoint.config.model_type == "whisper"
        defaults = checkpoint.model.generation_config
        self._languages = {name.strip("<|>") for name in getattr(defaults, "lang_to_id", None) or {}}

    def transcribe(self, request: Transcribe, job: Job) -> Usage:
        _refuse_silence(request)
        options = self._options(request, job)
        samples = decode_audio(request.audio, self._rate)
        duration = len(samples) / self._rate
        job.emit(Usage(seconds=duration))
        if not self._is_whisper:
            text = self._pipeline(samples, **options)["text"]
            chunks = [{"text": text, "timestamp": (0.0, duration), "language": request.language or ""}]
        elif request.word_timestamps:
            chunks = _grouped(self._found(samples, "word", options))
        else:
            chunks = self._found(samples, True, options)
        if job.is_cancelled:
            return Usage(seconds=duration)
        return _finish(chunks, request, duration, job, self._checkpoint)

    def _found(self, samples: Samples, timestamps: str | bool, options: dict[str, Any]) -> list[dict[str, Any]]:
        names = {"return_language": True} if self._languages else {}
        found: list[dict[str, Any]] = self._pipeline(samples, return_timestamps=timestamps, generate_kwargs=options, **names)["chunks"]
        return found

    def _options(self, request: Transcribe, job: Job) -> dict[str, Any]:
        options: dict[str, Any] = {"stopping_criteria": [Watcher(job)]}
        if request.temperature is not None and not 0.0 <= request.temperature <= 1.0:
            raise InvalidRequest(f"temperature is {request.temperature}; it must be from 0 to 1", param="temperature")
        if request.beams is not None:
            if not 1 <= request.beams <= MAX_BEAMS:
                raise InvalidRequest(f"beams is {request.beams}; it must be from 1 to {MAX_BEAMS}", param="num_beams")
            options["num_beams"] = request.beams
        else:
            options["num_beams"] = 1
        if not self._is_whisper:
            if request.language or request.to_english or request.prompt or request.word_timestamps or request.temperature:
                raise Unsupported("this model only writes down what it hears: send no language, prompt, temperature or word timestamps")
            return {"generate_kwargs": options}
        if request.temperature:
            options |= {"temperature": request.temperature, "do_sample": True}
        if request.prompt:
            options["prompt_ids"] = self._checkpoint.processor.get_prompt_ids(request.prompt, return_tensors="pt")
        return options | self._language_options(request)

    def _language_options(self, request: Transcribe) -> dict[str, Any]:
        if not self._languages:
            if request.to_english or (request.language and request.language.lower() not in {"en", "english"}):
                raise Unsupported("this model knows English only", param="language")
            return {}
        task = {"task": "translate" if request.to_english else "transcribe"}
        if request.language is None:
            return task
        code = _whisper_code(request.language)
        if code not in self._languages:
            raise InvalidRequest(
                f"{request.language!r} is not a language of this model; it knows {', '.join(sorted(self._languages))}", param="language"
            )
        return task | {"language": code}


class _Speller:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._pipeline = _pipeline(checkpoint)
        self._checkpoint = checkpoint
        self._rate = int(checkpoint.feature_extractor.sampling_rate)

    def transcribe(self, request: Transcribe, job: Job) -> Usage:
        _refuse_silence(request)
        if request.to_english or request.prompt or request.temperature or (request.beams or 1) > 1:
            raise Unsupported("this model spells what it hears: it takes no prompt, temperature or beams and does not translate")
        samples = decode_audio(request.audio, self._rate)
        duration = len(samples) / self._rate
        job.emit(Usage(seconds=duration))
        options = {"chunk_length_s": _WINDOW_SECONDS, "stride_length_s": 5.0} if duration > _WINDOW_SECONDS else {}
        found = self._pipeline(samples, return_timestamps="word", **options)["chunks"]
        if job.is_cancelled:
            return Usage(seconds=duration)
        chunks = _grouped([{**word, "text": f" {word['text']}"} for word in found])
        if not request.word_timestamps:
            chunks = [{**chunk, "words": []} for chunk in chunks]
        return _finish(chunks, request, duration, job, self._checkpoint)


def _refuse_silence(request: Transcribe) -> None:
    if request.skip_silence:
        raise Unsupported("this engine does not skip silence; the whisper engine does", param="vad_filter")


def _whisper_code(language: str) -> str:
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    lowered = language.strip().lower()
    return str(TO_LANGUAGE_CODE.get(lowered, lowered.split("-")[0].split("_")[0]))


def _grouped(words: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Words gathered into stretches that end at pauses, and at half a minute in any case."""
    groups: list[list[dict[str, Any]]] = []
    for word in words:
        start, end = word["timestamp"]
        if groups:
            began, last = groups[-1][0]["timestamp"][0] or 0.0, groups[-1][-1]["timestamp"][1]
            pause = (start or 0.0) - (last if last is not None else start or 0.0)
            if pause < _PAUSE_SECONDS and (end or start or 0.0) - began <= _WINDOW_SECONDS:
                groups[-1].append(word)
                continue
        groups.append([word])
    return [
        {
            "text": "".join(word["text"] for word in group),
            "timestamp": (group[0]["timestamp"][0], group[-1]["timestamp"][1]),
            "language": group[0].get("language"),
            "words": group,
        }
        for group in groups
    ]


def _segment(index: int, chunk: dict[str, Any], duration: float, language: str) -> TranscriptSegment:
    start, end = _times(chunk, duration)
    words = []
    for word in chunk.get("words", ()):
        word_start, word_end = _times(word, end)
        words.append(Word(word=word["text"], start=word_start, end=word_end))
    return TranscriptSegment(id=index, start=start, end=end, text=chunk["text"], words=tuple(words), language=language, duration=duration)


def _times(chunk: dict[str, Any], last: float) -> tuple[float, float]:
    """The beginning and the end; a segment that the recording's end cut off ends there."""
    start, end = chunk["timestamp"]
    start = min(max(float(start or 0.0), 0.0), last)
    return start, max(start, min(float(end), last) if end is not None else last)


def _finish(chunks: Sequence[dict[str, Any]], request: Transcribe, duration: float, job: Job, checkpoint: Checkpoint) -> Usage:
    """Send the segments (a recording without speech has a transcript all the same), and count their tokens."""
    spoken = [chunk for chunk in chunks if chunk["text"]]
    named = request.language or next((chunk["language"] for chunk in spoken if chunk.get("language")), None)
    language = _whisper_code(named) if named else ""
    for index, chunk in enumerate(spoken):
        job.emit(_segment(index, chunk, duration, language))
    if not spoken:
        job.emit(Transcript(text="", language=language, duration=duration))
    text = "".join(chunk["text"] for chunk in spoken)
    with checkpoint.lock:
        tokens = len(checkpoint.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) if text else 0
    return Usage(output_tokens=tokens, seconds=duration)
