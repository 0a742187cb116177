"""English sentences spoken by a formant synthesiser, for calibrations: real enough that Whisper writes them down.

No recording is part of Yunmo. Tones and noise would not do in its place: what a speech model writes about them is chance, and so is
every difference between two plans. Of these sentences whisper-base in float32 writes nine words in ten as they were meant.

Each sound has three resonances of the mouth (Hz), a share of voice, and noise around a frequency. The voice is the sum of its harmonics,
each as loud as the resonances make it (G. Fant, Acoustic Theory of Speech Production, 1960).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Signal = NDArray[np.float64]

SENTENCES = (
    "we are all very well",
    "he has never seen the winter moon here",
    "never in the winter rain",
    "yes I will see you in the summer",
    "we will never see the sun",
    "I see the sun in the rain",
    "you are never here in the summer",
    "he will see the rain in the winter",
    "yes we are very well here",
    "the winter moon has never seen the sun",
)
"""No numbers among them: whether a model writes them in words or figures is chance."""

_PAUSE_SECONDS = 0.5
_FOURTH_RESONANCE = 3500.0
_WIDTHS = (70.0, 100.0, 140.0, 220.0)
_HIGHEST = 7600.0
_HELD = 8
"""Samples for which a harmonic's loudness stays as it is: half a millisecond."""

_EDGE_SECONDS = 0.012
_VOICE, _NOISE, _PEAK = 0.12, 0.35, 0.5


class Sound(NamedTuple):
    """Resonances in Hz, shares of voice and noise, the noise's centre and width in Hz, and how long it lasts."""

    resonances: tuple[float, float, float]
    voice: float
    milliseconds: float
    noise: float = 0.0
    centre: float = 0.0
    width: float = 1.0


def spoken(sentences: Sequence[str], pitch: float) -> Signal:
    """The sentences of words that the lexicon has, from -0.5 to 0.5 at 16 kHz, half a second apart; `pitch` is the voice's, in Hz."""
    pause = np.zeros(int(_PAUSE_SECONDS * RATE))
    return np.concatenate([part for sentence in sentences for part in (_sentence(sentence, pitch), pause)])


def _sentence(sentence: str, pitch: float) -> Signal:
    sounds = [_REST, *(sound for word in sentence.lower().split() for sound in (*map(_SOUNDS.__getitem__, _LEXICON[word].split()), _GAP))]
    sounds += [_REST]
    lengths = np.array([sound.milliseconds for sound in sounds]) / 1000
    ends = np.cumsum(lengths)
    time = np.arange(int(ends[-1] * RATE)) / RATE
    steady = np.ravel(np.column_stack([ends - 0.7 * lengths, ends - 0.3 * lengths]))

    def course(values: Sequence[float]) -> Signal:
        """A value that stays through the middle of each sound and glides between them."""
        return np.asarray(np.interp(time, steady, np.repeat(values, 2)))

    resonances = [course([sound.resonances[number] for sound in sounds]) for number in range(3)]
    resonances.append(np.full(len(time), _FOURTH_RESONANCE))
    melody = pitch * (1.12 - 0.25 * time / ends[-1] + 0.04 * np.sin(14.5 * time) + 0.006 * np.sin(44.6 * time))
    signal = _VOICE * course([sound.voice for sound in sounds]) * _voice(melody, resonances)
    signal += _NOISE * _noise(sounds, ends, time)
    return np.asarray(_PEAK * signal / np.abs(signal).max())


def _voice(melody: Signal, resonances: Sequence[Signal]) -> Signal:
    turn = np.exp(2j * np.pi * np.cumsum(melody) / RATE)
    turned, voice = np.ones_like(turn), np.zeros(len(melody))
    pitches, mouth = melody[::_HELD], [resonance[::_HELD] for resonance in resonances]
    for harmonic in range(1, int(_HIGHEST / melody.min())):
        frequency = harmonic * pitches
        loudness = np.where(frequency < _HIGHEST, 1.0 / harmonic, 0.0)
        for resonance, width in zip(mouth, _WIDTHS, strict=True):
            loudness *= resonance**2 / np.hypot(resonance**2 - frequency**2, width * frequency)
        turned *= turn
        voice += np.repeat(loudness, _HELD)[: len(voice)] * turned.imag
    return voice


