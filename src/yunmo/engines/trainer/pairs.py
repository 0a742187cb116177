"""Pairs of texts: an encoder–decoder reads the one and learns to write the other, a translation or a summary."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.languages import ANY_PAIR, instructions
from yunmo.core.metrics import bleu, chrf
from yunmo.core.rewriting import T5_LIKE, Rewriting, text_tasks
from yunmo.core.rows import Rewritten
from yunmo.core.tasks import Sampling, Summarize, Texts, Translate
from yunmo.core.training import ParitySample
from yunmo.engines.trainer.adapting import merged, notes_of_merging, save_model
from yunmo.engines.trainer.averaging import Averaging
from yunmo.engines.trainer.corpora import Material, TokenJudge, accuracy_of
from yunmo.engines.trainer.learner import Batch, Example, Learner
from yunmo.engines.trainer.texts import IGNORED, count_unpadded, pad, padded

_TEXTS_AT_ONCE = 4096
_JUDGED = 200
_WRITTEN_AT_ONCE = 32
_MOST_TOKENS = 256
_PARITY_TEXTS = 16
_PARITY_TOKENS = 64
_COMPARED = 500
_SUMMARY = 0.6
"""A target in its source's script with less than this share of its characters is a summary."""


def learner(material: Material) -> Learner:
    """Rows are `Rewritten`; both sides are cut to the limit. The model comes out knowing whether it translates or summarizes."""
    model, tokenizer, recipe = material.model, material.tokenizer, material.recipe
    texts = _Pairs(model, tokenizer, material.limit)
    texts.check([*material.rows, *material.validation])
    model.config.task_specific_params = _published(model.config, material.rows, is_parallel=recipe.method == "pretrain")
    writer = _Writer(model, tokenizer, material.limit)
    rows, validation = material.rows, material.validation
    examples, held = texts.examples(rows), texts.examples(validation)
    longest = max((len(example["labels"]) for example in held), default=0)
    return Learner(
        model=model,
        examples=examples,
        validation=held,
        lengths=[len(example["input_ids"]) + len(example["labels"]) for example in examples],
        collate=texts.collate,
        count=lambda batch: count_unpadded(batch) + int((batch["labels"] != IGNORED).sum()),
        judge=lambda: _Judge(writer, validation[:_JUDGED], longest),
        save=lambda folder: save_model(model, tokenizer, folder, merged(recipe)),
        sample=lambda: writer.told([*validation, *rows]),
        parity=lambda: writer.parity([*validation, *rows][:_PARITY_TEXTS]),
        cut=texts.cut,
        accuracy=accuracy_of,
        trainer=Averaging,
        notes=notes_of_merging(recipe),
    )


class _Pairs:
    """Rows as the model reads them. `cut` counts those of which one side was longer than the limit."""

    def __init__(self, model: Any, tokenizer: Any, limit: int) -> None:
        self.cut = 0
        self._tokenizer = tokenizer
        self._limit = limit
        self._end = model.generation_config.eos_token_id or model.config.eos_token_id
        self._end = self._end[0] if isinstance(self._end, list) else self._end

    def check(self, rows: Sequence[Rewritten]) -> None:
        """Raise InvalidRequest where nothing says in which languages the rows are, and the model has to be told."""
        tokenizer = self._tokenizer
        if hasattr(tokenizer, "src_lang") and not (tokenizer.src_lang and tokenizer.tgt_lang):
            raise InvalidRequest(
                "This base has many languages: its tokenizer_config.json must name the rows' own as src_lang and tgt_lang.", param="model"
            )
        targets = tuple(getattr(tokenizer, "supported_language_codes", None) or ())
        if targets and not all(row.source.startswith(targets) for row in rows):
            raise InvalidRequest(
                f"This base writes several languages: begin each source with its target, such as {targets[0]}.", param="source"
            )

    def examples(self, rows: Sequence[Rewritten]) -> list[Example]:
        found: list[Example] = []
        for start in range(0, len(rows), _TEXTS_AT_ONCE):
            some = rows[start : start + _TEXTS_AT_ONCE]
            sources = self._ids(text=[row.source for row in some])
            targets = self._ids(text_target=[row.target for row in some])
            found += [self._example(*pair) for pair in zip(some, sources, targets, strict=True)]
        return found

    def collate(self, examples: Sequence[Example]) -> Batch:
        return {**padded(examples, self._tokenizer), "labels": pad([example["labels"] for example in examples], IGNORED)}

    def _example(self, row: Rewritten, source: list[int], target: list[int]) -> Example:
        if max(len(source), len(target)) > self._limit:
            self.cut += 1
            (source,) = self._ids(text=[row.source], truncation=True, max_length=self._limit)
            (target,) = self._ids(text_target=[row.target], truncation=True, max_length=self._limit)
        is_ended = bool(target) and target[-1] == self._end
        return {"input_ids": source, "labels": target if is_ended else [*target[: self._limit - 1], self._end]}

    def _ids(self, **texts: Any) -> list[list[int]]:
        return list(self._tokenizer(**texts, verbose=False)["input_ids"])


