"""Sentences of English film reviews, positive or negative, as twenty people each have rated them.

    python examples/training/movie_reviews.py [--baseline]

Rows: {"text": …, "label": "POSITIVE" | "NEGATIVE"}. Ratings within ±0.5 are left out as neither. Equal sentences are kept once;
sentences that share 70 % of their words are on one side of the split.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from classifiers import accuracy_of_words
from dataset import DataSet, Packages, run
from sources import Source
from splitting import near_duplicates, split, words

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sentiment"))

from reviews import LABELS, SHA256, Sentence, rated_sentences

SOURCE = Source("pypi", "vaderSentiment", "MIT; cite Hutto and Gilbert, ICWSM 2014", "3.3.2", SHA256)
HELD_OUT_SHARE = 0.1
NEAR = 0.7


def build(packages: Packages) -> DataSet:
    """Read, deduplicate and split."""
    found = sentences(packages[SOURCE])
    groups = near_duplicates([words(each.text) for each in found], NEAR)
    rows = [({"text": each.text, "label": LABELS[each.label]}, group) for each, group in zip(found, groups, strict=True)]
    train, valid = split(rows, lambda row: row[1], HELD_OUT_SHARE, "movie_reviews")
    return DataSet(
        name="movie_reviews",
        title="Sentences of English film reviews, positive or negative",
        languages=("en",),
        sources=(SOURCE,),
        train=[row for row, _ in train],
        valid=[row for row, _ in valid],
        counts={
            "unique sentences": len(found),
            "of them nearly equal to another": sum(group != number for number, group in enumerate(groups)),
            "positive": sum(each.label for each in found),
        },
    )


def sentences(package: Path) -> list[Sentence]:
    """The package's sentences that are clearly positive or negative, each once."""
    return rated_sentences(package)


def baseline(made: DataSet) -> Mapping[str, str]:
    """Words and pairs of words, weighed by TF-IDF, under a logistic regression."""
    return accuracy_of_words(made, analyzer="word", ngram_range=(1, 2))


if __name__ == "__main__":
    run(__doc__, build, baseline)
