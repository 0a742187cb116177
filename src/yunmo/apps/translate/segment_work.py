"""Translates the segments of a document: in chunks, several at a time, behind everybody who waits for an answer."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from yunmo.apps.translate.earlier import Earlier
from yunmo.apps.translate.journal import Entry, entry_of
from yunmo.apps.translate.orders import Issue, Order, Translated
from yunmo.apps.translate.segments import Segment
from yunmo.apps.translate.translations import DocumentOrder
from yunmo.apps.translate.translator import Translator
from yunmo.core.errors import ContextTooLong, EngineFailed, Overloaded, PoisonRequest, RateLimited, Unavailable
from yunmo.core.identity import Principal

OUTSTANDING = 4
CHUNK_SEGMENTS = 16
_CHUNK_CHARACTERS = 2000
_TRIES = 6
_LONGEST_WAIT_SECONDS = 30.0
_SHOWN_CHARACTERS = 40

_SAVE_SHARE = 0.02
"""Of the time that the work has taken: at first each chunk is saved as it comes, but a long work does not get thousands of parts."""

_LONGEST_UNSAVED_SECONDS = 10.0
_UNTRANSLATABLE_AT_LEAST, _UNTRANSLATABLE_SHARE = 3, 0.05
_UNKNOWN = "und"

Save = Callable[[Sequence[Entry]], Awaitable[None]]


@dataclass
class Progress:
    """How far a document is: its segments by their keys, what is known of them, and the language that it is in as far as that is known."""

    segments: Mapping[str, Segment]
    known: dict[str, Entry]
    source: str | None
    total: int = field(init=False)
    done: int = field(init=False)
    untranslatable: int = 0

    def __post_init__(self) -> None:
        self.total = sum(len(each.text) for each in self.segments.values())
        self.done = sum(len(self.segments[key].text) for key in self.known if key in self.segments)

    @property
    def is_over(self) -> bool:
        """Whether something is known of every segment."""
        return self.segments.keys() <= self.known.keys()

    def take(self, entries: Iterable[Entry]) -> None:
        """What has come."""
        for entry in entries:
            self.known[entry.key] = entry
            self.done += len(self.segments[entry.key].text)

    def chunks(self) -> Iterator[list[str]]:
        """The keys of what is left, those of about one length together, the longest first."""
        left = sorted((key for key in self.segments if key not in self.known), key=lambda key: -len(self.segments[key].text))
        chunk: list[str] = []
        size = 0
        for key in left:
            characters = len(self.segments[key].text)
            if chunk and (len(chunk) == CHUNK_SEGMENTS or size + characters > _CHUNK_CHARACTERS):
                yield chunk
                chunk, size = [], 0
            chunk.append(key)
            size += characters
        if chunk:
            yield chunk


class SegmentWork:
    """One document's segments through the Translator."""

    def __init__(self, translator: Translator, earlier: Earlier, owner: Principal, order: DocumentOrder, progress: Progress) -> None:
        self._translator = translator
        self._earlier = earlier
        self._owner = owner
        self._order = order
        self._progress = progress
        self._unsaved: list[Entry] = []
        self._began = self._saved_at = time.monotonic()

    async def run(self, save: Save, is_over: Callable[[], bool]) -> None:
        """Translate what is left; `save` gets what has come, soon after it has. When it `is_over`, what is under way is waited for."""
        chunks = self._progress.chunks()
        pending: set[asyncio.Task[list[Entry]]] = set()
        try:
            while self._progress.source is None and not is_over() and (first := next(chunks, None)):
                await self._find_out(first, save)
            for chunk in chunks:
                if is_over():
                    break
                pending.add(asyncio.create_task(self._entries(chunk)))
                while len(pending) >= OUTSTANDING:
                    await self._collect(pending, save)
            while pending:
                await self._collect(pending, save)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        await self._save(save)

    async def _find_out(self, chunk: Sequence[str], save: Save) -> None:
        """Translate the longest segments, each from what it is in: what most of them are in is the document's language."""
        entries = await self._entries(chunk)
        counted: Counter[str] = Counter()
        for entry in entries:
            if entry.source != _UNKNOWN:
                counted[entry.source] += entry.characters
        if counted:
            self._progress.source = counted.most_common(1)[0][0]
        self._take(entries)
        await self._save(save)

    async def _collect(self, pending: "set[asyncio.Task[list[Entry]]]", save: Save) -> None:
        """Wait for some chunks, and save them if it is time. What has come is kept though another one fails."""
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        pending -= done
        failures = [error for task in done if (error := task.exception()) is not None]
        for task in done:
            if task.exception() is None:
                self._take(task.result())
        unsaved_seconds = min(_LONGEST_UNSAVED_SECONDS, _SAVE_SHARE * (time.monotonic() - self._began))
        if failures or time.monotonic() - self._saved_at >= unsaved_seconds:
            await self._save(save)
        if failures:
            raise failures[0]

    def _take(self, entries: Sequence[Entry]) -> None:
        self._progress.take(entries)
        self._unsaved += entries

    async def _save(self, save: Save) -> None:
        entries, self._unsaved, self._saved_at = self._unsaved, [], time.monotonic()
        await save(entries)

    async def _entries(self, chunk: Sequence[str]) -> list[Entry]:
        translated = await self._translated([self._progress.segments[key] for key in chunk])
        revisions = {models: await self._earlier.revisions(self._owner, models) for models in {each.models for each in translated}}
        return [entry_of(key, each, revisions[each.models]) for key, each in zip(chunk, translated, strict=True)]

    async def _translated(self, segments: Sequence[Segment]) -> list[Translated]:
        """The translations; what a model cannot do is found among the others, and stays as it is."""
        order = Order(tuple(segments), self._order.target, self._progress.source, self._order.options, can_wait=True)
        try:
            return list(await self._patiently(order))
        except (ContextTooLong, PoisonRequest, EngineFailed):
            if len(segments) == 1:
                self._progress.untranslatable += 1
                if self._progress.untranslatable > max(_UNTRANSLATABLE_AT_LEAST, _UNTRANSLATABLE_SHARE * len(self._progress.segments)):
                    raise
                issue = Issue("untranslated", segments[0].text[:_SHOWN_CHARACTERS])
                return [Translated(segments[0], self._progress.source or _UNKNOWN, 0.0, 0, issues=(issue,))]
        middle = len(segments) // 2
        return [*await self._translated(segments[:middle]), *await self._translated(segments[middle:])]

    async def _patiently(self, order: Order) -> tuple[Translated, ...]:
        """The translations; a model that is busy or away is asked again a few times."""
        attempt = 1
        while True:
            try:
                return await self._translator.translate(self._owner, order)
            except (Overloaded, RateLimited, Unavailable) as error:
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(min(_LONGEST_WAIT_SECONDS, error.retry_after_seconds or 2.0**attempt))
            attempt += 1