def _noise(sounds: Sequence[Sound], ends: Signal, time: Signal) -> Signal:
    spectrum = np.fft.rfft(np.random.default_rng(len(time)).normal(size=len(time)))
    frequencies = np.fft.rfftfreq(len(time), 1 / RATE)
    noise = np.zeros(len(time))
    for sound, end in zip(sounds, ends, strict=True):
        if sound.noise:
            band = np.fft.irfft(spectrum * np.exp(-0.5 * ((frequencies - sound.centre) / sound.width) ** 2), len(time))
            begin = end - sound.milliseconds / 1000
            swell = np.interp(time, [begin - 0.01, begin + _EDGE_SECONDS, end - _EDGE_SECONDS, end + 0.015], [0.0, 1.0, 1.0, 0.0])
            noise += sound.noise * swell * band / band.std()
    return noise


_REST = Sound((450, 1500, 2500), 0.0, 140)
_GAP = Sound((400, 1500, 2500), 0.0, 50)
_SOUNDS = {
    "ah": Sound((640, 1190, 2390), 1.0, 120),
    "uw": Sound((310, 920, 2240), 1.0, 150),
    "iy": Sound((280, 2250, 3000), 1.0, 150),
    "ao": Sound((570, 840, 2410), 1.0, 150),
    "a": Sound((750, 1150, 2440), 1.0, 90),
    "i": Sound((350, 2000, 2700), 1.0, 90),
    "ih": Sound((400, 1990, 2550), 1.0, 90),
    "eh": Sound((530, 1840, 2480), 1.0, 120),
    "ax": Sound((500, 1400, 2400), 1.0, 70),
    "ae": Sound((660, 1720, 2410), 1.0, 150),
    "er": Sound((490, 1350, 1690), 1.0, 140),
    "e": Sound((480, 2000, 2600), 1.0, 90),
    "w": Sound((300, 650, 2200), 0.6, 80),
    "r": Sound((330, 1060, 1380), 0.6, 80),
    "l": Sound((360, 1050, 2800), 0.6, 80),
    "y": Sound((270, 2200, 3000), 0.6, 70),
    "n": Sound((250, 1600, 2600), 0.35, 80),
    "m": Sound((250, 1000, 2200), 0.35, 80),
    "s": Sound((320, 1600, 2600), 0.0, 110, 0.25, 6200, 1600),
    "z": Sound((250, 1600, 2600), 0.3, 90, 0.15, 6200, 1600),
    "v": Sound((250, 1100, 2200), 0.35, 70, 0.04, 5000, 4000),
    "dh": Sound((280, 1300, 2600), 0.35, 60, 0.03, 6000, 3000),
    "h": Sound((500, 1500, 2500), 0.0, 70, 0.08, 1700, 1800),
    "t": Sound((350, 1750, 2600), 0.0, 35, 0.3, 4300, 2000),
    "-": _GAP,
}
_LEXICON = {
    "all": "ao l",
    "are": "a r",
    "has": "h ae z",
    "he": "h iy",
    "here": "h iy er",
    "i": "a i",
    "in": "ih n",
    "moon": "m uw n",
    "never": "n eh v er",
    "rain": "r e i n",
    "see": "s iy",
    "seen": "s iy n",
    "summer": "s ah m er",
    "sun": "s ah n",
    "the": "dh ax",
    "very": "v eh r iy",
    "we": "w iy",
    "well": "w eh l",
    "will": "w ih l",
    "winter": "w ih n - t er",
    "yes": "y eh s",
    "you": "y uw",
}
