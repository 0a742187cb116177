"""Whether files of weights and of shortlists are whole, before a library without such checks reads them: it may take the process with it.

Both are Marian's own forms (https://github.com/marian-nmt/marian-dev, `src/common/binary.cpp` and `src/data/shortlist.h`),
in 64-bit numbers, little-endian.
"""

import struct

from yunmo.core.errors import EngineFailed

_WEIGHTS_VERSION = 1
_MOST_WEIGHTS = 100_000
_SHORTLIST_MARK = 0xF11A48D5013417F5
_NUMBER = struct.Struct("<Q")
_WEIGHTS_HEAD = struct.Struct("<2Q")
_WEIGHT = struct.Struct("<4Q")
_SHORTLIST_HEAD = struct.Struct("<6Q")
_DIMENSION_BYTES, _OFFSET_BYTES, _WORD_BYTES = 4, 8, 4


def check_weights(name: str, data: bytes) -> None:
    """Raise EngineFailed unless the lengths that the file tells of its weights are its own."""
    try:
        version, count = _WEIGHTS_HEAD.unpack_from(data)
        if version != _WEIGHTS_VERSION or count > _MOST_WEIGHTS:
            raise EngineFailed(f"{name} holds no weights of Marian in eight bits: push the file model.*.intgemm*.bin of the model.")
        heads = [_WEIGHT.unpack_from(data, _WEIGHTS_HEAD.size + place * _WEIGHT.size) for place in range(count)]
        end = _WEIGHTS_HEAD.size + count * _WEIGHT.size
        end += sum(name_bytes + _DIMENSION_BYTES * dimensions for name_bytes, _, dimensions, _ in heads)
        (gap,) = _NUMBER.unpack_from(data, end)
    except struct.error as error:
        raise _damaged(name) from error
    if end + _NUMBER.size + gap + sum(data_bytes for *_, data_bytes in heads) > len(data):
        raise _damaged(name)


def check_shortlist(name: str, data: bytes) -> None:
    """Raise EngineFailed unless the file has the words that it tells of."""
    try:
        mark, _, _, _, offsets, words = _SHORTLIST_HEAD.unpack_from(data)
    except struct.error as error:
        raise _damaged(name) from error
    if mark != _SHORTLIST_MARK:
        raise EngineFailed(f"{name} is no shortlist of Marian in its binary form: push the file lex.*.s2t.bin of the model.")
    if _SHORTLIST_HEAD.size + _OFFSET_BYTES * offsets + _WORD_BYTES * words != len(data):
        raise _damaged(name)


def _damaged(name: str) -> EngineFailed:
    return EngineFailed(f"{name} is damaged, or a part of it is missing: push it again.")
