"""What of a workbook's strings must stay as they are, since something looks for them; and table headers, which must stay unlike each other."""

import re
from collections.abc import Iterator, Mapping
from html import unescape

from yunmo.apps.translate.documents.office.document import Place, Units
from yunmo.apps.translate.documents.office.package import Package
from yunmo.apps.translate.documents.office.spans import Element
from yunmo.apps.translate.documents.office.texts import AttributeText
from yunmo.apps.translate.segments import Segment

_FORMULA = re.compile(
    rb"<(?:\w+:)?(f|formula[12]?|calculatedColumnFormula|totalsRowFormula|definedName)\b[^<>]*(?<!/)>((?:<(?:\w+:)?f>)?[^<]*)<"
)
_LITERAL = re.compile(r'"((?:[^"]|"")*)"')
_COLUMN = re.compile(r"\[[@#]?((?:[^\[\]']|'.)+)\]")
_SOUGHT = re.compile(rb"<(?:\w+:)?(?:filter|customFilter|cacheField|dataField|s)\b[^<>]*?\s(?:val|name|v)=(?:\"([^\"]*)\"|'([^']*)')")
_FILTERED = (
    "worksheet+xml",
    "table+xml",
    "pivotcachedefinition+xml",
    "pivottable+xml",
    "sheet.main+xml",
    "template.main+xml",
    "macroenabled.main+xml",
)

Table = list[tuple[str | None, str]]
"""A table's columns: the key of the unit that a header is, None where it is none, and the header."""


def sought_texts(package: Package) -> set[str]:
    """Strings, as `folded` writes them, that formulas compare with, lists and filters choose, pivots and formulas name columns by."""
    sought: set[str] = set()
    for part in package.archive.names:
        if not package.content_type(part).endswith(_FILTERED):
            continue
        data = package.archive.read(part)
        for kind, code in _FORMULA.findall(data):
            sought.update(_named(unescape(code.decode("utf-8", "replace")), is_list=b"ormula" in kind))
        for found in _SOUGHT.finditer(data):
            sought.add(folded(unescape((found[1] or found[2] or b"").decode("utf-8", "replace"))))
    return sought


def folded(text: str) -> str:
    """A string as Excel compares it."""
    return text.strip().casefold()


def tables(units: Units) -> list[Table]:
    """The tables of which at least one header is a unit. Headers whose cells are no plain text, and cannot be kept equal to them, cease to be units."""
    lonely = {folded(same[0].segment.text) for same in units.places.values() if all(_is_header(place) for place in same)}
    units.remove(lambda unit: folded(unit.segment.text) in lonely)
    keys: dict[int, str] = {}
    found: dict[int, Element] = {}
    for key, same in units.places.items():
        for place in same:
            if isinstance(place, AttributeText) and _is_header(place) and place.element.parent:
                keys[id(place.element)] = key
                found[id(place.element.parent)] = place.element.parent
    return [[(keys.get(id(column)), column.attributes.get("name", "")) for column in table.children] for table in found.values()]


def with_unlike_headers(listed: list[Table], translations: Mapping[str, Segment]) -> dict[str, Segment]:
    """The translations with headers that would be equal in one table numbered, as Excel does: it takes a file with equal ones for damaged."""
    changed = dict(translations)
    for table in listed:
        seen = {folded(header) for key, header in table if key not in changed}
        for key, _ in table:
            if key is None or key not in changed:
                continue
            text = header = changed[key].text
            number = 2
            while folded(header) in seen:
                header, number = f"{text}{number}", number + 1
            seen.add(folded(header))
            if header != text:
                changed[key] = Segment((header,))
    return changed


def _is_header(place: Place) -> bool:
    return isinstance(place, AttributeText) and place.element.name == "x:tableColumn" and place.name == "name"


def _named(formula: str, *, is_list: bool) -> Iterator[str]:
    for literal in _LITERAL.findall(formula):
        text = literal.replace('""', '"')
        yield folded(text)
        if is_list:
            yield from (folded(choice) for choice in text.split(","))
    for column in _COLUMN.findall(_LITERAL.sub("", formula)):
        yield folded(re.sub("'(.)", r"\1", column))
