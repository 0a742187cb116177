"""Calls read out of a text while it comes."""

import json

import pytest

from yunmo.core.tasks import Chat, Message, TextDelta, Tool, fold
from yunmo.engines.chats.tools import CallReader, calls_constraint

CHAT = Chat(messages=(Message("user", "?"),), tools=(Tool("f"), Tool("g")))
ONE = '<tool_call>\n{"name": "f", "arguments": {"a": "x}\\"<", "b": [1, {}]}}\n</tool_call>'
TWO = '\n<tool_call>{"name":"g","arguments":3}</tool_call>'


def told(text, size, reason="stop"):
    reader = CallReader()
    pieces = [TextDelta(text=text[at : at + size]) for at in range(0, len(text), size)]
    return fold(CHAT, [each for piece in (*pieces, TextDelta(finish_reason=reason)) for each in reader.read(piece)]).choices[0]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        ("Good day < you", "Good day < you", []),
        ("Let me see. \n" + ONE, "Let me see.", [("f", '{"a": "x}\\"<", "b": [1, {}]}')]),
        (ONE + TWO, "", [("f", '{"a": "x}\\"<", "b": [1, {}]}'), ("g", "3")]),
        ('<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', "", [("f", '{"a": 1}')]),
        ("<tool_call>no JSON</tool_call>", "<tool_call>no JSON</tool_call>", []),
        ('<tool_call>["list"]</tool_call> and', '<tool_call>["list"]</tool_call> and', []),
        ("ends in <tool_", "ends in <tool_", []),
    ],
)
def test_calls_come_out_whole_however_the_text_is_cut(size, text, said, calls):
    choice = told(text, size)
    assert choice.text == said
    assert [(call.name, call.arguments) for call in choice.tool_calls] == calls
    assert choice.finish_reason == ("tool_calls" if calls else "stop")


@pytest.mark.parametrize("end", range(len("<tool_call>"), len(ONE)))
def test_a_call_that_was_cut_off_is_told_as_far_as_it_came_and_never_as_text(end):
    choice = told(ONE[:end], 3, "length")
    assert not choice.text
    assert choice.finish_reason == "length"
    assert all(ONE.find(call.arguments) > 0 and call.name == "f" for call in choice.tool_calls)


def test_names_are_told_before_their_arguments_and_log_probabilities_stay():
    reader = CallReader()
    (first,) = reader.read(TextDelta(text='<tool_call>{"name": "f", "arguments": {"a'))
    assert [(call.index, call.name, call.arguments) for call in first.tool_calls] == [(0, "f", ""), (0, None, '{"a')]


def test_a_required_call_begins_at_once_and_one_that_is_not_where_the_model_begins_it():
    free, required, named = (
        calls_constraint(Chat(messages=CHAT.messages, tools=CHAT.tools, tool_choice=choice)) for choice in ("auto", "required", "g")
    )
    assert (free.is_required, free.is_single, len(free.calls)) == (False, False, 2)
    assert (required.is_required, required.is_single) == (True, False)
    assert (named.is_required, named.is_single, len(named.calls)) == (True, True, 1)
    assert json.loads(named.calls[0].begin.removeprefix("<tool_call>\n") + "{}}")["name"] == "g"
