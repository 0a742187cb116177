"""Three trees into one: what a pull request changed since it began, on top of what its branch has become."""

from collections.abc import Sequence

from yunmo.core.errors import InvalidRequest
from yunmo.hub.trees import Difference, Load, TreeEdit, differences


def merged(load: Load, base: str, theirs: str, ours: str) -> tuple[TreeEdit, Sequence[str]]:
    """Apply to `ours` what `theirs` changed since `base`; all three are trees' ids.

    Files are merged whole: the paths in the answer were changed on both sides, each in its own way, or stand in each other's place.
    With such conflicts the edit is not to be written.
    """
    changed_here = {each.path: each for each in differences(load, base, ours)}
    edit = TreeEdit(load, ours)
    conflicts: list[str] = []
    waiting: list[Difference] = []
    for change in differences(load, base, theirs):
        here = changed_here.get(change.path)
        if here is None:
            waiting.append(change)
        elif here.new != change.new:
            conflicts.append(change.path)
    # removals first: a file may make way for a folder of its name
    for change in sorted(waiting, key=lambda each: each.new is not None):
        try:
            if change.new is None:
                edit.remove_file(change.path)
            else:
                edit.put(change.path, change.new)
        except InvalidRequest:
            conflicts.append(change.path)
    return edit, conflicts
