"""The bench's results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """How often a judge hears the target, 0..1, and how far its log-odds rose, in nats."""

    top: float
    rise: float

    def __str__(self) -> str:
        return f"{100 * self.top:.0f} %, {self.rise:+.2f}"


def verdicts(outcomes: Sequence[Outcome], before: Mapping[int, Outcome]) -> dict[str, Verdict]:
    """Return what judges say of some sounds of a row, compared with the undreamed ones."""
    found = {}
    for name in JUDGES:
        tops, rises = [], []
        for outcome in outcomes:
            if name not in outcome.scores:
                continue
            rise = log_odds(outcome.scores[name], outcome.target) - log_odds(
                before[outcome.index].scores[name], outcome.target
            )
            if np.isfinite(rise):
                rises.append(rise)
                tops.append(top_family(outcome.scores[name]) == outcome.target)
        if rises:
            found[name] = Verdict(float(np.mean(tops)), float(np.mean(rises)))
    return found


def outside(found: Mapping[str, Verdict], own: frozenset[str]) -> Verdict | None:
    """Return the mean of the judges that are neither `timbre` nor take part; None where there is none."""
    counted = [verdict for name, verdict in found.items() if name != "timbre" and name not in own]
    if not counted:
        return None
    return Verdict(*(float(np.mean([getattr(one, part) for one in counted])) for part in ("top", "rise")))


def _judged_line(name: str, found: Mapping[str, Verdict], own: frozenset[str], judges: Sequence[str]) -> str:
    cells = []
    for judge in judges:
        mark = "own: " if judge in own else ""
        cells.append(f"{mark}{found[judge]}" if judge in found else "")
    return f"| {' | '.join([name, str(outside(found, own) or ''), *cells])} |"


def _judged_table(
    lines: Mapping[str, Sequence[Outcome]],
    before: Mapping[int, Outcome],
    own: Mapping[str, frozenset[str]],
    first: str,
) -> list[str]:
    found = {name: verdicts(part, before) for name, part in lines.items()}
    judges = [name for name in JUDGES if any(name in one for one in found.values())]
    head = [f"| {' | '.join([first, 'outside', *judges])} |", f"|---|{'---:|' * (len(judges) + 1)}"]
    return head + [_judged_line(name, one, own[name], judges) for name, one in found.items()]


def _values(outcomes: Sequence[Outcome], name: str) -> NDArray[np.float64]:
    values = np.array([outcome.measures.get(name, np.nan) for outcome in outcomes])
    return values[~np.isnan(values)]


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
    return f"- `{row.name}`: network `{row.network}`, `{row.objective}`, {settings}, depth {row.depth:g}"


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
