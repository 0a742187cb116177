"""Styles: how a project wants its translations into one language written. Models that can be told are told their rules in words."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from yunmo.apps.translate import style_store as store
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.storage.database import Database

Rules = Mapping[str, Mapping[str, str]]
"""By topic, what is chosen for each of its questions: `{"dates_and_times": {"calendar_era": "use_bc_and_ad"}}`."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """A rule in a person's own words; `language` is the one that it is written in."""

    id: str
    label: str
    prompt: str
    language: str


@dataclass(frozen=True, slots=True)
class Style:
    """A project's style for translations into `language`, a base code; `version` counts its changes."""

    id: str
    name: str
    language: str
    version: int
    created_at: datetime
    updated_at: datetime
    rules: Rules
    instructions: tuple[Instruction, ...]

    def told(self) -> tuple[str, ...]:
        """What a model is told of it."""
        chosen = (
            f"{_words(topic).capitalize()}, {_words(question)}: {_words(answer)}."
            for topic, rules in self.rules.items()
            for question, answer in rules.items()
        )
        return (*chosen, *(each.prompt for each in self.instructions))


@dataclass(frozen=True, slots=True)
class StyleLimits:
    """What projects may keep."""

    styles: int = 1000
    instructions: int = 200
    prompt_characters: int = 300
    name_bytes: int = 1024
    rules: int = 200
    rule_characters: int = 100


class Styles:
    """The styles of every project. One that is not the project's is not there for it: NotFound."""

    def __init__(self, database: Database, limits: StyleLimits | None = None) -> None:
        self._database = database
        self.limits = limits or StyleLimits()

    async def create(self, project: str, name: str, language: str, rules: Rules, instructions: Sequence[Instruction]) -> Style:
        """Make a style. Raises InvalidRequest for what a limit forbids."""
        moment = datetime.now(UTC)
        style = Style(str(uuid.uuid4()), name, language, 1, moment, moment, rules, tuple(instructions))
        self._check(style)

        def work(connection: store.Connection) -> None:
            if store.count(connection, project) >= self.limits.styles:
                raise InvalidRequest(f"The project '{project}' has {self.limits.styles} styles, and may not have more. Delete some.")
            store.insert(connection, style.id, project, moment, msgspec.json.encode(style))

        await self._database.write(work)
        return style

    async def page(self, project: str, offset: int, limit: int) -> list[Style]:
        """Some of the project's styles, oldest first."""
        return [_style(found) for found in await self._database.read(lambda connection: store.page(connection, project, offset, limit))]

    async def get(self, project: str, style_id: str) -> Style:
        """One of the project's styles."""
        checked = _checked_id(style_id)
        return await self._database.read(lambda connection: _found(connection, project, checked))

    async def delete(self, project: str, style_id: str) -> None:
        """Delete a style."""
        checked = _checked_id(style_id)
        if not await self._database.write(lambda connection: store.delete(connection, project, checked)):
            raise _no_style(checked)

    async def rename(self, project: str, style_id: str, name: str) -> Style:
        """Give it another name."""
        return await self._change(project, style_id, lambda style: replace(style, name=name))

    async def choose(self, project: str, style_id: str, rules: Rules) -> Style:
        """Put these rules in the place of those before."""
        return await self._change(project, style_id, lambda style: replace(style, rules=rules))

    async def add(self, project: str, style_id: str, instruction: Instruction) -> None:
        """Add an instruction."""
        await self._change(project, style_id, lambda style: replace(style, instructions=(*style.instructions, instruction)))

    async def revise(self, project: str, style_id: str, instruction: Instruction) -> None:
        """Put an instruction in the place of the one that has its id."""

        def change(style: Style) -> Style:
            found_instruction(style, instruction.id)
            return replace(style, instructions=tuple(instruction if each.id == instruction.id else each for each in style.instructions))

        await self._change(project, style_id, change)

    async def remove(self, project: str, style_id: str, instruction_id: str) -> None:
        """Remove an instruction."""

        def change(style: Style) -> Style:
            gone = found_instruction(style, instruction_id)
            return replace(style, instructions=tuple(each for each in style.instructions if each is not gone))

        await self._change(project, style_id, change)

    async def _change(self, project: str, style_id: str, change: Callable[[Style], Style]) -> Style:
        checked = _checked_id(style_id)

        def work(connection: store.Connection) -> Style:
            before = _found(connection, project, checked)
            after = replace(change(before), version=before.version + 1, updated_at=datetime.now(UTC))
            self._check(after)
            store.update(connection, project, checked, msgspec.json.encode(after))
            return after

        return await self._database.write(work)

    def _check(self, style: Style) -> None:
        limits = self.limits
        if not style.name.strip() or len(style.name.encode()) > limits.name_bytes:
            raise InvalidRequest(f"The name of a style has 1 to {limits.name_bytes} bytes of UTF-8.", param="name")
        if len(style.instructions) > limits.instructions:
            raise InvalidRequest(f"A style may have {limits.instructions} instructions.", param="custom_instructions")
        for each in style.instructions:
            if not each.prompt.strip() or len(each.prompt) > limits.prompt_characters or len(each.label.encode()) > limits.name_bytes:
                raise InvalidRequest(
                    f"An instruction has a prompt of 1 to {limits.prompt_characters} characters and a label of at most {limits.name_bytes} bytes.",
                    param="custom_instructions",
                )
        texts = [text for topic, rules in style.rules.items() for rule in rules.items() for text in (topic, *rule)]
        if len(texts) > 3 * limits.rules or any(len(text) > limits.rule_characters for text in texts):
            raise InvalidRequest(
                f"A style may have {limits.rules} rules, whose names have at most {limits.rule_characters} characters.",
                param="configured_rules",
            )


def new_instruction(label: str, prompt: str, language: str) -> Instruction:
    """An instruction with an id of its own."""
    return Instruction(str(uuid.uuid4()), label, prompt, language)


def found_instruction(style: Style, instruction_id: str) -> Instruction:
    """The style's instruction of this id. Raises NotFound without it."""
    found = next((each for each in style.instructions if each.id == instruction_id.lower()), None)
    if found is None:
        raise NotFound(f"The style '{style.id}' has no instruction '{instruction_id[:60]}'.")
    return found


def _words(name: str) -> str:
    return name.replace("_", " ").strip()


def _checked_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise InvalidRequest(f"'{text[:60]}' is no id of a style: those are UUIDs.", param="style_id") from error


def _found(connection: store.Connection, project: str, style_id: str) -> Style:
    content = store.find(connection, project, style_id)
    if content is None:
        raise _no_style(style_id)
    return _style(content)


def _style(content: bytes) -> Style:
    return msgspec.json.decode(content, type=Style)


def _no_style(style_id: str) -> NotFound:
    return NotFound(f"There is no style '{style_id}' in your project.")
