"""The part of docs/performance.md that holds Yunmo beside other servers: tables and plots from bench/results/peers."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from peers import plots

Result = dict[str, Any]
_OURS = "yunmo"


def section(results: Path, page: Path) -> str:
    """The section as Markdown, its plots written beside the page; nothing when nothing is kept."""
    kept = [json.loads(file.read_text()) for file in sorted((results / "peers").glob("*.json"))]
    if not kept:
        return ""
    limits = _limits(results)
    parts = [_INTRODUCTION, _conditions(kept), _limits_table(limits)]
    measured = {load: [result for result in kept if result["load"] == load and result["rounds"]] for load in _WRITERS}
    for load, write in _WRITERS.items():
        if measured[load]:
            parts += write(measured[load], limits)
    drawn = plots.write(measured, page.parent / "plots")
    parts += [f"![{title}](plots/{file.name})\n" for title, file in drawn]
    parts += _could_not(kept)
    return "\n".join(parts)


_INTRODUCTION = """## Beside other servers

`make peers` · the same models, client and loads, in one session: every window is measured on Yunmo, then on the peer, in each round. Cells are *the peer's figure / Yunmo's figure of the same session* (ours ÷ theirs), medians of the rounds; differences
under 20 % are ties. Yunmo serves with the plan that its calibration chose; the peers as their documentation shows, with batching where they have it.
"""


def _conditions(kept: Sequence[Result]) -> str:
    machine = kept[0]["machine"]
    loads = [before["load_average"] for result in kept for before in result["before_each_round"]]
    busy = [before["busy_percent"] for result in kept for before in result["before_each_round"]]
    plans = {name: plan for result in kept for name, plan in result["yunmo"].items()}
    versions = {name: version for result in kept for name, version in result["versions"].items()}
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {', '.join(machine['instructions'])} · "
        f"{min(result['at'] for result in kept)[:10]} to {max(result['at'] for result in kept)[:10]} · "
        f"load average before a round {min(loads):.1f} to {max(loads):.1f} (a round follows another's), "
        f"processor busy with other things {min(busy):.0f} to {max(busy):.0f} %.\n\n"
        + "".join(f"- `{name}`: {', '.join(f'{key} {value}' for key, value in plan.items())}\n" for name, plan in plans.items())
        + f"- versions: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}\n"
    )


def _limits(results: Path) -> dict[str, dict[str, float]]:
    file = results / "limits.json"
    return json.loads(file.read_text())["figures"] if file.exists() else {}


def _limits_table(limits: dict[str, dict[str, float]]) -> str:
    if not limits:
        return ""
    names = list(next(iter(limits.values())))
    rows = [[threads, *(f"{cell[name]:g}" for name in names)] for threads, cell in limits.items()]
    return "### What the machine can do at most\n\n`python bench/limits.py`\n\n" + _table(["", *names], rows)


def _encoders(kept: Sequence[Result], limits: dict[str, dict[str, float]]) -> Iterator[str]:
    for task, title in (("classify", "Classification"), ("embed", "Embedding")):
        yield f"### {title} over HTTP: requests per second\n"
        yield f"MiniLM-L6, 8 to about 128 tokens, {kept[0]['gflop']['a text']:.2f} useful GFLOP a text (padding is not counted).\n"
        yield _encoder_table(kept, task, limits)


def _bert(kept: Sequence[Result], limits: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "### Classification over HTTP with an encoder of BERT-base's size: requests per second\n"
    yield f"12 layers of 768, the same texts, {kept[0]['gflop']['a text']:.1f} useful GFLOP a text (padding is not counted).\n"
    yield _encoder_table(kept, "classify", limits)


def _encoder_table(kept: Sequence[Result], task: str, limits: dict[str, dict[str, float]]) -> str:
    cells = [cell for cell in kept[0]["figures"] if cell.startswith(f"{task}, ") and cell.endswith("clients")]
    rows = []
    for result in kept:
        figures = result["figures"]
        if not any(cell in figures for cell in cells):
            continue
        rates = [_pair(figures, cell, result["peer"], "requests_per_second") for cell in cells]
        fidelity = figures.get(f"{task}, fidelity", {})
        shown = [next(iter(fidelity[side].values())) for side in (result["peer"], _OURS) if side in fidelity]
        best = [max(figures[cell][side]["requests_per_second"] for cell in cells if cell in figures) for side in (result["peer"], _OURS)]
        peaks = [_percent(rate * result["gflop"]["a text"], limits) for rate in best]
        rows.append([result["title"], *rates, " / ".join(f"{value:.4g}" for value in shown), " / ".join(peaks)])
    measure = "same label as fp32" if task == "classify" else "smallest cosine with fp32"
    return _table(["", *(_named(cell.split(", ")[1]) for cell in cells), measure, "best, % of the fp32 peak"], rows)


def _chat(kept: Sequence[Result], limits: dict[str, dict[str, float]]) -> Iterator[str]:
    cells = list(dict.fromkeys(cell for result in kept for cell in result["figures"]))
    yield "### Chat over HTTP, streaming: output tokens per second of all clients together\n"
    yield f"SmolLM2-135M-Instruct, {kept[0]['effort']['chat_tokens']} tokens an answer, greedy; all clients ask at the same moment.\n"
    rows = [[_named(cell), *(_pair(result["figures"], cell, result["peer"], "tokens_per_second") for result in kept)] for cell in cells]
    yield _table(["", *(result["title"] for result in kept)], rows)
    yield "### Chat: seconds to the first token, median and 95th percentile\n"
    rows = [[_named(cell), *(_firsts(result, cell) for result in kept)] for cell in cells]
    yield _table(["", *(result["title"] for result in kept)], rows)
    bandwidth = max((cell["GB/s read"] for cell in limits.values()), default=0)
    alone = next((cell for cell in cells if cell == "short, 1 clients"), None)
    if bandwidth and alone:
        bytes_per_token = kept[0]["gflop"]["a token"] / 2
        shown = [f"{result['title']} {_bandwidth(result, alone, bytes_per_token / bandwidth)}" for result in kept]
        yield (
            f"Reading each of {bytes_per_token * 1000:.0f} million weights once a token as a byte, one client alone reaches of the memory bandwidth: "
            f"{', '.join(shown)} (%; two-byte weights need twice as much).\n"
        )


def _overload(kept: Sequence[Result], limits: dict[str, dict[str, float]]) -> Iterator[str]:
    del limits
    yield "### Overload: answers within 1.5 s per second, Poisson arrivals\n"
    yield (
        "Offered is a multiple of what the same server did with 32 closed-loop clients just before; latency counts from when a request was due. "
        "A cell: goodput as a share of that capacity; refused requests and how long a refusal took. "
        "The last column: goodput at the highest load as a share of the best point.\n"
    )
    cells = list(dict.fromkeys(cell for result in kept for cell in result["figures"]))
    rows = []
    for result in kept:
        for side, title in ((result["peer"], result["title"]), (_OURS, "Yunmo beside it")):
            found = [result["figures"].get(cell, {}).get(side) for cell in cells]
            rows.append([title, *(_goodput(each) for each in found), f"{100 * share_of_the_best(result['figures'], side):.0f} %"])
    yield _table(["", *(f"{cell.replace('x', '×')} capacity" for cell in cells), "kept"], rows)


def share_of_the_best(figures: dict[str, Any], side: str) -> float:
    """Goodput under the heaviest load over that of the best point: 1 for a server that overload does not harm."""
    goodputs = {float(cell.removeprefix("x")): found[side]["goodput_per_second"] for cell, found in figures.items() if side in found}
    best = max(goodputs.values(), default=0.0)
    return goodputs[max(goodputs)] / best if best else 0.0


def _cold_start(kept: Sequence[Result], limits: dict[str, dict[str, float]]) -> Iterator[str]:
    del limits
    yield "### From the start of the process to the first answer, and memory by then\n"
    yield "Both encoders, or the chat model, are loaded; everything is on the disk already.\n"
    rows = []
    for result in kept:
        figures = result["figures"]
        rows.append([result["title"], *(_pair(figures, "first answer", result["peer"], name) for name in ("seconds", "resident_mib"))])
    yield _table(["", "seconds", "MiB (shared pages counted once)"], rows)


_WRITERS = {"encoders": _encoders, "bert": _bert, "chat": _chat, "overload": _overload, "cold_start": _cold_start}


def _could_not(kept: Sequence[Result]) -> list[str]:
    lines = [
        f"- {result['title']}, {result['load']}: {result['could_not'].splitlines()[0][:300]}" for result in kept if result["could_not"]
    ]
    return ["### What could not be measured\n", *lines, ""] if lines else []


def _pair(figures: dict[str, Any], cell: str, peer: str, name: str) -> str:
    """The peer's and ours, and how many times as much ours is."""
    found = figures.get(cell, {})
    if peer not in found or _OURS not in found:
        return "–"
    theirs, ours = found[peer][name], found[_OURS][name]
    times = f" ({ours / theirs:.2g}×)" if theirs else ""
    return f"{_number(theirs)} / {_number(ours)}{times}"


