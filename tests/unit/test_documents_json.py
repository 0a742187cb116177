import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from document_trips import document, itself, pseudo, texts, written
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.json_file import JsonFormat
from yunmo.apps.translate.segments import segment
from yunmo.core.errors import InvalidRequest

FILE = """{
\t"title" : "Sign in",  "id": "home_title", "url": "https://a.b/c", "n": [1.50, 1e3, -0.0, true, null, 12345678901234567890],
  "items": [{"text": "Two\\nlines", "label": "Click <a href=\\"x\\">here</a>,\\tplease"}, {"text": "caf\u00e9 \\u00e9\\/"}],
  "empty": {}, "none": [], "color": "#ff00aa", "kind": "camelCase", "@@locale": "en", "a/b": {"x.y": "Deep"}, "title": "Again"
}
"""


def test_strings_that_have_words_are_units_and_identifiers_are_not(tmp_path):
    read = document(JsonFormat(), FILE, tmp_path)
    assert texts(read) == ["Sign in", "Twolines", "Click here,\tplease", "café é/", "Deep", "Again"]
    assert [unit.note for unit in read.units] == ["title", "items[0].text", "items[0].label", "items[1].text", "a/b.x.y", "title"]
    assert [(tag.kind, tag.text) for tag in read.units[2].segment.tags] == [("open", '<a href=\\"x\\">'), ("close", "</a>")]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (("title",), ["Sign in", "Again"]),
        (("$.items[*].text",), ["Twolines", "café é/"]),
        (("items[1]",), ["café é/"]),
        (("items",), ["Twolines", "Click here,\tplease", "café é/"]),
        (("**.label", "id"), ["home_title", "Click here,\tplease"]),
        (("$..text",), ["Twolines", "café é/"]),
        (("*.*.label",), ["Click here,\tplease"]),
        (("['a/b']['x.y']",), ["Deep"]),
        (("titl",), []),
        ((), []),
    ],
)
def test_rules_name_the_fields(tmp_path, fields, found):
    assert texts(document(JsonFormat(), FILE, tmp_path, FormatOptions(fields=fields))) == found


def test_a_rule_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="cannot be read at"):
        document(JsonFormat(), FILE, tmp_path, FormatOptions(fields=("a[?(@.b)]",)))


def test_only_the_strings_change(tmp_path):
    read = document(JsonFormat(), FILE, tmp_path)
    assert written(read, itself(read), tmp_path) == FILE.encode()
    done = written(read, pseudo(read), tmp_path).decode()
    assert done == (
        FILE.replace("Sign in", "SSiiggnn iinn").replace("Two\\nlines", "TTwwoo\\nlliinneess").replace("Click <", "CClliicckk <").replace(">here<", ">hheerree<")
        .replace(",\\tplease", ",\\tpplleeaassee").replace("caf\u00e9 \\u00e9\\/", "ccaaffééé éé/".replace("ééé", "éé")).replace("Deep", "DDeeeepp").replace("Again", "AAggaaiinn")
    )  # fmt: skip


def test_a_file_that_is_ascii_by_escapes_stays_so(tmp_path):
    read = document(JsonFormat(), '{"a": "caf\\u00e9"}', tmp_path)
    assert written(read, {"1": segment(['"茶"\n\\ 😀'])}, tmp_path) == b'{"a": "\\"\\u8336\\"\\n\\\\ \\ud83d\\ude00"}'


def test_half_a_character_is_written_as_it_was(tmp_path):
    read = document(JsonFormat(), '["a \\ud83d", "中"]', tmp_path)
    assert written(read, pseudo(read), tmp_path) == '["aa \\ud83d", "中中"]'.encode()


def test_comments_and_lines_of_json_stay(tmp_path):
    text = '// a "comment"\n{"a": /* b */ "Text"} // end\n{"a": "More"}\n'
    read = document(JsonFormat(), text, tmp_path)
    assert [unit.note for unit in read.units] == ["a", "[1].a"]
    assert written(read, pseudo(read), tmp_path).decode() == text.replace("Text", "TTeexxtt").replace("More", "MMoorree")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its end is no value"),
        ('{"a": }', "line 1, '}' is no value"),
        ('{"a": 1,\n "b" 2}', "line 2"),
        ('["a" "b"]', "comma"),
        ('["a"', "comma"),
        ("{a: 1}", "is no key"),
        ('["a\n"]', "is no value"),
        ('["\\x"]', "is no value"),
        ("[" * 201 + "]" * 201, "deeper than 200 levels"),
        ("[" * 500_000, "deeper than 200 levels"),
        ("/*" * 100_000, "is no value"),
        ('["' + "\\" * 99_999, "is no value"),
        ("[01]", "comma"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path, text, said):
    started = time.process_time()
    with pytest.raises(InvalidRequest, match=said):
        document(JsonFormat(), text, tmp_path)
    assert time.process_time() - started < 5


def test_long_strings_are_looked_at_in_time(tmp_path):
    started = time.process_time()
    for text in (
        "a" * 200_000 + " ",
        "字" * 200_000,
        "aB" * 100_000 + "é",
        "a-" * 100_000 + "é",
        "1.a" * 60_000 + "é",
        "a_" * 100_000,
        "<a " * 100_000,
    ):
        document(JsonFormat(), json.dumps([text]), tmp_path)
    assert time.process_time() - started < 10


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.just("Two words\n<b>bold</b>"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def shape(value):
    """A value without the words of its strings."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return str if isinstance(value, str) else (type(value), value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=_VALUES, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_any_json_keeps_its_shape(tmp_path, value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    if any("\ud800" <= char <= "\udfff" for char in text):
        return
    read = document(JsonFormat(), text, tmp_path, FormatOptions(fields=("**",)))
    assert written(read, itself(read), tmp_path) == text.encode()
    done = json.loads(written(read, pseudo(read), tmp_path))
    assert shape(done) == shape(value)
    assert len(json.dumps(done)) >= len(json.dumps(value))