def _published(config: Any, rows: Sequence[Rewritten], *, is_parallel: bool) -> dict[str, Any]:
    """What the model's configuration says of the task: the base's own instruction where all rows begin with it, none otherwise.

    Parallel texts are translations, whatever their lengths.
    """
    if config.model_type not in T5_LIKE and text_tasks(config.model_type, None, None)[0] == "translate":
        return dict(getattr(config, "task_specific_params", None) or {})
    given: Mapping[str, Any] = getattr(config, "task_specific_params", None) or {}
    for name, settings in given.items():
        prefix = settings.get("prefix") if name == "summarization" or instructions({name: settings}) else None
        if prefix and all(row.source.startswith(prefix) for row in rows):
            return {name: settings}
    if not is_parallel and _summarize(rows[:_COMPARED]):
        return {"summarization": {"prefix": ""}}
    return {f"translation_{ANY_PAIR[0]}_to_{ANY_PAIR[1]}": {"prefix": ""}}


def _summarize(rows: Sequence[Rewritten]) -> bool:
    """Whether targets are in the sources' script and much shorter."""
    sources, targets = "".join(row.source for row in rows), "".join(row.target for row in rows)
    return _script(sources) == _script(targets) and len(targets) < _SUMMARY * len(sources)


def _script(text: str) -> str:
    """The script of most letters, by the first word of their names in Unicode."""
    counts = Counter(unicodedata.name(each, "").partition(" ")[0] for each in text[:100_000] if each.isalpha())
    return counts.most_common(1)[0][0] if counts else ""


class _Writer:
    """What the model writes for a source, told and asked as the serving engines tell and ask it."""

    def __init__(self, model: Any, tokenizer: Any, limit: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._limit = limit

    def texts(self, rows: Sequence[Rewritten], most_tokens: int) -> list[str]:
        """What is written for each row, of similar lengths at a time."""
        order = sorted(range(len(rows)), key=lambda number: -len(rows[number].source))
        found: dict[int, str] = {}
        for start in range(0, len(order), _WRITTEN_AT_ONCE):
            some = order[start : start + _WRITTEN_AT_ONCE]
            written, _ = self._written([rows[number].source for number in some], most_tokens)
            found |= dict(zip(some, written, strict=True))
        return [found[number] for number in range(len(rows))]

    def told(self, rows: Sequence[Rewritten]) -> str:
        """One source and what is written for it."""
        (text,), _ = self._written([rows[0].source], _PARITY_TOKENS)
        return f"{rows[0].source[:500]} -> {text}"

    def parity(self, rows: Sequence[Rewritten]) -> list[ParitySample]:
        """What is written for each of these rows that can be read whole, each by itself."""
        samples = []
        for row in rows:
            if len(self._tokenizer(row.source, verbose=False)["input_ids"]) > self._limit:
                continue
            texts, ids = self._written([row.source], _PARITY_TOKENS)
            samples.append(ParitySample(self._request([row.source]), Texts(texts=tuple(texts)), tuple(ids[0].tolist())))
        return samples

    def _written(self, sources: Sequence[str], most_tokens: int) -> tuple[list[str], torch.Tensor]:
        instruction = Rewriting(self._model.config, self._tokenizer).instruction(self._request(sources))
        settings = {name: value for name, value in instruction.settings.items() if name not in _OF_BEAMS}
        read = self._tokenizer(
            [instruction.pair.told(source) for source in sources],
            truncation=True,
            max_length=self._limit,
            padding=True,
            return_tensors="pt",
            verbose=False,
        )
        with torch.inference_mode():
            ids = self._model.generate(
                input_ids=read["input_ids"],
                attention_mask=read["attention_mask"],
                do_sample=False,
                num_beams=1,
                max_new_tokens=min(most_tokens, self._limit - 2),
                **settings,
            )
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [text.strip() for text in texts], read["input_ids"]

    def _request(self, sources: Sequence[str]) -> Translate | Summarize:
        """The request that a client sends for these: greedy, whatever the model's own settings are."""
        sampling = Sampling(max_tokens=min(_PARITY_TOKENS, self._limit - 2), temperature=0.0, beams=1)
        config, tokenizer = self._model.config, self._tokenizer
        if text_tasks(config.model_type, None, config.task_specific_params)[0] == "summarize":
            return Summarize(texts=tuple(sources), sampling=sampling)
        languages = {}
        if hasattr(tokenizer, "src_lang"):
            languages = {"source": tokenizer.src_lang, "target": tokenizer.tgt_lang}
        elif codes := [code for code in getattr(tokenizer, "supported_language_codes", None) or () if sources[0].startswith(code)]:
            languages = {"target": codes[0][2:-2]}
        return Translate(texts=tuple(sources), sampling=sampling, **languages)


_OF_BEAMS = {"num_beams", "max_length", "early_stopping", "length_penalty"}
"""Settings of a task that a greedy request of so many tokens leaves without effect."""


class _Judge(TokenJudge):
    """Has the model write for some rows, beside what it would have chosen."""

    def __init__(self, writer: _Writer, rows: Sequence[Rewritten], longest: int) -> None:
        super().__init__()
        self._writer = writer
        self._rows = rows
        self._most_tokens = min(_MOST_TOKENS, longest + longest // 2 + 8)

    def verdict(self) -> dict[str, float]:
        found = self._writer.texts(self._rows, self._most_tokens)
        right = [row.target for row in self._rows]
        return {**super().verdict(), "chrf": chrf(found, right), "bleu": bleu(found, right)}
