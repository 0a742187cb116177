"""Documents that are read, translated and written in tests."""

from dataclasses import replace

from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.segments import Segment


def document(format_, data, folder, options=None, name="in"):
    """The document that these bytes are."""
    path = folder / f"{name}{format_.extensions[0]}"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return format_.read(path, options or FormatOptions())


def written(read, translations, folder, target="de"):
    """The bytes of a document with these translations."""
    read.write(translations, target, folder / "out")
    return (folder / "out").read_bytes()


def itself(read):
    """Every unit's own segment as its translation."""
    return {unit.key: unit.segment for unit in read.units}


def pseudo(read, change=lambda text: "".join(c * 2 if c.isalpha() else c for c in text)):
    """Every unit translated into itself with doubled letters, its tags where they were."""
    return {unit.key: pseudo_segment(unit.segment, change) for unit in read.units}


def pseudo_segment(segment, change=lambda text: "".join(c * 2 if c.isalpha() else c for c in text)):
    return Segment(tuple(change(part) if isinstance(part, str) else replace(part) for part in segment.parts))


def texts(read):
    """The words of every unit."""
    return [unit.segment.text for unit in read.units]
