"""What the cache holds of models' revisions, and its removal once no deployment wants a revision any more."""

import asyncio
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import structlog

_FOLDERS = ("models", "derived")
_REVISION = re.compile(r"[0-9a-f]{40}")
_SWEEP_SECONDS = 3600.0
_GONE = ".gone-"
_log = structlog.get_logger()


class LaidOut:
    """The folders `models/REVISION` and `derived/REVISION`; a folder's time of change says when it was last wanted."""

    def __init__(self, cache: Path, keep_seconds: float) -> None:
        self._cache = cache
        self._keep_seconds = keep_seconds

    async def sweep(self, wanted: Callable[[], Collection[str]]) -> int:
        """Remove the folders of revisions that were not wanted for `keep_seconds`, and what a crash left of such; how many went."""
        self._retire(wanted())
        gone = [path for path in self._entries() if path.name.startswith(_GONE)]
        for path in gone:
            await asyncio.to_thread(_remove, path)
        return len(gone)

    async def tidy(self, wanted: Callable[[], Collection[str]]) -> None:
        """Sweep every hour until cancelled."""
        while True:
            try:
                await self.sweep(wanted)
            except OSError as error:
                _log.warning("cache_not_swept", error=str(error))
            await asyncio.sleep(_SWEEP_SECONDS)

    def _retire(self, wanted: Collection[str]) -> None:
        """Rename what shall go. In one step with the look at what is wanted, so that nobody begins to load it in between."""
        oldest = time.time() - self._keep_seconds
        for path in self._entries():
            if not _REVISION.fullmatch(path.name):
                continue
            if path.name in wanted:
                os.utime(path)
            elif path.stat().st_mtime < oldest:
                path.rename(path.with_name(f"{_GONE}{path.name}-{secrets.token_hex(4)}"))
                _log.info("laid_out_model_retired", folder=path.parent.name, revision=path.name)

    def _entries(self) -> Iterator[Path]:
        for folder in _FOLDERS:
            if (self._cache / folder).is_dir():
                yield from [path for path in sorted((self._cache / folder).iterdir()) if path.is_dir() and not path.is_symlink()]


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except OSError as error:
        _log.warning("laid_out_model_not_removed", path=str(path), error=str(error))
