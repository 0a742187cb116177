"""Speculation changes the pace and nothing else: the same tokens, with adapters, forms and company too."""

import asyncio
import contextlib
import json

import pytest
from test_llama_cpp_conversion import answer, converted, plan

import tiny_adapters
import tiny_decoders
from yunmo.core.tasks import Generate, OutputFormat, Sampling, fold
from yunmo.core.usage import Usage
from yunmo.engines.llama_cpp.adapters import write_adapter
from yunmo.engines.llama_cpp.derive import Adapters
from yunmo.engines.llama_cpp.engine import LlamaCppEngine
from yunmo.engines.llama_cpp.server import Server

REPEATED = "the quick brown fox jumps over the lazy dog and " * 6
PROMPTS = (REPEATED, "hello", "hello world how are you " * 3, "something that never comes again")
LONG = Sampling(max_tokens=48, temperature=0.0, logit_bias={"0": -100.0, "1": -100.0, "2": -100.0})
FEW_WORDS = {str(token): -1000.0 for token in range(500) if token not in range(300, 305)}
"""With five tokens to choose from, even a random model soon says again what it has said."""

LOOPING = Sampling(max_tokens=60, temperature=0.0, logit_bias=FEW_WORDS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("speculation")
    base = tiny_decoders.build("llama", root / "base")
    converted(base, root)
    gguf = root / "llama_cpp" / "converted-F32.gguf"
    write_adapter(tiny_adapters.build(base, root / "adapter"), root / "one.gguf", [gguf])
    return gguf, root / "one.gguf"


@contextlib.contextmanager
def loaded(made, speculation):
    gguf, adapter = made
    its_plan = plan(options={"speculation": speculation} if speculation else {})
    server = Server(gguf, its_plan, is_exact=True, adapters=[adapter])
    engine = LlamaCppEngine(server, its_plan, ("generate",), Adapters(("one",), (adapter,), {}))
    try:
        yield engine
    finally:
        asyncio.run(engine.close())


def everything(engine):
    """Answers one after the other, then the same at once."""
    ways = [(sampling, prompt, adapter) for sampling in (LONG, LOOPING) for prompt in PROMPTS for adapter in (None, "one")]
    requests = [Generate(prompt=prompt, sampling=sampling, adapter=adapter) for sampling, prompt, adapter in ways]
    schema = '{"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":9}},"required":["a"],"additionalProperties":false}'
    requests += [Generate(prompt=REPEATED, sampling=LONG, output_format=OutputFormat("json_schema", schema))]
    requests += [Generate(prompt=REPEATED, sampling=Sampling(max_tokens=30, temperature=1.0, seed=seed)) for seed in (1, 2)]

    async def ask(request):
        async with contextlib.aclosing(engine.stream(request)) as stream:
            items = [item async for item in stream]
        return fold(request, [item for item in items if not isinstance(item, Usage)]).choices[0].text

    async def at_once():
        return await asyncio.gather(*(ask(request) for request in requests[6:12]))

    return [answer(engine, request)[0].choices[0].text for request in requests], asyncio.run(at_once())


def drafted(engine):
    """How many tokens were tried for a text that comes back to what it said, and how many of them were right."""
    chunks = []
    bias = [[int(token), value] for token, value in FEW_WORDS.items()]
    body = {"prompt": "hello", "max_tokens": 60, "temperature": 0, "logit_bias": bias, "stream": True, **engine._server.selected(None)}
    engine._server.generate(json.dumps(body).encode(), lambda data: bool(chunks.append(json.loads(data))))
    timings = [chunk["timings"] for chunk in chunks if "timings" in chunk][-1]
    return timings.get("draft_n", 0), timings.get("draft_n_accepted", 0)


def test_with_speculation_every_answer_is_the_same_and_tokens_are_really_tried(made):
    with loaded(made, None) as engine:
        expected = everything(engine)
        assert drafted(engine) == (0, 0)
    with loaded(made, "prompt_lookup") as engine:
        assert everything(engine) == expected
        tried, right = drafted(engine)
        assert tried > right > 0
