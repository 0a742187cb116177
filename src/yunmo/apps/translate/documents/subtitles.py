"""Subtitles: SubRip, WebVTT and Advanced SubStation. Cues, their times and their order stay."""

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from yunmo.apps.translate.documents.encoding import read_text
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.inline import Write, place
from yunmo.apps.translate.documents.lines import balanced
from yunmo.apps.translate.documents.markup import Piece, escaped
from yunmo.apps.translate.documents.splicing import Place, SplicedDocument, in_order, numbered
from yunmo.apps.translate.segments import Segment, Tag

LINE_COLUMNS = 42
_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_TIMES = re.compile(r"\s*(?:\d+:)?\d{1,2}:\d{1,2}[,.]\d{1,3}\s*-->\s*(?:\d+:)?\d{1,2}:\d{1,2}[,.]\d{1,3}")
_CUE_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)[^<>\r\n]*>|<\d[\d:.]*>|\{\\[^{}\r\n]*\}|\{[A-Za-z]:[^{}\r\n]*\}|\r\n|\r|\n")
_ASS_TAG = re.compile(r"\{[^{}]*\}|\\h")
_ASS_TAG_OR_BREAK = re.compile(rf"{_ASS_TAG.pattern}|\\[Nn]")
_SPEAKER = re.compile(r"\s*+(?:(?:<[^>]*>|\{[^}]*\})\s*+)*+[-‐–—]\s*\S")
_DRAWING = re.compile(r"\\p([0-9]+)")


class SubtitleFormat:
    """SubRip (`.srt`) and WebVTT (`.vtt`)."""

    def __init__(self, name: str, extension: str, media_types: tuple[str, ...]) -> None:
        self.name, self.extensions, self.media_types = name, (extension,), media_types
        self._is_web = name == "vtt"

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The cues that have words, one unit each; lines of a translation are balanced anew, two at most."""
        del options
        source = read_text(path)
        newline = next((line_end for line_end in ("\r\n", "\n", "\r") if line_end in source.text), "\n")
        places = (self._place(source.text, (start, end), number, newline) for number, (start, end) in enumerate(_cues(source.text), 1))
        return SplicedDocument(source, numbered(found for found in places if found))

    def _place(self, text: str, span: tuple[int, int], number: int, newline: str) -> Place | None:
        start, end = span
        lines = text[start:end].splitlines()
        is_dialogue = len(lines) > 1 and all(_SPEAKER.match(line) for line in lines)
        run = list(_run(text, start, end, _CUE_TAG, keeps_breaks=is_dialogue))
        escape = escaped if self._is_web else str

        def writer(_: str) -> Write:
            if is_dialogue:
                return in_order(lambda words: escape(_one_line(words)))
            return lambda translation, tag_text: _laid_out(translation, tag_text, newline, escape)

        unit = Unit("", Segment(()), f"subtitle {number}", LINE_COLUMNS)
        return place(text, run, writer, read=html.unescape if self._is_web else str, unit=unit)


class AssFormat:
    """Advanced SubStation Alpha and its forerunner; override codes are tags, drawings and comments stay."""

    name = "ass"
    extensions = (".ass", ".ssa")
    media_types = ("text/x-ssa", "text/x-ass")

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The texts of the events that are dialogue, one unit each."""
        del options
        source = read_text(path)
        places = (_ass_place(source.text, *event) for event in _events(source.text))
        return SplicedDocument(source, numbered(found for found in places if found))


SRT = SubtitleFormat("srt", ".srt", ("application/x-subrip", "text/srt"))
VTT = SubtitleFormat("vtt", ".vtt", ("text/vtt",))


def _cues(text: str) -> Iterator[tuple[int, int]]:
    """Where the text of each cue begins and ends: from behind its times to an empty line or the next cue."""
    start: int | None = None
    end = before = 0
    is_number = False
    for line in _LINE.finditer(text):
        if _TIMES.match(line[1]):
            if start is not None:
                yield start, max(start, before if is_number else end)
            start = before = end = line.end()
        elif not line[1].strip():
            if start is not None:
                yield start, end
            start = None
        else:
            before, end, is_number = end, line.end(1), line[1].strip().isdigit()
    if start is not None:
        yield start, end


