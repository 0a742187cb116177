"""Which model translates which pair of languages: what people have told, what models say of themselves, and ways through a third language."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from yunmo.apps.translate.languages import covers, parse
from yunmo.core.errors import InvalidRequest

ANY = "*"
"""Every language, in a route."""

_MIDDLE_FIRST = "en"


@dataclass(frozen=True, slots=True)
class Route:
    """What somebody has told: this model (a deployment's or repository's name) is for this pair; either language may be ANY.

    The highest `priority` is taken first. `project` is whose route it is; everybody has those whose project is empty.
    """

    source: str
    target: str
    model: str
    priority: int = 0
    project: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a model says of itself: each of the sources into each of the targets but itself."""

    model: str
    sources: frozenset[str]
    targets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two languages that can be translated, and by which models: two where it goes through a third language."""

    source: str
    target: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hop:
    """A step on the way: one model, from one language into another. One that `is_only_pair` of its model need not be named to it."""

    source: str
    target: str
    model: str
    is_only_pair: bool = False


class RouteTable:
    """The routes that one caller has: its own before everybody's, and what was told before what was found."""

    def __init__(self, told: Iterable[Route], found: Iterable[Found]) -> None:
        self.told: Sequence[Route] = sorted(told, key=_rank)
        self.found: Sequence[Found] = sorted(found, key=lambda each: (len(each.sources) + len(each.targets), each.model))
        self._ways = [Found(each.model, frozenset((each.source,)), frozenset((each.target,))) for each in self.told] + list(self.found)

    def way(self, source: str, target: str, instead: str | None = None) -> tuple[Hop, ...]:
        """The shortest way from one language into another, at most through one other; into `instead` where there is none into the target.

        Raises InvalidRequest if there is none at all.
        """
        found = self._way(source, target) or (instead and self._way(source, instead))
        if not found:
            raise InvalidRequest(
                f"Nothing here translates {source} into {target}. Push a model of that pair, or name one that can, such as a chat model: "
                f"'yunmo translate routes add {source} {target} MODEL'.",
                param="target",
            )
        return found

    def without(self, models: Collection[str]) -> "RouteTable":
        """The same routes but for those of these models."""
        left = [each for each in self.told if each.model not in models]
        return RouteTable(left, [each for each in self.found if each.model not in models])

    def hop(self, source: str, target: str, model: str) -> Hop:
        """A step with this model, whatever the routes say."""
        known = [each for each in self.found if each.model == model]
        is_one_pair = len(known) == 1 and len(known[0].sources) == len(known[0].targets) == 1
        return Hop(source, target, model, is_one_pair and _serves(known[0].sources, source) and _serves(known[0].targets, target))

    def sources_into(self, target: str) -> tuple[str, ...]:
        """The languages that can be translated into this one; empty where that may be all."""
        if any(ANY in way.sources and _serves(way.targets, target) for way in self._ways):
            return ()
        return tuple(dict.fromkeys(pair.source for pair in self.pairs if covers(pair.target, target)))

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair of the languages that the routes name, and its models."""
        direct: dict[tuple[str, str], str] = {}
        for way in self._ways:
            for source in self._served(way.sources):
                for target in self._served(way.targets):
                    if source != target:
                        direct.setdefault((source, target), way.model)
        pairs = [Pair(source, target, (model,)) for (source, target), model in direct.items()]
        codes = sorted(self._languages)
        for source, target in ((source, target) for source in codes for target in codes):
            if (source, target) not in direct and parse(source).base != parse(target).base:
                through = (each for each in self._middles if (source, each) in direct and (each, target) in direct)
                pairs += [Pair(source, target, (direct[source, each], direct[each, target])) for each in list(through)[:1]]
        return tuple(sorted(pairs, key=lambda pair: (pair.source, pair.target)))

    def _way(self, source: str, target: str) -> tuple[Hop, ...]:
        direct = self._best(source, target)
        if direct is not None:
            return (self.hop(source, target, direct),)
        for middle in self._middles:
            if parse(middle).base in {parse(source).base, parse(target).base}:
                continue
            first, second = self._best(source, middle), self._best(middle, target)
            if first is not None and second is not None:
                return self.hop(source, middle, first), self.hop(middle, target, second)
        return ()

    @cached_property
    def _languages(self) -> frozenset[str]:
        return frozenset(code for way in self._ways for code in (*way.sources, *way.targets)) - {ANY}

    @cached_property
    def _middles(self) -> Sequence[str]:
        """The languages to go through, English first: more is trained with it than with any other."""
        return sorted(self._languages, key=lambda code: (code != _MIDDLE_FIRST, code))

    def _served(self, codes: frozenset[str]) -> list[str]:
        return [each for each in self._languages if _serves(codes, each)]

    def _best(self, source: str, target: str) -> str | None:
        return next((way.model for way in self._ways if _serves(way.sources, source) and _serves(way.targets, target)), None)


def language_or_any(code: str) -> str:
    """The canonical code of a route's language. Raises InvalidRequest for one that is not known."""
    return ANY if code == ANY else parse(code).code


def _serves(codes: frozenset[str], asked: str) -> bool:
    if not codes.isdisjoint((ANY, asked)):
        return True
    base = parse(asked).base
    return any(code.startswith(base) and covers(code, asked) for code in codes)


def _rank(route: Route) -> tuple[bool, int, int, str]:
    wildcards = (route.source == ANY) + (route.target == ANY)
    return not route.project, -route.priority, wildcards, route.model
