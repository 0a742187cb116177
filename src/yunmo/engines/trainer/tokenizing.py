"""Tokenizers trained on the rows: byte pairs, unigrams and word pieces, each in the form that the engines read.

The same texts give the same tokenizer.json, byte by byte. Where the `tokenizers` library's trainers follow the order of a hash
table, they are given what they would find in it (word pieces), or SentencePiece does their work on one thread (unigrams).
"""

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from yunmo.core import training
from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Family

SENTINELS = 100
"""How many spans of one text denoising can take out: as many as T5 has names for."""

_SIZE = "pretraining.tokenizer.size"
_LONGEST_TOKEN = 24
"""In bytes: eight Chinese characters, so that whole clauses do not become words."""

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Qwen2's way of cutting texts, which llama.cpp has: digits stand alone, and letters of any script stay together."""

_BYTES = 256
_LEAST_WITH_BYTES = 2048
"""A smaller vocabulary of unigrams has no room for every byte, and knows no character but its own."""

_COVERAGE = 0.9995
_LEAST_COVERAGE = 0.99
_LONGEST_LINE = 4000
_MOST_CHARACTERS = 3_000_000
"""Unigrams are learnt from no more, of rows spread over all: pieces hardly change with more, and time grows with it."""

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class _Form:
    """What a family's tokenizer has besides pieces: special tokens before and after them, what is put around a text, and roles."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    around: tuple[str, ...]
    around_pair: tuple[str, ...]
    roles: dict[str, str]


_UNKNOWN_WORD = "[UNK]"
_END, _PADDING = "<|endoftext|>", "<|pad|>"
_DECODER = _Form((_END, _PADDING), (), (), (), {"bos_token": _END, "eos_token": _END, "pad_token": _PADDING})
_TEXT = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
_ENDED = {"around": ("$A", "</s>"), "around_pair": ("$A", "</s>", "$B", "</s>")}
_FORMS: dict[Family, _Form] = {
    "bert": _Form(
        ("[PAD]", _UNKNOWN_WORD, "[CLS]", "[SEP]", "[MASK]"),
        (),
        ("[CLS]", "$A", "[SEP]"),
        ("[CLS]", "$A", "[SEP]", "$B:1", "[SEP]:1"),
        {"pad_token": "[PAD]", "unk_token": _UNKNOWN_WORD, "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
    ),
    "gpt2": _DECODER,
    "llama": _DECODER,
    # padding is the last: CTranslate2 leaves it out
    "marian": _Form(("</s>", "<unk>"), ("<pad>",), **_ENDED, roles=_TEXT),
    "t5": _Form(("<pad>", "</s>", "<unk>"), tuple(f"<extra_id_{number}>" for number in range(SENTINELS)), **_ENDED, roles=_TEXT),
}


@dataclass(frozen=True, slots=True)
class _Room:
    """How many tokens a vocabulary has, and how many of them are special ones after the pieces; `first` come before them."""

    size: int
    first: tuple[str, ...]
    last: int

    @property
    def learnt(self) -> int:
        """What is left for pieces."""
        return self.size - len(self.first) - self.last

    def too_few(self, pieces: int) -> InvalidRequest:
        """The error of texts that have only so many pieces."""
        most = pieces + len(self.first) + self.last
        return InvalidRequest(
            f"The texts have too few pieces for a vocabulary of {self.size}: ask for at most {most}, or give more texts.", param=_SIZE
        )

    def too_many(self, pieces: int) -> InvalidRequest:
        """The error of texts that cannot be told apart with fewer pieces."""
        least = pieces + len(self.first) + self.last
        return InvalidRequest(
            f"The characters of the texts alone do not fit into a vocabulary of {self.size}: ask for at least {least}.", param=_SIZE
        )


def train_tokenizer(texts: Sequence[str], wish: training.Tokenizer, family: Family, positions: int) -> Any:
    """A tokenizer of exactly `wish.size` tokens, as transformers loads it, for a model of `positions`.

    Raises InvalidRequest where the texts have too few pieces for that many, or too many characters for so few, and for word
    pieces where text is to be written: what they read cannot be written back as it was.
    """
    from transformers import PreTrainedTokenizerFast

    form = _form(family, wish.kind)
    room = _Room(wish.size, form.first, len(form.last))
    backend = {"bpe": _byte_pairs, "unigram": _unigrams, "wordpiece": _word_pieces}[wish.kind](texts, room)
    learnt = backend.get_vocab_size() - len(form.first)
    if learnt != room.learnt:
        raise room.too_few(learnt)
    backend.add_special_tokens([*form.first, *form.last])
    if form.around:
        backend.post_processor = processors.TemplateProcessing(
            single=list(form.around),
            pair=list(form.around_pair),
            special_tokens=[(token, backend.token_to_id(token)) for token in form.first],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=positions,
        model_input_names=["input_ids", *(["token_type_ids"] if family == "bert" else []), "attention_mask"],
        clean_up_tokenization_spaces=False,
        **form.roles,
    )


def _form(family: Family, kind: str) -> _Form:
    form = _FORMS[family]
    if kind == "wordpiece" and family != "bert":
        raise InvalidRequest(
            f"Word pieces forget case and spaces, which a model of the family {family} has to write: take 'bpe' or 'unigram'.",
            param="pretraining.tokenizer.kind",
        )
    if kind == "unigram" and "unk_token" not in form.roles:
        return replace(form, first=(*form.first, "<unk>"), roles=form.roles | {"unk_token": "<unk>"})
    return form


# ---------------------------------------------------------------- byte pairs


def _byte_pairs(texts: Sequence[str], room: _Room) -> Tokenizer:
    if room.learnt < _BYTES:
        raise room.too_many(_BYTES)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_WORDS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=room.size - room.last,
        special_tokens=list(room.first),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=_LONGEST_TOKEN,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


# ---------------------------------------------------------------- unigrams


def _unigrams(texts: Sequence[str], room: _Room) -> Tokenizer:
    has_bytes = room.size >= _LEAST_WITH_BYTES
    pieces = [*((token, 0.0) for token in room.first), *_sentence_pieces(texts, room, has_bytes)]
    unknown = next(index for index, token in enumerate(room.first) if token in {"<unk>", _UNKNOWN_WORD})
    backend = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=has_bytes))
    backend.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    return backend


def _sentence_pieces(texts: Sequence[str], room: _Room, has_bytes: bool) -> list[tuple[str, float]]:
    """As many pieces as there is room for, with their log probabilities; bytes are the first of them."""
    import sentencepiece

    if room.learnt < 1:
        raise room.too_many(1)
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(texts),
            model_writer=written,
            model_type="unigram",
            vocab_size=room.learnt + 1,  # its own unknown piece, which is left out
            character_coverage=_COVERAGE,
            byte_fallback=has_bytes,
            split_digits=True,
            normalization_rule_name="identity",  # the usual one makes "，" a comma
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=3,
        )
    except RuntimeError as error:
        raise _unlearnable(error, room, has_bytes) from error
    learnt = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    return [(learnt.id_to_piece(index), learnt.get_score(index)) for index in range(1, len(learnt))]


def _unlearnable(error: RuntimeError, room: _Room, has_bytes: bool) -> InvalidRequest:
    """SentencePiece's error in our words: it tells the bounds that it would accept, its unknown piece among them."""
    if found := re.search(r"set it to a value <= (\d+)", str(error)):
        most = int(found[1]) - 1
        loses_bytes = has_bytes and most + room.size - room.learnt < _LEAST_WITH_BYTES
        return room.too_few(most - _BYTES if loses_bytes else most)
    if least := re.search(r"required_chars\. \d+ vs (\d+)", str(error)):
        return room.too_many(int(least[1]) - 1)
    return InvalidRequest(f"No unigrams can be learnt from these texts: {str(error)[:300]}", param="pretraining.tokenizer")


