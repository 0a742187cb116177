"""A GGUF model that chats and generates, on llama.cpp's own continuous batching."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from yunmo.core.engine import Adapter, Draft, Plan, Progress, read_options
from yunmo.core.errors import EngineFailed, InvalidRequest, Unavailable, Unsupported, YunmoError
from yunmo.core.tasks import Chat, Embed, Generate, Output, Request, TextDelta, Vectors, task_name
from yunmo.core.tool_calls import Rewriting
from yunmo.core.usage import Usage
from yunmo.engines.llama_cpp import embeddings
from yunmo.engines.llama_cpp.answers import Answer
from yunmo.engines.llama_cpp.constraints import Constraints
from yunmo.engines.llama_cpp.converted import chat_template
from yunmo.engines.llama_cpp.derive import NO_ADAPTERS, Adapters, derive, derive_adapters
from yunmo.engines.llama_cpp.drafts import derive_draft
from yunmo.engines.llama_cpp.options import CONTEXT_TOKENS, LlamaCppOptions
from yunmo.engines.llama_cpp.requests import Body, chat_body, generate_body, with_seed, with_tools_written_out
from yunmo.engines.llama_cpp.server import Server

_SPARE_THREADS = 4
"""For calls that only count tokens while every slot has its own thread."""

_T = TypeVar("_T")


class LlamaCppEngine:
    """One model behind llama.cpp's slots. A call blocks a thread; its chunks wake the event loop once, however many have come."""

    def __init__(self, server: Server, plan: Plan, tasks: tuple[str, ...], adapters: Adapters = NO_ADAPTERS) -> None:
        self.tasks = tasks
        self._server = server
        self._adapters = adapters
        self._slots = plan.slots
        self._context_tokens = plan.context_tokens or CONTEXT_TOKENS
        self._threads = ThreadPoolExecutor(plan.slots + _SPARE_THREADS, thread_name_prefix="llama")
        self._calls: set[_Call] = set()
        self._constraints = Constraints(server)
        self._closed = False

    @classmethod
    def load(
        cls,
        directory: Path,
        derived: Path,
        plan: Plan,
        progress: Progress,
        adapters: Sequence[Adapter] = (),
        draft: Draft | None = None,
    ) -> "LlamaCppEngine":
        """Load the plan's file, made first if need be; without a chat template of its own a converted model only generates."""
        options = read_options(plan, LlamaCppOptions)
        progress("loading", 0.0)
        file, facts = derive(directory, derived, plan, progress)
        made = derive_adapters(adapters, file, derived, progress) if adapters else NO_ADAPTERS
        proposing = derive_draft(draft, file, progress) if draft is not None else None
        composes = facts is not None and facts.normalizes
        try:
            server = Server(file, plan, composes=composes, adapters=made.files, draft=proposing)
        except EngineFailed as error:
            if not made.files:
                raise
            made = made.without(error.message)
            server = Server(file, plan, composes=composes, draft=proposing)
        progress("loading", 1.0)
        if options.embedding:
            return cls(server, plan, ("embed",))
        tasks = ("generate",) if facts is not None and chat_template(directory) is None else ("chat", "generate")
        return cls(server, plan, tasks, made)

    async def stream(self, request: Request) -> AsyncGenerator[Output | Usage, None]:
        """Answer a chat or a generation with deltas, an embedding whole; then the usage."""
        if self._closed:
            raise Unavailable("The model is being unloaded; ask again.")
        if task_name(request) not in self.tasks:
            raise Unsupported(f"This model has no task “{task_name(request)}”; it has {', '.join(self.tasks)}.")
        if isinstance(request, Embed):
            vectors, usage = await self._in_thread(lambda: self._embed(request))
            yield vectors
            yield usage
            return
        assert isinstance(request, Chat | Generate)
        deltas = self._chat(request) if isinstance(request, Chat) else self._generate(request)
        async with contextlib.aclosing(deltas):
            async for item in deltas:
                yield item

    async def close(self) -> None:
        """Stop what is under way and free the model."""
        if self._closed:
            return
        self._closed = True
        for call in self._calls:
            call.cancelled = True
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._server.close)

    async def _chat(self, request: Chat) -> AsyncGenerator[Output | Usage, None]:
        body = chat_body(request)
        rewriting = None
        if "tools" in body and not await self._in_thread(lambda: self._constraints.template_has_tools):
            rewriting = Rewriting.of(request)
            body = with_tools_written_out(body, rewriting)
        answers = self._answers(request, body, self._server.chat)
        async with contextlib.aclosing(answers):
            async for item in answers:
                if rewriting is None or isinstance(item, Usage):
                    yield item
                elif (delta := rewriting.read(item)) is not None:
                    yield delta

    async def _generate(self, request: Generate) -> AsyncGenerator[Output | Usage, None]:
        body = generate_body(request, request.prompt)
        if "json_schema" in body:
            await self._in_thread(lambda: self._constraints.check_schema(body["json_schema"]))
        if request.truncate_prompt_tokens is not None:
            ids = await self._in_thread(lambda: self._prompt_ids(request.prompt))
            body["prompt"] = ids[-max(1, request.truncate_prompt_tokens) :]
        if request.echo:
            text = request.prompt if isinstance(request.prompt, str) else await self._in_thread(lambda: self._spelled(request.prompt))
            for choice in range(request.choices):
                yield TextDelta(choice=choice, text=text)
        answers = self._answers(request, body, self._server.generate)
        async with contextlib.aclosing(answers):
            async for item in answers:
                yield item

    def _prompt_ids(self, prompt: str | tuple[int, ...]) -> list[int]:
        return self._server.tokens(prompt) if isinstance(prompt, str) else list(prompt)

    def _spelled(self, prompt: str | tuple[int, ...]) -> str:
        return prompt if isinstance(prompt, str) else self._server.text(prompt)

    def _embed(self, request: Embed) -> tuple[Vectors, Usage]:
        return embeddings.embed(self._server, request, self._context_tokens)

    async def _answers(
        self, request: Chat | Generate, body: Body, handler: Callable[[bytes, Callable[[bytes], bool]], None]
    ) -> AsyncGenerator[TextDelta | Usage, None]:
        """All choices: as many at once as there are slots, which share the prompt's work."""
        usage = Usage()
        selected = self._server.selected(self._adapters.index(request.adapter))
        for first in range(0, request.choices, self._slots):
            count = min(self._slots, request.choices - first)
            wave = with_seed(body | selected, request.sampling, first) | {
                "n": count,
                "stream": True,
                "stream_options": {"include_usage": True},
                "return_progress": True,  # a chunk after every prompt batch, so that a cancellation is seen there too
            }
            call = _Call(Answer(request.top_logprobs, first), asyncio.get_running_loop())
            self._calls.add(call)
            try:
                self._threads.submit(call.run, handler, msgspec.json.encode(wave))
                async for item in call:
                    yield _after(usage, item) if isinstance(item, Usage) else item
            finally:
                call.cancelled = True
                self._calls.discard(call)
            usage = _after(usage, call.answer.usage())
        yield usage

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class _Call:
    """One call of the server: chunks come in on its thread, deltas go out on the event loop."""

    def __init__(self, answer: Answer, loop: asyncio.AbstractEventLoop) -> None:
        self.answer = answer
        self.cancelled = False
        self._loop = loop
        self._waiting: deque[TextDelta | Usage | YunmoError | None] = deque()
        self._awake = asyncio.Event()
        self._told = False

    def run(self, handler: Callable[[bytes, Callable[[bytes], bool]], None], body: bytes) -> None:
        """Make the call; runs on a thread of its own."""
        try:
            if not self.cancelled:
                handler(body, self._take)
        except ValueError as error:
            self._put(InvalidRequest(f"llama.cpp refused the request: {error}"))
        except RuntimeError as error:
            self._put(EngineFailed(f"llama.cpp failed on the request: {error}"))
        finally:
            self._put(None)

    def __aiter__(self) -> "_Call":
        return self

    async def __anext__(self) -> TextDelta | Usage:
        while not self._waiting:
            await self._awake.wait()
            self._awake.clear()
            self._told = False  # before looking again: what comes from now on wakes us
        item = self._waiting.popleft()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, YunmoError):
            raise item
        return item

    def _take(self, data: bytes) -> bool:
        """Read a chunk; True ends the generation."""
        if self.cancelled:
            return True
        try:
            for item in self.answer.read(data):
                self._put(item)
        except YunmoError as error:
            self._put(error)
            return True
        except msgspec.MsgspecError as error:
            self._put(EngineFailed(f"llama.cpp sent a chunk that cannot be read: {error}"))
            return True
        return False

    def _put(self, item: TextDelta | Usage | YunmoError | None) -> None:
        self._waiting.append(item)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop has gone: nobody waits any more
                self._loop.call_soon_threadsafe(self._awake.set)


def _after(earlier: Usage, spent: Usage) -> Usage:
    """The price of a wave of choices with those before it, which paid for the same prompt."""
    return msgspec.structs.replace(spent, output_tokens=earlier.output_tokens + spent.output_tokens)
