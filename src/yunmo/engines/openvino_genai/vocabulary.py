"""The bytes of a tokenizer's tokens, and their list in the form in which OpenVINO GenAI's grammars take it.

GenAI would build a tokenizer of its own from the repository; one that splits texts otherwise would not be noticed. So texts
are read and written by tokenizer.json, as everywhere, and GenAI gets no more than what each token spells, which is proven here.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_tokenizers
from openvino import opset13 as ops
from tokenizers import Tokenizer

from yunmo.core.errors import EngineFailed

_SPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_PROOF = (
    'The parcel arrived two days late; wasn\'t that kind? {"key": [1, 2.5e-3, null], "π": "²"}',
    "快递比预计晚了两天，不过司机提前打了电话。 🙂 👩‍👩‍👧‍👦",
    "def area(r: float):\n\t'''πr²'''\n    return 3.14 * r**2\r\n\n  <tool_call>\n",
    "Überraschung naïve Привет, мир! שלום नमस्ते 안녕하세요 １２３",
)
_REPLACEMENT = "\ufffd"


def token_bytes(file: Path, size: int) -> list[bytes]:
    """What each of `size` tokens spells inside a text; empty for special tokens and ids without one.

    Raises EngineFailed for a tokenizer whose tokens do not spell bytes, or not these.
    """
    stored = json.loads(file.read_text("utf-8"))
    pieces = stored["model"]["vocab"]
    named = pieces.items() if isinstance(pieces, dict) else ((piece, index) for index, (piece, _) in enumerate(pieces))
    spell = _spelling(stored)
    found = [b""] * size
    for piece, index in named:
        if index < size:
            found[index] = spell(piece)
    for added in stored.get("added_tokens") or ():
        if added["id"] < size:
            content = str(added["content"])
            found[added["id"]] = b"" if added["special"] else spell(content) if _SPACE in content else content.encode()
    _prove(Tokenizer.from_file(str(file)), found)
    return found


def draw(spelled: Sequence[bytes]) -> ov.Model:
    """The list as the detokenizer in which GenAI looks for it."""
    ends = np.cumsum([len(each) for each in spelled], dtype=np.int32)
    begins = np.concatenate([np.zeros(1, np.int32), ends[:-1]])
    ids = ops.parameter(ov.PartialShape([-1, -1]), np.dtype("int64"))
    nothing = ops.slice(_number(0), _number(0), _number(np.iinfo(np.int32).max), _number(1))
    table = [ops.constant(begins), ops.constant(ends), ops.constant(np.frombuffer(b"".join(spelled), np.uint8))]
    parts = _operation("VocabDecoder", [ops.convert(ids, np.int32), *table, nothing])
    joined = _operation("FuzeRagged", parts[:4])
    text = openvino_tokenizers._get_opset_factory("opset15").create("StringTensorPack", [*joined, parts[4]])  # noqa: SLF001
    text.output(0).set_names({"string_output"})
    return ov.Model([ops.result(text.output(0))], [ids], "detokenizer")


def _spelling(stored: dict[str, Any]) -> Any:
    steps = [each.get("type") for each in _steps(stored.get("decoder"))]
    if "ByteLevel" in steps:
        letters = {letter: byte for byte, letter in enumerate(_letters())}
        return lambda piece: bytes(letters[each] for each in piece) if all(each in letters for each in piece) else piece.encode()
    if "Metaspace" in steps or _SPACE in str(stored.get("decoder")):
        return _spelled_with_spaces
    raise EngineFailed(
        f"OpenVINO GenAI's grammars need tokens that spell bytes, but the decoder of tokenizer.json is {', '.join(map(str, steps)) or 'none'}. "
        "Deploy the model with another engine."
    )


def _spelled_with_spaces(piece: str) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE, " ").encode()


def _steps(decoder: dict[str, Any] | None) -> list[dict[str, Any]]:
    if not decoder:
        return []
    return list(decoder["decoders"]) if decoder.get("type") == "Sequence" else [decoder]


def _letters() -> str:
    """The letters in which tokenizers of bytes write the bytes 0 to 255 (GPT-2's: printable ones as they are)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [each for each in range(256) if each not in printable]
    places = {byte: chr(byte) for byte in printable} | {byte: chr(256 + rank) for rank, byte in enumerate(others)}
    return "".join(places[byte] for byte in range(256))


def _prove(tokenizer: Tokenizer, spelled: Sequence[bytes]) -> None:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for text in _PROOF:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        joined = b"".join(spelled[each] if each < len(spelled) else b"" for each in ids).decode("utf-8", "replace")
        expected = str(tokenizer.decode(ids, skip_special_tokens=True))
        if joined.removeprefix(" ").replace(_REPLACEMENT, "") != expected.removeprefix(" ").replace(_REPLACEMENT, ""):
            raise EngineFailed(
                f"OpenVINO GenAI's grammars would read the tokens of {text[:60]!r} as {joined[:60]!r}, but tokenizer.json as {expected[:60]!r}. "
                "Deploy the model with another engine."
            )


def _operation(name: str, inputs: Sequence[Any]) -> list[Any]:
    made = openvino_tokenizers._get_factory().create(name, [getattr(each, "output", lambda _, each=each: each)(0) for each in inputs])  # noqa: SLF001
    return list(made.outputs())


def _number(value: int) -> Any:
    return ops.constant(np.asarray([value], np.int32))
