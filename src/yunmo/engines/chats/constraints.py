"""The forms that a text is held to; each engine says them in its library's words (xgrammar is behind both)."""

import json
from typing import Literal

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Chat, Generate, OutputFormat
from yunmo.core.tool_calls import parsed_schema
from yunmo.engines.chats.schemas import unenforced

_ANY_OBJECT = '{"type": "object"}'
_LARGEST_BYTES = 1 << 18


class Call(msgspec.Struct, frozen=True):
    """One tool's call as text: what comes before its arguments, their JSON schema, what comes after."""

    begin: str
    schema: str
    end: str


class Constraint(msgspec.Struct, frozen=True):
    """A form: a JSON schema, a regular expression, a GBNF grammar; or calls, wherever the trigger comes or at once.

    It goes as JSON to the process that tries it out first.
    """

    kind: Literal["json_schema", "regex", "grammar", "calls"]
    value: str = ""
    calls: tuple[Call, ...] = ()
    is_required: bool = False
    is_single: bool = False

    def is_known_good(self) -> bool:
        """Whether it needs no trial."""
        return self.value == _ANY_OBJECT


def output_constraint(request: Chat | Generate) -> tuple[Constraint | None, str]:
    """The form that a request asks for, and the field that asks. Raises InvalidRequest for one that text cannot be held to."""
    field = "response_format" if isinstance(request, Chat) else "output_format"
    match request.output_format:
        case None:
            return None, field
        case OutputFormat(kind="json"):
            return Constraint("json_schema", _ANY_OBJECT), field
        case OutputFormat(kind="json_schema", value=value):
            schema = parsed_schema(value, field)
            if problem := unenforced(schema):
                raise InvalidRequest(f"The engine cannot hold text to this JSON schema: it has {problem}. Simplify it.", param=field)
            return checked_size(Constraint("json_schema", json.dumps(schema)), field), field
        case OutputFormat(kind="regex", value=value):
            return _written(Constraint("regex", value), "regular expression"), "output_format"
        case OutputFormat(value=value):
            if value.lstrip().startswith("%"):
                raise InvalidRequest("The grammar must be GBNF.", param="output_format")
            return _written(Constraint("grammar", value), "grammar"), "output_format"


def checked_size(constraint: Constraint, param: str) -> Constraint:
    """The constraint itself. Raises InvalidRequest if it is too long to be compiled while others wait."""
    size = len(msgspec.json.encode(constraint))
    if size > _LARGEST_BYTES:
        raise InvalidRequest(f"The form of the answer takes {size} bytes as text; {_LARGEST_BYTES} are the most. Simplify it.", param=param)
    return constraint


def _written(constraint: Constraint, name: str) -> Constraint:
    if not constraint.value.strip():
        raise InvalidRequest(f"The {name} is empty.", param="output_format")
    return checked_size(constraint, "output_format")