def _run(text: str, start: int, end: int, tags: re.Pattern[str], *, keeps_breaks: bool) -> Iterator[Piece]:
    at = start
    for found in tags.finditer(text, start, end):
        if found[0].isspace() and not keeps_breaks:
            continue
        if found.start() > at:
            yield Piece("text", at, found.start())
        name = found[2] if found.re.groups else None
        yield Piece(("close" if found[1] else "open") if name else "alone", found.start(), found.end(), (name or "").lower())
        at = found.end()
    if end > at:
        yield Piece("text", at, end)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()) if len(text.splitlines()) > 1 else text


def _laid_out(translation: Segment, tag_text: Callable[[Tag], str], newline: str, escape: Callable[[str], str]) -> str:
    """The translation in at most two lines of about the same width; a line ends where its space was."""
    lines = balanced(translation.text, LINE_COLUMNS, 2)
    cut = sum(not char.isspace() for char in lines[0]) if len(lines) > 1 else -1
    seen, is_cut, written = 0, False, []
    for part in translation.parts:
        if isinstance(part, Tag):
            written.append(tag_text(part))
            continue
        for char in part:
            if seen == cut and not is_cut:
                written.append(newline)
                is_cut = True
            if char.isspace() and (written[-1:] == [newline] or not char.isprintable()):
                written += [" "] * (written[-1:] not in ([newline], [" "]))
                continue
            seen += not char.isspace()
            written.append(escape(char))
    return "".join(written)


def _events(text: str) -> Iterator[tuple[int, int, str]]:
    """Where the texts of dialogue begin and end, and what is known of them."""
    fields: list[str] = []
    for number, line in enumerate(_LINE.finditer(text), 1):
        kind, colon, rest = line[1].partition(":")
        if kind.strip() == "Format":
            fields = [field.strip().lower() for field in rest.split(",")]
        elif colon and kind.strip() == "Dialogue" and fields and fields[-1] == "text":
            values = rest.split(",", len(fields) - 1)
            if len(values) == len(fields):
                name = values[fields.index("name")].strip() if "name" in fields else ""
                yield line.end(1) - len(values[-1]), line.end(1), f"line {number}" + (f", {name} speaks" if name else "")


def _ass_place(text: str, start: int, end: int, note: str) -> Place | None:
    written = text[start:end]
    lines = re.split(r"\\[Nn]", written)
    is_dialogue = len(lines) > 1 and all(_SPEAKER.match(line) for line in lines)
    run = list(_ass_run(text, start, end, keeps_breaks=is_dialogue or len(lines) == 1))
    newline = r"\N" if r"\N" in written else r"\n"

    def writer(_: str) -> Write:
        if is_dialogue or len(lines) == 1:
            return in_order(_ass_text)
        return lambda translation, tag_text: _laid_out(translation, tag_text, newline, _ass_text)

    return place(text, run, writer, read=lambda words: re.sub(r"\\[Nn]", " ", words), unit=Unit("", Segment(()), note, LINE_COLUMNS))


def _ass_run(text: str, start: int, end: int, *, keeps_breaks: bool) -> Iterator[Piece]:
    """The run of an event; what is drawn is a part of the tag that begins it."""
    is_drawing, first = False, start
    for piece in _run(text, start, end, _ASS_TAG_OR_BREAK if keeps_breaks else _ASS_TAG, keeps_breaks=True):
        if drawing := _DRAWING.findall(text, piece.start, piece.end):
            if not is_drawing:
                first = piece.start
            elif drawing[-1] == "0":
                yield Piece("alone", first, piece.end)
                is_drawing = False
                continue
            is_drawing = drawing[-1] != "0"
        if not is_drawing:
            yield piece
    if is_drawing:
        yield Piece("alone", first, end)


def _ass_text(text: str) -> str:
    return _one_line(text).replace("{", r"\{").replace("}", r"\}")
