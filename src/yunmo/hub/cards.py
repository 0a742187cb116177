"""Model cards: the YAML at the head of README.md, read within bounds."""

import re
from datetime import date, datetime
from typing import Any

import yaml

CARD_LIMIT_BYTES = 512 * 1024
"""How much of a README is looked at."""

_NODE_LIMIT = 50_000
_DEPTH_LIMIT = 32
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BadCard(ValueError):
    """The front matter cannot be read; the message says why."""


def front_matter(readme: str) -> dict[str, Any]:
    """The card's fields as plain JSON values; empty without front matter. Raises BadCard."""
    match = _FRONT.match(readme)
    if match is None:
        return {}
    try:
        parsed = yaml.load(match[1], Loader=_Loader)  # noqa: S506 (a safe loader, in C where there is one)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadCard(f"The YAML at the top of README.md cannot be read: {error}") from error
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise BadCard("The YAML at the top of README.md must be a mapping ('key: value' lines).")
    card: dict[str, Any] = _Plain().value(parsed, 0)
    return card


def card_of(content: bytes) -> dict[str, Any]:
    """The fields of a README's first bytes; empty if they cannot be read."""
    try:
        return front_matter(content[:CARD_LIMIT_BYTES].decode("utf-8", "replace"))
    except BadCard:
        return {}


def strings(value: Any) -> list[str]:
    """A card's field that may be one string or a list of them."""
    if isinstance(value, str):
        return [value]
    return [str(each) for each in value if isinstance(each, str | int | float)] if isinstance(value, list) else []


class _Plain:
    """Turns YAML's values into JSON's, and refuses documents that aliases blow up."""

    def __init__(self) -> None:
        self._count = 0

    def value(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 (one line for each of YAML's types)
        self._count += 1
        if self._count > _NODE_LIMIT or depth > _DEPTH_LIMIT:
            raise BadCard(f"The YAML at the top of README.md is too large: at most {_NODE_LIMIT} values, {_DEPTH_LIMIT} levels deep.")
        if isinstance(value, dict):
            return {str(key): self.value(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple | set):
            return [self.value(each, depth + 1) for each in value]
        if isinstance(value, datetime | date):
            return value.isoformat()
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124 (NaN)
            return None
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
            return str(value)
        return value
