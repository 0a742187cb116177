"""What the tiny models share: their words, and tokenizers that know them."""

import json
from pathlib import Path
from typing import Any

CORPUS = (
    "the quick brown fox jumps over the lazy dog",
    "paris is the capital of france and berlin is the capital of germany",
    "this example is about politics sports or cooking",
    "this is a photo of a cat and a red car on the street",
    "hello world how are you today i am fine thank you",
    "translate english to german the house is wonderful",
    "summarize my dog likes to eat fish and to sleep in the sun",
    "who what where when why one two three four five six seven",
)
WIDTH = 16
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|> ' }}{% endif %}"
)


def words() -> list[str]:
    return sorted({word for line in CORPUS for word in line.split()})


def wordpiece(directory: Path) -> Any:
    from transformers import BertTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "!", ",", *letters, *("##" + letter for letter in letters), *words()]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=64)
    tokenizer.save_pretrained(directory)
    return tokenizer


def byte_pairs(directory: Path, *, chat: bool = False, length: int = 128) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>", bos_token="<|end|>", model_max_length=length
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(directory)
    return tokenizer


def sentence_pieces(directory: Path, prefix: str, **options: Any) -> Path:
    import sentencepiece

    corpus = directory / f"{prefix}.txt"
    corpus.write_text("\n".join(CORPUS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(directory / prefix),
        vocab_size=90,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    corpus.unlink()
    return directory / f"{prefix}.model"


def unigram_pieces() -> list[tuple[str, float]]:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    return [("▁", -4.0), *((letter, -6.0) for letter in letters), *((f"▁{word}", -3.0) for word in words())]


def labels(*names: str) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False))
