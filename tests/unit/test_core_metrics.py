"""Metrics against figures worked out by hand or by scikit-learn."""

import pytest

from yunmo.core import metrics


def test_macro_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    found, right = list("aababcca"), list("abababcc")
    assert metrics.macro_f1(found, right) == pytest.approx(f1_score(right, found, average="macro"))


def test_a_class_that_is_never_found_counts_nothing():
    assert metrics.macro_f1(["a", "a"], ["a", "b"]) == pytest.approx((2 / 3 + 0) / 2)


def test_accuracy_is_a_share():
    assert metrics.accuracy([1, 2, 3, 4], [1, 2, 3, 5]) == 0.75


def test_exact_match_passes_over_case_signs_and_width():
    assert metrics.exact_match(["The cat.", "ABC", "no"], ["the  cat", "ＡＢＣ", "yes"]) == pytest.approx(2 / 3)


def test_f1_counts_words_and_chinese_characters():
    assert metrics.f1(["the cat sat"], ["the cat"]) == pytest.approx(4 / 5)
    assert metrics.f1(["我爱你"], ["我爱他"]) == pytest.approx(2 / 3)


def test_wrong_words_are_counted_over_the_corpus():
    assert metrics.wer(["the cat sat", "hello"], ["the cat sat down", "hello"]) == pytest.approx(1 / 5)
    assert metrics.wer(["今天天气好"], ["今天天氣好"]) == pytest.approx(1 / 5)


def test_translations_are_scored_as_sacrebleu_scores_them():
    import sacrebleu

    assert metrics.bleu(["今天天气很好。"], ["今天天气很好。"]) == pytest.approx(100)
    assert metrics.chrf(["the cat"], ["the cats"]) == pytest.approx(sacrebleu.corpus_chrf(["the cat"], [["the cats"]]).score)
    assert 0 < metrics.bleu(["今天的天气非常好"], ["今天天气非常好"]) < 100
