"""Plugins by entry point: the built-in engines register the same way as a third party's."""

import logging
from functools import cache
from importlib.metadata import entry_points

from yunmo.core.engine import EngineKind

_log = logging.getLogger(__name__)


@cache
def engines() -> dict[str, EngineKind]:
    """Every kind of engine that is installed and can be imported, by name. This loads no model library."""
    found: dict[str, EngineKind] = {}
    for entry in sorted(entry_points(group="yunmo.engines"), key=lambda each: each.name):
        try:
            kind: EngineKind = entry.load()
        except Exception:  # boundary: plugin loading, a broken plugin must not stop the others
            _log.exception("the engine plugin %s (%s) cannot be imported", entry.name, entry.value)
            continue
        found[entry.name] = kind
    return found
