"""Sentence models: encoder-decoders, which translate sentence by sentence and cannot be told anything else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from yunmo.apps.translate.asking import Asking, each_once
from yunmo.apps.translate.interpreter import Said
from yunmo.apps.translate.joining import Part, halved, joined
from yunmo.apps.translate.languages import parse
from yunmo.apps.translate.marking import Style
from yunmo.apps.translate.routes import Hop
from yunmo.core.errors import ContextTooLong
from yunmo.core.tasks import Texts, Translate

_IDEOGRAPHIC = frozenset({"zh", "yue", "ja"})
_SENTENCES_AT_ONCE = 64
"""Of one request: what a client waits for in one piece, and what others wait behind."""


@dataclass(frozen=True, slots=True)
class SentenceInterpreter:
    """Translates texts of one sentence each, all of an order together."""

    asking: Asking
    hop: Hop

    @property
    def styles(self) -> tuple[Style, ...]:
        """Square brackets are copied by most models, full-width ones only where a language has them."""
        is_ideographic = any(parse(code).base in _IDEOGRAPHIC for code in (self.hop.source, self.hop.target))
        return ("brackets", "ideographs") if is_ideographic else ("brackets",)

    async def translate(self, texts: Sequence[str]) -> list[Said]:
        """The translations in the texts' order; what has no letters stays as it is."""
        words = list(dict.fromkeys(text for text in texts if any(character.isalpha() for character in text)))
        chunks = [tuple(words[start : start + _SENTENCES_AT_ONCE]) for start in range(0, len(words), _SENTENCES_AT_ONCE)]
        answers = await each_once(chunks, self._asked)
        known = dict(zip(words, (text for answer in answers for text in answer), strict=True))
        return [Said(known.get(text, text)) for text in texts]

    async def _asked(self, sentences: tuple[str, ...]) -> list[str]:
        """Their translations. What the model cannot read at once it is given in halves."""
        source, target = (None, None) if self.hop.is_only_pair else (self.hop.source, self.hop.target)
        try:
            output = await self.asking.ask(Translate(texts=sentences, source=source, target=target))
        except ContextTooLong:
            if len(sentences) > 1:
                middle = len(sentences) // 2
                return [*await self._asked(sentences[:middle]), *await self._asked(sentences[middle:])]
            return [joined(await each_once(halved(sentences[0]), self._half))]
        assert isinstance(output, Texts)
        return [text.strip() for text in output.texts]

    async def _half(self, part: Part) -> Part:
        return replace(part, words=(await self._asked((part.words,)))[0]) if part.has_letters else part
