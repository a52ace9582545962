"""The bench's results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transfer_judges import JUDGES, log_odds, top_family
from transfer_notes import FAMILIES
from transfer_rows import Row

__all__ = ["Outcome", "verdicts", "write_tables"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one sound in one row.

    Args:
        row: Its name.
        index: The sound's number.
        kind: ``note``, ``held`` or ``stem``.
        source: The sound's own family, or the stem.
        target: The family it was to become.
        scores: By judge, of the six families; nothing for held notes.
        measures: By name; see `transfer`.
        cpu_s: Processor time of the change.
    """

    row: str
    index: int
    kind: str
    source: str
    target: str
    scores: Mapping[str, NDArray[np.float64]]
    measures: Mapping[str, float]
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How often the target is heard, 0..1, and how far its log-odds rose, in nats, and its error."""

    top: float
    rise: float
    error: float | None = None

    def __str__(self) -> str:
        error = "" if self.error is None else f" ± {self.error:.2f}"
        return f"{100 * self.top:.0f} %, {self.rise:+.2f}{error}"


def _heard(outcome: Outcome, before: Outcome, judge: str) -> tuple[float, float] | None:
    """Return whether a judge hears the target most and how far it rose; None where it has no word for it."""
    if judge not in outcome.scores:
        return None
    rise = log_odds(outcome.scores[judge], outcome.target) - log_odds(before.scores[judge], outcome.target)
    return (float(top_family(outcome.scores[judge]) == outcome.target), rise) if np.isfinite(rise) else None


def verdicts(outcomes: Sequence[Outcome], before: Mapping[int, Outcome]) -> dict[str, Verdict]:
    """Return what judges say of some sounds of a row, compared with the undreamed ones."""
    found = {}
    for judge in JUDGES:
        heard = [one for outcome in outcomes if (one := _heard(outcome, before[outcome.index], judge))]
        if heard:
            found[judge] = Verdict(*np.mean(heard, axis=0).tolist())
    return found


def outside(
    outcomes: Sequence[Outcome], before: Mapping[int, Outcome], own: frozenset[str]
) -> Verdict | None:
    """Return the mean over sounds of the mean over judges that are neither `timbre` nor take part.

    None where nobody is left.
    """
    judges = [judge for judge in JUDGES if judge != "timbre" and judge not in own]
    means = []
    for outcome in outcomes:
        heard = [one for judge in judges if (one := _heard(outcome, before[outcome.index], judge))]
        if heard:
            means.append(np.mean(heard, axis=0))
    if not means:
        return None
    top, rise = np.mean(means, axis=0)
    error = float(np.std(means, axis=0, ddof=1)[1] / np.sqrt(len(means))) if len(means) > 1 else None
    return Verdict(float(top), float(rise), error)


def _judged_table(
    lines: Mapping[str, Sequence[Outcome]],
    before: Mapping[int, Outcome],
    own: Mapping[str, frozenset[str]],
    first: str,
) -> list[str]:
    found = {name: verdicts(part, before) for name, part in lines.items()}
    judges = [name for name in JUDGES if any(name in one for one in found.values())]
    table = [f"| {' | '.join([first, 'outside', *judges])} |", f"|---|{'---:|' * (len(judges) + 1)}"]
    for name, one in found.items():
        cells = [name, str(outside(lines[name], before, own[name]) or "")]
        for judge in judges:
            mark = "own: " if judge in own[name] else ""
            cells.append(f"{mark}{one[judge]}" if judge in one else "")
        table.append(f"| {' | '.join(cells)} |")
    return table


def _values(outcomes: Sequence[Outcome], name: str) -> NDArray[np.float64]:
    values = np.array([outcome.measures.get(name, np.nan) for outcome in outcomes])
    return np.asarray(values[~np.isnan(values)])


def _mean(outcomes: Sequence[Outcome], name: str, form: str) -> str:
    values = _values(outcomes, name)
    return format(float(values.mean()), form) if len(values) else ""


def _suffered_line(name: str, outcomes: Sequence[Outcome], cpu: float) -> str:
    thirds, lu, quiet, rates = (_values(outcomes, key) for key in ("thirds", "LU", "quiet", "rate"))
    rate = f" at {np.median(rates):.1f} Hz" if len(rates) else ""
    cells = [
        name,
        _mean(outcomes, "onsets", ".3f"),
        _mean(outcomes, "mel", ".1f"),
        _mean(outcomes, "static", ".2f"),
        f"{np.median(thirds):.1f}, {np.percentile(thirds, 95):.1f}" if len(thirds) else "",
        f"{tremolo}{rate}" if (tremolo := _mean(outcomes, "tremolo", ".2f")) else "",
        _mean(outcomes, "bands", ".2f"),
        _mean(outcomes, "noise", "+.2f"),
        _mean(outcomes, "crest", "+.1f"),
        f"{max(lu, key=abs):+.2f}" if len(lu) else "",
        f"{quiet.max():+.1f}" if len(quiet) else "",
        _mean(outcomes, "edges", "+.2f"),
        f"{cpu:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


_SUFFERED = (
    *("", "onsets", "mel dB", "static", "thirds dB", "tremolo dB", "bands dB", "noise", "crest dB", "LU"),
    *("quiet dB", "edges dB", "CPU"),
)


def _suffered_table(lines: Mapping[str, Sequence[Outcome]], unit_s: float) -> list[str]:
    head = [f"| {' | '.join(_SUFFERED)} |", f"|---|{'---:|' * (len(_SUFFERED) - 1)}"]
    return head + [
        _suffered_line(name, part, sum(one.cpu_s for one in part) / unit_s) for name, part in lines.items()
    ]


def _described(row: Row) -> str:
    settings = ", ".join(f"{key} = {value}" for key, value in row.settings.items()) or "default settings"
    network = Path(row.network).name
    return f"- `{row.name}`: network `{network}`, `{row.objective}`, {settings}, depth {row.depth:g}"


def write_tables(
    rows: Sequence[Row],
    outcomes: Sequence[Outcome],
    worth: Mapping[str, tuple[float, int]],
    own: Mapping[str, frozenset[str]],
    missing: Sequence[str],
    arguments: Mapping[str, object],
) -> str:
    """Return the whole report.

    Args:
        rows: What was done, in order; the first is no dream.
        outcomes: Of all rows and sounds.
        worth: By judge, how often it is right on undreamed notes and among how many families.
        own: By row, which judges take part in it.
        missing: A line for each judge that is not here.
        arguments: Of the command line.
    """
    before = {one.index: one for one in outcomes if one.row == rows[0].name}
    dreams = [row for row in rows if row.network]

    def of(row: str, *kinds: str) -> list[Outcome]:
        return [one for one in outcomes if one.row == row and one.kind in kinds]

    cpu_s = {row.name: sum(one.cpu_s for one in of(row.name, "note", "held")) for row in rows}
    unit_s = cpu_s[dreams[0].name] if dreams else max(cpu_s.values())
    n_notes = len(of(rows[0].name, "note"))
    notes = {row.name: of(row.name, "note") for row in rows}
    lines = [
        "# Transfer",
        "",
        "Made by `python tests/bench/transfer.py`; what the columns mean is said there.",
    ]
    lines += [
        f"Half `{arguments['half']}`, seed {arguments['seed']}: {n_notes} notes and "
        f"{len(of(rows[0].name, 'held'))} held ones towards {', '.join(FAMILIES)}; one thread a process. "
        f"The first dream took {unit_s:.1f} s of processor time.",
        "",
    ]
    lines += [*(_described(row) for row in dreams), *(f"- {line}" for line in missing), ""]
    lines += ["## Who hears it move", "", *_judged_table(notes, before, own, ""), ""]
    lines += ["How often judges are right on undreamed notes of this half, the mean over their families: "]
    lines[-1] += ", ".join(f"{name} {100 * right:.0f} % of {n}" for name, (right, n) in worth.items()) + "."
    suffered = {row.name: of(row.name, "note", "held") for row in rows}
    lines += ["", "## What the sound suffers", "", *_suffered_table(suffered, unit_s), ""]
    for row in dreams:
        parts = {family: [one for one in notes[row.name] if one.target == family] for family in FAMILIES}
        lines += [f"## {row.name}, family by family", ""]
        lines += [*_judged_table(parts, before, dict.fromkeys(FAMILIES, own[row.name]), "towards"), ""]
    if any(one.kind == "stem" for one in outcomes):
        stems = {row.name: part for row in rows if (part := of(row.name, "stem"))}
        lines += ["## Stems", "", *_judged_table(stems, before, own, ""), ""]
        lines += [*_suffered_table(stems, unit_s), ""]
    return "\n".join(lines)
