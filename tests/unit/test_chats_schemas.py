"""What a text would not be held to is found before it is promised."""

import pytest

from yunmo.engines.chats.schemas import unenforced

NESTED = {"type": "object", "properties": {"a": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"not": {"const": 3}}]}}}}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {
            "type": "object",
            "properties": {"not": {"type": "string"}, "if": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"type": "integer", "minimum": 1}},
        },
        {"$ref": "#/$defs/x", "description": "a reference", "default": None, "$defs": {"x": {"const": 1}}},
        {"type": "string", "enum": ["a", "b"], "title": "Letter"},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        {"type": "string", "pattern": "^a+$"},
        {"type": "array", "uniqueItems": False, "items": {"type": ["string", "null"]}},
        {"allOf": [{"$ref": "#/$defs/x"}]},
    ],
)
def test_usual_schemas_pass(schema):
    assert not unenforced(schema)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (NESTED, "`not`"),
        ({"type": "array", "uniqueItems": True}, "`uniqueItems`"),
        ({"type": "number", "multipleOf": 5}, "`multipleOf`"),
        ({"type": "string", "pattern": "a+", "minLength": 3}, "together"),
        ({"$ref": "https://example.org/schema"}, "another document"),
        ({"$ref": "#/$defs/x", "minLength": 3}, "`minLength` beside `$ref`"),
        ({"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]}, "beside `anyOf`"),
        ({"type": "integer", "enum": [1, "a"]}, "`type` beside `enum`"),
        ({"type": "integer", "const": True}, "`type` beside `const`"),
        ({"allOf": [{"type": "string"}, {"minLength": 3}]}, "allOf"),
        ({"anyOf": [{"type": "string"}, False]}, "nothing fits"),
    ],
)
def test_what_would_be_passed_over_is_named(schema, problem):
    assert problem in unenforced(schema)


def test_a_schema_as_deep_as_the_sea_is_named_so():
    deep = {"type": "string"}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    assert "levels" in unenforced(deep)
