"""Security verdicts on files, made when they are first asked for and remembered: a file's content never changes."""

import asyncio
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from yunmo.core.errors import InvalidRequest, Unavailable
from yunmo.hub import formats, pickles
from yunmo.hub.files import Files, Page
from yunmo.hub.large import LargeFile
from yunmo.hub.trees import Item

HEAD_BYTES = 512
_KEPT = 100_000
_READ_SECONDS = 60
_FILES_LIMIT = 1000
_NAMED = 10
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")
_NUMPY_SUFFIXES = (".npy", ".npz")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/+ -]+")

Status = Literal["safe", "suspicious", "unsafe"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What loading the file could do. `names` are a pickle's imports that are not known to be harmless."""

    status: Status = "safe"
    message: str = ""
    names: tuple[str, ...] = ()


_SAFE = Verdict()


class Scans:
    """Looks into files, one at a time in a thread of its own: reading opcodes is slow, and the event loop has other work."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._known: dict[tuple[str, str], Verdict] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="scan")
        self._closing = threading.Event()

    async def verdict(self, item: Item, large: LargeFile | None) -> Verdict:
        """The file's verdict; `large` is None for small files."""
        key = (item.entry.oid, PurePosixPath(item.path).suffix.lower())
        known = self._known.get(key)
        if known is None:
            known = await self._scan(item, large)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = known
        return known

    async def is_pickle(self, item: Item, large: LargeFile | None) -> bool:
        """Whether loading the file would run Python's pickle."""
        return is_pickle(item.path, await self._files.read(item.entry, large, 0, HEAD_BYTES))

    async def refuse_pickle(self, item: Item, large: LargeFile | None) -> None:
        """For servers that take weights as safetensors only: raise InvalidRequest for a file that would run Python's pickle."""
        if await self.is_pickle(item, large):
            raise refusal(item.path)

    async def issues(self, page: Page) -> tuple[Sequence[tuple[str, Verdict]], bool]:
        """The files of a revision that are not safe, and whether all files were looked at."""
        found = []
        for item in page.items[:_FILES_LIMIT]:
            large = page.large.get(item.entry.sha256 or "")
            if item.entry.sha256 is None or large is not None:
                verdict = await self.verdict(item, large)
                if verdict.status != "safe":
                    found.append((item.path, verdict))
        return found, len(page.items) <= _FILES_LIMIT

    def close(self) -> None:
        """Let the thread end; what it reads is given up."""
        self._closing.set()
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _scan(self, item: Item, large: LargeFile | None) -> Verdict:
        if not await self.is_pickle(item, large):
            return _SAFE
        if not item.path.lower().endswith(formats.PICKLE_SUFFIXES + _NUMPY_SUFFIXES):
            return Verdict("unsafe", "It is a pickle under the name of something else.")
        findings = await self._findings(item, large)
        if findings.outcome == "unreadable":
            return Verdict("unsafe", f"It is a pickle that cannot be checked: {findings.problem}.{_sentence(findings)}", findings.names)
        if findings.outcome == "suspicious":
            return Verdict("suspicious", _sentence(findings).strip(), findings.names)
        return Verdict("safe", "It is a pickle of tensors and plain values.")

    async def _findings(self, item: Item, large: LargeFile | None) -> pickles.Findings:
        loop = asyncio.get_running_loop()
        failures: list[BaseException] = []

        def read(start: int, end: int) -> bytes:
            reading = asyncio.run_coroutine_threadsafe(self._files.read(item.entry, large, start, end), loop)
            for _ in range(_READ_SECONDS):
                try:
                    return reading.result(1)
                except TimeoutError:
                    if self._closing.is_set() or reading.done():
                        break
                except BaseException as error:
                    failures.append(error)
                    raise
            reading.cancel()
            failures.append(Unavailable(f"{item.path!r} could not be read in {_READ_SECONDS} s. Try again.", retry_after_seconds=10))
            raise failures[-1]

        try:
            return await loop.run_in_executor(self._worker, pickles.inspect, read, item.entry.size)
        finally:
            if failures:  # what went wrong in our store says nothing about the file
                raise failures[0]


def is_pickle(path: str, head: bytes) -> bool:
    """Whether loading the file would run Python's pickle, by its first bytes and its name."""
    if formats.is_pickle(path, head):
        return True
    name = path.lower()
    if name.endswith(".npz"):
        return head.startswith(_ARCHIVES)
    is_archive = head.startswith(_ARCHIVES) or head[257:262] == b"ustar"
    return name.endswith(formats.PICKLE_SUFFIXES) and not formats.has_other_magic(head) and (is_archive or pickles.starts_as_pickle(head))


def refusal(path: str) -> InvalidRequest:
    """Why a pickle is not taken where only safetensors are, and how to convert it."""
    source = path if _PLAIN_PATH.fullmatch(path) else "pytorch_model.bin"
    folder, name = PurePosixPath(source).parent, PurePosixPath(source).stem
    target = folder / f"{name.replace('pytorch_model', 'model')}.safetensors"
    return InvalidRequest(
        f"{path!r} is a pickle, and this server takes weights as safetensors only (its setting hub.safetensors_only), since loading a "
        "pickle can run any program in it. Leave the file out if it holds no weights; otherwise convert it and push the result: "
        'python -c "import torch; from safetensors.torch import save_file; '
        f"tensors = torch.load('{source}', map_location='cpu', weights_only=True); "
        f"save_file({{name: tensor.clone().contiguous() for name, tensor in tensors.items()}}, '{target}', {{'format': 'pt'}})\"",
        param="path",
    )


def _sentence(findings: pickles.Findings) -> str:
    if not findings.names:
        return ""
    more = f" and {len(findings.names) - _NAMED} more" if len(findings.names) > _NAMED else ""
    return f" Loading it imports {', '.join(findings.names[:_NAMED])}{more}."
