"""Whisper on CTranslate2: segments stream out as they are understood."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yunmo.core.engine import Plan, Progress, read_options
from yunmo.core.errors import EngineFailed, InvalidRequest, Unavailable, Unsupported, YunmoError
from yunmo.core.tasks import Output, Request, Transcribe, Transcript, TranscriptSegment, Word, task_name
from yunmo.core.usage import Usage
from yunmo.engines.whisper.audio import RATE, Samples, blocks, decode, is_silent
from yunmo.engines.whisper.kind import MOST_BEAMS, WhisperOptions
from yunmo.engines.whisper.together import Heard, can_be_heard_together, hear, hear_together

_MAGIC = b"WhisperSpec\0"
_TEMPERATURES = (0.0, 0.4, 0.8)
"""Tried in turn while the text looks wrong (too repetitive or too unlikely). Twice as many took 26 s for 3 s without speech."""

_FRAMES_PER_SECOND = 100


class WhisperEngine:
    """One model that `plan.slots` recordings are transcribed with at once, each on a thread of its own.

    `plan.batch_items` is how many windows of a long recording are heard at once.
    """

    tasks: tuple[str, ...] = ("transcribe",)

    def __init__(self, model: Any, plan: Plan) -> None:
        self._model = model
        options = read_options(plan, WhisperOptions)
        self._longest_seconds = options.longest_seconds
        self._beams = options.beams
        self._windows = plan.batch_items
        self._threads = ThreadPoolExecutor(plan.slots, thread_name_prefix="whisper")
        self._works: set[_Work] = set()
        self._closed = False

    @classmethod
    def load(cls, directory: Path, plan: Plan, progress: Progress) -> "WhisperEngine":
        """Load a CTranslate2 directory onto the processor."""
        with (directory / "model.bin").open("rb") as file:
            if _MAGIC not in file.read(64):
                raise EngineFailed(
                    "model.bin is not a CTranslate2 Whisper model: convert it with ct2-transformers-converter and push again."
                )
        progress("loading", 0.0)
        from faster_whisper import WhisperModel

        logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # below, it writes what was said
        model = WhisperModel(
            str(directory),
            device="cpu",
            compute_type=plan.precision or "int8",
            cpu_threads=plan.threads,
            num_workers=plan.slots,
            local_files_only=True,
        )
        progress("loading", 1.0)
        return cls(model, plan)

    async def stream(self, request: Request) -> AsyncGenerator[Output | Usage, None]:
        """The recording's segments (a whole empty transcript if nothing is said), then the usage.

        Cancelling ends the work after the window of 30 seconds that is in work.
        """
        if self._closed:
            raise Unavailable("The model is being unloaded; ask again.")
        if not isinstance(request, Transcribe):
            raise Unsupported(f"This model has no task “{task_name(request)}”; it has transcribe.")
        wishes = self._wishes(request)
        work = _Work(asyncio.get_running_loop())
        self._works.add(work)
        try:
            self._threads.submit(work.run, self._transcribe(work, request, wishes))
            while (item := await work.ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            work.cancelled = True
            self._works.discard(work)

    async def close(self) -> None:
        """Stop what is under way and free the model."""
        if self._closed:
            return
        self._closed = True
        for work in self._works:
            work.cancelled = True
        await asyncio.to_thread(self._threads.shutdown)
        self._model.model.unload_model()

    def _wishes(self, request: Transcribe) -> dict[str, Any]:
        """The request in faster-whisper's words. Raises InvalidRequest for an unknown language or a strange number."""
        if request.temperature is not None and not 0 <= request.temperature <= 1:
            raise InvalidRequest("`temperature` must be between 0 and 1.", param="temperature")
        beams = self._beams if request.beams is None else request.beams
        if not 1 <= beams <= MOST_BEAMS:
            raise InvalidRequest(f"`beams` must be between 1 and {MOST_BEAMS}.", param="beams")
        return {
            "language": self._language(request.language),
            "task": "translate" if request.to_english else "transcribe",
            "temperature": request.temperature or _TEMPERATURES,
            "word_timestamps": request.word_timestamps,
            "vad_filter": request.skip_silence,
            "beam_size": beams,
            "initial_prompt": request.prompt,
        }

    def _language(self, asked: str | None) -> str | None:
        if not asked:
            return None
        language = asked.replace("_", "-").partition("-")[0].lower()
        known = self._model.supported_languages
        if language not in known:
            raise InvalidRequest(f"This model does not know the language “{asked}”; it knows: {', '.join(known)}.", param="language")
        return language

    def _transcribe(self, work: "_Work", request: Transcribe, wishes: dict[str, Any]) -> Iterator[Output | Usage]:
        samples = decode(request.audio, self._longest_seconds)
        duration = len(samples) / RATE
        prompt, tokens, number = request.prompt, 0, 0
        for start, block in blocks(samples):
            if work.cancelled:
                return
            yield Usage(output_tokens=tokens, seconds=start + len(block) / RATE)
            if is_silent(block):
                continue
            segments, language = self._listen(block, wishes, prompt)
            wishes["language"] = wishes["language"] or language
            place = _Place(start, language, duration)
            for heard in segments:
                yield place.segment(number, heard)
                number += 1
                tokens += len(heard.segment.tokens)
                prompt = heard.segment.text
        if not number:
            yield Transcript(text="", language=wishes["language"] or "", duration=duration)
        yield Usage(output_tokens=tokens, seconds=duration)

    def _listen(self, block: Samples, wishes: dict[str, Any], said_before: str | None) -> tuple[Iterator[Heard], str]:
        if self._windows > 1 and can_be_heard_together(block, wishes):
            return hear_together(self._model, block, wishes, self._windows)
        return hear(self._model, block, wishes | {"initial_prompt": said_before})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block is in its recording: segments count their time from the block's start."""

    start: float
    language: str
    duration: float

    def segment(self, number: int, heard: Heard) -> TranscriptSegment:
        start, found = self.start + heard.origin, heard.segment
        end = min(start + float(found.end), self.duration)
        return TranscriptSegment(
            id=number,
            start=min(start + float(found.start), end),
            end=end,
            text=found.text,
            seek=found.seek + int(start * _FRAMES_PER_SECOND),
            tokens=tuple(found.tokens),
            temperature=float(found.temperature or 0.0),
            average_logprob=float(found.avg_logprob),
            compression_ratio=float(found.compression_ratio),
            no_speech_probability=float(found.no_speech_prob),
            words=tuple(
                Word(word.word, start + float(word.start), start + float(word.end), float(word.probability)) for word in found.words or ()
            ),
            language=self.language,
            duration=self.duration,
        )


class _Work:
    """One recording: made on a thread, taken by the event loop. None ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.cancelled = False
        self.ready: asyncio.Queue[Output | Usage | BaseException | None] = asyncio.Queue()
        self._loop = loop

    def run(self, pieces: Iterator[Output | Usage]) -> None:
        """Make the pieces until the end or a cancellation."""
        try:
            while not self.cancelled and (piece := next(pieces, None)) is not None:
                self._put(piece)
        except YunmoError as error:
            self._put(error)
        except (RuntimeError, ValueError) as error:
            self._put(EngineFailed(f"Whisper failed on this recording: {error}"))
        finally:
            self._put(None)

    def _put(self, item: Output | Usage | BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has gone: nobody waits any more
            self._loop.call_soon_threadsafe(self.ready.put_nowait, item)
