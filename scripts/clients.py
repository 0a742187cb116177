"""Make a virtual environment under .clients/ for each client in clients.toml; what is there already is left alone.

Usage: python scripts/clients.py [name ...]
"""  # noqa: INP001 (a program, not a package)

import subprocess
import sys
import tomllib
import venv
from pathlib import Path

TABLE = Path(__file__).with_name("clients.toml")
CLIENTS = Path(__file__).resolve().parents[1] / ".clients"


def main(names: list[str]) -> None:
    """Bring the named environments (all of them if none is named) up to date."""
    table = tomllib.loads(TABLE.read_text())
    unknown = set(names) - table.keys()
    if unknown:
        sys.exit(f"clients.toml has no {', '.join(sorted(unknown))}; it has {', '.join(table)}.")
    for name in names or table:
        bring_up(name, table[name]["packages"])


def bring_up(name: str, packages: list[str]) -> None:
    """Make one environment unless its stamp says that it holds these packages."""
    directory = CLIENTS / name
    stamp = directory / "stamp.txt"
    wanted = "\n".join([f"python {sys.version_info.major}.{sys.version_info.minor}", *packages])
    if stamp.exists() and stamp.read_text() == wanted:
        sys.stdout.write(f"{name}: there\n")
        return
    venv.create(directory, clear=True, with_pip=True)
    install = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(install, check=True)  # noqa: S603 (our own table's packages)
    stamp.write_text(wanted)
    sys.stdout.write(f"{name}: made\n")


if __name__ == "__main__":
    main(sys.argv[1:])
