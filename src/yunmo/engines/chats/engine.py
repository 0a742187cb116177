"""The engine of a decoder that chats and generates, whichever library runs it: read the request, tell what is written."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from yunmo.core.errors import ContextTooLong, Unavailable, Unsupported
from yunmo.core.tasks import Chat, Generate, Output, Request, TextDelta, task_name
from yunmo.core.usage import Usage
from yunmo.engines.chats.asking import Asked, asked
from yunmo.engines.chats.generations import Choice, Generation, Mail, Running
from yunmo.engines.chats.text import Text
from yunmo.engines.chats.trials import Trials
from yunmo.engines.chats.writing import Writer

_CONTEXT_OF_FIRST_TOKEN = 8


class ChatEngine(ABC):
    """One model behind a thread that steps all requests together. A library's engine says what it refuses and how it samples."""

    def __init__(self, running: Running, text: Text, trials: Trials, context_tokens: int) -> None:
        self.tasks: tuple[str, ...] = ("chat", "generate") if text.chats else ("generate",)
        self._running = running
        self._text = text
        self._trials = trials
        self._context_tokens = context_tokens
        self._closed = False

    async def stream(self, request: Request) -> AsyncGenerator[Output | Usage, None]:
        """Answer with deltas, then the usage."""
        if self._closed:
            raise Unavailable("The model is being unloaded; ask again.")
        if task_name(request) not in self.tasks:
            raise Unsupported(f"This model has no task “{task_name(request)}”; it has {', '.join(self.tasks)}.")
        assert isinstance(request, Chat | Generate)
        self._check(request)
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

    @abstractmethod
    def _check(self, request: Chat | Generate) -> None:
        """Raise Unsupported or InvalidRequest for what cannot be answered as asked."""

    @abstractmethod
    def _config(self, request: Chat | Generate, room: int, choice: int) -> Any:
        """How one choice is written, in the library's words: at most `room` tokens. Raises InvalidRequest."""

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
        configs = [self._config(request, room, each) for each in range(request.choices)]
        context = () if isinstance(request, Chat) else prompt[-_CONTEXT_OF_FIRST_TOKEN:]
        mail = Mail(asyncio.get_running_loop())
        choices = [
            Choice(number, Writer(self._text.tokenizer, request.sampling.stop, context), self._text, request.top_logprobs is not None)
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
