"""The poems of the Tang dynasty, in traditional characters, to train a decoder of Chinese with.

    python examples/training/poems.py [--baseline]

Rows: {"text": title, author and lines}. Poems are kept once, compared by their lines. The baseline's bits per byte are
those of glosses.py.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from dataset import DataSet, Packages, run
from ngrams import measure
from pages import han_characters
from sources import Source, members
from splitting import first_of_each, normal, split

SOURCE = Source("npm", "chinese-poetry", "MIT", "2.0.1", "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86")
HELD_OUT_SHARE = 0.03

_DIRECTORY, _FILE = "/quantangshi/poet.tang.", ".json"
_LEAST_HAN = 16
_LOST_CHARACTERS = ("□", "{", "[", "<", "http")


def build(packages: Packages) -> DataSet:
    """Read, deduplicate and split."""
    found = list(poems(packages[SOURCE]))
    kept = first_of_each(found, lambda poem: normal(poem[1]))
    train, valid = split(kept, lambda poem: normal(poem[1]), HELD_OUT_SHARE, "poems")
    return DataSet(
        name="poems",
        title="Poems of the Tang dynasty",
        languages=("zh",),
        sources=(SOURCE,),
        train=[_row(poem) for poem in train],
        valid=[_row(poem) for poem in valid],
        counts={
            "poems without lost characters": len(found),
            "unique poems": len(kept),
            "Chinese characters of train": sum(han_characters(_row(poem)["text"]) for poem in train),
            "bytes of valid": sum(len(_row(poem)["text"].encode()) for poem in valid),
        },
    )


def poems(package: Path) -> Iterator[tuple[str, str]]:
    """Titles with authors, and lines, of the poems that are whole."""
    for name, content in members(package, _FILE):
        for poem in json.loads(content) if _DIRECTORY in name else ():
            lines = "\n".join(line.strip() for line in poem["paragraphs"])
            if han_characters(lines) >= _LEAST_HAN and not any(each in lines for each in _LOST_CHARACTERS):
                yield f"{poem['title']} {poem['author']}", lines


def baseline(made: DataSet) -> Mapping[str, str]:
    """Interpolated Kneser–Ney n-grams over characters and over bytes."""
    return measure([row["text"] for row in made.train], [row["text"] for row in made.valid])


def _row(poem: tuple[str, str]) -> dict[str, str]:
    return {"text": f"{poem[0]}\n{poem[1]}"}


if __name__ == "__main__":
    run(__doc__, build, baseline)
