"""Pictures and recordings that calibrations show to models: made by code, of mixed sizes, the same every time."""

import functools
import io
import struct
import wave
import zlib

import numpy as np
from numpy.typing import NDArray

from yunmo.serving.calibration.speech import RATE, SENTENCES, Signal, spoken

_SEED = 20261130
_PICTURES = 64
_SOUNDS = 48
_SIDES = (64, 336)
_CONVERSATIONS = (104.0, 122.0)
"""The voices of the long recordings, in Hz: both are understood, higher ones are not."""


@functools.cache
def pictures() -> tuple[bytes, ...]:
    """PNG files from 64 to 336 pixels a side: shaded grounds with shapes of many colours and grains, some of them with noise."""
    source = np.random.default_rng(_SEED)
    return tuple(_png(_picture(source)) for _ in range(_PICTURES))


@functools.cache
def sounds() -> tuple[bytes, ...]:
    """WAV files of one to four seconds: sentences in several voices, chords, sweeps and noise of several colours, by turns."""
    source = np.random.default_rng(_SEED)
    return tuple(_wav(_sound(source, number)) for number in range(_SOUNDS))


@functools.cache
def conversations() -> tuple[bytes, ...]:
    """WAV files of about 35 seconds of speech, which is more than Whisper hears at once."""
    return tuple(_wav(spoken((*SENTENCES[number:], *SENTENCES[: number + 2]), pitch)) for number, pitch in enumerate(_CONVERSATIONS))


def _picture(source: np.random.Generator) -> NDArray[np.uint8]:
    """Red, green and blue of each pixel, of shape (height, width, 3)."""
    height, width = source.integers(*_SIDES, 2)
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    colours = source.uniform(0, 255, (3, 3))
    pixels = colours[0] + (colours[1] - colours[0]) * down + (colours[2] - colours[0]) * across * 0.5
    for _ in range(source.integers(2, 9)):
        top, left, tall, wide = source.uniform((0, 0, 0.05, 0.05), (1, 1, 0.4, 0.4))
        power = source.choice([1.0, 2.0, 8.0])  # a diamond, an ellipse, nearly a rectangle
        inside = np.abs((down - top) / tall) ** power + np.abs((across - left) / wide) ** power < 1
        stripes = 30 * np.sin(source.uniform(0, 120) * down + source.uniform(0, 120) * across)
        pixels = np.where(inside, source.uniform(0, 255, 3) + stripes, pixels)
    pixels = pixels + source.normal(0, source.choice([0.0, 0.0, 12.0]), pixels.shape)
    return np.asarray(pixels.clip(0, 255), np.uint8)


def _sound(source: np.random.Generator, number: int) -> Signal:
    time = np.arange(int(source.uniform(1, 4) * RATE)) / RATE
    loudness = source.uniform(0.05, 0.5)
    match number % 4:
        case 0:
            return spoken([SENTENCES[number // 4 % len(SENTENCES)]], source.uniform(95, 210))
        case 1:
            chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in source.uniform(80, 2000, 4))
            return np.asarray(loudness / 4 * chord * np.exp(-time * source.uniform(0, 2)))
        case 2:
            begin, end = source.uniform(60, 6000, 2)
            return np.asarray(loudness * np.sin(2 * np.pi * (begin * time + (end - begin) * time**2 / (2 * time[-1]))))
        case _:
            spectrum = np.fft.rfft(source.normal(size=len(time)))
            noise = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** source.uniform(0, 1), len(time))
            return np.asarray(loudness * noise / np.abs(noise).max())


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Eight bits a channel, without filters (PNG specification, third edition)."""
    height, width, _ = pixels.shape
    rows = np.insert(pixels.reshape(height, -1), 0, 0, axis=1).tobytes()
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def _wav(signal: Signal) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((signal.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
