"""The patterns of .gitattributes and .gitignore, matched in time that no pattern can blow up."""

import fnmatch
import re
from functools import lru_cache

_PATTERN_LIMIT = 255
_LINE_LIMIT = 2000


class Rules:
    """Ordered patterns, each saying yes or no; the last that matches a path decides."""

    def __init__(self, rules: "list[tuple[Glob, bool]]") -> None:
        self._rules = rules

    def decide(self, path: str) -> bool:
        """What the last matching pattern says; no if none matches."""
        segments = path.split("/")
        return next((answer for glob, answer in reversed(self._rules) if glob.matches(segments)), False)


class Glob:
    """One pattern. Without a slash it matches at any depth; with `covers_folders` also everything below a match."""

    def __init__(self, pattern: str, *, covers_folders: bool = False) -> None:
        text = pattern[:_PATTERN_LIMIT]
        is_anchored = "/" in text.rstrip("/")
        parts = [part for part in text.split("/") if part]
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in ([] if is_anchored else ["**"]) + parts]
        self._covers_folders = covers_folders

    def matches(self, segments: list[str]) -> bool:
        """Whether the path with these segments is meant."""
        reached = self._skip({0})
        for segment in segments:
            if self._covers_folders and len(self._parts) in reached:
                return True
            forward = {at + 1 for at in reached if (part := self._part(at)) is not None and part.match(segment)}
            reached = self._skip(forward | {at for at in reached if at < len(self._parts) and self._parts[at] is None})
        return len(self._parts) in reached

    def _part(self, at: int) -> re.Pattern[str] | None:
        return self._parts[at] if at < len(self._parts) else None

    def _skip(self, reached: set[int]) -> set[int]:
        """`**` may also stand for no folder at all."""
        pending = list(reached)
        while pending:
            at = pending.pop()
            if at < len(self._parts) and self._parts[at] is None and at + 1 not in reached:
                reached.add(at + 1)
                pending.append(at + 1)
        return reached


@lru_cache(maxsize=64)
def large_file_rules(attributes: str) -> Rules:
    """The lines of .gitattributes that switch `filter=lfs` on or off."""
    rules: list[tuple[Glob, bool]] = []
    for line in attributes.splitlines()[:_LINE_LIMIT]:
        pattern, *words = line.split()[:32] or [""]
        if not pattern or pattern.startswith("#"):
            continue
        if "filter=lfs" in words:
            rules.append((Glob(pattern), True))
        elif any(word in {"-filter", "!filter", "filter"} or word.startswith("filter=") for word in words):
            rules.append((Glob(pattern), False))
    return Rules(rules)


@lru_cache(maxsize=16)
def ignore_rules(ignore: str) -> Rules:
    """The lines of .gitignore."""
    lines = (line.strip() for line in ignore.splitlines()[:_LINE_LIMIT])
    return Rules(
        [
            (Glob(line.removeprefix("!"), covers_folders=True), not line.startswith("!"))
            for line in lines
            if line and not line.startswith("#")
        ]
    )
