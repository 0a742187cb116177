import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate.documents.office.runs import Item, Mark, Run, paragraph_of
from yunmo.apps.translate.segments import Segment, Tag, segment
from yunmo.core.errors import InvalidRequest

_words = st.text(st.sampled_from("ab zß。 云\t"), min_size=1, max_size=6)
_run = st.builds(Run, _words, st.integers(0, 3))
_alone = st.builds(
    Mark, st.just("alone"), st.tuples(st.binary(min_size=1, max_size=3)), st.sampled_from(["", "\n"]), st.none() | st.integers(0, 3)
)


def _pair(inside: list[Item]) -> list[Item]:
    return [Mark("open", (b"<",)), *inside, Mark("close", (b">",))]


_items = st.recursive(
    st.lists(_run | _alone, max_size=6),
    lambda inner: st.lists(inner | inner.map(_pair), max_size=4).map(lambda lists: [item for each in lists for item in each]),
    max_leaves=8,
)


def _letters(items: list[Item]) -> list[tuple[str, int] | tuple[bytes, ...]]:
    """Every character that is no space with its format, and every mark's pieces: what must not change."""
    seen: list[tuple[str, int] | tuple[bytes, ...]] = []
    for item in items:
        if isinstance(item, Run):
            seen += [(character, item.format) for character in item.text if not character.isspace()]
        else:
            seen += [(piece,) for piece in item.pieces if isinstance(piece, bytes)]
    return seen


def _text(items: list[Item]) -> str:
    return "".join(item.text for item in items if isinstance(item, Run))


@given(_items)
def test_a_paragraph_translated_into_itself_has_the_same_words_formats_and_marks(items):
    paragraph = paragraph_of(items)
    if paragraph is None:
        assert not any(character.isalpha() for character in _text(items))
    else:
        again = paragraph.items(paragraph.segment)
        assert _text(again) == _text(items)
        assert _letters(again) == _letters(items)


@given(_items)
def test_translated_words_have_the_formats_and_marks_of_their_tags(items):
    paragraph = paragraph_of(items)
    if paragraph is None:
        return
    changed = segment(part.replace("a", "AA") if isinstance(part, str) else part for part in paragraph.segment.parts)
    expected = [Run(item.text.replace("a", "AA"), item.format) if isinstance(item, Run) else item for item in items]
    assert _letters(paragraph.items(changed)) == _letters(expected)


@given(_items)
def test_a_segment_begins_and_ends_with_words_and_its_tags_nest(items):
    paragraph = paragraph_of(items)
    if paragraph is None:
        return
    text = paragraph.segment.text
    assert text.strip() == text or paragraph.segment.tags
    opened: list[int] = []
    for tag in paragraph.segment.tags:
        if tag.kind == "open":
            opened.append(tag.id)
        elif tag.kind == "close":
            assert opened.pop() == tag.id
    assert not opened


def test_the_format_that_most_words_have_needs_no_tags():
    paragraph = paragraph_of([Run("A ", 1), Run("long and plain text ", 0), Run("ends", 1)])
    assert paragraph is not None
    assert paragraph.segment == Segment(
        (Tag(1, "open"), "A ", Tag(1, "close"), "long and plain text ", Tag(2, "open"), "ends", Tag(2, "close"))
    )


def test_spaces_of_another_format_do_not_part_a_text():
    paragraph = paragraph_of([Run("bold", 1), Run(" ", 0), Run("words", 1)])
    assert paragraph is not None
    assert paragraph.segment == Segment(("bold words",))


def test_a_break_within_a_format_stays_within_it():
    paragraph = paragraph_of([Run("plain enough ", 0), Run("a", 1), Mark("alone", (b"<br/>",), "\n", 1), Run("b", 1)])
    assert paragraph is not None
    assert paragraph.segment == Segment(("plain enough ", Tag(1, "open"), "a", Tag(2, "alone", "\n"), "b", Tag(1, "close")))


def test_words_that_a_translation_moves_take_their_format_along():
    paragraph = paragraph_of([Run("the ", 0), Run("red", 1), Run(" house is old", 0)])
    assert paragraph is not None
    moved = Segment(("la maison ", Tag(1, "open"), "rouge", Tag(1, "close"), " est vieille"))
    assert paragraph.items(moved) == [Run("la maison ", 0), Run("rouge", 1), Run(" est vieille", 0)]


@pytest.mark.parametrize(
    "parts",
    [
        ("text",),
        (Tag(1, "open"), "text"),
        ("text", Tag(1, "close"), Tag(1, "open")),
        (Tag(1, "open"), "text", Tag(1, "close"), Tag(9, "alone")),
        (Tag(1, "open"), "a", Tag(1, "close"), Tag(1, "open"), "b", Tag(1, "close")),
    ],
)
def test_a_translation_with_other_tags_is_refused(parts):
    paragraph = paragraph_of([Run("plain ", 0), Run("bold", 1), Run(" plain", 0)])
    assert paragraph is not None
    with pytest.raises(InvalidRequest, match="tag"):
        paragraph.items(Segment(parts))


def test_numbers_alone_are_nothing_to_translate():
    assert paragraph_of([Run("1,234.50 €", 0), Mark("alone", (b"<br/>",)), Run("—", 1)]) is None
