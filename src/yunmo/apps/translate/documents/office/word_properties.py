"""Properties of WordprocessingML's runs and paragraphs: compared, and written for another language (ECMA-376 part 1, 17.3)."""

from collections.abc import Sequence

from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.spans import Element, Source, attribute_span, with_attribute

_RUN_ORDER = [
    "rStyle",
    "rFonts",
    "b",
    "bCs",
    "i",
    "iCs",
    "caps",
    "smallCaps",
    "strike",
    "dstrike",
    "outline",
    "shadow",
    "emboss",
    "imprint",
    "noProof",
    "snapToGrid",
    "vanish",
    "webHidden",
    "color",
    "spacing",
    "w",
    "kern",
    "position",
    "sz",
    "szCs",
    "highlight",
    "u",
    "effect",
    "bdr",
    "shd",
    "fitText",
    "vertAlign",
    "rtl",
    "cs",
    "em",
    "lang",
    "eastAsianLayout",
    "specVanish",
    "oMath",
    "rPrChange",
]
_PARAGRAPH_ORDER = [
    "pStyle",
    "keepNext",
    "keepLines",
    "pageBreakBefore",
    "framePr",
    "widowControl",
    "numPr",
    "suppressLineNumbers",
    "pBdr",
    "shd",
    "tabs",
    "suppressAutoHyphens",
    "kinsoku",
    "wordWrap",
    "overflowPunct",
    "topLinePunct",
    "autoSpaceDE",
    "autoSpaceDN",
    "bidi",
    "adjustRightInd",
    "snapToGrid",
    "spacing",
    "ind",
    "contextualSpacing",
    "mirrorIndents",
    "suppressOverlap",
    "jc",
    "textDirection",
    "textAlignment",
    "textboxTightWrap",
    "outlineLvl",
    "divId",
    "cnfStyle",
    "rPr",
    "sectPr",
    "pPrChange",
]
_TWINS = (("b", "bCs"), ("i", "iCs"), ("sz", "szCs"))
"""Properties, and those that hold in their stead for texts from right to left."""
_UNSEEN = {"w:lang", "w:noProof", "w:rFonts"}
_OFF = {"0", "false", "off"}

Property = tuple[str, bytes]
"""A property's name without prefix, and how it is written."""


def appearance(source: Source, properties: Element | None) -> object:
    """What makes the format of two runs look different; of fonts, all but the hint."""
    if properties is None:
        return ((), ())
    fonts = properties.child("w:rFonts")
    kept = tuple(source.raw(child.span) for child in properties.children if child.name not in _UNSEEN)
    return kept, tuple(sorted((key, value) for key, value in fonts.attributes.items() if key != "w:hint")) if fonts else ()


def is_hidden(properties: Element | None) -> bool:
    """Whether a run's text is not drawn."""
    vanish = properties.child("w:vanish") if properties else None
    return vanish is not None and vanish.attributes.get("w:val") not in _OFF


def run_properties(source: Source, properties: Element | None, prefix: bytes, culture: Culture, styled: Sequence[str]) -> bytes:
    """A run's properties (`w:rPr`) for a text in that language; `styled` are the East Asian fonts that the document's styles name."""
    listed = _listed(source, properties)
    fonts = _fonts(dict(listed).get("rFonts"), prefix, culture, styled)
    if fonts is not None:
        listed = _put(listed, ("rFonts", fonts), _RUN_ORDER)
    listed = [each for each in listed if each[0] != "rtl"]
    if culture.is_right_to_left:
        for western, complex_ in _TWINS:
            written = dict(listed).get(western)
            if written and complex_ not in dict(listed):
                twin = written.replace(b"<" + prefix + western.encode(), b"<" + prefix + complex_.encode(), 1)
                listed = _put(listed, (complex_, twin), _RUN_ORDER)
        listed = _put(listed, ("rtl", b"<" + prefix + b"rtl/>"), _RUN_ORDER)
    place = b"eastAsia" if culture.is_east_asian else b"bidi" if culture.is_right_to_left else b"val"
    lang = dict(listed).get("lang", b"<" + prefix + b"lang/>")
    listed = _put(listed, ("lang", with_attribute(lang, prefix + place, culture.name)), _RUN_ORDER)
    return b"<" + prefix + b"rPr>" + b"".join(written for _, written in listed) + b"</" + prefix + b"rPr>"


def paragraph_properties(source: Source, properties: Element | None, prefix: bytes, culture: Culture) -> bytes | None:
    """A paragraph's properties (`w:pPr`) in the language's direction; None where they are right already."""
    listed = _listed(source, properties)
    bidi = properties.child("w:bidi") if properties else None
    if culture.is_right_to_left == (bidi is not None and bidi.attributes.get("w:val") not in _OFF):
        return None
    listed = [each for each in listed if each[0] != "bidi"]
    if culture.is_right_to_left:
        listed = _put(listed, ("bidi", b"<" + prefix + b"bidi/>"), _PARAGRAPH_ORDER)
    start = source.start_tag(properties) if properties and listed and properties.inner.start else b"<" + prefix + b"pPr>"
    return start + b"".join(written for _, written in listed) + b"</" + prefix + b"pPr>"


def _listed(source: Source, properties: Element | None) -> list[Property]:
    children = properties.children if properties else []
    return [(child.name.removeprefix("w:"), source.raw(child.span)) for child in children]


def _put(listed: Sequence[Property], new: Property, order: Sequence[str]) -> list[Property]:
    """The properties with this one in its place: Word refuses files whose properties are out of order."""
    name = new[0]
    if any(each[0] == name for each in listed):
        return [new if each[0] == name else each for each in listed]
    later = set(order[order.index(name) + 1 :])
    at = next((index for index, each in enumerate(listed) if each[0] in later or each[0] not in order), len(listed))
    return [*listed[:at], new, *listed[at:]]


def _fonts(fonts: bytes | None, prefix: bytes, culture: Culture, styled: Sequence[str]) -> bytes | None:
    """The run's fonts: the hint says which of them draws signs that both have (quotation marks); an East Asian one is named where none will do."""
    tag = fonts or b"<" + prefix + b"rFonts/>"
    if not culture.is_east_asian:
        return None if fonts is None else with_attribute(tag, prefix + b"hint", None)
    tag = with_attribute(tag, prefix + b"hint", "eastAsia")
    named, themed = _attribute(tag, prefix + b"eastAsia"), _attribute(tag, prefix + b"eastAsiaTheme")
    will_do = [named] if named else [] if themed else styled
    if not themed and not any(culture.is_drawn_with(font) for font in will_do):
        tag = with_attribute(tag, prefix + b"eastAsia", culture.font_beside(_attribute(tag, prefix + b"ascii")))
    return tag


def _attribute(tag: bytes, name: bytes) -> str:
    """An attribute of a tag, empty where it has none."""
    found = attribute_span(tag, name)
    return tag[found.start + 1 : found.end - 1].decode("utf-8", "replace") if found else ""
