import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tiny_models
from yunmo.core.errors import InvalidRequest
from yunmo.engines.pictures import MAX_PIXELS, open_image
from yunmo.engines.recordings import decode_audio, encode_wav, seconds_of


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_the_usual_pictures_are_read_as_rgb(form):
    image = open_image(tiny_models.png(20, 10, kind=form))
    assert (image.mode, image.size) == ("RGB", (20, 10))


def test_a_photograph_is_turned_upright():
    image, buffer = Image.new("RGB", (20, 10)), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(buffer, "JPEG", exif=exif)
    assert open_image(buffer.getvalue()).size == (10, 20)


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(6400, 6300), (10_000, 10_000), (50_000, 50_000), (2**31 - 1, 1)])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(size):
    assert size[0] * size[1] > MAX_PIXELS
    with pytest.raises(InvalidRequest, match=r"pixels|cannot be read"):
        open_image(bomb(*size))


@settings(max_examples=150, deadline=None)
@given(
    place=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 3000), form=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"])
)
def test_a_damaged_picture_is_read_or_refused_never_worse(place, value, cut, form):
    data = bytearray(tiny_models.png(16, 16, kind=form))
    data[place % len(data)] = value
    with contextlib.suppress(InvalidRequest):  # the refusal is the other allowed outcome
        open_image(bytes(data[: len(data) - cut % len(data)]))


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_recordings_become_one_channel_at_the_models_rate(form, subtype, rate):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([tone, tone], axis=1), rate, format=form, subtype=subtype)
    samples = decode_audio(buffer.getvalue(), 16_000)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(16_000, rel=0.15)
    loudest = np.abs(np.fft.rfft(samples[2000:14_000])).argmax() * 16_000 / 12_000
    assert loudest == pytest.approx(440, abs=2)


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("mp4", "aac")])
def test_recordings_of_browsers_and_telephones_are_read(container, codec):
    av = pytest.importorskip("av")
    rate = 48_000
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None, :], format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    samples = decode_audio(buffer.getvalue(), 16_000)
    assert len(samples) == pytest.approx(16_000, rel=0.1)
    loudest = np.abs(np.fft.rfft(samples[2000:14_000])).argmax() * 16_000 / 12_000
    assert loudest == pytest.approx(440, abs=2)


@pytest.mark.parametrize("data", [b"", b"x", b"RIFF", tiny_models.wav(1.0)[:44], tiny_models.png(), b"\0" * 5000, b"ID3" + b"\xff" * 500])
def test_what_is_not_a_recording_is_refused(data):
    with pytest.raises(InvalidRequest) as refused:
        decode_audio(data, 16_000)
    assert refused.value.param == "audio"


@pytest.mark.parametrize(
    "line", ["#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"]
)
def test_a_playlist_is_refused_whatever_it_names(tmp_path, line):
    (tmp_path / "a.wav").write_bytes(tiny_models.wav(1.0))
    with pytest.raises(InvalidRequest, match="cannot be read"):
        decode_audio(line.format(tmp_path / "a.wav").encode(), 16_000)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_how_long_a_recording_lasts_is_told_without_decoding_it(tmp_path, form):
    soundfile.write(tmp_path / "a", np.zeros(12_000), 8000, format=form)
    assert seconds_of(tmp_path / "a") == seconds_of((tmp_path / "a").read_bytes()) == 1.5
    with pytest.raises(InvalidRequest):
        seconds_of(b"no recording")


def test_a_recording_that_claims_to_be_endless_is_refused():
    data = bytearray(tiny_models.wav(0.1))
    data[24:28] = struct.pack("<I", 5)
    with pytest.raises(InvalidRequest, match="samples a second"):
        decode_audio(bytes(data), 16_000)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 60), value=st.integers(0, 255), cut=st.integers(0, 3000))
def test_a_damaged_recording_is_read_or_refused_never_worse(place, value, cut):
    data = bytearray(tiny_models.wav(0.1))
    data[place] = value
    try:
        samples = decode_audio(bytes(data[: len(data) - cut]), 16_000)
    except InvalidRequest:
        pass  # the refusal is the other allowed outcome
    else:
        assert np.isfinite(samples).all()


def test_a_wav_file_is_what_was_encoded():
    samples = np.array([0.0, 0.5, -0.5, 2.0, float("nan")], dtype=np.float32)
    found, rate = soundfile.read(io.BytesIO(encode_wav(samples, 22_050)), dtype="float32")
    assert rate == 22_050
    assert found == pytest.approx([0.0, 0.5, -0.5, 1.0, 0.0], abs=1e-4)
