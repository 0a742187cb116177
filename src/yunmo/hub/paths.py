"""Which paths a repository may hold.

Paths never touch a disk here (storage is by content), but clients write them to theirs, on every operating system.
"""

import re
import unicodedata

from yunmo.core.errors import InvalidRequest

SEGMENT_LIMIT_BYTES = 255
PATH_LIMIT_BYTES = 1024
DEPTH_LIMIT = 64

_FORBIDDEN_NAMES = frozenset({".git", ".cache"})
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])( *\..*)?", re.IGNORECASE)
_WINDOWS_FORBIDDEN = frozenset('<>:"|?*\\')
_QUOTED = re.compile(r"%(2f|5c|00|2e%2e|2e\.|\.%2e|25)", re.IGNORECASE)
_INVISIBLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def check_path(path: str) -> str:
    """Return `path` if a repository may hold it; raise InvalidRequest that says what is wrong with it."""
    problem = _problem(path)
    if problem is not None:
        raise InvalidRequest(f"The path {path[:200]!r} is not allowed: {problem}.", param="path")
    return path


def segments_of(path: str) -> list[str]:
    """The checked path's segments."""
    return check_path(path).split("/")


def folded(name: str) -> str:
    """Two names that fold alike are one file on Windows and macOS."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def _problem(path: str) -> str | None:  # noqa: PLR0911 (a list of rules reads best as one)
    if not path:
        return "it is empty"
    if path.startswith("/"):
        return "it starts with '/'"
    if any(unicodedata.category(character) in _INVISIBLE or character in _DIRECTIONS for character in path):
        return "it contains a control character"
    if len(path.encode()) > PATH_LIMIT_BYTES:
        return f"it is longer than {PATH_LIMIT_BYTES} bytes"
    if _QUOTED.search(path):
        return "it contains a percent-quoted separator; send the path unquoted"
    if not unicodedata.is_normalized("NFC", path):
        return "it is not in Unicode normal form C"
    if path.count("/") >= DEPTH_LIMIT:
        return f"it is more than {DEPTH_LIMIT} folders deep"
    return next((problem for problem in map(_segment_problem, path.split("/")) if problem is not None), None)


def _segment_problem(segment: str) -> str | None:  # noqa: PLR0911 (a list of rules reads best as one)
    if not segment:
        return "it has an empty segment"
    if segment in {".", ".."} or unicodedata.normalize("NFKC", segment) in {".", ".."}:
        return "'.' and '..' are no file names"
    if _WINDOWS_FORBIDDEN.intersection(segment):
        return 'it contains one of < > : " | ? * \\, which Windows does not allow'
    if segment[-1] in ". ":
        return "a segment ends with a dot or a space"
    if folded(segment) in _FORBIDDEN_NAMES:
        return f"{segment!r} is reserved"
    if _WINDOWS_DEVICES.fullmatch(segment):
        return f"{segment!r} is a device name on Windows"
    if len(segment.encode()) > SEGMENT_LIMIT_BYTES:
        return f"a segment is longer than {SEGMENT_LIMIT_BYTES} bytes"
    return None
