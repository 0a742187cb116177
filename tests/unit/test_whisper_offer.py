"""What the whisper engine takes, and how recordings become samples."""

import io
import wave

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core import plugins
from yunmo.core.engine import Hardware, ModelDescription
from yunmo.core.errors import InvalidRequest, TooLarge
from yunmo.engines.whisper import audio
from yunmo.engines.whisper.kind import kind
from yunmo.engines.whisper.together import can_be_heard_together
from yunmo.engines.whisper.windows import LONGEST_SECONDS, windows

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


def test_a_converted_model_is_transcribed_with_two_at_a_time_in_full_precision():
    offer = offered()
    assert offer.tasks == ("transcribe",)
    plan = offer.plan
    assert (plan.slots, plan.streams, plan.threads, plan.precision, plan.batch_items) == (2, 2, 1, "float32", 1)
    assert offer.files == ("model.bin", "config.json", "vocabulary.json", "tokenizer.json")
    assert offer.memory_bytes > 2 * FILES["model.bin"]
    assert (offer.missing, offer.problem) == (None, None)


def test_calibration_may_try_eight_bits_batches_of_windows_and_all_cores_at_one_recording():
    plans = [each.plan for each in offered().alternatives]
    assert [(plan.precision, plan.streams, plan.threads, plan.batch_items) for plan in plans] == [
        ("int8", 2, 1, 1),
        ("int8", 2, 1, 8),
        ("int8", 1, 2, 8),
        ("float32", 2, 1, 8),
    ]
    for plan in plans:
        kind.check(plan)
    alone, together = offered().alternatives[:2]
    assert together.memory_bytes > alone.memory_bytes


def test_where_full_precision_takes_half_of_the_memory_eight_bits_are_the_safest():
    large = offered(FILES | {"model.bin": 3_090_000_000}, hardware=Hardware(cores=2, memory_bytes=8 << 30))
    assert large.plan.precision == "int8"
    assert {each.plan.precision for each in large.alternatives} == {"int8"}


def test_a_batch_of_too_many_windows_is_refused():
    with pytest.raises(InvalidRequest, match="64 windows"):
        kind.check(msgspec.structs.replace(offered().plan, batch_items=65))


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


@given(st.lists(st.floats(0.05, 40), min_size=0, max_size=40), st.floats(0.1, 200))
def test_windows_are_the_whole_recording_and_never_longer_than_whisper_hears(lengths, duration):
    edges = [float(edge) for edge in np.cumsum(lengths) if edge < duration]
    speech = list(zip(edges[::2], edges[1::2], strict=False))
    cut = list(windows(duration, speech))
    assert [window.start for window in cut] == [0.0, *(window.end for window in cut[:-1])]
    assert cut[-1].end == duration
    assert all(0 < window.end - window.start <= LONGEST_SECONDS + 1e-6 for window in cut)
    spoken = sum(window.seconds_spoken_after(0.0) for window in cut)
    assert spoken == pytest.approx(sum(end - begin for begin, end in speech), abs=1e-6)


def test_a_window_ends_in_the_longest_pause_within_reach_and_just_before_the_next_word():
    first, _ = windows(50.0, [(0.0, 22.0), (24.0, 25.5), (25.9, 50.0)])
    assert first.end == pytest.approx(23.8)
    assert first.speech == ((0.0, 22.0),)


def test_speech_without_a_pause_is_cut_where_whisper_hears_no_further():
    assert [window.end for window in windows(70.0, [(0.0, 70.0)])] == [30.0, 60.0, 70.0]


def test_what_is_spoken_after_a_segment_is_known():
    (window,) = windows(20.0, [(1.0, 5.0), (8.0, 12.0)])
    assert window.seconds_spoken_after(9.0) == pytest.approx(3.0)
    assert window.seconds_spoken_after(12.0) == 0.0


@pytest.mark.parametrize(
    ("seconds", "wishes", "expected"),
    [(31, {}, True), (29, {}, False), (31, {"temperature": 0.7}, False), (31, {"vad_filter": True}, False)],
)
def test_only_long_recordings_that_neither_sample_nor_skip_silence_are_heard_in_batches(seconds, wishes, expected):
    usual = {"temperature": (0.0, 0.4), "vad_filter": False}
    assert can_be_heard_together(np.ones(seconds * audio.RATE, np.int16), usual | wishes) is expected
