"""Sentences from film reviews with the mean rating of twenty people each, from the source package of vaderSentiment.

C.J. Hutto and E.E. Gilbert: VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text (ICWSM 2014).
The package is under the MIT licence. It is downloaded with pip and checked; nothing of it is installed.
"""

import hashlib
import io
import random
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
LABELS = ("NEGATIVE", "POSITIVE")

_CACHE = Path("~/.cache/yunmo/examples").expanduser()
_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_TABLE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_CLEAR = 0.5
_HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Sentence:
    """A sentence and its label: 0 negative, 1 positive."""

    text: str
    label: int


def load_reviews(seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """Sentences to learn from and sentences held out, always split the same way for the same seed.

    Sentences whose mean rating is within ±0.5 are left out as neither. The table does not say which review a sentence
    comes from, so sentences are split one by one; equal texts are kept once, so that none is on both sides.
    """
    sentences = rated_sentences(_source_package())
    random.Random(seed).shuffle(sentences)
    held_out = round(len(sentences) * _HELD_OUT_SHARE)
    return sentences[held_out:], sentences[:held_out]


def rated_sentences(package: Path) -> list[Sentence]:
    """The source package's sentences that are clearly good or bad, each once."""
    seen: dict[str, Sentence] = {}
    for line in _table(package).splitlines():
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= _CLEAR:
            seen.setdefault(_normal(text), Sentence(text.strip(), int(float(rating) > 0)))
    return list(seen.values())


def _normal(text: str) -> str:
    return " ".join("".join(character.lower() if character.isalnum() else " " for character in text).split())


def _table(package: Path) -> str:
    with tarfile.open(package) as opened:
        inner = opened.extractfile(_ARCHIVE)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as archive:
            table = archive.extractfile(_TABLE)
            assert table is not None
            return table.read().decode("utf-8")


def _source_package() -> Path:
    path = _CACHE / "vaderSentiment-3.3.2.tar.gz"
    if not path.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(_CACHE), PACKAGE]
        subprocess.run(command, check=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        path.unlink()
        sys.exit(f"The package index gave a {PACKAGE} with SHA-256 {digest} instead of {SHA256}; it was thrown away.")
    return path
