"""The engine: one model that translates texts sentence by sentence, on as many threads as its plan has streams."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yunmo.core.choosing import beams_of, choosing_of
from yunmo.core.engine import ModelDescription, Plan, Progress, Result, read_options
from yunmo.core.errors import EngineFailed, Unsupported, YunmoError
from yunmo.core.languages import base_language, check_fixed
from yunmo.core.rewriting import check_length, check_text, until_stop
from yunmo.core.tasks import Request, Sampling, Texts, Translate, task_name
from yunmo.core.usage import Usage
from yunmo.engines.bergamot.formats import check_shortlist, check_weights
from yunmo.engines.bergamot.kind import BergamotOptions
from yunmo.engines.bergamot.repository import METADATA, Contents, contents_of
from yunmo.engines.bergamot.sentences import Sentence, sentences, spaced_for
from yunmo.engines.bergamot.translators import Translators

_CHARACTERS_PER_TOKEN = 4


class BergamotEngine:
    """A BatchEngine over threads of translators. A text of many sentences uses those that have nothing else to do."""

    tasks: tuple[str, ...] = ("translate",)

    def __init__(self, translators: Translators, vocabularies: tuple[Any, Any], contents: Contents, most_tokens: int) -> None:
        self._translators = translators
        self._source, self._target = vocabularies
        self._contents = contents
        self._languages = base_language(contents.source), base_language(contents.target)
        self._most_tokens = most_tokens

    @classmethod
    def load(cls, directory: Path, plan: Plan, progress: Progress) -> "BergamotEngine":
        """Load the model for every stream. Raises EngineFailed for files that are damaged or do not belong together."""
        progress("loading", 0.0)
        from fxtranslate import Translator

        contents = contents_of(_described(directory))
        if not isinstance(contents, Contents):
            raise EngineFailed(f"this is no Bergamot model: {contents or 'it has no weights (model.*.intgemm*.bin).'}")
        source = _vocabulary(directory / contents.source_vocabulary)
        target = _vocabulary(directory / contents.target_vocabulary)

        files = _read(directory, contents)
        translators = Translators(plan.streams)
        try:
            translators.load(lambda: Translator(*files))
        except EngineFailed as error:
            translators.close()
            raise EngineFailed(f"the model's files are damaged, or do not belong together: {error.message}") from error
        progress("loading", 1.0)
        return cls(translators, (source, target), contents, read_options(plan, BergamotOptions).most_input_tokens)

    def cost(self, request: Request) -> int:
        """About the number of tokens to read."""
        texts = request.texts if isinstance(request, Translate) else ()
        return 1 + sum(map(len, texts)) // _CHARACTERS_PER_TOKEN

    def run(self, stream: int, requests: Sequence[Request]) -> Sequence[Result | YunmoError]:
        """Translate each text. One that fails does so alone."""
        del stream
        return [self._answered(request) for request in requests]

    def close(self) -> None:
        """Free the model's memory."""
        self._translators.close()

    def _answered(self, request: Request) -> Result | YunmoError:
        try:
            if not isinstance(request, Translate):
                raise Unsupported(f"this model has no task {task_name(request)!r}; it has translate")
            check_fixed(self._contents.source, self._contents.target, request.source, request.target)
            _check_sampling(request.sampling, self._target.get_piece_size())
            return self._translated(request, check_text(request.texts[0], "inputs"))
        except YunmoError as error:
            return error

    def _translated(self, request: Translate, text: str) -> Result:
        parts, end = sentences(text, self._languages[0], self._read_tokens)
        parts, read, is_cut = self._within_limit(parts, truncate=request.truncate)
        written, tokens, most = "", 0, request.sampling.max_tokens
        for number, (part, found) in enumerate(zip(parts, self._translators.translate([part.text for part in parts]), strict=True)):
            gap = spaced_for(part.before, *self._languages) if number else part.before
            sentence, count = found, self._written_tokens(found)
            if most is not None and tokens + count > max(1, most):
                sentence, count = self._beginning(found, max(1, most) - tokens)
                is_cut = True
            written, tokens = written + gap + sentence, tokens + count
            if is_cut and most is not None and tokens >= max(1, most):
                break
        whole = until_stop(written if is_cut else written + end, request.sampling.stop)
        return Texts(texts=(whole,)), Usage(input_tokens=read, output_tokens=tokens, characters=len(text))

    def _within_limit(self, parts: list[Sentence], *, truncate: bool) -> tuple[list[Sentence], int, bool]:
        """The sentences that may be read, how many tokens they are, and whether some were left out. Raises ContextTooLong."""
        read, kept = 0, 0
        for part in parts:
            count = self._read_tokens(part.text)
            if truncate and read + count > self._most_tokens:
                break
            read, kept = read + count, kept + 1
        check_length(read, self._most_tokens)
        return parts[:kept], read, kept < len(parts)

    def _beginning(self, text: str, most: int) -> tuple[str, int]:
        """What the model, which takes the likeliest token at each step, has written of a text after so many, and how many they are."""
        tokens = self._target.encode(text)[:most]
        return str(self._target.decode(tokens)), len(tokens)

    def _read_tokens(self, text: str) -> int:
        return len(self._source.encode(text)) + 1

    def _written_tokens(self, text: str) -> int:
        return len(self._target.encode(text)) + 1


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
