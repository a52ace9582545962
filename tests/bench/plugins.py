"""Measure plugins that others wrote, one after another, against both bare hosts; write the table.

    python tests/bench/plugins.py FOLDER...                 every plugin in some folders or bundles
    python tests/bench/plugins.py FOLDER... --shells 12     at most so many plugins of one bundle
    python tests/bench/plugins.py --table                   only write plugins.md of what is there

Each plugin is scanned, shown (its real units against the texts that the bare host displays), checked
(level 3), compared with the bare host that plays it (defaults and seeded random settings; 44.1, 48 and
96 kHz; mono and stereo; instruments with notes, a bend and the pedal), automated against that host's
staircase (a step each 64 and each 16 samples), saved and restored, fed a sidechain, and timed in seconds of
processor. It runs in a process of its own, `plugins_measure.py`, which is started again behind the stage in
which it dies. What is finished stands in a journal, one line a plugin, so the run can be stopped and
repeated.

`bash tests/plugins/fetch.sh --all` brings 55 bundles; most want a newer system than some.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1])]

from bridge.hosts.plugin_cache import PluginEntry, ScannedBundle  # noqa: E402
from bridge.hosts.plugin_scan import scan  # noqa: E402

Row = dict[str, Any]
STAGES = ("show", "units", "check", "equality", "state", "automation", "speed", "sidechain")
STAGE_S = 150.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--journal", type=Path, default=HERE / "plugins.jsonl")
    parser.add_argument("--shells", type=int, default=10_000, help="most plugins of one bundle")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no plugin after so long")
    parser.add_argument(
        "--without", nargs="*", default=[], choices=STAGES, help="leave stages to another run"
    )
    parser.add_argument("--table", action="store_true", help="only write the table")
    arguments = parser.parse_args()
    if not arguments.table:
        measure(arguments)
    text = table(read_journal(arguments.journal))
    (HERE / "plugins.md").write_text(text, encoding="utf-8")
    print(text[: text.find("| plugin |")])


def measure(arguments: argparse.Namespace) -> None:
    """Scan, then measure of every plugin what is not in the journal yet."""
    started = time.monotonic()
    folders = [folder.absolute() for folder in arguments.folders]
    cache = scan(folders)
    scan_s = time.monotonic() - started
    journal = arguments.journal
    done = {row["key"]: row for row in read_journal(journal)} if journal.exists() else {}
    lock = threading.Lock()

    def keep(row: Row) -> None:
        with lock, journal.open("a") as file:
            file.write(json.dumps(row) + "\n")

    wanted: list[tuple[ScannedBundle, PluginEntry]] = []
    for bundle in cache.bundles.values():
        if not any(Path(bundle.path).is_relative_to(folder) for folder in folders):
            continue
        if bundle.blocked and bundle.path not in done:
            keep({"key": bundle.path, "blocked": bundle.blocked})
        step = max(1, -(-len(bundle.plugins) // arguments.shells))
        wanted += [(bundle, plugin) for plugin in bundle.plugins[::step]]
    if "scan" not in done:
        n_plugins = sum(len(bundle.plugins) for bundle in cache.bundles.values())
        keep({"key": "scan", "seconds": scan_s, "bundles": len(cache.bundles), "plugins": n_plugins})

    def one(pair: tuple[ScannedBundle, PluginEntry]) -> None:
        bundle, plugin = pair
        key = f"{bundle.path}:{plugin.name}"
        known = [*done.get(key, {"stages": {}})["stages"], *arguments.without]
        if set(known) >= set(STAGES) or time.monotonic() - started > 60 * arguments.minutes:
            return
        row = {"key": key, "bundle": Path(bundle.path).stem, "name": plugin.name, "backend": plugin.backend}
        keep(row | {"stages": _measure_one(bundle, plugin, known)})
        print(key, flush=True)

    with ThreadPoolExecutor(arguments.workers) as pool:
        list(pool.map(one, wanted))


def read_journal(path: Path) -> list[Row]:
    """Return a row for each key: what several runs measured of a plugin stands together."""
    rows: dict[str, Row] = {}
    for row in map(json.loads, path.read_text().splitlines()):
        known = rows.setdefault(row["key"], row)
        if "stages" in row:
            known["stages"] = known["stages"] | row["stages"]
    return list(rows.values())


def _measure_one(bundle: ScannedBundle, plugin: PluginEntry, known: Sequence[str]) -> Row:
    """Return what the stages that are not known yet find."""
    stages: Row = {stage: {} for stage in known}
    while len(stages) < len(STAGES):
        request = {
            "path": bundle.path,
            "name": plugin.name,
            "several": len(bundle.plugins) > 1,
            "backend": plugin.backend,
            "skip": list(stages),
        }
        process = subprocess.Popen(
            [sys.executable, str(HERE / "plugins_measure.py"), json.dumps(request)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        died_in = _follow(process, stages)
        if died_in is None:
            break
        stages[died_in] = {"error": f"died: {'hang' if process.returncode == -9 else process.returncode}"}
    return {stage: fact for stage, fact in stages.items() if stage not in known}


def _follow(process: subprocess.Popen[bytes], stages: Row) -> str | None:
    """Take up what the process says; return the stage in which it died, None where it ended well."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    assert process.stdout is not None

    def read(stream: Any) -> None:
        for line in stream:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    stage = next(name for name in STAGES if name not in stages)
    while True:
        try:
            line = lines.get(timeout=STAGE_S)
        except queue.Empty:
            process.kill()
            process.wait()
            return stage
        if not line:
            return stage if process.wait() else None
        fact = json.loads(line)
        if "begin" in fact:
            stage = fact["begin"]
        else:
            stages[fact.pop("stage")] = fact


