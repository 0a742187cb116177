"""A tokenizer.json as llama.cpp's vocabulary; whatever llama.cpp would split otherwise is refused here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yunmo.core.errors import InvalidRequest

Json = Mapping[str, Any]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""llama.cpp's types of tokens."""

_SPACE = "▁"
_LONGEST_PIECE = 512

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DIGITS = "digits"
_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PRE_TOKENIZERS: dict[tuple[tuple[str, ...], bool], str] = {
    ((_GPT2,), False): "gpt-2",
    ((_DIGITS, _GPT2), False): "smollm",
    ((_QWEN2,), False): "qwen2",
    ((_LLAMA3,), True): "llama-bpe",
    ((_LLAMA3,), False): "smaug-bpe",
    ((_TEKKEN,), True): "tekken",
}
"""llama.cpp's name for a way of cutting texts into words and for whether a whole word that is a token is taken at once."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens in llama.cpp's form. `pre` names the way in which texts are cut into words, for `gpt2` only."""

    model: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...] = ()
    merges: tuple[str, ...] = ()
    pre: str = "default"
    unknown_id: int | None = None
    adds_space: bool = False
    normalizes: bool = False
    specials: tuple[str, ...] = ()


def read_vocabulary(directory: Path, size: int) -> Vocabulary:
    """The vocabulary of `size` tokens (the model's rows). Raises InvalidRequest for one that llama.cpp has no equal of."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise InvalidRequest("there is no tokenizer.json; save the tokenizer in its fast form")
    tokenizer = json.loads(path.read_text("utf-8"))
    model = tokenizer["model"]
    _check_added(tokenizer)
    match model.get("type"):
        case "BPE" if model.get("byte_fallback"):
            return _sentence_pieces(tokenizer, size)
        case "BPE":
            return _byte_pairs(tokenizer, size)
        case other:  # of unigrams, llama.cpp's own differ in leading and trailing spaces
            raise InvalidRequest(f"llama.cpp has no tokenizer like its one of the type {other}")


def _check_added(tokenizer: Json) -> None:
    for added in tokenizer.get("added_tokens") or ():
        flag = next((flag for flag in ("single_word", "lstrip", "rstrip") if added.get(flag)), None)
        if flag:
            raise InvalidRequest(f"the token {added['content']!r} has the flag {flag}, which llama.cpp does not know")


# ------------------------------------------------------------ byte pairs (GPT-2, Llama 3, Qwen, SmolLM, Tekken)


def _byte_pairs(tokenizer: Json, size: int) -> Vocabulary:
    model = tokenizer["model"]
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(name):
            raise InvalidRequest(f"its byte pairs have a {name}, which llama.cpp does not know")
    patterns = tuple(_patterns(tokenizer.get("pre_tokenizer")))
    pre = _PRE_TOKENIZERS.get((patterns, bool(model.get("ignore_merges"))))
    if pre is None:
        raise InvalidRequest(f"its way of cutting texts into words is not one that llama.cpp has ({'; '.join(patterns)[:200]})")
    tokens, types = _listed(tokenizer, model["vocab"], size)
    merges = tuple(each if isinstance(each, str) else " ".join(each) for each in model["merges"])
    return Vocabulary(
        "gpt2", tokens, types, merges=merges, pre=pre, normalizes=_composes(tokenizer.get("normalizer")), specials=_specials(tokenizer)
    )


def _patterns(pre_tokenizer: Json | None) -> list[str]:
    """The regular expressions that cut a text, in order; anything else under its own name, which no table has."""
    found: list[str] = []
    for step in _steps(pre_tokenizer, "pretokenizers"):
        match step:
            case {"type": "ByteLevel", "add_prefix_space": False}:
                found += [_GPT2] if step.get("use_regex", True) else []
            case {"type": "Digits", "individual_digits": True}:
                found.append(_DIGITS)
            case {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}:
                found.append(regex)
            case _:
                found.append(str(step))
    return found


def _composes(normalizer: Json | None) -> bool:
    steps = _steps(normalizer, "normalizers")
    if any(step != {"type": "NFC"} for step in steps):
        raise InvalidRequest(f"its normalizer is not one that llama.cpp has ({str(normalizer)[:200]})")
    return bool(steps)


# ------------------------------------------------------------ sentence pieces (Llama 2, Mistral, Gemma)


def _sentence_pieces(tokenizer: Json, size: int) -> Vocabulary:
    model = tokenizer["model"]
    pairs = [tuple(each.split(" ")) if isinstance(each, str) else tuple(each) for each in model["merges"]]
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(pairs):
        ranks.setdefault("".join(pair), rank)
    _check_merges(model["vocab"], set(pairs))
    tokens, types = _listed(tokenizer, model["vocab"], size)
    scores = tuple(float(-ranks[token]) if token in ranks else 0.0 for token in tokens)
    return Vocabulary(
        "llama",
        tokens,
        types,
        scores=scores,
        unknown_id=model["vocab"].get(model.get("unk_token")),
        adds_space=_adds_space(tokenizer),
        specials=_specials(tokenizer),
    )


def _check_merges(vocab: Mapping[str, int], pairs: set[tuple[str, ...]]) -> None:
    """llama.cpp joins any two pieces that make a third; the tokenizer only those on its list, so all must be there."""
    for piece in vocab:
        if piece.startswith("<") and piece.endswith(">"):
            continue  # bytes and special tokens: never made of others
        if len(piece) > _LONGEST_PIECE:
            raise InvalidRequest(f"it has a piece of {len(piece)} characters; {_LONGEST_PIECE} are the most")
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocab and right in vocab and (left, right) not in pairs:
                raise InvalidRequest(f"its merges do not join {left!r} and {right!r} to {piece!r}, as llama.cpp would")


def _adds_space(tokenizer: Json) -> bool:
    """Whether a space is put before texts. Raises InvalidRequest for other ways of writing spaces as ▁."""
    normalizers, cutters = _steps(tokenizer.get("normalizer"), "normalizers"), _steps(tokenizer.get("pre_tokenizer"), "pretokenizers")
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    gemma_cut = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    if normalizers == [{"type": "Prepend", "prepend": _SPACE}, replace] and not cutters:
        return True
    if normalizers == [replace] and cutters in ([], [gemma_cut]):
        return False
    if not normalizers and len(cutters) == 1:
        return _metaspace(cutters[0])
    raise InvalidRequest("its way of writing spaces is not one that llama.cpp has")


def _metaspace(step: Json) -> bool:
    if step.get("type") == "Metaspace" and step.get("replacement") == _SPACE:
        scheme = step.get("prepend_scheme", "always")
        if scheme in {"always", "first", "never"}:
            return bool(scheme != "never")
    raise InvalidRequest(f"its way of writing spaces is not one that llama.cpp has ({str(step)[:200]})")


# ------------------------------------------------------------ both


def _steps(part: Json | None, several: str) -> Sequence[Json]:
    """The steps of a pre-tokenizer or normalizer, without what they keep only for decoding."""
    if not part:
        return []
    if part.get("type") == "Sequence":
        return [step for each in part[several] for step in _steps(each, several)]
    return [{name: value for name, value in part.items() if name != "trim_offsets"}]


def _specials(tokenizer: Json) -> tuple[str, ...]:
    return tuple(str(each["content"]) for each in tokenizer.get("added_tokens") or ())


def _listed(tokenizer: Json, vocab: Mapping[str, int], size: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Tokens and types by id; ids without a token are filled, added tokens beyond the model's rows dropped."""
    tokens: list[str] = [f"[PAD{index}]" for index in range(size)]
    types = [UNUSED] * size
    unknown = tokenizer["model"].get("unk_token")
    for token, index in vocab.items():
        if index >= size:
            raise InvalidRequest(f"the token {token!r} has the id {index}, but the model has {size} rows")
        tokens[index] = token
        is_byte = len(token) == 6 and token.startswith("<0x") and token.endswith(">")
        types[index] = UNKNOWN if token == unknown else BYTE if is_byte else NORMAL
    for added in tokenizer.get("added_tokens") or ():
        index, content = int(added["id"]), str(added["content"])
        if index >= size:
            continue
        tokens[index] = content
        if types[index] in {UNKNOWN, BYTE} or (_SPACE in content and not added.get("special")):
            continue  # llama.cpp prints user-defined tokens as they are, ▁ and all
        types[index] = CONTROL if added.get("special") else USER_DEFINED
    return tuple(tokens), tuple(types)
