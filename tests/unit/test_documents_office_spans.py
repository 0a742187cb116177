import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate.documents.office import spans
from yunmo.apps.translate.documents.office.spans import DEPTH_LIMIT, Source, Span, Splice, attribute_span, escaped, with_attribute
from yunmo.core.errors import InvalidRequest

_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(
    st.lists(_text, max_size=5), st.sampled_from(['"', "'"]), st.sampled_from(["<e/>", "<e />", "<e></e>", "<!-- > --><e/>", '<e a=">"/>'])
)
def test_texts_and_places_are_those_of_the_source(texts, quote, between):
    inner = between.join(escaped(text).decode() for text in texts)
    data = f"<?xml version={quote}1.0{quote}?>\n<r b = {quote}x{quote} >{inner}</r >\n".encode()
    source = Source(data, "part")
    assert source.text(source.root) == "".join(texts)
    assert source.raw(source.root.inner) == inner.encode()
    assert all(source.raw(child.span).startswith(b"<e") for child in source.root.children)
    assert source.spliced([]) == data


def test_a_splice_within_a_piece_of_another_is_made_too():
    source = Source(b"<a><b><c>old</c><d>gone</d></b></a>", "part")
    b = source.root.children[0]
    c = b.children[0]
    outer = Splice(b.inner, (b"<new/>", c.span, c.span))
    assert source.spliced([Splice(c.inner, (b"young",)), outer]) == b"<a><b><new/><c>young</c><c>young</c></b></a>"


def test_splices_that_begin_at_one_place_are_told_apart_by_their_ends():
    source = Source(b'<a><b t="x">old</b></a>', "part")
    b = source.root.children[0]
    start = b.span.start
    value = attribute_span(source.start_tag(b), b"t")
    assert value is not None
    inner = Splice(Span(start, b.inner.start), (b'<b t="y">',))
    assert source.spliced([inner, Splice(source.root.inner, (b.span,))]) == b'<a><b t="y">old</b></a>'


def test_comments_sections_and_entities_are_read_as_the_text_they_are():
    source = Source(b"<a>1 &lt; 2 &#x4e91;<!-- no --><![CDATA[<&>]]><?pi?>\r\nend</a>", "part")
    assert source.text(source.root) == "1 < 2 云<&>\nend"


def test_a_number_of_a_character_may_be_as_long_as_it_likes():
    source = Source(b"<a>&#" + b"0" * 9000 + b"65;&#x" + b"0" * 9000 + b"42;</a>", "part")
    assert source.text(source.root) == "AB"


def test_utf_16_is_read_and_written_as_utf_8():
    source = Source('<?xml version="1.0" encoding="UTF-16"?><a>云</a>'.encode("utf-16"), "part")
    assert source.text(source.root) == "云"
    assert source.data == '<?xml version="1.0" encoding="UTF-8"?><a>云</a>'.encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', "entity 'e' of its own"),
        (b'<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><a/>', "entity 'p' of its own"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a>&e;</a>', "entity 'e' of its own"),
        (b"<a>&e;</a>", "not well-formed"),
        (b"<a><b></a>", "not well-formed"),
        (b"<a>" * (DEPTH_LIMIT + 1) + b"</a>" * (DEPTH_LIMIT + 1), "nested deeper"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "encoding"),
        (b"", "not well-formed"),
    ],
)
def test_xml_that_would_do_harm_is_refused(data, said):
    with pytest.raises(InvalidRequest, match=said):
        Source(data, "part")


def test_a_document_type_is_passed_over_and_nothing_is_loaded():
    data = b'<!DOCTYPE a PUBLIC "-//X//DTD Manifest 1.0//EN" "file:///nowhere/Manifest.dtd">\n<a>b</a>'
    source = Source(data, "part")
    assert (source.text(source.root), source.spliced([])) == ("b", data)


def test_more_elements_than_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(spans, "ELEMENT_LIMIT", 3)
    assert Source(b"<a><b/><b/></a>", "part").root.name == "a"
    with pytest.raises(InvalidRequest, match="more than 3 elements: split"):
        Source(b"<a><b/><b/><b/></a>", "part")


def test_attributes_are_found_whatever_stands_in_others():
    tag = b"""<w:x a=" b='no' " w:b='yes' c="c"/>"""
    assert with_attribute(tag, b"w:b", 'q"<') == b"""<w:x a=" b='no' " w:b="q&quot;&lt;" c="c"/>"""
    assert with_attribute(tag, b"w:b", None) == b"""<w:x a=" b='no' " c="c"/>"""
    assert with_attribute(tag, b"d", "1") == tag[:-2] + b' d="1"/>'


def test_characters_that_xml_has_not_are_left_out():
    assert escaped("a\x00\x0bb\ud800\uffffc & 𝄞") == "abc &amp; 𝄞".encode()
