"""GNU gettext catalogues: translations go into empty `msgstr`s; what is translated, fuzzy or obsolete stays."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yunmo.apps.translate.documents.encoding import EncodedText, read_text
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.inline import tagged
from yunmo.apps.translate.documents.output import whole_file
from yunmo.apps.translate.documents.plurals import Plurals, plurals_of
from yunmo.apps.translate.documents.splicing import Edit, applied, check_tags, has_words, within_limit
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_FIELD = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)\s*)?"((?:[^"\\]|\\.)*+)"\Z')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_WRITTEN = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
)
_COUNT = re.compile(r"nplurals\s*=\s*(\d+)")


class GettextFormat:
    """`.po` files and `.pot` templates."""

    name = "po"
    extensions = (".po", ".pot")
    media_types = ("text/x-gettext-translation", "text/x-po")

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The messages without a translation: one unit each, two where there is a plural."""
        del options
        source = read_text(path)
        return GettextDocument(source, list(within_limit(_entries(source.text))))


@dataclass(slots=True)
class _Entry:
    """A message; `start` and `end` are where its `msgstr`s stand."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    is_fuzzy: bool = False
    notes: list[str] = field(default_factory=list)
    start: int = 0
    end: int = 0

    @property
    def fields(self) -> dict[str, str]:
        """What the message says, by the names of its fields."""
        return {name: "".join(lines) for name, lines in self.lines.items()}

    @property
    def is_open(self) -> bool:
        """Whether it waits for a translation."""
        fields = self.fields
        is_empty = not any(text for name, text in fields.items() if name.startswith("msgstr"))
        return is_empty and not self.is_fuzzy and self.end > 0 and has_words(fields.get("msgid", ""))


class GettextDocument:
    """A catalogue. A translation that is the same as its message is written like any other: the message is then translated."""

    def __init__(self, source: EncodedText, entries: Sequence[_Entry]) -> None:
        self._source, self._entries = source, entries
        self._newline = "\r\n" if "\r\n" in source.text else "\n"
        self._header = next((entry for entry in entries if entry.fields.get("msgid") == "" and entry.end), None)
        self._messages = {str(number): entry for number, entry in enumerate((entry for entry in entries if entry.is_open), 1)}
        self.units: Sequence[Unit] = [unit for key, entry in self._messages.items() for unit in _units(key, entry)]

    def write(self, translations: Mapping[str, Segment], target: str, path: Path) -> None:
        """Write the catalogue; plural forms are as many as the target language has, which the header then says."""
        units = {unit.key: unit for unit in self.units}
        for key, translation in translations.items():
            if key not in units:
                raise InvalidRequest(f"The document has no unit {key!r}: translate the units of the file that is written.")
            check_tags(units[key], translation)
        plurals = self._plurals(target)
        edits = [edit for key, entry in self._messages.items() for edit in self._edits(key, entry, translations, plurals)]
        text = applied(self._source.text, (0, len(self._source.text)), edits)
        fits = _fits(text, self._source.encoding)
        if edits and self._header:
            header = list(
                self._header_edits(
                    self._header, target, plurals, is_utf8=not fits or (self._source.encoding == "utf-8" and not text.isascii())
                )
            )
            text = applied(self._source.text, (0, len(self._source.text)), sorted([*header, *edits], key=lambda edit: edit.start))
        with whole_file(path) as file:
            file.write(self._source.encode(text))

    def _edits(self, key: str, entry: _Entry, translations: Mapping[str, Segment], plurals: Plurals) -> Iterator[Edit]:
        one, many = translations.get(key), translations.get(f"{key}.plural")
        if one is None and many is None:
            return
        newline = self._newline
        one_text, many_text = (found.source for found in (one or many, many or one) if found is not None)
        if "msgid_plural" not in entry.lines:
            yield Edit(entry.start, entry.end, _field("msgstr", one_text, newline))
            return
        forms = [one_text if number == plurals.one and plurals.count > 1 else many_text for number in range(plurals.count)]
        yield Edit(entry.start, entry.end, newline.join(_field(f"msgstr[{number}]", form, newline) for number, form in enumerate(forms)))

    def _plurals(self, target: str) -> Plurals:
        """The target's plural forms; where the header is of that language, as it counts them."""
        known = plurals_of(target)
        header = self._header.fields["msgstr"] if self._header else ""
        count = _COUNT.search(header)
        language = re.search(r"^Language:[ \t]*(\w+)", header, re.MULTILINE)
        is_own = language is not None and language[1].lower() == target.split("-", maxsplit=1)[0].lower()
        if count and 1 <= int(count[1]) <= 6 and (known is None or (is_own and int(count[1]) != known.count)):
            return Plurals(int(count[1]), 0, "")
        return known or Plurals(2, 0, "n != 1")

    def _header_edits(self, header: _Entry, target: str, plurals: Plurals, *, is_utf8: bool) -> Iterator[Edit]:
        written = self._source.text[header.start : header.end]
        wanted = {r"(?<=\bLanguage:)[ \t]*([\w@.-]*)(?=\\n)": f" {_locale(target)}"}
        if plurals.rule:
            wanted[r'(?<=\bPlural-Forms:)[^"\\]*(?=\\n|")'] = f" nplurals={plurals.count}; plural=({plurals.rule});"
        if is_utf8:
            wanted[r"(?<=\bcharset=)[\w.:-]+"] = "UTF-8"
        for pattern, text in wanted.items():
            found = re.search(pattern, written)
            if found and not _says_already(found[0], text):
                yield Edit(header.start + found.start(), header.start + found.end(), text)


