"""Thoughts told apart from the answer while both come."""

import pytest

from yunmo.core.tasks import Chat, Message, TextDelta, Tool, fold
from yunmo.engines.chats.asking import _with_calls, _with_thoughts

CHAT = Chat(messages=(Message("user", "?"),))
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'


def told(text, size, begin, tell=None, reason="stop"):
    tell = tell or _with_thoughts(CHAT, begin)
    pieces = [TextDelta(text=text[at : at + size]) for at in range(0, len(text), size)]
    return fold(CHAT, [each for piece in (*pieces, TextDelta(finish_reason=reason)) for each in tell(piece)]).choices[0]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("begin", "text", "thought", "answer"),
    [
        ("start", "<think>\nHm. So\n it is <\n</think>\n\nYes.\n", "Hm. So\n it is <", "Yes.\n"),
        ("thought", "\nHm.\n</think>\n\nYes.", "Hm.", "Yes."),
        ("start", "<think>\n\n</think>\n\nYes.", "", "Yes."),
        ("start", "\n <think>Hm.</think>Yes <think>no</think>", "Hm.", "Yes <think>no</think>"),
        ("start", " Yes </think>.", "", " Yes </think>."),
        ("start", "<thin", "", "<thin"),
        ("start", "<think>cut short </thi", "cut short </thi", ""),
        ("start", "", "", ""),
        (None, "<think>a</think>b", "", "<think>a</think>b"),
    ],
)
def test_a_thought_is_told_apart_however_the_text_is_cut(size, begin, text, thought, answer):
    choice = told(text, size, begin, reason="length")
    assert (choice.reasoning, choice.text, choice.finish_reason) == (thought, answer, "length")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_call_that_was_only_thought_of_is_not_made(size):
    chat = Chat(messages=CHAT.messages, tools=(Tool("f"),))
    choice = told(f"<think>{CALL}?</think>\n{CALL}", size, "start", _with_calls(chat, _with_thoughts(chat, "start")))
    assert (choice.reasoning, choice.text, [call.name for call in choice.tool_calls]) == (f"{CALL}?", "", ["f"])
