"""Make a virtual environment under bench/.cache/peers for each one of peers.toml; what is there already is left alone.

python bench/peers/environments.py [NAME …]
"""

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

TABLE = tomllib.loads(Path(__file__).with_name("peers.toml").read_text())
ENVIRONMENTS = Path(__file__).parents[1] / ".cache" / "peers"


def main(names: list[str]) -> None:
    """Bring the named environments (all of them if none is named) up to date; the rest are made even when one cannot be."""
    known = TABLE["environments"]
    unknown = set(names) - known.keys()
    if unknown:
        sys.exit(f"peers.toml has no environment {', '.join(sorted(unknown))}; it has {', '.join(known)}.")
    failed = [name for name in names or known if (reason := bring_up(name)) and print(f"{name}: could not: {reason}", flush=True) is None]
    sys.exit(f"not installed: {', '.join(failed)}" if failed else 0)


def python_of(environment: str) -> Path:
    """Its interpreter, which need not be there."""
    return ENVIRONMENTS / environment / "bin" / "python"


def missing(environment: str) -> str | None:
    """Why it cannot be used, or nothing when it is as the table wants it."""
    directory = ENVIRONMENTS / environment
    stamp, failure = directory / "stamp.txt", directory / "could-not.txt"
    if stamp.exists() and stamp.read_text() == _wanted(environment):
        return None
    return failure.read_text() if failure.exists() else f"not installed: python bench/peers/environments.py {environment}"


def bring_up(environment: str) -> str | None:
    """Make one environment unless its stamp says that it holds these packages; the reason when it cannot be made."""
    if missing(environment) is None:
        print(f"{environment}: there", flush=True)
        return None
    directory = ENVIRONMENTS / environment
    venv.create(directory, clear=True, with_pip=True)
    constraints = directory / "constraints.txt"
    constraints.write_text("\n".join(TABLE["constraints"]) + "\n")
    for step in _steps(TABLE["environments"][environment]):
        arguments = [*step, "--constraint", str(constraints)] if step[0] == "install" else step
        command = [str(python_of(environment)), "-m", "pip", *arguments, "--quiet"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=_patient())
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr[-300:])
            (directory / "could-not.txt").write_text(reason)
            return reason
    _name(directory, TABLE["environments"][environment].get("also_named"))
    (directory / "stamp.txt").write_text(_wanted(environment))
    print(f"{environment}: made", flush=True)
    return None


def _wanted(environment: str) -> str:
    version = f"python {sys.version_info.major}.{sys.version_info.minor}"
    return "\n".join([version, *(" ".join(step) for step in _steps(TABLE["environments"][environment]))])


def _steps(environment: dict[str, Any]) -> list[list[str]]:
    torch = [["install", f"torch=={environment['torch']}"]] if "torch" in environment else []
    removed = [["uninstall", "--yes", *environment["removed"]]] if "removed" in environment else []
    return [*torch, ["install", *environment["packages"]], *removed]


def _name(directory: Path, distribution: str | None) -> None:
    """Let the environment know a package by one more name and version."""
    if distribution is None:
        return
    name, version = distribution.split()
    (packages,) = directory.glob("lib/python*/site-packages")
    record = packages / f"{name}-{version}.dist-info"
    record.mkdir(exist_ok=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def _patient() -> dict[str, str]:
    return os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_WARN_CONFLICTS": "1"}


if __name__ == "__main__":
    main(sys.argv[1:])
