import asyncio
import math
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from yunmo.core.engine import Hardware, ModelDescription, Plan
from yunmo.core.errors import EngineFailed, InvalidRequest, Unsupported
from yunmo.core.tasks import (
    Chat,
    Choices,
    Classify,
    Embed,
    Generate,
    Labels,
    Message,
    Output,
    Request,
    Sampling,
    Texts,
    Translate,
    Vectors,
    fold,
)
from yunmo.core.usage import Usage
from yunmo.engines.echo import EchoEngine, kind

MACHINE = Hardware(cores=2, memory_bytes=8 << 30)


def engine(**options) -> EchoEngine:
    loaded = kind.load(Path(), Path(), Plan(engine="echo", options=options), lambda _what, _share: None)
    assert isinstance(loaded, EchoEngine)
    return loaded


async def answer(echo: EchoEngine, request: Request) -> tuple[Output, Usage, int]:
    *items, usage = [item async for item in echo.stream(request)]
    assert isinstance(usage, Usage)
    chunks = [item for item in items if not isinstance(item, Usage)]
    return fold(request, chunks), usage, len(chunks)


def chat(text: str, **more) -> Chat:
    return Chat(messages=(Message(role="user", content=text),), **more)


def test_it_takes_the_built_in_repository_and_no_other():
    offer = kind.offer(ModelDescription(repository="echo", revision="1", files={}), MACHINE)
    assert offer is not None
    assert offer.tasks == ("classify",)
    assert offer.plan.slots == 64
    assert kind.offer(ModelDescription(repository="acme/echo", revision="1", files={}), MACHINE) is None


async def test_the_label_of_a_text_is_the_text():
    output, usage, _ = await answer(engine(), Classify(texts=("hello there", ("a", "b"))))
    assert isinstance(output, Labels)
    assert [[(each.label, each.score) for each in row] for row in output.rows] == [[("hello there", 1.0)], [("a b", 1.0)]]
    assert usage == Usage(input_tokens=4, characters=14)


async def test_a_translation_is_the_text_in_capitals():
    output, usage, chunks = await answer(engine(tasks=["translate"]), Translate(texts=("hello you", "a <b/> 1")))
    assert (output, chunks, usage.characters) == (Texts(texts=("HELLO YOU", "A <B/> 1")), 1, 17)


async def test_a_task_that_the_plan_does_not_name_is_refused():
    with pytest.raises(Unsupported, match="embed"):
        await answer(engine(), Embed(inputs=("a",)))
    with pytest.raises(InvalidRequest, match=r"tasks.*sing"):
        engine(tasks=["sing"])


@pytest.mark.parametrize("text", ["one two  three", "  padded ", "", "single", "tab\tand\nline"])
async def test_a_chat_echoes_the_last_user_message_word_by_word(text):
    output, usage, _ = await answer(engine(tasks=["chat"]), chat(text, choices=2))
    assert isinstance(output, Choices)
    assert [each.text for each in output.choices] == [text, text]
    assert {each.finish_reason for each in output.choices} == {"stop"}
    assert usage.input_tokens == len(text.split())


async def test_a_chat_streams_one_delta_per_word():
    _, usage, deltas = await answer(engine(tasks=["chat"]), chat("one two three"))
    assert deltas == 4
    assert usage.output_tokens == 3


async def test_max_tokens_and_stop_end_an_echo():
    echo = engine(tasks=["generate"])
    cut, usage, _ = await answer(echo, Generate(prompt="a b c", sampling=Sampling(max_tokens=2)))
    assert isinstance(cut, Choices)
    assert (cut.choices[0].text, cut.choices[0].finish_reason, usage.output_tokens) == ("a b", "length", 2)
    stopped, _, _ = await answer(echo, Generate(prompt=(1, 2, 3), sampling=Sampling(stop=("2",)), echo=True, top_logprobs=1))
    assert isinstance(stopped, Choices)
    assert stopped.choices[0].text == "1 2 3" + "1 "
    assert stopped.choices[0].logprobs[0].top[0].token.strip() == "1"


async def test_vectors_are_the_same_for_the_same_text_and_have_length_one():
    output, usage, _ = await answer(engine(tasks=["embed"]), Embed(inputs=("same", "same", "other")))
    assert isinstance(output, Vectors)
    first, second, third = output.vectors
    assert first == second != third
    assert math.isclose(sum(x * x for x in struct.unpack("<16f", first.data)), 1.0, rel_tol=1e-5)
    assert usage.input_tokens == 3
    per_token, _, _ = await answer(engine(tasks=["embed"]), Embed(inputs=("two words",), pooled=False, dimensions=4))
    assert isinstance(per_token, Vectors)
    assert per_token.vectors[0].shape == (2, 4)
    with pytest.raises(InvalidRequest):
        await answer(engine(tasks=["embed"]), Embed(inputs=("a",), dimensions=99))


async def test_it_fails_on_the_text_it_was_told_to_fail_on_and_goes_on():
    echo = engine(error_on="bad")
    with pytest.raises(EngineFailed):
        await answer(echo, Classify(texts=("bad",)))
    output, _, _ = await answer(echo, Classify(texts=("good",)))
    assert isinstance(output, Labels)


async def test_a_delayed_stream_can_be_cancelled_between_tokens():
    echo = engine(tasks=["chat"], delay_seconds=0.001)
    stream = echo.stream(chat("word " * 10_000))
    async with asyncio.timeout(5):
        await anext(stream)
        await stream.aclose()
    assert [chunk async for chunk in stream] == []


@pytest.mark.parametrize("options", [{"crash_on_load": True}, {"crash_on": "boom"}])
def test_a_crash_ends_the_process(options):
    program = f"""
import asyncio
from pathlib import Path
from yunmo.core.engine import Plan
from yunmo.core.tasks import Classify
from yunmo.engines.echo import kind
engine = kind.load(Path(), Path(), Plan(engine="echo", options={options!r}), print)
async def main():
    async for _ in engine.stream(Classify(texts=("boom",))): pass
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, capture_output=True).returncode == 70


async def test_the_memory_it_was_told_to_fill_is_given_back_on_close():
    echo = engine(memory_bytes=1 << 20)
    assert len(echo._ballast) == 1 << 20
    await echo.close()
    assert len(echo._ballast) == 0
