"""Translations as programs have them: gettext's compiled catalogues, and what is left of a message without marks for machines."""

import re
import struct
from collections.abc import Iterator

from pages import han_characters, joined_lines

from yunmo.core.errors import InvalidRequest

_MAGIC = 0x950412DE
_CONTEXT = "\x04"
_CONTEXT_OF_KDE = re.compile(r"^_: .*?\n", re.DOTALL)
_CHARSET = re.compile(rb"charset=([A-Za-z0-9_-]+)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,300}?/?>")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&#39;": "'", "&nbsp;": " ", "&amp;": "&"}
_CHINESE_ACCELERATOR = re.compile(r"\s*[(（]\s*([_&~])[A-Za-z0-9]\s*[)）]")
_ACCELERATOR = re.compile(r"(?<![\w&~])[_&~](?=[A-Za-z])|(?<=[A-Za-z])[&~](?=[a-z])")
_WORD = re.compile(r"[A-Za-z]{2,}")
_LETTER = re.compile(r"[A-Za-z]")
_LONGEST = 500
_LETTERS_OF_A_HAN = 4


def messages(content: bytes) -> Iterator[tuple[str, str]]:
    """Originals and translations of a .mo file, without contexts; of plurals the last form of each.

    Format: GNU gettext manual, “The Format of GNU MO Files”. Raises InvalidRequest for another format.
    """
    order = {_MAGIC.to_bytes(4, "little"): "<", _MAGIC.to_bytes(4, "big"): ">"}.get(content[:4])
    try:
        if order is None:
            raise ValueError("its first four bytes are not a catalogue's")
        count, originals, translations = struct.unpack_from(f"{order}3I", content, 8)
        pairs = [[_string(content, order, table + 8 * number) for table in (originals, translations)] for number in range(count)]
        charset = next((_charset(translation) for original, translation in pairs if not original), "utf-8")
        for original, translation in ((one.decode(charset), other.decode(charset)) for one, other in pairs if one):
            text = _CONTEXT_OF_KDE.sub("", original.rpartition(_CONTEXT)[2])
            yield text.split("\0")[-1], translation.split("\0")[-1]
    except (struct.error, ValueError, LookupError) as error:
        raise InvalidRequest(f"This is no .mo file: {error}.") from None


def cleaned(english: str, chinese: str) -> tuple[str, str] | None:
    """The pair in one line each, without tags and accelerators; None if it is not a sentence or word in both languages."""
    english, chinese = (_ACCELERATOR.sub("", each) for each in _without_accelerator(_plain(english), _plain(chinese)))
    english, chinese = joined_lines(english), joined_lines(chinese)
    han = han_characters(chinese)
    if not _WORD.search(english) or han_characters(english) or not han or max(len(english), len(chinese)) > _LONGEST:
        return None
    # More Latin letters than a name or two: only partly translated.
    return None if len(_LETTER.findall(chinese)) > _LETTERS_OF_A_HAN * han else (english, chinese)


def _string(content: bytes, order: str, place: int) -> bytes:
    length, start = struct.unpack_from(f"{order}2I", content, place)
    if start + length > len(content):
        raise ValueError("a message lies behind its end")
    return content[start : start + length]


def _charset(header: bytes) -> str:
    found = _CHARSET.search(header)
    return found[1].decode("ascii") if found else "utf-8"


def _plain(text: str) -> str:
    text = _TAG.sub(" " if "<br" in text or "<p>" in text else "", text).replace("\\n", "\n").replace("\\t", "\t")
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return text


def _without_accelerator(english: str, chinese: str) -> tuple[str, str]:
    """Chinese has accelerators in brackets; their sign tells which one to take out of the English word."""
    mark = _CHINESE_ACCELERATOR.search(chinese)
    if mark is None:
        return english, chinese
    return english.replace(mark[1], "", 1), _CHINESE_ACCELERATOR.sub("", chinese)
