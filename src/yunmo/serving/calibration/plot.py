"""A calibration as a picture: one bar per plan, the chosen one marked, in SVG for any browser."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from yunmo.core.engine import Plan
from yunmo.serving.calibration.report import Calibration, Trial

_WIDTH, _ROW, _TOP, _NAMES, _BARS = 860, 34, 56, 250, 300
_COLOURS = {"chosen": "#0a7d4f", "fit": "#7fb3d5", "drifted": "#d9a441", "failed": "#c0392b", "untried": "#b0b0b0"}


def plot(calibration: Calibration, chosen: Plan | None) -> str:
    """The picture: units per second as bars, and beside each the time of one request alone and the drift."""
    height = _TOP + _ROW * len(calibration.trials) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(12, 24, f"{calibration.repository} @ {calibration.revision[:7]}: {calibration.task}", "bold"),
        _text(12, 42, f"{calibration.unit}, p50 of one request alone, agreement with the reference"),
        *_rows(calibration, chosen),
        "</svg>",
    ]
    return "\n".join(parts)


def plan_words(plan: Plan) -> str:
    """A plan in a few words: engine, precision, streams × threads."""
    return " ".join(part for part in (plan.engine, plan.precision, f"{plan.streams}×{plan.threads}") if part)


def _rows(calibration: Calibration, chosen: Plan | None) -> Iterator[str]:
    fastest = max((trial.pace.per_second for trial in calibration.trials if trial.pace), default=1.0) or 1.0
    for number, trial in enumerate(calibration.trials):
        top = _TOP + number * _ROW
        kind = "chosen" if trial.plan == chosen else trial.verdict
        width = _BARS * trial.pace.per_second / fastest if trial.pace else 0.0
        yield _text(12, top + 19, plan_words(trial.plan), "bold" if kind == "chosen" else "normal")
        yield f'<rect x="{_NAMES}" y="{top + 5}" width="{max(width, 1):.1f}" height="20" rx="3" fill="{_COLOURS[kind]}"/>'
        yield _text(_NAMES + width + 8, top + 19, _told(trial, kind))


def _told(trial: Trial, kind: str) -> str:
    if trial.pace is None:
        return f"{trial.verdict}: {trial.reason[:70]}"
    agreement = f", {trial.drift.agreement:.2%}" if trial.drift else ", reference"
    mark = {"chosen": " ← chosen", "drifted": " (drifted)"}.get(kind, "")
    return f"{trial.pace.per_second:,.1f}, {trial.pace.p50_ms:,.1f} ms{agreement}{mark}"


def _text(left: float, top: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{left:.1f}" y="{top:.1f}" font-weight="{weight}" fill="#222">{escape(text)}</text>'
