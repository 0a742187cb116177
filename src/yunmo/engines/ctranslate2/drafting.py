"""Each request as a draft: what the model reads, how the text is found, and what becomes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from yunmo.core.choosing import Choosing, beams_of, choosing_of
from yunmo.core.engine import Result
from yunmo.core.errors import Unsupported
from yunmo.core.generating import prompt_tokens, room_after, tokens_to_follow
from yunmo.core.rewriting import Rewriting, tokens_to_write, until_stop
from yunmo.core.tasks import Choice, Choices, FinishReason, Generate, Summarize, Texts, Translate
from yunmo.core.usage import Usage
from yunmo.engines.ctranslate2.choosing import Wish
from yunmo.engines.ctranslate2.converted import Converted
from yunmo.engines.ctranslate2.reading import Reader
from yunmo.engines.ctranslate2.searching import Written
from yunmo.engines.ctranslate2.settings import Rules, Search, defaults_of, first_token, rules_of, search_of


@dataclass(frozen=True, slots=True)
class Draft:
    """One request: `rows` texts that begin with `first` are written for `source`, and `finish` makes the answer of them."""

    source: list[int]
    first: int | None
    how: Search | Wish
    rows: int
    finish: Callable[[Sequence[Written]], Result]


class Drafter:
    """Makes drafts for one model. `most_tokens` is the plan's limit on what is written, below the model's own."""

    def __init__(self, reader: Reader, config: Any, tokenizer: Any, facts: Converted, most_tokens: int) -> None:
        self._reader = reader
        self._config = config
        self._rewriting = Rewriting(config, tokenizer)
        self._facts = facts
        self._defaults = defaults_of(facts.settings)
        self._most_tokens = most_tokens

    def rewrite(self, request: Translate | Summarize) -> Draft:
        """The draft of a translation or summary of one text."""
        told = self._rewriting.instruction(request)
        settings = self._facts.settings | told.settings
        sampling = request.sampling
        most_tokens = min(tokens_to_write(sampling, told.settings, self._defaults, self._config), self._most_tokens)
        beams = beams_of(sampling, settings.get("num_beams"))
        choosing = choosing_of(sampling, self._defaults, self._reader.vocabulary)
        source = self._reader.encode(told.pair, request.texts[0], truncate=request.truncate)
        rules = rules_of(settings, most_tokens, self._facts.rows)
        how = search_of(settings, rules, beams, sampling, choosing) or self._wish(choosing, rules, None)
        return Draft(source, first_token(settings), how, 1, partial(self._rewritten, request, len(source)))

    def generate(self, request: Generate) -> Draft:
        """The draft of a prompt's continuations."""
        settings, sampling = self._facts.settings, request.sampling
        prompt, characters = prompt_tokens(request, self._reader.encode_prompt, self._reader.vocabulary)
        room = room_after(prompt, request, self._reader.limit, has_encoder=True)
        most_tokens = min(tokens_to_follow(sampling.max_tokens, self._defaults.max_new_tokens, room), self._most_tokens)
        beams = beams_of(sampling, None)
        if beams > 1 and (request.top_logprobs is not None or request.choices > 1):
            raise Unsupported("beam search gives one text without log probabilities", param="num_beams")
        choosing = choosing_of(sampling, self._defaults, self._reader.vocabulary)
        rules = rules_of(settings, most_tokens, self._facts.rows)
        how = None if most_tokens == 0 or request.top_logprobs is not None else search_of(settings, rules, beams, sampling, choosing)
        finish = partial(self._generated, request, rules, Usage(input_tokens=len(prompt), characters=characters))
        return Draft(
            self._reader.known(prompt, "prompt"),
            first_token(settings),
            how or self._wish(choosing, rules, request.top_logprobs),
            request.choices,
            finish,
        )

    def _wish(self, choosing: Choosing, rules: Rules, top_logprobs: int | None) -> Wish:
        start = int(self._facts.settings.get("decoder_start_token_id", -1))
        return Wish(choosing, rules, start, top_logprobs, self._reader.name)

    def _rewritten(self, request: Translate | Summarize, read: int, written: Sequence[Written]) -> Result:
        tokens = written[0].tokens
        text = until_stop(self._reader.decode(tokens), request.sampling.stop).strip()
        return Texts(texts=(text,)), Usage(input_tokens=read, output_tokens=len(tokens), characters=len(request.texts[0]))

    def _generated(self, request: Generate, rules: Rules, read: Usage, written: Sequence[Written]) -> Result:
        choices, count = [], 0
        for each in written:
            choice, tokens = self._choice(each, rules, request.sampling.stop)
            choices.append(choice)
            count += tokens
        return Choices(choices=tuple(choices)), read + Usage(output_tokens=count)

    def _choice(self, written: Written, rules: Rules, stop: tuple[str, ...]) -> tuple[Choice, int]:
        """The choice up to its first stop string, and how many tokens that took."""
        is_ended = bool(written.tokens) and written.tokens[-1] in rules.ends
        tokens = written.tokens[:-1] if is_ended else written.tokens
        text, logprobs = self._reader.decode(tokens), written.logprobs[: len(tokens)]
        reason: FinishReason = "stop" if is_ended else "length"
        cut = until_stop(text, stop)
        if cut == text:
            return Choice(text=text, finish_reason=reason, logprobs=logprobs), len(written.tokens)
        taken = next(count for count in range(1, len(tokens) + 1) if until_stop(part := self._reader.decode(tokens[:count]), stop) != part)
        kept = tuple(each for count, each in enumerate(logprobs) if len(self._reader.decode(tokens[:count])) < len(cut))
        return Choice(text=cut, finish_reason="stop", logprobs=kept), taken
