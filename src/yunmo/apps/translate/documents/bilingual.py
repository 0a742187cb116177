"""A document and its translation side by side, for people who check one against the other."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from yunmo.apps.translate.documents.direction import is_right_to_left
from yunmo.apps.translate.documents.format import Unit
from yunmo.apps.translate.documents.output import whole_file
from yunmo.apps.translate.segments import Segment

_HEAD = """<!DOCTYPE html>
<html>
<head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em auto; max-width: 80em; }}
table {{ border-collapse: collapse; table-layout: fixed; width: 100%; }}
td, th {{ border: 1px solid #ccc; padding: 0.4em 0.6em; text-align: start; vertical-align: top; width: 50%; overflow-wrap: anywhere; }}
small {{ color: #777; display: block; }}
</style></head>
<body>
<h1>{title}</h1>
<table>
<thead><tr><th>{source}</th><th>{target}</th></tr></thead>
<tbody>
"""


def write_bilingual(title: str, units: Sequence[Unit], translations: Mapping[str, Segment], languages: tuple[str, str], path: Path) -> None:
    """Write an HTML page with a row for each unit: its source, and its translation or an empty cell. `languages` are source and target."""
    source, target = languages
    with whole_file(path) as file:
        file.write(_HEAD.format(title=html.escape(title), source=html.escape(source), target=html.escape(target)).encode())
        for unit in units:
            note = f"<small>{html.escape(unit.note)}</small>" if unit.note else ""
            translation = translations.get(unit.key)
            row = _cell(unit.segment, source, note) + (_cell(translation, target) if translation else "<td></td>")
            file.write(f"<tr>{row}</tr>\n".encode("utf-8", "replace"))
        file.write(b"</tbody>\n</table>\n</body>\n</html>\n")


def _cell(words: Segment, language: str, note: str = "") -> str:
    """The words without formats; where a tag is a line break, so is it here."""
    text = "".join(
        html.escape(part) if isinstance(part, str) else "<br>" * ("\n" in part.text or part.text.startswith("<br")) for part in words.parts
    )
    direction = ' dir="rtl"' if is_right_to_left(language) else ' dir="ltr"'
    return f'<td lang="{html.escape(language)}"{direction}>{note}{text}</td>'
