"""Which model translates which pair of languages: what people have told, what models say of themselves, and ways through a third language."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

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
    """A step on the way: one model, from one language into another."""

    source: str
    target: str
    model: str


class RouteTable:
    """The routes that one caller has: its own before everybody's, and what was told before what was found."""

    def __init__(self, told: Iterable[Route], found: Iterable[Found]) -> None:
        self.told: Sequence[Route] = sorted(told, key=_rank)
        self.found: Sequence[Found] = sorted(found, key=lambda each: (len(each.sources) + len(each.targets), each.model))
        self._ways = [Found(each.model, frozenset((each.source,)), frozenset((each.target,))) for each in self.told] + list(self.found)

    def way(self, source: str, target: str) -> tuple[Hop, ...]:
        """The shortest way from one language into another, at most through one other. Raises InvalidRequest if there is none."""
        direct = self._best(source, target)
        if direct is not None:
            return (Hop(source, target, direct),)
        for middle in self._middles:
            if _base(middle) in {_base(source), _base(target)}:
                continue
            first, second = self._best(source, middle), self._best(middle, target)
            if first is not None and second is not None:
                return Hop(source, middle, first), Hop(middle, target, second)
        raise InvalidRequest(
            f"Nothing here translates {source} into {target}. Push a model of that pair, or name one that can, such as a chat model: "
            f"'yunmo translate routes add {source} {target} MODEL'.",
            param="target",
        )

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair of the languages that the routes name, and its models."""
        best: dict[tuple[str, str], str] = {}
        for way in self._ways:
            for source in self._known(way.sources):
                for target in self._known(way.targets):
                    if source != target:
                        best.setdefault((source, target), way.model)
        pairs = [Pair(source, target, (model,)) for (source, target), model in best.items()]
        codes = sorted(self._languages)
        for source, target in ((source, target) for source in codes for target in codes if _base(source) != _base(target)):
            if (source, target) not in best:
                through = (each for each in self._middles if (source, each) in best and (each, target) in best)
                pairs += [Pair(source, target, (best[source, middle], best[middle, target])) for middle in list(through)[:1]]
        return tuple(sorted(pairs, key=lambda pair: (pair.source, pair.target)))

    @cached_property
    def _languages(self) -> frozenset[str]:
        return frozenset(code for way in self._ways for code in (*way.sources, *way.targets)) - {ANY}

    @cached_property
    def _middles(self) -> Sequence[str]:
        """The languages to go through, English first: more is trained with it than with any other."""
        return sorted(self._languages, key=lambda code: (code != _MIDDLE_FIRST, code))

    def _known(self, codes: frozenset[str]) -> list[str]:
        return sorted(each for each in self._languages if _cover(codes, each))

    def _best(self, source: str, target: str) -> str | None:
        return next((way.model for way in self._ways if _cover(way.sources, source) and _cover(way.targets, target)), None)


def _cover(codes: frozenset[str], asked: str) -> bool:
    """Whether one of these serves the language that was asked for: `zh` for `zh-Hans`, `pt-BR` for `pt`, not `pt-BR` for `pt-PT`."""
    base = _base(asked)
    return not codes.isdisjoint((ANY, asked, base)) or (asked == base and any(_base(code) == base for code in codes))


def _base(code: str) -> str:
    return code.partition("-")[0]


def _rank(route: Route) -> tuple[bool, int, int, str]:
    wildcards = (route.source == ANY) + (route.target == ANY)
    return not route.project, -route.priority, wildcards, route.model
