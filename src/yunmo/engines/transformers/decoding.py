"""Choose the next token, and write tokens out as text.

The library's `generate` runs the model and its caches; a `Chooser` takes every choice (with a random generator of its
request alone, which `generate` does not have) and a `Watcher` sees each token as soon as it is chosen.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from yunmo.core.choosing import Choosing
from yunmo.core.tasks import FinishReason, TextDelta, TokenLogprob
from yunmo.engines.transformers.running import Job

_REPLACEMENT = "\ufffd"


def generation_config(model: Any, max_tokens: int, beams: int = 1, **more: Any) -> Any:
    """The model's own generation config with its sampling switched off: a Chooser does that."""
    from transformers import GenerationConfig

    given = {name: value for name, value in model.generation_config.to_dict().items() if value is not None}
    for name in ("transformers_version", "max_length", "max_new_tokens", "num_return_sequences"):
        given.pop(name, None)
    neutral = {"do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50, "typical_p": 1.0}
    given.update(neutral, num_beams=beams, max_new_tokens=max_tokens, return_dict_in_generate=False, output_scores=False)
    given.pop("min_p", None)
    if beams == 1:
        # the Chooser does these, and beam settings without beams would only be warned about
        given["repetition_penalty"] = 1.0
        for name in ("early_stopping", "length_penalty", "num_beam_groups", "diversity_penalty"):
            given.pop(name, None)
    given.update(more)
    config = GenerationConfig(**given)
    if config.pad_token_id is None:
        config.pad_token_id = next(iter(end_tokens(model)), 0)
    # a maximum length of the model's would be filled in again beside max_new_tokens; both mean the shorter
    config.max_length = None
    return config


def end_tokens(model: Any) -> frozenset[int]:
    """The tokens that end a text."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        ends = getattr(model.config.get_text_config(), "eos_token_id", None)
    return frozenset(() if ends is None else [ends] if isinstance(ends, int) else ends)


class Chooser:
    """Chooses each row's next token; stands last among `generate`'s logits processors."""

    def __init__(self, choosing: Choosing, rows: int, top_logprobs: int | None = None, name: Callable[[int], str] = str) -> None:
        import secrets

        import torch

        self._choosing = choosing
        self._warpers = _warpers(choosing)
        self._top_logprobs = top_logprobs
        self._name = name
        seed = choosing.seed if choosing.seed is not None else secrets.randbits(62)
        # `% 2**63` because torch takes signed seeds of 64 bits
        self._generators = [torch.Generator().manual_seed((seed + row) % 2**63) for row in range(rows)]
        self._written: list[list[int]] = [[] for _ in range(rows)]
        self.tokens: list[int] = []
        self.logprobs: list[TokenLogprob | None] = [None] * rows

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores that leave each row its chosen token only."""
        import torch

        plain = scores.float()
        adjusted = self._adjusted(input_ids, plain.clone())
        if self._choosing.temperature <= 0:
            tokens = adjusted.argmax(dim=-1)
        else:
            for warper in self._warpers:
                adjusted = warper(input_ids, adjusted)
            shares = adjusted.softmax(dim=-1)
            drawn = [torch.multinomial(share, 1, generator=generator) for share, generator in zip(shares, self._generators, strict=True)]
            tokens = torch.cat(drawn)
        self.tokens = tokens.tolist()
        for row, token in enumerate(self.tokens):
            self._written[row].append(token)
        if self._top_logprobs is not None:
            self.logprobs = list(logprobs_of(plain, self.tokens, self._top_logprobs, self._name))
        return torch.full_like(plain, -math.inf).scatter_(1, tokens[:, None], 0.0)

    def _adjusted(self, input_ids: Any, scores: Any) -> Any:
        import torch

        choosing = self._choosing
        if choosing.repetition_penalty != 1.0:
            seen = scores.gather(1, input_ids)
            penalty = choosing.repetition_penalty
            scores.scatter_(1, input_ids, torch.where(seen < 0, seen * penalty, seen / penalty))
        if choosing.frequency_penalty or choosing.presence_penalty:
            for row, written in enumerate(self._written):
                counts = torch.bincount(torch.tensor(written, dtype=torch.long), minlength=scores.shape[-1])
                scores[row] -= counts * choosing.frequency_penalty + (counts > 0) * choosing.presence_penalty
        for token, bias in choosing.logit_bias.items():
            scores[:, token] += bias
        return scores


class Watcher:
    """Sees each row's new token; stands among `generate`'s stopping criteria."""

    def __init__(self, job: Job, writers: Sequence["Writer"] = (), chooser: Chooser | None = None) -> None:
        self._job = job
        self._writers = writers
        self._chooser = chooser

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Which rows are finished: all of them once nobody waits for the answer."""
        import torch

        del scores
        rows = input_ids.shape[0]
        if self._job.is_cancelled:
            return torch.ones(rows, dtype=torch.bool)
        if not self._writers or self._chooser is None:
            return torch.zeros(rows, dtype=torch.bool)
        for row, writer in enumerate(self._writers):
            if not writer.is_finished:
                writer.add(self._chooser.tokens[row], self._chooser.logprobs[row])
        return torch.tensor([writer.is_finished for writer in self._writers])


class Writer:
    """Turns one choice's tokens into deltas of text, whole characters only, and ends at a stop string."""

    def __init__(self, job: Job, choice: int, decode: Callable[[list[int]], str], prompt: Sequence[int], stop: Sequence[str]) -> None:
        self._job = job
        self._choice = choice
        self._decode = decode
        # a few tokens of the prompt in front, because decoders drop the space before a text's first word
        self._ids = list(prompt)[-6:]
        self._known, self._read = 0, len(self._ids)
        self._stop = tuple(stop)
        self._text = ""
        self._sent = 0
        self._logprobs: list[tuple[int, TokenLogprob]] = []
        self.count = 0
        self.ends: frozenset[int] = frozenset()
        self.is_finished = False

    def add(self, token: int, logprob: TokenLogprob | None = None) -> None:
        """Write one more token."""
        self.count += 1
        if token in self.ends:
            self.finish("stop")
            return
        self._ids.append(token)
        if logprob is not None:
            self._logprobs.append((len(self._text), logprob))
        self._text += self._new_text()
        cut = self._first_stop()
        if cut is not None:
            self._text = self._text[:cut]
            self._logprobs = [(start, each) for start, each in self._logprobs if start < cut]
            self.finish("stop", flush=False)
            return
        self._send(len(self._text) - self._held_back())

    def finish(self, reason: FinishReason, *, flush: bool = True) -> None:
        """Send what is left and why the text ends."""
        if self.is_finished:
            return
        self.is_finished = True
        if flush:
            self._text += self._decode(self._ids[self._known :])[len(self._decode(self._ids[self._known : self._read])) :]
        self._send(len(self._text), reason)

    def _new_text(self) -> str:
        known = self._decode(self._ids[self._known : self._read])
        text = self._decode(self._ids[self._known :])
        if len(text) <= len(known) or text.endswith(_REPLACEMENT):
            return ""
        self._known, self._read = self._read, len(self._ids)
        return text[len(known) :]

    def _first_stop(self) -> int | None:
        found = [self._text.find(stop, max(0, self._sent)) for stop in self._stop]
        return min((place for place in found if place >= 0), default=None)

    def _held_back(self) -> int:
        """How much of the end may be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._text) - self._sent), longest, -1):
                if self._text.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _send(self, end: int, reason: FinishReason | None = None) -> None:
        text = self._text[self._sent : end]
        ready = tuple(each for start, each in self._logprobs if start < end or reason or not self._held_back())
        if not text and not reason:
            return
        self._logprobs = self._logprobs[len(ready) :]
        self._sent = end
        self._job.emit(TextDelta(choice=self._choice, text=text, logprobs=ready, finish_reason=reason))


def logprobs_of(scores: Any, tokens: Sequence[int], top: int, names: Callable[[int], str] = str) -> list[TokenLogprob]:
    """Each row's log probability of its token and of the `top` likeliest, under scores of shape (rows, vocabulary)."""
    logs = scores.float().log_softmax(dim=-1)
    best, indices = logs.topk(max(1, min(top, logs.shape[-1])), dim=-1)
    rows = []
    for row, token in enumerate(tokens):
        others = zip(best[row].tolist(), indices[row].tolist(), strict=True)
        likeliest = tuple(TokenLogprob(token=names(each), logprob=_finite(value), id=each) for value, each in others)[:top]
        rows.append(TokenLogprob(token=names(token), logprob=_finite(float(logs[row, token])), id=token, top=likeliest))
    return rows


def _finite(value: float) -> float:
    return max(value, -9999.0)


def _warpers(choosing: Choosing) -> list[Callable[[Any, Any], Any]]:
    from transformers.generation import logits_process as library

    if choosing.temperature <= 0:
        return []
    warpers: list[Callable[[Any, Any], Any]] = [library.TemperatureLogitsWarper(choosing.temperature)]
    if choosing.top_k > 0:
        warpers.append(library.TopKLogitsWarper(top_k=choosing.top_k))
    if choosing.top_p < 1.0:
        warpers.append(library.TopPLogitsWarper(top_p=choosing.top_p))
    if choosing.min_p > 0.0:
        warpers.append(library.MinPLogitsWarper(min_p=choosing.min_p))
    if choosing.typical_p < 1.0:
        warpers.append(library.TypicalLogitsWarper(mass=choosing.typical_p))
    return warpers
