"""The engine: one converted encoder-decoder that writes many texts at a time."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import structlog

from yunmo.core.engine import Plan, Progress, Result, read_options
from yunmo.core.errors import EngineFailed, Unsupported, YunmoError
from yunmo.core.rewriting import text_tasks
from yunmo.core.tasks import Generate, Request, Summarize, Translate, task_name
from yunmo.engines.ctranslate2.choosing import choose_texts
from yunmo.engines.ctranslate2.converted import PRECISIONS
from yunmo.engines.ctranslate2.derive import derive
from yunmo.engines.ctranslate2.drafting import Draft, Drafter
from yunmo.engines.ctranslate2.kind import Ctranslate2Options
from yunmo.engines.ctranslate2.parts import load_config, load_tokenizer
from yunmo.engines.ctranslate2.reading import Reader
from yunmo.engines.ctranslate2.searching import Written, search
from yunmo.engines.ctranslate2.settings import Search

_CHARACTERS_PER_TOKEN = 4
_DERIVED_AT = 0.9
_log = structlog.get_logger()


class Ctranslate2Engine:
    """A BatchEngine over one translator, which `plan.streams` threads may call at once."""

    def __init__(self, translator: Any, drafter: Drafter, tasks: tuple[str, ...], batch_tokens: int) -> None:
        self.tasks = tasks
        self._translator = translator
        self._drafter = drafter
        self._batch_tokens = batch_tokens

    @classmethod
    def load(cls, directory: Path, derived: Path, plan: Plan, progress: Progress) -> "Ctranslate2Engine":
        """Load the model, converted and proven first if that was not done yet. Raises EngineFailed if that or the library fails."""
        folder, facts = derive(directory, derived, lambda step, share: progress(step, _DERIVED_AT * share))
        progress("loading", _DERIVED_AT)
        import ctranslate2

        precision = plan.precision or "fp32"
        try:
            translator = ctranslate2.Translator(
                str(folder / precision),
                device="cpu",
                compute_type=PRECISIONS[precision],
                inter_threads=plan.streams,
                intra_threads=plan.threads,
            )
        except (RuntimeError, ValueError) as error:
            raise EngineFailed(f"CTranslate2 cannot load the converted model: {error}") from error
        config, tokenizer = load_config(directory), load_tokenizer(directory)
        options = read_options(plan, Ctranslate2Options)
        reader = Reader(config, tokenizer, plan, facts.rows)
        drafter = Drafter(reader, config, tokenizer, facts, options.most_output_tokens)
        progress("loading", 1.0)
        return cls(
            translator,
            drafter,
            options.tasks or text_tasks(str(config.model_type), None, getattr(config, "task_specific_params", None)),
            options.batch_tokens,
        )

    def cost(self, request: Request) -> int:
        """About the number of tokens to read."""
        texts = request.texts if isinstance(request, Translate | Summarize) else ()
        prompt = request.prompt if isinstance(request, Generate) else ()
        return 1 + (sum(map(len, texts)) + len(prompt)) // _CHARACTERS_PER_TOKEN

    def run(self, stream: int, requests: Sequence[Request]) -> Sequence[Result | YunmoError]:
        """Answer all requests; those that are searched for alike are worked on together. One that fails does so alone."""
        del stream
        answers: dict[int, Result | YunmoError] = {}
        together: defaultdict[Search, list[tuple[int, Draft]]] = defaultdict(list)
        for number, request in enumerate(requests):
            try:
                draft = self._draft(request)
                if isinstance(draft.how, Search):
                    together[draft.how].append((number, draft))
                else:
                    answers[number] = self._choose(draft)
            except YunmoError as error:
                answers[number] = error
        for how, members in together.items():
            found = self._search(how, [draft for _, draft in members])
            answers |= {number: answer for (number, _), answer in zip(members, found, strict=True)}
        return [answers[number] for number in range(len(requests))]

    def close(self) -> None:
        """Free the model's memory."""
        self._translator.unload_model()

    def _draft(self, request: Request) -> Draft:
        if task_name(request) not in self.tasks:
            raise Unsupported(f"this model has no task {task_name(request)!r}; it has {', '.join(self.tasks)}")
        if isinstance(request, Generate):
            return self._drafter.generate(request)
        assert isinstance(request, Translate | Summarize)
        return self._drafter.rewrite(request)

    def _choose(self, draft: Draft) -> Result:
        assert not isinstance(draft.how, Search)
        try:
            return draft.finish(choose_texts(self._translator, draft.source, draft.first, draft.how, draft.rows))
        except (RuntimeError, ValueError) as error:
            raise _failure(error) from error

    def _search(self, how: Search, drafts: Sequence[Draft]) -> list[Result | YunmoError]:
        copies = [draft.rows if how.temperature > 0 else 1 for draft in drafts]
        sources = [draft.source for draft, count in zip(drafts, copies, strict=True) for _ in range(count)]
        firsts = [draft.first for draft, count in zip(drafts, copies, strict=True) for _ in range(count)]
        try:
            written = iter(search(self._translator, sources, firsts, how, self._batch_tokens))
        except (RuntimeError, ValueError) as error:
            if len(drafts) > 1:
                return [answer for draft in drafts for answer in self._search(how, [draft])]
            return [_failure(error)]
        return [_finished(draft, list(islice(written, count))) for draft, count in zip(drafts, copies, strict=True)]


def _finished(draft: Draft, texts: list[Written]) -> Result | YunmoError:
    """The answer; a text that every search finds is that of all rows."""
    try:
        return draft.finish(texts if len(texts) == draft.rows else texts * draft.rows)
    except YunmoError as error:
        return error


def _failure(error: Exception) -> EngineFailed:
    _log.warning("ctranslate2_failed", error=type(error).__name__)
    return EngineFailed(f"the model failed on this text ({type(error).__name__}); other texts may still work")
