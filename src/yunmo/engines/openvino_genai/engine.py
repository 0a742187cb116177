"""A decoder that chats and generates, on OpenVINO GenAI's continuous batching."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from yunmo.core.engine import Plan, Progress, read_options
from yunmo.core.errors import ContextTooLong, Unavailable, Unsupported, YunmoError
from yunmo.core.tasks import Chat, FinishReason, Generate, Output, Request, TextDelta, TokenLogprob, task_name
from yunmo.core.usage import Usage
from yunmo.engines.openvino_genai.asking import Asked, asked
from yunmo.engines.openvino_genai.derive import derive
from yunmo.engines.openvino_genai.kind import CONTEXT_TOKENS, OpenVinoGenAiOptions
from yunmo.engines.openvino_genai.requests import check, config_of
from yunmo.engines.openvino_genai.running import Generation, Running, Written
from yunmo.engines.openvino_genai.sources import source
from yunmo.engines.openvino_genai.text import Text
from yunmo.engines.openvino_genai.trials import Trials
from yunmo.engines.openvino_genai.writing import Writer

_CONTEXT_OF_FIRST_TOKEN = 8


class OpenVinoGenAiEngine:
    """One model behind a thread that steps all requests together."""

    def __init__(self, running: Running, text: Text, trials: Trials, context_tokens: int) -> None:
        self.tasks: tuple[str, ...] = ("chat", "generate") if text.chats else ("generate",)
        self._running = running
        self._text = text
        self._trials = trials
        self._context_tokens = context_tokens
        self._closed = False

    @classmethod
    def load(cls, directory: Path, derived: Path, plan: Plan, progress: Progress) -> "OpenVinoGenAiEngine":
        """Load the repository's model, converted first if need be."""
        options = read_options(plan, OpenVinoGenAiOptions)
        read = source(directory, derived, options.file, progress)
        context_tokens = min(plan.context_tokens or CONTEXT_TOKENS, read.decoder.context_tokens)
        text = Text(read.texts, read.decoder.vocabulary)
        graph = derive(read, derived, plan.precision or "int8", text.ends, progress)
        progress("loading", 0.9)
        running = Running(graph, plan, context_tokens)
        progress("loading", 1.0)
        return cls(running, text, Trials(graph, text.ends), context_tokens)

    async def stream(self, request: Request) -> AsyncGenerator[Output | Usage, None]:
        """Answer with deltas, then the usage."""
        if self._closed:
            raise Unavailable("The model is being unloaded; ask again.")
        if task_name(request) not in self.tasks:
            raise Unsupported(f"This model has no task “{task_name(request)}”; it has {', '.join(self.tasks)}.")
        assert isinstance(request, Chat | Generate)
        check(request)
        with self._running.arriving():
            read = await asyncio.to_thread(asked, self._text, request)
        self._check_length(read.prompt, request)
        if read.constraint is not None:
            await asyncio.to_thread(self._check_form, read)
        if isinstance(request, Generate) and request.echo:
            for choice in range(request.choices):
                yield TextDelta(choice=choice, text=self._text.spelled(request.prompt))
        answers = self._choices(request, read)
        async with contextlib.aclosing(answers):
            async for item in answers:
                yield item

    async def close(self) -> None:
        """Stop what is under way and free the model."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._running.close)
            await asyncio.to_thread(self._text.close)
            await asyncio.to_thread(self._trials.close)

    def _check_length(self, prompt: Sequence[int], request: Request) -> None:
        if len(prompt) >= self._context_tokens:
            raise ContextTooLong(
                f"The prompt has {len(prompt)} tokens, but this deployment reads at most {self._context_tokens - 1}. "
                "Shorten it, or raise the deployment's context_tokens.",
                param="messages" if isinstance(request, Chat) else "prompt",
            )

    def _check_form(self, read: Asked) -> None:
        assert read.constraint is not None
        if not self._text.ends:
            raise Unsupported("This model has no token that ends a text, so it cannot be held to a form.", param=read.constrained_by)
        self._trials.check(read.constraint, read.constrained_by)

    async def _choices(self, request: Chat | Generate, read: Asked) -> AsyncGenerator[TextDelta | Usage, None]:
        """The first choice alone until its first token: the others then find the prompt's keys and values in the cache."""
        prompt = read.prompt
        room = self._context_tokens - len(prompt)
        configs = [config_of(request, self._text, room, each) for each in range(request.choices)]
        context = () if isinstance(request, Chat) else prompt[-_CONTEXT_OF_FIRST_TOKEN:]
        mail = _Mail(asyncio.get_running_loop())
        choices = [
            _Choice(number, Writer(self._text.tokenizer, request.sampling.stop, context), self._text, request.top_logprobs is not None)
            for number in range(request.choices)
        ]
        generations = [
            Generation(prompt, configs[each.number], read.constraint, mail.told_of(each.number), mail.failed) for each in choices
        ]
        try:
            self._running.submit(generations[0])
            left, has_begun = len(choices), False
            while left:
                number, written = await mail.next()
                if not has_begun:
                    has_begun = True
                    yield Usage(input_tokens=len(prompt))
                    for generation in generations[1:]:
                        self._running.submit(generation)
                for delta in choices[number].read(written):
                    for told in read.tell(delta):
                        yield told
                    if delta.finish_reason:
                        left -= 1
                        generations[number].cancelled = True
            yield Usage(input_tokens=len(prompt), output_tokens=sum(each.tokens for each in choices))
        finally:
            for generation in generations:
                generation.cancelled = True


class _Choice:
    """One answer while it is written."""

    def __init__(self, number: int, writer: Writer, text: Text, has_logprobs: bool) -> None:
        self.number = number
        self.tokens = 0
        self._is_over = False
        self._writer = writer
        self._text = text
        self._has_logprobs = has_logprobs

    def read(self, written: Written) -> list[TextDelta]:
        """The deltas of some tokens, one a token."""
        found: list[TextDelta] = []
        if self._is_over:
            return found
        for token, logprob in zip(written.tokens, written.logprobs, strict=True):
            self.tokens += 1
            if token in self._text.ends:
                return [*found, self._ended("stop")]
            said = self._writer.write(token)
            if said or self._has_logprobs:
                found.append(TextDelta(choice=self.number, text=said, logprobs=self._logprobs(token, logprob)))
            if self._writer.is_stopped:
                return [*found, self._ended("stop")]
        return [*found, self._ended("length")] if written.is_last else found

    def _logprobs(self, token: int, logprob: float) -> tuple[TokenLogprob, ...]:
        return (TokenLogprob(self._text.spelled((token,)), logprob, token),) if self._has_logprobs else ()

    def _ended(self, reason: FinishReason) -> TextDelta:
        self._is_over = True
        return TextDelta(choice=self.number, text=self._writer.rest(), finish_reason=reason)


class _Mail:
    """Tokens from the stepping thread, read on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[int, Written] | YunmoError] = deque()
        self._awake = asyncio.Event()

    def told_of(self, number: int) -> "_Told":
        """The ear of one choice."""
        return _Told(self, number)

    def failed(self, error: YunmoError) -> None:
        """Receive an error; on any thread."""
        self.put(error)

    def put(self, item: tuple[int, Written] | YunmoError) -> None:
        """Receive something; on any thread."""
        self._arrived.append(item)
        with contextlib.suppress(RuntimeError):  # the loop has gone: nobody waits any more
            self._loop.call_soon_threadsafe(self._awake.set)

    async def next(self) -> tuple[int, Written]:
        """The choice's number and what was written of it. Raises the error that came instead."""
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

    def __call__(self, written: Written) -> None:
        self._mail.put((self._number, written))
