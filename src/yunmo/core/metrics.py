"""How right answers are: the metrics that training and evaluation tell, each by the name of its function."""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence

_WRITTEN_WITHOUT_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def accuracy(found: Sequence[Hashable], right: Sequence[Hashable]) -> float:
    """The share of answers that are the right ones."""
    return sum(one == other for one, other in zip(found, right, strict=True)) / len(right)


def macro_f1(found: Sequence[Hashable], right: Sequence[Hashable]) -> float:
    """The mean over the classes of their F1: each class counts the same, however rare it is."""
    hits, given, wanted = Counter(one for one, other in zip(found, right, strict=True) if one == other), Counter(found), Counter(right)
    labels = given.keys() | wanted.keys()
    return sum(2 * hits[label] / (given[label] + wanted[label]) for label in labels) / len(labels)


def exact_match(found: Sequence[str], right: Sequence[str]) -> float:
    """The share of texts that are the right ones, but for case, signs and spaces."""
    return accuracy([_plain(text) for text in found], [_plain(text) for text in right])


def f1(found: Sequence[str], right: Sequence[str]) -> float:
    """The mean over the texts of the F1 of their words (of their characters, where words are written without spaces)."""
    scores = []
    for one, other in zip(found, right, strict=True):
        words, wanted = Counter(_words(one)), Counter(_words(other))
        both = sum((words & wanted).values())
        scores.append(2 * both / (words.total() + wanted.total()) if words or wanted else 1.0)
    return sum(scores) / len(scores)


def chrf(found: Sequence[str], right: Sequence[str]) -> float:
    """The corpus' chrF2 (0 to 100), of sacrebleu."""
    import sacrebleu

    return float(sacrebleu.corpus_chrf(list(found), [list(right)]).score)


def bleu(found: Sequence[str], right: Sequence[str]) -> float:
    """The corpus' BLEU (0 to 100), of sacrebleu; Chinese and Japanese are cut into characters and words by its tokenizer "zh"."""
    import sacrebleu

    is_chinese = any(_WRITTEN_WITHOUT_SPACES.search(text) for text in right)
    return float(sacrebleu.corpus_bleu(list(found), [list(right)], tokenize="zh" if is_chinese else "13a").score)


def wer(found: Sequence[str], right: Sequence[str]) -> float:
    """The rate of wrong words over the whole corpus (of jiwer), but for case and signs; of characters where words have no spaces."""
    import jiwer

    pairs = [(" ".join(_words(one)), " ".join(_words(other))) for one, other in zip(found, right, strict=True)]
    pairs = [(one, other) for one, other in pairs if other]
    return float(jiwer.wer([other for _, other in pairs], [one for one, _ in pairs])) if pairs else 0.0


def entity_scores(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> dict[str, float]:
    """F1, precision and recall of whole entities (of seqeval: B-X and I-X that follow each other), and the accuracy of words' labels."""
    from seqeval.metrics import f1_score, precision_score, recall_score

    given, wanted = [list(row) for row in found], [list(row) for row in right]
    return {
        "f1": float(f1_score(wanted, given, zero_division=0)),
        "precision": float(precision_score(wanted, given, zero_division=0)),
        "recall": float(recall_score(wanted, given, zero_division=0)),
        "accuracy": accuracy([label for row in given for label in row], [label for row in wanted for label in row]),
    }


def _words(text: str) -> list[str]:
    return _WRITTEN_WITHOUT_SPACES.sub(lambda match: f" {match[0]} ", _plain(text)).split()


def _plain(text: str) -> str:
    kept = "".join(sign if unicodedata.category(sign)[0] not in "PS" else " " for sign in unicodedata.normalize("NFKC", text).casefold())
    return " ".join(kept.split())