def _firsts(result: Result, cell: str) -> str:
    found = result["figures"].get(cell, {})
    if not found:
        return "–"
    shown = [
        f"{found[side]['first_token_seconds_p50']:.2g}, {found[side]['first_token_seconds_p95']:.2g}" for side in (result["peer"], _OURS)
    ]
    return " / ".join(shown)


def _goodput(found: dict[str, float] | None) -> str:
    if found is None:
        return "–"
    share = found["goodput_per_second"] / found["capacity"] if found["capacity"] else 0.0
    refused = f"; {100 * found['refused_share']:.0f} % refused in {found['refusal_p50_ms']:.0f} ms" if found["refused_share"] else ""
    return f"{100 * share:.0f} %{refused}"


def _bandwidth(result: Result, cell: str, share_per_rate: float) -> str:
    found = result["figures"][cell]
    return " / ".join(f"{100 * found[side]['tokens_per_second'] * share_per_rate:.0f}" for side in (result["peer"], _OURS))


def _percent(gflops: float, limits: dict[str, dict[str, float]]) -> str:
    peak = max((cell["fp32 GFLOP/s"] for cell in limits.values()), default=0.0)
    return f"{100 * gflops / peak:.0f}" if peak else "–"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _named(cell: str) -> str:
    return cell.removesuffix("s") if cell.endswith("1 clients") and not cell.endswith("11 clients") else cell


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"