def _lines(texts: Sequence[str]) -> Iterator[str]:
    """Pieces of texts that SentencePiece reads whole; of very much text every so-manieth row."""
    for text in texts[:: max(1, round(sum(map(len, texts)) / _MOST_CHARACTERS))]:
        for line in text.splitlines():
            yield from (line[start : start + _LONGEST_LINE] for start in range(0, len(line), _LONGEST_LINE))


# ---------------------------------------------------------------- word pieces


def _word_pieces(texts: Sequence[str], room: _Room) -> Tokenizer:
    """Uncased, Chinese characters each for itself."""
    backend = Tokenizer(models.WordPiece(unk_token=_UNKNOWN_WORD))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = _alphabet(backend, texts, room)
    trainer = trainers.WordPieceTrainer(
        vocab_size=room.size,
        special_tokens=[*room.first, *_continuing(alphabet)],  # in an order of their own: ties are decided by it
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    trained = Tokenizer(models.WordPiece(backend.get_vocab(with_added_tokens=True), unk_token=_UNKNOWN_WORD))
    trained.normalizer, trained.pre_tokenizer, trained.decoder = backend.normalizer, backend.pre_tokenizer, decoders.WordPiece()
    return trained


def _alphabet(backend: Tokenizer, texts: Sequence[str], room: _Room) -> list[str]:
    """The characters to know, the most frequent first; the rarest are left out where all of them would not fit."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(backend.normalizer.normalize_str(text))
    ranked = sorted((each for each in counts if not each.isspace()), key=lambda each: (-counts[each], each))
    total = sum(counts[each] for each in ranked)
    kept: list[str] = []
    covered = used = 0
    for each in ranked:
        used += 1 + len(_continuing([each]))
        if used > room.learnt or covered > _COVERAGE * total:
            break
        kept.append(each)
        covered += counts[each]
    if covered < _LEAST_COVERAGE * total:
        raise room.too_many(len(ranked) + len(_continuing(ranked)))
    return kept


def _continuing(alphabet: Sequence[str]) -> list[str]:
    """How characters are written inside of words, which signs and Chinese characters never are."""
    return [f"##{each}" for each in alphabet if each.isalnum() and not _HAN.match(each)]
