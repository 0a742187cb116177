"""Chat and text generation with decoder-only models, token by token."""

from collections.abc import Mapping, Sequence
from typing import Any

from yunmo.core.choosing import Choosing, beams_of, choosing_of
from yunmo.core.engine import Engine
from yunmo.core.errors import EngineFailed, Unsupported
from yunmo.core.generating import prompt_tokens, room_after, tokens_to_follow
from yunmo.core.tasks import Chat, Generate, TextDelta, TokenLogprob
from yunmo.core.usage import Usage
from yunmo.engines.chats.templates import Renderer, values_of
from yunmo.engines.transformers import decoding
from yunmo.engines.transformers.decoding import Chooser, Watcher, Writer
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Job, Threaded

_CHOICES_AT_ONCE = 8


def decoder(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> Engine:
    """The engine of language models."""
    generator = Generator(checkpoint)
    if "chat" not in tasks:
        return Threaded(tasks, {Generate: generator.generate}, checkpoint.plan)
    template = template_of(checkpoint.tokenizer)
    if template is None:
        raise EngineFailed("the model has no chat template: add one to its tokenizer, or deploy it for generate only")
    renderer = Renderer(template, checkpoint.tokenizer.special_tokens_map)
    return _ChatEngine(tasks, generator, renderer, checkpoint)


def template_of(tokenizer: Any) -> str | None:
    """The tokenizer's template for chats; the one called default where there are several."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, Mapping):
        return template.get("default")
    if isinstance(template, Sequence) and not isinstance(template, str):
        return next((each["template"] for each in template if each.get("name") == "default"), None)
    return template


class _ChatEngine(Threaded):
    """A Threaded engine that owns the process which renders its template."""

    def __init__(self, tasks: tuple[str, ...], generator: "Generator", renderer: Renderer, checkpoint: Checkpoint) -> None:
        def chat(request: Chat, job: Job) -> Usage:
            if request.tools and request.tool_choice != "none":
                raise Unsupported("this engine does not read tool calls; deploy the model as GGUF, or send no tools", param="tools")
            prompt = generator.encode(renderer.render([values_of(each) for each in request.messages]), special=False)
            return generator.write(prompt, request, job, characters=sum(len(each.content or "") for each in request.messages))

        super().__init__(tasks, {Chat: chat, Generate: generator.generate}, checkpoint.plan)
        self._renderer = renderer

    async def close(self) -> None:
        """Close the engine and its template process."""
        await super().close()
        self._renderer.close()


class Generator:
    """Continues prompts with a model; `encoder` models read the prompt whole and write from an empty page."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._model = checkpoint.model
        self._has_encoder = bool(checkpoint.config.is_encoder_decoder)
        self._ends = decoding.end_tokens(checkpoint.model)
        self._vocabulary = int(checkpoint.config.get_text_config().vocab_size)

    def generate(self, request: Generate, job: Job) -> Usage:
        """Continue a prompt, streaming deltas into the job."""
        prompt, characters = prompt_tokens(request, lambda text: self.encode(text, special=True), self._vocabulary)
        if request.echo and not self._has_encoder:
            self._echo(prompt, request, job)
        return self.write(prompt, request, job, characters)

    def encode(self, text: str, *, special: bool) -> list[int]:
        """The prompt's tokens, with the special ones around it if told."""
        with self._checkpoint.lock:
            return list(self._checkpoint.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def write(self, prompt: list[int], request: Chat | Generate, job: Job, characters: int) -> Usage:
        """Write every choice; returns what it took."""
        default = getattr(self._model.generation_config, "max_new_tokens", None)
        max_tokens = tokens_to_follow(request.sampling.max_tokens, default, self._room(prompt, request))
        written = 0
        job.emit(Usage(input_tokens=len(prompt), characters=characters))
        for first in range(0, request.choices, _CHOICES_AT_ONCE):
            choices = range(first, min(first + _CHOICES_AT_ONCE, request.choices))
            written += self._write_together(prompt, request, job, choices, max_tokens)
        return Usage(input_tokens=len(prompt), output_tokens=written, characters=characters)

    def _write_together(self, prompt: list[int], request: Chat | Generate, job: Job, choices: range, max_tokens: int) -> int:
        import torch

        sampling = request.sampling
        writers = [Writer(job, choice, self._decode, [] if self._has_encoder else prompt, sampling.stop) for choice in choices]
        for writer in writers:
            writer.ends = self._ends
        beams = beams_of(sampling, None)
        if max_tokens > 0 and beams > 1:
            self._search(prompt, request, job, writers, max_tokens)
        elif max_tokens > 0:
            defaults = self._model.generation_config
            choosing = choosing_of(sampling, defaults, self._vocabulary)
            chooser = Chooser(_for_rows(choosing, choices), len(writers), request.top_logprobs, self._name)
            inputs = torch.tensor([prompt]).repeat(len(writers), 1)
            self._model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                generation_config=decoding.generation_config(self._model, max_tokens),
                logits_processor=[chooser],
                stopping_criteria=[Watcher(job, writers, chooser)],
            )
        for writer in writers:
            writer.finish("length")
        return sum(writer.count for writer in writers)

    def _search(self, prompt: list[int], request: Chat | Generate, job: Job, writers: list[Writer], max_tokens: int) -> None:
        """Beam search: the text is known only at its end, so it comes in one piece."""
        import torch

        if request.top_logprobs is not None or request.choices > 1:
            raise Unsupported("beam search gives one text without log probabilities", param="num_beams")
        inputs = torch.tensor([prompt])
        config = decoding.generation_config(self._model, max_tokens, request.sampling.beams or 1)
        if request.sampling.repetition_penalty is not None:
            config.repetition_penalty = request.sampling.repetition_penalty
        ids = self._model.generate(
            inputs, attention_mask=torch.ones_like(inputs), generation_config=config, stopping_criteria=[Watcher(job)]
        )[0].tolist()
        for token in ids[1 if self._has_encoder else len(prompt) :]:
            if not writers[0].is_finished:
                writers[0].add(token)

    def _room(self, prompt: list[int], request: Chat | Generate) -> int | None:
        """How many tokens may follow the prompt; None where there is no limit."""
        return room_after(prompt, request, self._checkpoint.context_tokens, has_encoder=self._has_encoder)

    def _echo(self, prompt: list[int], request: Generate, job: Job) -> None:
        """Send the prompt first, with the log probability of each of its tokens (0 for the first, which nothing precedes)."""
        import torch

        text = request.prompt if isinstance(request.prompt, str) and request.truncate_prompt_tokens is None else self._decode(prompt)
        logprobs: tuple[TokenLogprob, ...] = ()
        if request.top_logprobs is not None:
            self._room(prompt, request)
            scores = self._model(torch.tensor([prompt])).logits[0]
            following = decoding.logprobs_of(scores[:-1], prompt[1:], request.top_logprobs, self._name)
            logprobs = (TokenLogprob(token=self._name(prompt[0]), logprob=0.0, id=prompt[0]), *following)
        for choice in range(request.choices):
            job.emit(TextDelta(choice=choice, text=text, logprobs=logprobs))

    def _decode(self, ids: list[int]) -> str:
        return str(self._checkpoint.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _name(self, token: int) -> str:
        return str(self._checkpoint.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _for_rows(choosing: Choosing, choices: Sequence[int]) -> Choosing:
    """The same, with the seed moved on by the choices that other batches have written."""
    import dataclasses

    return choosing if choosing.seed is None else dataclasses.replace(choosing, seed=choosing.seed + choices[0])
