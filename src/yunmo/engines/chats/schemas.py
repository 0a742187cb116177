"""What a JSON schema asks for that a text would not be held to: xgrammar, which compiles it for the engines, passes over it without a word."""

from collections.abc import Iterator
from typing import Any

_IGNORED = (
    "not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "multipleOf", "dependentRequired",
    "dependentSchemas", "dependencies", "$dynamicRef", "$recursiveRef",
)  # fmt: skip
_LENGTHS = ("minLength", "maxLength", "format")
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SINGLE = ("items", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties")
_WHOLE = ("$ref", "const", "enum", "anyOf", "oneOf", "allOf")
"""Each of these is all that is read of its schema, the first that is there."""

_SAYS_NOTHING = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema", "$id", "$anchor", "nullable"}
    | {"$defs", "definitions", "contentEncoding", "contentMediaType", "discriminator", "example"}
)  # fmt: skip
_DEEPEST = 64


def unenforced(schema: Any, depth: int = 0) -> str:
    """The first such wish, in words; empty if there is none."""
    if not isinstance(schema, dict):
        return "" if schema is not False else "an alternative that nothing fits (false)"
    if depth > _DEEPEST:
        return f"more than {_DEEPEST} levels"
    return _own(schema) or next((problem for each in _parts(schema) if (problem := unenforced(each, depth + 1))), "")


def _own(schema: dict[str, Any]) -> str:
    for name in _IGNORED:
        if schema.get(name) not in (None, False):
            return f"`{name}`"
    if "pattern" in schema and (beside := next((name for name in _LENGTHS if name in schema), "")):
        return f"`pattern` and `{beside}` together"
    reference = schema.get("$ref")
    if reference is not None and not (isinstance(reference, str) and (reference == "#" or reference.startswith("#/"))):
        return "a `$ref` to another document"
    if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) > 1:
        return "`allOf` of several schemas"
    whole = next((name for name in _WHOLE if name in schema), None)
    if whole is None:
        return ""
    others = sorted(name for name in _WISHES.intersection(schema) - {whole} if not _is_said_twice(schema, whole, name))
    return f"`{others[0]}` beside `{whole}`" if others else ""


_WISHES = frozenset(
    {"type", "properties", "required", "items", "prefixItems", "additionalProperties", "patternProperties", "propertyNames", "pattern"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minProperties", "maxProperties"}
    | {*_WHOLE, *_LENGTHS}
) - _SAYS_NOTHING  # fmt: skip


def _is_said_twice(schema: dict[str, Any], whole: str, name: str) -> bool:
    """A type beside values or alternatives that are all of this type."""
    if name != "type" or not isinstance(schema["type"], str):
        return False
    if whole == "const":
        return _type_of(schema["const"], schema["type"])
    values = schema[whole]
    if whole == "enum":
        return all(_type_of(each, schema["type"]) for each in values)
    return whole in {"anyOf", "oneOf"} and all(isinstance(each, dict) and each.get("type") == schema["type"] for each in values)


def _type_of(value: Any, name: str) -> bool:
    kinds: dict[str, Any] = {
        "string": str,
        "object": dict,
        "array": list,
        "boolean": bool,
        "integer": int,
        "number": int | float,
        "null": type(None),
    }
    return isinstance(value, kinds.get(name, ())) and (name == "boolean" or not isinstance(value, bool))


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    for name in _BY_NAME:
        if isinstance(schema.get(name), dict):
            yield from schema[name].values()
    for name in _LISTED:
        if isinstance(schema.get(name), list):
            yield from schema[name]
    for name in _SINGLE:
        if isinstance(schema.get(name), dict):
            yield schema[name]
