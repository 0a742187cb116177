"""/v3/style_rules: rules that a model is told when a translation names them."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from yunmo.apps.translate.styles import Instruction, Rules, Style, Styles, found_instruction, new_instruction
from yunmo.web.dialects.deepl.codes import read_base
from yunmo.web.dialects.deepl.glossaries import written_time
from yunmo.web.parameters import T, converted, read_parameters
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_BODY_LIMIT_BYTES = 1024 * 1024
_PAGE_SIZE = 10
_PAGE_LIMIT = 25
_PATH = "/v3/style_rules"


class InstructionBody(msgspec.Struct):
    """A rule in one's own words; its language is the style's unless it is said."""

    label: str
    prompt: str
    source_language: str | None = None


class StyleBody(msgspec.Struct):
    """The body of POST /v3/style_rules."""

    name: str
    language: str
    configured_rules: dict[str, dict[str, str]] = {}
    custom_instructions: list[InstructionBody] = []


class StyleName(msgspec.Struct):
    """The body of PATCH /v3/style_rules/{id}."""

    name: str


class InstructionReply(msgspec.Struct):
    """An instruction of a style."""

    id: str
    label: str
    prompt: str
    source_language: str


class StyleReply(msgspec.Struct):
    """A style; lists tell its rules only where they are asked for."""

    style_id: str
    name: str
    creation_time: str
    updated_time: str
    language: str
    version: int
    configured_rules: Rules | UnsetType = UNSET
    custom_instructions: Sequence[InstructionReply] | UnsetType = UNSET


class StyleList(msgspec.Struct):
    """A page of the project's styles."""

    style_rules: list[StyleReply]


class _Page(msgspec.Struct):
    page: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    page_size: Annotated[int, Meta(ge=1, le=_PAGE_LIMIT)] = _PAGE_SIZE
    detailed: bool = False


class StyleRoutes:
    """The styles of the caller's project."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles

    def routes(self) -> list[Route]:
        """Styles, their rules and their instructions."""
        one, instructions = f"{_PATH}/{{style_id}}", f"{_PATH}/{{style_id}}/custom_instructions"
        instruction = f"{instructions}/{{instruction_id}}"
        return [
            Route("GET", _PATH, self._list, "infer", "List styles (query: page, page_size, detailed)", None, StyleList),
            Route("POST", _PATH, self._create, "infer", "Make a style", StyleBody, StyleReply),
            Route("GET", one, self._get, "infer", "Look at a style", None, StyleReply),
            Route("PATCH", one, self._rename, "infer", "Rename a style", StyleName, StyleReply),
            Route("DELETE", one, self._delete, "infer", "Delete a style"),
            Route(
                "PUT", f"{one}/configured_rules", self._choose, "infer", "Replace a style's rules", dict[str, dict[str, str]], StyleReply
            ),
            Route("POST", instructions, self._add, "infer", "Add an instruction", InstructionBody, InstructionReply),
            Route("GET", instruction, self._look, "infer", "Look at an instruction", None, InstructionReply),
            Route("PUT", instruction, self._revise, "infer", "Replace an instruction", InstructionBody, InstructionReply),
            Route("DELETE", instruction, self._remove, "infer", "Remove an instruction"),
        ]

    async def _list(self, request: Request) -> Response:
        asked = converted(dict(request.query_params), _Page)
        found = await self._styles.page(request.principal.project, asked.page * asked.page_size, asked.page_size)
        return json_reply(StyleList([_reply(each, is_detailed=asked.detailed) for each in found]))

    async def _create(self, request: Request) -> Response:
        body = await _read(request, StyleBody)
        language = read_base(body.language, "language")
        instructions = [_instruction(each, language) for each in body.custom_instructions]
        made = await self._styles.create(request.principal.project, body.name, language, body.configured_rules, instructions)
        return json_reply(_reply(made), 201)

    async def _get(self, request: Request) -> Response:
        return json_reply(_reply(await self._styles.get(*_named(request))))

    async def _rename(self, request: Request) -> Response:
        body = await _read(request, StyleName)
        return json_reply(_reply(await self._styles.rename(*_named(request), body.name)))

    async def _delete(self, request: Request) -> Response:
        await self._styles.delete(*_named(request))
        return Response(status_code=204)

    async def _choose(self, request: Request) -> Response:
        rules = converted(await read_parameters(request, _BODY_LIMIT_BYTES), dict[str, dict[str, str]])
        return json_reply(_reply(await self._styles.choose(*_named(request), rules)))

    async def _add(self, request: Request) -> Response:
        body = await _read(request, InstructionBody)
        style = await self._styles.get(*_named(request))
        made = _instruction(body, style.language)
        await self._styles.add(*_named(request), made)
        return json_reply(_instruction_reply(made), 201)

    async def _look(self, request: Request) -> Response:
        style = await self._styles.get(*_named(request))
        return json_reply(_instruction_reply(found_instruction(style, request.params["instruction_id"])))

    async def _revise(self, request: Request) -> Response:
        body = await _read(request, InstructionBody)
        style = await self._styles.get(*_named(request))
        before = found_instruction(style, request.params["instruction_id"])
        made = _instruction(body, style.language, before.id)
        await self._styles.revise(*_named(request), made)
        return json_reply(_instruction_reply(made))

    async def _remove(self, request: Request) -> Response:
        await self._styles.remove(*_named(request), request.params["instruction_id"])
        return Response(status_code=204)


async def _read(request: Request, kind: type[T]) -> T:
    return converted(await read_parameters(request, _BODY_LIMIT_BYTES), kind)


def _named(request: Request) -> tuple[str, str]:
    return request.principal.project, request.params["style_id"]


def _instruction(body: InstructionBody, language: str, instruction_id: str | None = None) -> Instruction:
    written_in = read_base(body.source_language, "source_language") if body.source_language else language
    if instruction_id is None:
        return new_instruction(body.label, body.prompt, written_in)
    return Instruction(instruction_id, body.label, body.prompt, written_in)


def _instruction_reply(instruction: Instruction) -> InstructionReply:
    return InstructionReply(instruction.id, instruction.label, instruction.prompt, instruction.language)


def _reply(style: Style, *, is_detailed: bool = True) -> StyleReply:
    reply = StyleReply(style.id, style.name, written_time(style.created_at), written_time(style.updated_at), style.language, style.version)
    if is_detailed:
        reply.configured_rules = style.rules
        reply.custom_instructions = [_instruction_reply(each) for each in style.instructions]
    return reply
