"""What WordNet says of 117,659 senses of English words, to continue or begin the training of a decoder with.

    python examples/training/glosses.py [--baseline]

Rows: {"text": "word, synonym: gloss"}. Rows with the same gloss are on one side of the split. Another model is compared with the baseline by
bits per byte: the sum of its negative log2 probabilities over every held-out text and its end, by the texts' UTF-8 bytes.
"""

from collections.abc import Iterator, Mapping

from dataset import DataSet, Packages, run
from ngrams import measure
from sources import debian, members
from splitting import first_of_each, normal, split

SOURCE = debian("wordnet-base", "WordNet 3.0")
HELD_OUT_SHARE = 0.03

_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
_MARKS_OF_ADJECTIVES = ("(a)", "(p)", "(ip)")


def build(packages: Packages) -> DataSet:
    """Read, deduplicate and split."""
    senses = [row for _, content in members(packages[SOURCE], _FILES) for row in _senses(content.decode("ascii"))]
    kept = first_of_each(senses, lambda sense: sense)
    train, valid = split(kept, lambda sense: normal(sense[1]), HELD_OUT_SHARE, "glosses")
    return DataSet(
        name="glosses",
        title="WordNet's words and their glosses",
        languages=("en",),
        sources=(SOURCE,),
        train=[_row(sense) for sense in train],
        valid=[_row(sense) for sense in valid],
        counts={
            "senses": len(senses),
            "words of train": sum(len(_row(sense)["text"].split()) for sense in train),
            "bytes of train": sum(len(_row(sense)["text"].encode()) for sense in train),
            "bytes of valid": sum(len(_row(sense)["text"].encode()) for sense in valid),
        },
    )


def sense(line: str) -> tuple[str, str]:
    """The words and the gloss of a line of WordNet's data files (wndb(5)): the count of the words is hexadecimal."""
    data, _, gloss = line.partition(" | ")
    fields = data.split(" ")
    words = [fields[4 + 2 * number] for number in range(int(fields[3], 16))]
    return ", ".join(_spelt(word) for word in words), " ".join(gloss.split())


def baseline(made: DataSet) -> Mapping[str, str]:
    """Interpolated Kneser–Ney n-grams over words and over bytes."""
    return measure([row["text"] for row in made.train], [row["text"] for row in made.valid])


def _senses(content: str) -> Iterator[tuple[str, str]]:
    for line in content.splitlines():
        if not line.startswith("  "):  # the licence stands before the data, indented
            yield sense(line)


def _spelt(word: str) -> str:
    for mark in _MARKS_OF_ADJECTIVES:
        word = word.removesuffix(mark)
    return word.replace("_", " ")


def _row(sense: tuple[str, str]) -> dict[str, str]:
    return {"text": f"{sense[0]}: {sense[1]}"}


if __name__ == "__main__":
    run(__doc__, build, baseline)
