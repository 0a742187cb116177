"""A decoder that chats and generates, on OpenVINO GenAI's continuous batching."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from yunmo.core.engine import Plan, Progress
from yunmo.core.errors import ContextTooLong, Unavailable, Unsupported, YunmoError
from yunmo.core.tasks import Chat, FinishReason, Generate, Output, Request, TextDelta, task_name
from yunmo.core.usage import Usage
from yunmo.engines.openvino_genai.derive import derive, described
from yunmo.engines.openvino_genai.kind import CONTEXT_TOKENS
from yunmo.engines.openvino_genai.requests import check, config_of
from yunmo.engines.openvino_genai.running import Generation, Running
from yunmo.engines.openvino_genai.text import Text
from yunmo.engines.openvino_genai.writing import Writer

_CONTEXT_OF_FIRST_TOKEN = 8


class OpenVinoGenAiEngine:
    """One model behind a thread that steps all requests together."""

    def __init__(self, running: Running, text: Text, context_tokens: int) -> None:
        self.tasks: tuple[str, ...] = ("chat", "generate") if text.chats else ("generate",)
        self._running = running
        self._text = text
        self._context_tokens = context_tokens
        self._closed = False

    @classmethod
    def load(cls, directory: Path, derived: Path, plan: Plan, progress: Progress) -> "OpenVinoGenAiEngine":
        """Load the repository's model, converted first if need be."""
        decoder = described(directory)
        context_tokens = min(plan.context_tokens or CONTEXT_TOKENS, decoder.context_tokens)
        graph = derive(directory, derived, plan.precision or "int8", progress)
        progress("loading", 0.9)
        text = Text(directory, decoder.vocabulary)
        running = Running(graph, plan, context_tokens)
        progress("loading", 1.0)
        return cls(running, text, context_tokens)

    async def stream(self, request: Request) -> AsyncGenerator[Output | Usage, None]:
        """Answer with deltas, then the usage."""
        if self._closed:
            raise Unavailable("The model is being unloaded; ask again.")
        if task_name(request) not in self.tasks:
            raise Unsupported(f"This model has no task “{task_name(request)}”; it has {', '.join(self.tasks)}.")
        assert isinstance(request, Chat | Generate)
        check(request)
        prompt = await asyncio.to_thread(self._text.prompt_ids, request)
        self._check_length(prompt, request)
        if isinstance(request, Generate) and request.echo:
            for choice in range(request.choices):
                yield TextDelta(choice=choice, text=self._text.spelled(request.prompt))
        answers = self._choices(request, prompt)
        async with contextlib.aclosing(answers):
            async for item in answers:
                yield item

    async def close(self) -> None:
        """Stop what is under way and free the model."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._running.close)
            await asyncio.to_thread(self._text.close)

    def _check_length(self, prompt: Sequence[int], request: Request) -> None:
        if len(prompt) >= self._context_tokens:
            raise ContextTooLong(
                f"The prompt has {len(prompt)} tokens, but this deployment reads at most {self._context_tokens - 1}. "
                "Shorten it, or raise the deployment's context_tokens.",
                param="messages" if isinstance(request, Chat) else "prompt",
            )

    async def _choices(self, request: Chat | Generate, prompt: Sequence[int]) -> AsyncGenerator[TextDelta | Usage, None]:
        """The first choice alone until its first token: the others then find the prompt's keys and values in the cache."""
        room = self._context_tokens - len(prompt)
        configs = [config_of(request.sampling, self._text.defaults, self._text.ends, room, each) for each in range(request.choices)]
        context = () if isinstance(request, Chat) else prompt[-_CONTEXT_OF_FIRST_TOKEN:]
        mail = _Mail(asyncio.get_running_loop())
        choices = [
            _Choice(number, Writer(self._text.tokenizer, request.sampling.stop, context), self._text.ends)
            for number in range(request.choices)
        ]
        generations = [Generation(prompt, configs[each.number], mail.told_of(each.number), mail.failed) for each in choices]
        try:
            self._running.submit(generations[0])
            left, has_begun = len(choices), False
            while left:
                number, tokens, is_last = await mail.next()
                if not has_begun:
                    has_begun = True
                    yield Usage(input_tokens=len(prompt))
                    for generation in generations[1:]:
                        self._running.submit(generation)
                for delta in choices[number].read(tokens, is_last):
                    yield delta
                    if delta.finish_reason:
                        left -= 1
                        generations[number].cancelled = True
            yield Usage(input_tokens=len(prompt), output_tokens=sum(each.tokens for each in choices))
        finally:
            for generation in generations:
                generation.cancelled = True


class _Choice:
    """One answer while it is written."""

    def __init__(self, number: int, writer: Writer, ends: frozenset[int]) -> None:
        self.number = number
        self.tokens = 0
        self._is_over = False
        self._writer = writer
        self._ends = ends

    def read(self, tokens: Sequence[int], is_last: bool) -> list[TextDelta]:
        """The deltas of some tokens, one a token."""
        found: list[TextDelta] = []
        if self._is_over:
            return found
        for token in tokens:
            self.tokens += 1
            if token in self._ends:
                return [*found, self._ended("stop")]
            if text := self._writer.write(token):
                found.append(TextDelta(choice=self.number, text=text))
            if self._writer.is_stopped:
                return [*found, self._ended("stop")]
        return [*found, self._ended("length")] if is_last else found

    def _ended(self, reason: FinishReason) -> TextDelta:
        self._is_over = True
        return TextDelta(choice=self.number, text=self._writer.rest(), finish_reason=reason)


class _Mail:
    """Tokens from the stepping thread, read on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[int, Sequence[int], bool] | YunmoError] = deque()
        self._awake = asyncio.Event()

    def told_of(self, number: int) -> "_Told":
        """The ear of one choice."""
        return _Told(self, number)

    def failed(self, error: YunmoError) -> None:
        """Receive an error; on any thread."""
        self.put(error)

    def put(self, item: tuple[int, Sequence[int], bool] | YunmoError) -> None:
        """Receive something; on any thread."""
        self._arrived.append(item)
        with contextlib.suppress(RuntimeError):  # the loop has gone: nobody waits any more
            self._loop.call_soon_threadsafe(self._awake.set)

    async def next(self) -> tuple[int, Sequence[int], bool]:
        """The choice's number, its new tokens and whether they are the last. Raises the error that came instead."""
        while not self._arrived:
            await self._awake.wait()
            self._awake.clear()
        item = self._arrived.popleft()
        if isinstance(item, YunmoError):
            raise item
        return item


class _Told:
    def __init__(self, mail: _Mail, number: int) -> None:
        self._mail = mail
        self._number = number

    def __call__(self, tokens: Sequence[int], is_last: bool) -> None:
        self._mail.put((self._number, tokens, is_last))
