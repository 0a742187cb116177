"""Before a commit: which files are to be uploaded as large ones, and what the branch holds now."""

from collections.abc import Sequence
from dataclasses import dataclass

from yunmo.core.errors import InvalidRequest
from yunmo.hub.blobs import Blobs, Staging
from yunmo.hub.files import Files
from yunmo.hub.globs import Rules, ignore_rules, large_file_rules
from yunmo.hub.paths import check_path
from yunmo.hub.records import Repository
from yunmo.hub.scans import is_pickle, refusal

FILES_LIMIT = 1000
"""Clients ask for at most 256 files at a time."""

_ATTRIBUTES_LIMIT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that a client wants to upload: its path, size and first bytes."""

    path: str
    size: int
    sample: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """How the file is to be sent, whether .gitignore leaves it out, and the id of the file that is there now."""

    path: str
    is_large: bool
    is_ignored: bool
    oid: str | None


@dataclass(frozen=True, slots=True)
class Uploads:
    """Sorts files into small ones, which travel inside the commit, and large ones."""

    files: Files
    blobs: Blobs
    large_file_bytes: int
    safetensors_only: bool = False

    def staging(self) -> Staging:
        """A place to put the small files of one commit."""
        return self.blobs.staging()

    async def plan(self, repository: Repository, revision: str, candidates: Sequence[Candidate], ignore: str | None) -> list[Decision]:
        """Decide for each file. Raises InvalidRequest for a path or pickle that cannot be, and RevisionNotFound."""
        if len(candidates) > FILES_LIMIT:
            raise InvalidRequest(f"At most {FILES_LIMIT} files can be asked about at once.", param="files")
        for candidate in candidates:
            check_path(candidate.path)
            if self.safetensors_only and is_pickle(candidate.path, candidate.sample):
                raise refusal(candidate.path)
        page = await self.files.at(repository, revision, [".gitattributes", *(candidate.path for candidate in candidates)])
        there = {item.path: item.entry for item in page.items if not item.entry.is_folder}
        attributes = there.get(".gitattributes")
        text = await self.blobs.read(attributes.oid, 0, _ATTRIBUTES_LIMIT_BYTES) if attributes and not attributes.sha256 else b""
        rules = large_file_rules(text.decode("utf-8", "replace"))
        ignored = ignore_rules((ignore or "")[:_ATTRIBUTES_LIMIT_BYTES])
        decisions = []
        for candidate in candidates:
            entry = there.get(candidate.path)
            oid = (entry.sha256 or entry.oid) if entry else None
            decisions.append(Decision(candidate.path, self._is_large(candidate, rules), ignored.decide(candidate.path), oid))
        return decisions

    def _is_large(self, candidate: Candidate, rules: Rules) -> bool:
        if candidate.size == 0:
            return False
        if candidate.size >= self.large_file_bytes or _is_binary(candidate.sample, candidate.size):
            return True
        return rules.decide(candidate.path)


def _is_binary(sample: bytes, size: int) -> bool:
    if b"\0" in sample:
        return True
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        # a sample may end inside a character
        return not (len(sample) < size and error.start >= len(sample) - 3 and error.reason == "unexpected end of data")
    return False
