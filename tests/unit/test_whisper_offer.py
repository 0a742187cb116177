"""What the whisper engine takes, and how recordings become samples."""

import io
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core import plugins
from yunmo.core.engine import Hardware, ModelDescription
from yunmo.core.errors import InvalidRequest, TooLarge
from yunmo.engines.whisper import audio
from yunmo.engines.whisper.kind import kind

FILES = {"model.bin": 145_000_000, "config.json": 2309, "tokenizer.json": 3_930_462, "vocabulary.json": 1_068_101, "README.md": 5}
CONFIG = {"suppress_ids": [1], "lang_ids": [50259], "alignment_heads": [[3, 1]]}
MACHINE = Hardware(cores=2, memory_bytes=16 << 30)


def offered(files=FILES, config=CONFIG, hardware=MACHINE):
    return kind.offer(ModelDescription(repository="a/b", revision="0" * 40, files=files, documents={"config.json": config}), hardware)


def wav(samples, rate=16_000):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return buffer.getvalue()


def test_the_kind_is_registered_under_its_name():
    assert plugins.engines()["whisper"] is kind


def test_a_converted_model_is_transcribed_with_two_at_a_time_in_eight_bits():
    offer = offered()
    assert offer.tasks == ("transcribe",)
    assert (offer.plan.slots, offer.plan.streams, offer.plan.threads, offer.plan.precision) == (2, 2, 1, "int8")
    assert offer.files == ("model.bin", "config.json", "vocabulary.json", "tokenizer.json")
    assert offer.memory_bytes > FILES["model.bin"]
    assert (offer.missing, offer.problem) == (None, None)


def test_a_small_machine_takes_shorter_recordings():
    small = offered(hardware=Hardware(cores=2, memory_bytes=4 << 30))
    assert small.plan.options["longest_seconds"] < offered().plan.options["longest_seconds"]
    assert small.memory_bytes < offered().memory_bytes


@pytest.mark.parametrize("lacking", ["model.bin", "vocabulary.json"])
def test_a_repository_without_its_parts_is_left_to_others(lacking):
    assert offered({name: size for name, size in FILES.items() if name != lacking}) is None


def test_another_models_bin_file_is_left_to_others():
    assert offered(config={"architectures": ["BertModel"], "model_type": "bert"}) is None


def test_a_missing_tokenizer_is_told():
    assert "tokenizer.json" in offered({name: size for name, size in FILES.items() if name != "tokenizer.json"}).problem


def test_without_faster_whisper_the_offer_says_what_to_install(monkeypatch):
    monkeypatch.setattr("yunmo.engines.whisper.kind.find_spec", lambda name: None)
    assert "yunmo[whisper]" in offered().missing


def test_a_recording_is_resampled_to_what_whisper_hears():
    tone = (8000 * np.sin(np.arange(48_000) / 20)).astype(np.int16)
    samples = audio.decode(wav(tone, 48_000), 10)
    assert abs(len(samples) - audio.RATE) < 200
    assert 6000 < int(samples.max()) < 9000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no sound at all" * 50,
        wav([]),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
    ],
    ids=["empty", "garbage", "no samples", "playlist", "list of files", "picture"],
)
def test_what_is_not_a_recording_is_refused(data):
    with pytest.raises(InvalidRequest) as refusal:
        audio.decode(data, 10)
    assert refusal.value.param == "file"


def test_a_recording_that_lasts_too_long_is_refused_with_the_option_to_raise():
    with pytest.raises(TooLarge, match="longest_seconds"):
        audio.decode(wav(np.ones(3 * audio.RATE)), 2)


def test_silence_is_told_from_a_whisper():
    assert audio.is_silent(np.zeros(100, np.int16))
    assert audio.is_silent(np.zeros(0, np.int16))
    assert audio.is_silent(np.full(100, -20, np.int16))
    assert not audio.is_silent(np.full(100, -32768, np.int16))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 25 * audio.RATE), st.integers(0, 2**32))
def test_blocks_are_the_whole_recording_in_order_and_never_too_long(length, seed):
    samples = np.random.default_rng(seed).integers(-9000, 9000, length).astype(np.int16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "BLOCK_SECONDS", 6)
        patch.setattr(audio, "_QUIET_SECONDS", 2)
        pieces = list(audio.blocks(samples))
    assert np.array_equal(np.concatenate([block for _, block in pieces]), samples)
    assert all(0 < len(block) <= 6 * audio.RATE for _, block in pieces)
    starts = np.cumsum([0, *(len(block) for _, block in pieces[:-1])]) / audio.RATE
    assert [start for start, _ in pieces] == pytest.approx(list(starts))


def test_a_block_ends_where_it_is_quiet(monkeypatch):
    monkeypatch.setattr(audio, "BLOCK_SECONDS", 6)
    monkeypatch.setattr(audio, "_QUIET_SECONDS", 2)
    samples = np.full(10 * audio.RATE, 5000, np.int16)
    samples[5 * audio.RATE : 5 * audio.RATE + audio.RATE // 2] = 0
    (_, first), (start, _) = audio.blocks(samples)
    assert 5.0 <= start <= 5.5
    assert len(first) == round(start * audio.RATE)
