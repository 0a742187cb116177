"""Office documents: their parts' texts as units, and their parts with translations spliced in."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from yunmo.apps.translate.documents.archive import open_archive
from yunmo.apps.translate.documents.format import Unit
from yunmo.apps.translate.documents.office.cultures import Culture, culture_of
from yunmo.apps.translate.documents.office.spans import Source, Splice
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest

Splices = Iterable[tuple[Source, Splice]]


class Place(Protocol):
    """Where a translatable text stands."""

    @property
    def source(self) -> Source: ...

    @property
    def segment(self) -> Segment: ...

    def splices(self, translation: Segment, culture: Culture) -> list[Splice]:
        """What is to be exchanged so that the translation stands in the text's place."""
        ...


@dataclass(slots=True)
class Units:
    """Places on their way to be units: texts that are equal and of one scope are one unit."""

    units: list[Unit] = field(default_factory=list)
    places: dict[str, list[Place]] = field(default_factory=dict)
    _known: dict[tuple[object, Segment], str] = field(default_factory=dict)
    _counted: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, place: Place, note: str, scope: object = None, limit: int | None = None) -> None:
        """One more place. Where `scope` is None the text is a unit of its own."""
        same = self._known.get((scope, place.segment)) if scope is not None else None
        if same is not None:
            self.places[same].append(place)
            return
        part = place.source.name
        self._counted[part] += 1
        key = f"{part}:{self._counted[part]}"
        self.units.append(Unit(key, place.segment, note, limit))
        self.places[key] = [place]
        if scope is not None:
            self._known[scope, place.segment] = key

    def remove(self, is_none: Callable[[Unit], bool]) -> None:
        """Let these be no units after all."""
        self.units = [unit for unit in self.units if not is_none(unit)]
        kept = {unit.key for unit in self.units}
        self.places = {key: places for key, places in self.places.items() if key in kept}


@dataclass(frozen=True, slots=True)
class OfficeDocument:
    """A document that was read. `notices` say what a translation of it lacks or keeps; `beside` is spliced wherever a unit is translated.

    `settled` may change translations that do not go together.
    """

    path: Path
    units: Sequence[Unit]
    places: Mapping[str, Sequence[Place]]
    notices: tuple[str, ...] = ()
    beside: Callable[[Mapping[str, Segment], Culture], Splices] = lambda _translations, _culture: ()
    settled: Callable[[Mapping[str, Segment]], Mapping[str, Segment]] = lambda translations: translations

    def write(self, translations: Mapping[str, Segment], target: str, path: Path) -> None:
        """Write the document with these units translated. Parts without a translation are copied as they are packed, units whose translation is their source stay."""
        unknown = translations.keys() - self.places.keys()
        if unknown:
            raise InvalidRequest(f"The document has no unit {min(unknown)!r}: translate the units that it has.")
        changed = self.settled(
            {unit.key: found for unit in self.units if (found := translations.get(unit.key, unit.segment)) != unit.segment}
        )
        culture = culture_of(target)
        spliced: dict[str, tuple[Source, list[Splice]]] = {}
        for unit in self.units:
            if unit.key in changed:
                _check_length(unit, changed[unit.key])
                for place in self.places[unit.key]:
                    spliced.setdefault(place.source.name, (place.source, []))[1].extend(place.splices(changed[unit.key], culture))
        if changed:
            for source, splice in self.beside(changed, culture):
                spliced.setdefault(source.name, (source, []))[1].append(splice)
        with open_archive(self.path) as archive:
            archive.write(path, {part: source.spliced(splices) for part, (source, splices) in spliced.items()})


def _check_length(unit: Unit, translation: Segment) -> None:
    if unit.limit is not None and len(translation.text) > unit.limit:
        raise InvalidRequest(
            f"The translation of {unit.segment.text[:60]!r} has {len(translation.text):,} characters, more than the {unit.limit:,} that fit there: shorten it."
        )
