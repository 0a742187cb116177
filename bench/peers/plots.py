"""Small plots of what was measured beside other servers: throughput by clients, chat by clients, goodput by offered load."""

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_OURS = "yunmo"
_WIDTH, _HEIGHT = 7.2, 3.6
_WANTED_SHARE = 0.95
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "yunmo", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}

Series = dict[str, list[tuple[float, float]]]
"""Points by the name of the line."""


def write(measured: Mapping[str, Sequence[dict[str, Any]]], directory: Path) -> list[tuple[str, Path]]:
    """The plots that there are figures for, as title and file."""
    wanted = [
        (
            "classification.svg",
            "Classification: requests/s by clients",
            "clients",
            _by_clients(measured["encoders"], "classify, ", "requests_per_second"),
        ),
        (
            "chat.svg",
            "Chat, prompts of 128 tokens: tokens/s by clients",
            "clients",
            _by_clients(measured["chat"], "128 tokens, ", "tokens_per_second"),
        ),
        (
            "first_token.svg",
            "Chat, prompts of 128 tokens: seconds to first token",
            "clients",
            _by_clients(measured["chat"], "128 tokens, ", "first_token_seconds_p50"),
        ),
        (
            "bert.svg",
            "BERT-base's size: requests/s by clients",
            "clients",
            _by_clients(measured["bert"], "classify, ", "requests_per_second"),
        ),
        ("goodput.svg", "Goodput by offered load, both as multiples of the capacity", "offered ÷ capacity", _goodput(measured["overload"])),
    ]
    drawn = []
    for name, title, axis, series in wanted:
        if series:
            directory.mkdir(parents=True, exist_ok=True)
            _draw(directory / name, title, axis, series)
            drawn.append((title, directory / name))
    return drawn


def shares(measured: Mapping[str, float], directory: Path) -> list[str]:
    """A bar for each load that is held against its bare engine, as Markdown with the plot beside the page; nothing when there is none."""
    if not measured:
        return []
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    directory.mkdir(parents=True, exist_ok=True)
    title = "Throughput over HTTP as a share of the bare engine's"
    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(_WIDTH, 0.5 + 0.3 * len(measured)), layout="constrained")
        names = [textwrap.shorten(name, 60, placeholder=" …") for name in measured]
        axes.barh(names[::-1], list(measured.values())[::-1], height=0.6)
        axes.axvline(_WANTED_SHARE, color="black", linewidth=1, linestyle="--")
        figure.suptitle(title, fontsize=10)
        axes.set(xlim=(0, None))
        figure.savefig(directory / "shares.svg", metadata={"Date": None})
        plt.close(figure)
    return [f"![{title}; the dashed line is the bar]({directory.name}/shares.svg)\n"]


def _by_clients(kept: Sequence[dict[str, Any]], prefix: str, figure: str) -> Series:
    """A line for each peer, and one for Yunmo with the median of the sessions."""
    series: Series = {}
    ours: dict[float, list[float]] = {}
    for result in kept:
        for cell, found in result["figures"].items():
            if not cell.startswith(prefix) or not cell.endswith(" clients"):
                continue
            clients = float(cell.removeprefix(prefix).split()[0])
            series.setdefault(result["title"], []).append((clients, found[result["peer"]][figure]))
            ours.setdefault(clients, []).append(found[_OURS][figure])
    return _with_ours(series, ours)


def _goodput(kept: Sequence[dict[str, Any]]) -> Series:
    series: Series = {}
    ours: dict[float, list[float]] = {}
    for result in kept:
        for cell, found in result["figures"].items():
            factor = float(cell.removeprefix("x"))
            shares = {side: each["goodput_per_second"] / each["capacity"] for side, each in found.items() if each["capacity"]}
            if result["peer"] in shares:
                series.setdefault(result["title"], []).append((factor, shares[result["peer"]]))
            if _OURS in shares:
                ours.setdefault(factor, []).append(shares[_OURS])
    return _with_ours(series, ours)


def _with_ours(series: Series, ours: Mapping[float, Sequence[float]]) -> Series:
    if not ours:
        return series
    return {"Yunmo (median of the sessions)": [(at, statistics.median(values)) for at, values in sorted(ours.items())], **series}


def _draw(file: Path, title: str, axis: str, series: Series) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        for number, (name, points) in enumerate(series.items()):
            x, y = zip(*sorted(points), strict=True)
            axes.plot(x, y, marker="o", markersize=3, linewidth=2.5 if number == 0 else 1.2, label=name)
        axes.set(title=title, xlabel=axis, ylim=(0, None))
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({at for points in series.values() for at, _ in points}), minor=False)
        axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
        axes.minorticks_off()
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)
