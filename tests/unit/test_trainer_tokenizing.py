"""Tokenizers trained on rows: the same rows give the same tokenizer, of the size asked for."""

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Tokenizer
from yunmo.engines.trainer import tokenizing
from yunmo.engines.trainer.tokenizing import train_tokenizer

CASES = [
    ("bert", "wordpiece"),
    ("bert", "bpe"),
    ("llama", "bpe"),
    ("llama", "unigram"),
    ("marian", "unigram"),
    ("marian", "bpe"),
    ("t5", "unigram"),
]


def texts() -> list[str]:
    draw = random.Random(0)
    characters = [chr(0x4E00 + number) for number in range(60)]
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 6))) for _ in range(600)]
    terms = ["".join(draw.choices(characters, k=draw.randint(1, 3))) for _ in range(400)]
    return [f"{' '.join(draw.choices(words, k=6))} 2026，{''.join(draw.choices(terms, k=5))}。" for _ in range(800)]


def trained(family, kind, size=480):
    return train_tokenizer(texts(), Tokenizer(kind=kind, size=size), family, 128)


def digests() -> list[str]:
    return [hashlib.sha256(trained(*case).backend_tokenizer.to_str().encode()).hexdigest() for case in CASES]


def test_the_same_rows_give_the_same_tokenizers_in_another_process():
    program = "from test_trainer_tokenizing import digests; print(*digests())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=Path(__file__).parent)
    assert found.stdout.decode().split() == digests()


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_the_vocabulary_has_the_size_asked_for_and_the_familys_special_tokens(family, kind):
    tokenizer = trained(family, kind)
    assert len(tokenizer) == 480
    assert tokenizer.pad_token_id == {"bert": 0, "llama": 1, "marian": 479, "t5": 0}[family]
    ids = tokenizer("ab 一")["input_ids"]
    ends = {"bert": (2, 3), "marian": (None, 0), "t5": (None, 1), "llama": (None, None)}[family]
    assert ends[0] in {None, ids[0]}
    assert ends[1] in {None, ids[-1]}


@pytest.mark.parametrize(("family", "kind"), [case for case in CASES if case[1] != "wordpiece"])
def test_text_comes_back_as_it_was(family, kind):
    text = "abc def 2026，一丁。 gh"
    tokenizer = trained(family, kind)
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_digits_stand_alone(family, kind):
    if kind == "wordpiece":
        return
    tokenizer = trained(family, kind)
    ids = tokenizer("2026", add_special_tokens=False)["input_ids"]
    assert [token for token in tokenizer.batch_decode([[each] for each in ids]) if token.strip()] == ["2", "0", "2", "6"]


def test_word_pieces_split_chinese_characters():
    assert trained("bert", "wordpiece").tokenize("2026 一丁，A") == ["2026", "一", "丁", "，", "a"]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_vocabulary_that_the_texts_cannot_fill_is_refused_with_the_most_that_they_can(family, kind):
    with pytest.raises(InvalidRequest, match="too few pieces for a vocabulary of 90000: ask for at most") as refused:
        trained(family, kind, 90_000)
    assert refused.value.param == "pretraining.tokenizer.size"
    most = int(refused.value.message.partition("at most ")[2].partition(",")[0])
    assert len(trained(family, kind, most)) == most


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_vocabulary_that_is_too_small_for_the_characters_is_refused_with_the_least(family, kind):
    with pytest.raises(InvalidRequest, match="do not fit into a vocabulary of 64: ask for at least") as refused:
        trained(family, kind, 64)
    assert refused.value.param == "pretraining.tokenizer.size"


def test_word_pieces_are_refused_where_text_is_written():
    with pytest.raises(InvalidRequest, match="case and spaces"):
        trained("llama", "wordpiece")


def test_rare_bytes_are_read_by_a_large_vocabulary_of_unigrams():
    rich = [f"{text} {number:x}{number * 7:o}" for number, text in enumerate(texts() * 20)]
    draw = random.Random(2)
    rich += ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(8000)]
    tokenizer = train_tokenizer(rich, Tokenizer(kind="unigram", size=2100), "marian", 128)
    assert tokenizer.decode(tokenizer("ab 😀")["input_ids"], skip_special_tokens=True) == "ab 😀"


def test_unigrams_of_very_much_text_are_learnt_from_rows_spread_over_all_of_it(monkeypatch):
    monkeypatch.setattr(tokenizing, "_MOST_CHARACTERS", 20_000)
    rows = [*texts(), *(text.translate({ord("a"): "z"}) for text in texts())]
    tokenizer = train_tokenizer(rows, Tokenizer(kind="unigram", size=300), "marian", 128)
    assert tokenizer.unk_token_id not in tokenizer(rows[0])["input_ids"]
    assert tokenizer.unk_token_id not in tokenizer(rows[-1])["input_ids"]