def table(rows: Sequence[Row]) -> str:
    """Return the page: what holds in how many cases, then a line a plugin."""
    blocked = [row for row in rows if "blocked" in row]
    plugins = sorted((row for row in rows if "stages" in row), key=lambda row: row["name"].casefold())
    lines = ["# Plugins that others wrote", "", "By `tests/bench/plugins.py`.", ""]
    for row in rows:
        if row["key"] == "scan":
            lines += [
                f"Scan: {row['plugins']} plugins in {row['bundles']} bundles, {row['seconds']:.0f} s.",
                "",
            ]
    lines += [*_summary(plugins), ""]
    if blocked:
        lines += ["Blocked by the scan:", ""]
        lines += [f"- {Path(row['key']).stem}: {row['blocked']}" for row in blocked]
        lines.append("")
    lines += [
        "| plugin | host | parameters (with a unit) | units | check fails | equal | not equal | state | "
        "automation, dB | sidechain, dB | load | speed, automated by attribute, by raw position |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in plugins]
    return "\n".join([*lines, ""])


def _summary(plugins: Sequence[Row]) -> list[str]:
    verdicts: Counter[str] = Counter()
    for row in plugins:
        for case in row["stages"].get("equality", {}).get("rows", []):
            verdicts[_verdict(case)] += 1
    n_fair = verdicts["equal"] + verdicts["differs"] + verdicts["ours refused"]
    checks = [row["stages"]["check"] for row in plugins if "failed" in row["stages"].get("check", {})]
    states = [row["stages"]["state"] for row in plugins if "by" in row["stages"].get("state", {})]
    fair_states = [state for state in states if state["steady"]]
    stairs = [
        row["stages"]["automation"]["by"] for row in plugins if "by" in row["stages"].get("automation", {})
    ]
    keys = [row["stages"]["sidechain"] for row in plugins if "by" in row["stages"].get("sidechain", {})]
    speeds = [row["stages"]["speed"] for row in plugins if "ratio" in row["stages"].get("speed", {})]
    heavy = sorted(speed["ratio"] for speed in speeds if speed["load"] >= 0.01)
    light = sorted(speed["ratio"] for speed in speeds if speed["load"] < 0.01)
    units = [row["stages"]["units"] for row in plugins if "n" in row["stages"].get("units", {})]
    moved, raw_moved = (
        sorted(speed[key] for speed in speeds if speed["load"] >= 0.01 and key in speed)
        for key in ("automated", "automated_raw")
    )
    n_dead = sum("died" in fact.get("error", "") for row in plugins for fact in row["stages"].values())
    n_equal_stairs = sum(all(_is_equal(one) for one in each.values()) for each in stairs)
    lines = [
        f"- {len(plugins)} plugins measured; in {n_dead} stages the bench's own process, with the bare host, "
        "died.",
        f"- Equal to the bare host, sample for sample: {verdicts['equal']} of {n_fair} sounds in which the "
        f"bare host equals itself ({verdicts['unsteady']} in which it does not, {verdicts['refused']} it "
        "refuses).",
        f"- Real units within .5% of the range: {sum(one['n'] - one['n_far'] for one in units)} of "
        f"{sum(one['n'] for one in units)} parameters at three rates.",
        f"- Check (level 3): {sum(not one['failed'] for one in checks)} of {len(checks)} pass.",
        f"- State: {sum(_is_equal(one['by']) for one in fair_states)} of {len(fair_states)} sound the same "
        f"after it; {sum(not one['n_moved'] for one in states)} of {len(states)} show the same values.",
        f"- Automation: {n_equal_stairs} of {len(stairs)} equal the bare host's staircase.",
        f"- Sidechain: {sum(_is_equal(one['by']) for one in keys)} of {len(keys)} equal.",
    ]
    for name, ratios, aim in (
        ("1% and more", heavy, 0.9),
        ("less than 1%", light, 0.5),
        ("1% and more, each 64 samples an attribute set", moved, 1.0),
        ("1% and more, each 64 samples a raw position set", raw_moved, 1.0),
    ):
        if ratios:
            n_good = sum(ratio >= aim for ratio in ratios)
            lines.append(
                f"- Speed, isolated against bare, load of {name}: median "
                f"{ratios[len(ratios) // 2]:.2f}, {n_good} of {len(ratios)} at least {aim:g}."
            )
    return lines


def _verdict(case: Row) -> str:
    if case["bare"].startswith("refused"):
        return "refused"
    if case["bare"] != "steady":
        return "unsteady"
    return "ours refused" if case["ours"].startswith("refused") else case["ours"]


def _is_equal(distance: float | str) -> bool:
    return isinstance(distance, int | float) and distance <= -120.0


def _line(row: Row) -> str:
    stages = row["stages"]
    show, equality = stages.get("show", {}), stages.get("equality", {}).get("rows", [])
    wrong = [
        f"{case['case']}: {case.get('by', case.get('ours'))}"
        for case in equality
        if _verdict(case) in ("differs", "ours refused")
    ]
    n_equal = sum(_verdict(case) == "equal" for case in equality)
    failed = "; ".join(text.split(":")[0] for text in stages.get("check", {}).get("failed", []))
    speed = stages.get("speed", {})
    cells = [
        row["name"],
        row["backend"],
        f"{show['parameters']} ({show['with_unit']})" if "parameters" in show else show.get("error", ""),
        _units(stages.get("units", {})),
        failed or stages.get("check", {}).get("error", ""),
        f"{n_equal} of {len(equality)}",
        "; ".join(wrong[:2]) + (f" and {len(wrong) - 2} more" if len(wrong) > 2 else ""),
        _told(stages.get("state", {})),
        _told(stages.get("automation", {})),
        _told(stages.get("sidechain", {})),
        f"{100 * speed['load']:.2f}%" if "load" in speed else "",
        ", ".join(str(speed[key]) for key in ("ratio", "automated", "automated_raw") if key in speed)
        or str(speed.get("error", "")),
    ]
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ")[:160] for cell in cells) + " |"


def _units(fact: Row) -> str:
    if "worst" not in fact:
        return str(fact.get("error", ""))
    return "; ".join(fact["far"][:2]) or f"{fact['worst']:.2%}"


def _told(fact: Row) -> str:
    if "by" not in fact:
        return str(fact.get("error", ""))
    distances = fact["by"].values() if isinstance(fact["by"], dict) else [fact["by"]]
    text = ", ".join("equal" if _is_equal(one) else str(one) for one in distances)
    return text + (f"; {fact['n_moved']} values move" if fact.get("n_moved") else "")


if __name__ == "__main__":
    main()
