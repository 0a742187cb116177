"""The engine: one model that translates texts sentence by sentence, on as many threads as its plan has streams."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from yunmo.core.choosing import beams_of, choosing_of
from yunmo.core.engine import ModelDescription, Plan, Progress, read_options
from yunmo.core.errors import EngineFailed, Unsupported
from yunmo.core.languages import base_language, check_fixed
from yunmo.core.tasks import Output, Request, Sampling, Texts, Translate, task_name
from yunmo.core.usage import Usage
from yunmo.engines.bergamot.drafts import Draft, Pair, drafts_of
from yunmo.engines.bergamot.formats import check_shortlist, check_weights
from yunmo.engines.bergamot.kind import BergamotOptions
from yunmo.engines.bergamot.repository import METADATA, Contents, contents_of
from yunmo.engines.bergamot.sentences import Sentence
from yunmo.engines.bergamot.translators import Translators

_SHORT_CHARACTERS = 4096
"""Cutting so much into sentences takes the event loop a millisecond."""


class BergamotEngine:
    """An Engine over threads of translators, which sentences wait for one by one: those of long texts take turns with others."""

    tasks: tuple[str, ...] = ("translate",)

    def __init__(self, translators: Translators, contents: Contents, pair: Pair, most_tokens: int) -> None:
        self._translators = translators
        self._contents = contents
        self._pair = pair
        self._most_tokens = most_tokens

    @classmethod
    def load(cls, directory: Path, plan: Plan, progress: Progress) -> "BergamotEngine":
        """Load the model for every stream. Raises EngineFailed for files that are damaged or do not belong together."""
        progress("loading", 0.0)
        from fxtranslate import Translator

        contents = contents_of(_described(directory))
        if not isinstance(contents, Contents):
            raise EngineFailed(f"this is no Bergamot model: {contents or 'it has no weights (model.*.intgemm*.bin).'}")
        pair = Pair(
            base_language(contents.source),
            base_language(contents.target),
            _vocabulary(directory / contents.source_vocabulary),
            _vocabulary(directory / contents.target_vocabulary),
        )
        files = _read(directory, contents)
        translators = Translators(plan.streams)
        try:
            translators.load(lambda: Translator(*files))
        except EngineFailed as error:
            translators.close()
            raise EngineFailed(f"the model's files are damaged, or do not belong together: {error.message}") from error
        progress("loading", 1.0)
        return cls(translators, contents, pair, read_options(plan, BergamotOptions).most_input_tokens)

    async def stream(self, request: Request) -> AsyncGenerator[Output | Usage, None]:
        """All texts, and the usage; of a long request, what was read of it before. Leaving it ends the work after the sentences that are in work."""
        if not isinstance(request, Translate):
            raise Unsupported(f"this model has no task {task_name(request)!r}; it has translate")
        check_fixed(self._contents.source, self._contents.target, request.source, request.target)
        _check_sampling(request.sampling, self._pair.target_vocabulary.get_piece_size())
        drafts = await self._drafts(request)
        read = Usage(input_tokens=sum(draft.read for draft in drafts), characters=sum(map(len, request.texts)))
        if read.characters > _SHORT_CHARACTERS:  # a short text is over before anybody leaves, and a message costs as much as reading it
            yield read
        asked: deque[tuple[Draft, Sentence]] = deque()
        async with aclosing(self._translators.translate(_wanted(drafts, asked))) as found:
            async for sentence in found:
                draft, part = asked.popleft()
                draft.add(part, sentence)
        yield Texts(texts=tuple(draft.text for draft in drafts))
        yield read + Usage(output_tokens=sum(draft.written for draft in drafts))

    async def close(self) -> None:
        """Free the model's memory."""
        await asyncio.to_thread(self._translators.close)

    async def _drafts(self, request: Translate) -> list[Draft]:
        if sum(map(len, request.texts)) <= _SHORT_CHARACTERS:
            return drafts_of(request, self._pair, self._most_tokens)
        return await asyncio.to_thread(drafts_of, request, self._pair, self._most_tokens)


def _wanted(drafts: Sequence[Draft], asked: "deque[tuple[Draft, Sentence]]") -> Iterator[str]:
    """The sentences of all drafts, of each until it is full; what is asked for is noted in the order in which it will be answered."""
    for draft in drafts:
        for part in draft.parts:
            if draft.is_full:
                break
            asked.append((draft, part))
            yield part.text


def _check_sampling(sampling: Sampling, vocabulary: int) -> None:
    """Raise Unsupported for a wish that would change the text: the likeliest token is always taken."""
    choosing = choosing_of(sampling, None, vocabulary)
    if beams_of(sampling, None) > 1:
        raise Unsupported("this model is searched with one beam: leave num_beams out", param="num_beams")
    asked = {
        "temperature": choosing.temperature > 0,
        "repetition_penalty": choosing.repetition_penalty != 1.0,
        "frequency_penalty": choosing.frequency_penalty != 0,
        "presence_penalty": choosing.presence_penalty != 0,
        "logit_bias": bool(choosing.logit_bias),
    }
    strange = next((name for name, is_asked in asked.items() if is_asked), None)
    if strange is not None:
        raise Unsupported(f"this model always takes the likeliest word, without sampling or penalties: leave {strange} out", param=strange)


def _described(directory: Path) -> ModelDescription:
    """What was laid out for the model."""
    files = {path.name: path.stat().st_size for path in directory.iterdir() if path.is_file()}
    documents = {}
    if METADATA in files:
        try:
            documents[METADATA] = json.loads((directory / METADATA).read_text("utf-8"))
        except ValueError as error:
            raise EngineFailed(f"{METADATA} is not JSON: {error}") from error
    return ModelDescription(repository=directory.name, revision="", files=files, documents=documents)


def _read(directory: Path, contents: Contents) -> list[bytes]:
    """The files in the order in which the library takes them. Raises EngineFailed for one that is not whole."""
    parts = (contents.weights, contents.source_vocabulary, contents.target_vocabulary, contents.shortlist)
    files = [(directory / part).read_bytes() for part in parts if part]
    check_weights(contents.weights, files[0])
    if contents.shortlist:
        check_shortlist(contents.shortlist, files[-1])
    return files


def _vocabulary(path: Path) -> Any:
    """The tokens of a language. Raises EngineFailed for a file that is not SentencePiece's."""
    import sentencepiece

    try:
        vocabulary = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    except RuntimeError as error:
        raise EngineFailed(f"{path.name} is damaged, or no vocabulary of SentencePiece: push it again.") from error
    if path.stat().st_size == 0:
        raise EngineFailed(f"{path.name} is empty: push it again.")
    return vocabulary
