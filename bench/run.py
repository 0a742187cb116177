"""Every benchmark, one after the other, and the page that shows what they found.

python bench/run.py [NAME …] [--report-only]
"""

import argparse
import json
import subprocess
import sys

import bars
from harness import RESULTS, ROOT
from peers import plots, report

BENCHMARKS = {
    "start": ("start",),
    "cold_start": ("cold_start",),
    "echo_path": ("echo_path",),
    "hub_transfer": ("hub_transfer",),
    "chat_http": ("chat_http",),
    "chat_engines": ("chat_engines",),
    "classification_http": ("classification_http",),
    "classification_http_bert_base": ("classification_http", "--model", "bert-base"),
    "embeddings_http": ("embeddings_http",),
    "batches": ("batches",),
    "training": ("training",),
    "encoder_fidelity": ("encoder_fidelity",),
    "translation_http": ("translation_http",),
    "translation_inprocess": ("translation_inprocess",),
    "memory": ("memory",),
}
"""The program of each result, and its options."""

GIVEN = ("translation_marian",)
"""Results of a program that is given a model by hand."""

PAGE = ROOT / "docs" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which (default: all)")
    parser.add_argument("--report-only", action="store_true", help="only write docs/performance.md from bench/results")
    options = parser.parse_args()
    for name in () if options.report_only else options.names or BENCHMARKS:
        print(f"--- {name}", flush=True)
        program, *arguments = BENCHMARKS[name]
        subprocess.run([sys.executable, str(ROOT / "bench" / f"{program}.py"), *arguments], check=True)
    write_page()


def write_page() -> None:
    """Write the page and its plots from what is kept."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")


def page() -> str:
    """The results as a page: each with its command, its machine and its figures."""
    parts = [
        "# Measured\n",
        (
            "Written by `make bench` from `bench/results`. Medians; compare inside one table only. "
            "Client, server and peer share the machine's cores.\n"
        ),
    ]
    parts += [bars.section(RESULTS), *plots.shares(bars.shares(RESULTS), PAGE.parent / "plots")]
    for name in (*BENCHMARKS, *GIVEN):
        path = RESULTS / f"{name}.json"
        if path.exists():
            parts.append(_section(json.loads(path.read_text())))
    parts.append(report.section(RESULTS, PAGE))
    return "\n".join(part for part in parts if part)


def _section(result: dict) -> str:
    machine = result["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {', '.join(machine['instructions'])}"
    lines = [f"## {result['name']}\n", f"`{result['command']}` · {result['at']} · {where} · load before: {machine['load_before']:.1f}\n"]
    lines += ["| | |", "|---|---|"]
    for label, value in result["figures"].items():
        shown = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
        lines.append(f"| {label} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
