"""Changes as Markdown, for the text of a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from fitcard.advisor.diff import Change, Value

MOST = 25
"""Rows of one kind that are shown; `--json` has them all."""
_TITLES = {
    "model": "Models",
    "card": "GPUs",
    "quantization": "Quantizations",
    "run": "Runs",
    "published": "Published figures, per second",
    "constant": "Constants of the sums",
    "verdict": "Verdicts, at batch 1",
    "best": "Best choices",
    "throughput": "Highest throughputs known",
    "prediction": "Predictions that moved by more than 5 %, per second",
    "rank": "Places by throughput",
}
_FACTS = ("model", "card", "quantization", "run", "published", "constant")


def pull_request(changes: Sequence[Change], base: str) -> str:
    """All changes since `base`: how many of each kind, then a table a kind, what moved most first where it is a
    number."""
    if not changes:
        return f"No fact of the catalog changed since `{base}`."
    kinds = {kind: [change for change in changes if change.kind == kind] for kind in _TITLES}
    counts = {kind: f"{_in_a_sentence(_TITLES[kind])}: {len(rows):,}" for kind, rows in kinds.items() if rows}
    facts = ", ".join(text for kind, text in counts.items() if kind in _FACTS) or "none changed"
    follows = ", ".join(text for kind, text in counts.items() if kind not in _FACTS) or "nothing"
    parts = [f"## What changed in the catalog since `{base}`", f"Facts: {facts}.\n\nWhat follows from them: {follows}."]
    for kind, rows in kinds.items():
        if rows:
            parts.append(
                _section(_TITLES[kind], sorted(rows, key=_move) if kind in ("prediction", "rank") else rows, base)
            )
    return "\n\n".join(parts)


def _in_a_sentence(title: str) -> str:
    """The first words of a title as they stand inside a sentence: `predictions`, but `GPUs`."""
    words = title.partition(",")[0]
    return words if words[1].isupper() else words.lower()


def _section(title: str, rows: Sequence[Change], base: str) -> str:
    columns = [name for name in ("model", "gpu") if any(getattr(row, name) for row in rows)]
    head = [*({"model": "Model", "gpu": "GPU"}[name] for name in columns), "What", "Before", "After"]
    lines = [f"### {title}", "", _row(head), _row(["---"] * len(head))]
    for row in rows[:MOST]:
        names = [f"`{getattr(row, name)}`" if getattr(row, name) else "" for name in columns]
        lines.append(_row([*names, row.what, _text(row.before), _text(row.after)]))
    if len(rows) > MOST:
        lines += ["", f"… and {len(rows) - MOST:,} more: `fitcard diff {base} --json` lists them all."]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _text(value: Value) -> str:
    """A number in four digits; a dash for what is not there."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _move(change: Change) -> float:
    """Less for a number that moved further, by its share."""
    old, new = change.before, change.after
    if not isinstance(old, float) or not isinstance(new, float) or not (old and new):
        return 0.0
    return -max(old / new, new / old)
