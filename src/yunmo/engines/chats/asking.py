"""What a request becomes: the tokens to continue, the form to hold the text to, and how its deltas are told."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from yunmo.core.errors import Unsupported
from yunmo.core.tasks import Chat, Generate, TextDelta
from yunmo.core.tool_calls import Rewriting, chosen_tools
from yunmo.engines.chats.constraints import Constraint, checked_size, output_constraint
from yunmo.engines.chats.templates import values_of
from yunmo.engines.chats.text import Text
from yunmo.engines.chats.thoughts import Begin, ThoughtReader
from yunmo.engines.chats.tools import CallReader, calls_constraint

Tell = Callable[[TextDelta], Iterable[TextDelta]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is generated. `tell` turns the deltas of all choices, as they are written, into those to answer with.

    The form to hold the text to, if there is one, comes from the request's field `constrained_by`.
    """

    prompt: list[int]
    constraint: Constraint | None
    constrained_by: str
    tell: Tell


def asked(text: Text, request: Chat | Generate) -> Asked:
    """Read a request. Raises InvalidRequest or Unsupported for one that cannot be answered as asked."""
    constraint, field = output_constraint(request)
    if isinstance(request, Generate):
        return Asked(text.prompt_ids(request), constraint, field, _as_it_is)
    messages = [values_of(each) for each in request.messages]
    tools, _ = chosen_tools(request)
    if not tools:
        prompt = text.chat_ids(messages)
        return Asked(prompt, constraint, field, _as_it_is if constraint else _with_thoughts(request, text.thought_at(prompt)))
    if not text.writes_calls():
        rewriting = Rewriting.of(request)
        form = checked_size(Constraint("json_schema", json.dumps(rewriting.schema())), "tools")
        return Asked(text.chat_ids(rewriting.conversation()), form, "tools", _rewritten(rewriting))
    if constraint is not None:
        raise Unsupported("With this model, tools and a response format cannot be asked for together.", param="response_format")
    form = checked_size(calls_constraint(request), "tools")
    prompt = text.chat_ids(messages, tools)
    return Asked(
        prompt, form, "tools", _with_calls(request, _as_it_is if form.is_required else _with_thoughts(request, text.thought_at(prompt)))
    )


def _as_it_is(delta: TextDelta) -> Iterable[TextDelta]:
    return (delta,)


def _with_thoughts(request: Chat, begin: Begin | None) -> Tell:
    if begin is None:
        return _as_it_is
    readers = [ThoughtReader(begin) for _ in range(request.choices)]
    return lambda delta: readers[delta.choice].read(delta)


def _with_calls(request: Chat, tell: Tell) -> Tell:
    readers = [CallReader() for _ in range(request.choices)]
    return lambda delta: (told for each in tell(delta) for told in readers[delta.choice].read(each))


def _rewritten(rewriting: Rewriting) -> Tell:
    def tell(delta: TextDelta) -> Iterable[TextDelta]:
        told = rewriting.read(delta)
        return () if told is None else (told,)

    return tell
