"""JSON files: strings by the rules of their keys, everything else, down to the form of a number, as it was."""

import json
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from yunmo.apps.translate.documents.encoding import read_text
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.inline import tagged
from yunmo.apps.translate.documents.splicing import Place, SplicedDocument, has_words, in_order, numbered
from yunmo.core.errors import InvalidRequest

DEPTH = 200
_KEY_CHARACTERS, _NOTE_CHARACTERS = 256, 200
_SPACE = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\r\n]*|/\*(?:[^*]|\*(?!/))*+\*/)*+")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+)"')
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_RULE_STEP = re.compile(r"\*\*|\.\.|\.?([^.\[\]*]+)|\.?(\*)|\[(\*|\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
_WORD_CHARACTERS = 200
_ONE_WORD = re.compile(r"[!-~]+")
_CODE = re.compile(
    r"[!-~]*(?:[_\\@=]|:[!-~]|//|\w\.\w|\d)[!-~]*|[/#.][!-~]*|[a-z]+(?:[A-Z][a-z]+)+|[a-z0-9]+(?:-[a-z0-9]+){2,}", re.ASCII
)  # what a single word without a space is when it is no word of a language

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _String:
    path: Steps
    start: int
    end: int


class JsonFormat:
    """JSON, JSON with comments, and JSON lines.

    `fields` are rules such as `title`, `items[*].text`, `$.a.b`, `a.*.c` and `**.label` (at any depth); a rule that names an object or a list means
    all strings in it. Without rules every string is a unit that has words and does not look like an identifier, an address or a number.
    """

    name = "json"
    extensions = (".json", ".jsonl", ".ndjson", ".jsonc", ".arb")
    media_types = ("application/json", "application/x-ndjson")

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The file's strings; keys of a unit's note are its place."""
        source = read_text(path)
        rules = None if options.fields is None else [_rule(field) for field in options.fields]
        escape = _escape(keeps_ascii=source.text.isascii() and "\\u" in source.text)
        places = []
        for string in _strings(source.text):
            value = json.loads(source.text[string.start - 1 : string.end + 1])
            if _is_wanted(string.path, value, rules):
                unit = Unit("", tagged(value, escape), _written(string.path))
                places.append(Place(unit, string.start, string.end, in_order(escape)))
        return SplicedDocument(source, numbered(places))


def _escape(*, keeps_ascii: bool) -> Callable[[str], str]:
    def escape(text: str) -> str:
        has_half = any("\ud800" <= char <= "\udfff" for char in text)
        return json.dumps(text, ensure_ascii=keeps_ascii or has_half)[1:-1]

    return escape


def _is_wanted(path: Steps, value: str, rules: list[re.Pattern[str]] | None) -> bool:
    if not has_words(value):
        return False
    if rules is None:
        return not _is_code(value) and not str(path[-1] if path else "").startswith(("@@", "$"))
    written = "".join(f"/{step if isinstance(step, int) else _quoted(step)}" for step in path)
    return any(rule.match(written) for rule in rules)


def _is_code(value: str) -> bool:
    """Whether a text is a word of programs: an identifier, an address, a version, a colour."""
    return _ONE_WORD.fullmatch(value) is not None and (len(value) > _WORD_CHARACTERS or _CODE.fullmatch(value) is not None)


def _quoted(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _rule(field: str) -> re.Pattern[str]:
    """The rule as an expression on a JSON pointer."""
    rest = field.strip().removeprefix("$")
    pattern, at = "", 0
    while at < len(rest):
        step = _RULE_STEP.match(rest, at)
        if not step or step.end() == at:
            raise InvalidRequest(
                f"The field rule {field!r} cannot be read at {rest[at:]!r}: write it like title, items[*].text or **.label.", param="fields"
            )
        name = next((group for group in step.groups() if group is not None), None)
        if name is None:
            pattern += r"(?:/[^/]*)*"
        else:
            pattern += r"/[^/]*" if name == "*" else "/" + re.escape(_quoted(name.strip()))
        at = step.end()
    return re.compile(pattern + r"(?:/|\Z)")


def _written(path: Steps) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")[-_NOTE_CHARACTERS:]


def _strings(text: str) -> Iterator[_String]:
    """The values that are strings, with the places between their quotes. The whole text is checked on the way."""
    at, count = _skip(text, 0), 0
    while at < len(text) or not count:
        at = yield from _value(text, at, () if not count else (count,))
        at, count = _skip(text, at), count + 1


def _value(text: str, at: int, root: Steps) -> Generator[_String, None, int]:
    """One value with all that is in it, without recursion: a stack holds the open objects and lists."""
    path: list[str | int] = list(root)
    nesting = ""
    while True:
        char = text[at : at + 1]
        if char in {"{", "["} and char:
            if len(nesting) >= DEPTH:
                raise _wrong(text, at, f"lies deeper than {DEPTH} levels")
            nesting += char
            at = _skip(text, at + 1)
            path.append(0)
            is_empty = text.startswith("}" if char == "{" else "]", at)
            if not is_empty:
                at = _key(text, at, path) if char == "{" else at
                continue
        else:
            found = (_STRING if char == '"' else _SCALAR).match(text, at)
            if not found:
                raise _wrong(text, at, "is no value")
            if char == '"':
                yield _String(tuple(path), found.start(1), found.end(1))
            at = found.end()
        at, nesting = _next(text, at, path, nesting)
        if not nesting:
            return at


def _next(text: str, at: int, path: list[str | int], nesting: str) -> tuple[int, str]:
    """Behind a value: to the next one, out of as many objects and lists as end here."""
    while nesting:
        at = _skip(text, at)
        if text.startswith("}" if nesting[-1] == "{" else "]", at):
            nesting = nesting[:-1]
            path.pop()
            at += 1
            continue
        if not text.startswith(",", at):
            raise _wrong(text, at, f"is neither a comma nor the end of what {nesting[-1]} began")
        at = _skip(text, at + 1)
        if nesting[-1] == "{":
            return _key(text, at, path), nesting
        last = path[-1]
        path[-1] = last + 1 if isinstance(last, int) else 0
        return at, nesting
    return at, nesting


def _key(text: str, at: int, path: list[str | int]) -> int:
    found = _STRING.match(text, at)
    if not found:
        raise _wrong(text, at, "is no key")
    path[-1] = str(json.loads(found[0]))[:_KEY_CHARACTERS]
    at = _skip(text, found.end())
    if not text.startswith(":", at):
        raise _wrong(text, at, "is no colon")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _wrong(text: str, at: int, what: str) -> InvalidRequest:
    line = text.count("\n", 0, at) + 1
    seen = repr(text[at : at + 20]) if at < len(text) else "its end"
    return InvalidRequest(f"The file is not JSON: in line {line}, {seen} {what}. Mend it there.")
