"""Texts without formats: an element's, or an attribute's."""

from dataclasses import dataclass

from yunmo.apps.translate.documents.office.cultures import Culture
from yunmo.apps.translate.documents.office.runs import check_tags
from yunmo.apps.translate.documents.office.spans import Element, Source, Span, Splice, attribute_span, escaped, quoted
from yunmo.apps.translate.segments import Segment


@dataclass(frozen=True, slots=True)
class ElementText:
    """The whole text of an element."""

    source: Source
    element: Element
    segment: Segment

    def splices(self, translation: Segment, culture: Culture) -> list[Splice]:
        del culture
        check_tags(self.segment, translation)
        text = _between_spaces(self.source.text(self.element), translation.text)
        return [Splice(self.element.inner, (escaped(text),))]


@dataclass(frozen=True, slots=True)
class AttributeText:
    """The text of an attribute; `name` is its local name."""

    source: Source
    element: Element
    name: str
    segment: Segment

    def splices(self, translation: Segment, culture: Culture) -> list[Splice]:
        del culture
        check_tags(self.segment, translation)
        tag = self.source.start_tag(self.element)
        found = attribute_span(tag, self.name.encode())
        assert found is not None
        value = self.element.attributes[next(key for key in self.element.attributes if key.rpartition(":")[2] == self.name)]
        start = self.element.span.start
        return [Splice(Span(start + found.start, start + found.end), (quoted(_between_spaces(value, translation.text)),))]


def element_text(source: Source, element: Element) -> ElementText | None:
    """The element's text, None where it has no word to translate."""
    found = _segment(source.text(element))
    return ElementText(source, element, found) if found and element.inner.start and not element.children else None


def attribute_text(source: Source, element: Element, name: str) -> AttributeText | None:
    """The attribute's text, None where it has no word to translate."""
    value = next((value for key, value in element.attributes.items() if key.rpartition(":")[2] == name), "")
    found = _segment(value)
    return AttributeText(source, element, name, found) if found else None


def _segment(text: str) -> Segment | None:
    return Segment((text.strip(),)) if any(character.isalpha() for character in text) else None


def _between_spaces(before: str, text: str) -> str:
    """The text between the spaces that stood around the one before."""
    start, end = len(before) - len(before.lstrip()), len(before.rstrip())
    return before[:start] + text + before[end:]
