"""Whisper with a real model (base) and real speech: what was said is what is written."""

import asyncio
import contextlib
import io
import json
import logging
import math
import re
import wave

import msgspec
import pytest
from engine_contract import EngineCase, EngineContract

from starter_models import beckett_recording, two_cities_recording, whisper_directory
from yunmo.core.drift import drift
from yunmo.core.engine import Hardware, ModelDescription, Plan
from yunmo.core.errors import EngineFailed, InvalidRequest, Unsupported
from yunmo.core.tasks import Generate, Transcribe, TranscriptSegment, fold
from yunmo.core.usage import Usage
from yunmo.engines.whisper import audio
from yunmo.engines.whisper.kind import kind

SECONDS = 9.963375


def plan():
    directory = whisper_directory()
    files = {path.name: path.stat().st_size for path in directory.iterdir()}
    documents = {"config.json": json.loads((directory / "config.json").read_text())}
    model = ModelDescription(repository="library/whisper-base", revision="0" * 40, files=files, documents=documents)
    reference = kind.offer(model, Hardware(cores=2, memory_bytes=16 << 30))
    return reference.alternatives[0].plan  # eight bits: the quickest to test with


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    loaded = kind.load(whisper_directory(), tmp_path_factory.mktemp("derived"), plan(), lambda step, share: None)
    yield loaded
    asyncio.run(loaded.close())


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    batched = msgspec.structs.replace(plan(), precision="int8", batch_items=4)
    loaded = kind.load(whisper_directory(), tmp_path_factory.mktemp("derived"), batched, lambda step, share: None)
    yield loaded
    asyncio.run(loaded.close())


@pytest.fixture(scope="module")
def conversation():
    """Two recordings, a second apart: 55 seconds."""
    samples = [audio.decode(path.read_bytes(), 99) for path in (two_cities_recording(), beckett_recording())]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.RATE)
        file.writeframes(b"".join([samples[0].tobytes(), bytes(2 * audio.RATE), samples[1].tobytes()]))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def speech():
    return beckett_recording().read_bytes()


async def answer(engine, request):
    async with contextlib.aclosing(engine.stream(request)) as stream:
        *items, usage = [item async for item in stream]
    assert isinstance(usage, Usage)
    output = [item for item in items if not isinstance(item, Usage)]
    return fold(request, output), usage, output


async def test_speech_becomes_its_words_with_language_length_and_price(engine, speech, caplog):
    with caplog.at_level(logging.DEBUG):
        transcript, usage, output = await answer(engine, Transcribe(audio=speech, beams=1))
    words = re.findall(r"[a-z]+", transcript.text.lower())
    assert words == "ever tried ever failed no matter try again fail again fail better".split()  # noqa: SIM905 - a sentence
    assert transcript.language == "en"
    assert transcript.duration == pytest.approx(SECONDS)
    assert usage.seconds == pytest.approx(SECONDS)
    assert usage.output_tokens == sum(len(segment.tokens) for segment in transcript.segments) > 12
    assert all(isinstance(each, TranscriptSegment) for each in output)
    assert "better" not in caplog.text


async def test_segments_carry_their_numbers_in_plain_types(engine, speech):
    transcript, _, _ = await answer(engine, Transcribe(audio=speech, beams=1))
    assert msgspec.json.decode(msgspec.json.encode(transcript), type=type(transcript)) == transcript
    for number, segment in enumerate(transcript.segments):
        assert segment.id == number
        assert 0 <= segment.start <= segment.end <= transcript.duration
        assert segment.average_logprob < 0
        assert 0 <= segment.no_speech_probability <= 1
        assert segment.compression_ratio > 0
        assert type(segment.start) is type(segment.end) is float


async def test_words_have_times_that_only_grow(engine, speech):
    transcript, _, _ = await answer(engine, Transcribe(audio=speech, beams=1, word_timestamps=True, skip_silence=True, language="en-GB"))
    words = [word for segment in transcript.segments for word in segment.words]
    assert len(words) == 12
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= transcript.duration
    assert all(0 < word.probability <= 1 for word in words)
    assert "".join(word.word for word in words).strip() == transcript.text


async def test_a_long_recording_is_heard_block_by_block_with_running_times(engine, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK_SECONDS", 25)
    monkeypatch.setattr(audio, "_QUIET_SECONDS", 10)
    transcript, usage, _ = await answer(engine, Transcribe(audio=two_cities_recording().read_bytes(), beams=1))
    text = transcript.text.lower()
    for phrase in ("best of times", "age of wisdom", "winter of despair", "direct to heaven", "superlative degree of comparison"):
        assert phrase in text
    assert [segment.id for segment in transcript.segments] == list(range(len(transcript.segments)))
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)
    assert transcript.segments[-1].end == pytest.approx(usage.seconds, abs=3)
    assert math.isclose(usage.seconds, 44.374125, abs_tol=0.01)


