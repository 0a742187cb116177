"""The changes of a pull request as git would print them, so that `git apply` takes them.

Each file has one hunk, from its first changed line to its last: comparing lines more finely takes time that grows with the square of
their number, and strangers choose the files.
"""

from collections.abc import Sequence
from itertools import takewhile

from yunmo.hub.files import Files
from yunmo.hub.objects import Entry, pointer_text
from yunmo.hub.trees import Difference

FILE_LIMIT_BYTES = 256 * 1024
DIFF_LIMIT_CHARACTERS = 2 * 1024 * 1024
_CONTEXT = 3
_NOTHING = "0" * 40


async def unified(files: Files, changes: Sequence[Difference]) -> str:
    """The diff of these files; large ones through their pointers, and only as many as fit."""
    parts: list[str] = []
    size = 0
    for count, change in enumerate(changes):
        part = _file(change, await _text(files, change.old), await _text(files, change.new))
        size += len(part)
        if size > DIFF_LIMIT_CHARACTERS:
            parts.append(f"# {len(changes) - count} more files are not shown\n")
            break
        parts.append(part)
    return "".join(parts)


async def _text(files: Files, entry: Entry | None) -> str | None:
    """The file's text, empty if it is not there; None for what cannot be shown."""
    if entry is None:
        return ""
    if entry.sha256 is not None:
        return pointer_text(entry.sha256, entry.size).decode()
    if entry.size > FILE_LIMIT_BYTES:
        return None
    content = await files.read(entry, None)
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _file(change: Difference, old: str | None, new: str | None) -> str:
    oids = [entry.oid if entry else _NOTHING for entry in (change.old, change.new)]
    header = [f"diff --git a/{change.path} b/{change.path}"]
    if change.old is None or change.new is None:
        header.append(f"{'new' if change.old is None else 'deleted'} file mode 100644")
        header.append(f"index {oids[0]}..{oids[1]}")
    else:
        header.append(f"index {oids[0]}..{oids[1]} 100644")
    names = [f"a/{change.path}" if change.old else "/dev/null", f"b/{change.path}" if change.new else "/dev/null"]
    if old is None or new is None:
        return "\n".join([*header, f"Binary files {names[0]} and {names[1]} differ", ""])
    hunk = _hunk(_lines(old), _lines(new))
    return "\n".join([*header, f"--- {names[0]}", f"+++ {names[1]}", hunk]) if hunk else "\n".join([*header, ""])


def _lines(text: str) -> list[str]:
    """The lines with their ends; only a line feed ends one."""
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


def _hunk(old: list[str], new: list[str]) -> str:
    first = _common(old, new)
    last = _common(old[first:][::-1], new[first:][::-1])
    if first == len(old) == len(new):
        return ""
    start = max(first - _CONTEXT, 0)
    after = min(last, _CONTEXT)
    marked = [(" ", line) for line in old[start:first]]
    marked += [("-", line) for line in old[first : len(old) - last]]
    marked += [("+", line) for line in new[first : len(new) - last]]
    marked += [(" ", line) for line in old[len(old) - last : len(old) - last + after]]
    counts = [len(side) - last + after - start for side in (old, new)]
    spans = [f"{start + 1 if count else start},{count}" for count in counts]
    body = "".join(f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n" for mark, line in marked)
    return f"@@ -{spans[0]} +{spans[1]} @@\n{body}"


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines the two begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