def _says_already(written: str, wanted: str) -> bool:
    """Whether the header counts as many forms, or names the language, perhaps of another region."""
    before, after = (_COUNT.search(text) for text in (written, wanted))
    if after:
        return before is not None and before[1] == after[1]
    return written.strip() != "" and re.split(r"[_@]", written.strip().lower())[0] == re.split(r"[_@]", wanted.strip().lower())[0]


def _locale(target: str) -> str:
    return {"zh-Hans": "zh_CN", "zh-Hant": "zh_TW"}.get(target, target.replace("-", "_"))


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _units(key: str, entry: _Entry) -> Iterator[Unit]:
    fields = entry.fields
    note = "; ".join([*(["context: " + fields["msgctxt"]] if "msgctxt" in fields else []), *entry.notes])
    yield Unit(key, tagged(fields["msgid"]), note)
    if "msgid_plural" in fields:
        yield Unit(f"{key}.plural", tagged(fields["msgid_plural"]), "; ".join(filter(None, [note, "plural"])))


def _entries(text: str) -> Iterator[_Entry]:
    entry, name = _Entry(), ""
    for number, line in enumerate(_LINE.finditer(text), 1):
        written = line[1].strip()
        found = _FIELD.match(written)
        is_new = found is not None and found[1] in {"msgid", "msgctxt"} and "msgstr" in name
        if is_new or (name.startswith("msgstr") and not found):
            yield entry
            entry, name = _Entry(), ""
        if found:
            name = found[1] or name
            if not name or (found[1] and found[1] in entry.lines):
                raise InvalidRequest(f"Line {number} of the catalogue has a text where none belongs: {written[:40]!r}. Mend it there.")
            entry.lines.setdefault(name, []).append(_unescaped(found[2]))
            if name.startswith("msgstr"):
                entry.start = entry.start or line.start() + len(line[1]) - len(line[1].lstrip())
                entry.end = line.start() + len(line[1].rstrip())
        elif written.startswith("#,"):
            entry.is_fuzzy |= "fuzzy" in written
        elif written.startswith("#."):
            entry.notes.append(written[2:].strip())
        elif written and not written.startswith("#") and not (number == 1 and written == "\ufeff"):
            raise InvalidRequest(f"Line {number} of the catalogue is neither a comment nor a message: {written[:40]!r}. Mend it there.")
    yield entry


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    return chr(int(code, 8)) if code[0] in "01234567" else _ESCAPES.get(code, code)


def _field(name: str, text: str, newline: str) -> str:
    """A field as gettext writes it: a text of many lines begins below its name."""
    lines = text.splitlines(keepends=True) if "\n" in text[:-1] else [text]
    written = [f'"{line.translate(_WRITTEN)}"' for line in lines]
    return f"{name} " + newline.join(written if len(written) == 1 else ['""', *written])