async def test_windows_heard_together_lose_no_words_and_keep_their_times(together, conversation):
    request = Transcribe(audio=conversation, beams=1, word_timestamps=True)
    transcript, usage, output = await answer(together, request)
    text = transcript.text.lower()
    for phrase in (
        "best of times",
        "winter of despair",
        "other way",
        "in short",
        "noisiest authorities",
        "superlative degree",
        "fail better",
    ):
        assert phrase in text
    assert transcript.language == "en"
    assert all(isinstance(each, TranscriptSegment) for each in output)
    times = [time for segment in transcript.segments for time in (segment.start, segment.end)]
    assert times == sorted(times)
    words = [time for segment in transcript.segments for word in segment.words for time in (word.start, word.end)]
    assert words == sorted(words)
    assert 44.4 < transcript.segments[-1].start < words[-1] <= usage.seconds
    assert msgspec.json.decode(msgspec.json.encode(transcript), type=type(transcript)) == transcript


async def test_eight_bits_and_batches_write_what_full_precision_writes_one_window_after_another(together, conversation, tmp_path):
    request = Transcribe(audio=conversation, beams=1)
    full = kind.load(whisper_directory(), tmp_path, msgspec.structs.replace(plan(), precision="float32"), lambda step, share: None)
    reference, _, _ = await answer(full, request)
    await full.close()
    transcript, _, _ = await answer(together, request)
    assert len(re.findall(r"\w+", reference.text)) > 120
    assert drift([reference], [transcript]).error <= 0.03


async def test_the_first_of_many_windows_is_told_before_the_others_are_heard(together, conversation):
    stream = together.stream(Transcribe(audio=conversation, beams=1, language="en"))
    assert isinstance(await anext(stream), Usage)
    first = await anext(stream)
    assert first.start < 1
    assert "best of times" in first.text.lower()
    await stream.aclose()
    assert together._works == set()


async def test_a_prompt_is_heeded_by_windows_heard_together(together, conversation):
    shouted = "IT WAS THE BEST OF TIMES. WE WERE ALL GOING DIRECT TO HEAVEN."
    transcript, _, _ = await answer(together, Transcribe(audio=conversation, beams=1, language="en", prompt=shouted))
    assert re.findall(r"\b[A-Z]{3,}\b", transcript.text)


async def test_the_language_that_is_asked_for_is_the_one_that_is_told(engine, speech):
    transcript, _, _ = await answer(engine, Transcribe(audio=speech, beams=1, language="zh-CN"))
    assert transcript.language == "zh"


async def test_two_recordings_at_the_same_time_do_not_mix(engine, speech):
    first, second = await asyncio.gather(
        answer(engine, Transcribe(audio=speech, beams=1)),
        answer(engine, Transcribe(audio=two_cities_recording().read_bytes()[: 96_000 * 6], beams=1)),
    )
    assert "fail better" in first[0].text.lower()
    assert "best of times" in second[0].text.lower()
    assert "fail" not in second[0].text.lower()


@pytest.mark.parametrize("skip_silence", [False, True])
async def test_silence_is_an_empty_transcript_with_a_length(engine, speech, skip_silence):
    silence = speech[:44] + bytes(len(speech) - 44)
    transcript, usage, _ = await answer(engine, Transcribe(audio=silence, skip_silence=skip_silence))
    assert (transcript.text, transcript.segments) == ("", ())
    assert transcript.duration == usage.seconds > 9
    assert usage.output_tokens == 0


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"language": "klingon"}, "language"),
        ({"temperature": 1.5}, "temperature"),
        ({"beams": 0}, "beams"),
        ({"audio": b"RIFF"}, "file"),
        ({"audio": b""}, "file"),
    ],
)
async def test_a_senseless_request_is_refused_by_its_field(engine, speech, changes, param):
    with pytest.raises(InvalidRequest) as refusal:
        await answer(engine, msgspec.structs.replace(Transcribe(audio=speech), **changes))
    assert refusal.value.param == param


async def test_a_left_stream_stops_and_the_next_one_is_served(engine, speech):
    stream = engine.stream(Transcribe(audio=two_cities_recording().read_bytes(), beams=1))
    assert 0 < (await anext(stream)).seconds <= audio.BLOCK_SECONDS
    assert isinstance(await anext(stream), TranscriptSegment)
    await stream.aclose()
    assert engine._works == set()
    transcript, _, _ = await answer(engine, Transcribe(audio=speech, beams=1))
    assert "fail better" in transcript.text.lower()


async def test_another_task_is_refused(engine):
    with pytest.raises(Unsupported):
        await answer(engine, Generate(prompt="x"))


def test_a_pickled_model_is_not_opened(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\x80\x04 a pickle, which could run anything when opened" * 9)
    with pytest.raises(EngineFailed, match="not a CTranslate2"):
        kind.load(tmp_path, tmp_path, Plan(engine="whisper"), lambda step, share: None)


class TestWhisper(EngineContract):
    """What every engine promises."""

    @pytest.fixture(scope="class")
    def case(self):
        short = Transcribe(audio=beckett_recording().read_bytes(), beams=1, language="en")
        return EngineCase(
            kind=kind,
            directory=whisper_directory(),
            plan=plan(),
            requests={"transcribe": short},
            bad=(Transcribe(audio=b""), Transcribe(audio=b"noise"), msgspec.structs.replace(short, language="klingon")),
            long=msgspec.structs.replace(short, audio=two_cities_recording().read_bytes()),
        )
