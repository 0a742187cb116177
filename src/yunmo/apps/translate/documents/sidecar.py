"""An XLIFF 2.1 file beside a translated document: people correct it in their own tools, and the corrections go into the same layout."""

import hashlib
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yunmo.apps.translate.documents.format import Unit
from yunmo.apps.translate.documents.output import whole_file
from yunmo.apps.translate.documents.splicing import check_tags
from yunmo.apps.translate.documents.xml import parse_xml
from yunmo.apps.translate.segments import Segment, Tag, segment
from yunmo.core.errors import InvalidRequest

SIDECAR_BYTES = 128 << 20
_XLIFF = "urn:oasis:names:tc:xliff:document:2.0"
_METADATA = "urn:oasis:names:tc:xliff:metadata:2.0"
_HEAD = """<?xml version="1.0" encoding="utf-8"?>
<xliff xmlns="{xliff}" xmlns:mda="{metadata}" version="2.1" srcLang="{source}" trgLang="{target}">
 <file id="f1" original="{original}">
"""
_UNIT = """  <unit id="u{number}" name="{key}">
   <mda:metadata><mda:metaGroup category="source"><mda:meta type="sha256">{digest}</mda:meta></mda:metaGroup></mda:metadata>
{notes}   <segment state="{state}">
    <source xml:space="preserve">{source}</source>
{target}   </segment>
  </unit>
"""


@dataclass(frozen=True, slots=True)
class Merged:
    """Translations by key with the sidecar's, and the keys of its units that the document has no more or whose source has changed since."""

    translations: Mapping[str, Segment]
    outdated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SidecarLanguages:
    """What a sidecar says of itself: its languages, and the name of its document."""

    source: str
    target: str
    original: str


def write_sidecar(units: Sequence[Unit], translations: Mapping[str, Segment], languages: SidecarLanguages, path: Path) -> None:
    """Write the units and their translations as XLIFF 2.1; those without one have no target."""
    named = {"source": languages.source, "target": languages.target, "original": languages.original}
    with whole_file(path) as file:
        head = {name: html.escape(value) for name, value in named.items()}
        file.write(_HEAD.format(xliff=_XLIFF, metadata=_METADATA, **head).encode())
        for number, unit in enumerate(units, 1):
            file.write(_written(number, unit, translations.get(unit.key)).encode())
        file.write(b" </file>\n</xliff>\n")


def merge_sidecar(path: Path, units: Sequence[Unit], translations: Mapping[str, Segment]) -> Merged:
    """The translations with those of a sidecar in their place, by key, where the source is still the same.

    Raises InvalidRequest for a file that is no sidecar, and for a target that has lost a tag, by its unit.
    """
    if path.stat().st_size > SIDECAR_BYTES:
        raise InvalidRequest(f"The sidecar has more than the {SIDECAR_BYTES:,} bytes that are read: split its document.")
    root = parse_xml(path.read_bytes(), "The sidecar", SIDECAR_BYTES)
    if root.tag != f"{{{_XLIFF}}}xliff":
        raise InvalidRequest("The sidecar is not XLIFF 2: send the file that was given with the translated document.")
    known = {_printable(unit.key): unit for unit in units}
    merged, outdated = dict(translations), []
    for element in root.iter(f"{{{_XLIFF}}}unit"):
        key = element.get("name", "")
        targets = [target for target in element.iterfind(f"{{{_XLIFF}}}segment/{{{_XLIFF}}}target") if len(target) or target.text]
        digest = next((meta.text for meta in element.iter(f"{{{_METADATA}}}meta") if meta.get("type") == "sha256"), None)
        unit = known.get(key)
        if unit is None or digest != _digest(unit.segment):
            outdated.append(key)
        elif targets:
            made = _segment(unit, [part for target in targets for part in _parts(target)])
            check_tags(unit, made)
            merged[unit.key] = made
    return Merged(merged, tuple(outdated))


def _digest(source: Segment) -> str:
    parts = [part if isinstance(part, str) else [part.id, part.kind, part.text] for part in source.parts]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _written(number: int, unit: Unit, translation: Segment | None) -> str:
    notes = f"   <notes><note>{html.escape(_printable(unit.note))}</note></notes>\n" if unit.note else ""
    target = "" if translation is None else f'    <target xml:space="preserve">{_content(translation, unit)}</target>\n'
    state = "initial" if translation is None else "translated"
    return _UNIT.format(
        number=number,
        key=html.escape(_printable(unit.key)),
        digest=_digest(unit.segment),
        notes=notes,
        state=state,
        source=_content(unit.segment, unit),
        target=target,
    )


def _content(translation: Segment, unit: Unit) -> str:
    shown = {(tag.id, tag.kind): html.escape(_printable(tag.text)) for tag in unit.segment.tags}
    written = []
    for part in translation.parts:
        if isinstance(part, str):
            written.append(_escaped(part))
        elif part.kind == "open":
            written.append(f'<sc id="{part.id}" disp="{shown.get((part.id, part.kind), "")}"/>')
        elif part.kind == "close":
            written.append(f'<ec startRef="{part.id}" disp="{shown.get((part.id, part.kind), "")}"/>')
        else:
            written.append(f'<ph id="{part.id}" disp="{shown.get((part.id, part.kind), "")}"/>')
    return "".join(written)


def _escaped(text: str) -> str:
    """Text as XML; a character that XML cannot hold is XLIFF's `cp`."""
    if _printable(text) == text:
        return html.escape(text).replace("\r", "&#13;")
    return "".join(_escaped(char) if _printable(char) else f'<cp hex="{ord(char):04X}"/>' for char in text)


def _printable(text: str) -> str:
    return "".join(char for char in text if char in "\t\n\r" or "\x1f" < char < "\ud800" or "\udfff" < char < "\ufffe" or char > "\uffff")


def _parts(element: Any) -> Iterator[str | tuple[str, int]]:
    """A target's texts and codes; `mrk` and `pc` of other tools are read as what they hold."""
    yield element.text or ""
    for child in element:
        name = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""
        kinds = {"sc": ("open", child.get("id")), "ec": ("close", child.get("startRef")), "ph": ("alone", child.get("id"))}
        if name == "cp":
            yield _character(child.get("hex", ""))
        elif name == "pc":
            yield "open", _number(child.get("id"))
            yield from _parts(child)
            yield "close", _number(child.get("id"))
        elif name in kinds:
            kind, number = kinds[name]
            yield kind, _number(number)
        elif name == "mrk":
            yield from _parts(child)
        yield child.tail or ""


def _character(written: str) -> str:
    try:
        return chr(int(written, 16))
    except (ValueError, OverflowError):
        raise InvalidRequest(f"The sidecar has a character of the code {written[:20]!r}, which is none: mend its hex attribute.") from None


def _number(written: str | None) -> int:
    return int(written) if written and written.isdecimal() else 0


def _segment(unit: Unit, parts: list[str | tuple[str, int]]) -> Segment:
    tags = {(tag.kind, tag.id): tag for tag in unit.segment.tags}
    made: list[str | Tag] = []
    for part in parts:
        if isinstance(part, str):
            made.append(part)
        elif part in tags:
            made.append(tags[part])
        else:
            raise InvalidRequest(f"The sidecar's unit {unit.key!r} has a code {part} that its source has not: take it out.")
    return segment(made)
