"""What an earlier job has translated of a document that has changed since."""

from collections.abc import AsyncIterator, Collection, Sequence

from yunmo.apps.translate.chinese import other_script
from yunmo.apps.translate.journal import Entry, read_entries
from yunmo.apps.translate.translations import KIND, DocumentOrder, order_of
from yunmo.apps.translate.translator import Translator
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Job, Work
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.core.identity import Principal

_Way = tuple[tuple[str, ...], tuple[str, ...]]
"""Models and their revisions."""


class Earlier:
    """Finds the translations of an earlier job that would be the same now."""

    def __init__(self, cloud: Cloud, translator: Translator) -> None:
        self._cloud = cloud
        self._translator = translator

    async def entries(self, work: Work, owner: Principal, order: DocumentOrder, wanted: Collection[str]) -> dict[str, Entry]:
        """What the job that the order names has of the wanted keys: in the same languages, with the same options, by models that are the same."""
        if order.previous is None:
            return {}
        try:
            found = await self._find(work.job, order)
        except (NotFound, InvalidRequest) as error:
            await work.tell(f"All is translated anew: {error.message}", "warning")
            return {}
        ways: dict[str, _Way] = {}
        kept = {}
        async for entry in found:
            if entry.source not in ways:
                ways[entry.source] = await self._way(owner, order, entry.source)
            is_same = (entry.models, entry.revisions) == ways[entry.source] if entry.models else not entry.issues
            if entry.key in wanted and is_same:
                kept[entry.key] = entry
        return kept

    async def revisions(self, owner: Principal, models: Sequence[str]) -> tuple[str, ...]:
        """The revision that each of the models is of now."""
        return tuple([(await self._cloud.inference.find(owner, model)).revision for model in models])

    async def _find(self, job: Job, order: DocumentOrder) -> AsyncIterator[Entry]:
        earlier = await self._cloud.jobs.get(job.project, order.previous or "")
        if earlier.kind != KIND or earlier.result is None or "segments_file" not in earlier.result:
            raise InvalidRequest(f"The job '{earlier.id}' has translated nothing.")
        was = order_of(earlier)
        if (was.target, was.options) != (order.target, order.options) or order.source not in {None, was.source, earlier.result["source"]}:
            raise InvalidRequest(f"The job '{earlier.id}' had other languages or options.")
        return read_entries(self._cloud.files.stream(await self._cloud.files.get(job.project, earlier.result["segments_file"])))

    async def _way(self, owner: Principal, order: DocumentOrder, source: str) -> _Way:
        """How it would be translated now; nothing where it could not be."""
        try:
            if order.model is not None:
                models: tuple[str, ...] = (order.model,)
            else:
                table = await self._translator.routing.table(owner)
                models = tuple(hop.model for hop in table.way(source, order.target, instead=other_script(order.target)))
            return models, await self.revisions(owner, models)
        except (InvalidRequest, NotFound):
            return (), ()
